"""What the console and the commands ask of the doors' logs: newest first, in pages, and what came since."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from issuer import policy
from issuer.access import doors
from issuer.access.tables import Door, DoorEvent
from issuer.audit import log as audit
from issuer.cards.tables import Card
from issuer.policy import Action, Actor
from issuer.registry.tables import Person

PAGE = 50

_Query = Select[DoorEvent, str, uuid.UUID, str, str]  # person and agency may be NULL: nobody's card, or an unknown one


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; None asks for any."""

    door_id: uuid.UUID | None = None
    card_uuid: uuid.UUID | None = None
    kind: str | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class EventView:
    """One event as a page shows it. The person is named only to those who may see this person's record."""

    id: int
    door_id: uuid.UUID
    door_name: str
    at: datetime
    received: datetime
    kind: str
    decision: str | None
    reason: str | None
    card_uuid: uuid.UUID | None
    person_id: uuid.UUID | None
    person_name: str | None
    mechanism: int | None
    elapsed_us: int


ANY = EventFilter()


def page(
    session: Session, actor: Actor, wanted: EventFilter = ANY, before: int | None = None, limit: int = PAGE
) -> Sequence[EventView]:
    """Events newest first, those numbered below `before` (the last id of the page before)."""
    query = _query(actor, wanted).order_by(DoorEvent.id.desc()).limit(limit)
    if before is not None:
        query = query.where(DoorEvent.id < before)
    return _views(session, actor, query)


def since(
    session: Session, actor: Actor, after: int, wanted: EventFilter = ANY, limit: int = PAGE
) -> Sequence[EventView]:
    """Events that came in after number `after`, oldest first: what a live view asks for."""
    return _views(session, actor, _query(actor, wanted).where(DoorEvent.id > after).order_by(DoorEvent.id).limit(limit))


def last_id(session: Session) -> int:
    """The number of the newest event, 0 when there is none."""
    return session.scalar(select(DoorEvent.id).order_by(DoorEvent.id.desc()).limit(1)) or 0


def accept_gap(session: Session, actor: Actor, door_id: uuid.UUID, now: datetime) -> None:
    """Let a door's log go on after records that are lost for good; the next message may start anywhere, once."""
    door = doors.managed(session, actor, door_id)
    door.accepts_gap = True
    audit.append(session, actor, "door.log.accept_gap", str(door.id), {"name": door.name}, now)


def _query(actor: Actor, wanted: EventFilter) -> _Query:
    query = (
        select(DoorEvent, Door.name, Person.id, Person.full_name, Person.agency_code)
        .join(Door, Door.id == DoorEvent.door_id)
        .outerjoin(Card, Card.uuid == DoorEvent.card_uuid)
        .outerjoin(Person, Person.id == Card.person_id)
        .where(policy.scope_filter(actor, Action.EVENTS_VIEW, Door.owner_agency))
    )
    if wanted.door_id is not None:
        query = query.where(DoorEvent.door_id == wanted.door_id)
    if wanted.card_uuid is not None:
        query = query.where(DoorEvent.card_uuid == wanted.card_uuid)
    if wanted.kind is not None:
        query = query.where(DoorEvent.kind == wanted.kind)
    if wanted.decision is not None:
        query = query.where(DoorEvent.decision == wanted.decision)
    return query


def _views(session: Session, actor: Actor, query: _Query) -> list[EventView]:
    return [
        _view(actor, event, door_name, person_id, person_name, agency)
        for event, door_name, person_id, person_name, agency in session.execute(query)
    ]


def _view(
    actor: Actor,
    event: DoorEvent,
    door_name: str,
    person_id: uuid.UUID | None,
    person_name: str | None,
    agency: str | None,
) -> EventView:
    may_know = agency is not None and policy.allows(actor, Action.PERSON_VIEW, agency)
    return EventView(
        id=event.id,
        door_id=event.door_id,
        door_name=door_name,
        at=event.at,
        received=event.received,
        kind=event.kind,
        decision=event.decision,
        reason=event.reason,
        card_uuid=event.card_uuid,
        person_id=person_id if may_know else None,
        person_name=person_name if may_know else None,
        mechanism=event.mechanism,
        elapsed_us=event.elapsed_us,
    )
