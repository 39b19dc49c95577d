"""ATTEST: a certificate, signed by F9, that says of a key that it was made on this card."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardlink.piv.attestation import Claims, encode_claims
from cardlink.piv.commands import unwrap_object
from cardlink.piv.objects import decode_certificate
from cardlink.piv.tables import CERT_ATTESTATION, KeyRef
from cardlink.piv.yubico import Origin, TouchPolicy, parse_attest
from cardos.defaults import PIV_VERSION
from cardos.piv.auth import require_contact
from cardos.piv.slots import SLOTS
from cardos.state import Platform

_NAME = "ATTEST"
_SERIAL_BYTES = 16
_KEY_INFO = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
# What the backend raises for bytes that are no certificate, now or when a field of them is asked for
_BROKEN = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def attest(platform: Platform, command: Command) -> bytes:
    """ATTEST: anybody may ask, over contact, since the card names its serial number in it.

    6A88 without the key or without F9, 6A80 for an imported key, 6985 when F9 and its certificate do not fit.
    """
    require_contact(platform, _NAME)
    ref = parse_attest(command)
    if ref not in SLOTS:
        raise CardStatus(_NAME, SW.INCORRECT_P1P2)
    persistent = platform.persistent
    key = persistent.keys.get(ref)
    stored = persistent.objects.get(CERT_ATTESTATION.tag)
    if key is None or stored is None or KeyRef.ATTESTATION not in persistent.keys:
        raise CardStatus(_NAME, SW.REFERENCE_NOT_FOUND)
    if key.origin is not Origin.GENERATED:
        raise CardStatus(_NAME, SW.INCORRECT_DATA)
    claims = Claims(PIV_VERSION, int.from_bytes(persistent.chip.serial, "big"), key.pin_policy, int(TouchPolicy.NEVER))
    try:
        attester = x509.load_der_x509_certificate(
            decode_certificate(unwrap_object(CERT_ATTESTATION.tag, stored)).certificate
        )
        return _certify(platform, ref, claims, attester)
    except (Malformed, *_BROKEN) as error:
        raise CardStatus(_NAME, SW.CONDITIONS_NOT_SATISFIED) from error


def _certify(platform: Platform, ref: int, claims: Claims, attester: x509.Certificate) -> bytes:
    """The certificate; its issuer and its times are those of F9's. Raises Malformed when that is not F9's own."""
    signer = platform.persistent.private_key(KeyRef.ATTESTATION)
    if not isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Malformed("attestation key", "neither EC nor RSA")
    if attester.public_key().public_bytes(*_KEY_INFO) != signer.public_key().public_bytes(*_KEY_INFO):
        # an attestation that its chain does not bear out would only mislead
        raise Malformed("attestation certificate", "of another key")
    builder = (
        x509.CertificateBuilder()
        .serial_number(int.from_bytes(platform.random(_SERIAL_BYTES), "big") >> 1 or 1)
        .issuer_name(attester.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"PIV Attestation {ref:02x}")]))
        .not_valid_before(attester.not_valid_before_utc)
        .not_valid_after(attester.not_valid_after_utc)
        .public_key(platform.persistent.private_key(ref).public_key())
    )
    for extension in encode_claims(claims):
        builder = builder.add_extension(extension, critical=False)
    try:
        key_id = attester.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        pass
    else:
        above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)
        builder = builder.add_extension(above, critical=False)
    return builder.sign(signer, SHA256()).public_bytes(Encoding.DER)
