"""Card keys: check values, encryption for PUT KEY, derivation after F11 against an independent implementation."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from cardlink.errors import Malformed
from cardlink.gp.keys import (
    Label,
    decrypt_key,
    derive_card_key,
    derive_card_keys,
    derive_card_secrets,
    encrypt_key,
    key_check_value,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "gp" / "card_keys.json").read_text())
MASTER = bytes.fromhex(VECTORS["master_key"])


@pytest.mark.parametrize("case", VECTORS["derived"], ids=lambda case: f"{case['label']}-{case['bits']}-{case['kvn']}")
def test_a_derived_key_is_the_shipped_vector_and_what_kbkdfcmac_gives(case: dict[str, str | int]) -> None:
    label, kdd = Label(str(case["label"]).encode()), bytes.fromhex(str(case["kdd"]))
    kvn, bits = int(case["kvn"]), int(case["bits"])
    key = derive_card_key(MASTER, label, kdd, kvn, bits)
    assert key.hex() == case["key"]
    independent = KBKDFCMAC(
        AES,
        Mode.CounterMode,
        bits // 8,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label.value,
        context=kdd + bytes((kvn,)),
        fixed=None,
    )
    assert key == independent.derive(MASTER)


def test_a_card_set_and_its_secrets_come_from_their_labels() -> None:
    kdd = bytes(range(10))
    keys = derive_card_keys(MASTER, kdd, 0x31, 256)
    assert keys.enc == derive_card_key(MASTER, Label.ENC, kdd, 0x31, 256)
    assert keys.mac == derive_card_key(MASTER, Label.MAC, kdd, 0x31, 256)
    assert keys.dek == derive_card_key(MASTER, Label.DEK, kdd, 0x31, 256)
    secrets = derive_card_secrets(MASTER, kdd, 0x31)
    assert len(secrets.admin_key) == 32
    assert secrets.puk == VECTORS["puk"].encode()
    assert repr(secrets) == "CardSecrets()"


def test_diversification_data_of_another_length_are_refused() -> None:
    with pytest.raises(Malformed, match="10 bytes"):
        derive_card_key(MASTER, Label.ENC, bytes(9), 1, 128)


@pytest.mark.parametrize(
    # the first three: pySim, tests/unittests/test_globalplatform.py; the last: the well-known default key
    ("key", "kcv"),
    [
        ("000102030405060708090a0b0c0d0e0f", "c35280"),
        ("101112131415161718191a1b1c1d1e1f", "013808"),
        ("202122232425262728292a2b2c2d2e2f", "840de5"),
        ("404142434445464748494a4b4c4d4e4f", "504a77"),
    ],
)
def test_a_key_check_value_is_the_published_one(key: str, kcv: str) -> None:
    assert key_check_value(bytes.fromhex(key)).hex() == kcv


@pytest.mark.parametrize("dek_bytes", [16, 24, 32])
@pytest.mark.parametrize("key_bytes", [16, 24, 32])
def test_a_key_encrypted_under_the_dek_comes_back(dek_bytes: int, key_bytes: int) -> None:
    dek, key = bytes(range(dek_bytes)), bytes(range(100, 100 + key_bytes))
    encrypted = encrypt_key(dek, key)
    assert len(encrypted) == (16 if key_bytes == 16 else 32)
    assert decrypt_key(dek, encrypted, key_bytes) == key
    with pytest.raises(Malformed, match="encrypted key"):
        decrypt_key(dek, encrypted + bytes(16), key_bytes)
    with pytest.raises(Malformed, match="encrypted key"):
        decrypt_key(dek, encrypted, 20)


def test_a_key_under_the_dek_is_the_published_one() -> None:
    # github.com/ievkh/scll-rust crates/scll-backend-rustcrypto/tests/scp03_kat.rs
    dek, key = bytes.fromhex("404142434445464748494a4b4c4d4e4f"), bytes.fromhex("0f0e0d0c0b0a09080706050403020100")
    assert encrypt_key(dek, key).hex() == "fac3af9fb177982eaba2e63d9ef03986"
