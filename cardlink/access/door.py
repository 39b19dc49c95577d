"""The door application of our cards (docs/formats.md, F15): one question to the card, credential and signature back.

`parse_*` is the card's side and raises CardStatus; the other side raises Malformed for an answer out of form.
"""

from typing import Final, NamedTuple

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import EXTENDED_NE_MAX, SHORT_NE_MAX, Command, Ins
from cardlink.iso7816.sw import SW
from cardlink.piv.commands import select
from cardlink.piv.tables import KeyRef
from cardlink.statements.challenge import NONCE_BYTES
from cardlink.statements.claims import UUID_BYTES

DOOR_AID: Final = bytes.fromhex("F0") + b"themoD\x01"  # category F: own, unregistered (ISO/IEC 7816-4 §8.2.1.2)
CREDENTIAL, Y, SIGNATURE = 0x53, 0x86, 0x82
Y_BYTES: Final = 32
CHALLENGE_BYTES: Final = UUID_BYTES + NONCE_BYTES
_NAME: Final = "INTERNAL AUTHENTICATE"
_ANSWER_TAGS: Final = (CREDENTIAL, Y, SIGNATURE)

SELECT_DOOR_APDU: Final = select(DOOR_AID).encode()
_HEAD: Final = bytes((0x00, Ins.INTERNAL_AUTHENTICATE, 0x00, KeyRef.CARD_AUTH, 0, 0, CHALLENGE_BYTES))
_NE: Final = (EXTENDED_NE_MAX & 0xFFFF).to_bytes(2, "big")


class DoorAnswer(NamedTuple):
    """What the card gives: its credential (F3), the y that belongs to the credential's x, and the signature (DER).

    `y` is a hint that spares the door a square root; the credential signs x and the sign of y, which leave one y.
    """

    credential: bytes
    y: bytes
    signature: bytes


def door_authenticate(door_uuid: bytes, nonce: bytes, *, extended: bool = True) -> Command:
    """Ask the card for everything; in the short form the answer comes in two pieces (61xx)."""
    if len(door_uuid) != UUID_BYTES or len(nonce) != NONCE_BYTES:
        raise Malformed(_NAME, f"want {UUID_BYTES} bytes of door UUID and {NONCE_BYTES} of nonce")
    le = EXTENDED_NE_MAX if extended else SHORT_NE_MAX
    return Command(0x00, Ins.INTERNAL_AUTHENTICATE, 0x00, KeyRef.CARD_AUTH, door_uuid + nonce, le, extended)


def door_authenticate_apdu(door_uuid: bytes, nonce: bytes) -> bytes:
    """The extended form ready to send; the same as `door_authenticate(...).encode()`."""
    challenge = door_uuid + nonce
    if len(challenge) != CHALLENGE_BYTES:
        raise Malformed(_NAME, f"want a challenge of {CHALLENGE_BYTES} bytes, got {len(challenge)}")
    return _HEAD + challenge + _NE


def parse_door_authenticate(command: Command) -> bytes:
    """The door's UUID and nonce, one after the other, as they go into the digest (F12)."""
    if command.p1 != 0x00 or command.p2 != KeyRef.CARD_AUTH:
        raise CardStatus(_NAME, SW.INCORRECT_P1P2)
    if len(command.data) != CHALLENGE_BYTES:
        raise CardStatus(_NAME, SW.INCORRECT_DATA)
    return command.data


def encode_door_answer(credential_object: bytes, y: bytes, signature: bytes) -> bytes:
    """The answer; `credential_object` is the credential as the card stores it, in its 53."""
    return credential_object + b"\x86\x20" + y + tlv.encode(SIGNATURE, signature)


def decode_door_answer(raw: bytes) -> DoorAnswer:
    """Read the answer: these three data objects in this order. Raises Malformed."""
    objects = tlv.parse(raw)
    if tuple(tag for tag, _ in objects) != _ANSWER_TAGS:
        raise Malformed(_NAME, "want 53, 86 and 82")
    (_, credential), (_, y), (_, signature) = objects
    if len(y) != Y_BYTES:
        raise Malformed(_NAME, f"y of {len(y)} bytes")
    return DoorAnswer(credential, y, signature)
