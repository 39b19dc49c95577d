"""The command `reader-daemon`, as a technician and a supervisor use it: real processes, a real feed."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from feed_fixture import CODE, Centre, serving, world_now

from reader_daemon import enrol
from reader_daemon.config import Config

ROOT = Path(__file__).resolve().parent.parent.parent


class Office:
    def __init__(self, tmp_path: Path, url: str, centre: Centre) -> None:
        self.url = url
        self.centre = centre
        self.data = tmp_path / "door"
        self.toml = tmp_path / "door.toml"
        self.toml.write_text(
            f'data_dir = "{self.data}"\nfeed_url = "{url}"\nreader = "no such reader"\n'
            f'lock = "file"\nlock_file = "{tmp_path / "lock.json"}"\n',
            encoding="utf-8",
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "reader_daemon", *arguments, "--config", str(self.toml)]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=30, check=False
        )


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    world = world_now()
    centre = Centre(world)
    centre.publish(world.everybody(world.issue()))
    with serving(centre) as url:
        yield Office(tmp_path, url, centre)


def test_a_door_is_enrolled_with_a_code_and_pins_what_it_was_told(office: Office) -> None:
    done = office.run("enrol", stdin=CODE)
    assert done.returncode == 0, done.stderr
    config = Config(data_dir=office.data)
    enrolment = enrol.load(config.enrolment_path)
    assert enrolment == office.centre.world.enrolment()
    assert enrol.fingerprint(enrolment.roots) in done.stdout
    assert "đã ghi danh cửa Cửa chính" in done.stdout
    assert enrol.load_key(config.key_path).public == office.centre.door_key
    assert stat.S_IMODE(os.stat(config.key_path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(office.data).st_mode) == 0o700
    again = office.run("enrol", "--lang", "en", stdin=CODE)
    assert again.returncode == 1
    assert "reader-daemon: error: this door is enrolled already" in again.stderr


def test_a_code_is_read_from_stdin_and_a_fingerprint_compared(office: Office) -> None:
    wanted = enrol.fingerprint(office.centre.world.enrolment().roots)
    wrong = office.run("enrol", "--fingerprint", "00" * 32, "--lang", "en", stdin=f"{CODE}\n")
    assert wrong.returncode == 1
    assert f"the fingerprint of the roots is another one: {wanted}" in wrong.stderr
    assert "reader-daemon: hint: " in wrong.stderr
    key = (office.data / "door.key").read_bytes()
    assert office.run("enrol", "--fingerprint", wanted, stdin=f"{CODE}\n").returncode == 0
    assert (office.data / "door.key").read_bytes() == key  # one key for one door, however often it asks


def test_a_wrong_code_and_a_wrong_door_are_refused(office: Office) -> None:
    wrong = office.run("enrol", stdin="AAAA-AAAA")
    assert wrong.returncode == 1
    assert "trung tâm không nhận mã ghi danh" in wrong.stderr
    other = office.run("enrol", "--door", str(UUID(int=7)), "--lang", "en", stdin=CODE)
    assert other.returncode == 1
    assert "another door" in other.stderr
    assert not (office.data / "enrolment.cbor").exists()


@pytest.mark.parametrize("command", ["run", "status", "verify-log"])
def test_a_door_that_is_not_enrolled_says_so_with_a_hint(office: Office, command: str) -> None:
    office.data.mkdir()
    done = office.run(command)
    assert done.returncode == 1
    assert "reader-daemon: error: cửa này chưa ghi danh" in done.stderr
    assert "reader-daemon: hint: lấy mã ghi danh" in done.stderr


def test_wrong_usage_ends_with_2(office: Office) -> None:
    assert office.run("fly").returncode == 2
    office.toml.write_text('colour = "red"\n', encoding="utf-8")
    done = office.run("status", "--lang", "en")
    assert done.returncode == 2
    assert "unknown key: colour" in done.stderr


@pytest.mark.parametrize("command", [(), ("run",), ("enrol",), ("status",), ("verify-log",)])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_help_is_there_in_both_languages(office: Office, command: tuple[str, ...], lang: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reader_daemon", *command, "--help", "--lang", lang],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0
    assert ("usage:" if lang == "en" else "cách dùng:") + " reader-daemon" in done.stdout
    if command:
        assert ("language" in done.stdout) is (lang == "en")


def test_a_running_door_follows_the_feed_confirms_and_stops_cleanly(office: Office, tmp_path: Path) -> None:
    assert office.run("enrol", stdin=CODE).returncode == 0
    with subprocess.Popen(
        office.command("run", "--events-stdout"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        started: dict[str, Any] = json.loads(process.stdout.readline())
        assert started["event"] == "started"
        assert started["name"] == "Cửa chính"
        assert started["boot"] == 1
        deadline = time.monotonic() + 10
        while not (office.centre.receipts and office.centre.records) and time.monotonic() < deadline:
            time.sleep(0.02)
        second = office.run("run", "--lang", "en")  # the directory is taken
        assert second.returncode == 1
        assert "another process uses" in second.stderr
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors
    assert office.centre.receipts[0][1].seq == 0
    assert (1, 1) in office.centre.records
    assert json.loads((tmp_path / "lock.json").read_text())["state"] == "locked"
    status = office.run("status", "--json")
    fields = json.loads(status.stdout)
    assert fields["trust"] == 1
    assert fields["bundle"] == 1
    assert fields["fresh_at"] is not None
    assert "quy tắc số: 1" in office.run("status").stdout
    whole = office.run("verify-log", "--lang", "en")
    assert whole.returncode == 0, whole.stderr
    assert "the log is whole up to 1/" in whole.stdout


def test_verify_log_names_the_record_that_was_edited(office: Office) -> None:
    import sqlite3

    assert office.run("enrol", stdin=CODE).returncode == 0
    office.centre.is_down = True  # nothing is sent, so nothing is deleted
    for _ in range(2):
        with subprocess.Popen(
            office.command("run", "--events-stdout"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
    connection = sqlite3.connect(office.data / "door.db")
    connection.execute("DELETE FROM records WHERE boot = 1 AND seq = 2")
    connection.commit()
    connection.close()
    done = office.run("verify-log")
    assert done.returncode == 1
    assert "nhật ký không nguyên vẹn ở bản ghi 2/1" in done.stderr
