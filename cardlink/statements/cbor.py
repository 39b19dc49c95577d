"""Deterministically encoded CBOR (RFC 8949 §4.2.1), and nothing else.

Both ways are ours. cbor2's `canonical=True` sorts keys by length first (the older rule of RFC 7049), its `loads`
accepts long integers, trailing bytes and tags that cost memory; ordering maps for it, or decoding, walking and encoding
again to compare, takes a door five times as long as writing and reading them here. Tests hold both against cbor2.
"""

from typing import Final

from cardlink.errors import Malformed

MAX_DEPTH: Final = 16
INT_LIMIT: Final = 1 << 64  # major types 0 and 1 carry 64 bits (RFC 8949 §3.1)

# Additional information 24 to 27: how many bytes follow, and the least value that needs them (RFC 8949 §3, §4.2.1).
_FOLLOWING: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_LEAST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
_SIMPLE_BYTES: Final = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}
_ONE_BYTE: Final = tuple(bytes((number,)) for number in range(256))
_SIMPLE: Final = {0xF4: False, 0xF5: True, 0xF6: None}
_KEY_TYPES: Final = (0, 1, 3)  # integers and text: no format here has another kind of map key


def decode(raw: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> object:
    """Read one value: int, bytes, str, bool, None, list or dict (keys int or str), and nothing behind it.

    Raises Malformed for anything that the deterministic encoding of the value would not have produced.
    """
    if len(raw) > max_bytes:
        raise Malformed("CBOR", f"too long: {len(raw)} bytes, at most {max_bytes}")
    try:
        value, at = _read(raw, 0, max_depth)
    except IndexError as error:
        raise Malformed("CBOR", "truncated") from error
    except UnicodeDecodeError as error:
        raise Malformed("CBOR", "text is not UTF-8") from error
    if at != len(raw):
        raise Malformed("CBOR", f"{len(raw) - at} trailing bytes")
    return value


def encode(value: object) -> bytes:
    """Write one value deterministically. Raises Malformed for a value outside the subset that `decode` reads."""
    try:
        return _write(value, MAX_DEPTH)
    except UnicodeEncodeError as error:
        raise Malformed("CBOR", "text is not Unicode") from error


def _read(raw: bytes, at: int, depth: int) -> tuple[object, int]:
    """Read the item at `at`; answer it and the place behind it. A read past the end is an IndexError."""
    head = raw[at]
    at += 1
    number = head & 0x1F
    if number > 23:
        if number > 27:
            raise Malformed("CBOR", "indefinite length" if number == 31 else "reserved length form")
        if head >= 0xE0:
            raise Malformed("CBOR", "float or unassigned simple value")
        end = at + _FOLLOWING[number]
        if end > len(raw):
            raise IndexError
        least = _LEAST[number]
        number = int.from_bytes(raw[at:end], "big")
        if number < least:
            raise Malformed("CBOR", "number not in its shortest form")
        at = end
    major = head >> 5
    if major == 0:
        return number, at
    if major == 2 or major == 3:
        end = at + number
        if end > len(raw):
            raise IndexError
        return (raw[at:end] if major == 2 else raw[at:end].decode()), end
    if major == 1:
        return -1 - number, at
    if major == 7:
        if head not in _SIMPLE:
            raise Malformed("CBOR", "float or unassigned simple value")
        return _SIMPLE[head], at
    if major == 6:
        raise Malformed("CBOR", "tag")
    if not depth:
        raise Malformed("CBOR", "nested too deep")
    if number > len(raw) - at:  # each item takes a byte at least, so this count cannot be true
        raise IndexError
    if major == 4:
        items: list[object] = []
        for _ in range(number):
            item, at = _read(raw, at, depth - 1)
            items.append(item)
        return items, at
    pairs: dict[object, object] = {}
    before = b""
    for _ in range(number):
        start = at
        if raw[at] >> 5 not in _KEY_TYPES:
            raise Malformed("CBOR", "map key is neither integer nor text")
        key, at = _read(raw, at, 0)
        encoded = raw[start:at]
        if encoded <= before:
            raise Malformed("CBOR", "repeated key" if encoded == before else "keys out of order")
        before = encoded
        pairs[key], at = _read(raw, at, depth - 1)
    return pairs, at


def _write(value: object, depth: int) -> bytes:
    """Write one value; every map in the order of its encoded keys (RFC 8949 §4.2.1)."""
    kind = type(value)
    if kind is bytes:
        return _head(0x40, len(value)) + value  # type: ignore[arg-type, operator]  # `kind` says it; mypy cannot follow
    if value is None or kind is bool:
        return _SIMPLE_BYTES[value]  # type: ignore[index]  # as above
    if isinstance(value, int):
        return encode_int(value)
    if isinstance(value, str):
        raw = value.encode()
        return _head(0x60, len(raw)) + raw
    if isinstance(value, bytes):
        return _head(0x40, len(value)) + value
    if not depth:
        raise Malformed("CBOR", "nested too deep")
    if isinstance(value, dict):
        pairs = [(_key(key), _write(item, depth - 1)) for key, item in value.items()]
        pairs.sort()
        return _head(0xA0, len(pairs)) + b"".join([part for pair in pairs for part in pair])
    if isinstance(value, list | tuple):
        return _head(0x80, len(value)) + b"".join([_write(item, depth - 1) for item in value])
    raise Malformed("CBOR", f"no encoding for {kind.__name__}")


def _key(key: object) -> bytes:
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise Malformed("CBOR", "map key is neither integer nor text")
    return _write(key, 0)


def encode_int(number: int) -> bytes:
    """Write one integer, for who writes a fixed map by hand. Raises Malformed beyond 64 bits."""
    if 0 <= number < 24:
        return _ONE_BYTE[number]
    if 0 <= number < INT_LIMIT:
        return _head(0x00, number)
    if -INT_LIMIT <= number < 0:
        return _head(0x20, -1 - number)
    raise Malformed("CBOR", "integer beyond 64 bits")


def _head(major: int, number: int) -> bytes:
    """Initial byte and number in the shortest form (RFC 8949 §3, §4.2.1)."""
    if number < 24:
        return _ONE_BYTE[major | number]
    if number < 1 << 8:
        return bytes((major | 24, number))
    if number < 1 << 16:
        return _ONE_BYTE[major | 25] + number.to_bytes(2, "big")
    if number < 1 << 32:
        return _ONE_BYTE[major | 26] + number.to_bytes(4, "big")
    return _ONE_BYTE[major | 27] + number.to_bytes(8, "big")
