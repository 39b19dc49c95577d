"""Attestation: the certificate in which a card says that a key was made on it and never left it.

The card's key F9 signs it; the maker certified F9. Source: Yubico's PIV attestation, as its documentation describes
the certificate and its extensions, and as yubikit, piv-go and yubico-piv-tool read them.
"""

from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ObjectIdentifier

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv

_ARC: Final = "1.3.6.1.4.1.41482.3"
VERSION_OID: Final = ObjectIdentifier(f"{_ARC}.3")  # three bytes, as GET VERSION
SERIAL_OID: Final = ObjectIdentifier(f"{_ARC}.7")  # INTEGER
POLICIES_OID: Final = ObjectIdentifier(f"{_ARC}.8")  # PIN policy, touch policy
FORM_FACTOR_OID: Final = ObjectIdentifier(f"{_ARC}.9")  # one byte
FORM_FACTOR_NONE: Final = 0x00  # not one of Yubico's products
_INTEGER: Final = 0x02
_SERIAL_BYTES_MAX: Final = 5  # four bytes, and a zero in front of a high bit
# What the backend raises for bytes that are no certificate
_BROKEN: Final = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True, slots=True)
class Claims:
    """What the card says of itself and of the key."""

    version: bytes
    serial: int
    pin_policy: int
    touch_policy: int
    form_factor: int = FORM_FACTOR_NONE


@dataclass(frozen=True, slots=True)
class Attestation:
    """A decoded attestation; whose word it is, only its signature says. `public_key_info` is SubjectPublicKeyInfo."""

    claims: Claims
    public_key_info: bytes
    certificate: x509.Certificate = field(repr=False)


def encode_claims(claims: Claims) -> list[x509.UnrecognizedExtension]:
    """Write the claims as extensions, in the order in which Yubico's cards have them."""
    size = claims.serial.bit_length() // 8 + 1
    return [
        x509.UnrecognizedExtension(VERSION_OID, claims.version),
        x509.UnrecognizedExtension(SERIAL_OID, tlv.encode(_INTEGER, claims.serial.to_bytes(size, "big"))),
        x509.UnrecognizedExtension(POLICIES_OID, bytes((claims.pin_policy, claims.touch_policy))),
        x509.UnrecognizedExtension(FORM_FACTOR_OID, bytes((claims.form_factor,))),
    ]


def decode_attestation(der: bytes) -> Attestation:
    """Read the answer to ATTEST. Raises Malformed when it is no certificate or a claim is missing or broken."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions = {one.oid: one.value for one in certificate.extensions}
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _BROKEN as error:
        raise Malformed("attestation", str(error)) from error
    values = {}
    for oid, size in ((VERSION_OID, 3), (SERIAL_OID, 0), (POLICIES_OID, 2), (FORM_FACTOR_OID, 1)):
        extension = extensions.get(oid)
        if not isinstance(extension, x509.UnrecognizedExtension):
            raise Malformed("attestation", f"no extension {oid.dotted_string}")
        if size and len(extension.value) != size:
            raise Malformed("attestation", f"extension {oid.dotted_string} of {len(extension.value)} bytes")
        values[oid] = extension.value
    pin_policy, touch_policy = values[POLICIES_OID]
    claims = Claims(
        values[VERSION_OID], _serial(values[SERIAL_OID]), pin_policy, touch_policy, values[FORM_FACTOR_OID][0]
    )
    return Attestation(claims, key, certificate)


def _serial(raw: bytes) -> int:
    """Read the serial number: a DER INTEGER that is not negative."""
    value = tlv.unwrap(raw, _INTEGER)
    if not 0 < len(value) <= _SERIAL_BYTES_MAX or value[0] & 0x80:
        raise Malformed("attestation", f"serial number {raw.hex()}")
    return int.from_bytes(value, "big")
