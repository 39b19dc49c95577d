"""Private keys of the PIV slots: making, importing and using them.

Source: SP 800-78-5 §3 and §6.2; the parameters of import: Yubico's IMPORT KEY.
"""

import secrets
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
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
from cardlink.piv.templates import RSA_EXPONENT, EcPublicKey, OctetPublicKey, PublicKey, RsaPublicKey

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey
_CURVES: dict[int, ec.EllipticCurve] = {Algorithm.P_256: ec.SECP256R1(), Algorithm.P_384: ec.SECP384R1()}
# The card signs what the host has hashed; the hash named here only says how long that is.
_PREHASHED: dict[int, ec.ECDSA] = {
    Algorithm.P_256: ec.ECDSA(Prehashed(SHA256())),
    Algorithm.P_384: ec.ECDSA(Prehashed(SHA384())),
}
_ECDH = ec.ECDH()
# RSA-1024 comes in for old mail and is not made anew.
_MADE_AS_RSA = frozenset({Algorithm.RSA_2048, Algorithm.RSA_3072, Algorithm.RSA_4096})
MADE_HERE = frozenset({Algorithm.P_256, Algorithm.P_384, Algorithm.ED25519, Algorithm.X25519}) | _MADE_AS_RSA
AGREEING = frozenset({Algorithm.P_256, Algorithm.P_384, Algorithm.X25519})
_PADDING_BYTES_MIN = 8  # FF in a block of type 1 (RFC 8017 §9.2)
_MASK_BITS = 64


def generate(algorithm: int) -> PrivateKey:
    """Make a key pair. Raises Malformed for an algorithm that the card has no key generation for."""
    curve = _CURVES.get(algorithm)
    if curve is not None:
        return ec.generate_private_key(curve)
    if algorithm in _MADE_AS_RSA:
        return rsa.generate_private_key(RSA_EXPONENT, RSA_BITS[Algorithm(algorithm)])
    if algorithm == Algorithm.ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == Algorithm.X25519:
        return x25519.X25519PrivateKey.generate()
    raise Malformed("key generation", f"algorithm {algorithm:02X}")


def save_private(key: PrivateKey) -> bytes:
    """The key as it is stored: PKCS #8, DER."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def load_private(raw: bytes) -> PrivateKey:
    """Read a stored key. Raises Malformed for anything but a key of ours."""
    try:
        key = load_der_private_key(raw, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Malformed("stored private key", str(error)) from error
    if not isinstance(key, PrivateKey):
        raise Malformed("stored private key", f"a {type(key).__name__}")
    return key


def public_of(key: PrivateKey) -> PublicKey:
    """The public key as it travels."""
    if isinstance(key, rsa.RSAPrivateKey):
        return RsaPublicKey(key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big"))
    if isinstance(key, ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey):
        return OctetPublicKey(key.public_key().public_bytes_raw())
    return EcPublicKey(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def point_of(key: PrivateKey) -> bytes:
    """The public point of an EC key, 04‖X‖Y. Raises Malformed for a key of another kind."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Malformed("public point", "not an EC key")
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def sign(key: PrivateKey, algorithm: int, challenge: bytes) -> bytes:
    """The response to a challenge: ECDSA over a digest, Ed25519 over the message, or RSA over a padded block.

    Raises Malformed for another length than the digest or block has, and for a key that does not sign.
    """
    scheme = _PREHASHED.get(algorithm)
    if scheme is not None:
        try:
            # the algorithm says which key it is: asking the key goes through an abstract class, on a door's hot path
            return cast(ec.EllipticCurvePrivateKey, key).sign(challenge, scheme)
        except ValueError as error:
            if algorithm == Algorithm.P_384 and len(challenge) == SHA256.digest_size:
                # the same number with zeros before it (FIPS 186-5 §6.4.1): Yubico's tools sign so by default
                return sign(key, algorithm, challenge.rjust(SHA384.digest_size, b"\0"))
            raise Malformed("challenge", f"{len(challenge)} bytes") from error
    if algorithm == Algorithm.ED25519:
        return cast(ed25519.Ed25519PrivateKey, key).sign(challenge)
    if algorithm in RSA_BITS:
        return _rsa_private(cast(rsa.RSAPrivateKey, key), challenge)
    raise Malformed("challenge", f"algorithm {algorithm:02X} does not sign")


def agree(key: PrivateKey, algorithm: int, point: bytes) -> bytes:
    """ECDH with a point 04||X||Y, or X25519 with 32 bytes: the shared X.

    Raises Malformed for any other length, a point not on the curve, and one of small order (RFC 7748 §6.1).
    """
    try:
        if isinstance(key, x25519.X25519PrivateKey):
            return key.exchange(x25519.X25519PublicKey.from_public_bytes(point))
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Malformed("exponentiation", "a key that does not agree")
        if len(point) != 1 + 2 * EC_COORDINATE_BYTES[Algorithm(algorithm)] or point[0] != 0x04:
            raise Malformed("exponentiation", f"point of {len(point)} bytes")
        return key.exchange(_ECDH, ec.EllipticCurvePublicKey.from_encoded_point(key.curve, point))
    except ValueError as error:
        raise Malformed("exponentiation", str(error)) from error


def _rsa_private(key: rsa.RSAPrivateKey, block: bytes) -> bytes:
    """Raise a block to the private exponent (RSASP1, RSADP: RFC 8017 §5.1.2 and 5.2.1); padding is the host's in PIV.

    A block padded for a PKCS #1 v1.5 signature goes to OpenSSL, without the padding that it puts on itself.
    """
    size = key.key_size // 8
    if len(block) != size:
        raise Malformed("challenge", f"{len(block)} bytes for RSA-{key.key_size}")
    end = block.find(b"\0", 2)
    if end >= 2 + _PADDING_BYTES_MIN and block.startswith(b"\0\1" + b"\xff" * (end - 2)):
        return key.sign(block[end + 1 :], PKCS1v15(), NoDigestInfo())
    return _rsa_masked(key, int.from_bytes(block, "big")).to_bytes(size, "big")


def _rsa_masked(key: rsa.RSAPrivateKey, value: int) -> int:
    """The private operation on any other block (PSS, decryption) with the CRT; `cryptography` offers none.

    Python's arithmetic does not take constant time. So base and exponents are masked with random numbers (Kocher,
    CRYPTO 1996, §10): the time then depends on numbers that nobody outside knows or chooses. The result is checked
    before it leaves, so that a fault in one half cannot give the key away.
    """
    numbers = key.private_numbers()
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    if value >= n:
        raise Malformed("challenge", "not below the modulus")
    mask = secrets.randbelow(n - 2) + 2
    base = value * pow(mask, e, n) % n
    one = pow(base, numbers.dmp1 + secrets.randbits(_MASK_BITS) * (numbers.p - 1), numbers.p)
    two = pow(base, numbers.dmq1 + secrets.randbits(_MASK_BITS) * (numbers.q - 1), numbers.q)
    result = (two + numbers.q * ((one - two) * numbers.iqmp % numbers.p)) * pow(mask, -1, n) % n
    if pow(result, e, n) != value:
        raise Malformed("RSA operation", "the result does not verify")
    return result


def import_private(algorithm: int, parts: tuple[bytes, ...]) -> PrivateKey:
    """Build an imported key from its scalar or seed, or from p, q, dP, dQ, qInv.

    Raises Malformed unless they fit together.
    """
    curve = _CURVES.get(algorithm)
    try:
        if curve is not None:
            return ec.derive_private_key(int.from_bytes(parts[0], "big"), curve)
        if algorithm == Algorithm.ED25519:
            return ed25519.Ed25519PrivateKey.from_private_bytes(parts[0])
        if algorithm == Algorithm.X25519:
            return x25519.X25519PrivateKey.from_private_bytes(parts[0])
        if algorithm in RSA_BITS:
            return _import_rsa(RSA_BITS[Algorithm(algorithm)], parts)
    except ValueError as error:
        raise Malformed("key import", str(error)) from error
    raise Malformed("key import", f"algorithm {algorithm:02X}")


def _import_rsa(bits: int, parts: tuple[bytes, ...]) -> rsa.RSAPrivateKey:
    """An RSA key from its five numbers. Raises ValueError or Malformed."""
    p, q, dmp1, dmq1, iqmp = (int.from_bytes(part, "big") for part in parts)
    d = pow(RSA_EXPONENT, -1, (p - 1) * (q - 1))
    key = rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, rsa.RSAPublicNumbers(RSA_EXPONENT, p * q)).private_key()
    if key.key_size != bits:
        raise Malformed("key import", f"modulus of {key.key_size} bits")
    return key
