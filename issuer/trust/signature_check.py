"""Check a signature of a key of the HSM with its public half: that takes no secret and no device."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from issuer.errors import Refused
from issuer.trust.port import HsmError, KeyInfo

SCALAR_BYTES = 32
KIND_OF_BYTES = {65: "ec-p256", 32: "ed25519", 1312: "ml-dsa-44"}
"""What kind of key a public half of this length belongs to (SEC 1 §2.3.3, RFC 8032 §5.1.5, FIPS 204 §4)."""


def is_signature(info: KeyInfo, data: bytes, signature: bytes) -> bool:
    """Say whether this key signed these data: ES256 as r ‖ s, Ed25519 or ML-DSA-44. HsmError: it signs not."""
    if info.public is None or info.kind not in ("ec-p256", "ed25519", "ml-dsa-44"):
        raise HsmError("hsm.bad_request", detail=f"{info.label} does not sign")
    try:
        if info.kind == "ed25519":
            ed25519.Ed25519PublicKey.from_public_bytes(info.public).verify(signature, data)
            return True
        if info.kind == "ml-dsa-44":
            mldsa.MLDSA44PublicKey.from_public_bytes(info.public).verify(signature, data)
            return True
        if len(signature) != 2 * SCALAR_BYTES:
            return False
        r, s = (int.from_bytes(half, "big") for half in (signature[:SCALAR_BYTES], signature[SCALAR_BYTES:]))
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), info.public)
        point.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def require_of(label: str, public: bytes, data: bytes, signature: bytes) -> bytes:
    """Answer a signature that the HSM made, once it is of the key that the register knows by this label.

    An HSM may hold another key under the label: a second HSM at the same register. Raises Refused.
    """
    kind = KIND_OF_BYTES.get(len(public), "")
    if not is_signature(KeyInfo(label, kind, "", (), public, ""), data, signature):
        raise Refused("trust.another_key", label=label)
    return signature
