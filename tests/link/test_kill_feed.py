"""`kill -9` of the feed while cards are revoked: every door hears of every revocation, once and in order."""

import threading
from collections.abc import Iterator

import pytest
from card_office import HR
from running_system import DoorPlace, System, right_now, running, within

from cardlink.statements.status import Status
from cardlink.statements.status_state import read_entry
from issuer import database
from issuer.access import receipts
from issuer.cards import blocking
from issuer.cards.blocking import BlockReason
from issuer.cards.tables import Card
from reader_daemon.config import load
from reader_daemon.daemon import Daemon
from reader_daemon.door import LogLock

CARDS = 30
KILLED_AFTER = (6, 15, 24)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("system")) as started:
        started.office.start_feed()
        yield started


@pytest.fixture(scope="module")
def door(system: System) -> DoorPlace:
    place = system.door()
    system.start_door(place, "no such reader", {})
    within(20, lambda: system.is_confirmed(system.head()))
    return place


def block(system: System, card: Card) -> None:
    with database.transaction(system.centre.factory) as session:
        blocking.block(session, system.centre.hsm, HR, card.id, BlockReason.STOLEN, right_now())
    system.poke()


def test_killed_while_cards_are_blocked_the_door_hears_of_each(system: System, door: DoorPlace) -> None:
    cards = [system.plastic_card() for _ in range(CARDS)]
    before = system.head()
    done = threading.Semaphore(0)

    def block_all() -> None:
        for card in cards:
            block(system, card)
            done.release()

    officer = threading.Thread(target=block_all)
    officer.start()
    for n in range(1, CARDS + 1):
        assert done.acquire(timeout=20)
        if n in KILLED_AFTER:
            system.supervisor.kill("feed")
            if n != KILLED_AFTER[0]:  # once it comes back at once, later some cards are blocked while it is dead
                assert done.acquire(timeout=20)
                done.release()
            system.supervisor.restart("feed")
    officer.join(20)

    at = system.head()
    assert at.seq == before.seq + CARDS
    within(20, lambda: system.is_confirmed(at))
    system.assert_feed_is_whole()
    system.supervisor.stop("door")
    with Daemon.open(load(door.config, {}), lock=LogLock()) as held:
        known = held.state.view.status
        assert known is not None
        assert (known.epoch, known.seq) == at
        for card in cards:
            assert read_entry(known.lists[card.status_list].packed, card.status_idx) is Status.STOLEN
    system.assert_books_are_whole()


def test_a_card_blocked_while_the_feed_is_dead_is_confirmed_once_it_is_back(system: System, door: DoorPlace) -> None:
    card = system.plastic_card()
    system.start_door(door, "no such reader", {})
    within(20, lambda: system.is_confirmed(system.head()))
    system.supervisor.kill("feed")
    block(system, card)
    at = system.head()
    assert not system.is_confirmed(at)
    system.supervisor.restart("feed")
    within(20, lambda: system.is_confirmed(at))
    with database.reading(system.centre.factory) as session:
        told = receipts.confirmations(session, *at)
    assert [one.is_confirmed for one in told.doors] == [True]
    # three: this test looked into the door's state with a start of its own
    within(20, lambda: sum(one.kind == "start" for one in system.door_records(door)) == 3)
    system.assert_books_are_whole()
