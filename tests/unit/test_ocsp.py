"""OCSP (RFC 6960, RFC 5019): what is asked is read strictly, answers verify, and the HSM's load is bounded."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import ocsp as asn1_ocsp
from card_register import HOME, NOW, OTHER
from cryptography import x509 as crypto
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as crypto_ocsp
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseStatus
from revocation_office import RevocationOffice, open_revocation_office
from signing_keys import LocalKeys

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from issuer import database
from issuer.limits import RateLimit
from issuer.trust import ca, der, ocsp, ocsp_responder, profiles
from issuer.trust.crl import CrlReason
from issuer.trust.ocsp import Failure
from issuer.trust.ocsp_responder import OcspService, Reply
from issuer.trust.port import HsmError
from issuer.trust.revocation_tables import OcspCertificate

SHA1, SHA256 = hashes.SHA1(), hashes.SHA256()  # noqa: S303 - what clients name certificates by


@dataclass
class Asked:
    """An office, and its OCSP service under a clock of our own."""

    office: RevocationOffice
    service: OcspService
    clock_s: float = 0.0

    def request(self, certificate: bytes, nonce: bytes | None = None, algorithm: hashes.HashAlgorithm = SHA1) -> bytes:
        leaf = crypto.load_der_x509_certificate(certificate)
        issuer = crypto.load_der_x509_certificate(self.office.authority(self.office.issuing))
        builder = crypto_ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, algorithm)  # type: ignore[arg-type]
        if nonce is not None:
            builder = builder.add_extension(crypto.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)

    def ask(self, raw: bytes) -> Reply:
        return self.service.answer(raw, self.office.now)

    def said(self, raw: bytes) -> crypto_ocsp.OCSPResponse:
        """The answer, with its signature and its responder's certificate verified."""
        response = crypto_ocsp.load_der_ocsp_response(self.ask(raw).body)
        assert response.response_status is OCSPResponseStatus.SUCCESSFUL
        (responder,) = response.certificates
        key = responder.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(SHA256))
        responder.verify_directly_issued_by(
            crypto.load_der_x509_certificate(self.office.authority(self.office.issuing))
        )
        point = self.office.register.keys.info(ca.ocsp_key_label(HOME)).public
        assert point is not None
        assert response.responder_key_hash == hashlib.sha1(point, usedforsecurity=False).digest()
        return response

    @property
    def signatures(self) -> int:
        keys = self.office.register.keys
        assert isinstance(keys, CountedKeys)
        return keys.signatures


class CountedKeys(LocalKeys):
    """Keys that count what they sign, and can be away."""

    signatures = 0
    is_away = False

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        if self.is_away:
            raise HsmError("hsm.hsm_gone", detail="test")
        self.signatures += 1
        return super().sign(label, use, data)


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    office = open_revocation_office(tmp_path)
    keys = CountedKeys()
    keys.made = office.register.keys.made
    office.register.keys = keys
    made = Asked(office, OcspService(office.register.factory, keys))
    made.service.monotonic_s = lambda: made.clock_s
    return made


def failed(reply: Reply) -> OCSPResponseStatus:
    assert (reply.since, reply.until) == (None, None)
    return crypto_ocsp.load_der_ocsp_response(reply.body).response_status


@pytest.mark.parametrize("algorithm", [SHA1, SHA256])
def test_a_certificate_is_good_held_good_again_and_revoked(asked: Asked, algorithm: hashes.HashAlgorithm) -> None:
    office = asked.office
    card, certificates = office.card()
    request = asked.request(certificates["9A"], algorithm=algorithm)
    good = asked.said(request)
    assert good.certificate_status is OCSPCertStatus.GOOD
    assert good.serial_number == crypto.load_der_x509_certificate(certificates["9A"]).serial_number
    assert (good.this_update_utc, good.next_update_utc) == (NOW, NOW + ocsp_responder.ANSWER_LIFE)
    office.block(card)
    held = asked.said(request)  # at once, whatever was signed before
    assert (held.certificate_status, held.revocation_reason) == (
        OCSPCertStatus.REVOKED,
        crypto.ReasonFlags.certificate_hold,
    )
    office.unblock(card)
    assert asked.said(request).certificate_status is OCSPCertStatus.GOOD
    office.revoke(card)
    revoked = asked.said(request)
    assert revoked.revocation_reason is crypto.ReasonFlags.privilege_withdrawn
    assert revoked.revocation_time_utc == NOW


def test_a_number_that_was_never_issued_is_unknown(asked: Asked) -> None:
    _, certificates = asked.office.card()
    with database.reading(asked.office.register.factory) as session:
        row = ca.find(session, asked.office.issuing)
        point = asked.office.register.keys.generate("x", "ec-p256", "card", ()).public
        assert point is not None
        issuer = ca.issuer_of(session, asked.office.register.keys, row)
        holder = ca.CardHolder(HOME, "Sở", "Không Ai", asked.office.card()[0].uuid, bytes(25), NOW + timedelta(days=9))
        never = ca.issue_card_certificate(issuer, "9E", point, holder, ca.random_serial(), NOW)
    assert asked.said(asked.request(never)).certificate_status is OCSPCertStatus.UNKNOWN
    assert asked.said(asked.request(certificates["9E"])).certificate_status is OCSPCertStatus.GOOD


def test_the_content_signer_is_answered_for(asked: Asked) -> None:
    with database.reading(asked.office.register.factory) as session:
        signer = ca.current(session, ca.CONTENT, HOME, NOW).certificate
    assert asked.said(asked.request(signer)).certificate_status is OCSPCertStatus.GOOD


def test_the_responders_certificate_is_short_and_never_checked(asked: Asked) -> None:
    _, certificates = asked.office.card()
    (responder,) = asked.said(asked.request(certificates["9C"])).certificates
    assert responder.extensions.get_extension_for_class(crypto.OCSPNoCheck)
    purposes = responder.extensions.get_extension_for_class(crypto.ExtendedKeyUsage).value
    assert list(purposes) == [crypto.ExtendedKeyUsageOID.OCSP_SIGNING]
    assert responder.not_valid_after_utc - responder.not_valid_before_utc == profiles.OCSP_LIFE


def test_the_responders_certificate_is_renewed_at_half_its_time(asked: Asked) -> None:
    _, certificates = asked.office.card()
    request = asked.request(certificates["9C"])
    (first,) = asked.said(request).certificates
    asked.office.register.pass_by(profiles.OCSP_LIFE / 2)
    asked.clock_s += ocsp_responder.AUTHORITIES_FOR_S
    (second,) = asked.said(request).certificates
    assert second.not_valid_after_utc == first.not_valid_after_utc + profiles.OCSP_LIFE / 2


def test_no_answer_is_signed_under_a_certificate_out_of_date(asked: Asked) -> None:
    _, certificates = asked.office.card()
    request = asked.request(certificates["9C"])
    asked.said(request)
    asked.office.register.pass_by(profiles.OCSP_LIFE)
    assert failed(asked.ask(request)) is OCSPResponseStatus.TRY_LATER  # the service has not looked again yet
    asked.clock_s += ocsp_responder.AUTHORITIES_FOR_S
    assert asked.said(request).certificate_status is OCSPCertStatus.GOOD


def test_the_same_question_is_signed_once_in_five_minutes(asked: Asked) -> None:
    _, certificates = asked.office.card()
    request = asked.request(certificates["9A"])
    first = asked.ask(request)
    before = asked.signatures
    for _ in range(20):
        assert asked.ask(request) == first
    assert asked.signatures == before
    asked.office.register.pass_by(ocsp_responder.READY_FOR)
    assert asked.ask(request).since == asked.office.now
    assert asked.signatures == before + 1


@pytest.mark.parametrize("size", [1, 16, 32, 128])
def test_a_nonce_comes_back_and_its_answer_is_for_nobody_else(asked: Asked, size: int) -> None:
    _, certificates = asked.office.card()
    nonce = bytes(range(size))
    request = asked.request(certificates["9A"], nonce)
    response = asked.said(request)
    assert response.extensions.get_extension_for_class(crypto.OCSPNonce).value.nonce == nonce
    assert asked.ask(request).until is None


def test_beyond_the_budget_a_nonce_gets_the_ready_answer_and_nothing_new_is_signed(asked: Asked) -> None:
    _, certificates = asked.office.card()
    ready = asked.ask(asked.request(certificates["9A"]))
    asked.service.budget = RateLimit(1.0, 2)
    for n in range(2):
        assert asked.ask(asked.request(certificates["9A"], bytes([n]) * 16)).until is None
    before = asked.signatures
    assert asked.ask(asked.request(certificates["9A"], b"beyond the budget")) == ready
    assert failed(asked.ask(asked.request(certificates["9C"]))) is OCSPResponseStatus.TRY_LATER
    assert asked.signatures == before
    asked.clock_s += 1.0
    assert asked.said(asked.request(certificates["9C"])).certificate_status is OCSPCertStatus.GOOD


def test_without_the_hsm_ready_answers_go_on_and_others_say_try_later(asked: Asked) -> None:
    _, certificates = asked.office.card()
    ready = asked.ask(asked.request(certificates["9A"]))
    keys = asked.office.register.keys
    assert isinstance(keys, CountedKeys)
    keys.is_away = True
    asked.clock_s += ocsp_responder.AUTHORITIES_FOR_S
    assert asked.ask(asked.request(certificates["9A"])) == ready
    assert failed(asked.ask(asked.request(certificates["9D"]))) is OCSPResponseStatus.TRY_LATER


def test_another_authority_is_not_ours_to_answer_for(asked: Asked) -> None:
    _, certificates = asked.office.card()
    leaf = crypto.load_der_x509_certificate(certificates["9A"])
    root = crypto.load_der_x509_certificate(asked.office.authority(asked.office.root))
    request = crypto_ocsp.OCSPRequestBuilder().add_certificate(leaf, root, SHA1).build()
    raw = request.public_bytes(Encoding.DER)
    assert failed(asked.ask(raw)) is OCSPResponseStatus.UNAUTHORIZED
    wide = crypto_ocsp.OCSPRequestBuilder().add_certificate_by_hash(bytes(48), bytes(48), 7, hashes.SHA384()).build()
    assert failed(asked.ask(wide.public_bytes(Encoding.DER))) is OCSPResponseStatus.UNAUTHORIZED


def test_an_authority_answers_for_its_own_certificates_alone(asked: Asked) -> None:
    """The number of a card of one agency, asked of another agency's authority, is unknown there."""
    _, certificates = asked.office.card()
    leaf = crypto.load_der_x509_certificate(certificates["9A"])
    with database.reading(asked.office.register.factory) as session:
        other = ca.current(session, ca.ISSUING, OTHER, NOW)
    (named,) = [
        one for one in ocsp.issuer_ids(ca.subject_of(other.certificate), other.point) if one.algorithm == "sha256"
    ]
    request = crypto_ocsp.OCSPRequestBuilder()
    request = request.add_certificate_by_hash(named.name_hash, named.key_hash, leaf.serial_number, SHA256)
    response = crypto_ocsp.load_der_ocsp_response(asked.ask(request.build().public_bytes(Encoding.DER)).body)
    assert response.certificate_status is OCSPCertStatus.UNKNOWN


def test_several_certificates_at_once_are_not_answered(asked: Asked) -> None:
    _, certificates = asked.office.card()
    one = asn1_ocsp.OCSPRequest.load(asked.request(certificates["9A"]))["tbs_request"]["request_list"][0].dump()
    several = der.sequence(der.sequence(der.sequence(one, one)))
    assert failed(asked.ask(several)) is OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    "raw", [b"", b"\x30", b"\x30\x00", b"GET / HTTP/1.1", bytes(64), b"\x30\x80" + bytes(9), b"\x30" * 3000]
)
def test_what_is_no_request_is_malformed(asked: Asked, raw: bytes) -> None:
    with pytest.raises(Malformed, match="OCSP request"):
        ocsp.read_request(raw)
    assert failed(asked.ask(raw)) is OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("size", [0, 129])
def test_a_nonce_of_another_length_is_malformed(asked: Asked, size: int) -> None:
    _, certificates = asked.office.card()
    raw = asked.request(certificates["9A"], bytes(size))
    assert failed(asked.ask(raw)) is OCSPResponseStatus.MALFORMED_REQUEST


def test_a_critical_extension_that_nobody_knows_is_malformed(asked: Asked) -> None:
    _, certificates = asked.office.card()
    one = asn1_ocsp.OCSPRequest.load(asked.request(certificates["9A"]))["tbs_request"]["request_list"][0].dump()
    extension = der.sequence(der.oid("1.2.3.4"), der.TRUE, der.octet_string(b"\x05\x00"))
    extensions = tlv.encode(0xA2, der.sequence(extension))
    raw = der.sequence(der.sequence(der.sequence(one), extensions))
    assert failed(asked.ask(raw)) is OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("kind", list(Failure))
def test_every_failure_is_one_of_the_standards(kind: Failure) -> None:
    status = crypto_ocsp.load_der_ocsp_response(ocsp.failure(kind)).response_status
    assert status.value == kind


def test_asn1crypto_reads_an_answer_to_its_last_byte(asked: Asked) -> None:
    card, certificates = asked.office.card()
    asked.office.block(card)
    reply = asked.ask(asked.request(certificates["9E"], b"0123456789abcdef"))
    response = asn1_ocsp.OCSPResponse.load(reply.body, strict=True)
    assert response["response_status"].native == "successful"
    data = response.response_data
    assert data["responses"][0]["cert_status"].chosen["revocation_reason"].native == "certificate_hold"
    assert data.dump(force=True) == data.dump()


def test_a_compromised_authority_is_answered_for_no_more(asked: Asked) -> None:
    _, certificates = asked.office.card()
    request = asked.request(certificates["9A"])
    asked.said(request)
    with database.transaction(asked.office.register.factory) as session:
        ca.find(session, asked.office.issuing).state = 2
    asked.clock_s += ocsp_responder.AUTHORITIES_FOR_S
    assert failed(asked.ask(request)) is OCSPResponseStatus.UNAUTHORIZED


def test_the_feed_renews_every_authoritys_certificate(asked: Asked) -> None:
    factory, keys = asked.office.register.factory, asked.office.register.keys
    assert ocsp_responder.renew(factory, keys, NOW) == 2
    assert ocsp_responder.renew(factory, keys, NOW) == 0
    with database.reading(factory) as session:
        held = session.get_one(OcspCertificate, asked.office.issuing)
    certificate = crypto.load_der_x509_certificate(held.certificate)
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (held.not_before, held.not_after)


def test_reasons_of_lists_and_answers_are_the_same() -> None:
    assert {one.name.lower() for one in CrlReason} == {
        one.name for one in crypto.ReasonFlags if one.name not in ("aa_compromise",)
    }
