"""What the feed reads from the database: numbered events, notices of new trust lists and bundles, and their bytes.

Every function here blocks and runs in a worker thread.
"""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete

from issuer import database, outbox
from issuer.access import bundles
from issuer.database import SessionFactory
from issuer.outbox import Kind, Outbox
from issuer.trust import status, trust_list
from issuer.trust.status import Position

log = logging.getLogger(__name__)

KEEP_OUTBOX = timedelta(days=2)
"""Outbox rows are only news: events, bundles and trust lists stand in tables of their own."""


@dataclass(frozen=True, slots=True)
class Notice:
    """There is a newer trust list (door None) or a newer bundle of one door."""

    kind: Kind
    number: int
    door: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class News:
    """What came since the last look: events in order, notices, and where the database stands now."""

    position: Position
    events: tuple[tuple[Position, bytes], ...]
    notices: tuple[Notice, ...]
    outbox_number: int


@dataclass(frozen=True, slots=True)
class Source:
    """The feed's view of the database."""

    factory: SessionFactory

    def start(self) -> tuple[Position, int]:
        """Where the feed and the outbox stand: what came before is history, which doors fetch by number."""
        with database.reading(self.factory) as session:
            return status.head(session), outbox.last(session)

    def head(self) -> Position:
        """Where the feed stands in the database now."""
        with database.reading(self.factory) as session:
            return status.head(session)

    def news(self, position: Position, outbox_number: int) -> News:
        """All that came after a position and an outbox number; long news come in portions."""
        with database.reading(self.factory) as session:
            head = status.head(session)
            rows = outbox.after(session, outbox_number)
            notices = tuple(notice for row in rows if (notice := _notice(row)) is not None)
            number = rows[-1].id if rows else outbox_number
            if head.epoch != position.epoch:
                # The rest of the epoch that ended, then the new one from its start.
                events = status.events_between(session, position.epoch, position.seq)
                if events:
                    told = tuple((Position(position.epoch, seq), body) for seq, body in events)
                    return News(told[-1][0], told, notices, number)
                position = Position(head.epoch, 0)
            events = status.events_between(session, head.epoch, position.seq) if head > position else []
        told = tuple((Position(head.epoch, seq), body) for seq, body in events)
        return News(told[-1][0] if told else position, told, notices, number)

    def events(self, epoch: int, after: int) -> list[tuple[int, bytes]]:
        """One portion of an epoch's events."""
        with database.reading(self.factory) as session:
            return status.events_between(session, epoch, after)

    def trust(self) -> bytes:
        """The newest trust list. Raises NotFound."""
        with database.reading(self.factory) as session:
            return trust_list.current(session)

    def bundle(self, door_id: uuid.UUID) -> tuple[int, bytes]:
        """The newest bundle of a door: number and statement. Raises NotFound."""
        with database.reading(self.factory) as session:
            return bundles.current(session, door_id)

    def lists(self) -> list[int]:
        """The numbers of the status lists."""
        with database.reading(self.factory) as session:
            return [one.n for one in status.lists(session)]

    def prune(self, now: datetime) -> None:
        """Forget outbox rows that every feed has read long ago."""
        with database.transaction(self.factory) as session:
            session.execute(delete(Outbox).where(Outbox.created < now - KEEP_OUTBOX))


def _notice(row: Outbox) -> Notice | None:
    """Read an outbox row; status rows are told through the numbered events themselves."""
    if row.kind == Kind.TRUST:
        return Notice(Kind.TRUST, int(row.key), None)
    if row.kind == Kind.BUNDLE:
        door, _, seq = row.key.partition(" ")
        return Notice(Kind.BUNDLE, int(seq), uuid.UUID(door))
    return None
