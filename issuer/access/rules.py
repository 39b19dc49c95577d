"""Rules of a door: people and agencies, allowed or denied, in a calendar. Deny beats grant; no rule, no access."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.statements.agency import check_agency_code
from cardlink.statements.bundle import DAYS_OF_WEEK, MAX_RANGES, MINUTES_OF_DAY
from issuer import outbox, policy
from issuer.access import doors
from issuer.access.tables import Calendar, Door, DoorRule, DoorRulePerson
from issuer.audit import log as audit
from issuer.errors import Conflict, NotFound, Refused
from issuer.policy import Action, Actor
from issuer.registry.tables import Person

ALWAYS = "always"
"""The calendar that each agency has from its first rule on."""
MAX_PEOPLE = 10_000

Intervals = Sequence[tuple[int, int]]


class Effect(IntEnum):
    """What a rule does (docs/formats.md, F7)."""

    DENY = 0
    ALLOW = 1


@dataclass(frozen=True, slots=True)
class RulePlan:
    """What an administrator says of a new rule. `calendar` names one of the owner's calendars; None means always."""

    effect: Effect
    people: tuple[uuid.UUID, ...] = ()
    agencies: tuple[str, ...] = ()
    calendar: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule as a page or a command shows it."""

    id: int
    effect: Effect
    people: tuple[tuple[uuid.UUID, str], ...]
    agencies: tuple[str, ...]
    calendar: str
    valid_from: datetime | None
    valid_until: datetime | None


def add(session: Session, actor: Actor, door_id: uuid.UUID, plan: RulePlan, now: datetime) -> DoorRule:
    """Give a door a rule; publish its bundle afterwards. Raises Forbidden, NotFound, Refused."""
    door = doors.managed(session, actor, door_id)
    _check(plan)
    people = tuple(dict.fromkeys(plan.people))
    known = set(session.scalars(select(Person.id).where(Person.id.in_(people))))
    for person_id in people:
        if person_id not in known:
            raise NotFound("rule.unknown_person", person=str(person_id))
    calendar = _calendar(session, door.owner_agency, plan.calendar)
    rule = DoorRule(
        door_id=door.id,
        effect=int(plan.effect),
        agencies=list(dict.fromkeys(plan.agencies)),
        calendar_id=calendar.id,
        valid_from=plan.valid_from,
        valid_until=plan.valid_until,
        created=now,
        created_by=actor.name,
    )
    session.add(rule)
    session.flush()
    session.add_all(DoorRulePerson(rule_id=rule.id, person_id=person_id) for person_id in people)
    session.flush()
    facts = {
        "rule": rule.id,
        "effect": plan.effect.name.lower(),
        "people": [str(one) for one in people],
        "agencies": list(plan.agencies),
        "calendar": calendar.name,
    }
    audit.append(session, actor, "door.rule.add", str(door.id), facts, now)
    return rule


def remove(session: Session, actor: Actor, rule_id: int, now: datetime) -> uuid.UUID:
    """Take a rule away and answer its door; publish that door's bundle afterwards."""
    rule = session.get(DoorRule, rule_id)
    if rule is None:
        raise NotFound("rule.unknown", rule=rule_id)
    door = doors.managed(session, actor, rule.door_id)
    session.execute(delete(DoorRulePerson).where(DoorRulePerson.rule_id == rule_id))
    session.delete(rule)
    session.flush()
    audit.append(session, actor, "door.rule.remove", str(door.id), {"rule": rule_id}, now)
    return door.id


def rules(session: Session, actor: Actor, door_id: uuid.UUID) -> list[RuleView]:
    """The rules of a door that the actor may see, oldest first."""
    door = doors.door(session, actor, door_id)
    names: dict[int, list[tuple[uuid.UUID, str]]] = {}
    named = (
        select(DoorRulePerson.rule_id, Person.id, Person.full_name)
        .join(DoorRule, DoorRule.id == DoorRulePerson.rule_id)
        .join(Person, Person.id == DoorRulePerson.person_id)
        .where(DoorRule.door_id == door.id)
        .order_by(Person.name_sort)
    )
    for rule_id, person_id, full_name in session.execute(named):
        names.setdefault(rule_id, []).append((person_id, full_name))
    found = (
        select(DoorRule, Calendar.name)
        .join(Calendar, Calendar.id == DoorRule.calendar_id)
        .where(DoorRule.door_id == door.id)
        .order_by(DoorRule.id)
    )
    return [
        RuleView(
            id=rule.id,
            effect=Effect(rule.effect),
            people=tuple(names.get(rule.id, ())),
            agencies=tuple(rule.agencies),
            calendar=calendar,
            valid_from=rule.valid_from,
            valid_until=rule.valid_until,
        )
        for rule, calendar in session.execute(found)
    ]


def add_calendar(
    session: Session,
    actor: Actor,
    owner_agency: str,
    name: str,
    week: Sequence[Intervals],
    days: dict[date, Intervals],
    now: datetime,
) -> Calendar:
    """Make a calendar: seven days of [from, until) minutes from Monday, and dates that replace the week."""
    policy.require(actor, Action.DOOR_MANAGE, owner_agency)
    if len(week) != DAYS_OF_WEEK:
        raise Refused("calendar.needs_seven_days", days=len(week))
    for intervals in (*week, *days.values()):
        _check_intervals(intervals)
    outbox.lock(session)
    if not name.strip() or _find_calendar(session, owner_agency, name) is not None:
        raise Conflict("calendar.name_taken", name=name, agency=owner_agency)
    calendar = Calendar(
        owner_agency=owner_agency,
        name=name,
        week=[[list(one) for one in intervals] for intervals in week],
        days={day.strftime("%Y%m%d"): [list(one) for one in intervals] for day, intervals in days.items()},
    )
    session.add(calendar)
    session.flush()
    audit.append(session, actor, "calendar.add", name, {"agency": owner_agency}, now)
    return calendar


def calendars(session: Session, actor: Actor) -> Sequence[Calendar]:
    """The calendars of the agencies whose doors the actor may see."""
    mine = policy.scope_filter(actor, Action.DOOR_VIEW, Calendar.owner_agency)
    return session.scalars(select(Calendar).where(mine).order_by(Calendar.owner_agency, Calendar.name)).all()


def doors_of_person(session: Session, person_id: uuid.UUID) -> Sequence[uuid.UUID]:
    """The doors in service whose rules name this person."""
    named = (
        select(Door.id)
        .join(DoorRule, DoorRule.door_id == Door.id)
        .join(DoorRulePerson, DoorRulePerson.rule_id == DoorRule.id)
        .where(DoorRulePerson.person_id == person_id, Door.retired_at.is_(None))
        .distinct()
        .order_by(Door.id)
    )
    return session.scalars(named).all()


def _check(plan: RulePlan) -> None:
    if not plan.people and not plan.agencies:
        raise Refused("rule.needs_subject")
    if len(plan.people) > MAX_PEOPLE:
        raise Refused("rule.too_many_people", most=MAX_PEOPLE)
    for prefix in plan.agencies:
        try:
            check_agency_code(prefix)
        except Malformed as error:
            raise Refused("rule.bad_agency", agency=prefix) from error
    if plan.valid_from is not None and plan.valid_until is not None and plan.valid_until <= plan.valid_from:
        raise Refused("rule.ends_before_it_starts")


def _check_intervals(intervals: Intervals) -> None:
    if len(intervals) > MAX_RANGES:
        raise Refused("calendar.too_many_intervals", most=MAX_RANGES)
    before = -1
    for start, end in intervals:
        if not before < start < end <= MINUTES_OF_DAY:
            raise Refused("calendar.bad_interval", start=start, end=end)
        before = end


def _find_calendar(session: Session, owner_agency: str, name: str) -> Calendar | None:
    wanted = select(Calendar).where(Calendar.owner_agency == owner_agency, Calendar.name == name)
    return session.scalar(wanted)


def _calendar(session: Session, owner_agency: str, name: str | None) -> Calendar:
    """The named calendar of an agency; the one that is always open is made when it is first needed."""
    found = _find_calendar(session, owner_agency, name or ALWAYS)
    if found is not None:
        return found
    if name is not None and name != ALWAYS:
        raise NotFound("calendar.unknown", name=name, agency=owner_agency)
    calendar = Calendar(owner_agency=owner_agency, name=ALWAYS, week=[[[0, MINUTES_OF_DAY]]] * DAYS_OF_WEEK, days={})
    session.add(calendar)
    session.flush()
    return calendar
