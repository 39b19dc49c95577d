"""The FASC-N against numbers computed elsewhere."""

import json
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardlink.errors import Malformed
from cardlink.piv.fascn import NON_FEDERAL, FascN, decode_fascn, encode_fascn

VECTORS = json.loads((Path(__file__).parent.parent / "vectors/piv/fascn.json").read_text(encoding="utf-8"))["numbers"]
OURS = encode_fascn(NON_FEDERAL)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["fields"]))
def test_numbers_are_written_and_read(vector: dict[str, object]) -> None:
    fields, raw = vector["fields"], bytes.fromhex(str(vector["hex"]))
    assert isinstance(fields, list)
    assert encode_fascn(FascN(*fields)) == raw
    assert list(astuple(decode_fascn(raw))) == fields


def test_our_number_is_of_no_agency() -> None:
    assert FascN(9999, 9999, 999999, 0, 0, 0, 0, 0, 0) == NON_FEDERAL


digit = st.integers(0, 9)
four = st.integers(0, 9999)
NUMBERS = st.builds(
    FascN, four, four, st.integers(0, 999_999), digit, digit, st.integers(0, 10**10 - 1), digit, four, digit
)


@given(NUMBERS)
def test_every_number_comes_back(number: FascN) -> None:
    assert decode_fascn(encode_fascn(number)) == number


@given(st.integers(0, 199))
def test_no_single_changed_bit_passes(bit: int) -> None:
    changed = (int.from_bytes(OURS, "big") ^ 1 << bit).to_bytes(25, "big")
    with pytest.raises(Malformed, match="FASC-N"):
        decode_fascn(changed)


@pytest.mark.parametrize(
    "number",
    [FascN(10_000, 0, 0), FascN(0, 0, 1_000_000), FascN(0, 0, 0, 10), FascN(0, 0, -1), FascN(0, 0, 0, person=10**10)],
)
def test_a_field_too_long_is_not_written(number: FascN) -> None:
    with pytest.raises(Malformed, match="FASC-N"):
        encode_fascn(number)


@pytest.mark.parametrize("raw", [b"", OURS[:-1], OURS + b"\x00"])
def test_the_length_is_25_bytes(raw: bytes) -> None:
    with pytest.raises(Malformed, match="want 25 bytes"):
        decode_fascn(raw)


def symbols_of(raw: bytes) -> list[int]:
    bits = int.from_bytes(raw, "big")
    return [bits >> shift & 0x1F for shift in range(195, -1, -5)]


def joined(symbols: list[int]) -> bytes:
    bits = 0
    for symbol in symbols:
        bits = bits << 5 | symbol
    return bits.to_bytes(25, "big")


DIGIT_1, SEPARATOR, START, END = 0b10000, 0b10110, 0b11010, 0b11111


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [(0, 1, "start or end"), (38, 1, "start or end"), (10, 11, "field separator"), (17, 18, "field separator")],
)
def test_marks_out_of_place_are_refused(first: int, second: int, why: str) -> None:
    """Two characters change places, so that parity and check character stay right."""
    symbols = symbols_of(OURS)
    symbols[first], symbols[second] = symbols[second], symbols[first]
    with pytest.raises(Malformed, match=why):
        decode_fascn(joined(symbols))


def test_a_digit_that_is_none_is_refused() -> None:
    symbols = symbols_of(OURS)
    # 0 and 0 become A and A: the check character cannot tell, only the range can
    symbols[23] = symbols[24] = 0b01011
    with pytest.raises(Malformed, match="not decimal"):
        decode_fascn(joined(symbols))
