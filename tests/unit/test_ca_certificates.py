"""The X.509 side, judged by OpenSSL: paths, name constraints, purposes, and the CMS on cards."""

import subprocess
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1
from card_register import HOME, NOW, OTHER, Register, open_register
from cryptography import x509 as crypto
from signing_keys import LocalKeys

from cardlink.check.path import read_card_certificate, verify_card_certificate
from cardlink.piv.fascn import NON_FEDERAL, encode_fascn
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import Trust, reload_trust_list
from issuer import database, errors
from issuer.errors import NotFound
from issuer.trust import authorities, ca, cms, profiles, trust_list, x509
from issuer.trust.oids import KeyPurpose, Policy

UUID = uuid.UUID("7a2ff7a8-93ee-4b6f-9d77-3f2e4f7f0a11")
EXPIRES = datetime(2031, 3, 1, 16, 59, 59, tzinfo=UTC)
LATER = str(int((NOW + timedelta(hours=1)).timestamp()))


@dataclass
class Office:
    """A register with its authorities on the disk, for OpenSSL."""

    register: Register
    folder: Path
    trust: Trust

    def write(self, name: str, certificate: bytes) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_bytes(ca.to_pem(certificate))
        return path

    def authority(self, kind: str, agency: str = HOME) -> bytes:
        with database.reading(self.register.factory) as session:
            return ca.current(session, kind, agency, NOW).certificate

    def issue(self, profile: str, agency: str = HOME, authority: str = HOME) -> bytes:
        label = f"card {profile}"
        self.register.keys.generate(label, "ec-p256", "card", ())
        point = self.register.keys.info(label).public
        assert point is not None
        holder = ca.CardHolder(agency, "Sở Thử", "Đặng Thị Ánh", UUID, encode_fascn(NON_FEDERAL), EXPIRES)
        with database.reading(self.register.factory) as session:
            issuer = ca.issuer_of(session, self.register.keys, ca.current(session, ca.ISSUING, authority, NOW))
        unbound = replace(issuer, agency="")  # as a stolen key would be used; the centre itself refuses
        return ca.issue_card_certificate(unbound, profile, point, holder, ca.random_serial(), NOW)

    def verify(self, certificate: bytes, authority: str = HOME, *more: str) -> subprocess.CompletedProcess[str]:
        root = self.write("root", self.authority(ca.ROOT, ""))
        issuing = self.write("issuing", self.authority(ca.ISSUING, authority))
        leaf = self.write("leaf", certificate)
        command = ["openssl", "verify", "-x509_strict", "-attime", LATER, "-CAfile", str(root), "-untrusted"]
        return subprocess.run([*command, str(issuing), *more, str(leaf)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    folder = tmp_path_factory.mktemp("ca")
    register = open_register(folder)
    with database.reading(register.factory) as session:
        trust = reload_trust_list(trust_list.current(session))
    assert isinstance(trust, Trust)
    return Office(register, folder, trust)


@pytest.mark.parametrize("profile", sorted(profiles.CARD_PROFILES))
@pytest.mark.parametrize("agency", [HOME, f"{HOME}.01.02"])
def test_a_card_certificate_verifies_up_to_the_root(office: Office, profile: str, agency: str) -> None:
    answer = office.verify(office.issue(profile, agency))
    assert (answer.returncode, answer.stdout.strip()[-2:]) == (0, "OK"), answer.stderr


def test_the_content_signer_verifies_and_outlives_every_card_certificate(office: Office) -> None:
    signer = office.authority(ca.CONTENT)
    assert office.verify(signer).returncode == 0
    certificate = crypto.load_der_x509_certificate(signer)
    last_signed = NOW.replace(year=NOW.year + authorities.SIGNS_YEARS[ca.CONTENT])
    assert certificate.not_valid_after_utc > last_signed.replace(year=last_signed.year + profiles.CARD_YEARS)
    assert (
        certificate.not_valid_after_utc
        <= crypto.load_der_x509_certificate(office.authority(ca.ISSUING)).not_valid_after_utc
    )
    purposes = certificate.extensions.get_extension_for_class(crypto.ExtendedKeyUsage)
    assert purposes.critical
    assert [one.dotted_string for one in purposes.value] == [KeyPurpose.PIV_CONTENT_SIGNING]


@pytest.mark.parametrize("agency", [OTHER, "H381", f"{OTHER}.{HOME}"])
def test_an_agencys_authority_names_nobody_outside_its_agency(office: Office, agency: str) -> None:
    answer = office.verify(office.issue("9E", agency))
    assert answer.returncode != 0
    assert "permitted subtree violation" in answer.stderr


@pytest.mark.parametrize("agency", [OTHER, "H381", f"{OTHER}.{HOME}"])
def test_the_centre_lets_no_authority_issue_for_another_agency(office: Office, agency: str) -> None:
    with database.reading(office.register.factory) as session:
        issuer = ca.issuer_of(session, office.register.keys, ca.current(session, ca.ISSUING, HOME, NOW))
    holder = ca.CardHolder(agency, "Sở Thử", "Đặng Thị Ánh", UUID, encode_fascn(NON_FEDERAL), EXPIRES)
    with pytest.raises(errors.Refused, match=r"trust\.outside_agency"):
        ca.issue_card_certificate(issuer, "9E", office.issue("9E"), holder, 1, NOW)


def test_an_agencys_authority_makes_no_other_authority(office: Office) -> None:
    with database.reading(office.register.factory) as session:
        issuer = ca.issuer_of(session, office.register.keys, ca.current(session, ca.ISSUING, HOME, NOW))
    point = office.register.keys.generate("sub", "ec-p256", "ca", ()).public
    assert point is not None
    name = x509.agency_name(HOME, "Sở Thử", "CA thứ hai")
    below = x509.issue(issuer, name, point, profiles.ISSUING, 7, NOW, EXPIRES)
    answer = office.verify(below)
    assert answer.returncode == 0  # as a leaf it is only a certificate ...
    sub = x509.Issuer(name, x509.key_id(point), lambda data: office.register.keys.sign("sub", "ca", data))
    leaf_point = office.register.keys.generate("leaf", "ec-p256", "card", ()).public
    assert leaf_point is not None
    leaf = x509.issue(sub, x509.agency_name(HOME, "x", "y"), leaf_point, profiles.CARD_PROFILES["9C"], 8, NOW, EXPIRES)
    chain = office.write("sub", below)
    answer = office.verify(leaf, HOME, "-untrusted", str(chain))
    assert "path length constraint exceeded" in answer.stderr  # ... and nothing counts below it


def test_the_9e_certificate_is_what_a_door_wants(office: Office) -> None:
    card = verify_card_certificate(office.issue("9E", f"{HOME}.01"), office.trust, NOW + timedelta(minutes=1))
    assert not isinstance(card, Refused)
    assert (card.agency, card.card_uuid) == (f"{HOME}.01", UUID.bytes)
    assert card.expires_s == int(EXPIRES.timestamp())


def test_a_door_refuses_a_certificate_of_another_purpose_and_one_beyond_the_scope(office: Office) -> None:
    other = read_card_certificate(office.issue("9A"))
    assert isinstance(other, Refused)
    assert other.reason is Reason.WRONG_EKU
    beyond = verify_card_certificate(office.issue("9E", OTHER), office.trust, NOW + timedelta(minutes=1))
    assert isinstance(beyond, Refused)
    assert beyond.reason is Reason.OUT_OF_SCOPE


@pytest.mark.parametrize(
    ("profile", "usage", "purposes", "policy", "has_uuid", "has_person"),
    [
        ("9A", {"digital_signature"}, {KeyPurpose.CLIENT_AUTH}, Policy.PIV_AUTH, True, True),
        (
            "9C",
            {"digital_signature", "non_repudiation"},
            {KeyPurpose.EMAIL_PROTECTION, KeyPurpose.DOCUMENT_SIGNING},
            Policy.SIGNATURE,
            False,
            True,
        ),
        ("9D", {"key_agreement"}, {KeyPurpose.EMAIL_PROTECTION}, Policy.KEY_MANAGEMENT, False, True),
        ("9E", {"digital_signature"}, {KeyPurpose.PIV_CARD_AUTH}, Policy.CARD_AUTH, True, False),
    ],
)
def test_each_slot_has_its_own_usage_purpose_and_policy(
    office: Office,
    profile: str,
    usage: set[str],
    purposes: set[str],
    policy: str,
    has_uuid: bool,
    has_person: bool,
) -> None:
    der = office.issue(profile)
    certificate = asn1.Certificate.load(der, strict=True)
    assert certificate.key_usage_value.native == usage
    found = crypto.load_der_x509_certificate(der)
    named = found.extensions.get_extension_for_class(crypto.ExtendedKeyUsage).value
    assert {one.dotted_string for one in named} == purposes
    (policies,) = found.extensions.get_extension_for_class(crypto.CertificatePolicies).value
    assert policies.policy_identifier.dotted_string == policy
    assert (UUID.urn.encode() in der) == has_uuid
    assert (encode_fascn(NON_FEDERAL) in der) == has_uuid
    assert ("Đặng Thị Ánh".encode() in der) == has_person
    assert x509.agency_of(certificate.subject) == HOME


def test_serial_numbers_are_random_and_fit_twenty_octets() -> None:
    serials = {ca.random_serial() for _ in range(200)}
    assert len(serials) == 200
    assert all(0 < one < 1 << 159 for one in serials)
    assert max(serials).bit_length() > 150


def test_times_from_2050_on_are_generalized(office: Office) -> None:
    root = asn1.Certificate.load(office.authority(ca.ROOT, ""), strict=True)
    validity = root["tbs_certificate"]["validity"]
    assert (validity["not_before"].name, validity["not_after"].name) == ("utc_time", "general_time")


def test_no_authority_signs_beyond_its_time_or_for_an_agency_that_has_none(office: Office) -> None:
    with database.reading(office.register.factory) as session:
        with pytest.raises(NotFound, match=r"trust\.no_authority"):
            ca.current(session, ca.ISSUING, "G01", NOW)
        with pytest.raises(NotFound, match=r"trust\.no_authority"):
            ca.current(session, ca.ISSUING, HOME, NOW + timedelta(days=5 * 366))


def content_signer(office: Office) -> ca.ContentSigner:
    with database.reading(office.register.factory) as session:
        return ca.content_signer_for(session, office.register.keys, HOME, NOW)


def cms_verify(office: Office, signature: bytes, content: bytes | None, *more: str) -> subprocess.CompletedProcess[str]:
    (office.folder / "signature").write_bytes(signature)
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(office.folder / "signature")]
    if content is not None:
        (office.folder / "content").write_bytes(content)
        command += ["-content", str(office.folder / "content")]
    return subprocess.run([*command, *more], capture_output=True, text=True, errors="replace", check=False)


def test_the_signature_of_a_chuid_carries_its_certificate_and_verifies_to_the_root(office: Office) -> None:
    signature = cms.sign_chuid(content_signer(office), b"what is covered")
    trusted = office.folder / "trusted.pem"
    trusted.write_bytes(ca.to_pem(office.authority(ca.ROOT, "")) + ca.to_pem(office.authority(ca.ISSUING)))
    more = ("-CAfile", str(trusted), "-attime", LATER, "-purpose", "any")
    answer = cms_verify(office, signature, b"what is covered", *more)
    assert answer.returncode == 0, answer.stderr
    assert cms_verify(office, signature, b"what was changed", *more).returncode != 0


def test_the_security_object_holds_its_content_and_no_certificate(office: Office) -> None:
    signer = content_signer(office)
    lds = b"\x30\x03\x02\x01\x00"
    signature = cms.sign_security_object(signer, lds)
    assert lds in signature
    assert signer.certificate not in signature
    path = office.write("content", signer.certificate)
    assert cms_verify(office, signature, None, "-certfile", str(path), "-noverify").returncode == 0


def test_the_signature_of_a_portrait_names_the_card_it_was_made_for(office: Office) -> None:
    signer = content_signer(office)
    signature = cms.sign_biometric(signer, b"header and record", encode_fascn(NON_FEDERAL), UUID.bytes)
    assert UUID.bytes in signature
    assert encode_fascn(NON_FEDERAL) in signature
    path = office.write("content", signer.certificate)
    good = cms_verify(office, signature, b"header and record", "-certfile", str(path), "-noverify")
    assert good.returncode == 0, good.stderr


def test_a_key_without_a_public_part_signs_no_certificate() -> None:
    class Symmetric(LocalKeys):
        """Keys of which one is no key pair."""

    keys = Symmetric()
    keys.generate("master", "aes-256", "card-master", ())
    private, info = keys.made["master"]
    keys.made["master"] = private, type(info)("master", "aes-256", "card-master", (), None, "active")
    with pytest.raises(NotFound, match=r"trust\.no_public_key"):
        ca.public_point(keys, "master")
