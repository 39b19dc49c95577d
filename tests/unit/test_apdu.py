"""Command and response APDUs: every case, every refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardlink.errors import Malformed
from cardlink.iso7816.apdu import (
    Command,
    Response,
    command_name,
    decode_command,
    decode_response,
    split_chain,
)

# ISO/IEC 7816-4 §5.1, one row a case; the PIV ones are SELECT, GET DATA and VERIFY as real clients send them.
CASES = [
    ("00A40400", Command(0x00, 0xA4, 0x04, 0x00)),
    ("00C0000000", Command(0x00, 0xC0, 0x00, 0x00, le=256)),
    ("00C0000012", Command(0x00, 0xC0, 0x00, 0x00, le=0x12)),
    ("0020008008313233343536FFFF", Command(0x00, 0x20, 0x00, 0x80, bytes.fromhex("313233343536FFFF"))),
    ("00A4040005A000000308", Command(0x00, 0xA4, 0x04, 0x00, bytes.fromhex("A000000308"))),
    ("00CB3FFF055C035FC10200", Command(0x00, 0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC102"), 256)),
    ("00CB3FFF055C035FC10210", Command(0x00, 0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC102"), 16)),
    ("00CB3FFF000000", Command(0x00, 0xCB, 0x3F, 0xFF, b"", 65_536, extended=True)),
    ("00CB3FFF000100", Command(0x00, 0xCB, 0x3F, 0xFF, b"", 256, extended=True)),
    ("00DB3FFF000002AABB", Command(0x00, 0xDB, 0x3F, 0xFF, b"\xaa\xbb", extended=True)),
    ("00DB3FFF000002AABB0000", Command(0x00, 0xDB, 0x3F, 0xFF, b"\xaa\xbb", 65_536, extended=True)),
    ("00DB3FFF000001AA0203", Command(0x00, 0xDB, 0x3F, 0xFF, b"\xaa", 0x203, extended=True)),
]


@pytest.mark.parametrize(("raw", "command"), CASES)
def test_each_case_is_written_and_read(raw: str, command: Command) -> None:
    assert command.encode().hex().upper() == raw
    assert decode_command(bytes.fromhex(raw)) == command


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "header"),
        ("00A404", "header"),
        ("00A404000500", "Lc 5"),
        ("00A4040002AA", "Lc 2"),
        ("00A4040001AABBCC", "Lc 1"),
        ("00A404000000", "two bytes"),
        ("00A40400000000AA", "extended Lc 0"),
        ("00A404000000000000", "extended Lc 0"),
        ("00A40400000002AA", "extended Lc 2"),
        ("00A40400000001AABB", "extended Lc 1"),
        ("00A40400000001AABBCCDD", "extended Lc 1"),
    ],
)
def test_a_length_that_does_not_fit_is_malformed(raw: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_command(bytes.fromhex(raw))


@pytest.mark.parametrize(
    "command",
    [
        Command(0, 0, 0, 0, bytes(256)),
        Command(0, 0, 0, 0, b"", 257),
        Command(0, 0, 0, 0, b"", 0),
        Command(0, 0, 0, 0, bytes(65_536), extended=True),
        Command(0, 0, 0, 0, b"", 65_537, extended=True),
        Command(256, 0, 0, 0),
        Command(0, -1, 0, 0),
    ],
)
def test_what_fits_no_apdu_is_not_written(command: Command) -> None:
    with pytest.raises(Malformed, match="command APDU"):
        command.encode()


BYTE = st.integers(0, 255)


@given(BYTE, BYTE, BYTE, BYTE, st.binary(max_size=255), st.none() | st.integers(1, 256))
def test_short_commands_come_back(cla: int, ins: int, p1: int, p2: int, data: bytes, le: int | None) -> None:
    command = Command(cla, ins, p1, p2, data, le)
    assert decode_command(command.encode()) == command


@given(BYTE, st.binary(max_size=2000), st.none() | st.integers(1, 65_536))
def test_extended_commands_come_back(ins: int, data: bytes, le: int | None) -> None:
    command = Command(0, ins, 0, 0, data, le, extended=bool(data) or le is not None)
    assert decode_command(command.encode()) == command


@given(st.binary(max_size=300))
def test_any_bytes_are_a_command_or_malformed(raw: bytes) -> None:
    try:
        command = decode_command(raw)
    except Malformed:
        return
    assert command.encode() == raw


@given(st.binary(max_size=1200), st.integers(1, 255), st.none() | st.integers(1, 256))
def test_a_chain_holds_the_data_in_order_and_le_at_its_end(data: bytes, block: int, le: int | None) -> None:
    blocks = split_chain(Command(0x00, 0xDB, 0x3F, 0xFF, data, le), block)
    assert b"".join(one.data for one in blocks) == data
    assert [one.cla for one in blocks] == [0x10] * (len(blocks) - 1) + [0x00]
    assert [one.le for one in blocks] == [None] * (len(blocks) - 1) + [le]
    assert all(len(one.data) == block for one in blocks[:-1])
    assert len(blocks[-1].data) <= block


@pytest.mark.parametrize("block", [0, -1, 256])
def test_a_chain_of_impossible_blocks_is_refused(block: int) -> None:
    with pytest.raises(Malformed, match="command chain"):
        split_chain(Command(0, 0xDB, 0, 0, bytes(300)), block)


def test_responses_are_split_and_joined() -> None:
    assert decode_response(bytes.fromhex("0102039000")) == Response(b"\x01\x02\x03", 0x9000)
    assert Response(b"\x01", 0x6982).encode() == bytes.fromhex("016982")


@pytest.mark.parametrize("raw", ["", "90", "AABB8000", "6000", "0000", "FF00", "5FFF"])
def test_an_answer_without_a_status_word_is_malformed(raw: str) -> None:
    with pytest.raises(Malformed, match="response APDU"):
        decode_response(bytes.fromhex(raw))


@pytest.mark.parametrize("sw", [-1, 0x10000])
def test_a_status_word_has_two_bytes(sw: int) -> None:
    with pytest.raises(Malformed, match="status word"):
        Response(b"", sw).encode()


def test_commands_have_names() -> None:
    assert command_name(0xCB) == "GET DATA"
    assert command_name(0xF8) == "INS F8"
