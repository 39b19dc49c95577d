"""Signed bytes on their way to the feed, written in the transaction that made them true."""

import logging
import socket
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Mapped, Session

from issuer import database
from issuer.config import Config
from issuer.database import Base, SerialKey

log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What an outbox row carries."""

    STATUS = "status"
    TRUST = "trust"
    BUNDLE = "bundle"


class Outbox(Base):
    """One statement for the feed; `id` grows in the order of the commits."""

    __tablename__ = "outbox"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[SerialKey]
    kind: Mapped[str]
    key: Mapped[str]
    body: Mapped[bytes]
    created: Mapped[datetime]


def lock(session: Session) -> None:
    """Hold the outbox until the commit: a reader that has seen number n will never find a smaller one later.

    The audit log's lock comes first, always: a use case that writes to both, in whatever order, cannot wait for one
    that waits for it.
    """
    database.lock(session, "audit")
    database.lock(session, "outbox")


def put(session: Session, kind: Kind, key: str, body: bytes, now: datetime) -> int:
    """Write a statement for the feed; `key` says of what (a list, a door). Answers its number."""
    lock(session)
    row = Outbox(kind=kind.value, key=key, body=body, created=now)
    session.add(row)
    session.flush()
    return row.id


def after(session: Session, number: int, limit: int = 1000) -> Sequence[Outbox]:
    """Read on from `number`, oldest first."""
    return session.scalars(select(Outbox).where(Outbox.id > number).order_by(Outbox.id).limit(limit)).all()


def last(session: Session) -> int:
    """The newest number, 0 when there is none."""
    return session.scalar(select(func.max(Outbox.id))) or 0


def poke(config: Config) -> bool:
    """Tell the feed, after the commit, that there is something to read. Says whether it heard.

    A lost poke delays and never loses: the feed also looks by itself.
    """
    return poke_at(config.feed_poke)


def poke_at(path: Path) -> bool:
    """Send one empty-handed datagram to the feed's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(b"\x01", str(path))
        except OSError as error:
            log.debug("feed not poked socket=%s why=%s", path, error.strerror)
            return False
    return True
