"""`kill -9` of the console in the middle of officers' work: what was pressed counts once or not at all."""

import os
import signal
import threading
import time
import urllib.error
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

import pytest
from card_office import HOME
from running_system import System, running

from demo.console import ConsoleSession
from demo.display import NotAsItShouldBe
from issuer import database
from issuer.audit import log as audit
from issuer.cards import queries
from issuer.cards.states import CardState
from issuer.cards.tables import Card, CardRequest

WORK = 12
WAIT_S = 20.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("system")) as started:
        started.office.start_web()
        yield started


class Officer(threading.Thread):
    """Presses one button after the other; pressed again when no answer came, until it is known to be done."""

    def __init__(self, press: Callable[[uuid.UUID], str], keys: list[uuid.UUID]) -> None:
        super().__init__(daemon=True)
        self._press, self._keys = press, keys
        self.done = 0
        self.unanswered = 0
        self.was_done_already = 0

    def run(self) -> None:
        for key in self._keys:
            deadline = time.monotonic() + WAIT_S
            while time.monotonic() < deadline:
                try:
                    self._press(key)
                    break
                except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError):
                    self.unanswered += 1
                    time.sleep(0.05)
                except NotAsItShouldBe:  # the button is gone or refused: an earlier press had counted
                    self.was_done_already += 1
                    break
            self.done += 1


def worker_of(master: int) -> int:
    children = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii").split()
    return int(children[0])


def kill_worker(system: System) -> None:
    """The process that answers; the console's own master starts another."""
    os.kill(worker_of(system.supervisor.process("web").pid), signal.SIGKILL)


def kill_both(system: System) -> None:
    master = system.supervisor.process("web").pid
    os.killpg(master, signal.SIGKILL)
    system.supervisor.restart("web")


def kill_master(system: System) -> None:
    """The master alone; its worker must not go on with the address."""
    system.supervisor.kill("web")
    system.supervisor.restart("web")


@pytest.mark.parametrize("kill", [kill_worker, kill_both, kill_master])
def test_killed_while_officers_work_each_press_counts_once(system: System, kill: Callable[[System], None]) -> None:
    cards = [system.plastic_card() for _ in range(WORK)]
    requests = [system.centre.requested() for _ in range(WORK)]
    before = system.head()
    name = kill.__name__
    approver = console(system, f"{name}.approver", "approver")
    blocker = console(system, f"{name}.blocker", "card_office")

    def approve(key: uuid.UUID) -> str:
        return approver.press(f"/requests/{key}", f"/requests/{key}/approve")

    def block(key: uuid.UUID) -> str:
        return blocker.press(f"/cards/{key}", f"/cards/{key}/block", reason="lost")

    officers = [Officer(approve, [one.id for one in requests]), Officer(block, [one.id for one in cards])]
    for officer in officers:
        officer.start()
    for at in (WORK // 4, WORK // 2):
        wait_for(officers, at)
        kill(system)
    for officer in officers:
        officer.join(60)
        assert officer.done == WORK

    assert sum(officer.unanswered for officer in officers) > 0
    assert system.head().seq == before.seq + WORK
    with database.reading(system.centre.factory) as session:
        for card in cards:
            assert session.get_one(Card, card.id).state == CardState.LOST
            assert len(audit.entries(session, action="card.lost", subject=str(card.uuid))) == 1
        for request in requests:
            assert session.get_one(CardRequest, request.id).state == CardState.APPROVED
            assert len(audit.entries(session, action="request.approve", subject=str(request.id))) == 1
            assert queries.card_of_request(session, request.id) is None
    system.assert_feed_is_whole()
    system.assert_books_are_whole()


def console(system: System, login: str, role: str) -> ConsoleSession:
    return system.user(login, f"{role}@{HOME}")


def wait_for(officers: list[Officer], done: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while min(officer.done for officer in officers) < done:
        assert time.monotonic() < deadline, "the officers got no further"
        time.sleep(0.002)
