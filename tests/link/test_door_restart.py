"""A door over a restart: everything is there again, and nothing that was put back on its disk counts."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from door_place import Place, why
from door_world import DAY_S, Machine, World

from cardlink.statements.refusal import Reason
from cardlink.statements.status import Status
from reader_daemon.reasons import DoorReason


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.door.close()


def test_everything_is_there_again_after_a_restart_without_any_network(place: Place) -> None:
    other = place.world.issue()
    place.door.state.take_bundle(place.world.issue_rules(place.world.everybody(place.card, other)))
    place.door.state.take_event(place.world.set_status(other, Status.REVOKED))
    door = place.restart()
    assert door.tap(place.card).said == "granted"
    assert door.tap(other).said == "revoked"
    assert door.alarms() == []


def test_older_statements_are_refused_also_after_a_restart(place: Place) -> None:
    old_bundle, old_snapshot = place.world.issue_rules(place.bundle), place.world.snapshot()
    place.door.state.take_bundle(place.world.issue_rules(place.world.rules()))
    place.door.state.take_trust(place.world.issue_trust(place.world.trust_list(5)))
    place.door.state.take_event(place.world.set_status(place.card, Status.SUSPENDED))
    state = place.restart().state
    assert why(state.take_bundle(old_bundle)) is Reason.OLDER
    assert why(state.take_snapshots([old_snapshot], [])) is Reason.OLDER
    assert why(state.take_trust(place.world.issue_trust(place.world.trust_list(4)))) is Reason.OLDER


def edit(place: Place, *statements: str) -> Callable[[], None]:
    def change() -> None:
        connection = sqlite3.connect(place.path / "door.db")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def test_status_rolled_back_in_the_database_opens_nothing_and_raises_an_alarm(place: Place) -> None:
    place.door.state.take_event(place.world.set_status(place.card, Status.SUSPENDED))
    assert place.door.tap(place.card).said == "suspended"
    rows = "DELETE FROM status_events", "UPDATE numbers SET value = 0 WHERE name = 'status_seq'"
    door = place.restart(change=edit(place, *rows))
    assert door.tap(place.card).said == DoorReason.NO_STATUS
    assert "older" in door.alarms()
    assert door.state.take_snapshots([place.world.snapshot()], []) is None
    assert door.tap(place.card).said == "suspended"


def test_a_status_table_without_its_last_event_is_refused_by_the_number_kept(place: Place) -> None:
    place.door.state.take_event(place.world.set_status(place.card, Status.SUSPENDED))
    door = place.restart(change=edit(place, "DELETE FROM status_events"))
    assert door.tap(place.card).said == DoorReason.NO_STATUS


def test_an_old_bundle_put_back_is_refused(place: Place) -> None:
    old = place.world.issue_rules(place.bundle).hex()
    place.door.state.take_bundle(place.world.issue_rules(place.world.rules()))
    assert place.door.tap(place.card).said == DoorReason.UNKNOWN_CARD
    rows = (
        f"UPDATE statements SET body = x'{old}' WHERE kind = 'bundle'",  # noqa: S608 our own hex
        "UPDATE numbers SET value = 1 WHERE name = 'bundle_seq'",
    )
    door = place.restart(change=edit(place, *rows))
    assert door.tap(place.card).said == DoorReason.NO_BUNDLE
    assert "older" in door.alarms()


def test_a_whole_old_disk_put_back_is_made_good_by_the_centre_and_never_below_its_own_numbers(place: Place) -> None:
    place.door.close()
    shutil.copytree(place.path, place.path.with_name("copy"))
    place.door = place.world.open_door(place.door.config, place.door.machine)
    place.door.state.take_event(place.world.set_status(place.card, Status.REVOKED))
    place.door.close()
    shutil.rmtree(place.path)
    shutil.copytree(place.path.with_name("copy"), place.path)
    place.door = place.world.open_door(place.door.config, place.door.machine)
    place.door.machine.run(1)
    # the disk alone cannot know; the centre's heartbeat shows that events are missing, and its log shows the fork
    assert why(place.door.state.take_heartbeat(place.world.heartbeat(issued_s=place.world.now_s + 1))) is Reason.GAP
    assert place.door.state.take_event(place.world.events[-1]) is None
    assert place.door.tap(place.card).said == "revoked"


@pytest.mark.parametrize("kind", ["trust", "snapshot", "bundle"])
def test_a_statement_damaged_on_disk_is_not_used_and_raises_an_alarm(place: Place, kind: str) -> None:
    query = "SELECT body FROM statements WHERE kind = ?"
    ((raw,),) = place.door.daemon.database.rows(query, kind)
    assert isinstance(raw, bytes)
    spoilt = raw[:-1] + bytes((raw[-1] ^ 1,))
    spoil = f"UPDATE statements SET body = x'{spoilt.hex()}' WHERE kind = '{kind}'"  # noqa: S608 our own hex
    door = place.restart(change=edit(place, spoil))
    assert not door.tap(place.card).opened
    assert "forged-statement" in door.alarms()


def test_staleness_goes_on_over_restarts_and_each_start_costs_some(place: Place) -> None:
    place.door.machine.run(1000)
    door = place.restart()
    assert door.state.stale_s() == pytest.approx(1300, abs=2)  # 1000 and five minutes for the start
    machine = Machine(place.world.now)
    machine.wall_s = place.world.now_s + 1  # the clock was set back while the power was off
    door = place.restart(machine)
    assert door.state.stale_s() >= 1600 - 2


def test_a_door_never_fresh_is_stale_without_end(tmp_path: Path) -> None:
    world = World()
    card = world.issue()
    door = world.open_door(world.install(tmp_path / "door"))
    door.state.take_trust(world.issue_trust())
    door.state.take_snapshots([world.snapshot()], [])
    door.state.take_bundle(world.issue_rules(world.everybody(card)))
    assert door.tap(card).said == DoorReason.STALE
    door.close()


def test_a_status_list_that_ran_out_while_the_door_was_off_is_named(place: Place) -> None:
    machine = Machine(place.world.now)
    machine.run(8 * DAY_S)
    assert place.restart(machine).tap(place.card).said == DoorReason.STATUS_EXPIRED


def test_a_bundle_that_ran_out_while_the_door_was_off_is_named(place: Place) -> None:
    bundle = replace(place.world.everybody(place.card), expires_s=place.world.now_s + 60)
    place.door.state.take_bundle(place.world.issue_rules(bundle))
    machine = Machine(place.world.now)
    machine.run(61)
    assert place.restart(machine).tap(place.card).said == DoorReason.BUNDLE_EXPIRED


def test_two_processes_on_one_directory_are_told_apart(place: Place) -> None:
    from reader_daemon.errors import StorageDamaged

    with pytest.raises(StorageDamaged, match="data-in-use"):
        place.world.open_door(place.door.config)
