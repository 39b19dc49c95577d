"""The tables of the registry: agencies, places, positions, people, their history, photos."""

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from issuer.database import Base, SerialKey


class RecordState(StrEnum):
    """How far a record has come: kê khai, kiểm tra, thẩm định, phê duyệt."""

    DECLARED = "declared"
    CHECKED = "checked"
    APPRAISED = "appraised"
    APPROVED = "approved"


class Category(StrEnum):
    """The staff categories of Decision 838/QĐ-BNV: the third field of an identifier of scheme 1."""

    CB = "CB"
    CC = "CC"
    VC = "VC"
    XA = "XA"
    XA0 = "XA0"
    HD = "HĐ"


class Agency(Base):
    """A body or a unit of one, by its code (Decision 20/2020/QĐ-TTg). A closed code keeps its row and its successor."""

    __tablename__ = "agencies"
    __table_args__ = (CheckConstraint("scheme IN (1, 2)", name="scheme"),)

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    short_name: Mapped[str]
    kind: Mapped[str]
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]
    """The first day on which the code is closed."""
    successor: Mapped[str | None] = mapped_column(ForeignKey("agencies.code"))
    parent: Mapped[str | None] = mapped_column(ForeignKey("agencies.code"))
    scheme: Mapped[int]


class Place(Base):
    """A place of birth registration: the first three digits of a citizen number (Circular 07/2016)."""

    __tablename__ = "places"

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Position(Base):
    """A position or title, with the colour and the shape that its group has on a face."""

    __tablename__ = "positions"

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    level: Mapped[str]
    colour: Mapped[str]
    shape: Mapped[str]


class Photo(Base):
    """A portrait as it is stored: JPEG, made anew from what was handed in, named by its own hash."""

    __tablename__ = "photos"

    sha256: Mapped[bytes] = mapped_column(primary_key=True)
    source_sha256: Mapped[bytes] = mapped_column(index=True)
    jpeg: Mapped[bytes]
    width: Mapped[int]
    height: Mapped[int]
    stored: Mapped[datetime]


class Person(Base):
    """One person, one record, for life. The row is the present; `person_revisions` is the past."""

    __tablename__ = "people"
    __table_args__ = (
        # Both hold all that a search looks at, so that it reads no row it does not show.
        Index("ix_people_name_sort", "name_sort", "id", "name_fold", "agency_code", "state"),
        Index("ix_people_agency", "agency_code", "name_sort", "id", "name_fold", "state"),
        CheckConstraint("sex IN (1, 2)", name="sex"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    citizen_number: Mapped[str] = mapped_column(unique=True)
    full_name: Mapped[str]
    name_fold: Mapped[str]
    name_sort: Mapped[str]
    birth_date: Mapped[date]
    sex: Mapped[int]
    agency_code: Mapped[str] = mapped_column(ForeignKey("agencies.code"))
    unit: Mapped[str]
    position_code: Mapped[str | None] = mapped_column(ForeignKey("positions.code"))
    title: Mapped[str]
    category: Mapped[str]
    photo_sha256: Mapped[bytes | None] = mapped_column(ForeignKey("photos.sha256"))
    attested_on: Mapped[date | None]
    state: Mapped[str]
    declared_by: Mapped[uuid.UUID | None]
    checked_by: Mapped[uuid.UUID | None]
    appraised_by: Mapped[uuid.UUID | None]
    approved_by: Mapped[uuid.UUID | None]
    source: Mapped[str]
    created: Mapped[datetime]
    updated: Mapped[datetime]
    version: Mapped[int]


class PersonRevision(Base):
    """What a record said from a day on, who entered it and when; `hash` chains the revisions of one person."""

    __tablename__ = "person_revisions"
    __table_args__ = (UniqueConstraint("person_id", "version"),)

    id: Mapped[SerialKey]
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("people.id"))
    version: Mapped[int]
    valid_from: Mapped[date]
    recorded: Mapped[datetime]
    actor: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
    source: Mapped[str]
    facts: Mapped[dict[str, Any]]
    hash: Mapped[bytes]


class PersonStep(Base):
    """One step of the workflow, or the attestation: by whom, when, with what opinion, on which version."""

    __tablename__ = "person_steps"
    __table_args__ = (Index("ix_person_steps_person", "person_id", "id"),)

    id: Mapped[SerialKey]
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("people.id"))
    version: Mapped[int]
    step: Mapped[str]
    at: Mapped[datetime]
    actor: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
    opinion: Mapped[str]
