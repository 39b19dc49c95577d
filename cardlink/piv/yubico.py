"""Yubico's extensions to PIV, without which ykman, yubikit and yubico-piv-tool do not manage a card.

Source: Yubico's PIV extensions as published with the YubiKey's technical manual, and as yubikit 5 speaks them.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import SHORT_NE_MAX, Command
from cardlink.iso7816.sw import SW
from cardlink.piv.commands import require
from cardlink.piv.tables import (
    BLOCK_CIPHER_KEY_BYTES,
    EC_COORDINATE_BYTES,
    OCTET_KEY_BYTES,
    RSA_BITS,
    Algorithm,
    KeyRef,
    YubicoIns,
)


class PinPolicy(IntEnum):
    """When a key asks for the PIN (tag AA)."""

    DEFAULT = 0
    NEVER = 1
    ONCE = 2
    ALWAYS = 3


class TouchPolicy(IntEnum):
    """When a key asks for a touch (tag AB)."""

    DEFAULT = 0
    NEVER = 1
    ALWAYS = 2
    CACHED = 3


class Origin(IntEnum):
    """Where a private key was made."""

    GENERATED = 1
    IMPORTED = 2


def _bare(ins: YubicoIns, p1: int = 0, p2: int = 0) -> Command:
    return Command(0x00, ins, p1, p2, b"", SHORT_NE_MAX)


def get_version() -> Command:
    """GET VERSION: three bytes, major, minor, patch."""
    return _bare(YubicoIns.GET_VERSION)


def decode_version(answer: bytes) -> tuple[int, int, int]:
    """Read the answer to GET VERSION."""
    if len(answer) != 3:
        raise Malformed("version", f"want 3 bytes, got {len(answer)}")
    return answer[0], answer[1], answer[2]


def get_serial() -> Command:
    """GET SERIAL: four bytes."""
    return _bare(YubicoIns.GET_SERIAL)


def decode_serial(answer: bytes) -> int:
    """Read the answer to GET SERIAL."""
    if len(answer) != 4:
        raise Malformed("serial number", f"want 4 bytes, got {len(answer)}")
    return int.from_bytes(answer, "big")


def reset() -> Command:
    """RESET the application to its factory state; the card does so only with PIN and PUK both blocked."""
    return Command(0x00, YubicoIns.RESET, 0, 0)


def attest(ref: int) -> Command:
    """ATTEST: the certificate in which F9 says that the key `ref` was made on this card. The answer is bare DER."""
    return _bare(YubicoIns.ATTEST, ref)


def parse_bare(command: Command, name: str) -> None:
    """Check a command that carries nothing: GET VERSION, GET SERIAL, RESET."""
    require(command.p1 == 0 and command.p2 == 0, name, SW.INCORRECT_P1P2)
    require(not command.data, name, SW.WRONG_LENGTH)


def parse_attest(command: Command) -> int:
    """The key reference to attest."""
    require(command.p2 == 0, "ATTEST", SW.INCORRECT_P1P2)
    require(not command.data, "ATTEST", SW.WRONG_LENGTH)
    return command.p1


def set_pin_retries(pin_tries: int, puk_tries: int) -> Command:
    """SET PIN RETRIES: how many tries PIN and PUK have from now on; both get their factory values again."""
    return Command(0x00, YubicoIns.SET_PIN_RETRIES, pin_tries, puk_tries)


def parse_set_pin_retries(command: Command) -> tuple[int, int]:
    """Tries for PIN and PUK; neither may be 0."""
    require(bool(command.p1 and command.p2), "SET PIN RETRIES", SW.INCORRECT_P1P2)
    require(not command.data, "SET PIN RETRIES", SW.WRONG_LENGTH)
    return command.p1, command.p2


NO_KEY = 0xFF  # MOVE KEY to here deletes


def move_key(source: int, target: int = NO_KEY) -> Command:
    """MOVE KEY; without a target the key is deleted."""
    return Command(0x00, YubicoIns.MOVE_KEY, target, source)


def parse_move_key(command: Command) -> tuple[int, int]:
    """Source and target; the target FF deletes."""
    require(not command.data, "MOVE KEY", SW.WRONG_LENGTH)
    require(command.p1 != command.p2, "MOVE KEY", SW.INCORRECT_P1P2)
    return command.p2, command.p1


@dataclass(frozen=True, slots=True)
class ManagementKey:
    """A parsed SET MANAGEMENT KEY: the new value of 9B."""

    algorithm: int
    key: bytes = field(repr=False)
    touch: bool = False


def set_management_key(algorithm: int, key: bytes, *, touch: bool = False) -> Command:
    """SET MANAGEMENT KEY: a new 9B of that algorithm."""
    data = bytes((algorithm,)) + tlv.encode(KeyRef.ADMIN, key)
    return Command(0x00, YubicoIns.SET_MANAGEMENT_KEY, 0xFF, 0xFE if touch else 0xFF, data)


def parse_set_management_key(command: Command) -> ManagementKey:
    """Read SET MANAGEMENT KEY; the key must have the length of its algorithm."""
    name = "SET MANAGEMENT KEY"
    require(command.p1 == 0xFF and command.p2 in (0xFE, 0xFF), name, SW.INCORRECT_P1P2)
    require(len(command.data) > 1, name, SW.WRONG_LENGTH)
    algorithm = command.data[0]
    try:
        key = tlv.unwrap(command.data[1:], KeyRef.ADMIN)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    sizes: dict[int, int] = {int(alg): size for alg, size in BLOCK_CIPHER_KEY_BYTES.items()}
    require(sizes.get(algorithm) == len(key), name, SW.INCORRECT_DATA)
    return ManagementKey(algorithm, key, command.p2 == 0xFE)


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """A parsed IMPORT KEY: five RSA factors (p, q, dp, dq, 1/q) or one scalar."""

    algorithm: int
    ref: int
    parts: tuple[bytes, ...] = field(repr=False)
    pin_policy: int = PinPolicy.DEFAULT
    touch_policy: int = TouchPolicy.DEFAULT


_PART_BYTES = EC_COORDINATE_BYTES | OCTET_KEY_BYTES
_SCALAR_TAGS = {Algorithm.P_256: 0x06, Algorithm.P_384: 0x06, Algorithm.ED25519: 0x07, Algorithm.X25519: 0x08}


def _part_layout(algorithm: int) -> tuple[tuple[int, ...], int]:
    """The tags of a private key's parts and the bytes of each."""
    try:
        alg = Algorithm(algorithm)
    except ValueError as error:
        raise Malformed("private key", f"algorithm {algorithm:02X}") from error
    if alg in RSA_BITS:
        return (1, 2, 3, 4, 5), RSA_BITS[alg] // 16
    if alg in _SCALAR_TAGS:
        return (_SCALAR_TAGS[alg],), _PART_BYTES[alg]
    raise Malformed("private key", f"algorithm {algorithm:02X}")


def import_key(key: ImportedKey) -> Command:
    """IMPORT KEY; RSA keys go as a chain."""
    tags, size = _part_layout(key.algorithm)
    if len(key.parts) != len(tags) or any(len(part) != size for part in key.parts):
        raise Malformed("private key", f"want {len(tags)} parts of {size} bytes")
    data = tlv.encode_all(zip(tags, key.parts, strict=True))
    if key.pin_policy:
        data += bytes((0xAA, 1, key.pin_policy))
    if key.touch_policy:
        data += bytes((0xAB, 1, key.touch_policy))
    return Command(0x00, YubicoIns.IMPORT_KEY, key.algorithm, key.ref, data)


def parse_import_key(command: Command) -> ImportedKey:
    """Read IMPORT KEY. A number shorter than its field has lost leading zeros and gets them back, as the tools expect.

    The keys of Ed25519 and X25519 are no numbers but 32 bytes.
    """
    name = "IMPORT KEY"
    try:
        tags, size = _part_layout(command.p1)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_P1P2) from error
    try:
        fields = dict(tlv.parse(command.data))
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    policies = [fields.pop(tag, b"\x00") for tag in (0xAA, 0xAB)]
    require(set(fields) == set(tags), name, SW.INCORRECT_DATA)
    least = size if command.p1 in OCTET_KEY_BYTES else 1
    require(all(least <= len(fields[tag]) <= size for tag in tags), name, SW.INCORRECT_DATA)
    require(all(len(policy) == 1 for policy in policies), name, SW.INCORRECT_DATA)
    parts = tuple(fields[tag].rjust(size, b"\x00") for tag in tags)
    return ImportedKey(command.p1, command.p2, parts, policies[0][0], policies[1][0])


@dataclass(frozen=True, slots=True)
class KeyMetadata:
    """What GET METADATA says of a key pair; `public_key` is what stands inside 7F49."""

    algorithm: int
    pin_policy: int
    touch_policy: int
    origin: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class ReferenceMetadata:
    """What GET METADATA says of PIN or PUK."""

    is_default: bool
    tries_in_all: int
    tries_left: int


@dataclass(frozen=True, slots=True)
class ManagementMetadata:
    """What GET METADATA says of 9B."""

    algorithm: int
    touch_policy: int
    is_default: bool


Metadata = KeyMetadata | ReferenceMetadata | ManagementMetadata


def get_metadata(ref: int) -> Command:
    """GET METADATA of a key or reference; the card answers 6A88 where there is none."""
    return _bare(YubicoIns.GET_METADATA, 0, ref)


def parse_get_metadata(command: Command) -> int:
    """The key reference asked for."""
    require(command.p1 == 0, "GET METADATA", SW.INCORRECT_P1P2)
    require(not command.data, "GET METADATA", SW.WRONG_LENGTH)
    return command.p2


def encode_metadata(metadata: Metadata) -> bytes:
    """Write the answer to GET METADATA."""
    if isinstance(metadata, KeyMetadata):
        return tlv.encode_all(
            [
                (0x01, bytes((metadata.algorithm,))),
                (0x02, bytes((metadata.pin_policy, metadata.touch_policy))),
                (0x03, bytes((metadata.origin,))),
                (0x04, metadata.public_key),
            ]
        )
    if isinstance(metadata, ReferenceMetadata):
        return tlv.encode_all(
            [
                (0x01, b"\xff"),
                (0x05, bytes((metadata.is_default,))),
                (0x06, bytes((metadata.tries_in_all, metadata.tries_left))),
            ]
        )
    return tlv.encode_all(
        [
            (0x01, bytes((metadata.algorithm,))),
            (0x02, bytes((0, metadata.touch_policy))),
            (0x05, bytes((metadata.is_default,))),
        ]
    )


def decode_metadata(answer: bytes) -> Metadata:
    """Read the answer to GET METADATA; its fields say which of the three kinds it is. Raises Malformed.

    The first cards with this command name no algorithm for 9B: they had but TDES.
    """
    fields = dict(tlv.parse(answer))
    sizes = {0x01: 1, 0x02: 2, 0x03: 1, 0x05: 1, 0x06: 2}
    if any(len(fields[tag]) != size for tag, size in sizes.items() if tag in fields):
        raise Malformed("metadata", "a field has another length")
    if {0x01, 0x02, 0x03, 0x04} <= fields.keys():
        return KeyMetadata(fields[1][0], fields[2][0], fields[2][1], fields[3][0], fields[4])
    if {0x05, 0x06} <= fields.keys():
        return ReferenceMetadata(fields[5] != b"\x00", fields[6][0], fields[6][1])
    if {0x02, 0x05} <= fields.keys():
        algorithm = fields[1][0] if 0x01 in fields else int(Algorithm.TDES_3KEY)
        return ManagementMetadata(algorithm, fields[2][1], fields[5] != b"\x00")
    raise Malformed("metadata", f"tags {[f'{tag:X}' for tag in fields]}")
