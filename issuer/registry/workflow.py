"""The way of a record: kê khai → kiểm tra → thẩm định → phê duyệt. One table says who may follow whom."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import and_, func, insert, not_, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql import ColumnElement

from issuer import policy
from issuer.audit import log as audit
from issuer.database import SessionFactory, reading, transaction, within_agency
from issuer.errors import Conflict, Forbidden, NotFound, Refused
from issuer.policy import Action, Actor
from issuer.registry import record
from issuer.registry.tables import Person, PersonStep, RecordState

BATCH_PEOPLE = 500
RETURNED = "returned"

Progress = Callable[[int, int], None]
"""Told (done, total)."""


class Step(StrEnum):
    """What an officer does with a declared record."""

    CHECK = "check"
    APPRAISE = "appraise"
    APPROVE = "approve"


@dataclass(frozen=True, slots=True)
class Move:
    """One row: from a state to the next, by whom, and whose earlier work rules a person out."""

    before: RecordState
    after: RecordState
    action: Action
    done_by: InstrumentedAttribute[uuid.UUID | None]
    others: tuple[InstrumentedAttribute[uuid.UUID | None], ...]


MOVES: dict[Step, Move] = {
    Step.CHECK: Move(
        RecordState.DECLARED, RecordState.CHECKED, Action.PERSON_CHECK, Person.checked_by, (Person.declared_by,)
    ),
    Step.APPRAISE: Move(
        RecordState.CHECKED, RecordState.APPRAISED, Action.PERSON_APPRAISE, Person.appraised_by, (Person.declared_by,)
    ),
    Step.APPROVE: Move(
        RecordState.APPRAISED,
        RecordState.APPROVED,
        Action.PERSON_APPROVE,
        Person.approved_by,
        (Person.declared_by, Person.checked_by, Person.appraised_by),
    ),
}


@dataclass(frozen=True, slots=True)
class Advanced:
    """What a step over many records did: `own` were left out because the actor did an earlier step of theirs."""

    done: int
    own: int


def advance(
    session: Session, actor: Actor, person_id: uuid.UUID, version: int, step: Step, opinion: str, now: datetime
) -> Person:
    """Take one record one step further. `version` is the one the officer saw."""
    move = MOVES[step]
    person = session.get(Person, person_id)
    if person is None:
        raise NotFound("people.unknown")
    policy.require(actor, move.action, person.agency_code)
    for column in move.others:
        policy.require_other(actor, getattr(person, column.key), f"workflow.own_{step}")
    if person.version != version:
        raise Conflict("people.changed_meanwhile", name=person.full_name)
    if person.state != move.before:
        raise Conflict("workflow.wrong_state", name=person.full_name, state=person.state)
    said = record.check_text(opinion, "opinion")
    where = and_(Person.id == person_id, Person.version == version, Person.state == move.before)
    _apply(session, actor, move, where, [(person_id, version)], said, now)
    audit.append(session, actor, f"person.{move.after}", str(person_id), {"version": version, "opinion": said}, now)
    return person


def advance_many(
    factory: SessionFactory,
    actor: Actor,
    step: Step,
    agency: str,
    opinion: str,
    now: datetime,
    progress: Progress | None = None,
) -> Advanced:
    """Take every record of an agency that waits for this step one step further, in batches of a transaction each.

    Run again it goes on where it was interrupted.
    """
    move = MOVES[step]
    policy.require(actor, move.action, agency)
    if actor.user_id is None:
        raise Forbidden("policy.needs_user")
    said = record.check_text(opinion, "opinion")
    waiting = and_(within_agency(Person.agency_code, agency), Person.state == move.before)
    is_own = or_(*(column == actor.user_id for column in move.others))
    # A comparison with NULL is neither true nor false: a step nobody did rules nobody out.
    is_others = not_(func.coalesce(is_own, False))
    with reading(factory) as session:
        keys = session.scalars(select(Person.id).where(waiting, is_others).order_by(Person.id)).all()
        own = session.scalar(select(func.count()).select_from(Person).where(waiting, is_own)) or 0
    done = 0
    for start in range(0, len(keys), BATCH_PEOPLE):
        batch = keys[start : start + BATCH_PEOPLE]
        with transaction(factory) as session:
            query = select(Person.id, Person.version).where(
                Person.id.in_(batch), Person.state == move.before, is_others
            )
            people = [(row.id, row.version) for row in session.execute(query.with_for_update())]
            if people:
                _apply(session, actor, move, Person.id.in_([key for key, _ in people]), people, said, now)
                facts = {"count": len(people), "opinion": said}
                audit.append(session, actor, f"people.{move.after}", agency, facts, now)
        done += len(people)
        if progress is not None:
            progress(start + len(batch), len(keys))
    return Advanced(done, own)


def give_back(
    session: Session, actor: Actor, person_id: uuid.UUID, version: int, opinion: str, now: datetime
) -> Person:
    """Send a record back to be declared again; the opinion says why. By anyone who may take it a step."""
    person = session.get(Person, person_id)
    if person is None:
        raise NotFound("people.unknown")
    if not any(policy.allows(actor, move.action, person.agency_code) for move in MOVES.values()):
        raise Forbidden("policy.no_role", action=Action.PERSON_CHECK.value)
    said = record.check_text(opinion, "opinion")
    if not said:
        raise Refused("workflow.needs_opinion")
    if person.version != version:
        raise Conflict("people.changed_meanwhile", name=person.full_name)
    person.state = RecordState.DECLARED
    person.checked_by = person.appraised_by = person.approved_by = None
    person.updated = now
    session.flush()
    session.execute(insert(PersonStep), [_step((person_id, version), RETURNED, actor, said, now)])
    audit.append(session, actor, "person.returned", str(person_id), {"version": version, "opinion": said}, now)
    return person


def _apply(
    session: Session,
    actor: Actor,
    move: Move,
    where: ColumnElement[bool],
    people: list[tuple[uuid.UUID, int]],
    opinion: str,
    now: datetime,
) -> None:
    values = {"state": move.after.value, move.done_by.key: actor.user_id, "updated": now}
    statement = update(Person).where(where, Person.state == move.before).values(values)
    changed = session.connection().execute(statement).rowcount
    session.expire_all()
    if changed != len(people):
        raise Conflict("workflow.taken_meanwhile")
    session.execute(insert(PersonStep), [_step(person, move.after, actor, opinion, now) for person in people])


def _step(person: tuple[uuid.UUID, int], step: str, actor: Actor, opinion: str, now: datetime) -> dict[str, object]:
    return {
        "person_id": person[0], "version": person[1], "step": str(step), "at": now, "actor": actor.name,
        "actor_id": actor.user_id, "opinion": opinion,
    }  # fmt: skip
