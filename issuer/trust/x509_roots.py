"""The root of the certificates changes: another takes over, or its key is in other hands.

Issuing authorities keep names and keys and get certificates below the new root, so every certificate on a card stays
as it is. At a rotation each root certifies the other one (RFC 4210 §4.4, old with new and new with old): who knows only
one of them follows. At a fall there is no link: what the fallen root says counts no more.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import x509 as asn1
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cardlink.statements.trust import KeyState
from issuer import database
from issuer.audit import log as audit
from issuer.database import SessionFactory
from issuer.errors import Conflict
from issuer.policy import Action, Actor, require_anywhere
from issuer.trust import authorities, ca, publication, revocation
from issuer.trust.authorities import Certified, Draft
from issuer.trust.crl import CrlReason
from issuer.trust.key_labels import next_key
from issuer.trust.port import Ceremony, Signing
from issuer.trust.revocation import Certificate
from issuer.trust.revocation_tables import PublishedCrl
from issuer.trust.rotation import Rotated, active_authority, certify
from issuer.trust.setup import EC
from issuer.trust.tables import AuthorityRow, OtherCertificateRow

KIND = STEM = "x509-root"


@dataclass(frozen=True, slots=True)
class Outside:
    """What people outside the system must be told: SHA-256 of the root they hold and of the one to hold now."""

    old: str
    new: str
    url: str


@dataclass(frozen=True, slots=True)
class _New:
    """A new root with everything below it, and the authorities as they were when it was drafted."""

    root: Certified
    below: Sequence[Certified]
    links: Sequence[Certified]
    seen: frozenset[tuple[str, str]]


def rotate(factory: SessionFactory, hsm: Ceremony, actor: Actor, now: datetime) -> Rotated:
    """Let a new root take over. The old one is believed until its certificate ends and signs its list alone."""
    require_anywhere(actor, Action.KEYS_MANAGE)
    with database.reading(factory) as session:
        old = active_authority(session, ca.ROOT, "").label  # also one whose time to sign is over
    made = _make(factory, hsm, old, now, is_linked=True)
    new = made.root.draft.of.label

    def change(session: Session, signing: Signing) -> None:
        row = session.get_one(AuthorityRow, old)
        if row.state != KeyState.ACTIVE:
            raise Conflict("trust.made_meanwhile")
        _take_into_use(session, made, now, keeps_former=True)
        row.state, row.signs_until = int(KeyState.RETIRED), now
        audit.append(session, actor, "key.rotated", new, {"replaced": old, "use": KIND}, now)

    number = publication.publish(factory, hsm, now, change)
    revocation.publish_due(factory, hsm, now, ca.ROOT)
    return Rotated((new,), (old,), number)


def fall(factory: SessionFactory, hsm: Ceremony, actor: Actor, label: str, now: datetime) -> Rotated:
    """A root is an anchor no more and signs no list; another is made if it was the one in use. May be run again."""
    with database.reading(factory) as session:
        is_in_use = session.get_one(AuthorityRow, label).state == KeyState.ACTIVE
    made = _make(factory, hsm, label, now, is_linked=False) if is_in_use else None
    labels = (made.root.draft.of.label,) if made is not None else ()

    def change(session: Session, signing: Signing) -> None:
        row = session.get_one(AuthorityRow, label)
        row.state, row.signs_until = int(KeyState.COMPROMISED), min(row.signs_until, now)
        if made is not None:
            _take_into_use(session, made, now, keeps_former=False)
        links = session.scalars(select(OtherCertificateRow).where(OtherCertificateRow.label == label)).all()
        of_links = [Certificate(one.issuer_label, one.serial, one.not_after) for one in links]
        revocation.mark(session, of_links, CrlReason.CA_COMPROMISE, now)
        session.execute(delete(PublishedCrl).where(PublishedCrl.issuer_label == label))
        audit.append(session, actor, "key.compromised", label, {"use": KIND, "replaced_by": labels}, now)

    number = publication.publish(factory, hsm, now, change)
    revocation.publish_due(factory, hsm, now, ca.ROOT)
    return Rotated(labels, (label,), number)


def outside(session: Session, old: str, now: datetime) -> Outside:
    """What has to be said of a change outside, where nothing follows by itself."""
    new = ca.current(session, ca.ROOT, "", now)
    url = authorities.parent_of(session, new).url
    return Outside(fingerprint(session.get_one(AuthorityRow, old).certificate), fingerprint(new.certificate), url)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate, as programs show it."""
    return hashlib.sha256(certificate).digest().hex(":").upper()


def _make(factory: SessionFactory, hsm: Ceremony, old: str, now: datetime, *, is_linked: bool) -> _New:
    """A new root, the issuing authorities below it, and the two links: all that one key signs in one go."""
    key = next_key(factory, hsm, STEM, EC, ca.KEY_USE[ca.ROOT], ())
    with database.reading(factory) as session:
        row = session.get_one(AuthorityRow, old)
        before = authorities.parent_of(session, row)
        root = authorities.draft_root(session, key, _organization(row), now, before.url)
        held = _issuing(session, now)
        below = [_draft_again(session, one, root, now) for one in held]
        seen = _seen(held)
    links: list[Draft] = []
    if is_linked:
        ends = min(row.not_after, root.not_after)
        links = [authorities.draft_link(*pair, now, ends) for pair in ((before, root.of), (root.of, before))]
    made = certify(factory, hsm, [root, *below, *links], now)
    last = 1 + len(below)
    return _New(made[0], made[1:last], made[last:], seen)


def _draft_again(session: Session, row: AuthorityRow, root: Draft, now: datetime) -> Draft:
    """One that has retired gets no longer time than it has."""
    ends = None if row.state == KeyState.ACTIVE else row.not_after
    return authorities.draft_again(authorities.parent_of(session, row), root.of, now, ends)


def _issuing(session: Session, now: datetime) -> Sequence[AuthorityRow]:
    """The issuing authorities whose certificates still count."""
    query = select(AuthorityRow).where(AuthorityRow.kind == ca.ISSUING, AuthorityRow.not_after > now)
    return session.scalars(query.where(AuthorityRow.state != KeyState.COMPROMISED).order_by(AuthorityRow.label)).all()


def _seen(rows: Sequence[AuthorityRow]) -> frozenset[tuple[str, str]]:
    return frozenset((row.label, row.serial) for row in rows)


def _take_into_use(session: Session, made: _New, now: datetime, *, keeps_former: bool) -> None:
    """Write the new root, the new certificates below it, and, where they still count, those of before."""
    if _seen(_issuing(session, now)) != made.seen:
        raise Conflict("trust.made_meanwhile")
    authorities.take_into_use(session, made.root)
    for one in made.below:
        row = session.get_one(AuthorityRow, one.draft.of.label)
        if keeps_former:
            former = {
                name: getattr(row, name) for name in ("label", "serial", "certificate", "not_before", "not_after")
            }
            session.add(OtherCertificateRow(issuer_label=revocation.issuer_label(session, row), **former))
        row.serial, row.certificate = one.draft.serial, one.certificate
        row.not_before, row.not_after = one.draft.not_before, one.draft.not_after
    session.add_all(one.other_row() for one in made.links)
    session.flush()


def _former(session: Session, row: AuthorityRow) -> OtherCertificateRow:
    return OtherCertificateRow(
        issuer_label=revocation.issuer_label(session, row),
        serial=row.serial,
        label=row.label,
        certificate=row.certificate,
        not_before=row.not_before,
        not_after=row.not_after,
    )


def _organization(row: AuthorityRow) -> str:
    return str(asn1.Certificate.load(row.certificate, strict=True).subject.native["organization_name"])
