"""`kill -9` of the HSM at any moment of any operation: what it answered is there, once; its log is whole."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hsm_process import PINS, SECRET, HsmProcess

from hsm_sim.client import Client, HsmError, HsmGone, KeyState, Role
from hsm_sim.log import scan_log

SEED = 20_261_122
KILLS = 8
WORKS_S = (0.02, 0.35)
ALLOCATOR_PIN = "allo-123"


class Work:
    """What officers and programs do to the HSM, and what it has answered."""

    def __init__(self, hsm: HsmProcess, chance: random.Random) -> None:
        self.hsm, self.chance = hsm, chance
        self.made: list[str] = []
        self.stopped: list[str] = []
        self.jobs: list[str] = []
        self.signed = 0
        self.asked = 0
        self.round = 0

    def run(self) -> None:
        """Do one thing after the other until the HSM is gone."""
        so = self.hsm.client(Role.SO, wait_s=0)
        user = self.hsm.client(Role.USER, wait_s=0)
        allocator = Client(self.hsm.socket, Role.ALLOCATOR, ALLOCATOR_PIN, 0)
        things: list[Callable[[], None]] = [
            lambda: self._make(so),
            lambda: self._sign(user),
            lambda: self._stop(so),
            lambda: self._allocate(allocator),
            lambda: so.set_cap("signer", 0, 1 << 30),
        ]
        with so, user, allocator:
            try:
                while True:
                    self.chance.choice(things)()
            except HsmGone:
                return
            except HsmError as error:
                if error.code not in ("error", "session-lost"):
                    raise

    def _make(self, so: Client) -> None:
        self.round += 1
        label = f"key-{self.round}"
        so.generate(label, "ec-p256", "card", ("H38",))
        self.made.append(label)

    def _stop(self, so: Client) -> None:
        left = [label for label in self.made if label not in self.stopped]
        if left:
            so.set_state(left[0], KeyState.COMPROMISED)
            self.stopped.append(left[0])

    def _sign(self, user: Client) -> None:
        self.asked += 1
        user.sign("signer", "card", self.asked.to_bytes(8, "big"))
        self.signed += 1

    def _allocate(self, allocator: Client) -> None:
        self.round += 1
        job = f"job-{self.round}"
        allocator.allocate(job)
        self.jobs.append(job)


@pytest.mark.parametrize("number", range(2))
def test_killed_at_any_moment_nothing_is_lost_and_nothing_doubled(tmp_path: Path, number: int) -> None:
    chance = random.Random(SEED + number)
    given = SECRET | {"pins": PINS | {"allocator": ALLOCATOR_PIN}}
    hsm = HsmProcess(tmp_path).start("--init", secret=given)
    with hsm.client(Role.SO) as so:
        so.generate("signer", "ec-p256", "card", ("H38",))
    work = Work(hsm, chance)
    for _ in range(KILLS // 2):
        worker = threading.Thread(target=work.run)
        worker.start()
        time.sleep(chance.uniform(*WORKS_S))
        hsm.kill()
        worker.join(20)
        assert not worker.is_alive()
        hsm.start()
        with hsm.client(Role.USER) as user:
            held = {one.label: one for one in user.keys()}  # noqa: SIM118 - a call
            status = user.status()
        labels = [label for label in held if label != "signer"]
        assert set(work.made) <= set(labels)
        assert len(labels) - len(work.made) <= 1  # at most the one that was being made
        work.made = labels
        stopped = [label for label in labels if held[label].state is KeyState.COMPROMISED]
        assert set(work.stopped) <= set(stopped)
        assert len(stopped) - len(work.stopped) <= 1
        work.stopped = stopped
        assert 0 <= status.jobs - len(work.jobs) <= 1
        work.jobs = [f"job {n}" for n in range(status.jobs)]
        # every signature that was answered is counted; at most those are counted that were asked for
        assert work.signed <= held["signer"].uses <= work.asked
    hsm.stop()
    assert scan_log(tmp_path / "store.log").torn_bytes == 0
