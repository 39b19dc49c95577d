"""Door logs at the centre: chained, stored once, acknowledged; what is edited, cut or forked is found."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from access_office import (
    AUDITOR,
    DOOR_ADMIN,
    NOW,
    STRANGER,
    VISITOR,
    DoorKey,
    DoorLog,
    add_card,
    add_door,
    add_person,
    enrol,
    furnish,
)
from empty_database import open_empty
from signing_keys import LocalKeys
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cardlink.statements.record import decode_record, encode_record, record_hash
from issuer import database
from issuer.access import alarms, doors, events, log
from issuer.access.events import Acknowledged, Gap, Unacceptable
from issuer.access.log import EventFilter
from issuer.access.tables import DoorEvent, DoorHead
from issuer.errors import Refused
from issuer.policy import Actor, Role


@dataclass
class Desk:
    """A centre with one enrolled door, and that door's log."""

    session: Session
    log: DoorLog

    def take(self, sent: list[bytes]) -> events.Answer:
        return events.take(self.session, self.log.door_id, sent, NOW)

    def stored(self) -> int:
        return self.session.scalar(select(func.count()).select_from(DoorEvent)) or 0

    def alarms(self) -> list[str]:
        return [alarm.kind for alarm, _ in alarms.waiting(self.session, DOOR_ADMIN)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = open_empty(tmp_path / "centre.db")
    with database.transaction(database.session_factory(opened)) as session:
        furnish(session, LocalKeys())
        door, key = add_door(session), DoorKey()
        enrol(session, door.id, key)
        yield Desk(session, DoorLog(door.id, key))
    opened.dispose()


def edited(raw: bytes) -> bytes:
    return encode_record(decode_record(raw)._replace(reason="ok"))


def test_records_are_stored_and_acknowledged_up_to_the_last(desk: Desk) -> None:
    sent = desk.log.message(desk.log.write(5))
    assert desk.take(sent) == Acknowledged(1, 5, record_hash(sent[4]))
    rows = desk.session.scalars(select(DoorEvent).order_by(DoorEvent.id)).all()
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert [row.record for row in rows] == sent[:-1]
    first = rows[0]
    assert (first.kind, first.decision, first.reason) == ("tap", "refused", "expired")
    assert (first.mechanism, first.clock, first.elapsed_us) == (1, 2, 70_000)
    assert first.at == NOW + timedelta(milliseconds=1)
    head = desk.session.scalars(select(DoorHead)).one()
    assert (head.boot, head.seq, head.hash, head.statement) == (1, 5, record_hash(sent[4]), sent[5])


def test_records_sent_again_are_stored_once(desk: Desk) -> None:
    first = desk.log.message(desk.log.write(3))
    answer = desk.take(first)
    assert desk.take(first) == answer
    more = desk.log.write(2)
    assert desk.take(desk.log.message([*first[:-1], *more])) == Acknowledged(1, 5, record_hash(more[-1]))
    assert desk.take(first) == Acknowledged(1, 5, record_hash(more[-1]))
    assert desk.stored() == 5
    assert desk.alarms() == []


def test_a_log_goes_on_over_a_restart(desk: Desk) -> None:
    desk.take(desk.log.message(desk.log.write(2)))
    old = desk.log.write(1)
    desk.log.restart()
    new = desk.log.write(2)
    assert desk.take(desk.log.message([*old, *new])) == Acknowledged(2, 2, record_hash(new[-1]))


def test_missing_records_are_asked_for_and_raise_an_alarm(desk: Desk) -> None:
    first = desk.log.message(desk.log.write(2))
    desk.take(first)
    missing = desk.log.write(2)
    later = desk.log.write(1)
    assert desk.take(desk.log.message(later)) == Gap(1, 2, record_hash(first[1]))
    assert desk.stored() == 2
    assert desk.alarms() == ["gap"]
    assert desk.take(desk.log.message([*missing, *later])) == Acknowledged(1, 5, record_hash(later[-1]))


def test_the_first_records_of_all_cannot_be_missing(desk: Desk) -> None:
    desk.log.write(2)
    assert isinstance(desk.take(desk.log.message(desk.log.write(1))), Gap)


def test_an_alarm_that_nobody_has_seen_is_raised_once(desk: Desk) -> None:
    desk.log.write(1)
    sent = desk.log.message(desk.log.write(1))
    for _ in range(3):
        desk.take(sent)
    assert desk.alarms() == ["gap"]
    ((alarm, _),) = alarms.waiting(desk.session, DOOR_ADMIN)
    alarms.seen(desk.session, DOOR_ADMIN, alarm.id, NOW)
    assert desk.alarms() == []
    desk.take(sent)
    assert desk.alarms() == ["gap"]


def test_a_log_may_go_on_after_a_loss_that_a_person_accepted(desk: Desk) -> None:
    desk.take(desk.log.message(desk.log.write(2)))
    desk.log.write(3)
    later = desk.log.write(2)
    assert isinstance(desk.take(desk.log.message(later)), Gap)
    log.accept_gap(desk.session, DOOR_ADMIN, desk.log.door_id, NOW)
    assert desk.take(desk.log.message(later)) == Acknowledged(1, 7, record_hash(later[-1]))
    desk.log.write(1)
    assert isinstance(desk.take(desk.log.message(desk.log.write(1))), Gap)


def test_one_number_with_two_contents_is_a_fork(desk: Desk) -> None:
    twin = DoorLog(desk.log.door_id, desk.log.key)
    desk.take(desk.log.message(desk.log.write(3)))
    answer = desk.take(twin.message(twin.write(4, reason="not-this-door")))
    assert isinstance(answer, Unacceptable)
    assert answer.code == "feed.fork"
    assert desk.stored() == 3
    assert desk.alarms() == ["fork"]


def test_an_old_copy_of_the_disk_that_went_on_is_a_fork(desk: Desk) -> None:
    desk.take(desk.log.message(desk.log.write(2)))
    copy = DoorLog(desk.log.door_id, desk.log.key, desk.log.boot, desk.log.seq, desk.log.previous)
    desk.take(desk.log.message(desk.log.write(3)))
    copy.restart()
    answer = desk.take(copy.message(copy.write(1)))
    assert isinstance(answer, Unacceptable)
    assert answer.code == "feed.fork"
    assert desk.alarms() == ["fork"]


def test_an_edited_record_breaks_the_chain(desk: Desk) -> None:
    records = desk.log.write(4)
    records[1] = edited(records[1])
    answer = desk.take(desk.log.message(records))
    assert isinstance(answer, Unacceptable)
    assert answer.code == "feed.broken_chain"
    assert desk.stored() == 0
    assert desk.alarms() == ["broken"]


def test_a_shortened_log_shows_by_its_head(desk: Desk) -> None:
    records = desk.log.write(4)
    desk.take(desk.log.message(records))
    answer = desk.take([desk.log.head(records[1], NOW + timedelta(hours=1))])
    assert answer == Acknowledged(1, 4, record_hash(records[3]))
    assert desk.alarms() == ["shortened"]


def test_an_old_head_that_comes_late_is_no_alarm(desk: Desk) -> None:
    records = desk.log.write(4)
    early = desk.log.head(records[1], NOW - timedelta(minutes=5))
    desk.take(desk.log.message(records))
    assert desk.take([early]) == Acknowledged(1, 4, record_hash(records[3]))
    assert desk.alarms() == []


def test_a_head_alone_says_what_is_still_to_come(desk: Desk) -> None:
    records = desk.log.write(4)
    assert desk.take([desk.log.head(records[3])]) == Gap(0, 0, bytes(32))
    assert desk.alarms() == []
    desk.take(desk.log.message(records))
    assert desk.take([desk.log.head(records[3], NOW + timedelta(minutes=1))]) == Acknowledged(
        1, 4, record_hash(records[3])
    )


def test_a_head_of_another_hash_is_a_fork(desk: Desk) -> None:
    records = desk.log.write(2)
    desk.take(desk.log.message(records))
    wrong = desk.log.key.head(desk.log.door_id, 1, 2, b"another record")
    assert isinstance(desk.take([wrong]), Unacceptable)
    assert desk.alarms() == ["fork"]


@pytest.mark.parametrize("how", ["other key", "changed", "another record", "no head", "nothing", "too many", "foreign"])
def test_records_without_the_right_head_are_not_stored(desk: Desk, how: str) -> None:
    records = desk.log.write(2)
    good = desk.log.head(records[1])
    other = DoorLog(uuid.UUID(int=9), desk.log.key)
    foreign = other.write(1)
    sent = {
        "other key": [*records, DoorKey().head(desk.log.door_id, 1, 2, records[1])],
        "changed": [*records, good[:-1] + bytes([good[-1] ^ 1])],
        "another record": [*records, desk.log.head(records[0])],
        "no head": records,
        "nothing": [],
        "too many": [*records * 501, good],
        "foreign": [*foreign, good],
    }[how]
    answer = desk.take(sent)
    assert isinstance(answer, Unacceptable)
    assert answer.code == ("feed.bad_head" if how in ("other key", "changed") else "feed.malformed")
    assert desk.stored() == 0
    assert desk.alarms() == (["forged-head"] if how == "changed" else [])


def test_an_unknown_or_retired_door_is_refused(desk: Desk) -> None:
    sent = desk.log.message(desk.log.write(1))
    with pytest.raises(Refused, match=r"feed\.unknown_door"):
        events.take(desk.session, uuid.UUID(int=3), sent, NOW)
    doors.retire(desk.session, DOOR_ADMIN, desk.log.door_id, NOW)
    with pytest.raises(Refused, match=r"feed\.unknown_door"):
        desk.take(sent)


def test_a_door_with_a_new_key_begins_a_new_log(desk: Desk) -> None:
    desk.take(desk.log.message(desk.log.write(3)))
    key = DoorKey()
    code = doors.new_code(desk.session, DOOR_ADMIN, desk.log.door_id, NOW + timedelta(days=1))
    doors.enrol(desk.session, code, key.public, None, NOW + timedelta(days=1))
    fresh = DoorLog(desk.log.door_id, key)
    assert isinstance(desk.take(fresh.message(fresh.write(2))), Acknowledged)
    assert desk.stored() == 5
    assert desk.alarms() == []


def test_the_console_reads_events_in_pages_and_live(desk: Desk) -> None:
    person = add_person(desk.session, 1)
    card = add_card(desk.session, person)
    desk.take(desk.log.message([*desk.log.write(3), *desk.log.write(1, card=card.uuid)]))
    newest = log.page(desk.session, DOOR_ADMIN, limit=2)
    assert [one.id for one in newest] == [4, 3]
    assert (newest[0].person_name, newest[0].person_id, newest[1].person_name) == ("Đặng Văn 1", person, None)
    assert newest[0].door_name == "Cửa chính"
    assert [one.id for one in log.page(desk.session, DOOR_ADMIN, before=newest[-1].id)] == [2, 1]
    assert [one.id for one in log.since(desk.session, DOOR_ADMIN, 2)] == [3, 4]
    assert log.last_id(desk.session) == 4
    assert [one.id for one in log.page(desk.session, DOOR_ADMIN, EventFilter(card_uuid=card.uuid))] == [4]
    assert list(log.page(desk.session, DOOR_ADMIN, EventFilter(decision="granted"))) == []
    assert len(log.page(desk.session, AUDITOR, EventFilter(door_id=desk.log.door_id, kind="tap"))) == 4
    assert list(log.page(desk.session, STRANGER)) == []


def test_who_may_not_see_a_person_is_not_told_the_name(desk: Desk) -> None:
    card = add_card(desk.session, add_person(desk.session, 1, agency=VISITOR))
    desk.take(desk.log.message(desk.log.write(1, card=card.uuid)))
    guard = Actor(uuid.UUID(int=8), "bảo vệ", ((Role.DOOR_ADMIN, "H38"),))
    (event,) = log.page(desk.session, guard)
    assert (event.card_uuid, event.person_id, event.person_name) == (card.uuid, None, None)
