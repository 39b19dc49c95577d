"""People: declared, changed, attested, found. One record for life; every change leaves a revision with it."""

import base64
import binascii
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, literal, or_, select, tuple_, update
from sqlalchemy.orm import Session

from issuer import database, ids, policy
from issuer.audit import log as audit
from issuer.database import starts_with, within_agency
from issuer.days import local_day
from issuer.errors import Conflict, NotFound, Refused
from issuer.policy import Action, Actor
from issuer.registry import names, photos, record
from issuer.registry.record import PersonFacts, Revision
from issuer.registry.tables import Agency, Person, PersonStep, Position, RecordState

MAX_QUERY_CHARS = 100
MIN_NUMBER_DIGITS = 3
PAGE = 50
NEW_PEOPLE = "people.new"
"""The lock under which citizen numbers are compared and added."""


@dataclass(frozen=True, slots=True)
class Change:
    """One record to write: `person_id` and `version` are those of the row it replaces, None and 0 for a new one."""

    person_id: uuid.UUID | None
    version: int
    facts: PersonFacts


@dataclass(frozen=True, slots=True)
class Page:
    """People in the order of their given names; `following` is the cursor of the next page, None at the end."""

    people: Sequence[Person]
    following: str | None


def declare(session: Session, actor: Actor, facts: PersonFacts, source: str, now: datetime) -> Person:
    """Enter a person who is not in the register yet (kê khai)."""
    checked = _check(session, facts, now)
    policy.require(actor, Action.PERSON_DECLARE, checked.agency_code)
    database.lock(session, NEW_PEOPLE)
    if session.scalar(select(Person.id).where(Person.citizen_number == checked.citizen_number)) is not None:
        raise Conflict("people.exists", number=checked.citizen_number)
    (key,) = write(session, actor, [Change(None, 0, checked)], source, now)
    audit.append(session, actor, "person.declared", str(key), {"agency": checked.agency_code, "source": source}, now)
    return _get(session, key)


def revise(
    session: Session, actor: Actor, person_id: uuid.UUID, version: int, facts: PersonFacts, source: str, now: datetime
) -> Person:
    """Change a record, which goes back to `declared`. Raises Conflict if it is not at the `version` the officer saw."""
    person = _get(session, person_id)
    policy.require(actor, Action.PERSON_DECLARE, person.agency_code)
    checked = _check(session, facts, now)
    policy.require(actor, Action.PERSON_DECLARE, checked.agency_code)
    if person.version != version:
        raise Conflict("people.changed_meanwhile", name=person.full_name)
    old = record.facts_of(person)
    if checked == old:
        return person
    if checked.citizen_number != old.citizen_number:
        taken = session.scalar(select(Person.id).where(Person.citizen_number == checked.citizen_number))
        if taken is not None:
            raise Conflict("people.exists", number=checked.citizen_number)
    write(session, actor, [Change(person_id, version, checked)], source, now)
    fields = sorted(name for name, value in checked.as_json().items() if old.as_json()[name] != value)
    audit.append(session, actor, "person.revised", str(person_id), {"fields": fields, "source": source}, now)
    return _get(session, person_id)


def set_photo(session: Session, actor: Actor, person_id: uuid.UUID, raw: bytes, now: datetime) -> Person:
    """Give a record a new portrait; like every change it must be checked and approved again."""
    person = _get(session, person_id)
    policy.require(actor, Action.PERSON_DECLARE, person.agency_code)
    name = photos.store(session, raw, now)
    facts = replace(record.facts_of(person), photo_sha256=name)
    return revise(session, actor, person_id, person.version, facts, "photo", now)


def attest(session: Session, actor: Actor, person_id: uuid.UUID, on: date, now: datetime) -> Person:
    """Enter that the person attested the record as it stands (cam đoan), on a day. The workflow's state stays."""
    person = _get(session, person_id)
    policy.require(actor, Action.PERSON_ATTEST, person.agency_code)
    today = local_day(now)
    if on > today or (person.attested_on is not None and on < person.attested_on):
        raise Refused("people.bad_attestation", on=f"{on:%d/%m/%Y}")
    person.attested_on = on
    person.version += 1
    person.updated = now
    session.flush()
    record.keep(session, actor, [Revision(person.id, person.version, on, record.facts_of(person))], "attestation", now)
    session.execute(insert(PersonStep), [_step(person.id, person.version, "attested", actor, "", now)])
    audit.append(session, actor, "person.attested", str(person.id), {"on": on.isoformat()}, now)
    return person


def write(session: Session, actor: Actor, changes: Sequence[Change], source: str, now: datetime) -> list[uuid.UUID]:
    """Write checked facts of many people at once, with their revisions and the step `declared`; answers their keys.

    The caller has checked the actor's rights. Raises Conflict when a row moved on meanwhile.
    """
    keys = [change.person_id or ids.new_id() for change in changes]
    workflow = {
        "state": RecordState.DECLARED.value, "declared_by": actor.user_id, "checked_by": None, "appraised_by": None,
        "approved_by": None, "source": source, "updated": now,
    }  # fmt: skip
    new: list[dict[str, Any]] = []
    old: list[dict[str, Any]] = []
    for key, change in zip(keys, changes, strict=True):
        values = change.facts.columns() | workflow | {"version": change.version + 1}
        if change.person_id is None:
            new.append(values | {"id": key, "created": now})
        else:
            old.append(values | {"the_id": key, "the_version": change.version})
    if new:
        session.execute(insert(Person), new)
    if old:
        _update(session, old)
    valid_from = local_day(now)
    revisions = [
        Revision(key, change.version + 1, valid_from, change.facts) for key, change in zip(keys, changes, strict=True)
    ]
    record.keep(session, actor, revisions, source, now)
    session.execute(
        insert(PersonStep),
        [_step(item.person_id, item.version, RecordState.DECLARED, actor, "", now) for item in revisions],
    )
    return keys


def get(session: Session, actor: Actor, person_id: uuid.UUID) -> Person:
    """Read one record. Raises NotFound, Forbidden."""
    person = _get(session, person_id)
    policy.require(actor, Action.PERSON_VIEW, person.agency_code)
    return person


def by_number(session: Session, actor: Actor, citizen_number: str) -> Person:
    """Read the record of a citizen number. Raises NotFound, Forbidden."""
    person = session.scalars(select(Person).where(Person.citizen_number == citizen_number)).one_or_none()
    if person is None:
        raise NotFound("people.unknown_number", number=citizen_number)
    policy.require(actor, Action.PERSON_VIEW, person.agency_code)
    return person


def steps(session: Session, person_id: uuid.UUID) -> Sequence[PersonStep]:
    """Who declared, attested, checked, appraised, approved or gave back, with their opinions, in order."""
    return session.scalars(select(PersonStep).where(PersonStep.person_id == person_id).order_by(PersonStep.id)).all()


def search(
    session: Session,
    actor: Actor,
    query: str = "",
    *,
    agency: str | None = None,
    state: RecordState | None = None,
    after: str | None = None,
    limit: int = PAGE,
) -> Page:
    """Find people by words of the name, with or without diacritics, or by the first digits of the citizen number.

    Ordered by given name in the Vietnamese alphabet; `after` is a page's `following`.
    """
    policy.require_anywhere(actor, Action.PERSON_VIEW)
    told = query.strip()[:MAX_QUERY_CHARS]
    by_number = told.isascii() and told.isdigit() and len(told) >= MIN_NUMBER_DIGITS
    # An expression instead of the column keeps the planner on the index of the numbers.
    agency_code = literal("").concat(Person.agency_code) if by_number else Person.agency_code
    # The inner query runs over an index alone; only the rows of the page are read.
    found = select(Person.id).where(policy.scope_filter(actor, Action.PERSON_VIEW, agency_code))
    if by_number:
        found = found.where(starts_with(Person.citizen_number, told))
    else:
        words = names.fold(told).split()
        if told and not words:
            return Page((), None)
        for word in words:
            # Folded words hold a-z and 0-9 only: nothing in them is a wildcard.
            found = found.where(or_(Person.name_fold.like(f"{word}%"), Person.name_fold.like(f"% {word}%")))
    if agency is not None:
        found = found.where(within_agency(agency_code, agency))
    if state is not None:
        found = found.where(Person.state == state)
    if after is not None:
        found = found.where(tuple_(Person.name_sort, Person.id) > tuple_(*_cursor(after)))
    keys_found = found.order_by(Person.name_sort, Person.id).limit(limit + 1)
    in_order = select(Person).where(Person.id.in_(keys_found)).order_by(Person.name_sort, Person.id)
    rows = session.scalars(in_order).all()
    following = _write_cursor(rows[limit - 1]) if len(rows) > limit else None
    return Page(rows[:limit], following)


def keys(session: Session, actor: Actor, agency: str | None = None) -> Sequence[uuid.UUID]:
    """The keys of all people the actor may see, in the order of their names."""
    query = select(Person.id).where(policy.scope_filter(actor, Action.PERSON_VIEW, Person.agency_code))
    if agency is not None:
        query = query.where(within_agency(Person.agency_code, agency))
    return session.scalars(query.order_by(Person.name_sort, Person.id)).all()


def counts(session: Session, actor: Actor, agency: str | None = None) -> dict[RecordState, int]:
    """How many records the actor may see are in each state."""
    query = select(Person.state, func.count()).where(policy.scope_filter(actor, Action.PERSON_VIEW, Person.agency_code))
    if agency is not None:
        query = query.where(within_agency(Person.agency_code, agency))
    found = dict(session.execute(query.group_by(Person.state)).all())
    return {state: found.get(state, 0) for state in RecordState}


def _check(session: Session, facts: PersonFacts, now: datetime) -> PersonFacts:
    """Read facts strictly and in their one written form; agency, position and photo must be known."""
    if facts.sex not in (1, 2):
        raise Refused("record.bad_sex", value=str(facts.sex))
    if session.get(Agency, facts.agency_code) is None:
        raise NotFound("agencies.unknown", code=facts.agency_code)
    position = None if facts.position_code is None else session.get(Position, facts.position_code)
    if facts.position_code is not None and position is None:
        raise NotFound("positions.unknown", code=facts.position_code)
    if facts.photo_sha256 is not None:
        photos.get(session, facts.photo_sha256)
    if facts.attested_on is not None and facts.attested_on > local_day(now):
        raise Refused("people.bad_attestation", on=f"{facts.attested_on:%d/%m/%Y}")
    title = record.check_text(facts.title, "title") or (position.name if position is not None else "")
    return replace(
        facts,
        citizen_number=record.check_number(facts.citizen_number),
        full_name=record.check_name(facts.full_name),
        birth_date=record.check_birth(facts.birth_date, local_day(now)),
        unit=record.check_text(facts.unit, "unit"),
        title=title,
        category=record.check_category(facts.category),
    )


def _get(session: Session, person_id: uuid.UUID) -> Person:
    person = session.get(Person, person_id)
    if person is None:
        raise NotFound("people.unknown")
    return person


def _update(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    table = Person.__table__
    values: dict[str, Any] = {name: bindparam(name) for name in rows[0] if not name.startswith("the_")}
    statement = (
        update(Person)
        .where(table.c.id == bindparam("the_id"), table.c.version == bindparam("the_version"))
        .values(values)
    )
    changed = session.connection().execute(statement, list(rows)).rowcount
    session.expire_all()
    if changed != len(rows):
        raise Conflict("people.changed_meanwhile", name=str(rows[0]["full_name"]))


def _step(
    person_id: uuid.UUID, version: int, step: str, actor: Actor, opinion: str, now: datetime
) -> dict[str, object]:
    return {
        "person_id": person_id, "version": version, "step": str(step), "at": now, "actor": actor.name,
        "actor_id": actor.user_id, "opinion": opinion,
    }  # fmt: skip


def _write_cursor(person: Person) -> str:
    return base64.urlsafe_b64encode(f"{person.id.hex}{person.name_sort}".encode()).decode().rstrip("=")


def _cursor(text: str) -> tuple[str, uuid.UUID]:
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        return plain[32:], uuid.UUID(hex=plain[:32])
    except (binascii.Error, ValueError) as error:
        raise Refused("people.bad_cursor") from error
