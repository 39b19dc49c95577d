"""The security object and the hashes that it signs."""

from hashlib import sha256

import pytest
from asn1crypto import algos, core
from hypothesis import given
from hypothesis import strategies as st

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.security_object import decode_lds, decode_security_object, encode_lds, encode_security_object
from cardlink.piv.tables import CHUID, FACIAL_IMAGE

GROUPS = {1: CHUID.container_id, 2: FACIAL_IMAGE.container_id}


def test_the_mapping_has_three_bytes_a_group() -> None:
    content = encode_security_object(GROUPS, b"\x30\x00")
    assert content.hex().upper() == "BA06013000026030BB023000FE00"
    decoded = decode_security_object(content)
    assert (decoded.groups, decoded.signature) == (GROUPS, b"\x30\x00")


@pytest.mark.parametrize("groups", [{}, {0: 1}, {17: 1}, {1: 0x10000}, {1: -1}])
def test_impossible_groups_are_not_written(groups: dict[int, int]) -> None:
    with pytest.raises(Malformed, match="security object"):
        encode_security_object(groups, b"")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("BA050130000260BB00FE00", "mapping of 5"),
        ("BA06013000016030BB00FE00", "stands twice"),
        ("BA06013000023000BB00FE00", "stands twice"),
        ("BA03113000BB00FE00", "numbered 1 to 16"),
        ("BA03003000BB00FE00", "numbered 1 to 16"),
        ("BA00BB00FE00", "numbered 1 to 16"),
        ("BB00FE00", "BA is missing"),
        ("BA03013000FE00", "BB is missing"),
        ("BB00BA03013000FE00", "out of order"),
    ],
)
def test_a_broken_security_object_is_malformed(content: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_security_object(bytes.fromhex(content))


CONTENTS = {1: b"chuid\xfe\x00", 2: b"face\xfe\x00", 16: b""}


class Row(core.Sequence):
    _fields = [("number", core.Integer), ("value", core.OctetString)]  # noqa: RUF012 - asn1crypto wants it so - asn1crypto's own form


class Rows(core.SequenceOf):
    _child_spec = Row


class Lds(core.Sequence):
    _fields = [("version", core.Integer), ("algorithm", algos.DigestAlgorithm), ("hashes", Rows)]  # noqa: RUF012


def test_hashes_are_over_the_whole_content_and_another_parser_reads_them() -> None:
    raw = encode_lds(CONTENTS)
    assert decode_lds(raw) == {number: sha256(content).digest() for number, content in CONTENTS.items()}
    parsed = Lds.load(raw, strict=True)
    assert parsed["version"].native == 0
    assert parsed["algorithm"]["algorithm"].native == "sha256"
    rows = {row["number"]: row["value"] for row in parsed["hashes"].native}
    assert rows == decode_lds(raw)


@given(st.dictionaries(st.integers(1, 16), st.binary(max_size=50), min_size=1))
def test_every_set_of_hashes_comes_back(contents: dict[int, bytes]) -> None:
    assert decode_lds(encode_lds(contents)) == {n: sha256(content).digest() for n, content in contents.items()}


@pytest.mark.parametrize("contents", [{}, {0: b""}, {17: b""}])
def test_impossible_numbers_are_not_hashed(contents: dict[int, bytes]) -> None:
    with pytest.raises(Malformed, match="numbered 1 to 16"):
        encode_lds(contents)


ALGORITHM = "300b0609608648016503040201"
HASH = tlv.encode(0x30, bytes.fromhex("020101") + tlv.encode(0x04, bytes(32)))


def lds(version: str, algorithm: str, hashes: bytes) -> bytes:
    return tlv.encode(0x30, bytes.fromhex(version + algorithm) + tlv.encode(0x30, hashes))


def test_parameters_null_are_read_too() -> None:
    assert decode_lds(lds("020100", "300d06096086480165030402010500", HASH)) == {1: bytes(32)}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (lds("020101", ALGORITHM, HASH), "version 0"),
        (lds("", ALGORITHM, HASH), "version 0"),
        (lds("020100", "300706052b0e03021a", HASH), "not SHA-256"),
        (lds("020100", ALGORITHM, HASH + HASH), "data group 1"),
        (lds("020100", ALGORITHM, tlv.encode(0x30, bytes.fromhex("020111") + tlv.encode(4, bytes(32)))), "group 17"),
        (lds("020100", ALGORITHM, tlv.encode(0x30, bytes.fromhex("020101") + tlv.encode(4, bytes(20)))), "32 bytes"),
        (lds("020100", ALGORITHM, tlv.encode(0x31, b"")), "32 bytes"),
        (lds("020100", ALGORITHM, HASH) + b"\x00", "after tag 30"),
        (b"", "no data object"),
    ],
)
def test_a_broken_list_of_hashes_is_malformed(raw: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_lds(raw)
