"""The logs of doors at the centre (docs/formats.md, F9): taken in, chained, stored once, acknowledged.

A door sends records in the order of their chain, with a signed head of the last one. Nothing of a message is stored
unless all of it follows; the door deletes only what was acknowledged after our commit.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.statements import record as wire
from cardlink.statements.refusal import Reason
from cardlink.statements.refusal import Refused as StatementRefused
from issuer.access import alarms, doors
from issuer.access.alarms import AlarmKind
from issuer.access.tables import Door, DoorEvent, DoorHead

MAX_RECORDS = 1000
MAX_NUMBER = (1 << 53) - 1
"""Numbers of boots and records beyond this come from no counter."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Up to where the centre has the log: the door may delete up to here."""

    boot: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Records are missing before those sent; the centre has the log up to here."""

    boot: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Unacceptable:
    """Nothing was stored. `code` is a key of the message catalogue."""

    code: str
    detail: str


Answer = Acknowledged | Gap | Unacceptable


def take(session: Session, door_id: uuid.UUID, sent: Sequence[bytes], now: datetime) -> Answer:
    """Take in what a door sent: its records in order and, last, the signed head of the last of them.

    What is stored already is compared and not stored again; an alarm is raised in the caller's transaction, which
    must therefore be committed whatever the answer is. Raises Refused("feed.unknown_door").
    """
    door = doors.enrolled(session, door_id)
    session.refresh(door, with_for_update=True)
    try:
        head, records = _read(door, sent)
    except Malformed as error:
        return Unacceptable("feed.malformed", str(error))
    if isinstance(head, StatementRefused):
        if head.reason is Reason.FORGED_STATEMENT:
            alarms.append(session, door.id, AlarmKind.FORGED_HEAD, {"why": head.reason.value}, now)
        return Unacceptable("feed.bad_head", head.detail)
    doors.seen(session, door.id, now)
    return _take(session, door, head, records, now)


@dataclass(frozen=True, slots=True)
class _Sent:
    """One record as sent and as read."""

    raw: bytes
    record: wire.Record
    hash: bytes


@dataclass(frozen=True, slots=True)
class _Head:
    """A verified head and its statement."""

    said: wire.Head
    raw: bytes


def _read(door: Door, sent: Sequence[bytes]) -> tuple[_Head | StatementRefused, list[_Sent]]:
    if not 1 <= len(sent) <= MAX_RECORDS + 1:
        raise Malformed("door log", f"want a head and at most {MAX_RECORDS} records")
    said = wire.verify_head(wire.read_head(sent[-1]), door.id.bytes, doors.public_key(door))
    if isinstance(said, StatementRefused):
        return said, []
    records = [_Sent(raw, wire.decode_record(raw), wire.record_hash(raw)) for raw in sent[:-1]]
    for one in records:
        if one.record.door_uuid != door.id.bytes:
            raise Malformed("door log", "a record of another door")
        if max(one.record.boot, one.record.seq) > MAX_NUMBER:
            raise Malformed("door log", "a number beyond any counter")
    if records:
        last = records[-1]
        if (said.boot, said.seq, said.record_hash) != (last.record.boot, last.record.seq, last.hash):
            raise Malformed("door log", "the head is not that of the last record sent")
    return _Head(said, sent[-1]), records


def _take(session: Session, door: Door, head: _Head, records: Sequence[_Sent], now: datetime) -> Answer:
    tail = _tail(session, door)
    known = [one for one in records if (one.record.boot, one.record.seq) <= (tail.boot, tail.seq)]
    if not _is_as_stored(session, door, known, head):
        return _fork(session, door, head, now)
    new = records[len(known) :]
    if not records and (head.said.boot, head.said.seq) > (tail.boot, tail.seq):
        return Gap(tail.boot, tail.seq, tail.hash)
    if new:
        refused = _follow(tail, new, door.accepts_gap)
        if refused is not None and refused.reason is Reason.GAP:
            first = new[0].record
            facts = {"has": [tail.boot, tail.seq], "sent": [first.boot, first.seq]}
            alarms.append(session, door.id, AlarmKind.GAP, facts, now)
            return Gap(tail.boot, tail.seq, tail.hash)
        if refused is not None and new[0].record.previous == tail.hash:
            alarms.append(session, door.id, AlarmKind.BROKEN, {"why": refused.detail}, now)
            return Unacceptable("feed.broken_chain", refused.detail)
        if refused is not None:
            return _fork(session, door, head, now)
        _insert(session, door, new, now)
        door.accepts_gap = False
        last = new[-1]
        tail = Acknowledged(last.record.boot, last.record.seq, last.hash)
    _keep_head(session, door, head, is_alone=not records, tail=tail, now=now)
    return tail


def _tail(session: Session, door: Door) -> Acknowledged:
    newest = session.execute(
        select(DoorEvent.boot, DoorEvent.seq, DoorEvent.hash)
        .where(DoorEvent.door_id == door.id, DoorEvent.enrolment == door.enrolment)
        .order_by(DoorEvent.boot.desc(), DoorEvent.seq.desc())
        .limit(1)
    ).one_or_none()
    return Acknowledged(0, 0, wire.NO_RECORD) if newest is None else Acknowledged(newest.boot, newest.seq, newest.hash)


def _is_as_stored(session: Session, door: Door, known: Sequence[_Sent], head: _Head) -> bool:
    """Say whether records sent again, and the record that the head speaks of, are those that are stored."""
    claimed = {(one.record.boot, one.record.seq): one.hash for one in known}
    claimed[head.said.boot, head.said.seq] = head.said.record_hash
    boots = {boot for boot, _ in claimed}
    numbers = [seq for _, seq in claimed]
    stored = session.execute(
        select(DoorEvent.boot, DoorEvent.seq, DoorEvent.hash).where(
            DoorEvent.door_id == door.id,
            DoorEvent.enrolment == door.enrolment,
            DoorEvent.boot.in_(boots),
            DoorEvent.seq.between(min(numbers), min(max(numbers), MAX_NUMBER)),
        )
    )
    held = {(row.boot, row.seq): row.hash for row in stored}
    # A number below the tail that the centre never had (before a gap it was told to accept) is no fork.
    return all(held.get(place, digest) == digest for place, digest in claimed.items())


def _follow(tail: Acknowledged, new: Sequence[_Sent], accepts_gap: bool) -> StatementRefused | None:
    first = new[0].record
    raws = [one.raw for one in new]
    if accepts_gap and (first.boot, first.seq) != (tail.boot, tail.seq + 1):
        end = wire.check_chain(raws, first.previous, first.boot, first.seq - 1)
    else:
        end = wire.check_chain(raws, tail.hash, tail.boot, tail.seq)
    return end if isinstance(end, StatementRefused) else None


def _fork(session: Session, door: Door, head: _Head, now: datetime) -> Unacceptable:
    facts = {"boot": head.said.boot, "seq": head.said.seq, "hash": head.said.record_hash.hex()}
    alarms.append(session, door.id, AlarmKind.FORK, facts, now)
    return Unacceptable("feed.fork", f"record {head.said.boot}.{head.said.seq}")


def _insert(session: Session, door: Door, new: Sequence[_Sent], now: datetime) -> None:
    rows = []
    for one in new:
        record = one.record
        rows.append(
            {
                "door_id": door.id,
                "enrolment": door.enrolment,
                "boot": record.boot,
                "seq": record.seq,
                "record": one.raw,
                "hash": one.hash,
                "at": EPOCH + timedelta(milliseconds=record.wall_ms),
                "clock": int(record.clock),
                "kind": record.kind,
                "decision": None if record.decision is None else record.decision.name.lower(),
                "reason": record.reason,
                "card_uuid": None if record.card_uuid is None else uuid.UUID(bytes=record.card_uuid),
                "mechanism": None if record.mechanism is None else int(record.mechanism),
                "elapsed_us": min(record.elapsed_us, MAX_NUMBER),
                "received": now,
            }
        )
    session.execute(insert(DoorEvent), rows)


def _keep_head(session: Session, door: Door, head: _Head, *, is_alone: bool, tail: Acknowledged, now: datetime) -> None:
    said = head.said
    time = datetime.fromtimestamp(said.time_s, UTC)
    held = session.get(DoorHead, (door.id, door.enrolment, said.boot))
    if is_alone and (said.boot, said.seq) < (tail.boot, tail.seq):
        newest = session.scalar(
            select(DoorHead.time)
            .where(DoorHead.door_id == door.id, DoorHead.enrolment == door.enrolment)
            .order_by(DoorHead.time.desc())
            .limit(1)
        )
        if newest is not None and time > newest:
            facts = {"has": [tail.boot, tail.seq], "says": [said.boot, said.seq]}
            alarms.append(session, door.id, AlarmKind.SHORTENED, facts, now)
        return
    if held is None:
        held = DoorHead(door_id=door.id, enrolment=door.enrolment, boot=said.boot)
        session.add(held)
    elif (said.seq, time) <= (held.seq, held.time):
        return
    held.seq, held.hash, held.time, held.statement = said.seq, said.record_hash, time, head.raw
    session.flush()
