"""Card verifiable certificates: written, read, and checked up to the signer, for every rule one that breaks it."""

from collections.abc import Callable

import pytest
from asn1crypto.core import load as load_asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from messaging_card import CARD_UUID, SUITES, certified, office, point_of, rsa_office, sign_rsa

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv import cvc
from cardlink.piv.cvc import Cvc, Signer, check_card_cvc, decode_cvc, issue_card_cvc, issue_intermediate_cvc, signer_of
from cardlink.piv.secure_messaging import CS2, CS7, Suite

NAMED = {"ids": lambda suite: suite.algorithm.name}


def card_point(suite: Suite) -> bytes:
    return point_of(ec.derive_private_key(0xC0FFEE, suite.curve))


def card_cvc(suite: Suite = CS2) -> bytes:
    signer = office(suite)
    return issue_card_cvc(suite, card_point(suite), CARD_UUID, signer.signer.issuer_id, signer.sign)


def between(suite: Suite = CS2) -> tuple[ec.EllipticCurvePrivateKey, Cvc, Signer]:
    """An intermediate certificate, its key, and the RSA signer above it."""
    key = ec.generate_private_key(suite.curve)
    signer = signer_of(certified(rsa_office()))
    return key, decode_cvc(issue_intermediate_cvc(suite, point_of(key), signer.issuer_id, sign_rsa)), signer


def below(key: ec.EllipticCurvePrivateKey, issuer_id: bytes, suite: Suite = CS2) -> Cvc:
    """A card's certificate signed by an intermediate key."""

    def sign(body: bytes) -> bytes:
        return key.sign(body, ec.ECDSA(suite.signature_hash))

    return decode_cvc(issue_card_cvc(suite, card_point(suite), CARD_UUID, issuer_id, sign))


def rebuilt(change: Callable[[list[tuple[int, bytes]]], object], raw: bytes | None = None) -> bytes:
    """A certificate with other data objects in it."""
    objects = tlv.parse(tlv.unwrap(raw or card_cvc(), 0x7F21))
    change(objects)
    return tlv.encode(0x7F21, tlv.encode_all(objects))


@pytest.mark.parametrize("suite", SUITES, **NAMED)
def test_a_cards_certificate_is_written_as_the_standard_shows_it(suite: Suite) -> None:
    signer = office(suite).signer
    oid = suite.curve_oid
    point = card_point(suite)
    public = bytes((0x06, len(oid))) + oid + bytes((0x86, len(point))) + point
    body = (
        bytes.fromhex("5F290180")
        + b"\x42\x08"
        + signer.issuer_id
        + bytes.fromhex("5F2010")
        + CARD_UUID
        + bytes.fromhex("7F49")
        + bytes((len(public),))
        + public
        + bytes.fromhex("5F4C0100")
    )
    read = decode_cvc(card_cvc(suite))
    assert read.signed == body
    assert (read.issuer_id, read.subject, read.point, read.role) == (signer.issuer_id, CARD_UUID, point, 0)
    assert isinstance(signer.key, ec.EllipticCurvePublicKey)
    signer.key.verify(read.signature, body, ec.ECDSA(suite.signature_hash))


def test_the_signature_object_is_the_der_that_another_decoder_reads() -> None:
    for raw, oid, parameters in (
        (card_cvc(CS2), "1.2.840.10045.4.3.2", ""),
        (card_cvc(CS7), "1.2.840.10045.4.3.3", ""),
        (between()[1].raw, "1.2.840.113549.1.1.11", "0500"),
    ):
        closing = tlv.parse(tlv.unwrap(raw, 0x7F21))[-1][1]
        sequence = load_asn1(closing, strict=True)
        algorithm, signature = sequence[0], sequence[1]
        assert algorithm[0].dotted == oid
        assert algorithm.contents[-2:].hex() == parameters or not parameters
        assert signature.native is not None
        assert sequence.dump(force=True) == closing


@pytest.mark.parametrize("suite", SUITES, **NAMED)
def test_a_certificate_of_the_signer_is_good(suite: Suite) -> None:
    check_card_cvc(decode_cvc(card_cvc(suite)), suite, office(suite).signer)
    check_card_cvc(decode_cvc(card_cvc(suite)), suite, Signer(office(suite).signer.key))


@pytest.mark.parametrize("suite", SUITES, **NAMED)
def test_a_certificate_below_an_intermediate_one_is_good(suite: Suite) -> None:
    key, intermediate, signer = between(suite)
    assert intermediate.subject == cvc.intermediate_id(point_of(key))
    assert (intermediate.role, len(intermediate.subject)) == (0x12, 8)
    check_card_cvc(below(key, intermediate.subject, suite), suite, signer, intermediate)


def test_a_certificate_of_another_signer_is_refused() -> None:
    other = signer_of(certified(ec.generate_private_key(CS2.curve)))
    with pytest.raises(Malformed, match="names the issuer"):
        check_card_cvc(decode_cvc(card_cvc()), CS2, other)
    with pytest.raises(Malformed, match="signature"):
        check_card_cvc(decode_cvc(card_cvc()), CS2, Signer(other.key))


def test_every_byte_under_the_signature_counts() -> None:
    raw = card_cvc()
    signed = decode_cvc(raw).signed
    start = raw.index(signed)
    for at in range(start, start + len(signed)):
        changed = raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]
        with pytest.raises(Malformed):
            check_card_cvc(decode_cvc(changed), CS2, office(CS2).signer)


def test_a_certificate_of_the_other_suite_or_role_is_refused() -> None:
    with pytest.raises(Malformed, match="suite"):
        check_card_cvc(decode_cvc(card_cvc(CS7)), CS2, office(CS7).signer)
    _, intermediate, signer = between()
    with pytest.raises(Malformed, match="role"):
        check_card_cvc(intermediate, CS2, signer)


def test_the_signers_key_is_on_the_suites_curve() -> None:
    for key in (ec.generate_private_key(ec.SECP384R1()).public_key(), rsa_office().public_key()):
        with pytest.raises(Malformed, match="curve"):
            check_card_cvc(decode_cvc(card_cvc()), CS2, Signer(key))


def test_a_broken_chain_is_refused() -> None:
    key, intermediate, signer = between()
    good = below(key, intermediate.subject)
    with pytest.raises(Malformed, match="names the issuer"):
        check_card_cvc(below(key, b"somebody"), CS2, signer, intermediate)
    with pytest.raises(Malformed, match="signature"):
        check_card_cvc(below(ec.generate_private_key(CS2.curve), intermediate.subject), CS2, signer, intermediate)
    with pytest.raises(Malformed, match="intermediate one names"):
        check_card_cvc(good, CS2, Signer(signer.key, b"somebody"), intermediate)
    with pytest.raises(Malformed, match="RSA"):
        check_card_cvc(good, CS2, Signer(office(CS2).key.public_key()), intermediate)
    stranger = rsa.generate_private_key(65537, 2048).public_key()
    with pytest.raises(Malformed, match="intermediate one's signature"):
        check_card_cvc(good, CS2, Signer(stranger), intermediate)
    with pytest.raises(Malformed, match="no intermediate"):
        check_card_cvc(good, CS2, signer, good)


def test_the_signature_algorithm_is_the_suites() -> None:
    def change(objects: list[tuple[int, bytes]]) -> None:
        objects[5] = (0x5F37, objects[5][1].replace(CS2.signature_oid, CS7.signature_oid))

    with pytest.raises(Malformed, match="algorithm"):
        check_card_cvc(decode_cvc(rebuilt(change)), CS2, office(CS2).signer)


def test_a_point_off_the_curve_is_malformed() -> None:
    def change(objects: list[tuple[int, bytes]]) -> None:
        objects[3] = (0x7F49, objects[3][1][:-1] + bytes((objects[3][1][-1] ^ 1,)))

    with pytest.raises(Malformed, match="curve"):
        _ = decode_cvc(rebuilt(change)).public_key


@pytest.mark.parametrize(
    "change",
    [
        lambda objects: objects.reverse(),
        lambda objects: objects.pop(),
        lambda objects: objects.append((0x5F24, b"123456")),
        lambda objects: objects.__setitem__(0, (0x5F29, b"\x70")),
        lambda objects: objects.__setitem__(0, (0x5F29, b"\x80\x80")),
        lambda objects: objects.__setitem__(1, (0x42, bytes(7))),
        lambda objects: objects.__setitem__(2, (0x5F20, bytes(8))),
        lambda objects: objects.__setitem__(4, (0x5F4C, b"\x12")),
        lambda objects: objects.__setitem__(4, (0x5F4C, b"\x01")),
        lambda objects: objects.__setitem__(4, (0x5F4C, b"")),
        lambda objects: objects.__setitem__(3, (0x7F49, objects[3][1][10:])),
        lambda objects: objects.__setitem__(3, (0x7F49, b"\x06\x01\x00" + objects[3][1][10:])),
        lambda objects: objects.__setitem__(3, (0x7F49, objects[3][1].replace(b"\x86\x41\x04", b"\x86\x41\x02"))),
        lambda objects: objects.__setitem__(3, (0x7F49, objects[3][1].replace(CS2.curve_oid, b"\x2b" * 8))),
        lambda objects: objects.__setitem__(5, (0x5F37, b"")),
        lambda objects: objects.__setitem__(5, (0x5F37, b"\x30\x00")),
        lambda objects: objects.__setitem__(5, (0x5F37, b"\x30\x06\x30\x00\x03\x02\x00\x01")),
        lambda objects: objects.__setitem__(5, (0x5F37, b"\x30\x07\x30\x02\x05\x00\x03\x01\x00")),
        lambda objects: objects.__setitem__(
            5, (0x5F37, tlv.encode(0x30, b"\x30\x05\x06\x01\x2a\x05\x00" + b"\x03\x02\x00\x01"))
        ),
        lambda objects: objects.__setitem__(
            5, (0x5F37, objects[5][1].replace(b"\x03\x48\x00", b"\x03\x48\x01", 1) + b"x")
        ),
    ],
)
def test_a_broken_certificate_is_malformed(change: Callable[[list[tuple[int, bytes]]], object]) -> None:
    with pytest.raises(Malformed):
        decode_cvc(rebuilt(change))


@pytest.mark.parametrize("raw", [b"", b"\x7f\x21\x00", b"\x30\x00", b"\x7f\x21\x02\x42\x08"])
def test_what_is_no_certificate_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        decode_cvc(raw)


def test_nothing_is_certified_that_could_not_be_used() -> None:
    signer = office(CS2)
    for suite, point, uuid, issuer_id in (
        (CS2, b"\x04" + bytes(64), CARD_UUID, bytes(8)),
        (CS7, card_point(CS2), CARD_UUID, bytes(8)),
        (CS2, card_point(CS2), CARD_UUID[:-1], bytes(8)),
        (CS2, card_point(CS2), CARD_UUID, bytes(20)),
    ):
        with pytest.raises(Malformed):
            issue_card_cvc(suite, point, uuid, issuer_id, signer.sign)


def test_a_signer_is_read_from_its_certificate() -> None:
    certificate = office(CS2).certificate
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert signer_of(certificate).issuer_id == identifier[:8]
    with pytest.raises(Malformed, match="extension"):
        signer_of(certified(office(CS2).key, with_identifier=False))
    key = ed25519.Ed25519PrivateKey.generate()
    builder = (
        x509.CertificateBuilder(certificate.issuer, certificate.subject, key.public_key(), 1)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
        .add_extension(x509.SubjectKeyIdentifier(bytes(20)), critical=False)
    )
    with pytest.raises(Malformed, match="neither"):
        signer_of(builder.sign(office(CS2).key, hashes.SHA256()))
