"""Certificates as values and bytes: names, profiles, and a TBSCertificate signed by a callback into the HSM.

The profiles are one table (X.509: RFC 5280; PIV: FIPS 201-3 §4.2 and §5.2). All is pure but for the callback.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from asn1crypto import algos, core, keys
from asn1crypto import x509 as asn1

from issuer.trust.oids import ORGANIZATION_IDENTIFIER, PIV_FASC_N, KeyPurpose, Policy

Sign = Callable[[bytes], bytes]  # ES256 over the bytes given: r ‖ s, 64 bytes

SERIAL_BITS = 159  # at most 20 octets and positive (RFC 5280 §4.1.2.2), all of it random
NAME_CHARS = 64  # ub-organization-name and ub-common-name (RFC 5280 Appendix A)


class Altname(StrEnum):
    """What stands in subjectAltName."""

    NONE = "none"
    CARD = "card"  # FASC-N and URN of the card UUID (FIPS 201-3 §4.2.1)


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate: usage, purpose, policy and how long it lives."""

    name: str
    usage: frozenset[str]
    purposes: tuple[KeyPurpose, ...]
    purposes_critical: bool
    policy: Policy | None
    altname: Altname
    years: int  # the longest life; a card certificate ends with its card
    has_person: bool  # the holder's name stands in the subject
    path_length: int | None = None
    is_ca: bool = False


CARD_YEARS = 5
ISSUING_YEARS = 15
CONTENT_YEARS = 11  # signs for five years at most and outlives every 9E certificate it stands beside

ROOT = Profile("root", frozenset({"key_cert_sign", "crl_sign"}), (), False, None, Altname.NONE, 25, False, 1, True)
ISSUING = Profile(
    "issuing", frozenset({"key_cert_sign", "crl_sign"}), (), False, None, Altname.NONE, ISSUING_YEARS, False, 0, True
)
CONTENT_SIGNER = Profile(
    "content-signer",
    frozenset({"digital_signature"}),
    (KeyPurpose.PIV_CONTENT_SIGNING,),
    True,
    Policy.CONTENT_SIGNING,
    Altname.NONE,
    CONTENT_YEARS,
    False,
)
CARD_PROFILES: dict[str, Profile] = {
    row.name: row
    for row in (
        Profile(
            "9A",
            frozenset({"digital_signature"}),
            (KeyPurpose.CLIENT_AUTH,),
            False,
            Policy.PIV_AUTH,
            Altname.CARD,
            CARD_YEARS,
            True,
        ),
        Profile(
            "9C",
            frozenset({"digital_signature", "non_repudiation"}),
            (KeyPurpose.EMAIL_PROTECTION, KeyPurpose.DOCUMENT_SIGNING),
            False,
            Policy.SIGNATURE,
            Altname.NONE,
            CARD_YEARS,
            True,
        ),
        Profile(
            "9D",
            frozenset({"key_agreement"}),
            (KeyPurpose.EMAIL_PROTECTION,),
            False,
            Policy.KEY_MANAGEMENT,
            Altname.NONE,
            CARD_YEARS,
            True,
        ),
        Profile(
            "9E",
            frozenset({"digital_signature"}),
            (KeyPurpose.PIV_CARD_AUTH,),
            True,
            Policy.CARD_AUTH,
            Altname.CARD,
            CARD_YEARS,
            False,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class CardNames:
    """What a card certificate says of the card in subjectAltName."""

    card_uuid: uuid.UUID
    fasc_n: bytes


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs a certificate: its name, its key identifier and its key."""

    name: asn1.Name
    key_id: bytes
    sign: Sign


def agency_name(agency_code: str, organization: str, common_name: str, serial_number: str | None = None) -> asn1.Name:
    """Build a subject: C, one OU for each level of the agency code, O, organizationIdentifier, CN, serialNumber.

    The levels stand first and one by one so that a directoryName constraint (RFC 5280 §4.2.1.10), which compares whole
    leading fields, means the same as a prefix of an agency code.
    """
    fields = [
        *_agency_levels(agency_code),
        ("organization_name", organization[:NAME_CHARS]),
        ("organization_identifier", agency_code),
        ("common_name", common_name[:NAME_CHARS]),
    ]
    if serial_number is not None:
        fields.append(("serial_number", serial_number))
    return _name(fields)


def root_name(organization: str, common_name: str) -> asn1.Name:
    """The name of the root, which stands above all agencies."""
    return _name(
        [("country_name", "VN"), ("organization_name", organization[:NAME_CHARS]), ("common_name", common_name)]
    )


def agency_of(name: asn1.Name) -> str | None:
    """The agency code in a subject, or None when it names no agency."""
    for rdn in name.chosen:
        for field in rdn:
            if field["type"].dotted == ORGANIZATION_IDENTIFIER:
                return str(field["value"].native)
    return None


def _agency_levels(agency_code: str) -> list[tuple[str, str]]:
    return [("country_name", "VN"), *(("organizational_unit_name", level) for level in agency_code.split("."))]


def _name(fields: list[tuple[str, str]]) -> asn1.Name:
    rdns = []
    for kind, text in fields:
        value: object
        if kind in ("country_name", "serial_number"):
            value = core.PrintableString(text)
        else:
            value = asn1.DirectoryString("utf8_string", core.UTF8String(text))
        rdns.append(asn1.RelativeDistinguishedName([asn1.NameTypeAndValue({"type": kind, "value": value})]))
    return asn1.Name(name="", value=asn1.RDNSequence(rdns))


def public_key_info(point: bytes) -> keys.PublicKeyInfo:
    """SubjectPublicKeyInfo of a P-256 key given as an uncompressed point of 65 bytes (RFC 5480 §2)."""
    return keys.PublicKeyInfo(
        {
            "algorithm": {"algorithm": "ec", "parameters": keys.ECDomainParameters("named", "secp256r1")},
            "public_key": point,
        }
    )


def key_id(point: bytes) -> bytes:
    """Key identifier: the first 20 bytes of SHA-256 of the point (RFC 7093 §2, method 1)."""
    return hashlib.sha256(point).digest()[:20]


def der_signature(raw: bytes) -> bytes:
    """ECDSA-Sig-Value from r ‖ s (RFC 3279 §2.2.3)."""
    return bytes(algos.DSASignature.from_p1363(raw).dump())


def issue(
    issuer: Issuer,
    subject: asn1.Name,
    point: bytes,
    profile: Profile,
    serial: int,
    not_before: datetime,
    not_after: datetime,
    *,
    card: CardNames | None = None,
    constrained_to: tuple[str, ...] = (),
    crl_url: str | None = None,
) -> bytes:
    """Build a certificate after `profile`, have it signed, and return its DER.

    `constrained_to`: agency codes (prefixes) under which a CA may name subjects.
    """
    tbs = asn1.TbsCertificate(
        {
            "version": "v3",
            "serial_number": serial,
            "signature": {"algorithm": "sha256_ecdsa"},
            "issuer": issuer.name,
            "validity": {"not_before": _time(not_before), "not_after": _time(not_after)},
            "subject": subject,
            "subject_public_key_info": public_key_info(point),
            "extensions": _extensions(issuer, point, profile, card, constrained_to, crl_url),
        }
    )
    signature = der_signature(issuer.sign(tbs.dump()))
    certificate = asn1.Certificate(
        {"tbs_certificate": tbs, "signature_algorithm": {"algorithm": "sha256_ecdsa"}, "signature_value": signature}
    )
    return bytes(certificate.dump())


def _time(moment: datetime) -> asn1.Time:
    """UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5), whole seconds."""
    exact = moment.astimezone(UTC).replace(microsecond=0)
    if exact.year < 2050:
        return asn1.Time("utc_time", core.UTCTime(exact))
    return asn1.Time("general_time", core.GeneralizedTime(exact))


def _extensions(
    issuer: Issuer,
    point: bytes,
    profile: Profile,
    card: CardNames | None,
    constrained_to: tuple[str, ...],
    crl_url: str | None,
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        _row("key_identifier", False, key_id(point)),
        _row("authority_key_identifier", False, {"key_identifier": issuer.key_id}),
        _row("key_usage", True, set(profile.usage)),
    ]
    if profile.is_ca:
        rows.append(_row("basic_constraints", True, {"ca": True, "path_len_constraint": profile.path_length}))
    if profile.purposes:
        rows.append(_row("extended_key_usage", profile.purposes_critical, [str(one) for one in profile.purposes]))
    if profile.policy is not None:
        rows.append(_row("certificate_policies", False, [{"policy_identifier": str(profile.policy)}]))
    if constrained_to:
        subtrees = [
            {"base": asn1.GeneralName("directory_name", _name(_agency_levels(code)))} for code in constrained_to
        ]
        rows.append(_row("name_constraints", True, {"permitted_subtrees": subtrees}))
    if profile.altname is Altname.CARD:
        if card is None:
            raise ValueError(f"profile {profile.name} needs the card's names")
        rows.append(_row("subject_alt_name", False, _card_names(card)))
    if crl_url is not None:
        point_name = asn1.DistributionPointName("full_name", [asn1.GeneralName("uniform_resource_identifier", crl_url)])
        rows.append(_row("crl_distribution_points", False, [{"distribution_point": point_name}]))
    return rows


def _row(name: str, critical: bool, value: object) -> dict[str, object]:
    return {"extn_id": name, "critical": critical, "extn_value": value}


def _card_names(card: CardNames) -> list[asn1.GeneralName]:
    fasc_n = asn1.AnotherName({"type_id": PIV_FASC_N, "value": core.OctetString(card.fasc_n, explicit=0)})
    return [
        asn1.GeneralName("other_name", fasc_n),
        asn1.GeneralName("uniform_resource_identifier", card.card_uuid.urn),
    ]
