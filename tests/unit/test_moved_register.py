"""A file with a moved key is held against the register: nothing else seals what it says of the key's purpose."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from card_register import ADMIN, HOME, NOW, Register, open_register
from signing_keys import LocalKeys

from hsm_sim import texts
from issuer import messages
from issuer.errors import Refused
from issuer.trust import moving
from issuer.trust.moving import MovedKey
from issuer.trust.port import KeyInfo

CARD, MASTER, CHECK = f"card-{HOME}-1", "card-master-1", b"\1\2\3"


class Device(LocalKeys):
    """Another HSM, that takes whatever comes: what it was told is what it has."""

    def unwrap_key(
        self, kek: str, wrapped: bytes, label: str, kind: str, use: str, scope: tuple[str, ...], check: bytes = b""
    ) -> KeyInfo:
        return self.generate(label, kind, use, scope)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return open_register(tmp_path)


def file_of(register: Register, label: str) -> MovedKey:
    info = register.keys.info(label)
    return MovedKey(label, info.kind, info.use, info.scope, "kek-1", info.public or b"", b"wrapped")


def receive(register: Register, moved: MovedKey) -> KeyInfo:
    device = Device()
    try:
        return moving.receive(register.factory, device, ADMIN, moved, "kek-1", moved.label, NOW)  # type: ignore[arg-type]  # the part of the port that it uses
    except Refused:
        assert not device.made
        raise


def test_every_key_of_the_register_comes_in_as_what_it_is(register: Register) -> None:
    for info in register.keys.keys():  # noqa: SIM118 - a call
        if info.use != "card-master":
            assert receive(register, file_of(register, info.label)).use == info.use
    assert receive(register, MovedKey(MASTER, "aes-256", "card-master", (), "kek-1", CHECK, b"wrapped"))
    assert receive(register, MovedKey("new", "ec-p256", "card", (HOME,), "kek-1", b"point", b"wrapped"))


@pytest.mark.parametrize(
    "change",
    [
        {"label": "bundle-H01-7", "use": "bundle", "scope": ("H01",)},
        {"label": "card-H38-7"},
        {"use": "identity"},
        {"scope": ("H",)},
        {"scope": ()},
        {"check": b"another point"},
        {"label": "x509-ca-H38-1"},
        {"label": MASTER},
        {"label": "x509-ocsp-H38-1"},
        {"label": "root-1"},
    ],
)
def test_a_file_that_says_something_else_than_the_register_is_refused(
    register: Register, change: dict[str, Any]
) -> None:
    with pytest.raises(Refused, match=r"keys\.not_as_registered"):
        receive(register, replace(file_of(register, CARD), **change))


def test_a_signing_key_without_its_public_half_is_refused(register: Register) -> None:
    with pytest.raises(Refused, match=r"keys\.bad_moved_key"):
        receive(register, replace(file_of(register, CARD), label="new", check=b""))


def test_a_key_encryption_key_has_one_name_and_is_not_what_fails_to_open() -> None:
    files = [Path(texts.__file__), *Path(messages.__file__).parent.glob("*.vi.toml")]
    for text in (file.read_text("utf-8") for file in files):
        assert text.count("khóa mã hóa") == text.count("khóa mã hóa khóa")
