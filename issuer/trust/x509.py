"""Certificates as values and bytes: names, and a TBSCertificate signed by a callback into the HSM.

The kinds of certificate are the table in `issuer/trust/profiles.py`. All is pure but for the callback. Names are DER:
they are compared and signed as bytes. Source: RFC 5280 §4.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from asn1crypto import core
from asn1crypto import x509 as asn1

from cardlink.iso7816 import tlv
from issuer.trust import der
from issuer.trust.der import Tag
from issuer.trust.oids import ORGANIZATION_IDENTIFIER, PIV_FASC_N
from issuer.trust.profiles import Altname, Asking, Profile

Sign = Callable[[bytes], bytes]  # ES256 over the bytes given: r ‖ s, 64 bytes

SERIAL_BITS = 159  # at most 20 octets and positive (RFC 5280 §4.1.2.2), all of it random
NAME_CHARS = 64  # ub-organization-name and ub-common-name (RFC 5280 Appendix A)


@dataclass(frozen=True, slots=True)
class CardNames:
    """What a card certificate says of the card in subjectAltName."""

    card_uuid: uuid.UUID
    fasc_n: bytes


@dataclass(frozen=True, slots=True)
class Pointers:
    """Where others find what they need to judge a certificate (RFC 5280 §4.2.1.13, §4.2.2.1)."""

    crl: str
    ocsp: str
    issuer: str  # the issuer's certificate, DER


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs a certificate: its name (DER), its key identifier and its key; what it answers for stands at `at`."""

    name: bytes
    key_id: bytes
    sign: Sign
    at: Pointers | None = None
    agency: str = ""  # at or below which it names subjects; empty: no bound


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
    )
    return der.signed(body, issuer.sign(body))


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
) -> bytes:
    """Build the TBSCertificate (RFC 5280 §4.1.2) of what `issue` gives."""
    return der.sequence(
        _VERSION_3,
        der.integer(serial),
        der.ECDSA_SHA256,
        issuer.name,
        der.sequence(der.time(not_before), der.time(not_after)),
        subject,
        public_key_info(point),
        tlv.encode(Tag.CONSTRUCTED_3, der.sequence(_extensions(issuer, point, profile, card, constrained_to))),
    )


_VERSION_3 = tlv.encode(Tag.CONSTRUCTED_0, der.integer(2))


def _extensions(
    issuer: Issuer,
    point: bytes,
    profile: Profile,
    card: CardNames | None,
    constrained_to: tuple[str, ...],
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
    if issuer.at is not None:
        rows.append(_pointers(issuer.at, profile.asking))
    return b"".join(rows)


_SUBJECT_KEY_ID, _AUTHORITY_KEY_ID, _SUBJECT_ALT_NAME = "2.5.29.14", "2.5.29.35", "2.5.29.17"
_CRL_POINTS = "2.5.29.31"


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
    if profile.is_never_checked:
        rows.append(_row("ocsp_no_check", False, core.Null()))
    if constrained_to:
        names = [asn1.Name.load(_name(_agency_levels(code)), strict=True) for code in constrained_to]
        subtrees = [{"base": asn1.GeneralName("directory_name", name)} for name in names]
        rows.append(_row("name_constraints", True, {"permitted_subtrees": subtrees}))
    return b"".join(rows)


@lru_cache(maxsize=64)
def _pointers(at: Pointers, asking: Asking) -> bytes:
    """CRL distribution point and authority information access."""
    if asking is Asking.NOWHERE:
        return b""
    access = [("ca_issuers", at.issuer)]
    if asking is Asking.CRL_AND_OCSP:
        access.insert(0, ("ocsp", at.ocsp))
    told = [{"access_method": method, "access_location": _url(url)} for method, url in access]
    return _extension(_CRL_POINTS, distribution_point(at.crl)) + _row("authority_information_access", False, told)


def distribution_point(url: str) -> bytes:
    """CRLDistributionPoints of one address (RFC 5280 §4.2.1.13): in certificates, and in lists for the freshest."""
    name = asn1.DistributionPointName("full_name", [_url(url)])
    return bytes(asn1.CRLDistributionPoints([{"distribution_point": name}]).dump())


def _url(url: str) -> asn1.GeneralName:
    return asn1.GeneralName("uniform_resource_identifier", url)


def _row(name: str, critical: bool, value: object) -> bytes:
    return bytes(asn1.Extension({"extn_id": name, "critical": critical, "extn_value": value}).dump())


def _card_names(card: CardNames) -> bytes:
    """GeneralNames: the FASC-N as otherName, the card UUID as URN (FIPS 201-3 §4.2.1)."""
    fasc_n = tlv.encode(Tag.CONSTRUCTED_0, der.octet_string(card.fasc_n))
    return der.sequence(
        tlv.encode(Tag.CONSTRUCTED_0, der.oid(PIV_FASC_N) + fasc_n),
        tlv.encode(Tag.PRIMITIVE_6, card.card_uuid.urn.encode("ascii")),
    )
