"""The journal of a job, making a card or updating one: each step is committed before it begins and when it is done.

Nothing happens between the end of a step and the begin of the next one: one transaction holds both.

A journal belongs to the holder of a token, the lease of one card. Whoever lost the lease writes nothing more, so two
stations cannot both drive one card.
"""

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from issuer import database
from issuer.cards.plan import Plan
from issuer.cards.states import CardState
from issuer.cards.tables import Card, CardUpdateObject, CardUpdateStep, PersonalisationObject, PersonalisationStep
from issuer.database import Base, SessionFactory
from issuer.errors import Conflict, NotFound, Refused

LEASE = timedelta(seconds=30)
"""So long after its last step a job still belongs to the one who holds it."""
RENEW_AFTER = timedelta(seconds=1)
"""So old the noted time of a lease may be before a step notes it anew: a card's row is long, its steps are short."""
STARTED, DONE = "started", "done"
TOKEN_BYTES = 16
CARDS = cast(Table, Card.__table__)
_MINE = update(CARDS).where(CARDS.c.id == bindparam("of_card"), CARDS.c.job_token == bindparam("of_token"))
_HOLD = (  # locks the row on PostgreSQL; on SQLite the writer is alone
    select(CARDS.c.job_seen)
    .where(CARDS.c.id == bindparam("of_card"), CARDS.c.job_token == bindparam("of_token"))
    .with_for_update()
)
_RENEW = _MINE.values(job_seen=bindparam("seen"))
_RELEASE = _MINE.values(job_token=None, job_seen=None)


class Book:
    """The tables of one kind of job: written at every step of every card, through Core, in statements built once."""

    def __init__(self, steps: type[Base], objects: type[Base]) -> None:
        self.steps, self.objects = cast(Table, steps.__table__), cast(Table, objects.__table__)
        own = self.steps.c
        one = update(self.steps).where(own.job == bindparam("of_job"), own.name == bindparam("of_name"))
        self.begin = insert(self.steps)
        self.begin_again = one.values(state=STARTED, tries=bindparam("tries"), started=bindparam("started"))
        self.end = one.values(state=DONE, done=bindparam("done"), facts=bindparam("facts"))
        self.keep = insert(self.objects)
        self.drop = delete(self.objects).where(self.objects.c.job == bindparam("of_job"))


MAKING = Book(PersonalisationStep, PersonalisationObject)
UPDATING = Book(CardUpdateStep, CardUpdateObject)


@dataclass(slots=True)
class Entry:
    """What the journal says of one step."""

    state: str
    tries: int
    facts: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """The journal of one job in the hand of one station."""

    def __init__(
        self,
        factory: SessionFactory,
        job: uuid.UUID,
        token: bytes,
        plan: Plan,
        clock: Callable[[], datetime],
        book: Book = MAKING,
        card_id: uuid.UUID | None = None,
    ) -> None:
        """`card_id`: whose lease this is, where the job has another name than its card."""
        self._factory = factory
        self._engine = _engine_of(factory)
        self.job = job
        self.book = book
        self._card_id = job if card_id is None else card_id
        self._token = token
        self._plan = plan
        self._clock = clock
        self._entries: dict[str, Entry] = {}

    def load(self) -> None:
        """Read what was done before."""
        with database.reading(self._factory) as session:
            rows = session.execute(select(self.book.steps).where(self.book.steps.c.job == self.job)).all()
        self._entries = {row.name: Entry(row.state, row.tries, row.facts) for row in rows}

    def entry(self, name: str) -> Entry | None:
        """What is known of a step."""
        return self._entries.get(name)

    def is_done(self, name: str) -> bool:
        """Say whether a step is done."""
        entry = self._entries.get(name)
        return entry is not None and entry.state == DONE

    def begin(self, name: str) -> int:
        """Commit that a step begins. Answers how often it has begun by now."""
        with self._engine.begin() as connection:
            self.hold(connection)
            begun = self._begin(connection, name)
        self._entries[name] = begun
        return begun.tries

    def done(self, name: str, facts: Mapping[str, Any], following: str | None) -> None:
        """Commit that a step is done and, in the same transaction, that the next one begins."""
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound("cards.no_step", step=name)
        row = {"of_job": self.job, "of_name": name, "done": self._clock(), "facts": dict(facts)}
        with self._engine.begin() as connection:
            self.hold(connection)
            connection.execute(self.book.end, row)
            begun = None if following is None else self._begin(connection, following)
        self._entries[name] = Entry(DONE, entry.tries, dict(facts))
        if following is not None and begun is not None:
            self._entries[following] = begun

    def _begin(self, connection: Connection, name: str) -> Entry:
        entry, now = self._entries.get(name), self._clock()
        if entry is None:
            row = {"job": self.job, "name": name, "n": self._plan.number(name), "done": None, "facts": {}}
            connection.execute(self.book.begin, row | {"state": STARTED, "tries": 1, "started": now})
            return Entry(STARTED, 1)
        tries = entry.tries + 1
        again = {"of_job": self.job, "of_name": name, "tries": tries, "started": now}
        connection.execute(self.book.begin_again, again)
        return Entry(STARTED, tries, entry.facts)

    def hold(self, connection: Connection) -> None:
        """Keep the lease alive. Raises Conflict when somebody else has it."""
        now, mine = self._clock(), {"of_card": self._card_id, "of_token": self._token}
        held = connection.execute(_HOLD, mine).one_or_none()
        if held is None:
            raise Conflict("cards.job_lost", job=str(self.job))
        if held.job_seen is None or abs(now - held.job_seen) >= RENEW_AFTER:
            connection.execute(_RENEW, mine | {"seen": now})

    def release(self) -> None:
        """Give the job up, so that it can be resumed at once."""
        with self._engine.begin() as connection:
            connection.execute(_RELEASE, {"of_card": self._card_id, "of_token": self._token})


def _engine_of(factory: SessionFactory) -> Engine:
    with factory() as session:
        return cast(Engine, session.get_bind())  # sessions of database.session_factory are bound to an engine


def claim(session: Session, card: Card, now: datetime) -> bytes:
    """Take the job of an allocated card. Raises Conflict while somebody else is at it, Refused when it is done."""
    if card.state != CardState.ALLOCATED:
        raise Refused("cards.not_to_encode", card=str(card.uuid), state=card.state)
    return lease(session, card, now)


def lease(session: Session, card: Card, now: datetime) -> bytes:
    """Take the lease of a card's job. Raises Conflict while somebody else has it."""
    require_free(card, now)
    card.job_token, card.job_seen = secrets.token_bytes(TOKEN_BYTES), now
    session.flush()
    return card.job_token


def require_free(card: Card, now: datetime) -> None:
    """Raise Conflict while a station is at this card."""
    if card.job_token is not None and card.job_seen is not None and now - card.job_seen < LEASE:
        raise Conflict("cards.job_taken", card=str(card.uuid))


def keep_objects(session: Session, job: uuid.UUID, contents: Mapping[int, bytes], book: Book = MAKING) -> None:
    """Keep the prepared objects until the card has them: a resumed job must write the very bytes that were hashed."""
    drop_objects(session, job, book)
    rows = [{"job": job, "tag": tag, "content": content} for tag, content in contents.items()]
    if rows:
        session.connection().execute(book.keep, rows)


def objects_of(session: Session, job: uuid.UUID, book: Book = MAKING) -> dict[int, bytes]:
    """The prepared objects of a job, by tag."""
    own = book.objects.c
    rows = session.connection().execute(select(own.tag, own.content).where(own.job == job))
    return {row.tag: row.content for row in rows}


def facts_of(session: Session, card_id: uuid.UUID, name: str) -> Mapping[str, Any]:
    """What the journal keeps of a step of the making of a card; nothing where it is not done."""
    own = MAKING.steps.c
    query = select(own.facts).where(own.job == card_id, own.name == name, own.state == DONE)
    facts: Mapping[str, Any] | None = session.connection().execute(query).scalar_one_or_none()
    return facts or {}


def drop_objects(session: Session, job: uuid.UUID, book: Book = MAKING) -> None:
    """Forget the prepared objects: the card has them, or never will."""
    session.connection().execute(book.drop, {"of_job": job})
