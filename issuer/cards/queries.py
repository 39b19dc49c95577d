"""What lists and pages ask about requests and cards, within what the actor may see; keyset paging, newest first."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from issuer import policy
from issuer.cards.states import IN_THE_MAKING, CardState
from issuer.cards.tables import Card, CardRequest
from issuer.database import within_agency
from issuer.errors import NotFound
from issuer.policy import Action, Actor
from issuer.registry.tables import Person

PAGE = 50
Row = TypeVar("Row", Card, CardRequest)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows; None asks for any. `after` is the last id of the page before."""

    state: str | None = None
    agency: str | None = None
    after: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows with their people; `following` is the cursor of the next page, None at the end."""

    rows: Sequence[tuple[Row, Person]]
    following: uuid.UUID | None


def requests(session: Session, actor: Actor, wanted: Filter) -> Page[CardRequest]:
    """Requests the actor may see, newest first."""
    query = select(CardRequest, Person).join(Person, Person.id == CardRequest.person_id)
    query = query.where(policy.scope_filter(actor, Action.CARD_VIEW, CardRequest.agency_code))
    if wanted.state is not None:
        query = query.where(CardRequest.state == wanted.state)
    if wanted.agency is not None:
        query = query.where(CardRequest.agency_code == wanted.agency)
    if wanted.after is not None:
        query = query.where(CardRequest.id < wanted.after)
    rows = session.execute(query.order_by(CardRequest.id.desc()).limit(PAGE + 1)).all()
    return Page(rows[:PAGE], rows[PAGE - 1][0].id if len(rows) > PAGE else None)


def cards(session: Session, actor: Actor, wanted: Filter) -> Page[Card]:
    """Cards the actor may see, newest first."""
    query = select(Card, Person).join(Person, Person.id == Card.person_id)
    query = query.where(policy.scope_filter(actor, Action.CARD_VIEW, Card.agency_code))
    if wanted.state is not None:
        query = query.where(Card.state == wanted.state)
    if wanted.agency is not None:
        query = query.where(Card.agency_code == wanted.agency)
    if wanted.after is not None:
        query = query.where(Card.id < wanted.after)
    rows = session.execute(query.order_by(Card.id.desc()).limit(PAGE + 1)).all()
    return Page(rows[:PAGE], rows[PAGE - 1][0].id if len(rows) > PAGE else None)


def request(session: Session, actor: Actor, request_id: uuid.UUID) -> tuple[CardRequest, Person]:
    """One request with its person. Raises NotFound, Forbidden."""
    found = session.get(CardRequest, request_id)
    if found is None:
        raise NotFound("cards.unknown_request", request=str(request_id))
    policy.require(actor, Action.CARD_VIEW, found.agency_code)
    return found, session.get_one(Person, found.person_id)


def card(session: Session, actor: Actor, card_id: uuid.UUID) -> tuple[Card, Person]:
    """One card with its person. Raises NotFound, Forbidden."""
    found = session.get(Card, card_id)
    if found is None:
        raise NotFound("cards.unknown", card=str(card_id))
    policy.require(actor, Action.CARD_VIEW, found.agency_code)
    return found, session.get_one(Person, found.person_id)


def named(session: Session, actor: Actor, name: str) -> Card:
    """The card of this UUID (the one on the chip), or of this row key. Raises NotFound, Forbidden."""
    try:
        key = uuid.UUID(name)
    except ValueError as error:
        raise NotFound("cards.unknown", card=name) from error
    found = session.scalars(select(Card).where(or_(Card.uuid == key, Card.id == key))).one_or_none()
    if found is None:
        raise NotFound("cards.unknown", card=name)
    policy.require(actor, Action.CARD_VIEW, found.agency_code)
    return found


def request_ids(session: Session, actor: Actor, state: str, agency: str | None) -> Sequence[uuid.UUID]:
    """All requests in a state that the actor may see, oldest first; of an agency and what is below it."""
    query = select(CardRequest.id).where(CardRequest.state == state)
    query = query.where(policy.scope_filter(actor, Action.CARD_VIEW, CardRequest.agency_code))
    if agency is not None:
        query = query.where(within_agency(CardRequest.agency_code, agency))
    return session.scalars(query.order_by(CardRequest.id)).all()


def cards_of(session: Session, person_id: uuid.UUID) -> Sequence[Card]:
    """All cards a person has or had, newest first; the caller has checked the person's record."""
    return session.scalars(select(Card).where(Card.person_id == person_id).order_by(Card.id.desc())).all()


def requests_of(session: Session, person_id: uuid.UUID) -> Sequence[CardRequest]:
    """All requests for a person, newest first; the caller has checked the person's record."""
    found = select(CardRequest).where(CardRequest.person_id == person_id).order_by(CardRequest.id.desc())
    return session.scalars(found).all()


def card_of_request(session: Session, request_id: uuid.UUID) -> Card | None:
    """The newest card made for a request."""
    found = select(Card).where(Card.request_id == request_id).order_by(Card.id.desc()).limit(1)
    return session.scalars(found).one_or_none()


def current_cards(session: Session, people: Sequence[uuid.UUID]) -> dict[uuid.UUID, Card]:
    """The card that counts (active, else one in the making, else blocked) of each of these people."""
    found = session.scalars(select(Card).where(Card.person_id.in_(people)).order_by(Card.id)).all()
    current: dict[uuid.UUID, Card] = {}
    for one in found:
        held = current.get(one.person_id)
        if held is None or _rank(one) >= _rank(held):
            current[one.person_id] = one
    return current


def card_counts(session: Session, actor: Actor) -> dict[str, int]:
    """How many cards the actor may see are in each state."""
    mine = policy.scope_filter(actor, Action.CARD_VIEW, Card.agency_code)
    return dict(session.execute(select(Card.state, func.count()).where(mine).group_by(Card.state)).all())


def request_counts(session: Session, actor: Actor) -> dict[str, int]:
    """How many requests the actor may see are in each state."""
    mine = policy.scope_filter(actor, Action.CARD_VIEW, CardRequest.agency_code)
    found = select(CardRequest.state, func.count()).where(mine).group_by(CardRequest.state)
    return dict(session.execute(found).all())


def _rank(one: Card) -> int:
    if one.state == CardState.ACTIVE:
        return 3
    return 2 if one.state in IN_THE_MAKING else 1
