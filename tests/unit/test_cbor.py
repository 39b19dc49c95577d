"""Strict deterministic CBOR (RFC 8949 §4.2.1)."""

import tracemalloc
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_vectors import raw, rows

from cardlink.errors import Malformed
from cardlink.statements import cbor

KEYS = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@rows("cbor", "good")
def test_a_deterministic_value_reads_and_writes_the_same_bytes(row: dict[str, str]) -> None:
    value = cbor.decode(raw(row), max_bytes=64)
    assert cbor.encode(value) == raw(row)
    assert value == cbor2.loads(raw(row))


@rows("cbor", "bad")
def test_anything_but_the_deterministic_encoding_is_malformed(row: dict[str, str]) -> None:
    with pytest.raises(Malformed, match=row["why"]):
        cbor.decode(raw(row), max_bytes=1 << 20)


@given(VALUES)
def test_every_value_survives_a_round_trip(value: Any) -> None:
    encoded = cbor.encode(value)
    assert cbor.decode(encoded, max_bytes=1 << 20, max_depth=64) == value
    assert cbor2.loads(encoded) == value


@given(st.binary(max_size=64))
def test_random_bytes_are_malformed_or_their_own_encoding(data: bytes) -> None:
    try:
        value = cbor.decode(data, max_bytes=64)
    except Malformed:
        return
    assert cbor.encode(value) == data


@settings(max_examples=300)
@given(VALUES, st.data())
def test_a_mutated_encoding_is_malformed_or_its_own_encoding(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(cbor.encode(value))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = cbor.decode(bytes(encoded), max_bytes=1 << 20)
    except Malformed:
        return
    assert cbor.encode(read) == encoded


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    with pytest.raises(Malformed, match="too long: 3 bytes, at most 2"):
        cbor.decode(b"\x42\x00\x00", max_bytes=2)


def test_depth_is_counted_in_containers() -> None:
    assert cbor.decode(b"\x81\xa1\x01\x00", max_bytes=9, max_depth=2) == [{1: 0}]
    with pytest.raises(Malformed, match="too deep"):
        cbor.decode(b"\x81\xa1\x01\x00", max_bytes=9, max_depth=1)


def test_bombs_cost_no_memory() -> None:
    bombs = ("9b0fffffffffffffff", "5b7fffffffffffffff", "c5821a3b9aca0003", "81" * 100_000, "bbffffffffffffffff")
    for bomb in [bytes.fromhex(digits) for digits in bombs]:
        tracemalloc.start()
        with pytest.raises(Malformed):
            cbor.decode(bomb, max_bytes=1 << 20)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 1 << 20


@pytest.mark.parametrize(
    "value",
    [1.5, 2**64, -(2**64) - 1, {1.5: 0}, {b"k": 0}, {True: 0}, {None: 0}, {(1,): 0}, object(), {1}, "\ud800", [1.0]],
)
def test_a_value_outside_the_subset_has_no_encoding(value: Any) -> None:
    with pytest.raises(Malformed, match="CBOR"):
        cbor.encode(value)


def test_a_value_nested_too_deep_has_no_encoding() -> None:
    value: Any = 0
    for _ in range(17):
        value = [value]
    with pytest.raises(Malformed, match="too deep"):
        cbor.encode(value)
