"""Cards checked by certificate (PKI-CAK): the path to an anchor, the purpose, the scope, the answer."""

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from card_certificates import AGENCY, anchor, authority, authority_name, certificate, point, trust_with
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import BasicConstraints, CertificateBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_vectors import at, load, private_key, public_key, sign_with

from cardlink.check.cache import CredentialCache
from cardlink.check.card import VerifiedCard, check_certificate, check_credential
from cardlink.check.evidence import Answer, CertificateEvidence, CredentialEvidence
from cardlink.check.path import CardCertificate, load_certificate, verify_card_certificate
from cardlink.statements.bundle import Mechanism
from cardlink.statements.card import read_card_credential
from cardlink.statements.challenge import door_challenge_digest
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import Profile, Trust
from issuer.trust import profiles, x509

FILE = load("card")
NOW = at(FILE)
GOOD = bytes.fromhex(FILE["good"][0]["raw"])
CARD_UUID = read_card_credential(GOOD).value.card_uuid
DOOR, NONCE = bytes(16), bytes(32)
CARD_9E = profiles.CARD_PROFILES["9E"]
CARD_9A = profiles.CARD_PROFILES["9A"]


def _trust(**changes: Any) -> Trust:
    return trust_with(FILE, anchor(authority("ca", NOW, **changes)))


def _own(**changes: Any) -> bytes:
    return certificate("card-9e", "ca", CARD_9E, NOW, card_uuid=CARD_UUID, **changes)


OWN, TRUST = _own(), _trust()


def _answer(label: str = "card-9e") -> Answer:
    digest = door_challenge_digest(DOOR, NONCE)
    return Answer(DOOR, NONCE, private_key(label).sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))


def _refused(der: bytes, trust: Trust | None = None, now: Any = NOW) -> Reason:
    judged = verify_card_certificate(der, trust or _trust(), now)
    assert isinstance(judged, Refused)
    return judged.reason


def test_a_card_without_a_credential_is_verified_by_its_certificate() -> None:
    checked = check_certificate(CertificateEvidence(_own(), _answer()), _trust(), NOW)
    assert checked == VerifiedCard(
        mechanism=Mechanism.PKI_CAK,
        agency=AGENCY,
        card_uuid=CARD_UUID,
        key_hash=public_key("card-9e").key_hash(),
        expires_s=int((NOW + timedelta(days=365)).timestamp()),
        status=None,
    )


def test_certificate_of_one_card_with_the_key_of_another_is_refused() -> None:
    refused = check_certificate(CertificateEvidence(_own(), _answer("clone")), _trust(), NOW)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.BAD_SIGNATURE


def test_purpose_and_kind_must_be_card_authentication() -> None:
    assert _refused(certificate("card-9e", "ca", CARD_9A, NOW, card_uuid=CARD_UUID)) is Reason.WRONG_EKU
    no_purpose = replace(CARD_9E, purposes=())
    assert _refused(certificate("card-9e", "ca", no_purpose, NOW, card_uuid=CARD_UUID)) is Reason.WRONG_EKU
    agreeing = replace(CARD_9E, usage=frozenset({"key_agreement"}))
    assert _refused(certificate("card-9e", "ca", agreeing, NOW, card_uuid=CARD_UUID)) is Reason.WRONG_CERTIFICATE
    ca = replace(CARD_9E, is_ca=True, path_length=0)
    assert _refused(certificate("card-9e", "ca", ca, NOW, card_uuid=CARD_UUID)) is Reason.WRONG_CERTIFICATE


def test_an_unknown_issuer_is_told_from_a_card_that_signed_itself() -> None:
    stranger = certificate("card-9e", "stranger", CARD_9E, NOW, card_uuid=CARD_UUID)
    assert _refused(stranger) is Reason.UNKNOWN_SIGNER
    own_name = x509.agency_name(AGENCY, "Sở Nội vụ", "card-9e")
    issuer = x509.Issuer(own_name, bytes(20), sign_with("card-9e"))
    made = x509.issue(
        issuer,
        own_name,
        point("card-9e"),
        CARD_9E,
        1,
        NOW - timedelta(days=1),
        NOW + timedelta(days=1),
        card=x509.CardNames(UUID(bytes=CARD_UUID), bytes(25)),
    )
    assert _refused(made) is Reason.SELF_SIGNED


def test_a_signature_in_the_anchors_name_by_another_key_is_forged() -> None:
    named = x509.Issuer(authority_name("ca"), bytes(20), sign_with("stranger"))
    made = x509.issue(
        named,
        x509.agency_name(AGENCY, "Sở", "card-9e"),
        point("card-9e"),
        CARD_9E,
        1,
        NOW - timedelta(days=1),
        NOW + timedelta(days=1),
        card=x509.CardNames(UUID(bytes=CARD_UUID), bytes(25)),
    )
    assert _refused(made) is Reason.FORGED_STATEMENT


def test_of_two_authorities_with_one_name_the_one_that_signed_is_found() -> None:
    namesake = certificate("stranger", "stranger", profiles.ISSUING, NOW, subject=authority_name("ca"))
    trust = trust_with(FILE, anchor(namesake), anchor(authority("ca", NOW)))
    assert isinstance(verify_card_certificate(_own(), trust, NOW), CardCertificate)


def test_a_namesake_with_a_key_of_another_kind_does_not_hide_the_one_that_signed() -> None:
    key, name = rsa.generate_private_key(65537, 2048), load_certificate(authority("ca", NOW)).subject
    made = CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(days=1), NOW + timedelta(days=9))
    made = made.add_extension(BasicConstraints(ca=True, path_length=0), critical=True)
    namesake = anchor(made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    for anchors in itertools.permutations([namesake, anchor(authority("ca", NOW))]):
        assert isinstance(verify_card_certificate(_own(), trust_with(FILE, *anchors), NOW), CardCertificate)
    assert _refused(_own(), trust_with(FILE, namesake)) is Reason.UNSUPPORTED_ALGORITHM


@pytest.mark.parametrize("agency", ["H50", "H4", "H49.01.03"])
def test_an_agency_outside_the_anchors_scope_is_refused(agency: str) -> None:
    trust = trust_with(FILE, anchor(authority("ca", NOW), "H49.01.02"))
    assert _refused(_own(agency=agency), trust) is Reason.OUT_OF_SCOPE


def test_a_foreign_card_takes_the_agency_that_the_list_gives_its_anchor() -> None:
    trust = trust_with(FILE, anchor(authority("ca", NOW), "H77", profile=Profile.FOREIGN_PIV))
    judged = verify_card_certificate(_own(), trust, NOW)
    assert isinstance(judged, CardCertificate)
    assert judged.agency == "H77"


def test_an_own_certificate_without_an_agency_is_malformed() -> None:
    nameless = certificate("card-9e", "ca", CARD_9E, NOW, card_uuid=CARD_UUID, subject=x509.root_name("O", "CN"))
    assert _refused(nameless) is Reason.MALFORMED_CERTIFICATE


def test_times_of_card_authority_and_list_are_judged() -> None:
    assert _refused(_own(starts=timedelta(days=1))) is Reason.NOT_YET_VALID
    assert _refused(_own(starts=timedelta(days=-9), ends=timedelta(days=-1))) is Reason.EXPIRED
    over = _trust(starts=timedelta(days=-9), ends=timedelta(days=-1))
    assert _refused(_own(), over) is Reason.EXPIRED
    assert _refused(_own(), _trust(), NOW + timedelta(days=25)) is Reason.TRUST_EXPIRED


def test_an_anchor_that_is_no_authority_signs_nothing() -> None:
    leaf = certificate("ca", "ca", profiles.CONTENT_SIGNER, NOW, subject=authority_name("ca"))
    assert _refused(_own(), trust_with(FILE, anchor(leaf))) is Reason.WRONG_CERTIFICATE


@pytest.mark.parametrize("broken", [b"", b"\x30\x00", b"junk", bytes(9000)])
def test_a_broken_certificate_is_malformed(broken: bytes) -> None:
    assert _refused(broken) is Reason.MALFORMED_CERTIFICATE


def test_every_cut_of_a_certificate_is_malformed() -> None:
    whole, trust = _own(), _trust()
    for size in range(0, len(whole), 7):
        assert _refused(whole[:size], trust) is Reason.MALFORMED_CERTIFICATE


def test_a_certificate_without_or_with_two_card_uuids_is_malformed() -> None:
    assert _refused(certificate("card-9e", "ca", CARD_9E, NOW)) is Reason.MALFORMED_CERTIFICATE


def test_the_certificate_beside_a_credential_must_be_of_the_same_card() -> None:
    evidence = CredentialEvidence(GOOD, _answer(), certificate=_own())
    assert isinstance(check_credential(evidence, _trust(), NOW, CredentialCache()), VerifiedCard)
    others = {
        certificate("clone", "ca", CARD_9E, NOW, card_uuid=CARD_UUID): Reason.KEY_MISMATCH,
        certificate("card-9e", "ca", CARD_9E, NOW, card_uuid=bytes(16)): Reason.UUID_MISMATCH,
        _own(agency="H49.01.03"): Reason.AGENCY_MISMATCH,
        b"": Reason.MALFORMED_CERTIFICATE,
    }
    for der, reason in others.items():
        refused = check_credential(replace(evidence, certificate=der), _trust(), NOW, CredentialCache())
        assert isinstance(refused, Refused)
        assert refused.reason is reason


def test_an_anchor_that_nobody_can_read_does_not_spoil_the_others() -> None:
    trust = trust_with(FILE, anchor(b"junk"), anchor(authority("ca", NOW)))
    assert isinstance(verify_card_certificate(_own(), trust, NOW), CardCertificate)


# cryptography warns, and goes on, where a name's attribute has a length that its type does not have
@pytest.mark.filterwarnings("ignore:Attribute's length must be")
@settings(max_examples=400)
@given(st.data())
def test_a_mutated_certificate_is_refused_and_raises_nothing(data: st.DataObject) -> None:
    broken = bytearray(OWN)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(broken) - 1))
        new = data.draw(st.binary(max_size=3))
        broken[place : place + data.draw(st.integers(0, 3))] = new
    judged = verify_card_certificate(bytes(broken), TRUST, NOW)
    assert isinstance(judged, Refused) or bytes(broken) == OWN
