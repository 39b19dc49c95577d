"""DER of what changes from card to card, written directly: names, integers, object identifiers, ECDSA signatures.

What is the same for every certificate of a profile is built by asn1crypto, once.
Source: ISO/IEC 8825-1 (X.690) §8, §10, §11.
"""

from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache

from asn1crypto import core

from cardlink.iso7816 import tlv

SCALAR_BYTES = 32


class Tag(IntEnum):
    """Identifier octets (X.690 §8.1.2): universal types, and context tags as they occur in what we write."""

    INTEGER = 0x02
    BIT_STRING = 0x03
    OCTET_STRING = 0x04
    UTF8_STRING = 0x0C
    PRINTABLE_STRING = 0x13
    UTC_TIME = 0x17
    GENERALIZED_TIME = 0x18
    SEQUENCE = 0x30
    SET = 0x31
    ENUMERATED = 0x0A
    PRIMITIVE_0 = 0x80
    PRIMITIVE_2 = 0x82
    PRIMITIVE_6 = 0x86
    CONSTRUCTED_0 = 0xA0
    CONSTRUCTED_1 = 0xA1
    CONSTRUCTED_2 = 0xA2
    CONSTRUCTED_3 = 0xA3


def sequence(*parts: bytes) -> bytes:
    """SEQUENCE of parts that are DER already."""
    return tlv.encode(Tag.SEQUENCE, b"".join(parts))


def long_sequence(*parts: bytes) -> bytes:
    """SEQUENCE of any length: a list of revoked certificates is longer than anything on a card (X.690 §8.1.3)."""
    size = sum(map(len, parts))
    if size < 0x80:
        return b"".join((bytes((Tag.SEQUENCE, size)), *parts))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"".join((bytes((Tag.SEQUENCE, 0x80 | len(octets))), octets, *parts))


def set_of(*parts: bytes) -> bytes:
    """SET OF parts that are DER already, in their order (X.690 §11.6)."""
    return tlv.encode(Tag.SET, b"".join(sorted(parts)))


def integer(value: int) -> bytes:
    """INTEGER, not negative (X.690 §8.3)."""
    return tlv.encode(Tag.INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def enumerated(value: int) -> bytes:
    """ENUMERATED, 0 to 127 (X.690 §8.4)."""
    return tlv.encode(Tag.ENUMERATED, bytes((value,)))


def time(moment: datetime) -> bytes:
    """Time of RFC 5280 §4.1.2.5: UTCTime until 2049, GeneralizedTime from 2050, whole seconds."""
    exact = moment.astimezone(UTC)
    if exact.year < 2050:
        return tlv.encode(Tag.UTC_TIME, f"{exact:%y%m%d%H%M%SZ}".encode())
    return generalized_time(exact)


def generalized_time(moment: datetime) -> bytes:
    """GeneralizedTime, whole seconds (RFC 5280 §4.1.2.5.2)."""
    return tlv.encode(Tag.GENERALIZED_TIME, f"{moment.astimezone(UTC):%Y%m%d%H%M%SZ}".encode())


def octet_string(value: bytes) -> bytes:
    """OCTET STRING."""
    return tlv.encode(Tag.OCTET_STRING, value)


def bit_string(value: bytes) -> bytes:
    """BIT STRING of whole bytes."""
    return tlv.encode(Tag.BIT_STRING, b"\0" + value)


@lru_cache(maxsize=64)
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER; those we write are few."""
    return bytes(core.ObjectIdentifier(dotted).dump())


def signed(body: bytes, signature: bytes) -> bytes:
    """A body with its ES256 signature r ‖ s: the outer form of certificates and lists (RFC 5280 §4.1.1, §5.1.1)."""
    return long_sequence(body, ECDSA_SHA256, bit_string(ecdsa_signature(signature)))


def ecdsa_signature(raw: bytes) -> bytes:
    """ECDSA-Sig-Value from r ‖ s of 32 bytes each (RFC 3279 §2.2.3)."""
    if len(raw) != 2 * SCALAR_BYTES:
        raise ValueError(f"an ES256 signature has {2 * SCALAR_BYTES} bytes, got {len(raw)}")
    r, s = raw[:SCALAR_BYTES], raw[SCALAR_BYTES:]
    return sequence(integer(int.from_bytes(r, "big")), integer(int.from_bytes(s, "big")))


NULL = bytes((0x05, 0x00))
TRUE = bytes((0x01, 0x01, 0xFF))  # BOOLEAN (X.690 §11.1)
ECDSA_SHA256 = sequence(tlv.encode(0x06, bytes.fromhex("2A8648CE3D040302")))  # RFC 5758 §3.2: no parameters
SHA256 = sequence(tlv.encode(0x06, bytes.fromhex("608648016503040201")), NULL)  # RFC 5754 §2, with NULL
EC_P256 = sequence(  # RFC 5480 §2.1.1: id-ecPublicKey, secp256r1
    tlv.encode(0x06, bytes.fromhex("2A8648CE3D0201")), tlv.encode(0x06, bytes.fromhex("2A8648CE3D030107"))
)
