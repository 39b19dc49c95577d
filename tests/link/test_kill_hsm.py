"""`kill -9` of the HSM while it signs and while cards are encoded: nothing is lost and nothing is doubled."""

import http.client
import threading
from collections.abc import Iterator

import pytest
from card_office import ENCODER, HR, Blank
from feed_centre import Listener
from running_system import System, right_now, running
from test_personalise_tear import assert_finished_once, assert_nothing_counts

from cardlink.piv import commands
from cardlink.statements.status import read_fresh
from cardlink.transport.connection import Connection, command
from hsm_sim.log import scan_log
from issuer import database
from issuer.audit import log as audit
from issuer.cards import blocking, personalise
from issuer.cards.blocking import BlockReason
from issuer.cards.tables import Card
from issuer.trust import status
from issuer.trust.port import HsmError

CARDS = 24
KILLED_AFTER = (5, 11, 18)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("system")) as started:
        started.office.start_feed()
        yield started


def kill_and_restart(system: System) -> None:
    system.supervisor.kill("hsm")
    system.supervisor.restart("hsm")


def test_killed_while_cards_are_blocked_each_is_blocked_once(system: System) -> None:
    cards = [system.plastic_card() for _ in range(CARDS)]
    before = system.head()
    listener = Listener(system.office.feed_port, before.epoch, before.seq)
    done = threading.Semaphore(0)

    def block_all() -> None:
        for card in cards:
            with database.transaction(system.centre.factory) as session:
                blocking.block(session, system.centre.hsm, HR, card.id, BlockReason.LOST, right_now())
            system.poke()
            done.release()

    officer = threading.Thread(target=block_all)
    officer.start()
    for n in range(1, CARDS + 1):
        assert done.acquire(timeout=20)
        if n in KILLED_AFTER:
            kill_and_restart(system)
    officer.join(20)
    assert not officer.is_alive()

    assert system.head().seq == before.seq + CARDS
    system.assert_feed_is_whole()
    system.assert_books_are_whole()
    with database.reading(system.centre.factory) as session:
        for card in cards:
            assert len(audit.entries(session, action="card.lost", subject=str(card.uuid))) == 1
    with database.reading(system.centre.factory) as session:
        sent = [body for _, body in status.events_between(session, before.epoch, before.seq)]
    heard = []
    while not heard or heard[-1] != sent[-1]:
        heard.append(listener.next("status").body())
    assert heard[-CARDS:] == sent
    listener.close()


def test_the_feed_goes_on_signing_after_the_hsm_came_back(system: System) -> None:
    for nonce in (b"0" * 16, b"1" * 16):
        feed = http.client.HTTPConnection("127.0.0.1", system.office.feed_port, timeout=20)
        feed.request("POST", "/fresh", nonce)
        answer = feed.getresponse()
        assert read_fresh(answer.read()).value.nonce == nonce
        feed.close()
        kill_and_restart(system)


class KillsTheHsm:
    """A connection to a card during which the HSM dies and comes back, when the card is to get its exchange `at`."""

    def __init__(self, below: Connection, system: System, at: int) -> None:
        self._below, self._system, self._at = below, system, at
        self.count = 0

    def transmit(self, apdu: bytes) -> bytes:
        self.count += 1
        if self.count == self._at:
            kill_and_restart(self._system)
        return self._below.transmit(apdu)


def test_killed_while_cards_are_encoded_each_job_is_finished_or_resumed(system: System) -> None:
    broken = []
    for at in (2, 8, 16, 28, 40, 64, 90):
        card, blank = system.centre.allocated()
        connection = KillsTheHsm(blank.connect(), system, at)
        try:
            outcome = system.centre.encode(card.id, connection).outcome
        except HsmError:  # the keys of the channel to the card died with the HSM
            broken.append(at)
            assert_nothing_counts(system.centre, card)
            outcome = system.centre.encode(card.id, blank.connect()).outcome
        assert connection.count >= at
        assert_finished_once(system.centre, card, blank, outcome)
        assert_the_pin_is_known(system, card, blank)
    assert 3 <= len(broken) < 7
    system.assert_feed_is_whole()
    system.assert_books_are_whole()


def assert_the_pin_is_known(system: System, card: Card, blank: Blank) -> None:
    """The PIN that the HSM reveals is the one on the card."""
    with database.transaction(system.centre.factory) as session:
        pin = personalise.reveal_pin(session, system.centre.hsm, ENCODER, card.id, right_now(), system.centre.jobs)
    connection = blank.connect()
    command(connection, commands.select())
    command(connection, commands.verify(pin.encode().ljust(8, b"\xff")))


def test_the_log_of_the_hsm_is_whole_over_all_its_lives(system: System) -> None:
    scan = scan_log(system.folder / "data" / "hsm.store.log")
    assert scan.head.count > 100
    assert len(scan.unended) > 2
