"""ML-DSA-44 public keys as COSE_Key of type AKP (RFC 9964 §3), and public keys of either kind as an HSM tells them.

The written form is {1: 7, 3: -48, -1: public key}: the algorithm belongs to the key.
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Final

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.algorithms import ML_DSA_44
from cardlink.statements.claims import fields, octets
from cardlink.statements.cose_key import KID_BYTES, KTY, CoseKey, from_point

AKP: Final = 7  # RFC 9964 §3
ALG: Final = 3  # RFC 9052 §7.1
PUB: Final = -1  # RFC 9964 §3
PUBLIC_BYTES: Final = 1312  # FIPS 204 §4, table 2


@dataclass(frozen=True, slots=True)
class AkpKey:
    """An ML-DSA-44 public key as it is written."""

    alg: ClassVar[int] = ML_DSA_44
    public: bytes

    def fields(self) -> dict[int, object]:
        """The COSE_Key map, for embedding in claims."""
        return {KTY: AKP, ALG: ML_DSA_44, PUB: self.public}

    def kid(self) -> bytes:
        """Key identifier: the first 8 bytes of the thumbprint (F2)."""
        return self.thumbprint()[:KID_BYTES]

    def thumbprint(self) -> bytes:
        """SHA-256 thumbprint: over kty, alg and pub (RFC 9964 §5, RFC 9679 §3)."""
        return hashlib.sha256(cbor.encode(self.fields())).digest()

    def public_key(self) -> MLDSA44PublicKey:
        """The key to verify with."""
        return MLDSA44PublicKey.from_public_bytes(self.public)


StatementKey = CoseKey | AkpKey


def is_ml_dsa_44(value: object) -> bool:
    """Say whether a COSE_Key map claims to hold an ML-DSA-44 key."""
    return type(value) is dict and value.get(KTY) == AKP and value.get(ALG) == ML_DSA_44


def decode_akp_key(value: object) -> AkpKey:
    """Read the COSE_Key map of an ML-DSA-44 key."""
    key = fields(value, "COSE_Key", (KTY, ALG, PUB))
    if type(key[KTY]) is not int or type(key[ALG]) is not int or not is_ml_dsa_44(key):
        raise Malformed("COSE_Key", "want key type AKP with ML-DSA-44")
    return AkpKey(octets(key[PUB], "COSE_Key pub", PUBLIC_BYTES))


def from_public_bytes(public: bytes) -> StatementKey:
    """Write a public key as HSMs tell it: a P-256 point of 65 bytes, or an ML-DSA-44 key of 1312."""
    return AkpKey(public) if len(public) == PUBLIC_BYTES else from_point(public)
