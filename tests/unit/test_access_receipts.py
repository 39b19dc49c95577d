"""Receipts: what counts in "41 of 43 doors", and what never does."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from access_office import DOOR_ADMIN, NOW, DoorKey, add_card, add_door, add_person, enrol, furnish
from empty_database import open_empty
from signing_keys import LocalKeys
from sqlalchemy.orm import Session

from cardlink.statements.status import Status
from issuer import database
from issuer.access import alarms, doors, receipts
from issuer.access.receipts import Outcome
from issuer.access.tables import Door, Receipt
from issuer.trust import status


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A feed that stands at (1, 3)."""
    opened = open_empty(tmp_path / "centre.db")
    keys = LocalKeys()
    with database.transaction(database.session_factory(opened)) as session:
        furnish(session, keys)
        card = add_card(session, add_person(session, 1))
        for value in (Status.SUSPENDED, Status.VALID, Status.REVOKED):
            status.set_status(session, keys, card.id, value, NOW)
        yield session
    opened.dispose()


def enrolled(session: Session, name: str = "Cửa chính") -> tuple[Door, DoorKey]:
    door, key = add_door(session, name), DoorKey()
    enrol(session, door.id, key)
    return door, key


def store(session: Session, raw: bytes) -> Outcome:
    (outcome,) = receipts.store(session, [raw], NOW)
    return outcome


def counts(session: Session, seq: int, epoch: int = 1) -> tuple[int, int]:
    told = receipts.confirmations(session, epoch, seq)
    return told.confirmed, told.total


def test_verified_receipts_are_counted(session: Session) -> None:
    fleet = [enrolled(session, f"Cửa {n}") for n in range(5)]
    sent = [key.receipt(door.id, 1, 3) for door, key in fleet[:3]]
    assert receipts.store(session, sent, NOW) == [Outcome.TAKEN] * 3
    assert counts(session, 3) == (3, 5)
    told = receipts.confirmations(session, 1, 3)
    assert [one.is_confirmed for one in told.doors] == [True, True, True, False, False]
    assert (told.doors[0].name, told.doors[0].position, told.doors[0].at) == ("Cửa 0", (1, 3), NOW)
    assert told.doors[4].position is None


def test_a_receipt_confirms_all_before_it_and_nothing_after_it(session: Session) -> None:
    door, key = enrolled(session)
    store(session, key.receipt(door.id, 1, 2))
    assert counts(session, 1) == (1, 1)
    assert counts(session, 2) == (1, 1)
    assert counts(session, 3) == (0, 1)
    assert counts(session, 1, epoch=2) == (0, 1)


def test_doors_not_enrolled_or_out_of_service_are_not_waited_for(session: Session) -> None:
    add_door(session, "chưa ghi danh")
    door, key = enrolled(session)
    store(session, key.receipt(door.id, 1, 3))
    assert counts(session, 3) == (1, 1)
    doors.retire(session, DOOR_ADMIN, door.id, NOW)
    assert counts(session, 3) == (0, 0)


@pytest.mark.parametrize("how", ["other key", "other door", "changed", "cut", "unknown door", "old key", "empty"])
def test_a_forged_receipt_counts_nowhere(session: Session, how: str) -> None:
    door, key = enrolled(session)
    other, other_key = enrolled(session, "Cửa phụ")
    good = key.receipt(door.id, 1, 3)
    if how == "old key":
        code = doors.new_code(session, DOOR_ADMIN, door.id, NOW + timedelta(days=1))
        doors.enrol(session, code, DoorKey().public, None, NOW + timedelta(days=1))
    forged = {
        "other key": DoorKey().receipt(door.id, 1, 3),
        "other door": other_key.receipt(door.id, 1, 3),
        "changed": good[:-1] + bytes([good[-1] ^ 1]),
        "cut": good[:-1],
        "unknown door": key.receipt(uuid.UUID(int=1), 1, 3),
        "old key": good,
        "empty": b"",
    }[how]
    assert store(session, forged) is Outcome.REFUSED
    assert counts(session, 1) == (0, 2)
    assert session.get(Receipt, door.id) is None
    assert session.get(Receipt, other.id) is None


def test_a_receipt_sent_again_or_late_changes_nothing(session: Session) -> None:
    door, key = enrolled(session)
    early, late = key.receipt(door.id, 1, 2, NOW), key.receipt(door.id, 1, 3, NOW + timedelta(seconds=1))
    outcomes = receipts.store(session, [late, early, late], NOW)
    assert outcomes == [Outcome.TAKEN, Outcome.OLD, Outcome.OLD]
    assert counts(session, 3) == (1, 1)
    assert not alarms.waiting(session, DOOR_ADMIN)


def test_a_door_that_goes_back_is_an_alarm(session: Session) -> None:
    door, key = enrolled(session)
    store(session, key.receipt(door.id, 1, 3, NOW))
    assert store(session, key.receipt(door.id, 1, 1, NOW + timedelta(hours=1))) is Outcome.OLD
    ((alarm, named),) = alarms.waiting(session, DOOR_ADMIN)
    assert (alarm.kind, alarm.facts, named.id) == ("went-back", {"epoch": 1, "seq": 1}, door.id)


def test_a_door_cannot_confirm_what_was_never_sent(session: Session) -> None:
    door, key = enrolled(session)
    for place in ((1, 4), (2, 0)):
        assert store(session, key.receipt(door.id, *place)) is Outcome.REFUSED
    assert counts(session, 3) == (0, 1)
    assert {alarm.kind for alarm, _ in alarms.waiting(session, DOOR_ADMIN)} == {"ahead"}


def test_one_forged_receipt_spoils_no_batch(session: Session) -> None:
    door, key = enrolled(session)
    batch = [DoorKey().receipt(door.id, 1, 3), key.receipt(door.id, 1, 3), b"\x00"]
    assert receipts.store(session, batch, NOW) == [Outcome.REFUSED, Outcome.TAKEN, Outcome.REFUSED]
