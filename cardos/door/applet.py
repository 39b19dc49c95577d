"""The door application: INTERNAL AUTHENTICATE with 9E over a challenge that names the door (docs/formats.md, F15).

It shows what PIV shows to anybody over either face, the credential, and uses what PIV lets anybody use, 9E: two
exchanges in place of three, and nothing to personalise beside PIV.
"""

from types import MappingProxyType

from cardlink.access.door import DOOR_AID, encode_door_answer, parse_door_authenticate
from cardlink.errors import CardStatus
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command, Ins
from cardlink.iso7816.sw import SW
from cardlink.piv.tables import CARD_CREDENTIAL, Algorithm, KeyRef
from cardlink.statements.challenge import challenge_digest
from cardos.piv.auth import may_use
from cardos.piv.keys import sign
from cardos.state import Handler, Platform

AID = DOOR_AID
_NAME = "INTERNAL AUTHENTICATE"
_FCI = tlv.encode(0x6F, tlv.encode(0x84, DOOR_AID))
# As plain numbers, on a door's hot path.
_CREDENTIAL, _CARD_AUTH, _P_256 = CARD_CREDENTIAL.tag, int(KeyRef.CARD_AUTH), int(Algorithm.P_256)
_EMPTY_BYTES = 2  # a credential that was created and not filled: 53 00


def select(platform: Platform) -> bytes:
    """The FCI: the application's name, and nothing that could tell one card from another."""
    return _FCI


def internal_authenticate(platform: Platform, command: Command) -> bytes:
    """Credential, y of the card's key, and its signature for this door. 6A88 for a card without credential or 9E."""
    challenge = parse_door_authenticate(command)
    persistent = platform.persistent
    credential = persistent.objects.get(_CREDENTIAL, b"")
    key = persistent.keys.get(_CARD_AUTH)
    if len(credential) <= _EMPTY_BYTES or key is None or key.algorithm != _P_256:
        raise CardStatus(_NAME, SW.REFERENCE_NOT_FOUND)
    if not may_use(platform, key):
        raise CardStatus(_NAME, SW.SECURITY_STATUS_NOT_SATISFIED)
    private, y = persistent.private_key(_CARD_AUTH), persistent.point(_CARD_AUTH)[33:]
    return encode_door_answer(credential, y, sign(private, _P_256, challenge_digest(challenge)))


HANDLERS: MappingProxyType[int, Handler] = MappingProxyType({Ins.INTERNAL_AUTHENTICATE: internal_authenticate})
GP_HANDLERS: MappingProxyType[int, Handler] = MappingProxyType({})
CHAINED: frozenset[int] = frozenset()
