"""Keys enciphered under a key-encryption key: AES key wrap with padding (RFC 5649).

What is enciphered: an AES key as it is; a signing key as PKCS #8 in DER (RFC 5958), as PKCS#11's C_WrapKey has it
(v3.1 §6.7); of a transport set ENC, MAC and DEK each by itself, one after the other, as a device can take them in. A
set that a card maker enciphered in one piece, ENC, MAC and DEK in a row, opens as well: the lengths tell which it is.
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from hsm_sim.errors import BadWrapping, WrongKey
from hsm_sim.keys import P256, SCALAR_BYTES, Key, Kind

WRAPPED_EXTRA_BYTES = 8
WRAPPED_MAX_BYTES = 1024
AES_BYTES = (16, 24, 32)
SET_PARTS = 3
LONG_BY_ONE = 0x81  # DER: the length stands in the next byte (X.690 §8.1.3.5)
ONE_PIECE = {SET_PARTS * size + WRAPPED_EXTRA_BYTES for size in AES_BYTES}
THREE_PIECES = {SET_PARTS * (size + WRAPPED_EXTRA_BYTES) for size in AES_BYTES}


def wrap(kek: bytes, key: Key) -> bytes:
    """The secret of a key, enciphered."""
    kind, secret = key.info.kind, key.secret
    if kind is Kind.SCP03_SET:
        third = len(secret) // SET_PARTS
        parts = [secret[begin : begin + third] for begin in range(0, len(secret), third)]
        return b"".join(encipher(kek, one) for one in parts)
    plain = secret if kind is Kind.AES_256 else _private(kind, secret)
    return encipher(kek, plain)


def unwrap(kek: bytes, wrapped: bytes, kind: Kind) -> bytes:
    """The secret of a key of that kind, as the store keeps it. Raises BadWrapping, WrongKey."""
    if kind is Kind.SCP03_SET and len(wrapped) in THREE_PIECES:
        third = len(wrapped) // SET_PARTS
        parts = [decipher(kek, wrapped[begin : begin + third]) for begin in range(0, len(wrapped), third)]
        if {len(one) for one in parts} != {third - WRAPPED_EXTRA_BYTES}:
            raise WrongKey("not three AES keys of one length")
        return b"".join(parts)
    plain = decipher(kek, wrapped)
    if kind is Kind.SCP03_SET:
        if len(wrapped) not in ONE_PIECE or len(plain) != len(wrapped) - WRAPPED_EXTRA_BYTES:
            raise WrongKey(f"{len(plain)} bytes are no transport set")
        return plain
    if kind is Kind.AES_256:
        if len(plain) != SCALAR_BYTES:
            raise WrongKey(f"{len(plain)} bytes are no key of kind {kind}")
        return plain
    return _secret(kind, plain)


def encipher(kek: bytes, plain: bytes) -> bytes:
    """AES key wrap with padding (RFC 5649 §4.1)."""
    return aes_key_wrap_with_padding(kek, plain)


def decipher(kek: bytes, wrapped: bytes) -> bytes:
    """What was enciphered (RFC 5649 §4.2). Raises BadWrapping."""
    if len(wrapped) > WRAPPED_MAX_BYTES:
        raise BadWrapping(f"more than {WRAPPED_MAX_BYTES} bytes")
    try:
        return aes_key_unwrap_with_padding(kek, wrapped)
    except (InvalidUnwrap, ValueError) as error:
        raise BadWrapping("changed, or enciphered under another key") from error


def _private(kind: Kind, secret: bytes) -> bytes:
    """A signing key as PKCS #8."""
    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | mldsa.MLDSA44PrivateKey
    if kind is Kind.EC_P256:
        private = ec.derive_private_key(int.from_bytes(secret, "big"), P256)
    elif kind is Kind.ED25519:
        private = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    else:
        private = mldsa.MLDSA44PrivateKey.from_seed_bytes(secret)
    return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _secret(kind: Kind, plain: bytes) -> bytes:
    """What the store keeps of a signing key that came as PKCS #8. Raises WrongKey."""
    try:
        private = load_der_private_key(_without_filling(plain), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise WrongKey(f"no PKCS #8 of a key of kind {kind}") from error
    match kind, private:
        case Kind.EC_P256, ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
            return private.private_numbers().private_value.to_bytes(SCALAR_BYTES, "big")
        case Kind.ED25519, ed25519.Ed25519PrivateKey():
            return private.private_bytes_raw()
        case Kind.ML_DSA_44, mldsa.MLDSA44PrivateKey():
            return private.private_bytes_raw()
    raise WrongKey(f"PKCS #8 of another key than one of kind {kind}")


def _without_filling(plain: bytes) -> bytes:
    """The DER value at the beginning, where zeros up to a full half block follow: SoftHSM 2.6 enciphers those along."""
    if len(plain) < 3 or plain[1] > LONG_BY_ONE:
        return plain
    end = 3 + plain[2] if plain[1] == LONG_BY_ONE else 2 + plain[1]
    is_filled = len(plain) % WRAPPED_EXTRA_BYTES == 0 and 0 < len(plain) - end < WRAPPED_EXTRA_BYTES
    return plain[:end] if is_filled and not any(plain[end:]) else plain
