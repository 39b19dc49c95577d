"""The way of a record: every step by the right person, in order, one by one and in bulk."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from centre import APPROVER, CHECKER, CLERK, NOW, SETUP, STRANGER, facts, make_factory, officer
from sqlalchemy.orm import Session

from issuer import database
from issuer.audit import log
from issuer.database import SessionFactory
from issuer.errors import Conflict, Forbidden, NotFound, Refused
from issuer.ids import new_id
from issuer.policy import Actor, Role
from issuer.registry import people, workflow
from issuer.registry.tables import Person, RecordState
from issuer.registry.workflow import Advanced, Step

BOTH = officer(6, "mai", (Role.HR, "H38"), (Role.APPROVER, "H38"))


@pytest.fixture
def factory(tmp_path: Path) -> SessionFactory:
    return make_factory(tmp_path)


@pytest.fixture
def session(factory: SessionFactory) -> Iterator[Session]:
    with database.transaction(factory) as session:
        yield session


@pytest.fixture
def person(session: Session) -> Person:
    return people.declare(session, CLERK, facts(), "form", NOW)


def go(session: Session, person: Person, *steps: tuple[Step, Actor]) -> Person:
    for step, actor in steps:
        person = workflow.advance(session, actor, person.id, 1, step, "đúng", NOW)
    return person


def test_a_record_comes_through_every_step_with_person_time_and_opinion(session: Session, person: Person) -> None:
    done = go(session, person, (Step.CHECK, CHECKER), (Step.APPRAISE, CHECKER), (Step.APPROVE, APPROVER))
    assert done.state == RecordState.APPROVED
    told = [(row.step, row.actor, row.opinion) for row in people.steps(session, person.id)]
    assert told == [
        ("declared", "hoa", ""), ("checked", "lan", "đúng"), ("appraised", "lan", "đúng"), ("approved", "son", "đúng"),
    ]  # fmt: skip


@pytest.mark.parametrize("step", [Step.APPRAISE, Step.APPROVE])
def test_no_step_is_skipped(session: Session, person: Person, step: Step) -> None:
    actor = APPROVER
    with pytest.raises(Conflict, match=r"workflow\.wrong_state"):
        workflow.advance(session, actor, person.id, 1, step, "", NOW)


def test_who_declared_neither_checks_nor_appraises_nor_approves(session: Session) -> None:
    person = people.declare(session, BOTH, facts(), "form", NOW)
    with pytest.raises(Forbidden, match=r"workflow\.own_check"):
        workflow.advance(session, BOTH, person.id, 1, Step.CHECK, "", NOW)
    go(session, person, (Step.CHECK, CHECKER))
    with pytest.raises(Forbidden, match=r"workflow\.own_appraise"):
        workflow.advance(session, BOTH, person.id, 1, Step.APPRAISE, "", NOW)
    go(session, person, (Step.APPRAISE, CHECKER))
    with pytest.raises(Forbidden, match=r"workflow\.own_approve"):
        workflow.advance(session, BOTH, person.id, 1, Step.APPROVE, "", NOW)


@pytest.mark.parametrize("mine", [Step.CHECK, Step.APPRAISE])
def test_who_did_an_earlier_step_does_not_approve(session: Session, person: Person, mine: Step) -> None:
    for step in (Step.CHECK, Step.APPRAISE):
        workflow.advance(session, BOTH if step is mine else CHECKER, person.id, 1, step, "", NOW)
    with pytest.raises(Forbidden, match=r"workflow\.own_approve"):
        workflow.advance(session, BOTH, person.id, 1, Step.APPROVE, "", NOW)


def test_a_step_needs_its_role_in_the_agency(session: Session, person: Person) -> None:
    for actor in (STRANGER, SETUP, officer(9, "x", (Role.AUDITOR, "H38"))):
        with pytest.raises(Forbidden):
            workflow.advance(session, actor, person.id, 1, Step.CHECK, "", NOW)
    with pytest.raises(Forbidden):
        workflow.advance(session, CHECKER, person.id, 1, Step.APPROVE, "", NOW)


def test_a_step_on_a_version_not_seen_is_refused(session: Session, person: Person) -> None:
    people.revise(session, CLERK, person.id, 1, facts(title="A"), "form", NOW)
    with pytest.raises(Conflict, match=r"people\.changed_meanwhile"):
        workflow.advance(session, CHECKER, person.id, 1, Step.CHECK, "", NOW)


def test_a_record_that_is_not_there_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        workflow.advance(session, CHECKER, new_id(), 1, Step.CHECK, "", NOW)


def test_a_record_is_given_back_with_a_reason(session: Session, person: Person) -> None:
    go(session, person, (Step.CHECK, CHECKER))
    with pytest.raises(Refused, match=r"workflow\.needs_opinion"):
        workflow.give_back(session, APPROVER, person.id, 1, " ", NOW)
    with pytest.raises(Forbidden):
        workflow.give_back(session, STRANGER, person.id, 1, "sai", NOW)
    back = workflow.give_back(session, APPROVER, person.id, 1, "thiếu bằng", NOW)
    assert (back.state, back.checked_by) == (RecordState.DECLARED, None)
    assert people.steps(session, person.id)[-1].opinion == "thiếu bằng"


def many(factory: SessionFactory, count: int) -> None:
    with database.transaction(factory) as session:
        changes = [people.Change(None, 0, facts(f"0100850{n:05d}")) for n in range(count)]
        people.write(session, CLERK, changes, "sheet", NOW)
        people.declare(session, CHECKER, facts("038085000001"), "form", NOW)


def test_a_step_over_an_agency_leaves_out_the_own_records(factory: SessionFactory) -> None:
    many(factory, 1203)
    told: list[tuple[int, int]] = []
    done = workflow.advance_many(factory, CHECKER, Step.CHECK, "H38", "", NOW, lambda n, total: told.append((n, total)))
    assert done == Advanced(1203, 1)
    assert told == [(500, 1203), (1000, 1203), (1203, 1203)]
    assert workflow.advance_many(factory, CHECKER, Step.CHECK, "H38", "", NOW) == Advanced(0, 1)
    with database.reading(factory) as session:
        assert people.counts(session, CLERK)[RecordState.CHECKED] == 1203
        assert sum(row.facts["count"] for row in log.entries(session, action="people.checked")) == 1203
        assert log.verify(session).rows > 0  # type: ignore[union-attr]  # intact, or it has no rows


def test_a_step_over_an_agency_needs_a_named_user_with_the_role_there(factory: SessionFactory) -> None:
    for actor in (STRANGER, SETUP):
        with pytest.raises(Forbidden):
            workflow.advance_many(factory, actor, Step.CHECK, "H38", "", NOW)
