"""The cards that wait for an update, and how far it has come: what lists and pages ask after a key has fallen."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select, true
from sqlalchemy.orm import Session

from issuer import policy
from issuer.cards.tables import Card, CardUpdate, CardUpdateCause
from issuer.cards.update_plan import Cause, KeysAtFault, What, Why, causes_of, is_outdated, keys_at_fault
from issuer.database import within_agency
from issuer.policy import Action, Actor
from issuer.registry.tables import Person

ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Waiting:
    """One card that has to be called in, and for what."""

    card: Card
    person: Person
    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the update of the cards of one key has come."""

    label: str
    why: Why
    waiting: int
    done: int

    @property
    def total(self) -> int:
        """All that were or are to be updated."""
        return self.waiting + self.done


def waiting(
    session: Session, actor: Actor, now: datetime, agency: str | None = None, after: uuid.UUID | None = None
) -> Iterator[Waiting]:
    """Cards that have to be called in, of those that the actor may see, from the oldest one on."""
    keys = keys_at_fault(session, now)
    query = select(Card, Person).join(Person, Person.id == Card.person_id)
    query = query.where(is_outdated(keys), _within(actor, agency))
    if after is not None:
        query = query.where(Card.id > after)
    for card, person in session.execute(query.order_by(Card.id).execution_options(yield_per=ROWS_AT_ONCE)):
        pressing = tuple(one for one in causes_of(session, card, keys) if one.is_pressing)
        yield Waiting(card, person, pressing)


def count(session: Session, actor: Actor, now: datetime) -> int:
    """How many cards have to be called in."""
    query = select(func.count()).select_from(Card).where(is_outdated(keys_at_fault(session, now)), _within(actor, None))
    return session.scalar(query) or 0


def progress(session: Session, actor: Actor, now: datetime, agency: str | None = None) -> list[Progress]:
    """Of each key for which cards are or were called in: how many wait, how many are done."""
    keys = keys_at_fault(session, now)
    found = [_progress(session, keys, label, why, _within(actor, agency)) for label, why in _pressing(keys)]
    return [one for one in found if one.total]


def progress_of(session: Session, label: str, now: datetime) -> Progress:
    """The progress of one key, everywhere."""
    return _progress(session, keys_at_fault(session, now), label, Why.COMPROMISED, true())


def _pressing(keys: KeysAtFault) -> list[tuple[str, Why]]:
    found = {
        label: why
        for why in (Why.ENDING, Why.COMPROMISED)
        for what in (What.CREDENTIAL, What.CONTENT, What.KEYS)  # one of each kind of key
        for label in keys.pressing(what, why)
    }
    return sorted(found.items())


def _progress(session: Session, keys: KeysAtFault, label: str, why: Why, within: ColumnElement[bool]) -> Progress:
    waits = select(func.count()).select_from(Card).where(is_outdated(keys, label), within)
    of_key = select(func.count(CardUpdate.card_id.distinct())).join(CardUpdateCause).join(Card)
    is_cause = and_(CardUpdateCause.label == label, CardUpdateCause.why != Why.REPLACED)
    done = of_key.where(CardUpdate.ended.is_not(None), is_cause, within)
    return Progress(label, why, session.scalar(waits) or 0, session.scalar(done) or 0)


def _within(actor: Actor, agency: str | None) -> ColumnElement[bool]:
    mine = policy.scope_filter(actor, Action.CARD_VIEW, Card.agency_code)
    return mine if agency is None else and_(mine, within_agency(Card.agency_code, agency))
