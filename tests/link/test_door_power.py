"""Power cuts: a door process killed with SIGKILL between event and lock, at the commit, and anywhere."""

import json
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from door_world import NOON, Machine

from cardlink.statements.record import Decision, Record, decode_record
from reader_daemon import enrol
from reader_daemon.clock import Clock
from reader_daemon.config import Config
from reader_daemon.daemon import Daemon
from reader_daemon.database import Database
from reader_daemon.door import FileLock
from reader_daemon.events import verify_log

HERE = Path(__file__).resolve().parent


def start(directory: Path, mode: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(HERE / "door_process.py"), str(directory), mode],
        stdout=subprocess.PIPE,
        cwd=HERE.parent.parent,
        env={"PYTHONPATH": f"{HERE.parent.parent}:{HERE}"},
    )


def taps(config: Config) -> list[Record]:
    """Check the log, then read its taps."""
    enrolment, key = enrol.load(config.enrolment_path), enrol.load_key(config.key_path)
    database = Database(config.database_path)
    verify_log(database, enrolment.door, key.public)
    rows = database.rows("SELECT record FROM records ORDER BY boot, seq")
    database.close()
    records = [decode_record(row[0]) for row in rows if isinstance(row[0], bytes)]
    return [one for one in records if one.kind == "tap"]


def restart(directory: Path, config: Config) -> None:
    """The door starts again on what is left, with its lock shut."""
    machine = Machine(NOON + timedelta(minutes=1))
    clock = Clock(int(NOON.timestamp()), wall=machine.wall, monotonic=machine.monotonic)
    with Daemon.open(config, lock=FileLock(directory / "lock.json"), clock=clock) as daemon:
        assert json.loads((directory / "lock.json").read_text())["state"] == "locked"
        assert daemon.state.view.rules is not None
        assert daemon.state.view.status is not None
        assert daemon.events.boot == 2


def test_a_cut_between_event_and_lock_leaves_the_event_and_a_shut_door(tmp_path: Path) -> None:
    with start(tmp_path, "at-unlock") as process:
        out, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert out == b"ready\n"
    config = Config(data_dir=tmp_path / "door")
    (tap,) = taps(config)
    assert tap.decision is Decision.GRANTED
    assert json.loads((tmp_path / "lock.json").read_text())["state"] == "locked"
    restart(tmp_path, config)


def test_a_cut_at_the_commit_leaves_no_event_and_a_shut_door(tmp_path: Path) -> None:
    with start(tmp_path, "at-commit") as process:
        out, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert out == b"ready\n"
    config = Config(data_dir=tmp_path / "door")
    assert taps(config) == []
    assert json.loads((tmp_path / "lock.json").read_text())["state"] == "locked"
    restart(tmp_path, config)


@pytest.mark.parametrize("after_s", [0.02, 0.05, 0.11])
def test_a_cut_anywhere_leaves_an_event_for_each_time_the_lock_moved(tmp_path: Path, after_s: float) -> None:
    with start(tmp_path, "until-killed") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(after_s)
        process.kill()
        unlocks = process.stdout.read().count(b"unlocked\n")
    config = Config(data_dir=tmp_path / "door")
    stored = taps(config)
    assert unlocks <= len(stored) <= unlocks + 1
    assert [one.seq for one in stored] == list(range(2, len(stored) + 2))
    restart(tmp_path, config)
