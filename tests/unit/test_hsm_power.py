"""The HSM's machine loses its power: what was flushed is there, what may be missing is said, wherever the files end."""

import os
import shutil
from pathlib import Path

import pytest
from hsm_world import SECRET, HsmWorld

from hsm_sim.__main__ import main
from hsm_sim.core import Hsm, Peer
from hsm_sim.endings import Ending, last_ending
from hsm_sim.errors import LogBroken, StoreSealed
from hsm_sim.keys import Role
from hsm_sim.log import Head, Log, scan_log
from hsm_sim.ops import SPECS
from hsm_sim.store import Store, read_state

OFFICER, USER = Peer(Role.SO, 0), Peer(Role.USER, 0)
LATER_MS = 1 << 62
"""A machine that started after every line that there is."""
PAGE = 512


class Cut:
    """An HSM that worked, and its files as they were then: nothing was stopped, nothing flushed beyond the anchor."""

    def __init__(self, folder: Path) -> None:
        world = HsmWorld(folder / "worked")
        world.folder.mkdir()
        hsm = world.open()
        hsm.found(1)
        hsm.call(OFFICER, "generate", ["key", "ec-p256", "card", [], [0, 0, 0], True])
        self.anchor = hsm.state.anchor
        for number in range(4):
            hsm.call(USER, "sign", ["key", "card", bytes((number,))])
        self.first = hsm.log.seal_public or b""
        self.log, self.store = world.log_path.read_bytes().rstrip(b"\0"), world.store_path.read_bytes()
        hsm.close()
        self.path = folder / "cut.log"

    def at(self, size: int, tail: bytes = b"") -> Path:
        self.path.write_bytes(self.log[:size] + tail)
        return self.path

    def whole_lines(self, size: int) -> int:
        return self.log[:size].count(b"\n")

    def start(self, folder: Path, machine_start_ms: int = LATER_MS) -> Hsm:
        """Start again over the cut log and the store."""
        folder.mkdir(exist_ok=True)
        shutil.copy(self.path, folder / "store.log")
        (folder / "store").write_bytes(self.store)
        store = Store(folder / "store", SECRET, os.urandom)
        log = Log(folder / "store.log", store.state.anchor, machine_start_ms=lambda: machine_start_ms)
        return Hsm(SPECS, store, log, os.urandom, lambda: 1_770_000_000)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    return Cut(tmp_path_factory.mktemp("power"))


def test_a_log_cut_at_any_byte_after_the_anchor_is_whole_up_to_the_last_line(cut: Cut) -> None:
    for size in range(cut.anchor.size_bytes, len(cut.log) + 1):
        path = cut.at(size)
        scan = scan_log(path, cut.anchor)
        assert scan.head.count == cut.whole_lines(size)
        assert scan.torn_bytes == size - scan.head.size_bytes
        assert last_ending(path, scan.head.size_bytes, LATER_MS) is Ending.POWER
        assert last_ending(path, scan.head.size_bytes, 0) is Ending.KILLED


def test_a_log_cut_at_any_byte_before_the_anchor_is_refused(cut: Cut) -> None:
    for size in range(cut.anchor.size_bytes):
        with pytest.raises(LogBroken, match="not the one that the store remembers"):
            scan_log(cut.at(size), cut.anchor)


def test_pages_that_never_reached_the_disk_count_as_cut_off(cut: Cut) -> None:
    """The file has its length, and zeros where the last pages should be, or one of them, before others."""
    begin, end = cut.anchor.size_bytes, len(cut.log)
    for size in range(begin, end, 7):
        zeros = scan_log(cut.at(size, bytes(end - size)), cut.anchor)
        hole = scan_log(cut.at(size, bytes(PAGE) + cut.log[size + PAGE :] + b"{"), cut.anchor)
        for scan, ends in ((zeros, size), (hole, max(end, size + PAGE) + 1)):
            assert scan.head.count == cut.whole_lines(size)
            assert scan.head.size_bytes + scan.torn_bytes == ends


@pytest.mark.parametrize(("lines", "torn"), [(1, 0), (3, 20)])
def test_it_starts_again_and_says_what_may_be_missing(
    cut: Cut, tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: int, torn: int
) -> None:
    raw = cut.log.splitlines(keepends=True)
    count = cut.anchor.count + lines
    cut.at(sum(map(len, raw[:count])) + torn)
    hsm = cut.start(tmp_path)
    hsm.call(USER, "sign", ["key", "card", b"data"])
    hsm.close()
    scan = scan_log(tmp_path / "store.log", seal_key=cut.first)
    assert scan.unended == ((count + 1 + bool(torn), Ending.POWER),)
    for lang, said in (
        ("en", "the power was cut; up to the last 10 ms"),
        ("vi", "máy mất điện; có thể thiếu tới 10 ms"),
    ):
        assert main(["--lang", lang, "verify-log", "--log", str(tmp_path / "store.log")]) == 0
        assert said in capsys.readouterr().out


def test_a_killed_process_is_told_from_a_power_cut_and_a_stop_from_both(cut: Cut, tmp_path: Path) -> None:
    cut.at(len(cut.log))
    hsm = cut.start(tmp_path, machine_start_ms=0)
    hsm.call(USER, "random", [8])
    hsm.close()
    world = HsmWorld(tmp_path)
    world.open().close()
    last = len(world.log_path.read_bytes())
    assert last_ending(world.log_path, last, LATER_MS) is Ending.STOPPED
    assert [how for _, how in scan_log(world.log_path, seal_key=cut.first).unended] == [Ending.KILLED]
    assert last_ending(world.log_path, 0, LATER_MS) is Ending.NONE


def test_a_frame_of_the_store_that_never_reached_the_disk_counts_as_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = Store(path, SECRET, os.urandom, create=True)
    ends = []
    for _ in range(3):
        store.save(store.state, Head())
        ends.append(path.stat().st_size)
    store.close()
    raw = path.read_bytes()
    for size in range(ends[1], ends[2]):
        path.write_bytes(raw[:size] + bytes(ends[2] - size))
        assert read_state(path, SECRET).generation == (2 if any(raw[size:]) else 3)  # it may end in zeros of its own
    path.write_bytes(raw + bytes(4096))
    assert read_state(path, SECRET).generation == 3
    path.write_bytes(raw[: ends[0]] + bytes(ends[1] - ends[0]) + raw[ends[1] :])
    assert read_state(path, SECRET).generation == 1  # and the log, which remembers more, refuses it: see below


def test_a_store_with_zeros_over_its_newest_frames_is_older_than_its_log(cut: Cut, tmp_path: Path) -> None:
    world = HsmWorld(tmp_path)
    hsm = world.open()
    early = world.store_path.stat().st_size
    hsm.call(OFFICER, "generate", ["key", "ec-p256", "card", [], [0, 0, 0], True])
    hsm.close()
    raw = world.store_path.read_bytes()
    world.store_path.write_bytes(raw[:early] + bytes(len(raw) - early))
    with pytest.raises(StoreSealed, match="older than its log"):
        world.open()


@pytest.mark.parametrize("ends_with", ["operation", "seal", "stop"])
@pytest.mark.parametrize("text", ["{", "x", "é"])
def test_last_lines_of_any_length_are_read_whole(tmp_path: Path, text: str, ends_with: str) -> None:
    for length in (1, 60, *range(7900, 8200, 25), 40_000):
        path = tmp_path / f"{length}.log"
        with Log(path) as log:
            log.append("user", 0, "open_session", "do", text * length, text * length)
            if ends_with == "seal":
                log.append("hsm", 0, "seal", "ok", "", "")
            elif ends_with == "stop":
                log.append("hsm", 0, "stop", "ok", "", text * length)
        wanted = Ending.STOPPED if ends_with == "stop" else Ending.KILLED
        assert last_ending(path, path.stat().st_size, 0) is wanted
        Log(path).close()


def test_last_lines_that_are_no_lines_are_said_to_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for raw in (b"{\n", b"[]\n", b'{"e":[]}\n', b"\xff\xff\n", b'{"e":["hsm",0,"stop","ok"]}\n'):
        path.write_bytes(raw)
        with pytest.raises(LogBroken, match="none of a log"):
            last_ending(path, len(raw), 0)
