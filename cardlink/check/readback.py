"""Everything that was written to a card, read back and judged together before the card leaves the encoder."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ObjectIdentifier

from cardlink.check.cache import CredentialCache, VerifiedCredential
from cardlink.check.card import check_identity, verify_credential
from cardlink.check.path import check_times, find_anchor, load_certificate, verify_card_certificate
from cardlink.check.signed_data import CHUID_CONTENT, LDS_CONTENT, decode_signed_data, verify_signed_data
from cardlink.errors import Malformed
from cardlink.piv.chuid import Chuid, decode_chuid
from cardlink.piv.objects import decode_certificate
from cardlink.piv.security_object import decode_lds, decode_security_object
from cardlink.piv.tables import (
    CARD_CREDENTIAL,
    CHUID,
    CONTAINERS,
    FACIAL_IMAGE,
    IDENTITY_STATEMENT,
    KEYS,
    SECURITY_OBJECT,
    KeyRef,
)
from cardlink.statements.identity import Identity
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import Trust

PIV_CONTENT_SIGNING: Final = ObjectIdentifier("2.16.840.1.101.3.6.7")  # FIPS 201-3 §4.2.1


@dataclass(frozen=True, slots=True)
class SignedChuid:
    """A CHUID whose signature is right, and the certificate of its signer."""

    chuid: Chuid
    signer: x509.Certificate


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A card that reads as it should."""

    credential: VerifiedCredential
    identity: Identity
    chuid: SignedChuid
    certificates: Mapping[KeyRef, x509.Certificate]


def check_read_back(
    objects: Mapping[int, bytes], keys: Mapping[KeyRef, bytes], trust: Trust, now: datetime
) -> ReadBack | Refused:
    """Judge a whole card. `objects`: container contents by tag; `keys`: the points (04‖X‖Y) that the card generated.

    All must speak of one card: one UUID, the keys made on it, the hashes of the security object, signers in trust.
    """
    credential = verify_credential(objects.get(CARD_CREDENTIAL.tag, b""), trust, now, CredentialCache(1))
    if isinstance(credential, Refused):
        return credential
    if _point(credential.public_key) != keys.get(KeyRef.CARD_AUTH):
        return Refused(Reason.KEY_MISMATCH, "credential is not for the key of 9E")
    card_uuid = credential.card.card_uuid
    certificates: dict[KeyRef, x509.Certificate] = {}
    for ref, point in keys.items():
        certificate = _check_key_certificate(ref, point, card_uuid, objects, trust, now)
        if isinstance(certificate, Refused):
            return certificate
        certificates[ref] = certificate
    chuid = check_chuid(objects.get(CHUID.tag, b""), trust, now)
    if isinstance(chuid, Refused):
        return chuid
    if chuid.chuid.guid.bytes != card_uuid:
        return Refused(Reason.UUID_MISMATCH, f"CHUID of {chuid.chuid.guid}")
    last = datetime.combine(chuid.chuid.expires, time(), UTC) + timedelta(days=1)
    if credential.card.expires_s > last.timestamp():
        return Refused(Reason.EXPIRY_MISMATCH, "credential outlives the CHUID")
    refusal = check_security_object(objects, chuid.signer)
    if refusal is not None:
        return refusal
    identity = check_identity(objects.get(IDENTITY_STATEMENT.tag, b""), credential, trust, now)
    if isinstance(identity, Refused):
        return identity
    if identity.face_sha256 is not None:
        face = hashlib.sha256(objects.get(FACIAL_IMAGE.tag, b"")).digest()
        if face != identity.face_sha256:
            return Refused(Reason.HASH_MISMATCH, "facial image is not the one in the identity statement")
    return ReadBack(credential, identity, chuid, certificates)


def check_chuid(content: bytes, trust: Trust, now: datetime) -> SignedChuid | Refused:
    """Judge a CHUID by its own signature: by a content signer under an anchor of the trust list."""
    try:
        chuid = decode_chuid(content)
        signed = decode_signed_data(chuid.signature, "CHUID signature")
    except Malformed as error:
        return Refused(Reason.MALFORMED_CHUID, str(error))
    if signed.certificate is None or signed.content:
        return Refused(Reason.MALFORMED_CHUID, "want a detached signature with its certificate")
    refusal = verify_signed_data(signed, chuid.signed_part, CHUID_CONTENT, signed.certificate)
    refusal = refusal or _check_content_signer(signed.certificate, trust, now)
    return refusal or SignedChuid(chuid, signed.certificate)


def check_security_object(objects: Mapping[int, bytes], signer: x509.Certificate) -> Refused | None:
    """Refuse a security object that another than the CHUID's signer made, or objects that are not those it lists."""
    try:
        security = decode_security_object(objects.get(SECURITY_OBJECT.tag, b""))
        signed = decode_signed_data(security.signature, "security object signature")
        listed = decode_lds(signed.content)
    except Malformed as error:
        return Refused(Reason.MALFORMED_SECURITY_OBJECT, str(error))
    if listed.keys() != security.groups.keys():
        return Refused(Reason.MALFORMED_SECURITY_OBJECT, "mapping and hashes name other data groups")
    refusal = verify_signed_data(signed, signed.content, LDS_CONTENT, signer)
    if refusal is not None:
        return refusal
    by_container = {row.container_id: row for row in CONTAINERS.values()}
    for group, container_id in security.groups.items():
        row = by_container.get(container_id)
        if row is None:
            return Refused(Reason.MALFORMED_SECURITY_OBJECT, f"unknown container {container_id:04X}")
        if hashlib.sha256(objects.get(row.tag, b"")).digest() != listed[group]:
            return Refused(Reason.HASH_MISMATCH, row.name)
    return None


def _check_key_certificate(
    ref: KeyRef, point: bytes, card_uuid: bytes, objects: Mapping[int, bytes], trust: Trust, now: datetime
) -> x509.Certificate | Refused:
    """Judge the certificate of one key of the card: of this key, by an anchor, in its time; 9E also of this card."""
    row = KEYS[ref].certificate
    if row is None:
        return Refused(Reason.WRONG_CERTIFICATE, f"key {ref:02X} has no certificate")
    try:
        der = decode_certificate(objects.get(row.tag, b"")).certificate
        certificate = load_certificate(der)
        key = certificate.public_key()
    except (Malformed, ValueError, UnsupportedAlgorithm) as error:
        return Refused(Reason.MALFORMED_CERTIFICATE, f"{row.name}: {error}")
    if not isinstance(key, ec.EllipticCurvePublicKey) or _point(key) != point:
        return Refused(Reason.KEY_MISMATCH, row.name)
    if ref is KeyRef.CARD_AUTH:
        card = verify_card_certificate(der, trust, now)
        if isinstance(card, Refused):
            return card
        if card.card_uuid != card_uuid:
            return Refused(Reason.UUID_MISMATCH, row.name)
        return certificate
    found = find_anchor(certificate, trust.content.anchors, now)
    if isinstance(found, Refused):
        return found
    return check_times(certificate, now) or certificate


def _check_content_signer(certificate: x509.Certificate, trust: Trust, now: datetime) -> Refused | None:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return Refused(Reason.WRONG_EKU, "content signer")
    if PIV_CONTENT_SIGNING not in purposes:
        return Refused(Reason.WRONG_EKU, "content signer")
    found = find_anchor(certificate, trust.content.anchors, now)
    if isinstance(found, Refused):
        return found
    return check_times(certificate, now)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
