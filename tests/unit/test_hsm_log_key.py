"""The key that seals the log is replaced: who pinned the first follows; after a theft a head kept elsewhere decides."""

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hsm_world import HsmWorld

from hsm_sim import store as store_module
from hsm_sim.__main__ import main
from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, Denied, LogBroken, NeedsQuorum, StoreSealed
from hsm_sim.keys import Role
from hsm_sim.log import Head, Log, scan_log
from hsm_sim.log_key import LOG_KEY, NEXT
from hsm_sim.seals import KeyChange, believed_until, read_heads, read_seal_key

OFFICER, MINH, USER = Peer(Role.SO, 0), Peer(Role.SO, 0, "Minh"), Peer(Role.USER, 0)


def opened(folder: Path, persons: int = 1) -> Hsm:
    hsm = HsmWorld(folder).open()
    hsm.call(OFFICER, "add_person", ["Minh", "so", "mat-khau-minh"])
    hsm.found(persons)
    return hsm


def rotate(hsm: Hsm, after: int | None = None) -> bytes:
    *_, public = hsm.call(OFFICER, "rotate_log_key", [after])
    return bytes(public)


def work(hsm: Hsm, lines: int = 3) -> None:
    for _ in range(lines):
        hsm.call(USER, "random", [8])


def head_of(hsm: Hsm) -> str:
    """As an auditor keeps it."""
    count, size, last, key = hsm.call(OFFICER, "log_head", [])
    return f"lines={count} bytes={size} last={last.hex()} seal-key={key.hex()}\n"


def verify(folder: Path, first: bytes, *words: str) -> int:
    return main(["--lang", "en", "verify-log", "--log", str(folder / "store.log"), "--seal-key", first.hex(), *words])


def test_who_pinned_the_first_key_follows_the_chain_of_keys(tmp_path: Path) -> None:
    hsm = opened(tmp_path)
    first = hsm.log.seal_public or b""
    keys = [first]
    for _ in range(3):
        work(hsm)
        hsm.log.seal()
        keys.append(rotate(hsm))
    work(hsm)
    hsm.close()
    hsm = HsmWorld(tmp_path).open()  # the last one is the store's
    assert hsm.log.seal_public == keys[-1]
    work(hsm)
    hsm.close()
    scan = scan_log(tmp_path / "store.log", seal_key=first)
    assert (scan.unsealed, [one.public for one in scan.changes]) == (0, keys[1:])
    for other in (keys[1], keys[-1], bytes(32)):
        with pytest.raises(LogBroken, match="no seal of this HSM"):
            scan_log(tmp_path / "store.log", seal_key=other)


def test_no_key_of_the_log_is_seen_outside_the_store(tmp_path: Path) -> None:
    hsm = opened(tmp_path)
    secrets = [hsm.state.settings[LOG_KEY]]
    rotate(hsm)
    secrets.append(hsm.state.settings[LOG_KEY])
    assert NEXT not in hsm.state.settings
    assert secrets[0] not in hsm.state.settings.values()
    hsm.close()
    raw = (tmp_path / "store.log").read_bytes()
    for secret in secrets:
        assert secret.hex().encode() not in raw


def test_it_takes_officers_and_as_many_as_the_store_says(tmp_path: Path) -> None:
    hsm = opened(tmp_path, persons=2)
    with pytest.raises(NeedsQuorum):
        rotate(hsm)
    for peer in (USER, Peer(Role.AUDITOR, 0)):
        with pytest.raises(Denied):
            hsm.call(peer, "rotate_log_key", [None])
    nonce, _, _, digest, *_ = hsm.call(OFFICER, "propose", ["rotate_log_key", [None]])
    hsm.call(MINH, "approve", [nonce, digest])
    before = hsm.log.seal_public
    *_, public = hsm.call(OFFICER, "carry_out", [nonce])
    assert public == hsm.log.seal_public != before
    hsm.close()


@pytest.mark.parametrize("after", [-1, 1 << 40])
def test_a_line_that_is_not_there_is_refused(tmp_path: Path, after: int) -> None:
    hsm = opened(tmp_path)
    with pytest.raises(BadRequest, match="no line"):
        rotate(hsm, after)
    hsm.close()


def test_a_seal_and_a_change_by_a_key_that_was_replaced_are_refused(tmp_path: Path) -> None:
    path, old, new = tmp_path / "log", *(ed25519.Ed25519PrivateKey.generate() for _ in range(2))
    first = old.public_key().public_bytes_raw()
    for by_old in ("seal", "change"):
        path.unlink(missing_ok=True)
        with Log(path) as log:
            log.seal_with(old)
            log.append("user", 0, "sign", "do", "key", "")
            log.change_key(new, None)
            assert scan_log(path, seal_key=first).unsealed == 0
            log.seal_with(old)
            log.append("user", 0, "sign", "do", "key", "")
            if by_old == "seal":
                log.seal()
            else:
                log.change_key(ed25519.Ed25519PrivateKey.generate(), None)
        with pytest.raises(LogBroken, match=r"line \d is no seal of this HSM"):
            scan_log(path, seal_key=first)


def test_after_a_theft_the_log_is_believed_as_far_as_heads_kept_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hsm = opened(tmp_path)
    first = hsm.log.seal_public or b""
    work(hsm)
    early, good = head_of(hsm), hsm.log.head.count
    work(hsm)  # here the key is stolen
    later = head_of(hsm)
    new = rotate(hsm, after=good)
    work(hsm)
    latest = head_of(hsm)
    work(hsm)
    hsm.close()
    kept = tmp_path / "heads"
    assert verify(tmp_path, first) == 1
    assert f"log-doubted: line {good + 1}" in capsys.readouterr().err
    kept.write_text(early + later)
    assert verify(tmp_path, first, "--heads", str(kept)) == 1
    assert f"log-doubted: line {int(later.split()[0][6:]) + 1}" in capsys.readouterr().err
    kept.write_text(early + later + latest)
    assert verify(tmp_path, first, "--heads", str(kept)) == 0
    told = capsys.readouterr().out
    assert f"new key that seals, {new.hex()}; the old one was in other hands after line {good}" in told
    assert "3 heads kept elsewhere fit" in told


def test_what_the_thief_writes_instead_is_not_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who has the old key and the file writes everything anew from some line on, and names a key as it likes."""
    hsm = opened(tmp_path)
    first = hsm.log.seal_public or b""
    work(hsm)
    early, good = head_of(hsm), hsm.log.head
    stolen = ed25519.Ed25519PrivateKey.from_private_bytes(hsm.state.settings[LOG_KEY])
    rotate(hsm, after=good.count)
    work(hsm)
    latest = head_of(hsm)
    hsm.close()
    path = tmp_path / "store.log"
    path.write_bytes(path.read_bytes()[: good.size_bytes])
    with Log(path) as forged:
        forged.seal_with(stolen)
        for _ in range(20):
            forged.append("user", 0, "sign", "do", "another", "")
        forged.change_key(ed25519.Ed25519PrivateKey.generate(), None)
        forged.seal()
    assert verify(tmp_path, first) == 0  # by the keys alone nobody sees it: they were stolen
    kept = tmp_path / "heads"
    kept.write_text(early + latest)
    assert verify(tmp_path, first, "--heads", str(kept)) == 1
    assert "not the one of the head that was kept" in capsys.readouterr().err
    kept.write_text(early)  # and who has only an early head, and has heard of the theft
    words = ["--heads", str(kept), "--doubted-after", str(good.count)]
    assert verify(tmp_path, first, *words) == 1
    line = int(early.split()[0][6:]) + 1
    assert f"log-doubted: line {line}" in capsys.readouterr().err


def test_a_shorter_log_than_the_head_that_was_kept_is_found(tmp_path: Path) -> None:
    hsm = opened(tmp_path)
    first, path = hsm.log.seal_public or b"", tmp_path / "store.log"
    head = head_of(hsm)
    hsm.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: int(head.split()[0][6:]) - 1]))
    with pytest.raises(LogBroken, match="shortened or replaced"):
        scan_log(path, seal_key=first, heads=read_heads(head))


@pytest.mark.parametrize(
    ("kept", "told", "believed"),
    [(0, None, 10), (0, 3, 3), (5, 3, 5), (9, 3, 9), (10, 3, 20), (15, 3, 20), (15, 12, 15)],
)
def test_how_far_it_is_believed(kept: int, told: int | None, believed: int) -> None:
    changes = [KeyChange(10, bytes(32), 10 if told is None else None)]
    assert believed_until(20, changes, kept, told) == believed


@pytest.mark.parametrize("text", ["lines=3", "lines=x bytes=1 last=00 seal-key=-", "\x00"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="no head"):
        read_heads(text)


def test_heads_that_contradict_each_other_are_refused() -> None:
    row = "lines=3 bytes=9 last={} seal-key=-\n"
    assert list(read_heads(row.format("00" * 32) * 2)) == [3]
    with pytest.raises(BadRequest, match="differ"):
        read_heads(row.format("00" * 32) + row.format("11" * 32))


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 33])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="64 hex digits"):
        read_seal_key(text)


def test_a_store_that_cannot_be_written_half_way_does_not_break_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm = opened(tmp_path)
    first = hsm.log.seal_public or b""
    saves: list[Head] = []
    real = store_module.Store.save

    def second_fails(store: Any, state: Any, anchor: Head) -> None:
        saves.append(anchor)
        if len(saves) == 2:
            raise StoreSealed("no room")
        real(store, state, anchor)

    monkeypatch.setattr(store_module.Store, "save", second_fails)
    with pytest.raises(StoreSealed):
        rotate(hsm)
    work(hsm)
    rotate(hsm)
    work(hsm)
    hsm.close()
    hsm = HsmWorld(tmp_path).open()
    work(hsm)
    hsm.close()
    scan = scan_log(tmp_path / "store.log", seal_key=first)
    assert (len(scan.changes), scan.unsealed) == (2, 0)
    assert os.path.getsize(tmp_path / "store.log") == scan.head.size_bytes
