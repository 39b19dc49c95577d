"""The PKOC application: AUTHENTICATE signs what the reader chose, with a key that does nothing else.

It is not selectable until its key has been made (cardos.pkoc.key). Over either face, without a PIN.
"""

from types import MappingProxyType
from typing import cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from cardlink.access.pkoc import (
    INS_AUTHENTICATE,
    PKOC_AID,
    SELECT_ANSWER,
    SIGNATURE_BYTES,
    PkocAnswer,
    encode_pkoc_answer,
    parse_pkoc_authenticate,
)
from cardlink.errors import CardStatus
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardos.state import Handler, Platform

AID = PKOC_AID
_NAME = "AUTHENTICATE"
_HALF = SIGNATURE_BYTES // 2
_ECDSA = ec.ECDSA(SHA256())


def select(platform: Platform) -> bytes:
    """The protocol versions this card speaks: one."""
    return SELECT_ANSWER


def authenticate(platform: Platform, command: Command) -> bytes:
    """Public key and signature over the transaction identifier. 6985 where there is no key."""
    request = parse_pkoc_authenticate(command)
    pair = platform.persistent.pkoc_pair()
    if pair is None:
        raise CardStatus(_NAME, SW.CONDITIONS_NOT_SATISFIED)
    key, point = pair
    # the card makes no other PKOC key, and asking a key what it is goes through an abstract class
    r, s = decode_dss_signature(cast(ec.EllipticCurvePrivateKey, key).sign(request.transaction, _ECDSA))
    return encode_pkoc_answer(PkocAnswer(point, r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")))


HANDLERS: MappingProxyType[int, Handler] = MappingProxyType({})
GP_HANDLERS: MappingProxyType[int, Handler] = MappingProxyType({INS_AUTHENTICATE: authenticate})
CHAINED: frozenset[int] = frozenset()
