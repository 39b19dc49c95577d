"""A small office for tests of doors: two agencies, people with cards, an actor who manages doors."""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from signing_keys import LocalKeys, add_signer, sign_with
from sqlalchemy import inspect
from sqlalchemy.orm import Session

from cardlink.statements import receipt as receipt_wire
from cardlink.statements import record as record_wire
from cardlink.statements.cose_key import from_public_key
from issuer.access import doors
from issuer.access.doors import DoorPlan
from issuer.access.tables import Door
from issuer.cards.tables import Card, CardRequest, StockItem
from issuer.policy import Actor, Role
from issuer.registry.tables import Agency, Person
from issuer.trust import status

T = TypeVar("T")

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
OWNER, VISITOR = "H38", "G09"
DOOR_ADMIN = Actor(uuid.UUID(int=1), "quản trị cửa", ((Role.DOOR_ADMIN, OWNER),))
STRANGER = Actor(uuid.UUID(int=2), "quản trị nơi khác", ((Role.DOOR_ADMIN, VISITOR),))
AUDITOR = Actor(uuid.UUID(int=3), "kiểm toán", ((Role.AUDITOR, "*"),))


class DoorKey:
    """A door's own key."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public = from_public_key(self.private.public_key())
        self.kid = self.public.kid()

    def sign(self, data: bytes) -> bytes:
        return sign_with(self.private, data)

    def receipt(self, door_id: uuid.UUID, epoch: int, seq: int, at: datetime = NOW) -> bytes:
        said = receipt_wire.Receipt(door_id.bytes, int(at.timestamp()), epoch, seq)
        return receipt_wire.issue_receipt(said, self.kid, self.sign)

    def head(self, door_id: uuid.UUID, boot: int, seq: int, record: bytes, at: datetime = NOW) -> bytes:
        said = record_wire.Head(door_id.bytes, int(at.timestamp()), boot, seq, record_wire.record_hash(record))
        return record_wire.issue_head(said, self.kid, self.sign)


@dataclass
class DoorLog:
    """A door's log as the door writes it."""

    door_id: uuid.UUID
    key: DoorKey
    boot: int = 1
    seq: int = 0
    previous: bytes = record_wire.NO_RECORD

    def write(self, count: int = 1, reason: str = "expired", card: uuid.UUID | None = None) -> list[bytes]:
        return [self._one(reason, card) for _ in range(count)]

    def restart(self) -> None:
        self.boot, self.seq = self.boot + 1, 0

    def head(self, last: bytes, at: datetime = NOW) -> bytes:
        record = record_wire.decode_record(last)
        return self.key.head(self.door_id, record.boot, record.seq, last, at)

    def message(self, records: list[bytes], at: datetime = NOW) -> list[bytes]:
        return [*records, self.head(records[-1], at)]

    def _one(self, reason: str, card: uuid.UUID | None) -> bytes:
        self.seq += 1
        raw = record_wire.encode_record(
            record_wire.Record(
                door_uuid=self.door_id.bytes,
                boot=self.boot,
                seq=self.seq,
                previous=self.previous,
                wall_ms=int(NOW.timestamp() * 1000) + self.seq,
                monotonic_ms=self.seq,
                clock=record_wire.ClockQuality.CONFIRMED,
                card_uuid=None if card is None else card.bytes,
                mechanism=record_wire.Mechanism.CREDENTIAL,
                kind="tap",
                decision=record_wire.Decision.REFUSED,
                reason=reason,
                bundle_seq=1,
                status_epoch=1,
                status_seq=0,
                elapsed_us=70_000,
            )
        )
        self.previous = record_wire.record_hash(raw)
        return raw


def row(table: type[T], **values: object) -> T:
    """A row of another part's table: what the test does not care about is empty, zero or now."""
    plain: dict[type, object] = {str: "", int: 0, bool: False, object: NOW, date: NOW.date(), dict: {}, list: []}
    for column in inspect(table).columns:
        if column.key not in values and not column.nullable and column.autoincrement is not True:
            values[column.key] = plain[column.type.python_type]
    return table(**values)


def furnish(session: Session, keys: LocalKeys) -> None:
    """Agencies, signers and a status list."""
    for code in (OWNER, VISITOR):
        session.add(row(Agency, code=code, name=f"Cơ quan {code}", scheme=1))
        session.flush()
        add_signer(session, keys, "bundle", code, NOW)
    add_signer(session, keys, "status", VISITOR, NOW)
    status.create_list(session, 10, NOW)


def add_person(session: Session, number: int, agency: str = OWNER) -> uuid.UUID:
    person_id = uuid.UUID(int=1000 + number)
    session.add(
        row(
            Person,
            id=person_id,
            citizen_number=f"0010900{number:05d}",
            full_name=f"Đặng Văn {number}",
            name_sort=f"{number:04d}",
            sex=1,
            agency_code=agency,
        )
    )
    session.flush()
    return person_id


def add_card(session: Session, person_id: uuid.UUID, state: str = "active", form: str = "chip") -> Card:
    request_id, card_id = uuid.uuid4(), uuid.uuid4()
    serial = None if form == "plastic" else card_id.hex[:20]
    session.add(
        row(
            CardRequest,
            id=request_id,
            person_id=person_id,
            form=form,
            state="cancelled",
            requested_by=uuid.UUID(int=9),
        )
    )
    if serial is not None:
        session.add(row(StockItem, serial=serial, state="used"))
    session.flush()
    place = status.allocate(session, card_id, NOW)
    card = row(
        Card,
        id=card_id,
        uuid=uuid.uuid4(),
        request_id=request_id,
        person_id=person_id,
        agency_code=OWNER,
        form=form,
        state=state,
        stock_serial=serial,
        status_list=place.list_n,
        status_idx=place.idx,
        expires_on=NOW.date() + timedelta(days=1800),
        key_hash=None if form == "plastic" else card_id.bytes,
    )
    session.add(card)
    session.flush()
    return card


def add_door(session: Session, name: str = "Cửa chính", **overrides: object) -> Door:
    plan = DoorPlan(name, "Tầng 1", "Sảnh", 0, OWNER, dict(overrides))
    return doors.add(session, DOOR_ADMIN, plan, NOW)


def enrol(session: Session, door_id: uuid.UUID, key: DoorKey) -> None:
    code = doors.new_code(session, DOOR_ADMIN, door_id, NOW)
    doors.enrol(session, code, key.public, None, NOW)
