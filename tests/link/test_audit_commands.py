"""Checkpoints and proofs by command, signed by the HSM; the feed keeps the log covered by itself."""

import os
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from card_office import ADMIN, HOME, open_centre
from key_drill import KeyRoom, open_key_room, right_now, within
from token_office import open_token_centre
from typed import typed

from issuer import database
from issuer.audit import checkpoints, log, proof
from issuer.audit.note import NoteKey, sign_checkpoint, verify_checkpoint
from issuer.audit.tables import CheckpointRow
from issuer.errors import Refused
from issuer.trust import audit_key


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyRoom]:
    with open_key_room(tmp_path_factory.mktemp("room")) as opened:
        yield opened


def check_elsewhere(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`issuer audit check-proof` as somebody types it who has neither settings nor database."""
    bare = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return typed("issuer", ["--lang", "en", "audit", "check-proof", *words], env=bare, cwd=folder)


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


def test_the_key_falls_and_vouches_for_nothing_after_the_last_believed_checkpoint(
    room: KeyRoom, tmp_path: Path
) -> None:
    noted, growth, row = (tmp_path / name for name in ("noted.txt", "growth.txt", "row.txt"))
    factory, hsm = room.centre.factory, room.centre.hsm
    noted.write_text(checkpoints.make(factory, hsm, right_now()).note)
    with database.transaction(factory) as session:
        label = checkpoints.active_label(session) or ""
        last = log.append(session, ADMIN, "test", "row", {}, right_now()).n
    made = checkpoints.make(factory, hsm, right_now())  # by the thief, or before he was noticed
    with database.reading(factory) as session:
        row.write_text(checkpoints.prove_row(session, last))
        bare = str(checkpoints.keys(session)[0])

    told = room.type("keys", "compromised", label, "--checkpoint", str(noted), "--out", str(tmp_path / "gone.txt"))
    said = told.splitlines()
    assert (said[0], said[1][:-1]) == (f"key {label} is stopped in the HSM", label[:-1])
    size, root = noted.read_text().splitlines()[1:3]
    assert f"last believed checkpoint: {size} rows" in told
    assert "1 later checkpoints of the old key were taken out" in told
    assert "our own database" not in told
    assert (tmp_path / "gone.txt").read_text() == made.note
    assert (room.state_of(said[1]), room.state_of(label)) == ("active", "compromised")
    keys = room.type("audit", "key", officer=None).splitlines()
    assert said[-len(keys) :] == keys
    assert keys[1] == f"{bare} last={size}:{root}"

    # elsewhere: the log goes on from what was kept, and nothing that the stolen key signed later counts
    with database.reading(factory) as session:
        assert isinstance(checkpoints.verify(session), checkpoints.Verified)
        growth.write_text(checkpoints.prove_growth(session, noted.read_text()))
        with pytest.raises(Refused, match=r"audit\.dead_key"):
            checkpoints.prove_growth(session, made.note)
        proof.check(row.read_text(), [NoteKey.read(bare)])  # who was not told is taken in
    given = [word for key in keys for word in ("--key", key)]
    done = check_elsewhere(tmp_path, str(growth), *given, "--noted", str(noted))
    assert done.returncode == 0, done.stderr
    done = check_elsewhere(tmp_path, str(row), *given)
    assert (done.returncode, "by a key in other hands" in done.stderr) == (1, True)
    with database.transaction(factory) as session:
        session.add(CheckpointRow(size=made.size, at=right_now(), note=made.note))
    assert "by a key in other hands" in room.type("audit", "verify", officer=None, code=1)
    with database.transaction(factory) as session:
        session.delete(session.get_one(CheckpointRow, made.size))
    again = audit_key.compromised(
        factory, room.centre.ceremony, ADMIN, label, HOME, right_now(), kept=noted.read_text()
    )
    assert (again.made, str(again.last.size), again.withdrawn) == ((), size, ())


def test_a_log_that_does_not_fit_the_kept_checkpoint_stops_the_key_and_no_more(room: KeyRoom, tmp_path: Path) -> None:
    with database.reading(room.centre.factory) as session:
        label = checkpoints.active_label(session) or ""
        key, size = checkpoints.keys(session)[0], checkpoints.newest(session).size
    forged = sign_checkpoint(size, bytes(32), key, lambda data: room.centre.hsm.sign(label, "audit", data))
    (tmp_path / "kept.txt").write_text(forged.note)
    told = room.type("keys", "compromised", label, "--checkpoint", str(tmp_path / "kept.txt"), code=1)
    assert "says something else" in told
    assert room.state_of(label) == "compromised"
    now = right_now()  # by the newest checkpoint of our own
    (made,) = audit_key.compromised(room.centre.factory, room.centre.ceremony, ADMIN, label, HOME, now).made
    assert room.state_of(made) == "active"
    assert "alone, not for" in room.type(
        "keys", "compromised", "card-H38-1", "--checkpoint", str(tmp_path / "kept.txt"), code=1
    )


def test_a_dead_key_is_never_believed_further_by_another_run(tmp_path: Path) -> None:
    with open_centre(tmp_path) as centre:

        def run(known_good_until: datetime | None = None) -> audit_key.Buried:
            checkpoints.make(centre.factory, centre.hsm, centre.clock())
            centre.clock.pass_by(timedelta(hours=1))
            return audit_key.compromised(
                centre.factory, centre.ceremony, ADMIN, label, HOME, centre.clock(), known_good_until
            )

        checkpoints.make(centre.factory, centre.hsm, centre.clock())
        centre.clock.pass_by(timedelta(hours=1))
        theft = centre.clock()
        with database.transaction(centre.factory) as session:
            label = checkpoints.active_label(session) or ""
            log.append(session, ADMIN, "test", "row", {}, centre.clock())
        first = run(theft)
        assert len(first.withdrawn) == 1
        again = run()
        assert (again.last, again.since) == (first.last, theft)
        assert set(first.keys) <= set(again.keys)
        earlier = run(theft - timedelta(days=1))
        assert (earlier.last.size, earlier.since) == (0, theft - timedelta(days=1))


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
