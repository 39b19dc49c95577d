"""The security object: which containers are hashed and the hashes that the issuer signs.

Sources: SP 800-73pt1-5 §3.1.7 and Appendix A; the LDS security object of ICAO Doc 9303-10 §4.6.2 (its content type is
1.3.27.1.1.1). Hashes are SHA-256 over a container's content, FE 00 included, without the 53 around it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.fields import decode_fields, encode_fields
from cardlink.piv.tables import SECURITY_OBJECT

GROUPS_MAX = 16
_SHA256_OID = bytes.fromhex("608648016503040201")
_ALGORITHM = tlv.encode(0x30, tlv.encode(0x06, _SHA256_OID))
# RFC 5754 §2: written without parameters, read with or without NULL
_ALGORITHM_WITH_NULL = tlv.encode(0x30, tlv.encode(0x06, _SHA256_OID) + b"\x05\x00")


@dataclass(frozen=True, slots=True)
class SecurityObject:
    """`groups` maps data group numbers (1 to 16) to ContainerIDs; `signature` is the CMS that carries the hashes."""

    groups: Mapping[int, int]
    signature: bytes = field(repr=False)


def encode_security_object(groups: Mapping[int, int], signature: bytes) -> bytes:
    """Write BA BB FE; in BA three bytes a group, number and ContainerID, by rising number."""
    _check_groups(groups)
    mapping = b"".join(bytes((number,)) + groups[number].to_bytes(2, "big") for number in sorted(groups))
    return encode_fields([(0xBA, mapping), (0xBB, signature)])


def decode_security_object(content: bytes) -> SecurityObject:
    """Read a security object. Raises Malformed for a number or a container that stands twice."""
    fields = decode_fields(SECURITY_OBJECT, content, SECURITY_OBJECT.inner)
    mapping = fields[0xBA]
    if len(mapping) % 3:
        raise Malformed(SECURITY_OBJECT.name, f"a mapping of {len(mapping)} bytes")
    rows = [(mapping[at], int.from_bytes(mapping[at + 1 : at + 3], "big")) for at in range(0, len(mapping), 3)]
    groups = dict(rows)
    if len(groups) != len(rows) or len(set(groups.values())) != len(rows):
        raise Malformed(SECURITY_OBJECT.name, "a group or a container stands twice")
    _check_groups(groups)
    return SecurityObject(groups, fields[0xBB])


def _check_groups(groups: Mapping[int, int]) -> None:
    if not groups or not all(1 <= number <= GROUPS_MAX for number in groups):
        raise Malformed(SECURITY_OBJECT.name, "data groups are numbered 1 to 16")
    if not all(0 <= container <= 0xFFFF for container in groups.values()):
        raise Malformed(SECURITY_OBJECT.name, "a ContainerID has two bytes")


def encode_lds(contents: Mapping[int, bytes]) -> bytes:
    """Write the LDSSecurityObject (DER) over the contents of the groups, by rising number."""
    if not contents or not all(1 <= number <= GROUPS_MAX for number in contents):
        raise Malformed("LDS security object", "data groups are numbered 1 to 16")
    hashes = b"".join(
        tlv.encode(0x30, tlv.encode(0x02, bytes((number,))) + tlv.encode(0x04, sha256(contents[number]).digest()))
        for number in sorted(contents)
    )
    return tlv.encode(0x30, tlv.encode(0x02, b"\x00") + _ALGORITHM + tlv.encode(0x30, hashes))


def decode_lds(raw: bytes) -> dict[int, bytes]:
    """Read an LDSSecurityObject into the SHA-256 hash of each group. Raises Malformed for another version or hash."""
    parts = tlv.parse(tlv.unwrap(raw, 0x30), repeats=True)
    if [tag for tag, _ in parts] != [0x02, 0x30, 0x30] or parts[0][1] != b"\x00":
        raise Malformed("LDS security object", "want version 0, an algorithm and a list of hashes")
    if tlv.encode(0x30, parts[1][1]) not in (_ALGORITHM, _ALGORITHM_WITH_NULL):
        raise Malformed("LDS security object", "the hash is not SHA-256")
    hashes: dict[int, bytes] = {}
    for tag, value in tlv.parse(parts[2][1], repeats=True):
        pair = tlv.parse(value) if tag == 0x30 else []
        if [one for one, _ in pair] != [0x02, 0x04] or len(pair[0][1]) != 1 or len(pair[1][1]) != 32:
            raise Malformed("LDS security object", "want a group number and a hash of 32 bytes")
        number = pair[0][1][0]
        if not 1 <= number <= GROUPS_MAX or number in hashes:
            raise Malformed("LDS security object", f"data group {number}")
        hashes[number] = pair[1][1]
    return hashes
