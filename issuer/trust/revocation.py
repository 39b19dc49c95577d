"""What is revoked of each authority, and the publishing of its lists.

A change is one row and one step of the authority's count, in the transaction that made it true. A list is built from a
consistent view without holding up any writer, and stored only if no other list was stored meanwhile.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asn1crypto import x509 as asn1
from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.orm import Session

from cardlink.statements.trust import KeyState
from issuer import database
from issuer.database import SessionFactory
from issuer.errors import NotFound
from issuer.trust import ca, crl, der
from issuer.trust.crl import CrlReason, Frame, Kind
from issuer.trust.port import Signing
from issuer.trust.revocation_tables import PublishedCrl, RevocationHead, RevokedCertificate
from issuer.trust.tables import AuthorityRow, OtherCertificateRow
from issuer.trust.x509 import key_id

log = logging.getLogger(__name__)

FULL_EVERY = timedelta(hours=24)
FULL_LIFE = timedelta(days=7)
DELTA_EVERY = timedelta(hours=6)
DELTA_LIFE = timedelta(hours=24)
ROOT_LIFE = timedelta(days=365)
"""The root signs in a ceremony: its list, of authorities alone, is good for a year."""
ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as lists know it: its authority, its serial number (40 hex digits), and when it ends anyway."""

    issuer_label: str
    serial: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Published:
    """A list as stored; `body` is its DER."""

    label: str
    kind: Kind
    number: int
    entries: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Built:
    published: Published
    frame: Frame


def mark(session: Session, certificates: Iterable[Certificate], reason: CrlReason, now: datetime) -> None:
    """Put certificates on their authorities' lists, or take those on hold off again (REMOVE_FROM_CRL).

    What was on hold and is now revoked keeps the date of the hold: nothing made since then counts. A certificate that
    is revoked for good stays as it is.
    """
    counts: dict[str, int] = {}
    for one in certificates:
        row = session.get(RevokedCertificate, (one.issuer_label, one.serial), populate_existing=True)
        if row is not None and row.reason not in (CrlReason.CERTIFICATE_HOLD, CrlReason.REMOVE_FROM_CRL):
            continue
        if reason is CrlReason.REMOVE_FROM_CRL and (row is None or row.reason == reason):
            continue
        if one.issuer_label not in counts:
            counts[one.issuer_label] = _next_change(session, one.issuer_label)
        if row is None:
            row = RevokedCertificate(issuer_label=one.issuer_label, serial=one.serial, not_after=one.not_after)
            row.revoked_s = int(now.timestamp())
            session.add(row)
        elif row.reason == CrlReason.REMOVE_FROM_CRL:
            row.revoked_s = int(now.timestamp())
        row.reason, row.changed = int(reason), counts[one.issuer_label]
    session.flush()


def revoke_authority(session: Session, row: AuthorityRow, reason: CrlReason, now: datetime) -> None:
    """Put an issuing authority on the root's list, or a content signer on its authority's. Publish afterwards.

    Every certificate of its key goes: roots that were replaced may have certified it too.
    """
    told = [Certificate(issuer_label(session, row), row.serial, row.not_after)]
    others = session.scalars(select(OtherCertificateRow).where(OtherCertificateRow.label == row.label))
    told += [Certificate(one.issuer_label, one.serial, one.not_after) for one in others]
    mark(session, told, reason, now)


def due(session: Session, now: datetime) -> list[tuple[str, Kind]]:
    """Which lists must be published now, by authority: something changed, or the newest one is old.

    Not of an authority whose certificates are all out of date, nor of one whose key is compromised.
    """
    head, authority, newest = RevocationHead, AuthorityRow, PublishedCrl
    query = (
        select(authority.kind, authority.not_after, head, newest.this_update)
        .join(head, head.label == authority.label)
        .outerjoin(newest, and_(newest.issuer_label == authority.label, newest.kind == Kind.DELTA.value))
        .where(authority.state != KeyState.COMPROMISED)
        .order_by(authority.label)
    )
    found: list[tuple[str, Kind]] = []
    for kind, not_after, row, delta_at in session.execute(query):
        full_every, delta_every = (ROOT_LIFE / 2, None) if kind == ca.ROOT else (FULL_EVERY, DELTA_EVERY)
        if now >= not_after:
            continue
        if row.base_at is None or now >= row.base_at + full_every:
            found.append((row.label, Kind.FULL))
        elif row.changes != row.told:
            found.append((row.label, Kind.FULL if delta_every is None else Kind.DELTA))
        elif delta_every is not None and (delta_at is None or now >= delta_at + delta_every):
            found.append((row.label, Kind.DELTA))
    return found


def publish_due(factory: SessionFactory, hsm: Signing, now: datetime, kind: str = ca.ISSUING) -> list[Published]:
    """Publish every list that is due: of the issuing authorities, or of the root, which takes a ceremony."""
    with database.reading(factory) as session:
        labels = set(session.scalars(select(AuthorityRow.label).where(AuthorityRow.kind == kind)))
        waiting = [(label, which) for label, which in due(session, now) if label in labels]
    return [one for label, which in waiting for one in publish(factory, hsm, label, which, now)]


def publish(factory: SessionFactory, hsm: Signing, label: str, kind: Kind, now: datetime) -> list[Published]:
    """Build, sign and store lists: a delta, or a full one together with the delta that leads up to it.

    Answers none when another process published meanwhile. Raises NotFound, HsmError.
    """
    now = now.replace(microsecond=0)
    with database.reading(factory) as session:
        head, authority = _head(session, label), ca.find(session, label)
        number = head.number + 1
        built: list[_Built] = []
        if authority.kind != ca.ROOT:
            base = head.base_number or number
            frame = Frame(number, now, now + DELTA_LIFE, base=base)
            changed = _changed(session, label, head.base_changes) if head.base_number else ()
            built.append(_build(session, hsm, authority, frame, Kind.DELTA, changed))
        if kind is Kind.FULL or not head.base_number:
            life = ROOT_LIFE if authority.kind == ca.ROOT else FULL_LIFE
            freshest = ca.delta_url(head.url, label) if head.url and authority.kind != ca.ROOT else None
            frame = Frame(number, now, now + life, freshest=freshest)
            built.append(_build(session, hsm, authority, frame, Kind.FULL, _listed(session, label, head.base_at)))
    if not _store(factory, head, built, now):
        return []
    made = [one.published for one in built]
    for one in made:
        log.info("crl published issuer=%s kind=%s number=%d entries=%d", label, one.kind, one.number, one.entries)
    return made


def settle_url(session: Session, url: str) -> None:
    """Have new certificates and lists name this address, as the settings say."""
    session.execute(update(RevocationHead).where(RevocationHead.url != url).values(url=url))


def find(session: Session, label: str, kind: Kind) -> PublishedCrl:
    """The newest list of a kind. Raises NotFound."""
    row = session.scalar(select(PublishedCrl).where(_is(label, kind)))
    if row is None:
        raise NotFound("trust.no_crl", label=label, kind=kind.value)
    return row


@dataclass(frozen=True, slots=True)
class Description:
    """A stored list without its bytes."""

    label: str
    kind: Kind
    number: int
    entries: int
    this_update: datetime
    next_update: datetime
    sha256: bytes


def describe(session: Session, label: str, kind: Kind) -> Description:
    """What is known of the newest list of a kind. Raises NotFound."""
    for one in described(session):
        if (one.label, one.kind) == (label, kind):
            return one
    raise NotFound("trust.no_crl", label=label, kind=kind.value)


def described(session: Session) -> list[Description]:
    """All stored lists, by authority."""
    row = PublishedCrl
    columns = (row.issuer_label, row.kind, row.number, row.entries, row.this_update, row.next_update, row.sha256)
    found = session.execute(select(*columns).order_by(row.issuer_label, row.kind.desc()))
    return [Description(one[0], Kind(one[1]), *one[2:]) for one in found]


def _is(label: str, kind: Kind) -> ColumnElement[bool]:
    return and_(PublishedCrl.issuer_label == label, PublishedCrl.kind == kind.value)


def _changed(session: Session, label: str, since: int) -> Iterator[bytes]:
    """The entries of a delta: what changed after the full list it goes on from, holds that ended included."""
    return _entries(session, and_(RevokedCertificate.issuer_label == label, RevokedCertificate.changed > since))


def _listed(session: Session, label: str, last_at: datetime | None) -> Iterator[bytes]:
    """The entries of a full list. Who was out of date when the last one was made has stood on it, and may go now
    (RFC 5280 §3.3)."""
    wanted = and_(RevokedCertificate.issuer_label == label, RevokedCertificate.reason != CrlReason.REMOVE_FROM_CRL)
    return _entries(session, wanted if last_at is None else and_(wanted, RevokedCertificate.not_after >= last_at))


def _entries(session: Session, wanted: ColumnElement[bool]) -> Iterator[bytes]:
    """In the order of the serial numbers, which are random: an order that tells nothing."""
    row = RevokedCertificate.__table__.c
    query = select(row.serial, row.revoked_s, row.reason).where(wanted).order_by(row.serial)
    writer = crl.EntryWriter()
    # past the ORM, which would make an object of every row
    found = session.connection().execute(query, execution_options={"yield_per": ROWS_AT_ONCE})
    for page in found.partitions():
        yield from writer.entries(page)


def _build(
    session: Session, hsm: Signing, authority: AuthorityRow, frame: Frame, kind: Kind, entries: Iterable[bytes]
) -> _Built:
    issuer = ca.issuer_of(session, hsm, authority)
    listed = list(entries)
    body = crl.to_sign(issuer, frame, listed)
    return _Built(
        Published(authority.label, kind, frame.number, len(listed), der.signed(body, issuer.sign(body))), frame
    )


def _store(factory: SessionFactory, seen: RevocationHead, built: Sequence[_Built], now: datetime) -> bool:
    """Store lists and where the authority stands now; not if another process stored one since the view was taken."""
    values: dict[str, int | datetime] = {"number": seen.number + 1, "told": seen.changes}
    if any(one.published.kind is Kind.FULL for one in built):
        values |= {"base_number": seen.number + 1, "base_changes": seen.changes, "base_at": now}
    with database.transaction(factory) as session:
        mine = update(RevocationHead).where(RevocationHead.label == seen.label, RevocationHead.number == seen.number)
        if session.execute(mine.values(values).returning(RevocationHead.label)).one_or_none() is None:
            log.info("crl published by another process issuer=%s", seen.label)
            return False
        for one in built:
            told = one.published
            session.merge(
                PublishedCrl(
                    issuer_label=seen.label,
                    kind=told.kind.value,
                    number=told.number,
                    entries=told.entries,
                    this_update=one.frame.this_update,
                    next_update=one.frame.next_update,
                    sha256=hashlib.sha256(told.body).digest(),
                    body=told.body,
                )
            )
    return True


def _next_change(session: Session, label: str) -> int:
    """Count one change of an authority; its row stays locked until the commit, so counts follow the commits."""
    counted = update(RevocationHead).where(RevocationHead.label == label).values(changes=RevocationHead.changes + 1)
    number = session.scalar(counted.returning(RevocationHead.changes).execution_options(synchronize_session=False))
    if number is None:
        raise NotFound("trust.no_lists", label=label)
    return int(number)


def _head(session: Session, label: str) -> RevocationHead:
    row = session.get(RevocationHead, label, populate_existing=True)
    if row is None:
        raise NotFound("trust.no_lists", label=label)
    return row


def issuer_label(session: Session, row: AuthorityRow) -> str:
    """Who certified an authority: found by the key identifier that its certificate names."""
    named = asn1.Certificate.load(row.certificate, strict=True).authority_key_identifier
    for other in session.scalars(select(AuthorityRow).where(AuthorityRow.kind.in_((ca.ROOT, ca.ISSUING)))):
        if other.label != row.label and key_id(other.point) == named:
            return other.label
    raise NotFound("trust.no_authority", kind=ca.ISSUING, agency=row.agency_code)
