"""The gate before a card: named rules over a record, each with its reason. Not up to date, no card."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.statements.citizen import Disagreement, Sex, disagreements, parse_citizen_number
from issuer.days import local_day, months_before
from issuer.errors import Refused
from issuer.registry import agencies
from issuer.registry.tables import Agency, Person, Position, RecordState

ATTESTED_WITHIN_MONTHS = 12
BATCH_PEOPLE = 500


class Reason(StrEnum):
    """Why a record is not good enough for a card; its text is `freshness.<reason>`."""

    NOT_APPROVED = "not_approved"
    NOT_ATTESTED = "not_attested"
    ATTESTED_LONG_AGO = "attested_long_ago"
    ATTESTED_IN_FUTURE = "attested_in_future"
    NO_PHOTO = "no_photo"
    NUMBER_AND_SEX = "number_and_sex"
    NUMBER_AND_BIRTH_YEAR = "number_and_birth_year"
    AGENCY_CLOSED = "agency_closed"
    NO_POSITION = "no_position"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason with its facts."""

    reason: Reason
    facts: Mapping[str, object]

    @property
    def code(self) -> str:
        """The reason's key in the message catalogue."""
        return f"freshness.{self.reason}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an office may set about the gate."""

    attested_within_months: int = ATTESTED_WITHIN_MONTHS


@dataclass(frozen=True, slots=True)
class Case:
    """What the rules look at: the record with its agency and position, on a day."""

    person: Person
    agency: Agency
    position: Position | None
    today: date
    limits: Limits


Facts = Mapping[str, object] | None


def is_not_approved(case: Case) -> Facts:
    """The record has not come through declare, check, appraise, approve."""
    return None if case.person.state == RecordState.APPROVED else {"state": case.person.state}


def is_not_attested(case: Case) -> Facts:
    """The person never attested the record as it stands."""
    return {} if case.person.attested_on is None else None


def is_attested_long_ago(case: Case) -> Facts:
    """The attestation is older than the limit."""
    attested = case.person.attested_on
    months = case.limits.attested_within_months
    if attested is None or attested >= months_before(case.today, months):
        return None
    return {"on": f"{attested:%d/%m/%Y}", "months": months}


def is_attested_in_future(case: Case) -> Facts:
    """The attestation bears a day that has not come."""
    attested = case.person.attested_on
    return {"on": f"{attested:%d/%m/%Y}"} if attested is not None and attested > case.today else None


def has_no_photo(case: Case) -> Facts:
    """There is no portrait for the face and the chip."""
    return {} if case.person.photo_sha256 is None else None


def number_disagrees_with_sex(case: Case) -> Facts:
    """The fourth digit tells another sex (docs/formats.md, F1)."""
    return {"number": case.person.citizen_number} if Disagreement.SEX in _disagreements(case.person) else None


def number_disagrees_with_birth_year(case: Case) -> Facts:
    """The fourth to sixth digits tell another birth year (docs/formats.md, F1)."""
    if Disagreement.BIRTH_YEAR not in _disagreements(case.person):
        return None
    return {"number": case.person.citizen_number, "year": case.person.birth_date.year}


def agency_is_closed(case: Case) -> Facts:
    """The agency's code is not valid today."""
    if agencies.is_open(case.agency, case.today):
        return None
    return {"agency": case.agency.code, "successor": case.agency.successor or "-"}


def has_no_position(case: Case) -> Facts:
    """There is no position: the identifier's third field, the colour and the shape come from it."""
    return {} if case.position is None else None


RULES: tuple[tuple[Reason, Callable[[Case], Facts]], ...] = (
    (Reason.NOT_APPROVED, is_not_approved),
    (Reason.NOT_ATTESTED, is_not_attested),
    (Reason.ATTESTED_LONG_AGO, is_attested_long_ago),
    (Reason.ATTESTED_IN_FUTURE, is_attested_in_future),
    (Reason.NO_PHOTO, has_no_photo),
    (Reason.NUMBER_AND_SEX, number_disagrees_with_sex),
    (Reason.NUMBER_AND_BIRTH_YEAR, number_disagrees_with_birth_year),
    (Reason.AGENCY_CLOSED, agency_is_closed),
    (Reason.NO_POSITION, has_no_position),
)


def judge(case: Case) -> tuple[Finding, ...]:
    """Apply every rule. Pure; nothing found means the record may get a card."""
    found = ((reason, rule(case)) for reason, rule in RULES)
    return tuple(Finding(reason, facts) for reason, facts in found if facts is not None)


def findings(session: Session, person: Person, now: datetime, limits: Limits | None = None) -> tuple[Finding, ...]:
    """Judge one record."""
    position = None if person.position_code is None else session.get(Position, person.position_code)
    agency = agencies.get(session, person.agency_code)
    return judge(Case(person, agency, position, local_day(now), limits or Limits()))


def findings_of(
    session: Session, person_ids: Iterable[uuid.UUID], now: datetime, limits: Limits | None = None
) -> Iterator[tuple[Person, tuple[Finding, ...]]]:
    """Judge many records with a handful of queries; the order is that of the keys."""
    positions = {row.code: row for row in session.scalars(select(Position))}
    offices = {row.code: row for row in session.scalars(select(Agency))}
    today = local_day(now)
    for batch in _batches(list(person_ids)):
        people = {row.id: row for row in session.scalars(select(Person).where(Person.id.in_(batch)))}
        for person in (people[key] for key in batch if key in people):
            position = positions.get(person.position_code or "")
            case = Case(person, offices[person.agency_code], position, today, limits or Limits())
            yield person, judge(case)


def require(session: Session, person: Person, now: datetime, limits: Limits | None = None) -> None:
    """Raise Refused("freshness.not_fresh") with every reason unless the record may get a card.

    The fact `reasons` lists the reasons' names, `findings` the findings themselves.
    """
    found = findings(session, person, now, limits)
    if found:
        names = ", ".join(finding.reason for finding in found)
        raise Refused("freshness.not_fresh", name=person.full_name, reasons=names, findings=found)


def _disagreements(person: Person) -> tuple[Disagreement, ...]:
    return disagreements(parse_citizen_number(person.citizen_number), Sex(person.sex), person.birth_date.year)


def _batches(keys: Sequence[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    for start in range(0, len(keys), BATCH_PEOPLE):
        yield keys[start : start + BATCH_PEOPLE]
