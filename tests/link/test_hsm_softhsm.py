"""SoftHSM through PKCS#11: how keys stand in a token, what a device enforces and what it does not, as declared."""

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from hsm_card import TRANSPORT_KEYS, TestCard
from softhsm_thieves import STRANGER, TAKER, THIEF, THIEF_ON, forged, memory_of
from softhsm_tokens import MODULE, ROOT_TOKEN, TOKEN, Tokens, environ_of, softhsm, started, tool

from issuer.config import Secret
from issuer.trust.pkcs11 import Ceremony, Pkcs11
from issuer.trust.pkcs11_token import set_up
from issuer.trust.port import Capabilities, HsmError, KeyExists

BATCH, MASTER, SIGNER, ROOT = "batch-1", "card-master-1", "card-H38-1", "root-1"
WITHIN_S = 10.0


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


@dataclass(frozen=True)
class Stage:
    """What each trial needs: the logins, and what a thief with the everyday PIN came to."""

    tokens: Tokens
    officer: Ceremony
    hsm: Pkcs11
    card: TestCard
    thief: dict[str, str]

    @staticmethod
    def can(act: Callable[[], object]) -> bool:
        """Whether this is done, or denied."""
        try:
            act()
        except HsmError as error:
            if error.code != "hsm.denied":
                raise
            return False
        return True


@pytest.fixture(scope="module")
def stage(tokens: Tokens, officer: Ceremony) -> Stage:
    card, hsm = TestCard.blank(), tokens.everyday()
    officer.generate("ended-master", "aes-256", "card-master", ())
    officer.set_state("ended-master", "deactivated")
    session = card.open(hsm, "transport", BATCH, "a job that nobody opened")
    hsm.put_secret(session, "pin", None, card.kdd, 0x01)
    command = [sys.executable, "-c", THIEF_ON, MODULE, TOKEN, ROOT_TOKEN, SIGNER, ROOT]
    given = tokens.user_pin.text + "\n"
    done = subprocess.run(command, input=given, env=environ_of(tokens), capture_output=True, text=True, check=True)
    return Stage(tokens, officer, hsm, card, dict(line.split("=") for line in done.stdout.splitlines()))


def derives_inside(on: Stage) -> bool:
    """Not where a card's own key stands in the worker's memory while a session with it is open."""
    card, hsm = TestCard.blank(), on.tokens.everyday()
    card.rotate(hsm, BATCH, MASTER)
    with started() as mine:
        hsm.close()
        session = card.open(hsm, "card", MASTER)
    found = any(card.chip.persistent.key_sets[0x01].keys.dek in part for part in memory_of(mine[0]))
    hsm.close_session(session)
    hsm.close()
    return not found


def seals_log(on: Stage) -> bool:
    """Not where a signature leaves no other trace in the token's files than the login does."""

    def changed(label: str) -> set[Path]:
        before = {path: path.read_bytes() for path in on.tokens.store.rglob("*") if path.is_file()}
        forged(on.tokens, TOKEN, on.tokens.user_pin, label)
        return {path for path in on.tokens.store.rglob("*") if path.is_file() and before.get(path) != path.read_bytes()}

    return changed(SIGNER) != changed("no such key")


TRIALS: dict[str, Callable[[Stage], bool]] = {
    "keeps_signing_keys": lambda on: on.thief["private"] == "kept",
    "keeps_card_masters": lambda on: on.thief["secret"] == "kept" and on.can(lambda: on.hsm.attest(MASTER)),
    "derives_inside": derives_inside,
    "loads_inside": lambda on: on.thief["pin"] != on.hsm.reveal_pin("a job that nobody opened"),
    "enforces_uses": lambda on: on.thief["signed"] != "64",
    "enforces_roles": lambda on: on.thief["made"] != "done",
    "separates_roots": lambda on: on.thief["root"] == "PinIncorrect",
    "locks_pins": lambda on: on.thief["after 12 wrong PINs"] != "in",
    "has_allocator": lambda on: not on.can(lambda: on.card.open(on.hsm, "transport", BATCH, "nor this one")),
    "has_key_states": lambda on: on.thief["ended"] != "16" or on.can(lambda: on.officer.set_state(SIGNER, "suspended")),
    "has_caps": lambda on: bool(on.hsm.caps()) or not on.hsm.sign_many(SIGNER, "card", [b"x"] * 300),
    "has_quorum": lambda on: not on.can(lambda: on.officer.generate("by one alone", "ec-p256", "card", ())),
    "seals_log": seals_log,
    "wraps_keys": lambda on: on.can(lambda: on.officer.generate("kek", "aes-256", "wrap", ())),
    "has_ed25519": lambda on: len(on.hsm.sign("audit-1", "audit", b"x")) == 64,
    "has_ml_dsa": lambda on: on.can(lambda: on.officer.generate("later", "ml-dsa-44", "card", ())),
}


def test_every_capability_is_tried() -> None:
    assert set(TRIALS) == {one.name for one in fields(Capabilities)}


@pytest.mark.parametrize("name", TRIALS)
def test_what_is_declared_is_what_happens(stage: Stage, name: str) -> None:
    assert getattr(stage.hsm.capabilities(), name) is TRIALS[name](stage)


def test_what_is_lacking_stands_in_the_log_when_the_device_is_opened(
    tokens: Tokens, officer: Ceremony, caplog: pytest.LogCaptureFixture
) -> None:
    hsm = tokens.everyday()
    with caplog.at_level(logging.INFO, logger="issuer.trust.pkcs11_link"):
        lacking = hsm.capabilities().lacking()
    assert f"token={TOKEN} lacking={','.join(lacking)}" in caplog.text
    assert lacking == [
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


def test_who_has_the_pin_takes_out_what_may_leave_and_nothing_else(tokens: Tokens, officer: Ceremony) -> None:
    tokens.ceremony(makes_exportable=True).generate("may-leave", "ec-p256", "card", ())
    done = subprocess.run(
        [sys.executable, "-c", TAKER, MODULE, TOKEN, "may-leave", SIGNER, MASTER],
        input=tokens.user_pin.text + "\n",
        env=environ_of(tokens),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["may-leave=out", f"{SIGNER}=KeyUnextractable", f"{MASTER}=KeyUnextractable"]


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
