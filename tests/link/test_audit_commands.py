"""Checkpoints and proofs by command, signed by the HSM; the feed keeps the log covered by itself."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from card_office import HOME
from key_drill import KeyRoom, open_key_room, within
from token_office import open_token_centre

from issuer import database
from issuer.audit import checkpoints
from issuer.audit.note import NoteKey, verify_checkpoint
from issuer.audit.tables import CheckpointRow


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyRoom]:
    with open_key_room(tmp_path_factory.mktemp("room")) as opened:
        yield opened


def check_elsewhere(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`issuer audit check-proof` as somebody types it who has neither settings nor database."""
    command = [sys.executable, "-W", "error", "-m", "issuer", "--lang", "en", "audit", "check-proof", *words]
    bare = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env=bare)


def test_a_checkpoint_is_kept_elsewhere_and_the_log_proven_against_it(room: KeyRoom, tmp_path: Path) -> None:
    audit = "audit"
    noted, row, growth = (str(tmp_path / name) for name in ("noted.txt", "row.tlog-proof", "growth.txt"))
    key = room.type(audit, "key", officer=None).strip()
    assert key.startswith("themo/")
    room.type(audit, "checkpoint", "--out", noted, officer=None)
    assert "2 checkpoints" not in room.type(audit, "verify", officer=None)
    room.type("keys", "rotate", "qr", "--agency", HOME)
    room.type(audit, "checkpoint", officer=None)
    room.type(audit, "prove", "3", "--out", row, officer=None)
    room.type(audit, "prove-growth", noted, "--out", growth, officer=None)
    assert "2 checkpoints fit; 0 new rows" in room.type(audit, "verify", officer=None)

    there = tmp_path / "elsewhere"
    there.mkdir()
    done = check_elsewhere(there, row, "--key", key)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[3,")
    assert "row 3 stands in the log themo/" in done.stdout
    done = check_elsewhere(there, growth, "--key", key, "--noted", noted)
    assert done.returncode == 0, done.stderr
    assert "rows go on from the" in done.stdout

    Path(row).write_text(Path(row).read_text().replace("index 2", "index 3"))
    done = check_elsewhere(there, row, "--key", key)
    assert (done.returncode, "not proven" in done.stderr) == (1, True)
    other = NoteKey("themo/X/audit", bytes(32))
    done = check_elsewhere(there, growth, "--key", str(other))
    assert (done.returncode, "not signed by themo/X/audit" in done.stderr) == (1, True)
    Path(noted).write_text(room.type(audit, "checkpoint", officer=None))
    done = check_elsewhere(there, growth, "--key", key, "--noted", noted)
    assert (done.returncode, "another checkpoint" in done.stderr) == (1, True)


def test_a_new_key_signs_on_and_the_old_one_still_verifies(room: KeyRoom, tmp_path: Path) -> None:
    noted, growth = tmp_path / "noted.txt", tmp_path / "growth.txt"
    room.type("audit", "checkpoint", "--out", str(noted), officer=None)
    (old,) = room.type("audit", "key", officer=None).splitlines()
    told = room.type("keys", "rotate", "audit")
    new, also = room.type("audit", "key", officer=None).splitlines()
    assert (also, told.splitlines()[0][-2:]) == (old, "-2")
    label = told.splitlines()[0]
    assert (room.state_of(label), room.state_of(label[:-1] + "1")) == ("active", "deactivated")
    room.type("audit", "checkpoint", officer=None)
    room.type("audit", "verify", officer=None)
    room.type("audit", "prove-growth", str(noted), "--out", str(growth), officer=None)
    done = check_elsewhere(tmp_path, str(growth), "--key", new, "--key", old, "--noted", str(noted))
    assert done.returncode == 0, done.stderr
    assert check_elsewhere(tmp_path, str(growth), "--key", old).returncode == 1


def test_a_pkcs11_device_signs_checkpoints_likewise(tmp_path: Path) -> None:
    with open_token_centre(tmp_path) as centre:
        made = checkpoints.make(centre.factory, centre.hsm, centre.clock())
        with database.reading(centre.factory) as session:
            assert verify_checkpoint(made.note, checkpoints.keys(session)) == made
            assert isinstance(checkpoints.verify(session), checkpoints.Verified)


def test_the_feed_signs_checkpoints_by_itself(room: KeyRoom) -> None:
    with database.transaction(room.centre.factory) as session:
        for old in session.query(CheckpointRow):
            session.delete(old)
    room.start_feed()

    def found() -> list[CheckpointRow]:
        with database.reading(room.centre.factory) as session:
            return session.query(CheckpointRow).all()

    within(20, lambda: bool(found()))
    key = NoteKey.read(room.type("audit", "key", officer=None).splitlines()[0])
    assert verify_checkpoint(found()[-1].note, [key]).size == found()[-1].size
