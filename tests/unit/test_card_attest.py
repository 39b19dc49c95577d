"""Attestation: a certificate that says a key was made on this card, up to the maker's root."""

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from test_card_yubico import PIN, SERIAL, TRANSPORT, admin, authenticate, block_both, send, sw

from cardlink.errors import Malformed
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.attestation import (
    POLICIES_OID,
    SERIAL_OID,
    Attestation,
    Claims,
    decode_attestation,
    encode_claims,
)
from cardlink.piv.commands import unwrap_object
from cardlink.piv.objects import decode_certificate, encode_certificate
from cardlink.piv.tables import CERT_ATTESTATION, Algorithm, Interface
from cardlink.piv.templates import EcPublicKey, decode_key_fields, decode_public_key
from cardlink.piv.yubico import KeyMetadata, PinPolicy
from cardos.card import Card
from cardos.defaults import PIV_VERSION
from cardos.factory import make_blank
from cardos.maker import LIFE, Maker
from cardos.store import MemoryStore

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
MAKER = Maker(bytes(range(32)), SINCE)  # a seed made up for these tests


def equipped() -> Card:
    """A blank card of a maker, the administrator at it."""
    card = Card(MemoryStore(make_blank(SERIAL, TRANSPORT, maker=MAKER)))
    send(card, piv.select())
    assert authenticate(card) == 0x9000
    return card


def attested(card: Card, ref: int) -> Attestation:
    return decode_attestation(send(card, yubico.attest(ref)))


def f9_certificate(card: Card) -> x509.Certificate:
    content = unwrap_object(CERT_ATTESTATION.tag, send(card, piv.get_data(CERT_ATTESTATION.tag)))
    return x509.load_der_x509_certificate(decode_certificate(content).certificate)


@pytest.mark.parametrize(
    "algorithm", [Algorithm.P_256, Algorithm.P_384, Algorithm.X25519, Algorithm.RSA_2048, Algorithm.ED25519]
)
def test_the_attestation_names_key_card_version_and_policies(algorithm: Algorithm) -> None:
    card = equipped()
    ref = 0x9D if algorithm == Algorithm.X25519 else 0x9A
    made = send(card, piv.generate_key(ref, algorithm, pin_policy=PinPolicy.ALWAYS))
    told = attested(card, ref)
    assert told.claims == Claims(PIV_VERSION, 0x00C0FFEE, PinPolicy.ALWAYS, 1, 0)
    key = told.certificate.public_key()
    public = decode_public_key(made, algorithm)
    if isinstance(public, EcPublicKey):
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) == public.point
    assert told.certificate.subject.rfc4514_string() == f"CN=PIV Attestation {ref:02x}"
    assert told.certificate.not_valid_before_utc == SINCE
    assert told.certificate.not_valid_after_utc == SINCE + LIFE


def test_the_chain_ends_in_the_makers_root() -> None:
    card = equipped()
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    f9 = f9_certificate(card)
    attestation = attested(card, 0x9E).certificate
    attestation.verify_directly_issued_by(f9)
    above = attestation.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert above.key_identifier == f9.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    f9.verify_directly_issued_by(MAKER.batch(1))
    MAKER.batch(1).verify_directly_issued_by(MAKER.root())
    MAKER.root().verify_directly_issued_by(MAKER.root())
    lengths = []
    for one in (MAKER.root(), MAKER.batch(1), f9):
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert constraints.ca
        lengths.append(constraints.path_length)
    assert lengths == [2, 1, 0]


def test_the_same_maker_is_the_same_again_and_another_one_is_not() -> None:
    again = Maker(bytes(range(32)), SINCE)
    assert again.root() == MAKER.root()
    assert again.batch(7) == MAKER.batch(7) != MAKER.batch(8)
    assert Maker(bytes(32), SINCE).root() != MAKER.root()
    assert bytes(range(32)).hex() not in repr(MAKER)
    with pytest.raises(Malformed, match="seed of 31 bytes"):
        Maker(bytes(31), SINCE)


def test_two_cards_of_a_batch_share_no_key() -> None:
    assert f9_certificate(equipped()).public_key() != f9_certificate(equipped()).public_key()


def test_metadata_tells_of_f9_and_nobody_signs_with_it() -> None:
    card = equipped()
    told = yubico.decode_metadata(send(card, yubico.get_metadata(0xF9)))
    assert isinstance(told, KeyMetadata)
    public = decode_key_fields(told.public_key, told.algorithm)
    assert isinstance(public, EcPublicKey)
    in_certificate = f9_certificate(card).public_key()
    assert isinstance(in_certificate, ec.EllipticCurvePublicKey)
    assert in_certificate.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) == public.point
    send(card, piv.verify(PIN))
    assert sw(card, piv.sign(Algorithm.P_256, 0xF9, bytes(32))) == 0x6A86


@pytest.mark.parametrize(
    ("apdu", "expected"),
    [
        (yubico.attest(0x9A), 0x6A88),
        (yubico.attest(0x9C), 0x6A80),  # imported
        (yubico.attest(0xF9), 0x6A86),
        (yubico.attest(0x9B), 0x6A86),
        (yubico.attest(0x80), 0x6A86),
        (Command(0x00, 0xF9, 0x9E, 0x01, b"", 256), 0x6A86),
        (Command(0x00, 0xF9, 0x9E, 0x00, b"1", 256), 0x6700),
        (yubico.move_key(0xF9, 0x82), 0x6A86),
        (yubico.move_key(0x9E, 0xF9), 0x6A86),
    ],
)
def test_what_the_card_does_not_attest(apdu: Command, expected: int) -> None:
    card = equipped()
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    send(card, yubico.import_key(yubico.ImportedKey(0x11, 0x9C, (bytes(31) + b"\5",))))
    assert sw(card, apdu) == expected


def test_a_card_is_not_named_over_contactless() -> None:
    card = equipped()
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    sw(card, piv.select(), Interface.CONTACTLESS)
    assert sw(card, yubico.attest(0x9E), Interface.CONTACTLESS) == 0x6A81
    assert sw(card, piv.get_data(CERT_ATTESTATION.tag), Interface.CONTACTLESS) == 0x6982


def test_a_card_without_a_maker_attests_nothing() -> None:
    card = admin()
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    assert sw(card, yubico.attest(0x9E)) == 0x6A88


def test_a_moved_key_is_attested_where_it_is() -> None:
    card = equipped()
    send(card, piv.generate_key(0x9A, Algorithm.P_256))
    before = attested(card, 0x9A)
    send(card, yubico.move_key(0x9A, 0x82))
    after = attested(card, 0x82)
    assert after.public_key_info == before.public_key_info
    assert after.certificate.serial_number != before.certificate.serial_number
    assert sw(card, yubico.attest(0x9A)) == 0x6A88


def test_reset_leaves_the_makers_key_and_nothing_else() -> None:
    card = equipped()
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    f9 = f9_certificate(card)
    block_both(card)
    send(card, yubico.reset())
    assert sw(card, yubico.attest(0x9E)) == 0x6A88
    assert f9_certificate(card) == f9
    assert authenticate(card) == 0x9000
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    attested(card, 0x9E).certificate.verify_directly_issued_by(f9)


def own_attester(subject: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    return (
        x509.CertificateBuilder()
        .serial_number(1)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .not_valid_before(SINCE)
        .not_valid_after(SINCE + timedelta(days=1))
        .sign(key, SHA384())
        .public_bytes(Encoding.DER)
    )


@cache
def own_key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0xC0FFEE, ec.SECP384R1())


@pytest.mark.parametrize("compressed", [False, True])
def test_an_administrator_puts_an_own_attestation_key_in_its_place(compressed: bool) -> None:
    card = equipped()
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    send(card, yubico.import_key(yubico.ImportedKey(Algorithm.P_384, 0xF9, ((0xC0FFEE).to_bytes(48, "big"),))))
    assert sw(card, yubico.attest(0x9E)) == 0x6985  # the certificate is still the maker's
    der = own_attester("an office", own_key())
    send(card, piv.put_data(CERT_ATTESTATION.tag, encode_certificate(der, compressed=compressed)))
    told = attested(card, 0x9E).certificate
    told.verify_directly_issued_by(x509.load_der_x509_certificate(der))
    assert told.not_valid_after_utc == SINCE + timedelta(days=1)


def test_an_attestation_key_that_is_gone_attests_nothing() -> None:
    card = equipped()
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    send(card, yubico.move_key(0xF9))
    assert sw(card, yubico.attest(0x9E)) == 0x6A88
    assert sw(card, yubico.get_metadata(0xF9)) == 0x6A88


def test_a_certificate_that_breaks_when_it_is_read_attests_nothing() -> None:
    card = equipped()
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    send(card, yubico.import_key(yubico.ImportedKey(Algorithm.P_384, 0xF9, ((0xC0FFEE).to_bytes(48, "big"),))))
    der = own_attester("an office", own_key())
    said = set()
    for at in range(len(der)):
        broken = der[:at] + bytes((der[at] ^ 0x5A,)) + der[at + 1 :]
        send(card, piv.put_data(CERT_ATTESTATION.tag, encode_certificate(broken)))
        said.add(sw(card, yubico.attest(0x9E)) & 0xFF00)
    assert said == {0x6900, 0x6100}  # 6985, or an attestation where nothing that the card reads was broken


@pytest.mark.parametrize("content", [b"", b"\x70\x00\x71\x01\x00\xfe\x00", bytes.fromhex("7002300071" + "0100FE00")])
def test_a_broken_attestation_certificate_attests_nothing(content: bytes) -> None:
    card = equipped()
    send(card, piv.generate_key(0x9E, Algorithm.P_256))
    send(card, piv.put_data(CERT_ATTESTATION.tag, content))
    assert sw(card, yubico.attest(0x9E)) == 0x6985


# Yubico's documentation: 050700, INTEGER, two bytes, one byte
def test_the_claims_are_written_as_the_tools_read_them() -> None:
    written = encode_claims(Claims(bytes((5, 7, 0)), 0x80C0FFEE, 2, 1, 4))
    assert [(one.oid.dotted_string, one.value.hex().upper()) for one in written] == [
        ("1.3.6.1.4.1.41482.3.3", "050700"),
        ("1.3.6.1.4.1.41482.3.7", "02050080C0FFEE"),
        ("1.3.6.1.4.1.41482.3.8", "0201"),
        ("1.3.6.1.4.1.41482.3.9", "04"),
    ]


def with_extensions(extensions: list[x509.UnrecognizedExtension]) -> bytes:
    name = x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .serial_number(1)
        .subject_name(name)
        .issuer_name(name)
        .public_key(own_key().public_key())
        .not_valid_before(SINCE)
        .not_valid_after(SINCE)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(own_key(), SHA384()).public_bytes(Encoding.DER)


GOOD = encode_claims(Claims(bytes((5, 7, 0)), 1, 2, 1))


@pytest.mark.parametrize(
    ("der", "why"),
    [
        (b"", "attestation"),
        (b"\x30\x00", "attestation"),
        (with_extensions([]), "no extension"),
        (with_extensions(GOOD[:3]), "no extension .*3.9"),
        (with_extensions([*GOOD[:2], x509.UnrecognizedExtension(POLICIES_OID, b"\1"), GOOD[3]]), "of 1 bytes"),
        (with_extensions([GOOD[0], x509.UnrecognizedExtension(SERIAL_OID, b"\2\0"), *GOOD[2:]]), "serial number"),
        (with_extensions([GOOD[0], x509.UnrecognizedExtension(SERIAL_OID, b"\2\1\x80"), *GOOD[2:]]), "serial number"),
        (with_extensions([GOOD[0], x509.UnrecognizedExtension(SERIAL_OID, b"\3\1\1"), *GOOD[2:]]), "want tag 2"),
    ],
)
def test_a_broken_attestation_is_malformed(der: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_attestation(der)
