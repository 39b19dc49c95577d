"""The X.509 side: one root, an issuing authority for each agency, and its content signer.

Every private key stays in the HSM; certificates are built in `issuer/trust/x509.py` and signed through the port.
"""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from asn1crypto import pem
from asn1crypto import x509 as asn1
from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.statements.trust import KeyState
from issuer.errors import NotFound
from issuer.policy import covers
from issuer.trust import x509
from issuer.trust.port import Signing
from issuer.trust.tables import AuthorityRow

ROOT, ISSUING, CONTENT = "root", "issuing", "content"
KEY_USE = {ROOT: "root", ISSUING: "ca", CONTENT: "content"}
SIGNS_YEARS = {ROOT: 10, ISSUING: 4, CONTENT: 4}
"""How long each signs: what it signs last must end before it does (4 + 11 = 15 for the content signer's issuer)."""
ROOT_COMMON_NAME = "Thẻ Mở Root CA"


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


def make_root(session: Session, hsm: Signing, label: str, organization: str, now: datetime) -> AuthorityRow:
    """Make the self-signed root over a key that the HSM holds already."""
    point = public_point(hsm, label)
    name = x509.root_name(organization, ROOT_COMMON_NAME)
    issuer = x509.Issuer(name, x509.key_id(point), _signing(hsm, label, ROOT))
    return _issue_authority(session, issuer, ROOT, label, "", name, point, x509.ROOT, now, ())


def make_issuing(
    session: Session, hsm: Signing, label: str, agency_code: str, agency_name: str, now: datetime
) -> AuthorityRow:
    """Make the issuing authority of an agency, constrained to names at or below its code."""
    root = current(session, ROOT, "", now)
    name = x509.agency_name(agency_code, agency_name, f"Thẻ Mở CA {agency_code}")
    issuer, point = issuer_of(hsm, root), public_point(hsm, label)
    scope = (agency_code,)
    return _issue_authority(session, issuer, ISSUING, label, agency_code, name, point, x509.ISSUING, now, scope)


def make_content_signer(
    session: Session, hsm: Signing, label: str, agency_code: str, agency_name: str, now: datetime
) -> AuthorityRow:
    """Make the content signer of an agency, certified by its issuing authority."""
    authority = current(session, ISSUING, agency_code, now)
    name = x509.agency_name(agency_code, agency_name, f"Thẻ Mở content signer {agency_code}")
    issuer, point = issuer_of(hsm, authority), public_point(hsm, label)
    return _issue_authority(session, issuer, CONTENT, label, agency_code, name, point, x509.CONTENT_SIGNER, now, ())


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


def issuer_of(hsm: Signing, row: AuthorityRow) -> x509.Issuer:
    """An authority as the issuer of certificates: its name and key identifier as its own certificate has them."""
    return x509.Issuer(subject_of(row.certificate), x509.key_id(row.point), _signing(hsm, row.label, row.kind))


@lru_cache(maxsize=16)
def subject_of(certificate: bytes) -> bytes:
    """The subject of a certificate of ours, as it stands there."""
    return bytes(asn1.Certificate.load(certificate, strict=True).subject.dump())


def content_signer_for(session: Session, hsm: Signing, agency_code: str, now: datetime) -> ContentSigner:
    """The content signer of an agency."""
    row = current(session, CONTENT, agency_code, now)
    return ContentSigner(row.label, row.certificate, _signing(hsm, row.label, CONTENT))


def issue_card_certificate(
    issuer: x509.Issuer,
    profile: str,
    point: bytes,
    holder: CardHolder,
    serial: int,
    now: datetime,
    crl_url: str | None = None,
) -> bytes:
    """Certify a key made on a card, after the profile of its slot (9A, 9C, 9D, 9E); it ends with the card."""
    body = card_certificate_to_sign(issuer, profile, point, holder, serial, now, crl_url)
    return x509.signed(body, issuer.sign(body))


def card_certificate_to_sign(
    issuer: x509.Issuer,
    profile: str,
    point: bytes,
    holder: CardHolder,
    serial: int,
    now: datetime,
    crl_url: str | None = None,
) -> bytes:
    """What of a card's certificate is signed; all of a card's go to the HSM in one call (`sign_bodies`)."""
    row = x509.CARD_PROFILES[profile]
    common_name = holder.full_name if row.has_person else str(holder.card_uuid)
    serial_number = str(holder.card_uuid) if row.has_person else None
    subject = x509.agency_name(holder.agency_code, holder.agency_name, common_name, serial_number)
    card = x509.CardNames(holder.card_uuid, holder.fasc_n)
    return x509.to_sign(issuer, subject, point, row, serial, now, holder.expires, card=card, crl_url=crl_url)


def sign_bodies(hsm: Signing, row: AuthorityRow, bodies: Sequence[bytes]) -> list[bytes]:
    """Sign several certificates with one call of the HSM."""
    signatures = hsm.sign_many(row.label, KEY_USE[row.kind], bodies)
    return [x509.signed(body, signature) for body, signature in zip(bodies, signatures, strict=True)]


def random_serial() -> int:
    """A serial number of 159 random bits, never zero."""
    return secrets.randbits(x509.SERIAL_BITS) or 1


def root_pem(session: Session, now: datetime) -> bytes:
    """The root certificate as PEM, for the trust stores of others."""
    return to_pem(current(session, ROOT, "", now).certificate)


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


def _signing(hsm: Signing, label: str, kind: str) -> x509.Sign:
    def sign(data: bytes) -> bytes:
        return hsm.sign(label, KEY_USE[kind], data)

    return sign


def _issue_authority(
    session: Session,
    issuer: x509.Issuer,
    kind: str,
    label: str,
    agency_code: str,
    name: bytes,
    point: bytes,
    profile: x509.Profile,
    now: datetime,
    constrained_to: tuple[str, ...],
) -> AuthorityRow:
    serial = random_serial()
    not_after = _years_after(now, profile.years)
    certificate = x509.issue(issuer, name, point, profile, serial, now, not_after, constrained_to=constrained_to)
    row = AuthorityRow(
        label=label,
        kind=kind,
        agency_code=agency_code,
        serial=f"{serial:040x}",
        point=point,
        certificate=certificate,
        not_before=now,
        not_after=not_after,
        signs_until=_years_after(now, SIGNS_YEARS[kind]),
        state=KeyState.ACTIVE,
    )
    session.add(row)
    session.flush()
    return row


def _years_after(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:  # 29 February
        return moment.replace(year=moment.year + years, day=28) + timedelta(days=1)
