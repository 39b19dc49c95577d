"""What a door does with a good card: it opens, the event first; clocks, time offline, readers beside each other."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from door_cards import Issued
from door_place import Place
from door_world import DAY_S, VISITOR, ListLock, Machine, World

from cardlink.piv.tables import Interface
from cardlink.statements.bundle import Rule
from cardlink.statements.record import Decision, decode_record
from reader_daemon.reasons import DoorReason


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.door.close()


def test_a_card_of_ours_opens_in_three_exchanges_and_at_most_450_bytes(place: Place) -> None:
    result = place.door.tap(place.card).result
    assert result.opened
    assert result.exchanges == 3
    assert result.bytes_out + result.bytes_in <= 450
    assert place.records() == [("tap", None)]


def test_the_contact_face_opens_as_well(place: Place) -> None:
    assert place.door.loop.tap(place.card.connect(Interface.CONTACT)).opened


def test_an_open_lock_is_shut_again_after_its_time(tmp_path: Path) -> None:
    world = World()
    card = world.issue()
    bundle = world.everybody(card)
    door = world.ready_door(tmp_path / "door", replace(bundle, settings=replace(bundle.settings, unlock_ms=30)))
    assert door.tap(card).opened
    assert _wait_for(lambda: door.lock.moves[-1] == "relock")
    assert door.lock.moves == ["relock", "unlock", "relock"]  # shut at the start, too
    door.close()


def test_a_visitor_of_the_other_agency_enters_by_the_rule_for_that_agency(tmp_path: Path) -> None:
    world = World()
    visitor, own = world.issue(VISITOR), world.issue()
    door = world.ready_door(tmp_path / "door", world.rules(Rule(1, True, (), (VISITOR,), 1)))
    assert door.tap(visitor).said == "granted"
    assert door.tap(own).said == DoorReason.UNKNOWN_CARD
    door.close()


def test_the_lock_moves_only_after_the_event_is_on_disk(tmp_path: Path) -> None:
    world = World()
    card = world.issue()
    door = world.ready_door(tmp_path / "door", world.everybody(card))

    class Watching(ListLock):
        def unlock(self, open_ms: int) -> None:
            rows = door.daemon.database.rows("SELECT record FROM records ORDER BY boot DESC, seq DESC LIMIT 1")
            assert isinstance(rows[0][0], bytes)
            record = decode_record(rows[0][0])
            assert record.decision is Decision.GRANTED
            assert record.card_uuid == card.credential.card_uuid
            super().unlock(open_ms)

    watching = Watching()
    door.loop.door._lock = watching
    assert door.loop.tap(card.connect()).opened
    assert watching.unlocks == 1
    door.close()


def test_a_lost_clock_opens_nothing_until_a_nonce_is_answered(tmp_path: Path) -> None:
    world = World()
    card = world.issue()
    door = world.ready_door(tmp_path / "door", world.everybody(card))
    door.close()
    machine = Machine(world.now)
    machine.wall_s = 0.0  # the battery of the clock is empty: 1970
    again = world.open_door(door.config, machine)
    assert again.tap(card).said == DoorReason.CLOCK_LOST
    again.freshen()
    assert again.tap(card).said == "granted"
    again.close()


def test_the_door_goes_on_offline_flags_and_at_last_denies(place: Place) -> None:
    place.door.machine.run(3601)
    result = place.door.tap(place.card).result
    assert result.opened
    assert result.decision.is_stale
    place.door.machine.run(DAY_S)
    assert place.tap(place.card) == DoorReason.STALE


def test_two_readers_tap_at_the_same_time_and_every_event_is_stored_once(place: Place) -> None:
    import threading

    def many(card: Issued) -> None:
        for _ in range(25):
            assert place.door.loop.tap(card.connect()).opened

    threads = [threading.Thread(target=many, args=(card,)) for card in (place.card, place.other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(place.records()) == 50


def _wait_for(condition: Callable[[], bool], wait_s: float = 3.0) -> bool:
    import time

    deadline = time.monotonic() + wait_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()
