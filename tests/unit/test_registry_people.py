"""People: declared, revised, attested, found; every version kept."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from centre import CHECKER, CLERK, NOW, SETUP, STRANGER, facts, jpeg, make_factory, officer
from sqlalchemy import text
from sqlalchemy.orm import Session

from issuer import database
from issuer.audit import log
from issuer.database import SessionFactory
from issuer.errors import Conflict, Forbidden, NotFound, Refused
from issuer.policy import Role
from issuer.registry import people, record
from issuer.registry.tables import Person, RecordState

LATER = NOW + timedelta(days=1)


@pytest.fixture
def factory(tmp_path: Path) -> SessionFactory:
    return make_factory(tmp_path)


@pytest.fixture
def session(factory: SessionFactory) -> Iterator[Session]:
    with database.transaction(factory) as session:
        yield session


def declared(session: Session, number: str = "010085012345", name: str = "Đặng Văn Ước", **changes: object) -> Person:
    return people.declare(session, CLERK, facts(number, name, **changes), "form", NOW)


def test_a_declared_person_is_kept_with_first_version_step_and_audit_row(session: Session) -> None:
    person = declared(session)
    assert (person.state, person.version, person.declared_by) == (RecordState.DECLARED, 1, CLERK.user_id)
    assert (person.name_fold, person.name_sort[:1]) == ("dang van uoc", person.name_sort[:1])
    assert [(row.version, row.actor, row.source) for row in record.history(session, person.id)] == [(1, "hoa", "form")]
    assert [(row.step, row.actor) for row in people.steps(session, person.id)] == [("declared", "hoa")]
    assert log.entries(session)[0].action == "person.declared"


def test_one_citizen_number_is_one_record(session: Session) -> None:
    declared(session)
    with pytest.raises(Conflict, match=r"people\.exists"):
        declared(session, name="Lê Văn An")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"citizen_number": "01008501234"}, "record.bad_number"),
        ({"full_name": "An"}, "record.one_word_name"),
        ({"birth_date": date(2030, 1, 1)}, "record.bad_birth"),
        ({"sex": 3}, "record.bad_sex"),
        ({"agency_code": "H99"}, "agencies.unknown"),
        ({"position_code": "9.9"}, "positions.unknown"),
        ({"category": "X"}, "record.bad_category"),
        ({"unit": "=1"}, "record.formula"),
        ({"attested_on": date(2027, 1, 1)}, "people.bad_attestation"),
        ({"photo_sha256": bytes(32)}, "photos.unknown"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_reason(
    session: Session, changes: dict[str, object], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        people.declare(session, CLERK, replace(facts(), **changes), "form", NOW)  # type: ignore[arg-type]  # fields of the facts
    assert refused.value.code == code


def test_nobody_declares_for_another_agency_or_without_the_role(session: Session) -> None:
    for actor in (STRANGER, SETUP, officer(9, "x", (Role.AUDITOR, "H38"))):
        with pytest.raises(Forbidden):
            people.declare(session, actor, facts(), "form", NOW)


def test_a_revision_keeps_what_was_and_goes_back_to_declared(session: Session) -> None:
    person = declared(session)
    person.state, person.approved_by = RecordState.APPROVED, CHECKER.user_id
    session.flush()
    changed = replace(facts(), title="Phó Trưởng phòng")
    person = people.revise(session, CLERK, person.id, 1, changed, "form", LATER)
    assert (person.version, person.state, person.approved_by) == (2, RecordState.DECLARED, None)
    titles = [row.facts["title"] for row in record.history(session, person.id)]
    assert titles == ["Chuyên viên", "Phó Trưởng phòng"]
    assert log.entries(session)[0].facts == {"fields": ["title"], "source": "form"}


def test_the_same_facts_again_change_nothing(session: Session) -> None:
    person = declared(session)
    assert people.revise(session, CLERK, person.id, 1, facts(), "form", LATER).version == 1
    assert len(record.history(session, person.id)) == 1


def test_a_revision_of_a_version_that_moved_on_is_refused(session: Session) -> None:
    person = declared(session)
    people.revise(session, CLERK, person.id, 1, facts(title="A"), "form", NOW)
    with pytest.raises(Conflict, match=r"people\.changed_meanwhile"):
        people.revise(session, CLERK, person.id, 1, facts(title="B"), "form", NOW)


def test_a_transfer_needs_rights_on_both_sides(session: Session) -> None:
    person = declared(session)
    moved = facts(agency_code="G09")
    with pytest.raises(Forbidden):
        people.revise(session, CLERK, person.id, 1, moved, "form", NOW)
    with pytest.raises(Forbidden):
        people.revise(session, STRANGER, person.id, 1, moved, "form", NOW)
    both = officer(8, "mai", (Role.HR, "H38"), (Role.HR, "G09"))
    assert people.revise(session, both, person.id, 1, moved, "form", NOW).agency_code == "G09"


def test_a_number_can_be_re_established_but_not_taken_from_another(session: Session) -> None:
    person = declared(session)
    declared(session, "010085099999", "Lê Văn An")
    with pytest.raises(Conflict, match=r"people\.exists"):
        people.revise(session, CLERK, person.id, 1, facts("010085099999"), "form", NOW)
    assert people.revise(session, CLERK, person.id, 1, facts("010085088888"), "form", NOW).id == person.id


def test_an_altered_revision_is_found(session: Session) -> None:
    person = declared(session)
    people.revise(session, CLERK, person.id, 1, facts(title="A"), "form", NOW)
    people.revise(session, CLERK, person.id, 2, facts(title="B"), "form", NOW)
    assert record.first_false_version(session, person.id) is None
    session.execute(text("UPDATE person_revisions SET actor = 'lan' WHERE version = 2"))
    session.expire_all()
    assert record.first_false_version(session, person.id) == 2
    session.execute(text("DELETE FROM person_revisions WHERE version = 2"))
    session.expire_all()
    assert record.first_false_version(session, person.id) == 2


def test_an_attestation_is_a_version_and_leaves_the_state(session: Session) -> None:
    person = declared(session)
    person.state = RecordState.APPROVED
    person = people.attest(session, CLERK, person.id, date(2026, 3, 1), NOW)
    assert (person.state, person.version, person.attested_on) == (RecordState.APPROVED, 2, date(2026, 3, 1))
    assert people.steps(session, person.id)[-1].step == "attested"
    assert record.first_false_version(session, person.id) is None
    for day in (date(2026, 3, 5), date(2025, 1, 1)):
        with pytest.raises(Refused, match=r"people\.bad_attestation"):
            people.attest(session, CLERK, person.id, day, NOW)


def test_a_new_photo_is_a_change_like_any_other(session: Session) -> None:
    person = declared(session)
    person = people.set_photo(session, CLERK, person.id, jpeg(), NOW)
    assert person.photo_sha256 is not None
    assert person.version == 2


@pytest.fixture
def crowd(session: Session) -> Session:
    names = [
        "Đặng Văn Ước",
        "Đặng Thị Ánh",
        "Dương Văn Anh",
        "Lê Dạng",
        "Trần Thị Đang",
        "Nguyễn Văn Hoà",
        "Bùi Thị Hòa",
    ]
    for n, name in enumerate(names):
        declared(session, f"0100850000{n:02d}", name)
    return session


def found(session: Session, query: str) -> list[str]:
    return [person.full_name for person in people.search(session, CLERK, query).people]


def test_people_are_found_without_diacritics_in_the_order_of_given_names(crowd: Session) -> None:
    assert found(crowd, "dang") == ["Đặng Thị Ánh", "Lê Dạng", "Trần Thị Đang", "Đặng Văn Ước"]
    assert found(crowd, "Đặng") == found(crowd, "DANG")
    assert found(crowd, "dang van") == ["Đặng Văn Ước"]
    assert found(crowd, "hoa") == ["Bùi Thị Hòa", "Nguyễn Văn Hoà"]
    assert found(crowd, "uo") == ["Đặng Văn Ước"]


def test_people_are_found_by_the_first_digits(crowd: Session) -> None:
    assert len(found(crowd, "0100850000")) == 7
    assert found(crowd, "010085000003") == ["Lê Dạng"]


@pytest.mark.parametrize("query", ["%", "_", "'; DROP TABLE people; --", "\\", "*", "x" * 500, "\x00", "💥"])
def test_a_hostile_query_finds_nobody(crowd: Session, query: str) -> None:
    assert found(crowd, query) == []
    assert len(found(crowd, "")) == 7


def test_pages_follow_each_other_without_gap_or_repeat(crowd: Session) -> None:
    whole = found(crowd, "")
    seen: list[str] = []
    after = None
    while True:
        page = people.search(crowd, CLERK, limit=2, after=after)
        seen += [person.full_name for person in page.people]
        after = page.following
        if after is None:
            break
    assert seen == whole


@pytest.mark.parametrize("cursor", ["x", "!!!", "AAAA", "é"])
def test_a_broken_cursor_is_refused(crowd: Session, cursor: str) -> None:
    with pytest.raises(Refused, match=r"people\.bad_cursor"):
        people.search(crowd, CLERK, after=cursor)


def test_an_officer_sees_the_own_agency_only(crowd: Session) -> None:
    assert people.search(crowd, STRANGER).people == []
    person = people.search(crowd, CLERK).people[0]
    with pytest.raises(Forbidden):
        people.get(crowd, STRANGER, person.id)
    with pytest.raises(Forbidden):
        people.by_number(crowd, STRANGER, person.citizen_number)
    with pytest.raises(NotFound):
        people.by_number(crowd, CLERK, "999999999999")
    with pytest.raises(Forbidden):
        people.search(crowd, officer(9, "x"))


def test_records_are_counted_by_state(crowd: Session) -> None:
    assert people.counts(crowd, CLERK)[RecordState.DECLARED] == 7
    assert people.counts(crowd, CLERK, "H38")[RecordState.APPROVED] == 0
    assert len(people.keys(crowd, CLERK, "H38")) == 7
    assert people.keys(crowd, STRANGER) == []
