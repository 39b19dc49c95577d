"""The two derivations from published vectors: SP 800-108 in counter mode, and AN10922 for cards to come."""

import json
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from cardlink.errors import Malformed
from cardlink.gp.counter_kdf import counter_kdf
from cardlink.gp.diversify import diversify_aes128
from cardlink.gp.keys import Label, derive_card_key
from cardlink.gp.scp03 import cmac

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "gp" / "counter_kdf.json").read_text())["cases"]

# AN10922 rev. 2.2, §2.2.1: the key, the input (UID, application, "NXP Abu") and the diversified key
PUBLISHED_KEY = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
PUBLISHED_INPUT = bytes.fromhex("04782E21801D803042F54E585020416275")
PUBLISHED_DIVERSIFIED = bytes.fromhex("A8DD63A3B89D54B37CA802473FDA9175")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_published_key_is_derived_in_counter_mode(case: dict[str, str]) -> None:
    derived = bytes.fromhex(case["derived"])
    mac = partial(cmac, bytes.fromhex(case["key"]))
    assert counter_kdf(mac, bytes.fromhex(case["fixed"]), 8 * len(derived)) == derived


@pytest.mark.parametrize("label", list(Label))
def test_the_keys_of_a_card_are_that_derivation_over_the_written_input(label: Label) -> None:
    master, kdd, kvn, bits = bytes(range(32)), bytes(range(10)), 0x31, 256
    fixed = label.value + b"\0" + kdd + bytes((kvn,)) + bits.to_bytes(4, "big")
    assert derive_card_key(master, label, kdd, kvn, bits) == counter_kdf(partial(cmac, master), fixed, bits)


def test_the_published_key_of_an10922_is_diversified() -> None:
    assert diversify_aes128(PUBLISHED_KEY, PUBLISHED_INPUT) == PUBLISHED_DIVERSIFIED


@pytest.mark.parametrize("size", [16, 20, 31])
def test_an_input_beyond_one_block_is_plain_cmac(size: int) -> None:
    context = CMAC(AES(PUBLISHED_KEY))
    context.update(b"\x01" + bytes(range(size)))
    assert diversify_aes128(PUBLISHED_KEY, bytes(range(size))) == context.finalize()


def test_a_short_input_is_filled_up_to_two_blocks() -> None:
    context = CMAC(AES(PUBLISHED_KEY))
    context.update(b"\x01" + bytes(7))
    assert diversify_aes128(PUBLISHED_KEY, bytes(7)) != context.finalize()


@pytest.mark.parametrize(("key", "given"), [(bytes(32), b"1"), (bytes(16), b""), (bytes(16), bytes(32))])
def test_other_lengths_are_refused(key: bytes, given: bytes) -> None:
    with pytest.raises(Malformed, match="AN10922"):
        diversify_aes128(key, given)
