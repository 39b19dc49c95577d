"""PIN, PUK and pairing code: the forms, and that no message repeats a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardlink.errors import Malformed
from cardlink.piv.pins import check_puk, decode_pin, encode_pairing_code, encode_pin, is_pairing_code, is_pin


@pytest.mark.parametrize(
    ("digits", "raw"),
    [("123456", "313233343536FFFF"), ("1234567", "31323334353637FF"), ("00000000", "3030303030303030")],
)
def test_a_pin_is_padded_to_eight_bytes(digits: str, raw: str) -> None:
    assert encode_pin(digits).hex().upper() == raw
    assert decode_pin(bytes.fromhex(raw)) == digits


@pytest.mark.parametrize(
    "digits", ["", "12345", "123456789", "12345a", "12345 ", "１２３４５６", "12345\xff", "123456\xff"]
)
def test_anything_else_is_no_pin(digits: str) -> None:
    with pytest.raises(Malformed, match="PIN: want 6 to 8 digits") as refusal:
        encode_pin(digits)
    assert not digits or digits not in str(refusal.value)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "313233343536FF",
        "313233343536FFFFFF",
        "3132333435FFFFFF",
        "31323334353600FF",
        "3132FF33343536FF",
        "FFFFFFFFFFFFFFFF",
        "313233343536FF37",
    ],
)
def test_a_badly_formed_pin_reference_is_seen(raw: str) -> None:
    assert not is_pin(bytes.fromhex(raw))
    with pytest.raises(Malformed, match="PIN"):
        decode_pin(bytes.fromhex(raw))


@given(st.binary(min_size=8, max_size=8))
def test_a_reference_is_a_pin_exactly_when_it_reads_back(raw: bytes) -> None:
    if is_pin(raw):
        assert encode_pin(decode_pin(raw)) == raw


def test_a_puk_is_any_eight_bytes() -> None:
    assert check_puk(bytes(8)) == bytes(8)
    for size in (0, 7, 9):
        with pytest.raises(Malformed, match=f"got {size}"):
            check_puk(bytes(size))


def test_a_pairing_code_has_eight_digits() -> None:
    assert encode_pairing_code("01234567") == b"01234567"
    assert not is_pairing_code(b"0123456\xff")
    for digits in ("1234567", "123456789", "1234567a"):
        with pytest.raises(Malformed, match="pairing code"):
            encode_pairing_code(digits)
