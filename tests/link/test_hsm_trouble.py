"""A PKCS#11 device in trouble: each of its troubles is said in words that tell what to do, and work goes on after it.

The causes are real: signals to the worker, sessions that the module closes, tokens with one label, keys that ask for
their PIN each time.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hsm_card import TRANSPORT_KEYS, TestCard
from softhsm_tokens import MODULE, TOKEN, Tokens, environ_of, softhsm, started, workers

from issuer.config import Secret
from issuer.messages.catalogue import hint, text
from issuer.trust.pkcs11 import Ceremony, Pkcs11
from issuer.trust.pkcs11_link import Login, Worker
from issuer.trust.pkcs11_token import set_up
from issuer.trust.port import HsmError

BATCH, SIGNER = "batch-1", "card-H38-1"
SOON_S = 0.5
WITHIN_S = 10.0

# Inside one process, what a worker cannot be made to meet from outside: its module closes its sessions by itself, and
# the user is logged in already. ES256 is checked outside.
INSIDE = """
import ctypes, sys
import pkcs11
from issuer.trust.pkcs11_device import Device
from issuer.trust.pkcs11_wire import Refused

module, token, label, pin = *sys.argv[1:], sys.stdin.readline().strip()
first = Device(module, token, pin)
print(len(Device(module, token, pin).sign_many(label, "card", [b"the user was logged in"])[0]))
slot = next(one for one in pkcs11.lib(module).get_slots() if one.get_token().label == token)
ctypes.CDLL(module).C_CloseAllSessions(ctypes.c_ulong(slot.slot_id))
try:
    first.sign_many(label, "card", [b"and is no more"])
except Refused as error:
    print(error)
"""

# A key whose device wants the PIN before each signature, as some make all their keys.
EACH_TIME = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters
from issuer.trust.pkcs11_device import KEPT, FIXED
from issuer.trust.pkcs11_keys import Mark

module, token, label, pin = *sys.argv[1:], sys.stdin.readline().strip()
session = pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin)
curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
_, private = session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
    id=Mark.new("ec-p256", "card", (), 1).encode(), label=label, store=True,
    public_template=FIXED, private_template={**KEPT, Attribute.ALWAYS_AUTHENTICATE: True})
try:
    private.sign(bytes(32), mechanism=Mechanism.ECDSA)
except pkcs11.PKCS11Error as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    with softhsm(tmp_path_factory.mktemp("trouble"), has_roots=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def officer(tokens: Tokens) -> Ceremony:
    _, made = tokens.in_one()
    made.generate(SIGNER, "ec-p256", "card", ("H38",))
    made.load_transport(BATCH, TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)
    return made


@pytest.fixture(scope="module")
def hsm(tokens: Tokens, officer: Ceremony) -> Pkcs11:
    return tokens.everyday()


def refusal(act: Callable[[], object], code: str) -> str:
    """What was refused, having checked that people are told it in both languages, and what to do."""
    with pytest.raises(HsmError) as caught:
        act()
    error = caught.value
    assert error.code == f"hsm.{code}", error
    for language in ("vi", "en"):
        assert str(error.facts["detail"]) in text(error.code, language, **error.facts)
        assert hint(error.code, language)
    return str(error)


def inside(tokens: Tokens, script: str, label: str) -> list[str]:
    """What a process of its own said."""
    command = [sys.executable, "-c", script, MODULE, TOKEN, label]
    given = tokens.user_pin.text + "\n"
    done = subprocess.run(
        command, input=given, env=environ_of(tokens), capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.splitlines()


def signs(hsm: Pkcs11, label: str = SIGNER) -> bool:
    return hsm.verify(label, b"claims", hsm.sign(label, "card", b"claims"))


# --- not there, or not as told


def test_a_path_that_is_no_module_is_said(tokens: Tokens, tmp_path: Path) -> None:
    for path in (str(tmp_path / "none.so"), __file__):
        worker = Worker(Login(path, TOKEN, tokens.user_pin, False, True))
        assert path in refusal(lambda worker=worker: worker.call("keys"), "no_module")  # type: ignore[misc]  # bound
    assert path in refusal(lambda: set_up(path, TOKEN, tokens.so_pin, tokens.user_pin), "no_module")


def test_a_token_that_is_not_there_is_said_with_those_that_are(tokens: Tokens) -> None:
    worker = Worker(Login(MODULE, "centre-of-another", tokens.user_pin, False, True))
    assert f"there: {TOKEN}" in refusal(lambda: worker.call("keys"), "hsm_gone")


def test_slots_may_come_in_any_order_and_two_tokens_of_one_label_are_refused(tokens: Tokens, hsm: Pkcs11) -> None:
    assert signs(hsm)
    before = set(tokens.store.iterdir())
    tokens.add("another")
    assert signs(tokens.everyday())
    tokens.add(TOKEN)
    assert signs(hsm)  # in its open session
    assert TOKEN in refusal(tokens.everyday().keys, "two_tokens")
    for folder in set(tokens.store.iterdir()) - before:
        shutil.rmtree(folder)
    assert signs(tokens.everyday())


# --- the module crashes, hangs, loses its sessions


def test_a_module_that_crashes_takes_one_call_along_at_most(hsm: Pkcs11, officer: Ceremony) -> None:
    session = TestCard.blank().open(hsm, "transport", BATCH)
    for pid in workers():
        os.kill(pid, signal.SIGSEGV)
    assert "SIGSEGV" in refusal(lambda: hsm.wrap(session, bytes(4)), "session_lost")
    assert officer.info(SIGNER).state == "active"  # what may be asked twice, is
    for pid in workers():
        os.kill(pid, signal.SIGSEGV)
    keys = [bytes(16)] * 3
    assert "SIGSEGV" in refusal(lambda: officer.load_transport("batch-2", *keys), "module_crashed")
    assert officer.load_transport("batch-2", *keys).label == "batch-2"


def test_a_module_that_hangs_is_ended_in_time_and_holds_up_no_other_login(tokens: Tokens, hsm: Pkcs11) -> None:
    hanging = Pkcs11(Worker(Login(MODULE, TOKEN, tokens.user_pin, False, True), wait_s=SOON_S))
    with started() as mine:
        assert hanging.random(8)
    os.kill(mine[0], signal.SIGSTOP)
    told: list[str] = []
    waiting = threading.Thread(
        target=lambda: told.append(refusal(lambda: hanging.sign(SIGNER, "card", b"claims"), "no_answer"))
    )
    began_s = time.monotonic()
    waiting.start()
    assert signs(hsm)
    waiting.join(WITHIN_S)
    assert f"{SOON_S} s" in told[0]
    assert time.monotonic() - began_s < 6 * SOON_S
    assert mine[0] not in workers()
    assert hanging.random(8)
    hanging.close()


def test_sessions_that_the_module_closes_and_a_login_that_is_there_already(tokens: Tokens, officer: Ceremony) -> None:
    assert inside(tokens, INSIDE, SIGNER) == ["64", "device-lost: SessionHandleInvalid"]


# --- the worker


def test_a_killed_worker_is_started_again_and_its_sessions_are_lost(tokens: Tokens, officer: Ceremony) -> None:
    hsm, before = tokens.everyday(), workers()
    card = TestCard.blank()
    session = card.open(hsm, "transport", BATCH)
    (mine,) = workers() - before
    os.kill(mine, signal.SIGKILL)
    with pytest.raises(HsmError, match=r"hsm\.session_lost"):
        hsm.wrap(session, b"\x00\xcb\x3f\xff")
    assert hsm.verify(SIGNER, b"after", hsm.sign(SIGNER, "card", b"after"))
    with pytest.raises(HsmError, match=r"hsm\.session_lost"):
        hsm.wrap(session, b"\x00\xcb\x3f\xff")
    hsm.close_session(session)


def test_a_worker_killed_between_two_calls_is_not_noticed(tokens: Tokens, officer: Ceremony) -> None:
    hsm, before = tokens.everyday(), workers()
    assert hsm.random(8)
    (mine,) = workers() - before
    os.kill(mine, signal.SIGKILL)
    assert hsm.verify(SIGNER, b"after", hsm.sign(SIGNER, "card", b"after"))


def test_no_pin_stands_in_a_workers_command_line_or_environment(tokens: Tokens, hsm: Pkcs11) -> None:
    assert hsm.random(8)
    assert workers()
    for pid in workers():
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        for secret in (tokens.so_pin, tokens.user_pin, tokens.officer_pin):
            assert secret.text.encode() not in shown


LEFT_ALONE = """
import sys, time
from issuer.config import Secret
from issuer.trust.pkcs11 import Pkcs11
from issuer.trust.pkcs11_link import Login, Worker

hsm = Pkcs11(Worker(Login(sys.argv[1], sys.argv[2], Secret(sys.stdin.readline().strip()), False, True)))
print(len(hsm.random(8)), hsm._everyday._process.pid, flush=True)
time.sleep(60)
"""


def test_a_worker_ends_with_the_process_that_started_it(tokens: Tokens) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEFT_ALONE, MODULE, TOKEN],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ_of(tokens), text=True,
    ) as parent:  # fmt: skip
        assert parent.stdin
        assert parent.stdout
        parent.stdin.write(tokens.user_pin.text + "\n")
        parent.stdin.flush()
        drawn, worker = map(int, parent.stdout.readline().split())
        assert drawn == 8
        parent.kill()
    deadline = time.monotonic() + WITHIN_S
    while Path(f"/proc/{worker}/cmdline").exists() and b"pkcs11_worker" in Path(f"/proc/{worker}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- the PIN


@pytest.fixture(scope="module")
def each_time(tokens: Tokens, officer: Ceremony) -> str:
    assert inside(tokens, EACH_TIME, "each-time") == ["UserNotLoggedIn"]  # the login alone is not enough
    return "each-time"


def test_a_key_that_asks_for_its_pin_each_time_signs(hsm: Pkcs11, each_time: str) -> None:
    assert signs(hsm, each_time)
    batch = [b"%d" % n for n in range(3)]
    for data, signature in zip(batch, hsm.sign_many(each_time, "card", batch), strict=True):
        assert hsm.verify(each_time, data, signature)
    assert signs(hsm)


def test_a_pin_that_was_changed_meanwhile_is_not_tried_again(tokens: Tokens, officer: Ceremony) -> None:
    hsm, new = tokens.everyday(), Secret("another-pin")
    with started() as mine:
        assert signs(hsm)
    tokens.change_pin(tokens.user_pin, new)
    try:
        os.kill(mine[0], signal.SIGKILL)
        refusal(lambda: signs(hsm), "wrong_pin")
        with started() as tried:
            refusal(lambda: signs(hsm), "wrong_pin")
        assert tried == []
    finally:
        tokens.change_pin(new, tokens.user_pin)
