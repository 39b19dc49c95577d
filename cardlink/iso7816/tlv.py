"""BER-TLV data objects in the one form that we write and accept: definite, shortest lengths, nothing left over.

Source: ISO/IEC 7816-4 §5.2.2 (tags of at most three bytes), the length rules of DER (ISO/IEC 8825-1 §10.1).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cardlink.errors import Malformed

SIZE_MAX = 65_535
DEPTH_MAX = 8


def encode_tag(tag: int) -> bytes:
    """Write a tag that is given as the number its bytes make: 0x7C, 0x7F49, 0x5FC102."""
    size = (tag.bit_length() + 7) // 8
    if tag <= 0 or size > 3:
        raise Malformed("TLV tag", f"{tag:X} has no encoding of 1 to 3 bytes")
    raw = tag.to_bytes(size, "big")
    if _read_tag(raw, 0)[1] != size:
        raise Malformed("TLV tag", f"{tag:X} is more than one tag")
    return raw


def encode_length(size: int) -> bytes:
    """Write a length in its shortest form."""
    if size < 0x80:
        return bytes((size,))
    if size < 0x100:
        return bytes((0x81, size))
    if size <= SIZE_MAX:
        return bytes((0x82, size >> 8, size & 0xFF))
    raise Malformed("TLV length", f"{size} bytes are more than {SIZE_MAX}")


def encode(tag: int, value: bytes) -> bytes:
    """Write one data object."""
    size = len(value)
    # one-byte tags and short values are nearly all of the traffic
    if 0 < tag < 0x100 and tag & 0x1F != 0x1F and size < 0x80:
        return bytes((tag, size)) + value
    return encode_tag(tag) + encode_length(size) + value


def encode_all(objects: Iterable[tuple[int, bytes]]) -> bytes:
    """Write data objects one after the other, in the order given."""
    return b"".join(encode(tag, value) for tag, value in objects)


def _read_tag(raw: bytes, at: int) -> tuple[int, int]:
    """The tag at `at` and the place after it."""
    tag = raw[at]
    if tag == 0:
        raise Malformed("TLV tag", "00 is no tag")
    if tag & 0x1F != 0x1F:
        return tag, at + 1
    end = len(raw)
    for place in range(at + 1, at + 3):
        if place >= end:
            raise Malformed("TLV tag", "cut short")
        byte = raw[place]
        if place == at + 1 and (byte < 0x1F or byte == 0x80):
            raise Malformed("TLV tag", f"second byte {byte:02X}: not the shortest form")
        tag = tag << 8 | byte
        if not byte & 0x80:
            return tag, place + 1
    raise Malformed("TLV tag", "longer than three bytes")


def _read_length(raw: bytes, at: int) -> tuple[int, int]:
    """The length at `at` and the place after it; the value must end within `raw`."""
    end = len(raw)
    if at >= end:
        raise Malformed("TLV length", "missing")
    size = raw[at]
    at += 1
    if size >= 0x80:
        count = size & 0x7F
        if count == 0:
            raise Malformed("TLV length", "indefinite")
        if count > 2:
            raise Malformed("TLV length", f"{count} length bytes are more than 2")
        if at + count > end:
            raise Malformed("TLV length", "cut short")
        size = int.from_bytes(raw[at : at + count], "big")
        if size < (0x80 if count == 1 else 0x100):
            raise Malformed("TLV length", f"{size} is not in its shortest form")
        at += count
    if at + size > end:
        raise Malformed("TLV value", f"{size} bytes are announced, {end - at} are there")
    return size, at


def split_first(raw: bytes) -> tuple[int, bytes, bytes]:
    """The first data object's tag and value, and the bytes after it."""
    if not raw:
        raise Malformed("TLV", "no data object")
    tag, at = _read_tag(raw, 0)
    size, at = _read_length(raw, at)
    return tag, raw[at : at + size], raw[at + size :]


def parse(raw: bytes, *, repeats: bool = False, size_max: int = SIZE_MAX) -> list[tuple[int, bytes]]:
    """Read data objects standing one after the other, one level deep, up to the last byte.

    A tag that stands twice is refused unless `repeats`; more than `size_max` bytes are refused unread.
    """
    end = len(raw)
    if end > size_max:
        raise Malformed("TLV", f"{end} bytes are more than {size_max}")
    objects: list[tuple[int, bytes]] = []
    at = 0
    while at < end:
        tag = raw[at]
        if tag & 0x1F != 0x1F and tag:
            at += 1
        else:
            tag, at = _read_tag(raw, at)
        size, at = _read_length(raw, at)
        objects.append((tag, raw[at : at + size]))
        at += size
    if not repeats and len({tag for tag, _ in objects}) != len(objects):
        tags = [tag for tag, _ in objects]
        raise Malformed("TLV", f"tag {next(tag for tag in tags if tags.count(tag) > 1):X} stands twice")
    return objects


def find(raw: bytes, tag: int) -> bytes:
    """The value of the one data object with that tag among those of `raw`. Raises Malformed when it is missing."""
    for found, value in parse(raw):
        if found == tag:
            return value
    raise Malformed("TLV", f"tag {tag:X} is missing")


def unwrap(raw: bytes, tag: int) -> bytes:
    """The value of `raw`, which must be exactly one data object with that tag: 53 {...}, 7C {...}.

    The hot path of a door: lengths below 256 under a one-byte tag are read without a loop.
    """
    size = len(raw)
    if size >= 2 and raw[0] == tag and tag & 0x1F != 0x1F:
        short = raw[1]
        if short < 0x80:
            if size == short + 2:
                return raw[2:]
        elif short == 0x81 and size > 0x82 and size == raw[2] + 3:
            return raw[3:]
    found, value, rest = split_first(raw)
    if found != tag:
        raise Malformed("TLV", f"want tag {tag:X}, got {found:X}")
    if rest:
        raise Malformed("TLV", f"{len(rest)} bytes after tag {tag:X}")
    return value


def is_constructed(tag: int) -> bool:
    """Does the tag say that its value consists of data objects."""
    first = tag if tag < 0x100 else tag >> (8 if tag < 0x10000 else 16)
    return bool(first & 0x20)


@dataclass(frozen=True, slots=True)
class Node:
    """A data object with the objects inside it; `children` is empty for a primitive one."""

    tag: int
    value: bytes
    children: tuple["Node", ...] = ()


def parse_tree(raw: bytes, *, depth_max: int = DEPTH_MAX, size_max: int = SIZE_MAX) -> tuple[Node, ...]:
    """Read data objects and, inside constructed ones, theirs. Nesting beyond `depth_max` is refused."""
    if depth_max < 1:
        raise Malformed("TLV", "nested too deep")
    return tuple(
        Node(tag, value, parse_tree(value, depth_max=depth_max - 1) if is_constructed(tag) and value else ())
        for tag, value in parse(raw, repeats=True, size_max=size_max)
    )
