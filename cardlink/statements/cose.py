"""COSE envelopes: COSE_Sign1 for statements (F2) and COSE_Sign for the trust list (F8); RFC 9052.

ES256, and ML-DSA-44 (RFC 9964) where a format takes it. Signing goes through a callback that takes the bytes to be
signed and answers the raw signature (ES256: r‖s), so that the key can stay in an HSM. Verifying is over the bytes
received, never over a re-encoding.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.algorithms import ES256, LONGEST_SIGNATURE, ML_DSA_44
from cardlink.statements.algorithms import SIGNATURE_BYTES as SIZES
from cardlink.statements.claims import fields, items, octets
from cardlink.statements.cose_key import KID_BYTES, ORDER

Sign = Callable[[bytes], bytes]
VerifyKey = ec.EllipticCurvePublicKey | MLDSA44PublicKey
T = TypeVar("T")

ALG: Final = 1  # header parameters: RFC 9052 §3.1, typ: RFC 9596
KID: Final = 4
TYP: Final = 16
SIGNATURE_BYTES: Final = SIZES[ES256]
MAX_SIGNATURES: Final = 16
_TAG_SIGN1: Final = b"\xd2"  # tag 18
_TAG_SIGN: Final = b"\xd8\x62"  # tag 98
_ES256_DIGEST: Final = ec.ECDSA(Prehashed(hashes.SHA256()))  # hashing here spares a door the backend's type checks
_ORDER_BYTES: Final = ORDER.to_bytes(32, "big")
_ZERO: Final = bytes(32)
_USUAL_HEAD: Final = b"\xd2\x84\x4d\xa2\x01\x26\x04\x48"  # tag, array of 4, protected header of 13 bytes up to the kid
_KID_ONLY: Final = b"\xa2\x01\x26\x04\x48"  # {1: -7, 4: bstr .size 8}, then the kid


class Sign1(NamedTuple):
    """One received COSE_Sign1: its whole bytes and its parts as they were received."""

    raw: bytes
    protected: bytes
    kid: bytes
    typ: str | None
    payload: bytes
    signature: bytes
    alg: int = ES256

    def to_be_signed(self) -> bytes:
        """The Sig_structure that the signature is over (RFC 9052 §4.4)."""
        return to_be_signed(self.protected, self.payload)


@dataclass(frozen=True, slots=True)
class Received(Generic[T]):
    """A decoded value next to the statement it came in. Nothing is known yet about who signed it."""

    value: T
    statement: Sign1


@dataclass(frozen=True, slots=True)
class RootSignature:
    """One of the signatures of a COSE_Sign."""

    protected: bytes
    kid: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedBySeveral:
    """One received COSE_Sign: a payload and the signatures over it, each with its own kid."""

    raw: bytes
    payload: bytes
    signatures: tuple[RootSignature, ...]

    def to_be_signed(self, signature: RootSignature) -> bytes:
        """The Sig_structure of one signer; the body has no protected header (RFC 9052 §4.4)."""
        return several_to_be_signed(signature.protected, self.payload)


def to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """["Signature1", protected, external_aad = h'', payload], deterministically encoded (RFC 9052 §4.4)."""
    return b"\x84\x6aSignature1" + _bstr(protected) + b"\x40" + _bstr(payload)


def several_to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """["Signature", body_protected = h'', sign_protected, external_aad = h'', payload] (RFC 9052 §4.4)."""
    return b"\x85\x69Signature\x40" + _bstr(protected) + b"\x40" + _bstr(payload)


def sign1(payload: bytes, kid: bytes, sign: Sign, typ: str | None = None, alg: int = ES256) -> bytes:
    """Build a COSE_Sign1 over `payload`. `sign` gets the bytes to be signed and answers the signature of that `alg`."""
    protected = _protected(kid, typ, alg)
    signature = octets(sign(to_be_signed(protected, payload)), "signature", SIZES[alg])
    return _TAG_SIGN1 + b"\x84" + _bstr(protected) + b"\xa0" + _bstr(payload) + _bstr(signature)


def parse_sign1(raw: bytes, *, max_bytes: int, is_agile: bool = False) -> Sign1:
    """Take a COSE_Sign1 apart. Raises Malformed; the payload is not looked into.

    `is_agile`: a format that is not tied to ES256. A statement of an algorithm unknown here is taken apart as well, so
    that it is refused by that name and not as broken bytes (`find_signer`).
    """
    # The usual shape of a short statement, byte for byte: the hot path of a door. All else goes the long way.
    if raw[:8] == _USUAL_HEAD and raw[16:18] == b"\xa0\x58" and len(raw) <= max_bytes:
        end = 19 + raw[18]
        if raw[18] >= 24 and len(raw) == end + 66 and raw[end : end + 2] == b"\x58\x40":
            return Sign1(raw, raw[3:16], raw[8:16], None, raw[19:end], raw[end + 2 :])
    if raw[:1] != _TAG_SIGN1:
        raise Malformed("COSE_Sign1", "want tag 18")
    parts = cbor.decode(raw[1:], max_bytes=max_bytes - 1, max_depth=2)
    if type(parts) is not list or len(parts) != 4:
        raise Malformed("COSE_Sign1", "want an array of 4")
    protected, unprotected, payload, signature = parts
    if type(protected) is not bytes or type(payload) is not bytes:
        raise Malformed("COSE_Sign1", "protected header and payload must be byte strings")
    if unprotected != {} or type(unprotected) is not dict:
        raise Malformed("COSE_Sign1", "unprotected header must be an empty map")
    kid, typ, alg = _read_protected(protected, is_agile)
    if alg in SIZES:
        signature = octets(signature, "COSE_Sign1 signature", SIZES[alg])
    elif type(signature) is not bytes or not 1 <= len(signature) <= LONGEST_SIGNATURE:
        raise Malformed("COSE_Sign1 signature", f"want 1 to {LONGEST_SIGNATURE} bytes")
    return Sign1(raw, protected, kid, typ, payload, signature, alg)


def verify_sign1(statement: Sign1, key: VerifyKey) -> bool:
    """Say whether the statement was signed by this key, with the algorithm that the key is for."""
    if isinstance(key, MLDSA44PublicKey):
        return statement.alg == ML_DSA_44 and _verify_ml_dsa(key, statement.signature, statement.to_be_signed())
    return statement.alg == ES256 and verify_raw(key, statement.signature, statement.to_be_signed())


def sign_several(payload: bytes, signers: Sequence[tuple[bytes, Sign]]) -> bytes:
    """Build a COSE_Sign over `payload` with one signature per (kid, sign)."""
    signatures = []
    for kid, sign in signers:
        protected = _protected(kid, None, ES256)
        signature = octets(sign(several_to_be_signed(protected, payload)), "signature", SIGNATURE_BYTES)
        signatures.append([protected, {}, signature])
    return _TAG_SIGN + cbor.encode([b"", {}, payload, signatures])


def parse_several(raw: bytes, *, max_bytes: int) -> SignedBySeveral:
    """Take a COSE_Sign apart. Raises Malformed, also when one kid signs twice."""
    if raw[:2] != _TAG_SIGN:
        raise Malformed("COSE_Sign", "want tag 98")
    parts = items(cbor.decode(raw[2:], max_bytes=max_bytes - 2, max_depth=4), "COSE_Sign", 4, 4)
    if parts[0] != b"" or type(parts[1]) is not dict or parts[1]:
        raise Malformed("COSE_Sign", "headers of the body must be empty")
    if type(parts[2]) is not bytes:
        raise Malformed("COSE_Sign", "payload must be a byte string")
    signatures = []
    for item in items(parts[3], "COSE_Sign signatures", 1, MAX_SIGNATURES):
        protected, unprotected, signature = items(item, "COSE_Signature", 3, 3)
        if type(protected) is not bytes or type(unprotected) is not dict or unprotected:
            raise Malformed("COSE_Signature", "want a protected header and an empty unprotected one")
        kid, typ, _ = _read_protected(protected, False)
        if typ is not None:
            raise Malformed("COSE_Signature", "unknown header parameter 16")
        signatures.append(RootSignature(protected, kid, octets(signature, "COSE_Signature", SIGNATURE_BYTES)))
    if len({one.kid for one in signatures}) != len(signatures):
        raise Malformed("COSE_Sign", "one key signs twice")
    return SignedBySeveral(raw, parts[2], tuple(signatures))


def verify_raw(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    """Check an ES256 signature in its raw form r‖s over `data` (RFC 9053 §2.1)."""
    r, s = signature[:32], signature[32:]
    if len(signature) != SIGNATURE_BYTES or not (_ZERO < r < _ORDER_BYTES and _ZERO < s < _ORDER_BYTES):
        return False
    try:
        key.verify(_der_signature(r, s), hashlib.sha256(data).digest(), _ES256_DIGEST)
    except InvalidSignature:
        return False
    return True


def _verify_ml_dsa(key: MLDSA44PublicKey, signature: bytes, data: bytes) -> bool:
    """Check an ML-DSA-44 signature, pure and with an empty context (RFC 9964 §2)."""
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _der_signature(r: bytes, s: bytes) -> bytes:
    """ECDSA-Sig-Value (RFC 3279 §2.2.3) of two positive numbers of at most 32 bytes.

    By hand: the backend's own goes through two big integers, for a door 2 % of a check.
    """
    r, s = r.lstrip(b"\x00"), s.lstrip(b"\x00")
    if r[0] & 0x80:
        r = b"\x00" + r
    if s[0] & 0x80:
        s = b"\x00" + s
    return bytes((0x30, 4 + len(r) + len(s), 0x02, len(r))) + r + bytes((0x02, len(s))) + s


def _bstr(value: bytes) -> bytes:
    """A byte string with its shortest head (RFC 8949 §4.2.1)."""
    size = len(value)
    if size < 24:
        return bytes((0x40 | size,)) + value
    if size < 0x100:
        return bytes((0x58, size)) + value
    if size < 0x10000:
        return b"\x59" + size.to_bytes(2, "big") + value
    return b"\x5a" + size.to_bytes(4, "big") + value


def _protected(kid: bytes, typ: str | None, alg: int) -> bytes:
    header: dict[int, object] = {ALG: alg, KID: octets(kid, "kid", KID_BYTES)}
    if typ is not None:
        header[TYP] = typ
    return cbor.encode(header)


def _read_protected(protected: bytes, is_agile: bool) -> tuple[bytes, str | None, int]:
    """The kid, the type and the algorithm in a protected header; without `is_agile` that must be ES256."""
    if len(protected) == 13 and protected.startswith(_KID_ONLY):  # the usual one, byte for byte
        return protected[5:], None, ES256
    header = fields(cbor.decode(protected, max_bytes=128, max_depth=1), "COSE header", (ALG, KID), (TYP,))
    alg = header[ALG]
    if type(alg) is not int:
        raise Malformed("COSE header", "alg is not a number")
    if alg != ES256 and not is_agile:
        raise Malformed("COSE header", "alg is not ES256")
    kid = octets(header[KID], "kid", KID_BYTES)
    typ = header.get(TYP)
    if typ is not None and (type(typ) is not str or not typ):
        raise Malformed("COSE header", "type must be text")
    if TYP in header and typ is None:
        raise Malformed("COSE header", "type must be text")
    return kid, typ, alg
