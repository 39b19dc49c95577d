"""Private keys of the PIV slots: making, importing and using them.

Source: SP 800-78-5 §3 and §6.2; the parameters of import: Yubico's IMPORT KEY.
"""

from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from cardlink.errors import Malformed
from cardlink.piv.tables import EC_COORDINATE_BYTES, RSA_BITS, Algorithm
from cardlink.piv.templates import RSA_EXPONENT, EcPublicKey, PublicKey, RsaPublicKey

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CURVES: dict[int, ec.EllipticCurve] = {Algorithm.P_256: ec.SECP256R1(), Algorithm.P_384: ec.SECP384R1()}
# The card signs what the host has hashed; the hash named here only says how long that is.
_PREHASHED: dict[int, ec.ECDSA] = {
    Algorithm.P_256: ec.ECDSA(Prehashed(SHA256())),
    Algorithm.P_384: ec.ECDSA(Prehashed(SHA384())),
}
_ECDH = ec.ECDH()
MADE_HERE = frozenset({Algorithm.P_256, Algorithm.P_384, Algorithm.RSA_2048, Algorithm.RSA_3072})


def generate(algorithm: int) -> PrivateKey:
    """Make a key pair. Raises Malformed for an algorithm that the card has no key generation for."""
    if algorithm not in MADE_HERE:
        raise Malformed("key generation", f"algorithm {algorithm:02X}")
    curve = _CURVES.get(algorithm)
    if curve is not None:
        return ec.generate_private_key(curve)
    return rsa.generate_private_key(RSA_EXPONENT, RSA_BITS[Algorithm(algorithm)])


def save_private(key: PrivateKey) -> bytes:
    """The key as it is stored: PKCS #8, DER."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def load_private(raw: bytes) -> PrivateKey:
    """Read a stored key. Raises Malformed for anything but a key of ours."""
    try:
        key = load_der_private_key(raw, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Malformed("stored private key", str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Malformed("stored private key", "neither RSA nor EC")
    return key


def public_of(key: PrivateKey) -> PublicKey:
    """The public key as it travels."""
    if isinstance(key, rsa.RSAPrivateKey):
        return RsaPublicKey(key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big"))
    return EcPublicKey(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def point_of(key: PrivateKey) -> bytes:
    """The public point of an EC key, 04‖X‖Y. Raises Malformed for a key of another kind."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Malformed("public point", "not an EC key")
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def sign(key: PrivateKey, algorithm: int, challenge: bytes) -> bytes:
    """The response to a challenge: ECDSA over a digest of the curve's length, or the RSA operation on a padded block.

    Raises Malformed for another length.
    """
    scheme = _PREHASHED.get(algorithm)
    if scheme is not None:
        try:
            # the algorithm says which key it is: asking the key goes through an abstract class, on a door's hot path
            return cast(ec.EllipticCurvePrivateKey, key).sign(challenge, scheme)
        except ValueError as error:
            raise Malformed("challenge", f"{len(challenge)} bytes") from error
    return _rsa_private(cast(rsa.RSAPrivateKey, key), challenge)


def agree(key: PrivateKey, algorithm: int, point: bytes) -> bytes:
    """ECDH with a point 04||X||Y: the shared X. Raises Malformed for any other length or a point not on the curve."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Malformed("exponentiation", "not an EC key")
    if len(point) != 1 + 2 * EC_COORDINATE_BYTES[Algorithm(algorithm)] or point[0] != 0x04:
        raise Malformed("exponentiation", f"point of {len(point)} bytes")
    try:
        other = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, point)
    except ValueError as error:
        raise Malformed("exponentiation", str(error)) from error
    return key.exchange(_ECDH, other)


def _rsa_private(key: rsa.RSAPrivateKey, block: bytes) -> bytes:
    """Raise a block to the private exponent (RSASP1 and RSADP, RFC 8017 §5.1.2 and 5.2.1) with the CRT.

    Padding is the host's in PIV, and `cryptography` offers no operation without it. Python's arithmetic takes a time
    that depends on the key: fit for a virtual card, said so in the documentation. The result is checked before it
    leaves, so that a fault in one half cannot give the key away.
    """
    numbers = key.private_numbers()
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    size = key.key_size // 8
    value = int.from_bytes(block, "big")
    if len(block) != size or value >= n:
        raise Malformed("challenge", f"{len(block)} bytes for RSA-{key.key_size}, or not below the modulus")
    one, two = pow(value, numbers.dmp1, numbers.p), pow(value, numbers.dmq1, numbers.q)
    result = two + numbers.q * ((one - two) * numbers.iqmp % numbers.p)
    if pow(result, e, n) != value:
        raise Malformed("RSA operation", "the result does not verify")
    return result.to_bytes(size, "big")


def import_private(algorithm: int, parts: tuple[bytes, ...]) -> PrivateKey:
    """Build an imported key from its scalar, or from p, q, dP, dQ, qInv. Raises Malformed unless they fit together."""
    numbers = tuple(int.from_bytes(part, "big") for part in parts)
    curve = _CURVES.get(algorithm)
    try:
        if curve is not None:
            return ec.derive_private_key(numbers[0], curve)
        if algorithm not in MADE_HERE:
            raise Malformed("key import", f"algorithm {algorithm:02X}")
        p, q, dmp1, dmq1, iqmp = numbers
        d = pow(RSA_EXPONENT, -1, (p - 1) * (q - 1))
        key = rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, rsa.RSAPublicNumbers(RSA_EXPONENT, p * q)).private_key()
    except ValueError as error:
        raise Malformed("key import", str(error)) from error
    if key.key_size != RSA_BITS[Algorithm(algorithm)]:
        raise Malformed("key import", f"modulus of {key.key_size} bits")
    return key
