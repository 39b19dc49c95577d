"""The log: a line before each operation, a chain that shows every change, and no operation without it."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hsm_world import SECRET, HsmWorld

from hsm_sim import log_file
from hsm_sim.__main__ import main
from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import Denied, HsmError, LogBroken, LogFull, SessionLost
from hsm_sim.keys import Role
from hsm_sim.log import Log, scan_log
from hsm_sim.log_file import LogFile

USER, OFFICER = Peer(Role.USER, 1000), Peer(Role.SO, 1000)


@pytest.fixture
def world(tmp_path: Path) -> HsmWorld:
    return HsmWorld(tmp_path)


def a_busy_hsm(world: HsmWorld) -> Hsm:
    hsm = world.open()
    hsm.call(OFFICER, "generate", ["key", "ec-p256", "card", [], [0, 0, 0], True])
    for n in range(20):
        hsm.call(USER, "sign", ["key", "card", bytes((n,))])
    return hsm


def entries(path: Path) -> list[list[Any]]:
    """What the lines of a log say; while the HSM runs, room follows them."""
    return [json.loads(line.split("\t")[0])["e"] for line in path.read_text().rstrip("\0").splitlines()]


def test_each_operation_leaves_a_line_before_it_is_answered(world: HsmWorld) -> None:
    hsm = a_busy_hsm(world)
    before = len(entries(world.log_path))
    hsm.call(USER, "sign", ["key", "card", b"data"])
    hsm.call(USER, "sign_many", ["key", "card", [b"a", b"b"]])
    with pytest.raises(Denied):
        hsm.call(USER, "generate", ["other", "ec-p256", "card", [], [0, 0, 0], True])
    with pytest.raises(Denied):
        hsm.call(USER, "sign", ["key", "qr", b"data"])
    with pytest.raises(SessionLost):
        hsm.call(USER, "wrap", [7, b"\0\0\0\0"])
    lines = [one[:5] for one in entries(world.log_path)[before:]]
    assert lines == [
        ["user", 1000, "sign", "do", "key"],
        ["user", 1000, "sign_many", "do", "key"],
        ["user", 1000, "generate", "denied", "other"],
        ["user", 1000, "sign", "do", "key"],
        ["user", 1000, "sign", "denied", "key"],
        ["user", 1000, "wrap", "session-lost", "7"],
    ]
    hsm.close()


def test_the_log_holds_no_pin_and_no_key(world: HsmWorld) -> None:
    hsm = a_busy_hsm(world)
    hsm.call(OFFICER, "set_pin", ["user", "brand-new-pin"])
    hsm.login("user", "brand-new-pin", 0)
    secret = hsm.state.keys["key"].secret
    hsm.close()
    raw = world.log_path.read_bytes()
    assert b"brand-new-pin" not in raw
    assert secret.hex().encode() not in raw


@pytest.mark.parametrize("line", [1, 5, 20, -1])
def test_a_changed_line_is_named(world: HsmWorld, line: int) -> None:
    a_busy_hsm(world).close()
    lines = world.log_path.read_bytes().splitlines(keepends=True)
    number = line if line > 0 else len(lines)
    lines[number - 1] = lines[number - 1].replace(b'"e":["', b'"e":["x', 1)
    world.log_path.write_bytes(b"".join(lines))
    with pytest.raises(LogBroken, match=f"line {number} "):
        scan_log(world.log_path)
    assert main(["verify-log", "--log", str(world.log_path)]) == 1


@pytest.mark.parametrize("change", ["drop", "swap", "double"])
def test_lines_left_out_swapped_or_doubled_are_found(world: HsmWorld, change: str) -> None:
    a_busy_hsm(world).close()
    lines = world.log_path.read_bytes().splitlines(keepends=True)
    if change == "drop":
        del lines[9]
    elif change == "swap":
        lines[9], lines[10] = lines[10], lines[9]
    else:
        lines.insert(9, lines[9])
    world.log_path.write_bytes(b"".join(lines))
    with pytest.raises(LogBroken, match="line 1"):
        scan_log(world.log_path)


@pytest.mark.parametrize("how", ["shortened", "empty", "missing", "another"])
def test_a_log_behind_the_store_stops_the_hsm(world: HsmWorld, how: str, tmp_path: Path) -> None:
    a_busy_hsm(world).close()
    lines = world.log_path.read_bytes().splitlines(keepends=True)
    if how == "missing":
        world.log_path.unlink()
    elif how == "another":  # a chain that is whole in itself, written anew
        world.log_path.unlink()
        with Log(world.log_path) as log:
            for _ in lines:
                log.append("user", 1000, "sign", "do", "key", "0" * 32)
        scan_log(world.log_path)
    else:
        world.log_path.write_bytes(b"".join(lines[:-5] if how == "shortened" else []))
    with pytest.raises(LogBroken):
        world.open()


def test_an_unfinished_last_line_is_cut_off_and_noted(world: HsmWorld) -> None:
    hsm = a_busy_hsm(world)
    hsm.close()
    with world.log_path.open("ab") as file:
        file.write(b'{"n":99,"t":17')
    assert scan_log(world.log_path).torn_bytes == 14
    hsm = world.open()
    hsm.close()
    assert ["hsm", 0, "log", "torn-line", "14", ""] in entries(world.log_path)
    assert scan_log(world.log_path).torn_bytes == 0


def test_a_full_log_stops_every_operation(world: HsmWorld) -> None:
    a_busy_hsm(world).close()
    world.log_max_bytes = world.log_path.stat().st_size + 2000
    hsm = world.open()

    def sign_on() -> None:
        while True:
            hsm.call(USER, "sign", ["key", "card", b"data"])

    with pytest.raises(LogFull):
        sign_on()
    for op, args in (("sign", ["key", "card", b"data"]), ("status", []), ("random", [8])):
        with pytest.raises(LogFull):
            hsm.call(USER, op, args)
    with pytest.raises(LogFull):
        hsm.login("user", "user-123", 0)
    scan_log(world.log_path)


def test_a_disk_without_room_for_more_lines_leaves_the_chain_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room that is there is used to its end; once there is more, the log goes on."""
    path, left = tmp_path / "log", [100_000]
    real = os.pwrite

    def write(file: int, data: bytes, at: int) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(file, data[: left[0]], at)
        left[0] -= written
        return written

    monkeypatch.setattr("os.pwrite", write)
    with Log(path) as log:
        with pytest.raises(LogFull, match="No space left"):
            deque(log.append("user", 0, "sign", "do", "key", "") for _ in range(2000))
        full = log.head
        assert 100_000 - 200 < full.size_bytes <= 100_000
        with pytest.raises(LogFull, match="No space left"):
            log.append("user", 0, "sign", "do", "key", "")
        assert (log.head, scan_log(path).head, scan_log(path).torn_bytes) == (full, full, 0)
        left[0] = 1 << 20
        log.append("user", 0, "sign", "do", "key", "")
    assert scan_log(path).head.count == full.count + 1
    assert path.stat().st_size == scan_log(path).head.size_bytes


def test_a_log_on_a_full_disk_opens_and_takes_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.pwrite", _refuse)
    with Log(tmp_path / "log") as log, pytest.raises(LogFull, match="Input/output error"):
        log.append("user", 0, "sign", "do", "key", "")
    assert (tmp_path / "log").stat().st_size == 0


def test_lines_of_any_length_cross_the_borders_of_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "ROOM_BYTES", 700)
    monkeypatch.setattr(log_file, "ROOM_MAX_BYTES", 9000)
    path, sizes = tmp_path / "log", [1, 300, 699, 700, 701, 4095, 4096, 4097, 12_000, 30_000]
    for _ in range(2):
        with Log(path) as log:
            for size in sizes * 3:
                log.append("user", 0, "sign", "do", "key", "x" * size)
    assert [len(one[5]) for one in entries(path) if one[2] == "sign"] == sizes * 6


READER = """
import sys
from pathlib import Path
from hsm_sim.log import scan_log
for _ in range(30):
    scan = scan_log(Path(sys.argv[1]))
    print(scan.head.count, scan.torn_bytes)
"""


def test_a_log_that_is_read_while_it_is_written_is_whole_each_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with Log(path) as log:
        log.append("user", 0, "sign", "do", "key", "")
        reader = subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True)
        while reader.poll() is None:
            log.append("user", 0, "sign", "do", "key", "x" * (log.head.count % 300))
            time.sleep(0.0002)  # the reader reads all of it each time
        lines = [line.split() for line in reader.communicate()[0].splitlines()]
        assert reader.returncode == 0
        assert scan_log(path).head == log.head
    told = [int(count) for count, _ in lines]
    assert [torn for _, torn in lines].count("0") > 27  # it may look just while a line is put there
    assert len(told) == 30
    assert told == sorted(told)
    assert told[0] < told[-1] <= log.head.count


def test_a_bounded_log_takes_no_more_of_the_disk(tmp_path: Path) -> None:
    with Log(tmp_path / "log", max_bytes=100_000) as log:
        with pytest.raises(LogFull, match="of 100000 bytes"):
            deque(log.append("user", 0, "sign", "do", "key", "") for _ in range(2000))
        assert (tmp_path / "log").stat().st_size <= 100_000


def test_who_writes_after_the_end_is_refused_and_a_second_end_changes_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.append("user", 0, "sign", "do", "key", "")
    end = log.close()
    with (tmp_path / "other").open("wb+") as other:  # it may have the number that the log's file had
        other.write(bytes(100_000))
        assert log.close() == end
    assert (tmp_path / "other").stat().st_size == 100_000
    with pytest.raises(LogFull, match="closed"):
        log.append("user", 0, "sign", "do", "key", "")


def test_a_line_reaches_the_disk_by_itself_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[float] = []
    real = os.fdatasync

    def sync(file: int) -> None:
        real(file)
        synced.append(time.monotonic())

    monkeypatch.setattr("os.fdatasync", sync)
    with Log(tmp_path / "log") as log:
        begun = time.monotonic()
        log.append("user", 0, "sign", "do", "key", "")
        while not synced and time.monotonic() < begun + 2:
            time.sleep(0.001)
        assert synced, "no flush within two seconds"


def test_a_seal_that_found_no_room_is_made_up_for_and_the_flushing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, synced, path = [0.0], [0], tmp_path / "log"
    put, sync = LogFile.put, os.fdatasync

    def put_no_seal(file: LogFile, line: bytes, at: int) -> None:
        if b',"seal","ok",' in line:
            refused.append(time.monotonic())
            raise OSError(28, "No space left on device")
        put(file, line, at)

    def note(file: int) -> None:
        size = log.head.size_bytes
        sync(file)
        synced.append(size)

    def wait_for(what: Callable[[], bool]) -> None:
        end_s = time.monotonic() + 5
        while not what() and time.monotonic() < end_s:
            time.sleep(0.002)
        assert what()

    monkeypatch.setattr(LogFile, "put", put_no_seal)
    monkeypatch.setattr("os.fdatasync", note)
    monkeypatch.setattr("hsm_sim.log.SEAL_EVERY_S", 0.05)
    key = ed25519.Ed25519PrivateKey.generate()
    with Log(path) as log:
        log.seal_with(key)
        log.append("user", 0, "sign", "do", "key", "")
        wait_for(lambda: len(refused) > 3)  # it tries again though nobody writes, and does not run in a circle
        assert all(later - sooner > 0.04 for sooner, later in pairwise(refused))
        log.append("user", 0, "sign", "do", "key", "")
        wait_for(lambda: synced[-1] == log.head.size_bytes)
        monkeypatch.setattr(LogFile, "put", put)
        sealed = log.head.count + 1
        wait_for(lambda: log.head.count == sealed)
    assert scan_log(path, seal_key=key.public_key().public_bytes_raw()).unsealed == 0


def test_after_a_failed_flush_the_flusher_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    def flushers() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name == "log-flush"}

    before = flushers()
    monkeypatch.setattr("os.fdatasync", fail)
    log = Log(tmp_path / "log")
    (mine,) = flushers() - before
    log.append("user", 0, "sign", "do", "key", "")
    mine.join(5)
    assert not mine.is_alive()


def test_texts_of_any_length_leave_short_lines_and_their_uses_are_counted(world: HsmWorld) -> None:
    """Who fills the last line with a text of his own does not decide whether the HSM starts again."""
    hsm = world.open()
    batch = "batch " + "é" * 58  # the longest label
    hsm.call(OFFICER, "load_transport", [batch, b"a" * 16, b"b" * 16, b"c" * 16])
    before = len(entries(world.log_path))
    for peer, op, args in (
        (OFFICER, "generate", ["{" * 10_000, "ec-p256", "card", [], [0, 0, 0], True]),
        (USER, "generate", ["\0" * 10_000, "ec-p256", "card", [], [0, 0, 0], True]),
        (OFFICER, "load_transport", ["\N{PILE OF POO}" * 10_000, b"a" * 16, b"b" * 16, b"c" * 16]),
        (OFFICER, "load_component", ["{" * 10_000, 1, 2, bytes(range(32))]),
        *((USER, "open_session", ["{" * 64, "transport", batch, bytes(size), 0, b"", b"", 0x33, 256])
          for size in (10, 45, 50, 60, 3916)),
    ):  # fmt: skip
        with pytest.raises(HsmError):
            hsm.call(peer, op, args)
    assert len(entries(world.log_path)) > before + 9
    assert max(len(line) for line in world.log_path.read_bytes().rstrip(b"\0").splitlines()) < 2500
    uses = scan_log(world.log_path).uses
    assert sum(number for (label, client, _), number in uses.items() if (label, client) == (batch, "user/1000")) == 5
    hsm.close()


def test_a_disk_that_fails_to_sync_stops_the_hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path / "log")

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fdatasync", fail)
    with pytest.raises(LogFull, match="Input/output"):
        log.flush()
    with pytest.raises(LogFull, match="Input/output"):
        log.append("user", 0, "sign", "do", "key", "")


def test_a_room_that_fails_to_sync_stops_the_hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells an error of the disk once, and it may be about lines."""
    log = Log(tmp_path / "log")
    log.append("user", 0, "sign", "do", "key", "")
    monkeypatch.setattr(os, "fsync", _refuse)
    with pytest.raises(LogFull, match="Input/output"):
        log.append("user", 0, "sign", "do", "key", "x" * log_file.ROOM_BYTES)
    monkeypatch.undo()
    with pytest.raises(LogFull, match="Input/output"):
        log.flush()
    with pytest.raises(LogFull, match="Input/output"):
        log.append("user", 0, "sign", "do", "key", "")


def test_texts_that_look_like_the_logs_own_do_not_pass_for_them(world: HsmWorld) -> None:
    hsm = world.open()
    with pytest.raises(Denied):
        hsm.call(USER, "generate", ['x","store","saved","99', "ec-p256", "card", [], [0, 0, 0], True])
    with pytest.raises(Denied):
        hsm.login('a","store","sav', "x", 0)
    hsm.close()
    hsm = world.open()
    assert hsm.state.generation < 99
    hsm.close()


def test_the_command_checks_the_chain_and_the_stores_anchor(
    world: HsmWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_busy_hsm(world).close()
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"store_secret": SECRET.hex()}))
    arguments = ["verify-log", "--store", str(world.store_path), "--secret-file", str(secret)]
    assert main(["--lang", "en", *arguments]) == 0
    assert "log is whole" in capsys.readouterr().out
    lines = world.log_path.read_bytes().splitlines(keepends=True)
    world.log_path.write_bytes(b"".join(lines[:-5]))
    assert main(["verify-log", "--log", str(world.log_path)]) == 0  # whole in itself
    assert main(arguments) == 1
    assert "log-broken" in capsys.readouterr().err


def _refuse(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
