"""A small authority for tests: certificates after the issuer's own profiles, by the published test keys."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from statement_vectors import private_key, public_key, sign_with, trust_of

from cardlink.statements.trust import Anchor, Profile, Trust, accept_trust_list, issue_trust_list
from issuer.trust import profiles, x509
from issuer.trust.ca import ContentSigner

AGENCY = "H49.01.02"
FASC_N = bytes(25)


def point(label: str) -> bytes:
    """The uncompressed point of a test key."""
    return private_key(label).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def certificate(
    subject_label: str,
    issuer_label: str,
    profile: profiles.Profile,
    now: datetime,
    *,
    agency: str = AGENCY,
    issuer_agency: str = "H49",
    card_uuid: bytes | None = None,
    starts: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=365),
    subject: bytes | None = None,
) -> bytes:
    """One certificate (DER). `issuer_label` names both the key and, with its agency, the issuer."""
    issuer = x509.Issuer(authority_name(issuer_label, issuer_agency), bytes(20), sign_with(issuer_label))
    card = x509.CardNames(UUID(bytes=card_uuid), FASC_N) if card_uuid is not None else None
    name = subject or x509.agency_name(agency, "Sở Nội vụ", subject_label)
    profile = profile if card is not None else replace(profile, altname=x509.Altname.NONE)
    return x509.issue(issuer, name, point(subject_label), profile, 4711, now + starts, now + ends, card=card)


def authority_name(label: str, agency: str = "H49") -> bytes:
    """The name of a test authority."""
    return x509.agency_name(agency, "UBND tỉnh", label)


def authority(label: str, now: datetime, **changes: Any) -> bytes:
    """A self-made issuing authority: what an anchor holds."""
    more = {"subject": authority_name(label), "ends": timedelta(days=3650), **changes}
    return certificate(label, label, profiles.ISSUING, now, **more)


def content_signer(now: datetime, **changes: Any) -> ContentSigner:
    """The key that signs CHUID and security object."""
    der = certificate("content", "ca", profiles.CONTENT_SIGNER, now, **changes)
    return ContentSigner("content", der, sign_with("content"))


def trust_with(content: dict[str, Any], *anchors: Anchor) -> Trust:
    """The vectors' trust list with anchors, as the next number."""
    held = trust_of(content)
    listed = replace(held.content, number=held.content.number + 1, anchors=anchors)
    signers = [(public_key(root).kid(), sign_with(root)) for root in ("root-1", "root-2")]
    accepted = accept_trust_list(issue_trust_list(listed, signers), held, datetime.fromtimestamp(content["now"], UTC))
    assert isinstance(accepted, Trust)
    return accepted


def anchor(der: bytes, *scope: str, profile: Profile = Profile.OWN) -> Anchor:
    """An anchor of the trust list."""
    return Anchor(der, scope or ("H49",), profile)
