"""P-256 public keys as COSE_Key (RFC 9053 §7.1.1), their thumbprints and hashes.

The written form is compressed: {1: 2, -1: 1, -2: x, -3: sign of y}.
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.algorithms import ES256
from cardlink.statements.claims import KEY_HASH_BYTES, fields, flag, octets

KTY: Final = 1
CRV: Final = -1
X: Final = -2
Y: Final = -3
EC2: Final = 2  # RFC 9053 §7
P256: Final = 1  # RFC 9053 §7.1
COORDINATE_BYTES: Final = 32
KID_BYTES: Final = 8
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-5, SP 800-186 §3.2.1.3
_CURVE: Final = ec.SECP256R1()


@dataclass(frozen=True, slots=True)
class CoseKey:
    """A P-256 public key as it is written: x, and whether y is odd. Not yet known to lie on the curve."""

    alg: ClassVar[int] = ES256
    x: bytes
    y_is_odd: bool

    def fields(self) -> dict[int, object]:
        """The COSE_Key map, compressed, for embedding in claims."""
        return {KTY: EC2, CRV: P256, X: self.x, Y: self.y_is_odd}

    def encode(self) -> bytes:
        """The deterministic COSE_Key."""
        # The only variable parts are x and one bit, so the encoding is a template: a401022001215820 x 22 f4/f5.
        return b"\xa4\x01\x02\x20\x01\x21\x58\x20" + self.x + (b"\x22\xf5" if self.y_is_odd else b"\x22\xf4")

    def key_hash(self) -> bytes:
        """First 16 bytes of SHA-256 over the deterministic, compressed COSE_Key (F1)."""
        return hashlib.sha256(self.encode()).digest()[:KEY_HASH_BYTES]

    def public_key(self, y: bytes | None = None) -> ec.EllipticCurvePublicKey:
        """Decompress the point. Raises Malformed when no such point is on the curve.

        `y`, if somebody says that it belongs to x, is taken when it does: one y of that sign is on the curve, so
        checking it costs less than working it out, and a wrong one is left aside.
        """
        if y is not None and len(y) == COORDINATE_BYTES and bool(y[-1] & 1) is self.y_is_odd:
            try:
                return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, b"\x04" + self.x + y)
            except ValueError:
                pass
        try:
            point = (b"\x03" if self.y_is_odd else b"\x02") + self.x
            return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
        except ValueError as error:
            raise Malformed("COSE_Key", "point is not on P-256") from error

    def kid(self) -> bytes:
        """Key identifier: the first 8 bytes of the thumbprint (F2)."""
        return thumbprint(self.public_key())[:KID_BYTES]


def from_public_key(key: ec.EllipticCurvePublicKey) -> CoseKey:
    """Write a public key of `cryptography` as COSE_Key. Raises Malformed for any other curve than P-256."""
    if not isinstance(key.curve, ec.SECP256R1):
        raise Malformed("COSE_Key", f"want P-256, got {key.curve.name}")
    return from_point(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def from_point(point: bytes) -> CoseKey:
    """Write an uncompressed point (04‖X‖Y), as cards and HSMs answer it, as COSE_Key; the curve is checked."""
    if len(point) != 1 + 2 * COORDINATE_BYTES or point[0] != 0x04:
        raise Malformed("COSE_Key", "want an uncompressed P-256 point of 65 bytes")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
    except ValueError as error:
        raise Malformed("COSE_Key", "point is not on P-256") from error
    return CoseKey(x=point[1:33], y_is_odd=bool(point[64] & 1))


def decode_cose_key(value: object) -> CoseKey:
    """Read the COSE_Key map of a statement. Whether the point is on the curve shows in `public_key()`."""
    key = fields(value, "COSE_Key", (KTY, CRV, X, Y))
    if type(key[KTY]) is not int or key[KTY] != EC2 or type(key[CRV]) is not int or key[CRV] != P256:
        raise Malformed("COSE_Key", "want key type EC2 on P-256")
    return CoseKey(x=octets(key[X], "COSE_Key x", COORDINATE_BYTES), y_is_odd=flag(key[Y], "COSE_Key y"))


def thumbprint(key: ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 thumbprint of a P-256 key (RFC 9679 §4.2: over the uncompressed form, whatever form was received)."""
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    x, y = point[1:33], point[33:]
    return hashlib.sha256(cbor.encode({KTY: EC2, CRV: P256, X: x, Y: y})).digest()
