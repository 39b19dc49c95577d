"""BER-TLV: one form is written, that form alone is read, and no input costs more than its size."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv

# tags of the PIV standard and their bytes
TAGS = [0x53, 0x5C, 0x7C, 0xFE, 0x01, 0x7F49, 0x5F2F, 0x7F61, 0x5F50, 0x5FC102, 0x5FFF20]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(
    ("size", "length"), [(0, "00"), (127, "7F"), (128, "8180"), (255, "81FF"), (256, "820100"), (65_000, "82FDE8")]
)
def test_tags_and_lengths_take_their_shortest_form(tag: int, size: int, length: str) -> None:
    raw = tlv.encode(tag, bytes(size))
    assert raw[: len(raw) - size].hex().upper() == f"{tag:X}".rjust(2, "0") + length
    assert tlv.parse(raw, size_max=70_000) == [(tag, bytes(size))]
    assert tlv.unwrap(raw, tag) == bytes(size)


@pytest.mark.parametrize("tag", [0, -1, 0x1F, 0x5F, 0x1234, 0x5F80, 0x5F1E, 0x5FC1, 0x5FC180, 0x1000000, 0x7F4900])
def test_a_number_that_is_no_tag_is_not_written(tag: int) -> None:
    with pytest.raises(Malformed, match="TLV tag"):
        tlv.encode(tag, b"")


def test_a_value_of_64_kb_is_not_written() -> None:
    with pytest.raises(Malformed, match="65536 bytes are more"):
        tlv.encode(0x53, bytes(65_536))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("5380", "indefinite"),
        ("53800102030000", "indefinite"),
        ("53810100", "shortest form"),
        ("53817F" + "00" * 127, "shortest form"),
        ("5382007F" + "00" * 127, "shortest form"),
        ("538200FF" + "00" * 255, "shortest form"),
        ("5383000001AA", "3 length bytes"),
        ("538400000001AA", "4 length bytes"),
        ("53FF", "127 length bytes"),
        ("53", "missing"),
        ("5381", "cut short"),
        ("538201", "cut short"),
        ("5305AABB", "5 bytes are announced, 2 are there"),
        ("5F", "cut short"),
        ("5FC1", "cut short"),
        ("5F1E00", "second byte 1E"),
        ("5F8001", "second byte 80"),
        ("5FC181820100", "longer than three"),
        ("0000", "00 is no tag"),
        ("530000", "00 is no tag"),
        ("5301AA53", "missing"),
        ("53005300", "53 stands twice"),
        ("7F49005300" + "7F4900", "7F49 stands twice"),
    ],
)
def test_every_other_form_is_malformed(raw: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        tlv.parse(bytes.fromhex(raw))


def test_repeats_are_read_where_they_are_allowed() -> None:
    assert tlv.parse(bytes.fromhex("8001118001148000"), repeats=True) == [(0x80, b"\x11"), (0x80, b"\x14"), (0x80, b"")]


def test_more_than_the_limit_is_refused_unread() -> None:
    with pytest.raises(Malformed, match="more than 10"):
        tlv.parse(bytes(11), size_max=10)
    with pytest.raises(Malformed, match="more than 65535"):
        tlv.parse(bytes(65_536))


def test_find_takes_the_one_object_with_that_tag() -> None:
    raw = bytes.fromhex("4F02AABB5F2F024000")
    assert tlv.find(raw, 0x5F2F) == b"\x40\x00"
    with pytest.raises(Malformed, match="tag 7C is missing"):
        tlv.find(raw, 0x7C)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("5302AABB", "want tag 7C, got 53"),
        ("7C02AABB00", "1 bytes after tag 7C"),
        ("7C02AA", "2 bytes are announced"),
        ("7C8102AABB", "shortest form"),
        ("7C817F" + "00" * 127, "shortest form"),
        ("7C8180" + "00" * 127, "128 bytes are announced"),
        ("7C8180" + "00" * 129, "1 bytes after"),
        ("7C80", "indefinite"),
        ("7C", "missing"),
        ("", "no data object"),
    ],
)
def test_unwrap_wants_exactly_one_object(raw: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        tlv.unwrap(bytes.fromhex(raw), 0x7C)


def test_split_first_gives_the_rest() -> None:
    assert tlv.split_first(bytes.fromhex("5C035FC1025300")) == (0x5C, bytes.fromhex("5FC102"), b"\x53\x00")
    with pytest.raises(Malformed, match="no data object"):
        tlv.split_first(b"")


def test_a_tree_opens_constructed_objects_only() -> None:
    raw = bytes.fromhex("6109" + "4F01AA" + "7904" + "4F02BBCC")
    assert tlv.parse_tree(raw) == (
        tlv.Node(
            0x61,
            raw[2:],
            (
                tlv.Node(0x4F, b"\xaa"),
                tlv.Node(0x79, bytes.fromhex("4F02BBCC"), (tlv.Node(0x4F, b"\xbb\xcc"),)),
            ),
        ),
    )
    assert [tlv.is_constructed(tag) for tag in (0x61, 0x4F, 0x7F49, 0x5F2F, 0x5FC102)] == [
        True, False, True, False, False,
    ]  # fmt: skip


def nest(depth: int) -> bytes:
    raw = b""
    for _ in range(depth):
        raw = tlv.encode(0x61, raw)
    return raw


def test_deep_nesting_ends_at_the_limit() -> None:
    assert len(tlv.parse_tree(nest(8))) == 1
    with pytest.raises(Malformed, match="nested too deep"):
        tlv.parse_tree(nest(9))
    with pytest.raises(Malformed, match="nested too deep"):
        tlv.parse_tree(nest(10_000))


TAG = st.sampled_from(TAGS)
OBJECTS = st.lists(st.tuples(TAG, st.binary(max_size=300)), max_size=8)


@given(OBJECTS)
def test_objects_come_back(objects: list[tuple[int, bytes]]) -> None:
    assert tlv.parse(tlv.encode_all(objects), repeats=True) == objects


@given(st.binary(max_size=200) | OBJECTS.map(tlv.encode_all))
def test_any_bytes_are_their_own_encoding_or_malformed(raw: bytes) -> None:
    try:
        objects = tlv.parse(raw, repeats=True)
    except Malformed:
        return
    assert tlv.encode_all(objects) == raw


@given(st.binary(max_size=20) | st.binary(max_size=300).map(lambda value: tlv.encode(0x7C, value)))
def test_unwrap_and_parse_agree(raw: bytes) -> None:
    def slow() -> bytes | None:
        try:
            objects = tlv.parse(raw, repeats=True)
        except Malformed:
            return None
        return objects[0][1] if len(objects) == 1 and objects[0][0] == 0x7C else None

    try:
        quick: bytes | None = tlv.unwrap(raw, 0x7C)
    except Malformed:
        quick = None
    assert quick == slow()


@given(OBJECTS.map(tlv.encode_all), st.data())
def test_a_changed_byte_is_read_or_malformed(raw: bytes, data: st.DataObject) -> None:
    if not raw:
        return
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + bytes((data.draw(st.integers(0, 255)),)) + raw[at + 1 :]
    for read in (tlv.parse, tlv.parse_tree):
        with suppress(Malformed):
            read(changed)
