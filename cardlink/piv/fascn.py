"""The FASC-N: 40 characters of 5 bits, 25 bytes.

Source: Technical Implementation Guidance: Smart Card Enabled Physical Access Control Systems, v2.3, §6 and
Table 6-1. Each character is 4 bits, the lowest first, and an odd parity bit.
"""

from dataclasses import dataclass

from cardlink.errors import Malformed

BYTES = 25
_START, _SEPARATOR, _END = 0xB, 0xD, 0xF
# how many digits stand between the marks; None is a field separator
_LAYOUT: tuple[tuple[str, int] | None, ...] = (
    ("agency", 4),
    None,
    ("system", 4),
    None,
    ("credential", 6),
    None,
    ("series", 1),
    None,
    ("issue", 1),
    None,
    ("person", 10),
    ("category", 1),
    ("organization", 4),
    ("association", 1),
)


@dataclass(frozen=True, slots=True)
class FascN:
    """The fields of a FASC-N as numbers; each has the count of digits that the layout gives it."""

    agency: int
    system: int
    credential: int
    series: int = 0
    issue: int = 0
    person: int = 0
    category: int = 0
    organization: int = 0
    association: int = 0


# We are no US agency: the card's GUID is the identity, and this number says so to whoever looks for one.
NON_FEDERAL = FascN(agency=9999, system=9999, credential=999999)


def _symbol(nibble: int) -> int:
    """Five bits in the order sent: the nibble's lowest bit first, then odd parity."""
    bits = (nibble & 1) << 4 | (nibble & 2) << 2 | (nibble & 4) | (nibble & 8) >> 2
    return bits | (bits.bit_count() & 1 ^ 1)


_SYMBOLS = tuple(_symbol(nibble) for nibble in range(16))
_NIBBLES = {symbol: nibble for nibble, symbol in enumerate(_SYMBOLS)}


def encode_fascn(number: FascN) -> bytes:
    """Write the 25 bytes. Raises Malformed when a field has more digits than its place."""
    nibbles = [_START]
    for place in _LAYOUT:
        if place is None:
            nibbles.append(_SEPARATOR)
            continue
        name, digits = place
        value = getattr(number, name)
        if not 0 <= value < 10**digits:
            raise Malformed("FASC-N", f"{name} {value} has more than {digits} digits")
        nibbles += [int(digit) for digit in f"{value:0{digits}d}"]
    nibbles.append(_END)
    check = 0
    for nibble in nibbles:
        check ^= nibble
    bits = 0
    for nibble in (*nibbles, check):
        bits = bits << 5 | _SYMBOLS[nibble]
    return bits.to_bytes(BYTES, "big")


def decode_fascn(raw: bytes) -> FascN:
    """Read the 25 bytes. Raises Malformed for wrong length, parity, marks, digits or check character."""
    if len(raw) != BYTES:
        raise Malformed("FASC-N", f"want {BYTES} bytes, got {len(raw)}")
    bits = int.from_bytes(raw, "big")
    nibbles: list[int] = []
    for shift in range(195, -1, -5):
        symbol = bits >> shift & 0x1F
        if symbol not in _NIBBLES:
            raise Malformed("FASC-N", f"parity of character {len(nibbles)}")
        nibbles.append(_NIBBLES[symbol])
    check = 0
    for nibble in nibbles:
        check ^= nibble
    if check:
        raise Malformed("FASC-N", "check character")
    if nibbles[0] != _START or nibbles[38] != _END:
        raise Malformed("FASC-N", "no start or end mark")
    fields: dict[str, int] = {}
    at = 1
    for place in _LAYOUT:
        if place is None:
            if nibbles[at] != _SEPARATOR:
                raise Malformed("FASC-N", f"character {at} is no field separator")
            at += 1
            continue
        name, digits = place
        text = nibbles[at : at + digits]
        if max(text) > 9:
            raise Malformed("FASC-N", f"{name} is not decimal")
        fields[name] = int("".join(map(str, text)))
        at += digits
    return FascN(**fields)
