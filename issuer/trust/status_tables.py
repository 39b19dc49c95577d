"""The tables of card status: lists, their entries, the numbered feed of events."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from issuer.database import Base

HEAD = 1
"""The key of the one row of `status_head`."""


class StatusHead(Base):
    """Where the feed stands: one row. Whoever changes it holds the lock of the outbox until the commit."""

    __tablename__ = "status_head"
    __table_args__ = (CheckConstraint(f"id = {HEAD}", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    seq: Mapped[int]


class StatusList(Base):
    """One shard of status values. `used` counts its entries; the signer and the length go into the trust list (F8)."""

    __tablename__ = "status_lists"

    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    length: Mapped[int]
    used: Mapped[int]
    created: Mapped[datetime]


class StatusEntry(Base):
    """The place and the value of one card."""

    __tablename__ = "status_entries"
    __table_args__ = (
        # A snapshot reads only what is not valid: a few per cent of the cards.
        Index(
            "ix_status_entries_not_valid",
            "list_n",
            "idx",
            "value",
            sqlite_where=text("value <> 0"),
            postgresql_where=text("value <> 0"),
        ),
        CheckConstraint("value BETWEEN 0 AND 3", name="two_bits"),
    )

    list_n: Mapped[int] = mapped_column(ForeignKey("status_lists.n"), primary_key=True, autoincrement=False)
    idx: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    card_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    value: Mapped[int]
    changed: Mapped[datetime]


class StatusEvent(Base):
    """One signed event of the feed (F6)."""

    __tablename__ = "status_feed"

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[bytes]
    created: Mapped[datetime]
