"""A real door follows the real feed: enrolled by its command, told, asked back, counted, its log taken in."""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from feed_centre import ADMIN, INSTALLATION, OWNER, Centre, now, open_centre
from ports import free_port

from cardlink.statements.status import Status
from cardlink.statements.status_state import read_entry
from issuer import database
from issuer.access import alarms, bundles, doors, log, receipts, rules
from issuer.access.enrolment import fingerprint
from issuer.access.rules import Effect, RulePlan
from issuer.trust import status
from issuer.trust.status import Position
from reader_daemon.config import load
from reader_daemon.daemon import Daemon
from reader_daemon.door import LogLock


@dataclass
class Site:
    """A centre and one door of its own."""

    centre: Centre
    door_id: uuid.UUID
    door: Daemon

    def place(self) -> Position | None:
        held = self.door.state.view.status
        return None if held is None else Position(held.epoch, held.seq)

    def confirmed(self, at: Position) -> bool:
        with database.reading(self.centre.factory) as session:
            told = receipts.confirmations(session, *at)
        return told.confirmed == told.total == 1

    def events(self) -> list[str]:
        with database.reading(self.centre.factory) as session:
            return [one.kind for one in log.page(session, ADMIN, log.EventFilter(door_id=self.door_id))]


def within(seconds: float, what: Callable[[], bool]) -> float:
    """Wait until it is so; answers how long it took."""
    started_s = time.perf_counter()
    while not what():
        assert time.perf_counter() - started_s < seconds
        time.sleep(0.005)
    return time.perf_counter() - started_s


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    port = free_port()
    folder = tmp_path_factory.mktemp("door")
    with open_centre(tmp_path_factory.mktemp("feed"), port) as centre:
        door_id, code = centre.new_door()
        config = folder / "door.toml"
        url = f"http://127.0.0.1:{port}"
        config.write_text(f'data_dir = "{folder / "data"}"\nfeed_url = "{url}"\n', encoding="utf-8")
        enrol(config, code, fingerprint(centre.roots()))
        with Daemon.open(load(config, {}), lock=LogLock()) as door:
            door.start_feed(url)
            yield Site(centre, door_id, door)


def enrol(config: Path, code: str, shown: str) -> None:
    command = [sys.executable, "-m", "reader_daemon", "enrol", "--config", str(config), "--fingerprint", shown]
    subprocess.run(command, input=code + "\n", text=True, check=True, capture_output=True, timeout=60)


def test_an_enrolled_door_takes_trust_status_and_bundle_and_its_log_arrives(site: Site) -> None:
    with database.transaction(site.centre.factory) as session:
        found = doors.door(session, ADMIN, site.door_id)
        assert doors.public_key(found) == site.door.key.public
        rules.add(session, ADMIN, site.door_id, RulePlan(Effect.ALLOW, agencies=(INSTALLATION,)), now())
        bundles.publish(session, site.centre.hsm, site.door_id, now())
    site.centre.poke()
    within(10, lambda: site.place() is not None and site.door.state.view.rules is not None)
    assert site.door.state.view.rules is not None
    held = site.door.state.view.rules.bundle
    assert (site.door.enrolment.owner, held.owner, held.rules[0].agencies) == (OWNER, OWNER, (INSTALLATION,))
    within(10, lambda: "start" in site.events())


def test_a_revocation_reaches_the_door_and_its_receipt_the_centre(site: Site) -> None:
    card_id = site.centre.new_card()
    with database.reading(site.centre.factory) as session:
        place = status.place_of(session, card_id)
    for value in [Status.SUSPENDED, Status.VALID] * 5 + [Status.REVOKED]:
        at = site.centre.set_status(card_id, value)
        within(10, lambda at=at: site.place() == at)  # type: ignore[misc]  # mypy infers no type for the default
        within(10, lambda at=at: site.confirmed(at))  # type: ignore[misc]  # as above
        held = site.door.state.view.status
        assert held is not None
        assert read_entry(held.lists[place.list_n].packed, place.idx) is value


def test_a_door_catches_up_with_what_happened_while_the_feed_was_dead(site: Site) -> None:
    site.centre.feed.kill()
    at = site.centre.change(7)
    assert not site.confirmed(at)
    site.centre.feed.start()
    within(20, lambda: site.confirmed(at))
    assert site.place() == at


def test_nothing_of_all_this_raised_an_alarm(site: Site) -> None:
    with database.reading(site.centre.factory) as session:
        assert [alarm.kind for alarm, _ in alarms.waiting(session, ADMIN)] == []
    assert "alarm" not in site.events()
