"""GENERAL AUTHENTICATE: internal authentication and signatures, key agreement, and the administrator's 9B.

Source: SP 800-73pt2-5 §3.2.4 and Appendix A.
"""

import hmac

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.inventory import LifeCycle
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardlink.piv.commands import parse_general_authenticate
from cardlink.piv.tables import BLOCK_BYTES, KEYS, Access, Algorithm, KeyRef
from cardlink.piv.templates import Authentication, encode_authentication, encode_response
from cardos.piv.auth import may_use
from cardos.piv.keys import AGREEING, agree, sign
from cardos.piv.messaging_key import establish
from cardos.records import AdminKey, Owner
from cardos.state import Platform

_NAME = "GENERAL AUTHENTICATE"
_ADMIN, _MESSAGING = int(KeyRef.ADMIN), int(KeyRef.SECURE_MESSAGING)
# 00 is the default algorithm of the first version of PIV, which is three-key TDES (SP 800-78-5 §6.2): OpenSC says it.
_SAME_TDES = (Algorithm.TDES_3KEY_DEFAULT, Algorithm.TDES_3KEY)


def general_authenticate(platform: Platform, command: Command) -> bytes:
    """GENERAL AUTHENTICATE. The key's algorithm and access rule are checked before the template is read."""
    ref = command.p2
    if ref == _ADMIN:
        return _authenticate_admin(platform, command)
    if ref == _MESSAGING:
        return establish(platform, command)
    persistent = platform.persistent
    key, row = persistent.keys.get(ref), KEYS.get(ref)
    if key is None or row is None or key.algorithm != command.p1:
        raise CardStatus(_NAME, SW.INCORRECT_P1P2)
    if not may_use(platform, key):
        raise CardStatus(_NAME, SW.SECURITY_STATUS_NOT_SATISFIED)
    template = parse_general_authenticate(command).template
    if template.response != b"" or template.witness is not None:
        raise CardStatus(_NAME, SW.INCORRECT_DATA)
    # an EC key management key agrees and never signs; the others sign and never agree
    agrees = row.can_agree and key.algorithm in AGREEING
    private = persistent.private_key(ref)
    try:
        if agrees and template.exponentiation and template.challenge is None:
            return encode_response(agree(private, key.algorithm, template.exponentiation))
        if not agrees and template.challenge and template.exponentiation is None:
            return encode_response(sign(private, key.algorithm, template.challenge))
    except Malformed as error:
        raise CardStatus(_NAME, SW.INCORRECT_DATA) from error
    raise CardStatus(_NAME, SW.INCORRECT_DATA)


def _authenticate_admin(platform: Platform, command: Command) -> bytes:
    """The steps of external and mutual authentication with 9B; each challenge and witness serves once."""
    if KEYS[KeyRef.ADMIN].use_access(platform.volatile.interface) is Access.NEVER:
        raise CardStatus(_NAME, SW.SECURITY_STATUS_NOT_SATISFIED)
    admin = platform.persistent.admin
    if command.p1 != admin.algorithm and (command.p1, admin.algorithm) != _SAME_TDES:
        raise CardStatus(_NAME, SW.INCORRECT_P1P2)
    if admin.algorithm == Algorithm.TDES_3KEY and platform.persistent.life[Owner.CARD] >= LifeCycle.SECURED:
        # an office's card is never managed with TDES: disallowed since 2024 (SP 800-131A rev. 2, §2)
        raise CardStatus(_NAME, SW.CONDITIONS_NOT_SATISFIED)
    security = platform.volatile.security
    challenge, witness = security.challenge, security.witness
    security.challenge = security.witness = b""
    size = BLOCK_BYTES[Algorithm(admin.algorithm)]
    match parse_general_authenticate(command).template:
        case Authentication(None, b"", None, None):
            security.challenge = platform.random(size)
            return encode_authentication(Authentication(challenge=security.challenge))
        case Authentication(b"", None, None, None):
            security.witness = platform.random(size)
            return encode_authentication(Authentication(witness=_encrypt(admin, security.witness)))
        case Authentication(None, None, bytes(response), None) if len(response) == size:
            _require_proof(platform, _encrypt(admin, challenge) if challenge else b"", response)
            return b""
        case Authentication(bytes(shown), bytes(other), None | b"", None) if len(shown) == len(other) == size:
            _require_proof(platform, witness, shown)
            return encode_response(_encrypt(admin, other))
    raise CardStatus(_NAME, SW.INCORRECT_DATA)


def _require_proof(platform: Platform, expected: bytes, shown: bytes) -> None:
    """Set the administrator's status by the outcome. Raises 6982 unless both are equal and something was asked."""
    platform.volatile.security.admin = hmac.compare_digest(expected, shown)
    if not platform.volatile.security.admin:
        raise CardStatus(_NAME, SW.SECURITY_STATUS_NOT_SATISFIED)


def _encrypt(admin: AdminKey, block: bytes) -> bytes:
    """One block under 9B (SP 800-78-5 Table 9: ECB)."""
    cipher = TripleDES(admin.key) if admin.algorithm == Algorithm.TDES_3KEY else algorithms.AES(admin.key)
    return Cipher(cipher, modes.ECB()).encryptor().update(block)  # noqa: S305 one block of random
