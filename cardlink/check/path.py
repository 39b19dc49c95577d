"""Card certificates (9E) and the way to their anchor in the trust list (RFC 5280, FIPS 201-3 §4.2).

A card carries its certificate alone and a door has no network to fetch others, so an anchor is the authority that
issued the certificate itself: the path is one step.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, TypeVar
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.statements.agency import check_agency_code, is_in_scope
from cardlink.statements.cose_key import from_public_key
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import Anchor, Profile, Trust

PIV_CARD_AUTH: Final = ObjectIdentifier("2.16.840.1.101.3.6.8")  # id-PIV-cardAuth, FIPS 201-3 §4.2.2
MAX_CERTIFICATE_BYTES: Final = 8192
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
# What the backend raises for bytes that are no certificate
_BROKEN: Final = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_URN: Final = "urn:uuid:"
_WHAT: Final = "card certificate"
T = TypeVar("T", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class CardCertificate:
    """What a 9E certificate says, before its issuer is judged. `agency` is "" where the subject names none."""

    certificate: x509.Certificate = field(repr=False)
    public_key: ec.EllipticCurvePublicKey = field(repr=False)
    key_hash: bytes
    card_uuid: bytes
    agency: str
    starts_s: int
    expires_s: int


def read_card_certificate(der: bytes) -> CardCertificate | Refused:
    """Read a 9E certificate: P-256 key, card UUID, agency; its purpose must be card authentication."""
    try:
        certificate = load_certificate(der)
        extensions = certificate.extensions
        key = certificate.public_key()
    except (Malformed, *_BROKEN) as error:
        return Refused(Reason.MALFORMED_CERTIFICATE, str(error))
    except UnsupportedAlgorithm as error:
        return Refused(Reason.UNSUPPORTED_ALGORITHM, str(error))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return Refused(Reason.UNSUPPORTED_ALGORITHM, "key of the certificate is not on P-256")
    wrong = _check_purpose(extensions)
    if wrong is not None:
        return wrong
    try:
        card_uuid = _card_uuid(extensions)
        agency = _agency(certificate)
    except Malformed as error:
        return Refused(Reason.MALFORMED_CERTIFICATE, str(error))
    return CardCertificate(
        certificate=certificate,
        public_key=key,
        key_hash=from_public_key(key).key_hash(),
        card_uuid=card_uuid,
        agency=agency,
        starts_s=int(certificate.not_valid_before_utc.timestamp()),
        expires_s=int(certificate.not_valid_after_utc.timestamp()),
    )


def verify_card_certificate(der: bytes, trust: Trust, now: datetime) -> CardCertificate | Refused:
    """Judge a 9E certificate: purpose, issuer among the anchors, the anchor's scope, times.

    Under an anchor of profile `own` the agency is the organizationIdentifier (2.5.4.97) of the subject; foreign
    certificates have none, and the agency is the one the trust list gives the anchor.
    """
    card = read_card_certificate(der)
    if isinstance(card, Refused):
        return card
    found = find_anchor(card.certificate, trust.content.anchors, now)
    if isinstance(found, Refused):
        return found
    anchor, authority = found
    if anchor.profile is Profile.OWN:
        if not card.agency:
            return Refused(Reason.MALFORMED_CERTIFICATE, "subject names no agency")
        agency = card.agency
        if not is_in_scope(anchor.scope, agency):
            return Refused(Reason.OUT_OF_SCOPE, f"{authority.subject.rfc4514_string()} may not sign for {agency}")
    else:
        agency = anchor.scope[0]
    now_s = now.timestamp()
    if now_s >= trust.content.expires_s:
        return Refused(Reason.TRUST_EXPIRED, f"trust list {trust.content.number}")
    untimely = check_times(authority, now) or check_times(card.certificate, now)
    if untimely is not None:
        return untimely
    return CardCertificate(
        card.certificate, card.public_key, card.key_hash, card.card_uuid, agency, card.starts_s, card.expires_s
    )


def find_anchor(
    certificate: x509.Certificate, anchors: tuple[Anchor, ...], now: datetime
) -> tuple[Anchor, x509.Certificate] | Refused:
    """Find the anchor that issued this certificate: by name first, then by signature.

    One key may stand there by several certificates, of roots that follow each other: one that is in its time is taken
    before the others. One that cannot be held against this certificate, by a key of another kind, does not hide the
    next one of its name.
    """
    named, refused = False, None
    found: tuple[Anchor, x509.Certificate] | None = None
    for anchor in anchors:
        try:
            authority = _load_anchor(anchor.certificate)
        except Malformed:  # an anchor that nobody can read signs nothing; the others still do
            continue
        if authority.subject != certificate.issuer:
            continue
        named = True
        if not is_authority(authority):
            refused = refused or Refused(Reason.WRONG_CERTIFICATE, "anchor is no certification authority")
            continue
        try:
            if not isinstance(certificate.signature_hash_algorithm, _HASHES):
                return Refused(Reason.UNSUPPORTED_ALGORITHM, "hash of the certificate's signature")
            certificate.verify_directly_issued_by(authority)
        except InvalidSignature:
            continue
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            refused = refused or Refused(Reason.UNSUPPORTED_ALGORITHM, str(error))
            continue
        if check_times(authority, now) is None:
            return anchor, authority
        found = found or (anchor, authority)
    if found is not None:
        return found
    if refused is not None:
        return refused
    if named:
        return Refused(Reason.FORGED_STATEMENT, "certificate is not signed by the anchor it names")
    if certificate.subject == certificate.issuer:
        return Refused(Reason.SELF_SIGNED, "certificate")
    return Refused(Reason.UNKNOWN_SIGNER, f"certificate by {certificate.issuer.rfc4514_string()}")


@lru_cache(maxsize=512)
def _load_anchor(der: bytes) -> x509.Certificate:
    """The certificate of an anchor: the same ones are looked through for every card."""
    return load_certificate(der)


def load_certificate(der: bytes) -> x509.Certificate:
    """Read a DER certificate. Raises Malformed.

    The backend reads names, times and extensions only when asked: they are asked for here, so that what comes out is
    whole.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise Malformed("certificate", f"too long: {len(der)} bytes")
    _check_shape(der)
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.subject, certificate.issuer, certificate.extensions
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except _BROKEN as error:
        raise Malformed("certificate", str(error)) from error
    return certificate


def _check_shape(der: bytes) -> None:
    """What the backend lets pass: a serial number that is not positive (RFC 5280 §4.1.2.2; it only warns), and a
    signature of an odd number of bits."""
    outer = tlv.parse(tlv.unwrap(der, 0x30), repeats=True)
    if [tag for tag, _ in outer] != [0x30, 0x30, 0x03] or outer[2][1][:1] != b"\x00":
        raise Malformed("certificate", "want a body, an algorithm and a signature of whole bytes")
    numbers = [value for tag, value in tlv.parse(outer[0][1], repeats=True)[:2] if tag == 0x02]
    if len(numbers) != 1 or not numbers[0] or numbers[0][0] & 0x80 or not any(numbers[0]):
        raise Malformed("certificate", "serial number is not positive")


def check_times(certificate: x509.Certificate, now: datetime) -> Refused | None:
    """Refuse a certificate before or after its time; None within it (both ends count, RFC 5280 §4.1.2.5)."""
    if now < certificate.not_valid_before_utc:
        return Refused(Reason.NOT_YET_VALID, certificate.subject.rfc4514_string())
    if now > certificate.not_valid_after_utc:
        return Refused(Reason.EXPIRED, certificate.subject.rfc4514_string())
    return None


def _check_purpose(extensions: x509.Extensions) -> Refused | None:
    """A 9E certificate: id-PIV-cardAuth, digital signature, no authority, nothing critical that we cannot read."""
    if any(one.critical and isinstance(one.value, x509.UnrecognizedExtension) for one in extensions):
        return Refused(Reason.WRONG_CERTIFICATE, "unknown critical extension")  # RFC 5280 §4.2
    purposes = _extension(extensions, x509.ExtendedKeyUsage)
    if purposes is None or PIV_CARD_AUTH not in purposes:
        return Refused(Reason.WRONG_EKU, "not a card authentication certificate")
    usage = _extension(extensions, x509.KeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign:
        return Refused(Reason.WRONG_CERTIFICATE, "key usage is not digital signature")
    basic = _extension(extensions, x509.BasicConstraints)
    if basic is not None and basic.ca:
        return Refused(Reason.WRONG_CERTIFICATE, "certificate of an authority")
    return None


def is_authority(certificate: x509.Certificate) -> bool:
    """May this certificate's key sign others (RFC 5280 §4.2.1.3 and §4.2.1.9)."""
    basic = _extension(certificate.extensions, x509.BasicConstraints)
    usage = _extension(certificate.extensions, x509.KeyUsage)
    return basic is not None and basic.ca and (usage is None or usage.key_cert_sign)


def _extension(extensions: x509.Extensions, kind: type[T]) -> T | None:
    """The extension of this kind, or None when the certificate has none."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _card_uuid(extensions: x509.Extensions) -> bytes:
    """The one urn:uuid in subjectAltName (FIPS 201-3 §4.2.1)."""
    names = _extension(extensions, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    uuids = [uri[len(_URN) :] for uri in uris if uri.startswith(_URN)]
    if len(uuids) != 1:
        raise Malformed(_WHAT, f"want one card UUID, found {len(uuids)}")
    try:
        card_uuid = UUID(uuids[0])
    except ValueError as error:
        raise Malformed(_WHAT, "card UUID is no UUID") from error
    if str(card_uuid) != uuids[0].lower():
        raise Malformed(_WHAT, "card UUID in another form than RFC 9562")
    return card_uuid.bytes


def _agency(certificate: x509.Certificate) -> str:
    """The agency code in the subject, or nothing."""
    values = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
    if not values:
        return ""
    if len(values) != 1:
        raise Malformed(_WHAT, "two agency codes")
    return check_agency_code(values[0].value)
