"""`issuer hsm` and `issuer keys` as a person types them, with the keys in SoftHSM; PINs by file and descriptor."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from softhsm_tokens import MODULE, ROOT_TOKEN, TOKEN, Tokens, environ_of, tool
from typed import typed

SETTINGS = """[centre]
data_dir = "data"
installation = "H38"

[hsm]
pkcs11_module = "{module}"
pkcs11_token = "centre"
pin_file = "user.pin"
"""


class Desk:
    """An installation's folder and the commands typed there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokens = Tokens(folder)
        self.config = folder / "centre.toml"
        self.config.write_text(SETTINGS.format(module=MODULE), encoding="utf-8")
        for name, pin in (("user", self.tokens.user_pin), ("so", self.tokens.so_pin)):
            (folder / f"{name}.pin").write_text(pin.text + "\n", encoding="ascii")

    def issuer(self, *words: str, officer: bool = False, code: int = 0) -> str:
        """One command; the officer's PIN, where it takes one, goes by a descriptor."""
        given = ["--config", str(self.config), "--lang", "en", *words]
        passed: list[int] = []
        if officer:
            read, write = os.pipe()
            os.write(write, self.tokens.officer_pin.text.encode() + b"\n")
            os.close(write)
            passed.append(read)
            given += ["--officer-pin-fd", str(read)]
        try:
            done = typed("issuer", given, env=environ_of(self.tokens), pass_fds=passed, cwd=self.folder)
        finally:
            for one in passed:
                os.close(one)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("desk"))
    told = made.issuer("hsm", "init-tokens", "--so-pin-file", "so.pin", officer=True)
    assert told.splitlines() == ["Token centre set up", "Token root-centre set up"]
    made.issuer("init")
    made.issuer("keys", "init", "--agency", "H38", officer=True)
    return made


def test_tokens_in_use_are_not_set_up_again(desk: Desk) -> None:
    told = desk.issuer("hsm", "init-tokens", "--so-pin-file", "so.pin", officer=True, code=1)
    assert "issuer: error: the device has a token centre already" in told
    assert "issuer: hint: " in told


def test_the_status_says_what_the_device_does_not_do_by_itself(desk: Desk) -> None:
    told = desk.issuer("hsm", "status")
    assert "Keys are held by SoftHSM project SoftHSM v2 2.6 (pkcs11)" in told
    assert "derives_inside" in told
    assert "keeps_card_masters" not in told
    assert "separates_roots" not in told


@pytest.mark.parametrize("which", [TOKEN, ROOT_TOKEN])
def test_opensc_finds_nothing_wrong_with_what_the_commands_set_up(desk: Desk, which: str) -> None:
    pin = desk.tokens.user_pin if which == TOKEN else desk.tokens.officer_pin
    done = tool(desk.tokens, which, pin, "--test")
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", "No errors"), done.stdout
    seen = set(re.findall(r"testing key \d+ \((.+?)\)", done.stdout))
    if which == ROOT_TOKEN:
        assert seen == {"root-1", "x509-root-1"}
    else:
        told = desk.issuer("keys", "list").splitlines()
        assert seen == {line.split()[0] for line in told if " active" in line and "aes-256" not in line}


def test_the_device_keeps_every_key(desk: Desk) -> None:
    listed = {line.split()[0] for line in desk.issuer("keys", "list").splitlines() if "active" in line}
    assert listed.isdisjoint({"root-1", "x509-root-1"})  # which stand in the officer's token
    attested = {line.split()[0]: line.split()[1:] for line in desk.issuer("hsm", "attest").splitlines()}
    attested.pop("Label")
    assert listed == set(attested)
    assert {"card-H38-1", "card-master-1", "x509-ca-H38-1"} <= set(attested)
    assert all(words == ["yes", "yes"] for words in attested.values())


def test_a_trust_list_takes_the_officer(desk: Desk) -> None:
    told = desk.issuer("keys", "trust-list", "--publish", officer=True)
    assert "2" in told
    desk.folder.joinpath("wrong.pin").write_text("not-the-pin\n", encoding="ascii")
    told = desk.issuer("keys", "trust-list", "--publish", "--officer-pin-file", "wrong.pin", code=1)
    assert "issuer: error: the HSM's PIN is wrong" in told


def test_the_simulator_has_no_tokens_to_set_up(tmp_path: Path) -> None:
    made = Desk(tmp_path)
    made.config.write_text('[centre]\ndata_dir = "data"\ninstallation = "H38"\n', encoding="utf-8")
    told = made.issuer("hsm", "init-tokens", "--so-pin-file", "so.pin", officer=True, code=1)
    assert "issuer: error: the settings name no PKCS #11 device" in told


def test_keys_are_replaced_and_ended_in_the_device_too(desk: Desk) -> None:
    for words in (
        ("rotate", "card", "--agency", "H38"),
        ("rotate", "root", "root-1"),
        ("rotate", "card-master"),
        ("compromised", "qr-H38-1"),
    ):
        desk.issuer("keys", *words, officer=True)
    states = {line.split()[0]: line.split()[-1] for line in desk.issuer("keys", "list").splitlines()}
    assert {states[label] for label in ("card-H38-2", "card-master-2", "qr-H38-2")} == {"active"}
    assert states["qr-H38-1"] == "compromised"
    told = desk.issuer("keys", "trust-list", "--publish", officer=True)
    assert "is in force" in told


def test_a_key_that_the_device_cannot_make_is_refused(desk: Desk) -> None:
    told = desk.issuer("keys", "rotate", "identity", "--agency", "H38", "--alg", "ml-dsa-44", officer=True, code=1)
    assert "issuer: error: the HSM refuses: no PKCS #11 device makes keys of kind ml-dsa-44 for us" in told
