"""Tables of cards: requests, cards, their certificates, the stock of blanks, the journals of making and updating."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from issuer.database import Base

_OPEN_REQUEST = text("state IN ('requested', 'approved', 'allocated')")
_ACTIVE = text("state = 'active'")
_COUNTS = text("state NOT IN ('spoiled', 'cancelled', 'destroyed')")
_NOT_ENDED = text("ended IS NULL")


class CardRequest(Base):
    """A request for a card. At most one is open for a person: the database holds that, whoever asks at once."""

    __tablename__ = "card_requests"
    __table_args__ = (
        Index(
            "uq_card_requests_open",
            "person_id",
            unique=True,
            sqlite_where=_OPEN_REQUEST,
            postgresql_where=_OPEN_REQUEST,
        ),
        Index("ix_card_requests_agency", "agency_code", "state", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("people.id"), index=True)
    agency_code: Mapped[str]
    kind: Mapped[str]
    form: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str]
    requested_by: Mapped[UUID]
    requested_name: Mapped[str]
    requested_at: Mapped[datetime]
    decided_by: Mapped[UUID | None]
    decided_name: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    decision_reason: Mapped[str | None]


class Card(Base):
    """One card. At most one of a person is active, at most one of a request counts, and a blank is used once."""

    __tablename__ = "cards"
    __table_args__ = (
        Index("uq_cards_active", "person_id", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
        Index("uq_cards_request", "request_id", unique=True, sqlite_where=_COUNTS, postgresql_where=_COUNTS),
        Index("ix_cards_agency", "agency_code", "state", "id"),
        CheckConstraint("(form = 'chip') = (stock_serial IS NOT NULL)", name="chip_has_blank"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    uuid: Mapped[UUID] = mapped_column(unique=True)
    request_id: Mapped[UUID] = mapped_column(ForeignKey("card_requests.id"))
    person_id: Mapped[UUID] = mapped_column(ForeignKey("people.id"), index=True)
    agency_code: Mapped[str]
    form: Mapped[str]
    state: Mapped[str]
    identifier: Mapped[str]
    stock_serial: Mapped[str | None] = mapped_column(ForeignKey("stock.serial"), unique=True)
    master_label: Mapped[str | None]
    kvn: Mapped[int | None]
    status_list: Mapped[int]
    status_idx: Mapped[int]
    issued_on: Mapped[date]
    expires_on: Mapped[date]
    created: Mapped[datetime]
    encoded_by: Mapped[UUID | None]
    key_hash: Mapped[bytes | None]
    credential: Mapped[bytes | None]
    identity: Mapped[bytes | None]
    # Who signed what is on the chip, by label: a key that falls names the cards that need an update.
    credential_label: Mapped[str | None] = mapped_column(index=True)
    identity_label: Mapped[str | None] = mapped_column(index=True)
    content_label: Mapped[str | None] = mapped_column(index=True)
    qr_statement: Mapped[bytes | None]
    qr_text: Mapped[str | None]
    qr_plain: Mapped[str | None]
    state_reason: Mapped[str | None]
    # Block and unblock: who blocked, from which state, and the first of the two persons who want it undone.
    blocked_from: Mapped[str | None]
    blocked_by: Mapped[UUID | None]
    blocked_at: Mapped[datetime | None]
    unblock_by: Mapped[UUID | None]
    # The personalisation job that holds this card now.
    job_token: Mapped[bytes | None]
    job_seen: Mapped[datetime | None]
    pin_taken_at: Mapped[datetime | None]


class CardCertificate(Base):
    """One certificate on a card; `slot` is its key reference in hex."""

    __tablename__ = "card_certificates"

    card_id: Mapped[UUID] = mapped_column(ForeignKey("cards.id"), primary_key=True)
    slot: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[str] = mapped_column(unique=True)
    issuer_label: Mapped[str] = mapped_column(ForeignKey("authorities.label"), index=True)
    certificate: Mapped[bytes]
    not_after: Mapped[datetime] = mapped_column(index=True)


class StockItem(Base):
    """One blank card, by the ten bytes of key diversification data that its chip answers (hex)."""

    __tablename__ = "stock"
    __table_args__ = (Index("ix_stock_state", "state", "serial"),)

    serial: Mapped[str] = mapped_column(primary_key=True)
    batch: Mapped[str]
    transport_label: Mapped[str]
    state: Mapped[str]
    added: Mapped[datetime]
    changed: Mapped[datetime]
    reason: Mapped[str | None]


class PersonalisationStep(Base):
    """The journal of one job: a step is written before it begins and again when it is done."""

    __tablename__ = "personalisation_steps"

    job: Mapped[UUID] = mapped_column(ForeignKey("cards.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int]
    state: Mapped[str]
    tries: Mapped[int]
    started: Mapped[datetime]
    done: Mapped[datetime | None]
    facts: Mapped[dict[str, Any]]


class PersonalisationObject(Base):
    """One prepared object of a card that is being encoded; gone when it is done."""

    __tablename__ = "personalisation_objects"

    job: Mapped[UUID] = mapped_column(ForeignKey("cards.id"), primary_key=True)
    tag: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[bytes]


class CardUpdate(Base):
    """One update of an issued card at a station; at most one of a card is open. `parts`: what it renews.

    `masters` are the key sets that the card may hold while it is under way, oldest first, each [label, key version]:
    the last one is what it shall have. Empty where the keys stay.
    """

    __tablename__ = "card_updates"
    __table_args__ = (
        Index("uq_card_updates_open", "card_id", unique=True, sqlite_where=_NOT_ENDED, postgresql_where=_NOT_ENDED),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_id: Mapped[UUID] = mapped_column(ForeignKey("cards.id"), index=True)
    parts: Mapped[list[Any]]
    masters: Mapped[list[Any]]
    begun: Mapped[datetime]
    begun_by: Mapped[UUID | None]
    begun_name: Mapped[str]
    ended: Mapped[datetime | None]


class CardUpdateCause(Base):
    """One thing on a card that an update replaces: what it is, the key behind it, and what is wrong with that."""

    __tablename__ = "card_update_causes"

    update_id: Mapped[UUID] = mapped_column(ForeignKey("card_updates.id"), primary_key=True)
    what: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True, index=True)
    why: Mapped[str]


class CardUpdateStep(Base):
    """The journal of one update, as that of a personalisation."""

    __tablename__ = "card_update_steps"

    job: Mapped[UUID] = mapped_column(ForeignKey("card_updates.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int]
    state: Mapped[str]
    tries: Mapped[int]
    started: Mapped[datetime]
    done: Mapped[datetime | None]
    facts: Mapped[dict[str, Any]]


class CardUpdateObject(Base):
    """One prepared object of a card that is being updated; gone when it is done."""

    __tablename__ = "card_update_objects"

    job: Mapped[UUID] = mapped_column(ForeignKey("card_updates.id"), primary_key=True)
    tag: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[bytes]
