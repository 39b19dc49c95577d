"""The tables of doors: what they are, what they may do, what they said."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from issuer.database import Base, SerialKey


class Door(Base):
    """One door. `settings` are those of its bundle (F7) that differ from the defaults of its area's level.

    `bundle_seq` is the number of its newest bundle; it only grows, also over epochs. `enrolment` counts the keys that
    the door has had: with a new key its log begins anew.
    """

    __tablename__ = "doors"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    place: Mapped[str]
    area: Mapped[str]
    level: Mapped[int]
    owner_agency: Mapped[str] = mapped_column(index=True)
    settings: Mapped[dict[str, Any]]
    created: Mapped[datetime]
    public_key: Mapped[bytes | None]
    kid: Mapped[bytes | None]
    code_hash: Mapped[bytes | None] = mapped_column(unique=True)
    code_expires: Mapped[datetime | None]
    enrolled_at: Mapped[datetime | None]
    enrolment: Mapped[int]
    accepts_gap: Mapped[bool]
    last_seen: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    bundle_seq: Mapped[int]


class Calendar(Base):
    """When a rule counts: `week` holds seven lists of [from, until] in minutes; `days` replaces the week on dates."""

    __tablename__ = "calendars"
    __table_args__ = (UniqueConstraint("owner_agency", "name"), {"sqlite_autoincrement": True})

    id: Mapped[SerialKey]
    owner_agency: Mapped[str]
    name: Mapped[str]
    week: Mapped[list[Any]]
    days: Mapped[dict[str, Any]]


class DoorRule(Base):
    """One rule of a door: people and agencies, allowed or denied, within a calendar and an interval."""

    __tablename__ = "door_rules"
    __table_args__ = (CheckConstraint("effect IN (0, 1)", name="effect"), {"sqlite_autoincrement": True})

    id: Mapped[SerialKey]
    door_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("doors.id"), index=True)
    effect: Mapped[int]
    agencies: Mapped[list[Any]]
    calendar_id: Mapped[int] = mapped_column(ForeignKey("calendars.id"))
    valid_from: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    created: Mapped[datetime]
    created_by: Mapped[str]


class DoorRulePerson(Base):
    """One person whom a rule names: rules speak of people, never of cards."""

    __tablename__ = "door_rule_people"

    rule_id: Mapped[int] = mapped_column(
        ForeignKey("door_rules.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("people.id"), primary_key=True, index=True)


class Bundle(Base):
    """The newest signed bundle of a door (F7). `content` is the SHA-256 of what it says, numbers and times apart."""

    __tablename__ = "bundles"

    door_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("doors.id"), primary_key=True)
    epoch: Mapped[int]
    seq: Mapped[int]
    content: Mapped[bytes]
    body: Mapped[bytes]
    created: Mapped[datetime]
    expires: Mapped[datetime] = mapped_column(index=True)


class Receipt(Base):
    """How far a door has said that it applied the status feed: its newest verified receipt (F13)."""

    __tablename__ = "receipts"

    door_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("doors.id"), primary_key=True)
    epoch: Mapped[int]
    seq: Mapped[int]
    time: Mapped[datetime]
    received: Mapped[datetime]
    statement: Mapped[bytes]


class DoorEvent(Base):
    """One record of a door's log (F9): its exact bytes, and what the console asks for as columns."""

    __tablename__ = "door_events"
    __table_args__ = (
        UniqueConstraint("door_id", "enrolment", "boot", "seq"),
        Index("ix_door_events_door", "door_id", "id"),
        Index("ix_door_events_card", "card_uuid", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[SerialKey]
    door_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("doors.id"))
    enrolment: Mapped[int]
    boot: Mapped[int]
    seq: Mapped[int]
    record: Mapped[bytes]
    hash: Mapped[bytes]
    at: Mapped[datetime]
    clock: Mapped[int]
    kind: Mapped[str]
    decision: Mapped[str | None]
    reason: Mapped[str | None]
    card_uuid: Mapped[uuid.UUID | None]
    mechanism: Mapped[int | None]
    elapsed_us: Mapped[int]
    received: Mapped[datetime]


class DoorHead(Base):
    """The newest signed head of each boot of a door's log (F9)."""

    __tablename__ = "door_heads"

    door_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("doors.id"), primary_key=True)
    enrolment: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    boot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int]
    hash: Mapped[bytes]
    time: Mapped[datetime]
    statement: Mapped[bytes]


class DoorAlarm(Base):
    """Something a door or its log did that must not happen; stays until somebody has looked at it."""

    __tablename__ = "door_alarms"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[SerialKey]
    door_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("doors.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str]
    facts: Mapped[dict[str, Any]]
    seen_at: Mapped[datetime | None]
    seen_by: Mapped[str | None]
