"""Receipts of doors (docs/formats.md, F13): verified, kept, counted. "41 of 43 doors" counts nothing else."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.statements.receipt import Receipt as Said
from cardlink.statements.receipt import read_receipt, verify_receipt
from cardlink.statements.refusal import Refused as StatementRefused
from issuer import database
from issuer.access import alarms, doors
from issuer.access.alarms import AlarmKind
from issuer.access.tables import Door, Receipt
from issuer.trust import status
from issuer.trust.status import Position


class Outcome(StrEnum):
    """What became of one receipt."""

    TAKEN = "taken"
    OLD = "old"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class DoorConfirmation:
    """How far one door has confirmed."""

    door_id: uuid.UUID
    name: str
    place: str
    owner_agency: str
    is_confirmed: bool
    position: Position | None
    at: datetime | None
    last_seen: datetime | None


@dataclass(frozen=True, slots=True)
class Confirmations:
    """How many of the enrolled doors have applied the feed up to a place, and each of them."""

    confirmed: int
    total: int
    doors: tuple[DoorConfirmation, ...]


def store(session: Session, statements: Sequence[bytes], now: datetime) -> list[Outcome]:
    """Verify receipts by the doors' own keys and keep the newest of each door."""
    database.lock(session, "receipts")
    head = status.head(session)
    return [_store_one(session, raw, head, now) for raw in statements]


def confirmations(session: Session, epoch: int, seq: int) -> Confirmations:
    """Who has confirmed the place (epoch, seq) of the status feed, among the enrolled doors in service."""
    wanted = Position(epoch, seq)
    rows = session.execute(
        select(Door, Receipt)
        .outerjoin(Receipt, Receipt.door_id == Door.id)
        .where(Door.enrolled_at.is_not(None), Door.retired_at.is_(None))
        .order_by(Door.owner_agency, Door.name)
    )
    told = tuple(_told(door, receipt, wanted) for door, receipt in rows)
    return Confirmations(sum(one.is_confirmed for one in told), len(told), told)


def _store_one(session: Session, raw: bytes, head: Position, now: datetime) -> Outcome:
    said = _verified(session, raw)
    if said is None:
        return Outcome.REFUSED
    door_id, place = uuid.UUID(bytes=said.door_uuid), Position(said.epoch, said.seq)
    doors.seen(session, door_id, now)
    told = {"epoch": place.epoch, "seq": place.seq}
    if place > head:
        alarms.append(session, door_id, AlarmKind.AHEAD, told, now)
        return Outcome.REFUSED
    held = session.get(Receipt, door_id)
    time = datetime.fromtimestamp(said.time_s, UTC)
    if held is None:
        held = Receipt(door_id=door_id)
        session.add(held)
    elif place < (held.epoch, held.seq):
        if time > held.time:
            alarms.append(session, door_id, AlarmKind.WENT_BACK, told, now)
        return Outcome.OLD
    elif place == (held.epoch, held.seq):
        return Outcome.OLD
    held.epoch, held.seq, held.time, held.received, held.statement = place.epoch, place.seq, time, now, raw
    session.flush()
    return Outcome.TAKEN


def _verified(session: Session, raw: bytes) -> Said | None:
    """What a receipt says, if it was signed by the key of the door that it names."""
    try:
        received = read_receipt(raw)
    except Malformed:
        return None
    door = session.get(Door, uuid.UUID(bytes=received.value.door_uuid))
    if door is None or door.retired_at is not None or door.public_key is None:
        return None
    said = verify_receipt(received, door.id.bytes, doors.public_key(door))
    return None if isinstance(said, StatementRefused) else said


def _told(door: Door, receipt: Receipt | None, wanted: Position) -> DoorConfirmation:
    position = None if receipt is None else Position(receipt.epoch, receipt.seq)
    return DoorConfirmation(
        door_id=door.id,
        name=door.name,
        place=door.place,
        owner_agency=door.owner_agency,
        is_confirmed=position is not None and position >= wanted,
        position=position,
        at=None if receipt is None else receipt.time,
        last_seen=door.last_seen,
    )
