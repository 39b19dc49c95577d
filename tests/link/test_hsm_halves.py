"""A worker was killed while it took a key in: what it left of it in the token is in nobody's way."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hsm_card import TRANSPORT_KEYS, TestCard
from softhsm_tokens import TOKEN, Tokens, softhsm, tool

from issuer.trust.pkcs11 import Ceremony
from issuer.trust.port import KeyExists

COMPONENTS = (bytes(range(32)), bytes(range(100, 132)))  # made up, for tests alone
KEK = bytes(a ^ b for a, b in zip(*COMPONENTS, strict=True))
SET = b"".join(
    aes_key_wrap_with_padding(KEK, one) for one in (TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    with softhsm(tmp_path_factory.mktemp("halves")) as opened:
        officer = opened.ceremony()
        officer.generate("master", "aes-256", "card-master", ())
        for number, component in enumerate(COMPONENTS, 1):
            officer.load_component("kek", number, len(COMPONENTS), component)
        yield opened


def take_set(officer: Ceremony, label: str) -> None:
    officer.unwrap_key("kek", SET, label, "scp03-set", "transport", ())


def remove(tokens: Tokens, kind: str, label: str) -> None:
    """Let one object of that label be missing, as when the worker did not get as far."""
    words = ["--delete-object", "--type", kind, "--label", label]
    done = tool(tokens, TOKEN, tokens.user_pin, *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("is_anew", [True, False], ids=["another worker", "the same worker"])
def test_a_set_that_came_in_part_comes_in_whole_the_next_time(tokens: Tokens, missing: int, is_anew: bool) -> None:
    label = f"batch-{missing}-{is_anew}"
    officer = tokens.ceremony()
    take_set(officer, label)
    with pytest.raises(KeyExists):
        take_set(officer, label)
    for _ in range(missing):
        remove(tokens, "secrkey", label)
    take_set(tokens.ceremony() if is_anew else officer, label)
    TestCard.blank().rotate(tokens.everyday(), label, "master")
    with pytest.raises(KeyExists):
        take_set(officer, label)


def test_a_signing_key_that_came_by_half_comes_in_whole_the_next_time(tokens: Tokens) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    wrapped = aes_key_wrap_with_padding(KEK, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    for _ in range(2):
        made = tokens.ceremony().unwrap_key("kek", wrapped, "card-1", "ec-p256", "card", (), point)
        assert made.public == point
        remove(tokens, "pubkey", "card-1")
