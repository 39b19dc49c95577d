"""Card status (docs/formats.md, F6): lists as shards, entries, and the numbered, signed feed of their changes.

A change, its signed event and its outbox row are one transaction; the lock of the outbox makes the numbers follow the
commits, so a reader that has seen event n never finds a smaller one later.
"""

import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import and_, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cardlink.statements import status as wire
from cardlink.statements.status import Status
from cardlink.statements.status_state import pack
from issuer import outbox
from issuer.days import local_day
from issuer.errors import NotFound, Refused
from issuer.trust.port import Signing
from issuer.trust.signers import Signer, status_signer
from issuer.trust.status_tables import HEAD, StatusEntry, StatusEvent, StatusHead, StatusList

FIRST_EPOCH = 1
MAX_LIST_BITS = 22
FULL_AT = 0.75
"""A list takes no more cards beyond this: random indexes stay quick to find, and tell nothing."""
SNAPSHOT_LIFE = timedelta(days=7)
SNAPSHOT_TTL = timedelta(minutes=5)
EVENTS_AT_ONCE = 1000
EVENT_BYTES_AT_ONCE = 1 << 20
EVENT_ENTRIES = 2000
"""A mass change is told in events of this many cards: a frame of the stream stays below 32 KiB."""
ENTRIES_AT_ONCE = 1000

_STATUS = tuple(Status)  # by value; quicker than Status(value) for a million rows


class Position(NamedTuple):
    """A place in the feed; positions compare as tuples."""

    epoch: int
    seq: int


class Place(NamedTuple):
    """Where a card's status stands."""

    list_n: int
    idx: int


class PublicState(StrEnum):
    """What the public page may say of a card (codes of the message catalogue hang on them)."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


_PUBLIC: Mapping[Status, PublicState] = {
    Status.VALID: PublicState.ACTIVE,
    Status.REVOKED: PublicState.WITHDRAWN,
    Status.SUSPENDED: PublicState.BLOCKED,
    Status.STOLEN: PublicState.BLOCKED,
}


@dataclass(frozen=True, slots=True)
class SignedSnapshot:
    """One list as of one place of the feed, signed."""

    list_n: int
    position: Position
    body: bytes
    kid: bytes


def create_list(session: Session, bits: int, now: datetime) -> StatusList:
    """Open one more list of 2^bits cards. Doors know it from the next trust list on: publish one afterwards."""
    if not 1 <= bits <= MAX_LIST_BITS:
        raise Refused("status.bad_list_size", most=MAX_LIST_BITS)
    outbox.lock(session)
    if session.get(StatusHead, HEAD) is None:
        session.add(StatusHead(id=HEAD, epoch=FIRST_EPOCH, seq=0))
    newest = session.scalar(select(StatusList.n).order_by(StatusList.n.desc()).limit(1))
    made = StatusList(n=1 if newest is None else newest + 1, length=1 << bits, used=0, created=now)
    session.add(made)
    session.flush()
    return made


def lists(session: Session) -> Sequence[StatusList]:
    """All lists, for the trust list."""
    return session.scalars(select(StatusList).order_by(StatusList.n)).all()


def head(session: Session) -> Position:
    """Where the feed stands. Raises NotFound before the first list."""
    row = session.execute(select(StatusHead.epoch, StatusHead.seq).where(StatusHead.id == HEAD)).one_or_none()
    if row is None:
        raise NotFound("status.no_list")
    return Position(row.epoch, row.seq)


def start_epoch(session: Session) -> int:
    """Begin a new epoch, with its numbers from the start. Doors follow only a trust list that names it (F8)."""
    outbox.lock(session)
    moved = update(StatusHead).where(StatusHead.id == HEAD).values(epoch=StatusHead.epoch + 1, seq=0)
    row = session.execute(moved.returning(StatusHead.epoch)).one_or_none()
    if row is None:
        raise NotFound("status.no_list")
    epoch: int = row.epoch
    return epoch


def allocate(session: Session, card_id: uuid.UUID, now: datetime) -> Place:
    """Give a new card a random unused place. Its value is 0: what keeps it out is that no bundle holds it yet.

    Raises Refused("status.lists_full") when every list has its share of cards.
    """
    taken = (
        update(StatusList)
        .where(StatusList.n == _roomy(session), StatusList.used < StatusList.length * FULL_AT)
        .values(used=StatusList.used + 1)
        .returning(StatusList.n, StatusList.length)
    )
    row = session.execute(taken).one_or_none()
    if row is None:
        raise Refused("status.lists_full")
    list_n, length = row.n, row.length
    while True:
        idx = secrets.randbelow(length)
        values = {"list_n": list_n, "idx": idx, "card_id": card_id, "value": int(Status.VALID), "changed": now}
        if session.get(StatusEntry, (list_n, idx)) is None:
            try:
                with session.begin_nested():
                    session.execute(insert(StatusEntry).values(values))
            except IntegrityError as error:
                if session.scalar(select(StatusEntry.idx).where(StatusEntry.card_id == card_id)) is not None:
                    raise Refused("status.card_has_place", card=str(card_id)) from error
                continue  # another transaction drew the same place
            return Place(list_n, idx)


def place_of(session: Session, card_id: uuid.UUID) -> Place:
    """Where a card's status stands. Raises NotFound."""
    entry = _entry(session, card_id)
    return Place(entry.list_n, entry.idx)


def value_of(session: Session, card_id: uuid.UUID) -> Status:
    """The status of a card now. Raises NotFound."""
    return Status(_entry(session, card_id).value)


def set_status(session: Session, hsm: Signing, card_id: uuid.UUID, value: Status, now: datetime) -> Position:
    """Change one card's status; see `set_statuses`."""
    return set_statuses(session, hsm, [(card_id, value)], now)


def set_statuses(
    session: Session, hsm: Signing, changes: Sequence[tuple[uuid.UUID, Status]], now: datetime
) -> Position:
    """Change entries, sign the next event, put it into the outbox: all in the caller's transaction.

    Answers the place of the feed from which on a door has the change. A value that stands already makes no event.
    Raises Refused("status.final") for a change away from REVOKED, NotFound for a card without a place.
    """
    outbox.lock(session)
    at = head(session)
    changed: dict[Place, Status] = {}
    entries = _entries(session, [card_id for card_id, _ in changes])
    for card_id, value in changes:
        entry = entries.get(card_id)
        if entry is None:
            raise NotFound("status.no_place", card=str(card_id))
        if entry.value == value:
            continue
        if entry.value == Status.REVOKED:
            raise Refused("status.final", card=str(card_id))
        entry.value, entry.changed = int(value), now
        changed[Place(entry.list_n, entry.idx)] = value
    places = list(changed.items())
    if not places:
        return at
    session.flush()
    signer = status_signer(session, hsm, now)
    for first in range(0, len(places), EVENT_ENTRIES):
        at = Position(at.epoch, at.seq + 1)
        _write_event(session, signer, at, places[first : first + EVENT_ENTRIES], now)
    session.execute(update(StatusHead).where(StatusHead.id == HEAD).values(seq=at.seq))
    return at


def events_between(session: Session, epoch: int, after: int, limit: int = EVENTS_AT_ONCE) -> list[tuple[int, bytes]]:
    """The signed events of an epoch after a number, in order: (seq, statement); at most `limit`, and about 1 MiB."""
    query = (
        select(StatusEvent.seq, StatusEvent.body)
        .where(StatusEvent.epoch == epoch, StatusEvent.seq > after)
        .order_by(StatusEvent.seq)
        .limit(limit)
        .execution_options(yield_per=50)
    )
    found: list[tuple[int, bytes]] = []
    size = 0
    with session.execute(query) as rows:
        for row in rows:
            size += len(row.body)
            if found and size > EVENT_BYTES_AT_ONCE:
                break
            found.append((row.seq, row.body))
    return found


def snapshot(session: Session, signer: Signer, list_n: int, now: datetime) -> SignedSnapshot:
    """Build and sign one list as it stands.

    One statement reads the place of the feed and the entries, so both are of one moment on either database; only
    entries that are not valid are read. Raises NotFound for a list that does not exist.
    """
    length = session.scalar(select(StatusList.length).where(StatusList.n == list_n))
    if length is None:
        raise NotFound("status.unknown_list", list=list_n)
    not_valid = and_(StatusEntry.list_n == list_n, StatusEntry.value != 0)
    rows = session.execute(
        select(StatusHead.epoch, StatusHead.seq, StatusEntry.idx, StatusEntry.value)
        .select_from(StatusHead)
        .outerjoin(StatusEntry, not_valid)
        .where(StatusHead.id == HEAD)
    ).all()
    at = Position(rows[0].epoch, rows[0].seq)
    entries = {row.idx: _STATUS[row.value] for row in rows if row.idx is not None}
    issued_s = int(now.timestamp())
    content = wire.Snapshot(
        issuer=signer.agency,
        number=list_n,
        expires_s=issued_s + int(SNAPSHOT_LIFE.total_seconds()),
        issued_s=issued_s,
        ttl_s=int(SNAPSHOT_TTL.total_seconds()),
        epoch=at.epoch,
        seq=at.seq,
        packed=pack(length, entries),
    )
    return SignedSnapshot(list_n, at, wire.issue_snapshot(content, signer.kid, signer.sign), signer.kid)


def heartbeat(signer: Signer, at: Position, issued_s: int) -> bytes:
    """Sign the feed's place at a moment."""
    content = wire.Heartbeat(issuer=signer.agency, issued_s=issued_s, epoch=at.epoch, seq=at.seq)
    return wire.issue_heartbeat(content, signer.kid, signer.sign)


def fresh(signer: Signer, at: Position, nonce: bytes, now: datetime) -> bytes:
    """Answer a door's nonce with the feed's place. Raises Malformed for a nonce of another length."""
    issued_s = int(now.timestamp())
    content = wire.Fresh(issuer=signer.agency, issued_s=issued_s, epoch=at.epoch, seq=at.seq, nonce=nonce)
    return wire.issue_fresh(content, signer.kid, signer.sign)


def public_state(session: Session, list_n: int, idx: int, expires_on: date, now: datetime) -> PublicState:
    """What anybody who holds a card's QR may know of it: nothing but this one word."""
    value = session.scalar(select(StatusEntry.value).where(StatusEntry.list_n == list_n, StatusEntry.idx == idx))
    if value is None:
        return PublicState.UNKNOWN
    state = _PUBLIC[Status(value)]
    if state is PublicState.ACTIVE and local_day(now) > expires_on:
        return PublicState.EXPIRED
    return state


def _roomy(session: Session) -> int | None:
    """The first list that takes more cards."""
    room = select(StatusList.n).where(StatusList.used < StatusList.length * FULL_AT).order_by(StatusList.n).limit(1)
    return session.scalar(room)


def _entry(session: Session, card_id: uuid.UUID) -> StatusEntry:
    entry = session.scalar(select(StatusEntry).where(StatusEntry.card_id == card_id))
    if entry is None:
        raise NotFound("status.no_place", card=str(card_id))
    return entry


def _entries(session: Session, card_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, StatusEntry]:
    """The entries of these cards as the database has them now, not as this session saw them before the lock."""
    found: dict[uuid.UUID, StatusEntry] = {}
    for first in range(0, len(card_ids), ENTRIES_AT_ONCE):
        chosen = select(StatusEntry).where(StatusEntry.card_id.in_(card_ids[first : first + ENTRIES_AT_ONCE]))
        for entry in session.scalars(chosen.execution_options(populate_existing=True)):
            found[entry.card_id] = entry
    return found


def _write_event(
    session: Session, signer: Signer, at: Position, places: Sequence[tuple[Place, Status]], now: datetime
) -> None:
    content = wire.Event(
        issuer=signer.agency,
        issued_s=int(now.timestamp()),
        epoch=at.epoch,
        seq=at.seq,
        entries=tuple(wire.Entry(place.list_n, place.idx, value) for place, value in places),
    )
    body = wire.issue_event(content, signer.kid, signer.sign)
    session.add(StatusEvent(epoch=at.epoch, seq=at.seq, body=body, created=now))
    session.flush()
    outbox.put(session, outbox.Kind.STATUS, f"{at.epoch}.{at.seq}", body, now)
