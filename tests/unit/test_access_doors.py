"""Doors: making, settings, enrolment by one-time code."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from access_office import AUDITOR, DOOR_ADMIN, NOW, OWNER, STRANGER, VISITOR, DoorKey, add_door, enrol, furnish
from empty_database import open_empty
from signing_keys import LocalKeys
from sqlalchemy.orm import Session

from issuer import database
from issuer.access import doors, settings
from issuer.access.doors import CODE_LIFE, DoorPlan
from issuer.errors import Conflict, Forbidden, NotFound, Refused


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    opened = open_empty(tmp_path / "centre.db")
    with database.transaction(database.session_factory(opened)) as session:
        furnish(session, LocalKeys())
        yield session
    opened.dispose()


def test_a_door_is_made_by_an_administrator_of_its_owner(session: Session) -> None:
    door = add_door(session)
    assert (door.owner_agency, door.enrolled_at, door.public_key) == (OWNER, None, None)
    with pytest.raises(Forbidden):
        doors.add(session, STRANGER, DoorPlan("x", "", "", 0, OWNER, {}), NOW)
    with pytest.raises(Forbidden):
        doors.add(session, AUDITOR, DoorPlan("x", "", "", 0, OWNER, {}), NOW)


def test_a_name_is_used_once_in_an_agency(session: Session) -> None:
    add_door(session)
    with pytest.raises(Conflict, match=r"door\.name_taken"):
        add_door(session)


@pytest.mark.parametrize(
    "overrides",
    [
        {"unlock_ms": 0},
        {"unlock_ms": True},
        {"unlock_ms": "5000"},
        {"mechanisms": []},
        {"mechanisms": [1, 1]},
        {"mechanisms": [7]},
        {"mechanisms": 1},
        {"time_zone": "Asia/Atlantis"},
        {"anti_passback": 4},
        {"area_level": 1},
        {"deny_stale_s": 0},
    ],
)
def test_a_setting_outside_the_format_is_refused(session: Session, overrides: dict[str, object]) -> None:
    with pytest.raises(Refused, match=r"door\.bad_setting"):
        add_door(session, **overrides)


def test_a_level_brings_its_defaults_and_a_door_its_own() -> None:
    held = settings.build(2, {"unlock_ms": 8000})
    assert (held.area_level, held.unlock_ms, held.deny_stale_s) == (2, 8000, 900)
    with pytest.raises(Refused, match=r"door\.bad_level"):
        settings.build(3, {})


def test_a_code_enrols_one_key(session: Session) -> None:
    door, key = add_door(session), DoorKey()
    code = doors.new_code(session, DOOR_ADMIN, door.id, NOW)
    enrolled = doors.enrol(session, code.lower().replace("-", " "), key.public, door.id, NOW)
    assert enrolled.id == door.id
    assert doors.public_key(enrolled) == key.public
    assert enrolled.kid == key.kid
    assert enrolled.enrolment == 1


def test_a_code_shown_again_with_the_same_key_gives_the_same_answer(session: Session) -> None:
    door, key = add_door(session), DoorKey()
    code = doors.new_code(session, DOOR_ADMIN, door.id, NOW)
    for _ in range(2):
        assert doors.enrol(session, code, key.public, None, NOW).enrolment == 1


def test_a_used_code_takes_no_second_key(session: Session) -> None:
    door, key = add_door(session), DoorKey()
    code = doors.new_code(session, DOOR_ADMIN, door.id, NOW)
    doors.enrol(session, code, key.public, None, NOW)
    with pytest.raises(Refused, match=r"feed\.bad_code"):
        doors.enrol(session, code, DoorKey().public, None, NOW + timedelta(minutes=1))
    assert doors.public_key(door) == key.public


def test_unknown_expired_foreign_and_replaced_codes_are_all_refused_alike(session: Session) -> None:
    door, other = add_door(session), add_door(session, "Cửa phụ")
    old = doors.new_code(session, DOOR_ADMIN, door.id, NOW)
    code = doors.new_code(session, DOOR_ADMIN, door.id, NOW)
    key = DoorKey().public
    for shown, named, at in (
        ("00000-00000-00000-00000-00000", None, NOW),
        (old, None, NOW),
        (code, None, NOW + CODE_LIFE),
        (code, other.id, NOW),
    ):
        with pytest.raises(Refused) as caught:
            doors.enrol(session, shown, key, named, at)
        assert (caught.value.code, caught.value.facts) == ("feed.bad_code", {})


def test_a_new_key_of_a_door_begins_a_new_log(session: Session) -> None:
    door = add_door(session)
    enrol(session, door.id, DoorKey())
    code = doors.new_code(session, DOOR_ADMIN, door.id, NOW + timedelta(days=1))
    key = DoorKey()
    doors.enrol(session, code, key.public, None, NOW + timedelta(days=1, minutes=1))
    assert door.enrolment == 2
    assert doors.public_key(door) == key.public


def test_a_retired_door_counts_no_more(session: Session) -> None:
    door = add_door(session)
    enrol(session, door.id, DoorKey())
    doors.retire(session, DOOR_ADMIN, door.id, NOW)
    assert list(doors.doors(session, DOOR_ADMIN)) == []
    with pytest.raises(Refused, match=r"feed\.unknown_door"):
        doors.enrolled(session, door.id)
    with pytest.raises(NotFound):
        doors.new_code(session, DOOR_ADMIN, door.id, NOW)
    add_door(session)  # its name is free again


def test_doors_are_seen_within_their_agency_and_found_by_name(session: Session) -> None:
    door = add_door(session)
    assert [one.id for one in doors.doors(session, AUDITOR)] == [door.id]
    assert list(doors.doors(session, STRANGER)) == []
    assert doors.named(session, DOOR_ADMIN, "Cửa chính") is door
    assert doors.named(session, DOOR_ADMIN, str(door.id)) is door
    with pytest.raises(NotFound):
        doors.named(session, DOOR_ADMIN, str(uuid.UUID(int=5)))
    with pytest.raises(NotFound):
        doors.named(session, STRANGER, "Cửa chính")
    with pytest.raises(Forbidden):
        doors.door(session, STRANGER, door.id)


def test_no_signer_scope_is_confused_with_a_prefix_of_letters(session: Session) -> None:
    with pytest.raises(Forbidden):
        doors.add(session, STRANGER, DoorPlan("x", "", "", 0, f"{VISITOR}1", {}), NOW)
