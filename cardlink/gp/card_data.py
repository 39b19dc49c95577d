"""What STORE DATA puts into a security domain: its data objects, as BER-TLV or inside DGIs.

Source: GlobalPlatform Card Specification v2.3.1 ("GPCS") §11.11.2.3; DGIs: EMV Card Personalization Specification §2.1.
The two parts of CPLC have the tags that cards and GlobalPlatformPro use: 9F66 personaliser, 9F67 pre-personaliser.
"""

from enum import IntEnum

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv

DGI_OF_DATA_OBJECTS = 0x0070  # data objects as BER-TLV inside one DGI
LONG_LENGTH = 0xFF


class StoredTag(IntEnum):
    """Data objects that a security domain takes."""

    IIN = 0x42
    CIN = 0x45
    PERSONALISER = 0x9F66
    PRE_PERSONALISER = 0x9F67


LENGTHS = {
    StoredTag.IIN: range(1, 17),
    StoredTag.CIN: range(1, 17),
    StoredTag.PERSONALISER: range(8, 9),
    StoredTag.PRE_PERSONALISER: range(8, 9),
}


def encode_dgi(number: int, value: bytes) -> bytes:
    """Write one DGI: its number on two bytes, its length on one, or FF and two."""
    size = len(value)
    length = bytes((size,)) if size < LONG_LENGTH else bytes((LONG_LENGTH,)) + size.to_bytes(2, "big")
    return number.to_bytes(2, "big") + length + value


def parse_dgis(raw: bytes) -> list[tuple[int, bytes]]:
    """Read DGIs that stand one after the other. Raises Malformed for a length that does not fit."""
    found, at = [], 0
    while at < len(raw):
        head, at = raw[at : at + 3], at + 3
        if len(head) < 3:
            raise Malformed("DGI", "cut short")
        size = head[2]
        if size == LONG_LENGTH:
            size, at = int.from_bytes(raw[at : at + 2], "big"), at + 2
            if size < LONG_LENGTH:
                raise Malformed("DGI", f"length {size} on three bytes")
        if at + size > len(raw):
            raise Malformed("DGI", f"{size} bytes are announced, {max(0, len(raw) - at)} are there")
        found.append((int.from_bytes(head[:2], "big"), raw[at : at + size]))
        at += size
    return found


def parse_card_data(raw: bytes, *, is_dgi: bool) -> dict[int, bytes]:
    """Give the data objects by tag. Raises Malformed when one stands twice or has a length that it cannot have."""
    if is_dgi:
        objects = []
        for number, value in parse_dgis(raw):
            objects += tlv.parse(value) if number == DGI_OF_DATA_OBJECTS else [(number, value)]
    else:
        objects = tlv.parse(raw)
    found = dict(objects)
    if len(found) != len(objects) or not found:
        raise Malformed("card data", "no data object, or one that stands twice")
    for tag, value in objects:
        if tag in LENGTHS and len(value) not in LENGTHS[StoredTag(tag)]:
            raise Malformed("card data", f"{tag:02X} of {len(value)} bytes")
    return found
