"""PKOC, the Public Key Open Credential of the PSIA: the messages of its NFC card, protocol version 1.0.

Source: PKOC NFC Card Specification 1.1 (PSIA, 2023-12-01) as its implementations show it; which ones, and what could
not be checked, stands in docs/adr/0007. `parse_*` is the card's side and raises CardStatus with the specification's
status words; the other side raises Malformed.
"""

from typing import Final, NamedTuple

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import SHORT_NE_MAX, Command, Ins
from cardlink.iso7816.sw import SW
from cardlink.piv.tables import Algorithm

PKOC_AID: Final = bytes.fromhex("A000000898000001")
INS_AUTHENTICATE: Final = 0x80
VERSION: Final = b"\x01\x00"
TRANSACTION, READER, POINT, VERSIONS, SIGNATURE = 0x4C, 0x4D, 0x5A, 0x5C, 0x9E
TRANSACTION_BYTES_MIN: Final = 16
TRANSACTION_BYTES_MAX: Final = 65
READER_BYTES: Final = 32
"""16 of the site's key, 16 of the reader's place."""
POINT_BYTES: Final = 65
SIGNATURE_BYTES: Final = 64
CREDENTIAL_BITS: Final = (256, 75, 64)

_NAME: Final = "AUTHENTICATE"
_GENERATE: Final = "GENERATE ASYMMETRIC KEY PAIR"
_CLA: Final = 0x80
_P1: Final = 0x00
_P2: Final = 0x01
_DATA_BYTES_MIN: Final = 2 + len(VERSION) + 2 + TRANSACTION_BYTES_MIN + 2 + READER_BYTES
_LENGTH_MAX: Final = 0x7F
"""One byte of length: nothing in the specification needs more, and 80 and above would mean two things."""
_KEY_REQUEST: Final = tlv.encode(0xAC, tlv.encode(0x4F, PKOC_AID) + tlv.encode(0x80, bytes((Algorithm.P_256,))))

SELECT_ANSWER: Final = bytes((VERSIONS, len(VERSION))) + VERSION


class PkocRequest(NamedTuple):
    """What the reader sends: the value that the card signs, and who asks, which the card does not sign."""

    transaction: bytes
    reader: bytes


class PkocAnswer(NamedTuple):
    """The card's public key, 04‖X‖Y, and its signature r‖s: ECDSA P-256 with SHA-256 over the transaction alone."""

    point: bytes
    signature: bytes


def decode_select_answer(raw: bytes) -> tuple[bytes, ...]:
    """The protocol versions that a card offers, two bytes each, the newest first. Raises Malformed."""
    versions = _find(_objects(raw), VERSIONS)
    if not versions or len(versions) % len(VERSION):
        raise Malformed("PKOC versions", f"{len(versions)} bytes")
    return tuple(versions[at : at + len(VERSION)] for at in range(0, len(versions), len(VERSION)))


def pkoc_authenticate(request: PkocRequest) -> Command:
    """Ask the card for its key and signature. Raises Malformed for other lengths than the specification's."""
    transaction, reader = request
    if not TRANSACTION_BYTES_MIN <= len(transaction) <= TRANSACTION_BYTES_MAX or len(reader) != READER_BYTES:
        raise Malformed(_NAME, f"transaction of {len(transaction)} bytes, reader of {len(reader)}")
    data = SELECT_ANSWER + _object(TRANSACTION, transaction) + _object(READER, reader)
    return Command(_CLA, INS_AUTHENTICATE, _P1, _P2, data, SHORT_NE_MAX)


def parse_pkoc_authenticate(command: Command) -> PkocRequest:
    """What the reader asked; the objects in any order, with others between them that say nothing to this version.

    Raises CardStatus: 6B00 for P1 P2, 6700 for a length, 6985 for another version, 6F00 for an object that is missing.
    """
    if (command.p1, command.p2) != (_P1, _P2):
        raise CardStatus(_NAME, SW.WRONG_P1P2)
    if len(command.data) < _DATA_BYTES_MIN:
        raise CardStatus(_NAME, SW.WRONG_LENGTH)
    try:
        objects = _objects(command.data)
    except Malformed as error:
        raise CardStatus(_NAME, SW.WRONG_LENGTH) from error
    try:
        version, transaction, reader = (_find(objects, tag) for tag in (VERSIONS, TRANSACTION, READER))
    except Malformed as error:
        raise CardStatus(_NAME, SW.NO_PRECISE_DIAGNOSIS) from error
    if version != VERSION:
        raise CardStatus(_NAME, SW.CONDITIONS_NOT_SATISFIED)
    if not TRANSACTION_BYTES_MIN <= len(transaction) <= TRANSACTION_BYTES_MAX or len(reader) != READER_BYTES:
        raise CardStatus(_NAME, SW.WRONG_LENGTH)
    return PkocRequest(transaction, reader)


def encode_pkoc_answer(answer: PkocAnswer) -> bytes:
    """The card's answer: 133 bytes."""
    return _object(POINT, answer.point) + _object(SIGNATURE, answer.signature)


def decode_pkoc_answer(raw: bytes) -> PkocAnswer:
    """Read the card's answer; objects of later versions are passed over. Raises Malformed."""
    objects = _objects(raw)
    point, signature = _find(objects, POINT), _find(objects, SIGNATURE)
    if len(point) != POINT_BYTES or point[0] != 0x04 or len(signature) != SIGNATURE_BYTES:
        raise Malformed("PKOC answer", f"key of {len(point)} bytes, signature of {len(signature)}")
    return PkocAnswer(point, signature)


def credential(point: bytes, bits: int = 256) -> bytes:
    """The number that stands for the card in a panel: the low bits of X, big-endian, zeros before them.

    75 and 64 bits are for panels that can carry no more; a signature must have been verified before. Raises Malformed.
    """
    if len(point) != POINT_BYTES or bits not in CREDENTIAL_BITS:
        raise Malformed("PKOC credential", f"{bits} bits of a key of {len(point)} bytes")
    x = int.from_bytes(point[1:33], "big")
    return (x & ((1 << bits) - 1)).to_bytes((bits + 7) // 8, "big")


def generate_pkoc_key() -> Command:
    """Have the card make its PKOC key: to the security domain, in its channel (docs/formats.md, F17)."""
    return Command(_CLA, Ins.GENERATE_ASYMMETRIC_KEY_PAIR, 0x00, 0x00, _KEY_REQUEST, SHORT_NE_MAX)


def parse_generate_pkoc_key(command: Command) -> None:
    """Accept the request for a P-256 key of PKOC and nothing else. Raises CardStatus."""
    if command.p1 or command.p2:
        raise CardStatus(_GENERATE, SW.INCORRECT_P1P2)
    if command.data != _KEY_REQUEST:
        raise CardStatus(_GENERATE, SW.INCORRECT_DATA)


def _object(tag: int, value: bytes) -> bytes:
    return bytes((tag, len(value))) + value


def _objects(raw: bytes) -> list[tuple[int, bytes]]:
    """One byte of tag, one of length, the value: PKOC's own form, in which 5C and 9E are as short as all others."""
    found, at = [], 0
    while at < len(raw):
        end = at + 2 + raw[at + 1] if at + 1 < len(raw) else len(raw) + 1
        if end > len(raw) or raw[at + 1] > _LENGTH_MAX:
            raise Malformed("PKOC object", f"at {at} of {len(raw)} bytes")
        found.append((raw[at], raw[at + 2 : end]))
        at = end
    return found


def _find(objects: list[tuple[int, bytes]], wanted: int) -> bytes:
    """The one object with this tag. Raises Malformed for none and for two."""
    values = [value for tag, value in objects if tag == wanted]
    if len(values) != 1:
        raise Malformed("PKOC object", f"{len(values)} times {wanted:02X}")
    return values[0]
