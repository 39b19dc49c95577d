"""The gate before a card: one rule, one reason, each shown alone."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest
from centre import CLERK, NOW, SETUP, TODAY, facts, jpeg, make_factory
from sqlalchemy.orm import Session

from issuer import database
from issuer.days import months_before
from issuer.errors import Refused
from issuer.registry import agencies, freshness, people, photos
from issuer.registry.freshness import RULES, Limits, Reason
from issuer.registry.tables import Person, RecordState


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with database.transaction(make_factory(tmp_path)) as session:
        yield session


@pytest.fixture
def person(session: Session) -> Person:
    """A record that may get a card."""
    photo = photos.store(session, jpeg(), NOW)
    person = people.declare(session, CLERK, facts(photo_sha256=photo), "form", NOW)
    person.state = RecordState.APPROVED
    session.flush()
    return person


def reasons(session: Session, person: Person, now: datetime = NOW, limits: Limits | None = None) -> list[Reason]:
    return [finding.reason for finding in freshness.findings(session, person, now, limits)]


def test_a_whole_record_may_get_a_card(session: Session, person: Person) -> None:
    assert reasons(session, person) == []
    freshness.require(session, person, NOW)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": RecordState.APPRAISED}, Reason.NOT_APPROVED),
        ({"attested_on": None}, Reason.NOT_ATTESTED),
        ({"attested_on": date(2025, 3, 1)}, Reason.ATTESTED_LONG_AGO),
        ({"attested_on": date(2026, 3, 3)}, Reason.ATTESTED_IN_FUTURE),
        ({"photo_sha256": None}, Reason.NO_PHOTO),
        ({"sex": 2}, Reason.NUMBER_AND_SEX),
        ({"birth_date": date(1986, 6, 7)}, Reason.NUMBER_AND_BIRTH_YEAR),
        ({"agency_code": "H63"}, Reason.AGENCY_CLOSED),
        ({"position_code": None}, Reason.NO_POSITION),
    ],
)
def test_each_rule_has_its_reason(session: Session, person: Person, changes: dict[str, object], reason: Reason) -> None:
    for name, value in changes.items():
        setattr(person, name, value)
    assert reasons(session, person) == [reason]


def test_every_reason_has_a_rule() -> None:
    assert [reason for reason, _ in RULES] == list(Reason)


def test_the_last_day_of_the_limit_still_counts(session: Session, person: Person) -> None:
    person.attested_on = date(2025, 3, 2)
    assert reasons(session, person) == []
    assert reasons(session, person, limits=Limits(attested_within_months=6)) == [Reason.ATTESTED_LONG_AGO]


def test_an_agency_closes_on_its_day_and_not_before(session: Session, person: Person) -> None:
    agencies.close(session, SETUP, "H38", date(2026, 3, 3), "H60", NOW)
    assert reasons(session, person) == []
    agencies.close(session, SETUP, "H38", TODAY, "H60", NOW)
    found = freshness.findings(session, person, NOW)
    assert [(it.reason, it.facts) for it in found] == [(Reason.AGENCY_CLOSED, {"agency": "H38", "successor": "H60"})]


def test_a_refusal_names_every_reason(session: Session, person: Person) -> None:
    person.photo_sha256 = None
    person.attested_on = None
    with pytest.raises(Refused) as refused:
        freshness.require(session, person, NOW)
    assert refused.value.code == "freshness.not_fresh"
    assert refused.value.facts["reasons"] == "not_attested, no_photo"


def test_many_are_judged_as_one_is(session: Session, person: Person) -> None:
    other = people.declare(session, CLERK, facts("010085000002", "Lê Văn An"), "form", NOW)
    judged = {it.id: found for it, found in freshness.findings_of(session, [person.id, other.id], NOW)}
    assert judged[person.id] == ()
    assert judged[other.id] == freshness.findings(session, other, NOW)


@pytest.mark.parametrize(
    ("day", "months", "before"),
    [
        (date(2026, 3, 31), 1, date(2026, 2, 28)),
        (date(2024, 3, 31), 1, date(2024, 2, 29)),
        (date(2026, 1, 15), 12, date(2025, 1, 15)),
        (date(2026, 12, 31), 12, date(2025, 12, 31)),
        (date(2026, 1, 31), 2, date(2025, 11, 30)),
    ],
)
def test_months_are_counted_back_to_a_day_that_exists(day: date, months: int, before: date) -> None:
    assert months_before(day, months) == before
