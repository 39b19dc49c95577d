"""A real `kill -9` of the HSM in the middle of an operation by name; each life goes on where the last one died."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hsm_process import PINS, SECRET, HsmProcess

from hsm_sim.client import Client, Denied, HsmGone, KeyState
from hsm_sim.endings import Ending
from hsm_sim.log import scan_log
from hsm_sim.policy import Op

MORTAL = Path(__file__).with_name("mortal_hsm.py")
GIVEN = SECRET | {
    "pins": PINS | {"allocator": "allo-123"},
    "officers": {"Lan": "mat-khau-lan", "Minh": "mat-khau-minh"},
}
CARD_KEY = ["ec-p256", "card", ["H38"], [0, 0, 0], True]


class Mortal(HsmProcess):
    """The same HSM, which will die in one operation."""

    def start_to_die(self, op: str, at: int) -> None:
        read, write = os.pipe()
        os.write(write, json.dumps(GIVEN).encode() + b"\n")
        os.close(write)
        command = [sys.executable, str(MORTAL), op, str(at), "serve", "--socket", str(self.socket)]
        command += ["--store", str(self.store), "--secret-fd", str(read)]
        self.process = subprocess.Popen(command, pass_fds=(read,), stderr=subprocess.DEVNULL, text=True)
        os.close(read)

    def officer(self, name: str) -> Client:
        return Client(self.socket, name, f"mat-khau-{name.lower()}", 10)

    def dies_in(self, op: str, at: int, act: Callable[[Client, Client], object]) -> None:
        """Start, let the officers do something in which it dies, and see that it did."""
        self.start_to_die(op, at)
        with self.officer("Lan") as lan, self.officer("Minh") as minh:
            lan.status()
            with pytest.raises(HsmGone):
                act(lan, minh)
        assert self.process is not None
        assert self.process.wait(10) == -9


def test_killed_in_operations_by_name_each_is_done_once_or_not_at_all(tmp_path: Path) -> None:
    hsm = Mortal(tmp_path)
    hsm.start("--init", "--persons-needed", "2", secret=GIVEN)
    with hsm.officer("Lan") as lan:
        first = lan.log_head().seal_key
    hsm.kill()
    nonces: list[bytes] = []

    def rotate(lan: Client, minh: Client) -> None:
        proposal = lan.propose(Op.ROTATE_LOG_KEY, [None])
        nonces.append(proposal.nonce)
        minh.approve(proposal)
        lan.carry_out(proposal)

    # the line "do", "saving", its flush, the frame of the store, its flush, "saved"
    hsm.dies_in("generate", 3, lambda lan, minh: lan.call(Op.GENERATE, ["early", *CARD_KEY]))
    hsm.dies_in("generate", 4, lambda lan, minh: lan.call(Op.GENERATE, ["late", *CARD_KEY]))
    hsm.dies_in("set_state", 2, lambda lan, minh: lan.set_state("late", KeyState.COMPROMISED))
    # the next key is in the store (6), the log has named it (7), it is not yet the store's key
    hsm.dies_in("rotate_log_key", 8, rotate)
    hsm.start(secret=GIVEN)
    with hsm.officer("Lan") as lan:
        assert [key.label for key in lan.keys()] == ["late"]  # noqa: SIM118 - a call
        assert lan.info("late").state is KeyState.ACTIVE
        for nonce in nonces:  # what two had agreed to died with the process
            with pytest.raises(Denied, match="no such proposal"):
                lan.call(Op.CARRY_OUT, [nonce])
        assert lan.log_head().seal_key != first
    hsm.stop()
    scan = scan_log(tmp_path / "store.log", seal_key=first)
    assert (scan.unsealed, len(scan.changes), scan.torn_bytes) == (0, 1, 0)
    assert [how for _, how in scan.unended] == [Ending.KILLED] * 5
