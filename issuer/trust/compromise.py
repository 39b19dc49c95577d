"""A key is, or may be, in other hands: what then happens to it, to its successor, to cards and doors (docs/keys.md).

`issuer keys compromised LABEL` does it for a key of any kind. The HSM stops the key first; then a trust list tells
every door, with the cards that stay good; the answer lists the cards that have to be made anew.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.statements.akp_key import from_public_bytes
from cardlink.statements.trust import KeyState
from issuer import database
from issuer.audit import log as audit
from issuer.cards.tables import Card, CardCertificate
from issuer.database import SessionFactory
from issuer.errors import NotFound
from issuer.policy import Action, Actor, require_anywhere
from issuer.registry import agencies
from issuer.trust import allow_list, authorities, ca, masters, publication, revocation, status, x509_roots
from issuer.trust.authorities import Certified
from issuer.trust.crl import CrlReason
from issuer.trust.key_labels import next_key
from issuer.trust.port import Ceremony, Signing
from issuer.trust.publication import Change, nothing
from issuer.trust.rotation import (
    KIND_OF,
    STEMS,
    active_authority,
    certify,
    make_authority,
    replace_root,
    rotate_master,
)
from issuer.trust.setup import EC, AgencyName, add_signer
from issuer.trust.tables import AuthorityRow, CardMasterRow, RootKeyRow, SignerRow

COMPROMISED = "compromised"
_WHY = {ca.ISSUING: CrlReason.CA_COMPROMISE, ca.CONTENT: CrlReason.KEY_COMPROMISE}


@dataclass(frozen=True, slots=True)
class Drill:
    """What was done: the key, its use, its successors, the trust list, and the cards that need something new.

    `allowed` of the cards stay good at doors until then. `todo` is a code of the catalogue: what the cards need.
    """

    label: str
    use: str
    made: tuple[str, ...]
    number: int | None
    allowed: int
    cards: tuple[uuid.UUID, ...]
    todo: str


def compromised(
    factory: SessionFactory,
    hsm: Ceremony,
    actor: Actor,
    label: str,
    now: datetime,
    known_good_until: datetime | None = None,
    afterwards: Change = nothing,
) -> Drill:
    """Stop a key, put another into its place, tell the doors. May be run again after it broke off.

    `known_good_until`: cards signed later are not believed though they stand in the register; by default now.
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    with database.reading(factory) as session:
        signer, authority = session.get(SignerRow, label), session.get(AuthorityRow, label)
        is_root = session.get(RootKeyRow, label) is not None
        is_master = label == masters.FIRST or session.get(CardMasterRow, label) is not None
    if signer is None and authority is None and not is_root and not is_master:
        raise NotFound("trust.unknown_key", label=label)
    if hsm.info(label).state != COMPROMISED:
        hsm.set_state(label, COMPROMISED)
    if signer is not None:
        return _signer(factory, hsm, actor, signer, now, min(known_good_until or now, now), afterwards)
    if authority is not None and authority.kind == ca.ROOT:
        fallen = x509_roots.fall(factory, hsm, actor, label, now)
        return Drill(label, x509_roots.KIND, fallen.made, fallen.number, 0, (), "trust.todo.x509_root")
    if authority is not None:
        return _authority(factory, hsm, actor, authority, now)
    if is_root:
        rotated = replace_root(factory, hsm, actor, label, now)
        return Drill(label, "root", rotated.made, rotated.number, 0, (), "trust.todo.root")
    return _master(factory, hsm, actor, label, now)


def _signer(
    factory: SessionFactory,
    hsm: Ceremony,
    actor: Actor,
    found: SignerRow,
    now: datetime,
    known_good_until: datetime,
    afterwards: Change,
) -> Drill:
    label, use, agency_code = found.label, found.use, found.agency_code
    info = None
    if found.state == KeyState.ACTIVE:
        kind = KIND_OF[from_public_bytes(found.point).alg]
        info = next_key(factory, hsm, f"{use}-{agency_code}", kind, use, (agency_code,))

    def change(session: Session, signing: Signing) -> None:
        row = session.get_one(SignerRow, label)
        row.state, row.known_good_until = int(KeyState.COMPROMISED), known_good_until
        row.signs_until = max(min(row.signs_until, now), row.signs_from + timedelta(seconds=1)).replace(microsecond=0)
        session.flush()
        if info is not None:
            add_signer(session, info, use, agency_code, now.replace(microsecond=0))
        if use == "status":
            status.start_epoch(session)  # what a door heard under the stolen key is worth nothing any more
        facts = {"use": use, "replaced_by": info.label if info else None, "known_good": known_good_until.isoformat()}
        audit.append(session, actor, "key.compromised", label, facts, now)

    number = publication.publish(factory, hsm, now, change, afterwards)
    with database.reading(factory) as session:
        row = session.get_one(SignerRow, label)
        cards = _bearing(session, row)
        good = {one for one, _ in allow_list.allowed(session, now)}
    allowed = sum(one.bytes in good for one in cards)
    return Drill(label, use, (info.label,) if info else (), number, allowed, cards, f"trust.todo.{use}")


def _bearing(session: Session, row: SignerRow) -> tuple[uuid.UUID, ...]:
    """The cards that bear a statement of this signer: on the chip, or on the face."""
    if row.use in allow_list.ON_CARDS:
        return tuple(card.uuid for card in allow_list.cards_of(session, [row]))
    if row.use == "qr":
        return tuple(card.uuid for card in allow_list.faces_of(session, row))
    return ()


def _authority(factory: SessionFactory, hsm: Ceremony, actor: Actor, found: AuthorityRow, now: datetime) -> Drill:
    """An issuing authority or a content signer. With an authority its content signer falls: it certified that one."""
    label, kind, code = found.label, found.kind, found.agency_code
    with database.reading(factory) as session:
        agency = AgencyName(code, agencies.get(session, code).name)
    made: list[Certified] = []
    if found.state == KeyState.ACTIVE:
        made = _successors(factory, hsm, kind, agency, now)

    def change(session: Session, signing: Signing) -> None:
        row = session.get_one(AuthorityRow, label)
        row.state = int(KeyState.COMPROMISED)
        revocation.revoke_authority(session, row, _WHY[kind], now)
        if made and kind == ca.ISSUING:
            active_authority(session, ca.CONTENT, code).state = int(KeyState.RETIRED)
        session.flush()
        for one in made:
            authorities.take_into_use(session, one)
        facts = {"kind": kind, "replaced_by": authorities.labels_of(made)}
        audit.append(session, actor, "key.compromised", label, facts, now)

    number = publication.publish(factory, hsm, now, change)
    if kind == ca.ISSUING:
        revocation.publish_due(factory, hsm, now, ca.ROOT)  # an authority's own list the feed publishes by itself
    with database.reading(factory) as session:
        query = select(Card.uuid).join(CardCertificate, CardCertificate.card_id == Card.id)
        issued = query.where(CardCertificate.issuer_label == label)
        if kind == ca.CONTENT:
            issued = select(Card.uuid).where(Card.content_label == label)
        counting = issued.where(Card.state.not_in([str(one) for one in allow_list.ENDED])).distinct()
        cards = tuple(session.scalars(counting.order_by(Card.uuid)))
    return Drill(label, kind, authorities.labels_of(made), number, 0, cards, f"trust.todo.{kind}")


def _successors(
    factory: SessionFactory, hsm: Ceremony, kind: str, agency: AgencyName, now: datetime
) -> list[Certified]:
    """A content signer, or an issuing authority with a content signer below it."""
    if kind == ca.CONTENT:
        return [make_authority(factory, hsm, kind, agency, now)]
    code, name = agency.code, agency.name
    key = next_key(factory, hsm, f"{STEMS[ca.ISSUING]}-{code}", EC, ca.KEY_USE[ca.ISSUING], (code,))
    below = next_key(factory, hsm, f"{STEMS[ca.CONTENT]}-{code}", EC, ca.KEY_USE[ca.CONTENT], (code,))
    with database.reading(factory) as session:
        root = authorities.parent_of(session, ca.current(session, ca.ROOT, "", now))
        issuing = authorities.draft_issuing(session, key, code, name, now, root)
    content = authorities.draft_content(below, code, name, now, issuing.of)
    return certify(factory, hsm, [issuing, content], now)


def _master(factory: SessionFactory, hsm: Ceremony, actor: Actor, label: str, now: datetime) -> Drill:
    """A card master key. Its cards can be written to by whoever holds it and the card: they get other keys or go."""
    with database.reading(factory) as session:
        is_current = masters.current(session) == label
    made = rotate_master(factory, hsm, actor, now).made if is_current else ()
    with database.transaction(factory) as session:
        session.get_one(CardMasterRow, label).state = int(KeyState.COMPROMISED)
        audit.append(session, actor, "key.compromised", label, {"use": masters.USE, "replaced_by": list(made)}, now)
        query = select(Card.uuid).where(Card.master_label == label)
        cards: Sequence[uuid.UUID] = session.scalars(
            query.where(Card.state.not_in([str(one) for one in allow_list.ENDED])).order_by(Card.uuid)
        ).all()
    return Drill(label, masters.USE, made, None, 0, tuple(cards), "trust.todo.card_master")
