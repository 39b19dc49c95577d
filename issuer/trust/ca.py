"""The X.509 side: one root, an issuing authority for each agency, and its content signer.

Every private key stays in the HSM; certificates are built in `issuer/trust/x509.py` and signed through the port. How
authorities are made stands in `issuer/trust/authorities.py`.
"""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from asn1crypto import pem
from asn1crypto import x509 as asn1
from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.statements.trust import KeyState
from issuer.errors import NotFound, Refused
from issuer.policy import covers
from issuer.trust import der, profiles, x509
from issuer.trust.port import Signing
from issuer.trust.profiles import Subject
from issuer.trust.revocation_tables import RevocationHead
from issuer.trust.signature_check import require_of
from issuer.trust.tables import AuthorityRow, OtherCertificateRow

ROOT, ISSUING, CONTENT = "root", "issuing", "content"
OCSP_USE = "ocsp"
KEY_USE = {ROOT: "root", ISSUING: "ca", CONTENT: "content"}
LONG_BYTES = 64 * 1024
"""What is longer, a revocation list, goes to the HSM as its digest: an HSM takes no megabytes."""


@dataclass(frozen=True, slots=True)
class CardHolder:
    """What card certificates say of a card and its holder."""

    agency_code: str
    agency_name: str
    full_name: str
    card_uuid: uuid.UUID
    fasc_n: bytes
    expires: datetime


@dataclass(frozen=True, slots=True)
class ContentSigner:
    """The key that signs CHUID and security object, with its certificate (DER)."""

    label: str
    certificate: bytes
    sign: x509.Sign


def ocsp_key_label(agency_code: str) -> str:
    """The key that answers OCSP for all issuing authorities of an agency."""
    return f"x509-ocsp-{agency_code}-1"


def ocsp_certificate(session: Session, hsm: Signing, row: AuthorityRow, key_label: str, now: datetime) -> bytes:
    """Certify the key that answers OCSP for an issuing authority: short, since nobody can revoke it."""
    agency_name = asn1.Certificate.load(row.certificate, strict=True).subject.native["organization_name"]
    name = x509.agency_name(row.agency_code, agency_name, f"Thẻ Mở OCSP {row.agency_code}")
    point, profile = public_point(hsm, key_label), profiles.OCSP_SIGNER
    until = min(now + profiles.OCSP_LIFE, row.not_after)
    return x509.issue(issuer_of(session, hsm, row), name, point, profile, random_serial(), now, until)


def pointers_at(url: str, label: str) -> x509.Pointers | None:
    """Where others find the lists, the answers and the certificate of an authority; None where nothing is served."""
    if not url:
        return None
    return x509.Pointers(crl=f"{url}/crl/{label}.crl", ocsp=f"{url}/ocsp", issuer=f"{url}/crl/{label}.cer")


def delta_url(url: str, label: str) -> str:
    """Where the delta list of an authority stands."""
    return f"{url}/crl/delta/{label}.crl"


def current(session: Session, kind: str, agency_code: str, now: datetime) -> AuthorityRow:
    """The authority of this kind that signs for an agency now: the agency's own, else of a body above it."""
    rows = session.scalars(select(AuthorityRow).where(AuthorityRow.kind == kind, AuthorityRow.state == KeyState.ACTIVE))
    fitting = [
        row
        for row in rows
        if (kind == ROOT or covers(row.agency_code, agency_code)) and row.not_before <= now < row.signs_until
    ]
    if not fitting:
        raise NotFound("trust.no_authority", kind=kind, agency=agency_code)
    return max(fitting, key=lambda row: (len(row.agency_code), row.not_before))


def find(session: Session, label: str) -> AuthorityRow:
    """An authority by the label of its key. Raises NotFound."""
    row = session.get(AuthorityRow, label)
    if row is None or row.kind not in (ROOT, ISSUING):
        raise NotFound("trust.no_lists", label=label)
    return row


def published(session: Session, label: str) -> AuthorityRow:
    """An authority whose certificate is given to others: any but a root in other hands. Raises NotFound."""
    row = find(session, label)
    if row.kind == ROOT and row.state == KeyState.COMPROMISED:
        raise NotFound("trust.no_lists", label=label)
    return row


def other(session: Session, label: str, by: str) -> OtherCertificateRow:
    """The newest certificate of an authority's key by another authority than its row's. Raises NotFound."""
    found = [row for row in others(session, label) if row.issuer_label == by]
    if not found:
        raise NotFound("trust.no_lists", label=f"{label}.by-{by}")
    return max(found, key=lambda row: row.not_before)


def roots(session: Session) -> list[bytes]:
    """The root certificates that count: all whose keys are not in other hands."""
    rows = session.scalars(select(AuthorityRow).where(AuthorityRow.kind == ROOT).order_by(AuthorityRow.label))
    return [row.certificate for row in rows if row.state != KeyState.COMPROMISED]


def chain(session: Session) -> list[bytes]:
    """Every certificate that may stand between a root and a card: issuing authorities, also by roots of before, links.

    What a key in other hands has certified, or is certified by, counts no more.
    """
    rows = session.scalars(select(AuthorityRow).where(AuthorityRow.kind == ISSUING).order_by(AuthorityRow.label))
    own = [row.certificate for row in rows if row.state != KeyState.COMPROMISED]
    return own + [row.certificate for row in others(session)]


def others(session: Session, label: str | None = None) -> list[OtherCertificateRow]:
    """Certificates beside those in the rows of the authorities, of one of them or of all, that count."""
    query = select(OtherCertificateRow).order_by(OtherCertificateRow.label, OtherCertificateRow.issuer_label)
    fallen = set(session.scalars(select(AuthorityRow.label).where(AuthorityRow.state == KeyState.COMPROMISED)))
    rows = session.scalars(query if label is None else query.where(OtherCertificateRow.label == label))
    return [row for row in rows if fallen.isdisjoint((row.label, row.issuer_label))]


def labels(session: Session) -> list[str]:
    """All authorities there ever were, by the labels of their keys."""
    query = select(AuthorityRow.label).where(AuthorityRow.kind.in_((ROOT, ISSUING)))
    return list(session.scalars(query.order_by(AuthorityRow.label)))


def issuer_of(session: Session, hsm: Signing, row: AuthorityRow) -> x509.Issuer:
    """An authority as the issuer of certificates: its name and key identifier as its own certificate has them."""
    head = session.get(RevocationHead, row.label)
    at = None if head is None else pointers_at(head.url, row.label)
    return x509.Issuer(subject_of(row.certificate), x509.key_id(row.point), _signing(hsm, row), at, row.agency_code)


@lru_cache(maxsize=16)
def subject_of(certificate: bytes) -> bytes:
    """The subject of a certificate of ours, as it stands there."""
    return bytes(asn1.Certificate.load(certificate, strict=True).subject.dump())


def content_signer_for(session: Session, hsm: Signing, agency_code: str, now: datetime) -> ContentSigner:
    """The content signer of an agency."""
    row = current(session, CONTENT, agency_code, now)
    return ContentSigner(row.label, row.certificate, _signing(hsm, row))


def issue_card_certificate(
    issuer: x509.Issuer,
    profile: str,
    point: bytes,
    holder: CardHolder,
    serial: int,
    now: datetime,
) -> bytes:
    """Certify a key made on a card, after the profile of its slot (9A, 9C, 9D, 9E); it ends with the card."""
    body = card_certificate_to_sign(issuer, profile, point, holder, serial, now)
    return der.signed(body, issuer.sign(body))


def card_certificate_to_sign(
    issuer: x509.Issuer,
    profile: str,
    point: bytes,
    holder: CardHolder,
    serial: int,
    now: datetime,
) -> bytes:
    """What of a card's certificate is signed; all of a card's go to the HSM in one call (`sign_bodies`).

    Raises Refused for a holder outside the issuer's agency: nobody would believe the certificate.
    """
    if issuer.agency and not covers(issuer.agency, holder.agency_code):
        raise Refused("trust.outside_agency", authority=issuer.agency, agency=holder.agency_code)
    row = profiles.CARD_PROFILES[profile]
    has_person = row.subject is Subject.PERSON
    common_name = holder.full_name if has_person else str(holder.card_uuid)
    serial_number = str(holder.card_uuid) if has_person else None
    subject = x509.agency_name(holder.agency_code, holder.agency_name, common_name, serial_number)
    card = x509.CardNames(holder.card_uuid, holder.fasc_n)
    return x509.to_sign(issuer, subject, point, row, serial, now, holder.expires, card=card)


def sign_bodies(hsm: Signing, row: AuthorityRow, bodies: Sequence[bytes]) -> list[bytes]:
    """Sign several certificates with one call of the HSM."""
    signatures = hsm.sign_many(row.label, KEY_USE[row.kind], bodies)
    return [
        der.signed(body, require_of(row.label, row.point, body, signature))
        for body, signature in zip(bodies, signatures, strict=True)
    ]


def random_serial() -> int:
    """A serial number of 159 random bits, never zero."""
    return secrets.randbits(x509.SERIAL_BITS) or 1


def root_pem(session: Session, now: datetime) -> bytes:
    """The root certificate as PEM, for the trust stores of others."""
    return to_pem(current(session, ROOT, "", now).certificate)


def links_pem(session: Session) -> bytes:
    """The certificates by which who knows only one root follows to another, as PEM."""
    known = set(session.scalars(select(AuthorityRow.label).where(AuthorityRow.kind == ROOT)))
    return b"".join(to_pem(row.certificate) for row in others(session) if row.label in known)


def chain_pem(session: Session, agency_code: str, now: datetime) -> bytes:
    """The issuing authority of an agency and the root, as PEM."""
    return to_pem(current(session, ISSUING, agency_code, now).certificate) + root_pem(session, now)


def to_pem(certificate: bytes) -> bytes:
    """Armour a certificate (RFC 7468 §5)."""
    return bytes(pem.armor("CERTIFICATE", certificate))


def public_point(hsm: Signing, label: str) -> bytes:
    """The public point of a key in the HSM."""
    point = hsm.info(label).public
    if point is None:
        raise NotFound("trust.no_public_key", label=label)
    return point


def _signing(hsm: Signing, row: AuthorityRow) -> x509.Sign:
    label, kind, point = row.label, row.kind, row.point  # an issuer outlives the session that the row came from

    def sign(data: bytes) -> bytes:
        if kind == ISSUING and len(data) > LONG_BYTES:
            made = hsm.sign_digest(label, KEY_USE[kind], hashlib.sha256(data).digest())
        else:
            made = hsm.sign(label, KEY_USE[kind], data)
        return require_of(label, point, data, made)

    return sign
