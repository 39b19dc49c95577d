"""Certificates as values and bytes: names, profiles, and a TBSCertificate signed by a callback into the HSM.

The profiles are one table (X.509: RFC 5280; PIV: FIPS 201-3 §4.2 and §5.2). All is pure but for the callback. Names
are DER: they are compared and signed as bytes.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from asn1crypto import x509 as asn1

from cardlink.iso7816 import tlv
from issuer.trust import der
from issuer.trust.der import Tag
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
    """Who signs a certificate: its name (DER), its key identifier and its key."""

    name: bytes
    key_id: bytes
    sign: Sign


_COUNTRY, _ORGANIZATION, _UNIT, _COMMON_NAME, _SERIAL = "2.5.4.6", "2.5.4.10", "2.5.4.11", "2.5.4.3", "2.5.4.5"
_PRINTABLE = frozenset({_COUNTRY, _SERIAL})  # RFC 5280 Appendix A: these two are PrintableString


def agency_name(agency_code: str, organization: str, common_name: str, serial_number: str | None = None) -> bytes:
    """Build a subject: C, one OU for each level of the agency code, O, organizationIdentifier, CN, serialNumber.

    The levels stand first and one by one so that a directoryName constraint (RFC 5280 §4.2.1.10), which compares whole
    leading fields, means the same as a prefix of an agency code.
    """
    fields = [
        *_agency_levels(agency_code),
        (_ORGANIZATION, organization[:NAME_CHARS]),
        (ORGANIZATION_IDENTIFIER, agency_code),
        (_COMMON_NAME, common_name[:NAME_CHARS]),
    ]
    if serial_number is not None:
        fields.append((_SERIAL, serial_number))
    return _name(fields)


def root_name(organization: str, common_name: str) -> bytes:
    """The name of the root, which stands above all agencies."""
    return _name([(_COUNTRY, "VN"), (_ORGANIZATION, organization[:NAME_CHARS]), (_COMMON_NAME, common_name)])


def agency_of(name: asn1.Name) -> str | None:
    """The agency code in a subject, or None when it names no agency."""
    for rdn in name.chosen:
        for field in rdn:
            if field["type"].dotted == ORGANIZATION_IDENTIFIER:
                return str(field["value"].native)
    return None


def _agency_levels(agency_code: str) -> list[tuple[str, str]]:
    return [(_COUNTRY, "VN"), *((_UNIT, level) for level in agency_code.split("."))]


def _name(fields: list[tuple[str, str]]) -> bytes:
    """RDNSequence of single attributes (RFC 5280 §4.1.2.4)."""
    rdns = []
    for kind, text in fields:
        if kind in _PRINTABLE:
            value = tlv.encode(Tag.PRINTABLE_STRING, text.encode("ascii"))
        else:
            value = tlv.encode(Tag.UTF8_STRING, text.encode())
        rdns.append(der.set_of(der.sequence(der.oid(kind), value)))
    return der.sequence(*rdns)


def public_key_info(point: bytes) -> bytes:
    """SubjectPublicKeyInfo of a P-256 key given as an uncompressed point of 65 bytes (RFC 5480 §2)."""
    return der.sequence(der.EC_P256, der.bit_string(point))


def key_id(point: bytes) -> bytes:
    """Key identifier: the first 20 bytes of SHA-256 of the point (RFC 7093 §2, method 1)."""
    return hashlib.sha256(point).digest()[:20]


def issue(
    issuer: Issuer,
    subject: bytes,
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
    body = to_sign(
        issuer,
        subject,
        point,
        profile,
        serial,
        not_before,
        not_after,
        card=card,
        constrained_to=constrained_to,
        crl_url=crl_url,
    )
    return signed(body, issuer.sign(body))


def to_sign(
    issuer: Issuer,
    subject: bytes,
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
    """Build the TBSCertificate (RFC 5280 §4.1.2) of what `issue` gives."""
    return der.sequence(
        _VERSION_3,
        der.integer(serial),
        der.ECDSA_SHA256,
        issuer.name,
        der.sequence(_time(not_before), _time(not_after)),
        subject,
        public_key_info(point),
        tlv.encode(Tag.CONSTRUCTED_3, der.sequence(_extensions(issuer, point, profile, card, constrained_to, crl_url))),
    )


def signed(body: bytes, signature: bytes) -> bytes:
    """The certificate of a signed TBSCertificate; `signature` is r ‖ s (RFC 5280 §4.1.1)."""
    return der.sequence(body, der.ECDSA_SHA256, der.bit_string(der.ecdsa_signature(signature)))


_VERSION_3 = tlv.encode(Tag.CONSTRUCTED_0, der.integer(2))


def _time(moment: datetime) -> bytes:
    """UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5), whole seconds."""
    exact = moment.astimezone(UTC)
    if exact.year < 2050:
        return tlv.encode(Tag.UTC_TIME, f"{exact:%y%m%d%H%M%SZ}".encode())
    return tlv.encode(Tag.GENERALIZED_TIME, f"{exact:%Y%m%d%H%M%SZ}".encode())


def _extensions(
    issuer: Issuer,
    point: bytes,
    profile: Profile,
    card: CardNames | None,
    constrained_to: tuple[str, ...],
    crl_url: str | None,
) -> bytes:
    """The extensions one after the other: what names this key and card, and between it what its profile says."""
    authority = der.sequence(tlv.encode(Tag.PRIMITIVE_0, issuer.key_id))
    rows = [
        _extension(_SUBJECT_KEY_ID, der.octet_string(key_id(point))),
        _extension(_AUTHORITY_KEY_ID, authority),
        _of_profile(profile, constrained_to),
    ]
    if profile.altname is Altname.CARD:
        if card is None:
            raise ValueError(f"profile {profile.name} needs the card's names")
        rows.append(_extension(_SUBJECT_ALT_NAME, _card_names(card)))
    if crl_url is not None:
        rows.append(_revocation_list(crl_url))
    return b"".join(rows)


_SUBJECT_KEY_ID, _AUTHORITY_KEY_ID, _SUBJECT_ALT_NAME = "2.5.29.14", "2.5.29.35", "2.5.29.17"


def _extension(kind: str, value: bytes) -> bytes:
    """One extension that is not critical."""
    return der.sequence(der.oid(kind), der.octet_string(value))


@lru_cache(maxsize=64)
def _of_profile(profile: Profile, constrained_to: tuple[str, ...]) -> bytes:
    """The extensions that all certificates of a profile share."""
    rows = [_row("key_usage", True, set(profile.usage))]
    if profile.is_ca:
        rows.append(_row("basic_constraints", True, {"ca": True, "path_len_constraint": profile.path_length}))
    if profile.purposes:
        rows.append(_row("extended_key_usage", profile.purposes_critical, [str(one) for one in profile.purposes]))
    if profile.policy is not None:
        rows.append(_row("certificate_policies", False, [{"policy_identifier": str(profile.policy)}]))
    if constrained_to:
        names = [asn1.Name.load(_name(_agency_levels(code)), strict=True) for code in constrained_to]
        subtrees = [{"base": asn1.GeneralName("directory_name", name)} for name in names]
        rows.append(_row("name_constraints", True, {"permitted_subtrees": subtrees}))
    return b"".join(rows)


@lru_cache(maxsize=64)
def _revocation_list(url: str) -> bytes:
    name = asn1.DistributionPointName("full_name", [asn1.GeneralName("uniform_resource_identifier", url)])
    return _row("crl_distribution_points", False, [{"distribution_point": name}])


def _row(name: str, critical: bool, value: object) -> bytes:
    return bytes(asn1.Extension({"extn_id": name, "critical": critical, "extn_value": value}).dump())


def _card_names(card: CardNames) -> bytes:
    """GeneralNames: the FASC-N as otherName, the card UUID as URN (FIPS 201-3 §4.2.1)."""
    fasc_n = tlv.encode(Tag.CONSTRUCTED_0, der.octet_string(card.fasc_n))
    return der.sequence(
        tlv.encode(Tag.CONSTRUCTED_0, der.oid(PIV_FASC_N) + fasc_n),
        tlv.encode(Tag.PRIMITIVE_6, card.card_uuid.urn.encode("ascii")),
    )
