"""SoftHSM through PKCS#11: how keys stand in a token, what a device enforces and what it does not, as declared."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hsm_card import TRANSPORT_KEYS, TestCard
from softhsm_tokens import MODULE, ROOT_TOKEN, TOKEN, Tokens, environ_of, softhsm, tool, workers

from issuer.config import Secret
from issuer.trust.pkcs11 import Ceremony, Pkcs11
from issuer.trust.pkcs11_token import set_up
from issuer.trust.port import HsmError, KeyExists

BATCH, MASTER, SIGNER, ROOT = "batch-1", "card-master-1", "card-H38-1", "root-1"
WITHIN_S = 10.0

# What somebody who has stolen the everyday PIN tries with a library of his own.
THIEF = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass

module, token, pin = sys.argv[1], sys.argv[2], sys.stdin.readline().strip()
session = pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin)
wrapping = session.generate_key(KeyType.AES, 256)
keys = [*session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}),
        *(one for one in session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.TOKEN: True}))]

def outcome(act):
    try:
        act()
    except pkcs11.PKCS11Error as error:
        return type(error).__name__
    return "done"

def change(key, attribute, value):
    key[attribute] = value

for key in keys:
    print(
        key.label,
        outcome(lambda: key[Attribute.VALUE]),
        outcome(lambda: wrapping.wrap_key(key)),
        *(outcome(lambda: change(key, *pair)) for pair in (
            (Attribute.ID, b"mine"), (Attribute.LABEL, "mine"), (Attribute.EXTRACTABLE, True),
            (Attribute.SENSITIVE, False), (Attribute.DERIVE, True),
        )),
    )
"""

# ... and with a key that is not there for what he wants signed.
FORGER = """
import sys
import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass

module, token, label, pin = *sys.argv[1:], sys.stdin.readline().strip()
try:
    session = pkcs11.lib(module).get_token(token_label=token).open(user_pin=pin)
    wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
    print(*(len(one.sign(bytes(32), mechanism=Mechanism.ECDSA)) for one in list(session.get_objects(wanted))))
except pkcs11.PKCS11Error as error:
    print(type(error).__name__)
"""

# What somebody without any PIN leaves in a token: a public key and a note that look like ours.
STRANGER = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters
from issuer.trust.pkcs11_keys import Mark

session = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2]).open(rw=True)
public = {Attribute.TOKEN: True, Attribute.PRIVATE: False}
for label in sys.argv[3:]:
    session.create_object({
        **public, Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC, Attribute.LABEL: label,
        Attribute.ID: Mark("ec-p256", "card", ("H38",), 1, bytes(8)).encode(),
        Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1"),
        Attribute.EC_POINT: bytes.fromhex("044104") + bytes(64),
    })
    session.create_object({
        **public, Attribute.CLASS: ObjectClass.DATA, Attribute.APPLICATION: "themo",
        Attribute.LABEL: f"state:{label}", Attribute.VALUE: b"compromised",
    })
print(len(list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY}))))
"""


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    with softhsm(tmp_path_factory.mktemp("softhsm")) as opened:
        yield opened


@pytest.fixture(scope="module")
def officer(tokens: Tokens) -> Ceremony:
    made = tokens.ceremony()
    made.generate(SIGNER, "ec-p256", "card", ("H38",))
    made.generate(ROOT, "ec-p256", "root", ())
    made.generate("audit-1", "ed25519", "audit", ())
    made.generate(MASTER, "aes-256", "card-master", ())
    made.load_transport(BATCH, TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)
    return made


@pytest.fixture
def hsm(tokens: Tokens, officer: Ceremony) -> Iterator[Pkcs11]:
    made = tokens.everyday()
    yield made
    made.close()


def forged(tokens: Tokens, token: str, pin: Secret, label: str) -> str:
    """What signing with a key of the token comes to for somebody with a library of his own."""
    command = [sys.executable, "-c", FORGER, MODULE, token, label]
    environ = environ_of(tokens)
    done = subprocess.run(command, input=pin.text + "\n", env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


# --- tokens


@pytest.mark.parametrize("which", [TOKEN, ROOT_TOKEN])
def test_opensc_finds_nothing_wrong_with_the_tokens(tokens: Tokens, officer: Ceremony, which: str) -> None:
    done = tool(tokens, which, tokens.user_pin if which == TOKEN else tokens.officer_pin, "--test")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    told = [line.strip() for line in done.stdout.splitlines()]
    assert told[:7] == [
        "C_SeedRandom() and C_GenerateRandom():", "seems to be OK",
        "Digests:", "all 4 digest functions seem to work", "MD5: OK", "SHA-1: OK", "SHA256: OK",
    ]  # fmt: skip
    assert (told[7], told[-1]) == ("Signatures: not implemented", "No errors")  # of its tests, those need RSA
    seen = {label for line in told if line.startswith("testing key ") for label in re.findall(r"\((.+?)\)", line)}
    assert {SIGNER, "audit-1"} <= seen if which == TOKEN else seen == {ROOT}
    assert not re.search(r"error|fail|ERR", "".join(told[:-1]), re.IGNORECASE)


def test_opensc_shows_each_key_by_its_label_with_words_as_its_id_and_its_one_use(
    tokens: Tokens, officer: Ceremony
) -> None:
    told = tool(tokens, TOKEN, tokens.user_pin, "-O").stdout
    shown = re.findall(
        r"(Private|Public|Secret) Key Object; .*\n(?:  EC_.*\n)*  label: +(.+)\n  ID: +(\w+)\n  Usage: +(.+)\n", told
    )
    found = {(kind, label, bytes.fromhex(identity).decode("ascii"), use) for kind, label, identity, use in shown}
    assert len(found) == len(shown) == told.count("Key Object")
    masked = {
        (kind, label, re.sub(r" \d{10} [0-9a-f]{16} ", " TIME NONCE ", words), use) for kind, label, words, use in found
    }
    assert masked >= {
        ("Private", SIGNER, "themo1 ec-p256 card H38 TIME NONCE ", "sign"),
        ("Public", SIGNER, "themo1 ec-p256 card H38 TIME NONCE ", "verify"),
        ("Private", "audit-1", "themo1 ed25519 audit  TIME NONCE ", "sign"),
        ("Secret", MASTER, "themo1 aes-256 card-master  TIME NONCE ", "none"),  # of a secret key it shows no "sign"
        ("Secret", BATCH, "themo1 scp03-set transport  TIME NONCE enc", "none"),
        ("Secret", BATCH, "themo1 scp03-set transport  TIME NONCE mac", "none"),
        ("Secret", BATCH, "themo1 scp03-set transport  TIME NONCE dek", "encrypt"),
    }


def test_a_token_in_use_is_never_set_up_again(tokens: Tokens, hsm: Pkcs11) -> None:
    before = hsm.keys()
    with pytest.raises(HsmError, check=lambda error: error.code == "hsm.token_exists"):
        set_up(MODULE, TOKEN, Secret("another-so"), Secret("another-pin"))
    assert hsm.keys() == before


# --- what the device enforces


def test_no_key_can_be_taken_out_or_changed_with_the_pin(tokens: Tokens, officer: Ceremony) -> None:
    done = subprocess.run(
        [sys.executable, "-c", THIEF, MODULE, TOKEN],
        input=tokens.user_pin.text + "\n", env=environ_of(tokens), capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {SIGNER, MASTER, BATCH, "audit-1"} <= {line[0] for line in lines}
    assert all("done" not in line for line in lines), done.stdout


def test_root_keys_answer_to_the_officers_pin_alone(tokens: Tokens, officer: Ceremony) -> None:
    assert forged(tokens, ROOT_TOKEN, tokens.user_pin, ROOT) == "PinIncorrect"
    assert forged(tokens, TOKEN, tokens.user_pin, ROOT) == ""
    assert forged(tokens, ROOT_TOKEN, tokens.officer_pin, ROOT) == "64"
    assert officer.capabilities().separates_roots


def test_what_a_stranger_puts_into_a_token_is_not_looked_at(tokens: Tokens, officer: Ceremony) -> None:
    before = tokens.everyday().keys()
    command = [sys.executable, "-c", STRANGER, MODULE, TOKEN, SIGNER, "another"]
    done = subprocess.run(command, env=environ_of(tokens), capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"  # and of our own public keys he sees none
    anew = tokens.everyday()
    assert anew.keys() == before
    assert anew.verify(SIGNER, b"claims", anew.sign(SIGNER, "card", b"claims"))


def test_a_signing_key_that_ended_is_not_in_the_device_any_more(tokens: Tokens, officer: Ceremony) -> None:
    officer.generate("ended", "ec-p256", "qr", ())
    assert forged(tokens, TOKEN, tokens.user_pin, "ended") == "64"
    officer.set_state("ended", "compromised")
    assert forged(tokens, TOKEN, tokens.user_pin, "ended") == ""


def test_an_ended_card_master_opens_no_session(officer: Ceremony, hsm: Pkcs11) -> None:
    officer.generate("card-master-0", "aes-256", "card-master", ())
    assert hsm.derive_check("card-master-0", bytes(10), 1)
    officer.set_state("card-master-0", "deactivated")
    with pytest.raises(HsmError, match=r"hsm\.no_such_key"):
        hsm.derive_check("card-master-0", bytes(10), 1)


def test_a_device_suspends_no_key(officer: Ceremony) -> None:
    with pytest.raises(HsmError, match=r"hsm\.denied"):
        officer.set_state(SIGNER, "suspended")


# --- what it does not, as declared


def test_what_the_device_does_not_do_is_declared(hsm: Pkcs11) -> None:
    assert hsm.capabilities().lacking() == [
        "derives_inside", "loads_inside", "enforces_uses", "enforces_roles", "locks_pins", "has_allocator",
        "has_key_states", "has_caps", "has_quorum", "seals_log", "has_ml_dsa",
    ]  # fmt: skip


def test_who_has_the_pin_makes_keys_but_none_that_counts_as_ours(tokens: Tokens, hsm: Pkcs11) -> None:
    assert not hsm.capabilities().enforces_roles
    before = hsm.keys()
    words = ["--keypairgen", "--key-type", "EC:prime256v1", "--label", "mine", "--id", "aa"]
    assert tool(tokens, TOKEN, tokens.user_pin, *words).returncode == 0
    assert hsm.keys() == before
    with pytest.raises(HsmError, match=r"hsm\.no_such_key"):
        hsm.sign("mine", "card", b"claims")


def test_who_has_the_pin_goes_past_our_worker_with_a_key(tokens: Tokens, hsm: Pkcs11) -> None:
    assert not hsm.capabilities().enforces_uses
    assert forged(tokens, TOKEN, tokens.user_pin, SIGNER) == "64"


def test_of_two_keys_made_at_once_under_one_label_one_is_left(tokens: Tokens, officer: Ceremony, hsm: Pkcs11) -> None:
    for n in range(3):
        made: list[object] = []

        def make(ceremony: Ceremony, label: str, into: list[object]) -> None:
            try:
                into.append(ceremony.generate(label, "ec-p256", "qr", ()))
            except KeyExists:
                into.append(None)

        pair = [threading.Thread(target=make, args=(one, f"twice-{n}", made)) for one in (officer, tokens.ceremony())]
        for one in pair:
            one.start()
        for one in pair:
            one.join(WITHIN_S)
        kept = [one for one in made if one is not None]
        assert hsm.info(f"twice-{n}") in kept
        assert hsm.verify(f"twice-{n}", b"x", hsm.sign(f"twice-{n}", "qr", b"x"))


def test_one_token_for_all_keys_works_and_is_declared(tmp_path: Path) -> None:
    with softhsm(tmp_path, has_roots=False) as tokens:
        everyday, ceremony = tokens.in_one()
        ceremony.generate(ROOT, "ec-p256", "root", ())
        ceremony.generate(SIGNER, "ec-p256", "card", ())
        listed = ceremony.keys()
        assert [one.label for one in listed] == [SIGNER, ROOT]
        assert everyday.verify(ROOT, b"list", ceremony.sign(ROOT, "root", b"list"))
        assert "separates_roots" in everyday.capabilities().lacking()
        with pytest.raises(HsmError, match=r"hsm\.denied"):
            everyday.sign(ROOT, "root", b"list")
        with pytest.raises(KeyExists):
            ceremony.generate(ROOT, "ec-p256", "card", ())


# --- the worker


def test_a_killed_worker_is_started_again_and_its_sessions_are_lost(hsm: Pkcs11) -> None:
    before = workers()
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


def test_a_worker_killed_between_two_calls_is_not_noticed(hsm: Pkcs11) -> None:
    before = workers()
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
