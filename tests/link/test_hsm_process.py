"""The HSM as a process: who may talk to it, what survives kill -9, what its client does about it."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hsm_process import PINS, SECRET, STORE_SECRET, HsmProcess

from hsm_sim.client import (
    Client,
    Denied,
    HsmGone,
    KeyExists,
    KeyInfo,
    NoSuchKey,
    PinLocked,
    Role,
    SessionLost,
    Use,
    WrongPin,
)
from hsm_sim.log import scan_log

TRANSPORT = tuple(bytes(range(start, start + 16)) for start in (0, 16, 32))  # made up, for tests alone
NOBODY = 65534


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[HsmProcess]:
    running = HsmProcess(tmp_path)
    yield running.start("--init")
    if running.process and running.process.poll() is None:
        running.stop()


def is_signature(info: KeyInfo, data: bytes, signature: bytes) -> bool:
    assert info.public
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), info.public)
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key.verify(der, data, ec.ECDSA(hashes.SHA256()))
    return True


def test_a_key_made_over_the_socket_signs_and_outlives_kill_and_restart(hsm: HsmProcess) -> None:
    with hsm.client(Role.SO) as officer, hsm.client() as user:
        info = officer.generate("card-H49", "ec-p256", "card", ("H49",))
        assert (info.label, info.use, info.scope) == ("card-H49", Use.CARD, ("H49",))
        with pytest.raises(KeyExists):
            officer.generate("card-H49", "ec-p256", "card", ("H49",))
        assert is_signature(info, b"claims", user.sign("card-H49", "card", b"claims"))
        for uses in (1, 2):
            hsm.kill()
            hsm.start()
            # the same client: it connects and logs in again; uses that the kill took from memory stand in the log
            assert user.keys() == [replace(info, uses=uses)]
            assert is_signature(info, b"claims", user.sign("card-H49", "card", b"claims"))
            assert officer.info("card-H49") == replace(info, uses=uses + 1)
        batch = [bytes((n,)) for n in range(100)]
        for data, signature in zip(batch, user.sign_many("card-H49", Use.CARD, batch), strict=True):
            assert is_signature(info, data, signature)
        status = user.status()
        assert (status.keys, status.pending_pins) == (1, 0)
    assert "hsm stopped" in hsm.stop()
    assert scan_log(hsm.folder / "store.log").head.count >= status.log_lines


def test_killed_while_many_sign_nothing_is_lost_and_the_log_is_whole(hsm: HsmProcess) -> None:
    with hsm.client(Role.SO) as officer:
        info = officer.generate("key", "ec-p256", "status")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with hsm.client() as user:
                for n in range(150):
                    data = b"%d %d" % (number, n)
                    is_signature(info, data, user.sign("key", "status", data))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for one in threads:
        one.start()
    for _ in range(2):
        hsm.kill()
        hsm.start()
    for one in threads:
        one.join()
    assert not failures
    hsm.stop()
    done = scan_log(hsm.folder / "store.log")
    assert done.torn_bytes == 0
    assert done.head.count >= 450


def test_a_session_dies_with_the_process_and_its_client_says_so(hsm: HsmProcess) -> None:
    with hsm.client(Role.SO) as officer:
        officer.load_transport("batch", *TRANSPORT)
    with hsm.client() as user:
        user.status()
        with pytest.raises(SessionLost):
            user.wrap(7, b"\x00\xcb\x3f\xff")
        hsm.kill()
        with pytest.raises(SessionLost):
            user.wrap(7, b"\x00\xcb\x3f\xff")
        hsm.start()
        with pytest.raises(SessionLost):
            user.unwrap(7, b"\x90\x00")
        user.close_session(7)
        assert user.info("batch").use is Use.TRANSPORT


def test_a_client_waits_for_an_hsm_that_is_just_starting_and_gives_up_in_time(tmp_path: Path) -> None:
    hsm = HsmProcess(tmp_path)
    with pytest.raises(HsmGone, match="nobody answers"):
        hsm.client(wait_s=0.1).status()
    hsm.start("--init")
    with hsm.client() as user:
        assert user.status().keys == 0
    hsm.stop()


def test_a_wrong_pin_is_not_tried_again_by_the_client_itself(hsm: HsmProcess) -> None:
    wrong = hsm.client(pin="wrong-pin")
    for _ in range(3):
        with pytest.raises(WrongPin, match="9 tries"):
            wrong.status()
    with hsm.client() as right:
        assert right.status().keys == 0


def test_ten_wrong_pins_lock_the_role_also_after_kill_and_the_officer_unlocks_it(hsm: HsmProcess) -> None:
    for left in range(9, -1, -1):
        with pytest.raises(WrongPin, match=f"{left} tries"):
            hsm.client(pin="wrong-pin").status()
        if left == 5:
            hsm.kill()
            hsm.start()
    with pytest.raises(PinLocked):
        hsm.client().status()
    with hsm.client(Role.SO) as officer:
        officer.set_pin(Role.USER, "another-pin")
    with hsm.client(pin="another-pin") as user:
        assert user.status().keys == 0
    hsm.stop()
    hsm.start("--set-pins")
    with hsm.client() as user:
        assert user.status().keys == 0


def test_roles_are_kept_apart_over_the_socket(hsm: HsmProcess) -> None:
    with hsm.client(Role.SO) as officer, hsm.client() as user, hsm.client(Role.AUDITOR) as auditor:
        officer.generate("root", "ec-p256", "root")
        officer.generate("qr", "ec-p256", "qr")
        assert is_signature(officer.info("root"), b"trust", officer.sign("root", "root", b"trust"))
        for call in (
            lambda: user.generate("x", "ec-p256", "card"),
            lambda: user.sign("root", "root", b"trust"),
            lambda: user.sign("qr", "card", b"claims"),
            lambda: user.log_head(),
            lambda: officer.sign("qr", "qr", b"claims"),
            lambda: auditor.sign("qr", "qr", b"claims"),
            lambda: auditor.random(8),
        ):
            with pytest.raises(Denied):
                call()
        with pytest.raises(NoSuchKey):
            user.sign("none", "card", b"claims")
        assert auditor.log_head().count > 10
        assert len(user.random(32)) == 32


def test_a_user_who_is_not_on_the_list_is_refused(tmp_path: Path) -> None:
    hsm = HsmProcess(tmp_path).start("--init", "--allow-uid", str(os.getuid() + 1))
    with pytest.raises(Denied, match=f"user {os.getuid()} may not"):
        hsm.client().status()
    hsm.stop()


def outcome_for(uid: int, path: Path) -> str:
    """Try to log in from a child process of that user (root alone can make one; others stay who they are)."""
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setgid(uid)
            os.setuid(uid)
        try:
            Client(path, "user", PINS["user"], wait_s=0.1).status()
        except Denied:
            os._exit(1)
        except HsmGone:
            os._exit(2)
        os._exit(0)
    return ("in", "denied", "gone")[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


def test_another_user_comes_in_neither_by_the_file_mode_nor_by_the_kernels_word(tmp_path: Path) -> None:
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(0o755)
    is_root = os.getuid() == 0
    hsm = HsmProcess(tmp_path).start("--init")
    with hsm.client() as user:
        user.status()
    assert outcome_for(NOBODY, hsm.socket) == ("gone" if is_root else "in")
    hsm.stop()
    hsm.start("--allow-uid", "0")  # the mode now lets everybody connect; SO_PEERCRED decides
    if is_root:
        with hsm.client() as user:
            user.status()
    assert outcome_for(NOBODY, hsm.socket) == "denied"
    hsm.stop()


def test_a_forked_process_makes_its_own_connection(hsm: HsmProcess) -> None:
    with hsm.client() as user:
        user.status()
        child = os.fork()
        if child == 0:
            drawn = {user.random(8) for _ in range(50)}
            os._exit(0 if len(drawn) == 50 else 1)
        drawn = {user.random(8) for _ in range(50)}
        assert len(drawn) == 50
        assert os.waitpid(child, 0)[1] == 0


BROKEN: list[bytes] = [
    b"\xff\xff\xff\xff",
    b"\x00\x10\x00\x01",
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x01\xff",
    b"\x00\x00\x00\x02\x00\x00",
    b"\x00\x00\x27\x10" + b"\x81" * 10_000,
    *(len(raw).to_bytes(4, "big") + raw for raw in (cbor2.dumps(["sign", "k"]), cbor2.dumps(["login", 1, 2, 3]))),
    *(len(raw).to_bytes(4, "big") + raw for raw in (cbor2.dumps(["login", "user", "user-123", 2]), b"\x9f\x00\xff")),
]


@pytest.mark.parametrize("raw", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_frame_ends_its_connection_and_nothing_else(hsm: HsmProcess, raw: bytes) -> None:
    with hsm.client() as user:
        user.status()
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stranger.settimeout(5)
        stranger.connect(str(hsm.socket))
        stranger.sendall(raw)
        answer = stranger.recv(1000)
        assert cbor2.loads(answer[4:])[:2] == [False, "bad-request"]
        assert stranger.recv(1000) == b""
        stranger.close()
        assert user.status().keys == 0


@pytest.mark.parametrize(
    ("options", "secret", "message"),
    [
        (("--init",), {"store_secret": "00"}, "store_secret has 1 bytes"),
        (("--init",), {"store_secret": "00" * 32}, "wants pins"),
        (("--init",), "text", "want JSON"),
        ((), SECRET, "--init makes a new store"),
    ],
)
def test_a_start_without_what_it_needs_is_refused_with_a_hint(
    tmp_path: Path, options: tuple[str, ...], secret: Any, message: str
) -> None:
    code, errors = HsmProcess(tmp_path).start(*options, secret=secret).ended()
    assert code == 1
    assert re.search(f"hsm-sim: error: .*{re.escape(message)}", errors)
    assert "hsm-sim: hint: " in errors


def test_a_copied_store_does_not_start_with_another_secret(hsm: HsmProcess, tmp_path: Path) -> None:
    with hsm.client(Role.SO) as officer:
        officer.generate("key", "ec-p256", "card")
    stolen = tmp_path / "stolen"
    stolen.mkdir()
    for name in ("store", "store.log"):
        (stolen / name).write_bytes((tmp_path / name).read_bytes())
    code, errors = HsmProcess(stolen).start(secret={"store_secret": "11" * 32}).ended()
    assert code == 1
    assert "store-sealed: wrong secret" in errors


def test_a_second_hsm_on_the_same_store_or_socket_is_refused(hsm: HsmProcess, tmp_path: Path) -> None:
    with hsm.client() as user:
        user.status()
        code, errors = HsmProcess(tmp_path).start().ended()
        assert (code, "is in use" in errors) == (1, True)
        code, errors = HsmProcess(tmp_path).start("--socket", str(tmp_path / "other.sock")).ended()
        assert (code, "another process holds" in errors) == (1, True)
        assert not (tmp_path / "other.sock").exists()
        code, errors = HsmProcess(tmp_path).start("--init").ended()
        assert (code, "is there already" in errors) == (1, True)
        assert user.status().keys == 0


def test_the_log_of_a_running_hsm_is_checked_by_the_command(hsm: HsmProcess, tmp_path: Path) -> None:
    with hsm.client() as user:
        user.random(8)
    command = [sys.executable, "-m", "hsm_sim"]
    log = str(tmp_path / "store.log")
    done = subprocess.run([*command, "verify-log", "--log", log], capture_output=True, text=True, check=False)
    assert (done.returncode, "nhật ký nguyên vẹn" in done.stdout) == (0, True)
    pin = tmp_path / "pin"
    pin.write_text("user-123\n")
    options = ["--socket", str(hsm.socket), "--pin-file", str(pin)]
    done = subprocess.run([*command, "status", *options], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[1]) == (0, "keys=0")


def test_no_secret_stands_in_the_command_line(hsm: HsmProcess) -> None:
    assert hsm.process
    with hsm.client() as user:
        user.status()
    shown = Path(f"/proc/{hsm.process.pid}/cmdline").read_text()
    assert "--secret-fd" in shown
    for secret in (STORE_SECRET, *PINS.values()):
        assert secret not in shown
