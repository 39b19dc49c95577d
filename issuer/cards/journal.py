"""The journal of a personalisation: each step is committed before it begins and after it is done.

A journal belongs to the holder of a token, the lease of one job. Whoever lost the lease writes nothing more, so two
stations cannot both drive one card.
"""

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.orm import Session

from issuer import database
from issuer.cards.plan import Plan
from issuer.cards.states import CardState
from issuer.cards.tables import Card, PersonalisationObject, PersonalisationStep
from issuer.database import SessionFactory
from issuer.errors import Conflict, NotFound, Refused

LEASE = timedelta(seconds=30)
"""So long after its last step a job still belongs to the one who holds it."""
STARTED, DONE = "started", "done"
TOKEN_BYTES = 16
# The journal is written at every step of every card: through Core, without the ORM's bookkeeping.
STEPS = cast(Table, PersonalisationStep.__table__)
CARDS = cast(Table, Card.__table__)


@dataclass(slots=True)
class Entry:
    """What the journal says of one step."""

    state: str
    tries: int
    facts: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """The journal of one job in the hand of one station."""

    def __init__(
        self, factory: SessionFactory, job: uuid.UUID, token: bytes, plan: Plan, clock: Callable[[], datetime]
    ) -> None:
        self._factory = factory
        self.job = job
        self._token = token
        self._plan = plan
        self._clock = clock
        self._entries: dict[str, Entry] = {}

    def load(self) -> None:
        """Read what was done before."""
        with database.reading(self._factory) as session:
            rows = session.scalars(select(PersonalisationStep).where(PersonalisationStep.job == self.job)).all()
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
        with database.transaction(self._factory) as session:
            self.hold(session)
            begun = self._begin(session, name)
        self._entries[name] = begun
        return begun.tries

    def done(self, name: str, facts: Mapping[str, Any], following: str | None) -> None:
        """Commit that a step is done and, in the same transaction, that the next one begins."""
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound("cards.no_step", step=name)
        ended = update(STEPS).where(STEPS.c.job == self.job, STEPS.c.name == name)
        with database.transaction(self._factory) as session:
            self.hold(session)
            session.execute(ended.values(state=DONE, done=self._clock(), facts=dict(facts)))
            begun = None if following is None else self._begin(session, following)
        self._entries[name] = Entry(DONE, entry.tries, dict(facts))
        if following is not None and begun is not None:
            self._entries[following] = begun

    def _begin(self, session: Session, name: str) -> Entry:
        entry, now = self._entries.get(name), self._clock()
        if entry is None:
            row = {"job": self.job, "name": name, "n": self._plan.number(name), "done": None, "facts": {}}
            session.execute(insert(STEPS).values(state=STARTED, tries=1, started=now, **row))
            return Entry(STARTED, 1)
        again = update(STEPS).where(STEPS.c.job == self.job, STEPS.c.name == name)
        session.execute(again.values(state=STARTED, tries=entry.tries + 1, started=now))
        return Entry(STARTED, entry.tries + 1, entry.facts)

    def hold(self, session: Session) -> None:
        """Keep the lease alive. Raises Conflict when somebody else has it."""
        mine = update(CARDS).where(CARDS.c.id == self.job, CARDS.c.job_token == self._token)
        held = session.execute(mine.values(job_seen=self._clock()).returning(CARDS.c.id)).one_or_none()
        if held is None:
            raise Conflict("cards.job_lost", job=str(self.job))

    def release(self) -> None:
        """Give the job up, so that it can be resumed at once."""
        with database.transaction(self._factory) as session:
            mine = update(CARDS).where(CARDS.c.id == self.job, CARDS.c.job_token == self._token)
            session.execute(mine.values(job_token=None, job_seen=None))


def claim(session: Session, card: Card, now: datetime) -> bytes:
    """Take the job of an allocated card. Raises Conflict while somebody else is at it, Refused when it is done."""
    if card.state != CardState.ALLOCATED:
        raise Refused("cards.not_to_encode", card=str(card.uuid), state=card.state)
    if card.job_token is not None and card.job_seen is not None and now - card.job_seen < LEASE:
        raise Conflict("cards.job_taken", card=str(card.uuid))
    card.job_token, card.job_seen = secrets.token_bytes(TOKEN_BYTES), now
    session.flush()
    return card.job_token


def keep_objects(session: Session, job: uuid.UUID, contents: Mapping[int, bytes]) -> None:
    """Keep the prepared objects until the card has them: a resumed job must write the very bytes that were hashed."""
    drop_objects(session, job)
    session.add_all(PersonalisationObject(job=job, tag=tag, content=content) for tag, content in contents.items())
    session.flush()


def objects_of(session: Session, job: uuid.UUID) -> dict[int, bytes]:
    """The prepared objects of a job, by tag."""
    rows = session.scalars(select(PersonalisationObject).where(PersonalisationObject.job == job))
    return {row.tag: row.content for row in rows}


def drop_objects(session: Session, job: uuid.UUID) -> None:
    """Forget the prepared objects: the card has them, or never will."""
    session.execute(delete(PersonalisationObject).where(PersonalisationObject.job == job))
