"""`kill -9` of the door with events that the centre does not have yet: all of them arrive, each once, in one chain."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_system import System, running, within

from cardlink.statements.record import Decision
from demo.pcscd import CONTACTLESS_READER, VirtualReader
from demo.supervisor import command


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("system")) as started:
        started.office.start_feed()
        yield started


def test_killed_between_taps_every_record_arrives_once_in_one_chain(
    system: System, virtual: VirtualReader, tmp_path: Path
) -> None:
    door = system.door()
    card, image = system.chip_card(tmp_path)
    system.start_door(door, CONTACTLESS_READER, virtual.environ())
    within(20, lambda: system.is_confirmed(system.head()))
    served = system.serve(virtual, "card", image)

    assert system.tap(served)["decision"] == "granted"
    within(20, lambda: any(one.kind == "tap" for one in system.door_records(door)))
    system.supervisor.kill("feed")
    for _ in range(2):  # offline, within the limits of the bundle
        assert system.tap(served)["decision"] == "granted"
        system.supervisor.kill("door")
        system.restart_door()
    assert system.tap(served)["decision"] == "granted"
    acknowledged = {(one.boot, one.seq) for one in system.door_records(door)}
    taps = system.told_by_door("tap")
    waiting = [(one["boot"], one["seq"]) for one in taps[1:]]
    assert not acknowledged & set(waiting)

    system.supervisor.kill("door")
    system.supervisor.restart("feed")
    system.restart_door()
    within(20, lambda: set(waiting) <= {(one.boot, one.seq) for one in system.door_records(door)})
    within(20, lambda: max(one.boot for one in system.door_records(door)) == 4)

    records = system.door_records(door)
    assert len({(one.boot, one.seq) for one in records}) == len(records)
    tapped = [one for one in records if one.kind == "tap"]
    assert [(one.boot, one.seq) for one in tapped] == [(one["boot"], one["seq"]) for one in taps]
    assert {(one.decision, one.card_uuid) for one in tapped} == {(Decision.GRANTED, card.uuid.bytes)}
    assert [one.boot for one in tapped] == [1, 1, 2, 3]
    system.assert_books_are_whole()

    system.supervisor.stop("door")
    system.supervisor.run([command("reader-daemon"), "verify-log", "--config", str(door.config)])
