"""`kill -9` in every operation of the HSM, by name, at each of its writes: done and in the log, or not done.

The operations stand in `hsm_rows.ROWS`; one that the HSM has and the table has not is an error.
"""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hsm_cuts import Died, Disk, Mortal
from hsm_rows import ALLOCATOR, DATA, LAN, ROWS, SO, TRANSPORT, USER, Scene
from hsm_world import HsmWorld

from hsm_sim import store as store_module
from hsm_sim.core import Hsm, Peer
from hsm_sim.endings import Ending
from hsm_sim.errors import Denied, HsmError, PinLocked, StoreSealed
from hsm_sim.keys import REVEAL_PIN, Role
from hsm_sim.log import scan_log
from hsm_sim.log_key import LOG_KEY, NEXT
from hsm_sim.ops import SPECS
from hsm_sim.pins import TRIES_MAX
from hsm_sim.policy import Op
from hsm_sim.store import State


def test_every_operation_of_the_hsm_stands_in_the_table() -> None:
    assert set(map(str, ROWS)) == set(map(str, SPECS)) == set(map(str, Op))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an HSM that two officers share, with one of each thing in it."""
    world = HsmWorld(tmp_path_factory.mktemp("prepared"))
    hsm = world.open()
    for label, kind, use in (
        *(("signer", "ec-p256", "card"), ("old", "ec-p256", "card"), ("ca", "ec-p256", "ca")),
        *(("root-1", "ec-p256", "root"), ("master", "aes-256", "card-master")),
    ):
        hsm.call(SO, "generate", [label, kind, use, [], [0, 0, 0], True])
    hsm.call(SO, "generate", ["kek", "aes-256", "wrap", [], [0, 0, 0], True])
    hsm.call(SO, "generate", ["movable", "ec-p256", "card", [], [0, 0, 0, "exportable"], True])
    hsm.call(SO, "set_state", ["old", "compromised"])
    hsm.call(SO, "load_transport", ["batch", TRANSPORT.enc, TRANSPORT.mac, TRANSPORT.dek])
    for name in ("Lan", "Minh"):
        hsm.call(SO, "add_person", [name, "so", f"mat-khau-{name}"])
    hsm.call(SO, "set_pin", ["allocator", "allocator-1"])
    for job in ("job-1", "job-told"):
        hsm.call(ALLOCATOR, "allocate", [job, b""])
    told = hsm.state.jobs["job-told"]
    hsm.change(
        lambda state: replace(state, jobs={**state.jobs, "job-told": replace(told, pin=b"123456", pin_until=1 << 40)})
    )
    hsm.call(USER, "sign", ["signer", "card", DATA])
    hsm.found(2)
    (world.folder / "first").write_bytes(hsm.log.seal_public or b"")
    hsm.close()
    return world.folder


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk().patch(monkeypatch)


def view(state: State, base: State) -> dict[str, Any]:
    """What the store holds, beside what it held before; of what is drawn at random, whether it is another."""

    def secret(label: str, now: bytes) -> str:
        before = base.keys.get(label)
        return "none" if not now else "same" if before is not None and before.secret == now else "other"

    return {
        "keys": {
            label: (key.info.kind, key.info.use, key.info.state, secret(label, key.secret))
            for label, key in state.keys.items()
        },
        "pins": {
            name: (one.role, one.tries, name in base.pins and one.digest == base.pins[name].digest)
            for name, one in state.pins.items()
        },
        "jobs": {name: replace(job, pin=b"*" if job.pin else b"") for name, job in state.jobs.items()},
        "caps": dict(state.caps),
        "settings": {
            name: value == base.settings.get(LOG_KEY) if name == LOG_KEY else value
            for name, value in state.settings.items()
        },
    }


def uses(hsm: Hsm) -> dict[str, int]:
    return {label: hsm.uses_of(label) for label in ("signer", "ca", "root-1", "batch", "kek", REVEAL_PIN)}


@dataclass
class Life:
    """One run of an operation: what was before, what it wrote, and whether it lived to answer."""

    world: Mortal
    hsm: Hsm
    scene: Scene
    base: State
    lines: int
    used: dict[str, int]
    is_answered: bool = False
    is_flushed: bool = True


Whole = tuple[dict[str, Any], dict[str, int]]
"""What a whole run leaves: the store's content, and how often keys were used."""


class Runs:
    """Runs one row over fresh copies of the prepared files."""

    def __init__(self, op: str, prepared: Path, folder: Path, disk: Disk) -> None:
        self.op, self.row, self.prepared, self.folder, self.disk = op, ROWS[op], prepared, folder, disk
        self.asked = Op.CARRY_OUT if self.row.agreed else op
        self.numbers = itertools.count()

    def scene(self, hsm: Hsm) -> Scene:
        peer = self.row.peer
        made = Scene(hsm, Peer(peer.role, peer.uid, peer.name))
        self.row.prepare(made)
        return made

    def outcome(self, hsm: Hsm) -> str:
        """Ask for it again; the code that it is refused with, or none."""
        scene = self.scene(hsm)
        try:
            hsm.call(scene.peer, self.asked, self.row.args(scene))
        except HsmError as error:
            return error.code
        return ""

    def run(self, at: int = 0, *, half: bool = False, loses: bool = False) -> Life:
        """Die at write `at`; `loses`: with the power, so that what was not flushed is gone."""
        world = Mortal(self.prepared, self.folder / str(next(self.numbers)))
        hsm = world.open()
        scene = self.scene(hsm)
        args = self.row.args(scene)
        life = Life(world, hsm, scene, hsm.state, hsm.log.head.count, uses(hsm), is_flushed=not loses)
        self.disk.note(world.log_path, world.store_path)
        self.disk.arm(at, half=half)
        try:
            hsm.call(scene.peer, self.asked, args)
            life.is_answered = True
        except Died:
            pass
        world.kill(hsm)
        self.disk.disarm()
        if loses:
            self.disk.lose(world.log_path)
            self.disk.lose(world.store_path)
        return life

    def check(self, life: Life, whole: Whole) -> None:
        """Start again, and hold what is there against what was before and what the whole operation leaves."""
        before, (after, used_after) = view(life.base, life.base), whole
        hsm = life.world.open()
        found, used = view(hsm.state, life.base), uses(hsm)
        assert found in (before, after)
        assert NEXT not in hsm.state.settings
        done = done_lines(life.world.log_path, self.row.agreed or self.op, life.lines)
        assert done <= 1
        assert done == 1 or found == before
        if life.is_answered:
            assert found == after
            assert done == 1 or not life.is_flushed
        for label, count in life.used.items():
            assert count <= used[label] <= used_after[label]
            assert used[label] == used_after[label] or not done or not life.is_flushed
        if life.scene.nonce:  # what was agreed to dies with the process: nobody carries it out a second time
            with pytest.raises(Denied, match="no such proposal"):
                hsm.call(LAN, "carry_out", [life.scene.nonce])
        code = self.outcome(hsm)
        assert code == "" or (code, found) == (self.row.again, after)
        hsm.log.seal()
        life.world.kill(hsm)
        scan = scan_log(life.world.log_path, seal_key=(self.prepared / "first").read_bytes())
        assert [how for _, how in scan.unended] == [Ending.KILLED]
        assert (scan.unsealed, scan.torn_bytes) == (0, 0)


def done_lines(path: Path, op: str, after: int) -> int:
    """How many lines after that one say that an operation was begun."""
    lines = path.read_bytes().split(b"\n")[after:-1]  # not the one that the flusher may be writing just now
    events = [json.loads(line.rpartition(b"\t")[0])["e"] for line in lines]
    return sum(event[2:4] == [op, "do"] for event in events)


def cuts(runs: Runs, writes: list[str]) -> Iterator[Life]:
    """Every way to die: after each write, in the middle of it, and there with the power."""
    for at, name in enumerate(writes, 1):
        yield runs.run(at)
        if "write" in name:
            yield runs.run(at, half=True)
        if runs.row.changes:
            yield runs.run(at, loses=True)


@pytest.mark.parametrize("op", ROWS)
def test_killed_at_any_write_it_is_done_and_logged_or_not_done(
    op: str, prepared: Path, tmp_path: Path, disk: Disk
) -> None:
    runs = Runs(op, prepared, tmp_path, disk)
    life = runs.run()
    writes = disk.names
    whole = view(life.hsm.state, life.base), uses(life.hsm)
    assert (whole[0] != view(life.base, life.base)) == runs.row.changes
    assert len(writes) >= (6 if runs.row.changes else 1)
    runs.check(life, whole)
    for one in cuts(runs, writes):
        runs.check(one, whole)


def test_killed_while_the_store_is_written_anew_it_is_done_and_logged_or_not_done(
    prepared: Path, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "COMPACT_FROM_BYTES", 0)
    monkeypatch.setattr(store_module, "COMPACT_RATIO", 0)
    runs = Runs(Op.GENERATE, prepared, tmp_path, disk)
    life = runs.run()
    writes = disk.names
    assert "replace" in writes
    whole = view(life.hsm.state, life.base), uses(life.hsm)
    for at in range(1, len(writes) + 1):
        runs.check(runs.run(at), whole)
        runs.check(runs.run(at, half=True), whole)


# --- what is no operation of the table


def is_killed(disk: Disk, at: int, act: Callable[[], object], *, half: bool = False) -> bool:
    """Do something until write `at`; whether there was one. What is refused is done."""
    disk.arm(at, half=half)
    with contextlib.suppress(Died, HsmError):
        act()
    return disk.is_dead


@pytest.mark.parametrize("pin", ["wrong-pin", "mat-khau-Lan"])
def test_killed_at_any_write_of_a_login_no_try_is_won(prepared: Path, tmp_path: Path, disk: Disk, pin: str) -> None:
    tries = []
    for at in itertools.count(1):
        world = Mortal(prepared, tmp_path / str(at))
        hsm = world.open()
        is_dead = is_killed(disk, at, partial(hsm.login, "Lan", pin, 0))
        world.kill(hsm)
        disk.disarm()
        hsm = world.open()
        tries.append(hsm.state.pins["Lan"].tries)
        assert hsm.login("Lan", "mat-khau-Lan", 0).role is Role.SO
        world.kill(hsm)
        if not is_dead:
            break
    wrong = pin == "wrong-pin"
    first = tries.index(1)
    assert tries[:first] == [0] * first
    assert tries[-1] == (1 if wrong else 0)
    assert len(tries) == (7 if wrong else 12)
    assert sorted(tries[first:], reverse=True) == tries[first:]


def test_killing_it_right_after_each_guess_locks_the_pin_all_the_same(
    prepared: Path, tmp_path: Path, disk: Disk
) -> None:
    world = Mortal(prepared, tmp_path / "hsm")
    for _ in range(TRIES_MAX):
        hsm = world.open()
        assert is_killed(disk, 5, partial(hsm.login, "Lan", "mat-khau-Lan", 0))  # counted, not yet compared
        world.kill(hsm)
        disk.disarm()
    hsm = world.open()
    with pytest.raises(PinLocked):
        hsm.login("Lan", "mat-khau-Lan", 0)
    world.kill(hsm)


def test_killed_at_any_write_of_its_stop_it_starts_again(prepared: Path, tmp_path: Path, disk: Disk) -> None:
    for at in itertools.count(1):
        world = Mortal(prepared, tmp_path / str(at))
        hsm = world.open()
        base = hsm.state
        if not is_killed(disk, at, hsm.close):
            disk.disarm()
            break
        world.kill(hsm)
        disk.disarm()
        hsm = world.open()
        assert view(hsm.state, base) == view(base, base)
        world.kill(hsm)
        scan_log(world.log_path, seal_key=(prepared / "first").read_bytes())
    assert at > 6


def test_killed_at_any_write_of_its_start_it_starts_again(prepared: Path, tmp_path: Path, disk: Disk) -> None:
    """After a kill in the middle of a line, and while the key that seals the log is replaced."""
    for at in itertools.count(1):
        world = Mortal(prepared, tmp_path / str(at))
        hsm = world.open()
        hsm.change(lambda state: replace(state, settings={**state.settings, NEXT: bytes(32)}))
        assert is_killed(disk, 1, partial(hsm.call, USER, "status", []), half=True)
        world.kill(hsm)
        disk.disarm()
        disk.arm(at)
        try:
            hsm = world.open()
        except Died:
            disk.disarm()
            hsm = world.open()
        else:
            disk.disarm()
            at = 0
        assert NEXT not in hsm.state.settings
        hsm.log.seal()
        world.kill(hsm)
        scan = scan_log(world.log_path, seal_key=(prepared / "first").read_bytes())
        assert (scan.unsealed, scan.torn_bytes) == (0, 0)
        if not at:
            break


def test_killed_while_it_destroys_everything_it_has_all_or_opens_no_more(
    prepared: Path, tmp_path: Path, disk: Disk
) -> None:
    opened = []
    for at in itertools.count(1):
        for half in (False, True):
            world = Mortal(prepared, tmp_path / f"{at}-{half}")
            hsm = world.open()
            base = hsm.state
            is_dead = is_killed(disk, at, hsm.zeroise, half=half)
            world.kill(hsm)
            disk.disarm()
            if not world.store_path.exists():
                opened.append(False)
                continue
            try:
                hsm = world.open()
            except StoreSealed:
                opened.append(False)
            else:
                assert view(hsm.state, base) == view(base, base)
                opened.append(True)
                world.kill(hsm)
        if not is_dead:
            break
    assert opened == sorted(opened, reverse=True)
    assert True in opened
