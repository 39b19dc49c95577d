"""The door's challenge (F12): one digest binds the door, this tap and the format together."""

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cardlink.errors import Malformed
from cardlink.statements.claims import UUID_BYTES

NONCE_BYTES: Final = 32
LABEL: Final = b"themo-door-1"
MAX_SIGNATURE_BYTES: Final = 72  # ECDSA-Sig-Value over P-256: two integers of at most 33 bytes
_ES256_DIGEST: Final = ec.ECDSA(Prehashed(hashes.SHA256()))


def door_challenge_digest(door_uuid: bytes, nonce: bytes) -> bytes:
    """What 9E is asked to sign: SHA-256("themo-door-1" ‖ door UUID ‖ nonce)."""
    if len(door_uuid) != UUID_BYTES or len(nonce) != NONCE_BYTES:
        raise Malformed("door challenge", f"want {UUID_BYTES} bytes of door UUID and {NONCE_BYTES} of nonce")
    return hashlib.sha256(LABEL + door_uuid + nonce).digest()


def challenge_digest(challenge: bytes) -> bytes:
    """The same on the card: `challenge` is door UUID ‖ nonce as the door application received it."""
    return hashlib.sha256(LABEL + challenge).digest()


def verify_answer(key: ec.EllipticCurvePublicKey, digest: bytes, signature: bytes) -> bool:
    """Say whether the card's answer (DER, as GENERAL AUTHENTICATE gives it) signs this digest.

    The backend refuses r and s out of range and any DER but the one encoding of the two numbers; tests hold it to that.
    """
    if len(signature) > MAX_SIGNATURE_BYTES:
        return False
    try:
        key.verify(signature, digest, _ES256_DIGEST)
    except InvalidSignature:
        return False
    return True
