"""The tables of the audit log: its rows, its Merkle tree, the checkpoints and who signed them."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from issuer.database import Base, BigInt


class AuditRow(Base):
    """One act. `hash` covers this row and, through `previous`, every row before it."""

    __tablename__ = "audit_log"

    n: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
    action: Mapped[str] = mapped_column(index=True)
    subject: Mapped[str] = mapped_column(index=True)
    facts: Mapped[dict[str, Any]]
    previous: Mapped[bytes]
    hash: Mapped[bytes]


class TileRow(Base):
    """Up to 256 hashes of the tree side by side: of leaves on level 0, of full tiles of the level below above it."""

    __tablename__ = "audit_tiles"

    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes]


class CheckpointRow(Base):
    """One signed checkpoint: the tree of the first `size` rows. Never changed."""

    __tablename__ = "audit_checkpoints"

    size: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    note: Mapped[str]


class AuditKeyRow(Base):
    """One Ed25519 key of use audit; the newest signs. `name` is the log's, the same for all of them.

    A key that came into other hands vouches, from `dead_since` on, for one checkpoint alone: its last believed one.
    """

    __tablename__ = "audit_keys"

    label: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    public: Mapped[bytes]
    since: Mapped[datetime]
    dead_since: Mapped[datetime | None]
    last_size: Mapped[int | None]
    last_root: Mapped[bytes | None]
