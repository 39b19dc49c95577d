"""Yubico's extensions: version, serial, metadata, import, move, tries, reset."""

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.errors import CardStatus
from cardlink.gp.inventory import LifeCycle
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.tables import Algorithm, Interface
from cardlink.piv.templates import Authentication, EcPublicKey, decode_key_fields, decode_public_key, decode_response
from cardlink.piv.yubico import KeyMetadata, ManagementMetadata, Origin, PinPolicy, ReferenceMetadata, TouchPolicy
from cardlink.transport.connection import command as say
from cardlink.transport.loopback import Loopback
from cardos.card import Card
from cardos.defaults import FACTORY_ADMIN_KEY
from cardos.factory import make_blank
from cardos.records import Life, Owner
from cardos.store import MemoryStore

SERIAL = bytes.fromhex("0001000200C0FFEE0001")
TRANSPORT = (bytes(16), bytes(16), bytes(16))  # made up for these tests
PIN, PUK, WRONG = b"123456\xff\xff", b"12345678", b"654321\xff\xff"


def send(card: Card, apdu: Command) -> bytes:
    return say(Loopback(card.transmit), apdu)


def sw(card: Card, apdu: Command, interface: Interface = Interface.CONTACT) -> int:
    return int.from_bytes(card.transmit(apdu.encode(), interface)[-2:], "big")


def selected() -> Card:
    card = Card(MemoryStore(make_blank(SERIAL, TRANSPORT)))
    send(card, piv.select())
    return card


def authenticate(card: Card, algorithm: int = 0x0A, key: bytes = FACTORY_ADMIN_KEY) -> int:
    template = tlv.unwrap(send(card, piv.general_authenticate(algorithm, 0x9B, Authentication(challenge=b""))), 0x7C)
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 one block
    response = encryptor.update(tlv.unwrap(template, 0x81))
    return sw(card, piv.general_authenticate(algorithm, 0x9B, Authentication(response=response)))


def admin() -> Card:
    card = selected()
    assert authenticate(card) == 0x9000
    return card


def metadata(card: Card, ref: int) -> yubico.Metadata:
    return yubico.decode_metadata(send(card, yubico.get_metadata(ref)))


def test_version_and_serial() -> None:
    card = selected()
    assert yubico.decode_version(send(card, yubico.get_version())) == (5, 7, 0)
    assert yubico.decode_serial(send(card, yubico.get_serial())) == 0x00C0FFEE


def test_a_blank_card_tells_its_factory_values() -> None:
    card = selected()
    assert metadata(card, 0x80) == ReferenceMetadata(True, 5, 5)
    assert metadata(card, 0x81) == ReferenceMetadata(True, 5, 5)
    assert metadata(card, 0x9B) == ManagementMetadata(Algorithm.AES_192, 1, True)
    for ref in (0x96, 0x97, 0x98, 0x04, 0x9A, 0x9C, 0x9D, 0x9E, 0x82, 0xF9, 0x00):
        assert sw(card, yubico.get_metadata(ref)) == 0x6A88


def test_metadata_tells_of_a_generated_key() -> None:
    card = admin()
    public = decode_public_key(send(card, piv.generate_key(0x9C, 0x11)), 0x11)
    told = metadata(card, 0x9C)
    assert isinstance(told, KeyMetadata)
    assert (told.algorithm, told.pin_policy, told.origin) == (0x11, PinPolicy.ALWAYS, Origin.GENERATED)
    assert decode_key_fields(told.public_key, 0x11) == public


def test_tries_in_metadata_follow_the_counter() -> None:
    card = selected()
    sw(card, piv.verify(WRONG))
    assert metadata(card, 0x80) == ReferenceMetadata(True, 5, 4)
    send(card, piv.change_reference_data(0x80, PIN, WRONG))
    assert metadata(card, 0x80) == ReferenceMetadata(False, 5, 5)


def test_metadata_says_whether_a_value_is_the_factorys_also_when_it_was_set_again() -> None:
    card = admin()
    for old, new, is_default in ((PIN, WRONG, False), (WRONG, PIN, True)):
        send(card, piv.change_reference_data(0x80, old, new))
        assert metadata(card, 0x80) == ReferenceMetadata(is_default, 5, 5)
    send(card, piv.reset_retry_counter(PUK, PIN))
    assert metadata(card, 0x80) == ReferenceMetadata(True, 5, 5)
    for key, is_default in ((bytes(24), False), (FACTORY_ADMIN_KEY, True)):
        send(card, yubico.set_management_key(Algorithm.AES_192, key))
        assert metadata(card, 0x9B) == ManagementMetadata(Algorithm.AES_192, 1, is_default)
    send(card, yubico.set_management_key(Algorithm.TDES_3KEY, FACTORY_ADMIN_KEY))
    assert metadata(card, 0x9B) == ManagementMetadata(Algorithm.TDES_3KEY, 1, False)


def test_an_imported_ec_key_signs() -> None:
    card = admin()
    key = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
    part = (0xC0FFEE).to_bytes(32, "big")
    send(card, yubico.import_key(yubico.ImportedKey(Algorithm.P_256, 0x9E, (part,))))
    told = metadata(card, 0x9E)
    assert isinstance(told, KeyMetadata)
    assert told.origin == Origin.IMPORTED
    public = decode_key_fields(told.public_key, 0x11)
    assert isinstance(public, EcPublicKey)
    assert public.point == key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def test_an_imported_rsa_key_signs() -> None:
    card = admin()
    key = rsa.generate_private_key(65_537, 2048)
    numbers = key.private_numbers()
    five = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    parts = tuple(one.to_bytes(128, "big") for one in five)
    send(card, yubico.import_key(yubico.ImportedKey(Algorithm.RSA_2048, 0x9E, parts)))
    padded = b"\x00\x01" + b"\xff" * 202 + b"\x00" + bytes.fromhex("3031300D060960864801650304020105000420") + bytes(32)
    signature = decode_response(send(card, piv.sign(Algorithm.RSA_2048, 0x9E, padded)))
    key.public_key().verify(signature, bytes(32), padding.PKCS1v15(), Prehashed(SHA256()))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (yubico.ImportedKey(0x11, 0x9E, (bytes(32),)), 0x6A80),  # zero is no private key
        (yubico.ImportedKey(0x11, 0x9E, (b"\xff" * 32,)), 0x6A80),  # not below the order
        (yubico.ImportedKey(0x11, 0x9B, (bytes(31) + b"\x05",)), 0x6A86),
        (yubico.ImportedKey(0x11, 0x04, (bytes(31) + b"\x05",)), 0x6A86),
        (yubico.ImportedKey(0x11, 0x9A, (bytes(31) + b"\x05",), PinPolicy.NEVER), 0x6A80),
        (yubico.ImportedKey(0xE0, 0x9D, (bytes(31) + b"\x05",)), 0x6A80),  # Ed25519 does not agree
        (yubico.ImportedKey(0xE1, 0x9A, (bytes(31) + b"\x05",)), 0x6A80),  # X25519 does not sign
        (yubico.ImportedKey(0xE0, 0xF9, (bytes(31) + b"\x05",)), 0x6A80),
        (yubico.ImportedKey(0x11, 0xF9, (bytes(31) + b"\x05",)), 0x9000),
        (yubico.ImportedKey(0x11, 0xF9, (bytes(31) + b"\x05",), PinPolicy.ONCE), 0x6A80),
        (yubico.ImportedKey(0x11, 0x9E, (bytes(31) + b"\x05",), 4), 0x6A80),  # MATCH_ONCE: no fingerprint reader
        (yubico.ImportedKey(0x11, 0x9E, (bytes(31) + b"\x05",), 5), 0x6A80),
        (yubico.ImportedKey(0x11, 0x9E, (bytes(31) + b"\x05",), 0, TouchPolicy.ALWAYS), 0x6A80),
        (yubico.ImportedKey(0x11, 0x9E, (bytes(31) + b"\x05",), 0, TouchPolicy.NEVER), 0x9000),
        (yubico.ImportedKey(0x11, 0x9E, (bytes(31) + b"\x05",), PinPolicy.ALWAYS), 0x9000),
    ],
)
def test_a_key_is_imported_only_if_it_is_one(key: yubico.ImportedKey, expected: int) -> None:
    assert sw(admin(), yubico.import_key(key)) == expected


@pytest.mark.parametrize("parts", [(3, 5, 1, 1, 1), (0, 0, 0, 0, 0), (1, 1, 1, 1, 1), (4, 6, 3, 5, 2)])
def test_rsa_numbers_that_do_not_fit_are_refused(parts: tuple[int, ...]) -> None:
    key = yubico.ImportedKey(Algorithm.RSA_2048, 0x9E, tuple(one.to_bytes(128, "big") for one in parts))
    card = admin()
    with pytest.raises(CardStatus, match="6A80"):
        send(card, yubico.import_key(key))
    assert 0x9E not in card.persistent.keys


def test_a_stricter_pin_policy_holds_over_both_faces() -> None:
    card = admin()
    send(card, piv.generate_key(0x9E, 0x11, pin_policy=PinPolicy.ONCE))
    sign = piv.sign(0x11, 0x9E, bytes(32))
    assert sw(card, sign) == 0x6982
    send(card, piv.verify(PIN))
    assert [sw(card, sign), sw(card, sign)] == [0x9000, 0x9000]
    sw(card, piv.select(), Interface.CONTACTLESS)
    assert sw(card, sign, Interface.CONTACTLESS) == 0x6982


def test_a_moved_key_keeps_its_policy_and_leaves_nothing_behind() -> None:
    card = admin()
    send(card, piv.generate_key(0x9A, 0x11))
    send(card, yubico.move_key(0x9A, 0x9E))
    assert sw(card, yubico.get_metadata(0x9A)) == 0x6A88
    assert sw(card, piv.sign(0x11, 0x9E, bytes(32))) == 0x6982
    send(card, piv.verify(PIN))
    assert sw(card, piv.sign(0x11, 0x9E, bytes(32))) == 0x9000
    send(card, yubico.move_key(0x9E))
    assert sw(card, yubico.get_metadata(0x9E)) == 0x6A88


@pytest.mark.parametrize(
    ("apdu", "expected"),
    [
        (yubico.move_key(0x9A, 0x82), 0x6A88),
        (yubico.move_key(0x9E, 0x9C), 0x6A80),  # ykman: "DEST slot is not empty"
        (yubico.move_key(0x9E, 0x9B), 0x6A86),
        (yubico.move_key(0x9B), 0x6A86),
        (Command(0x00, 0xF6, 0x9E, 0x9E), 0x6A86),
        (yubico.attest(0x9E), 0x6A88),  # made without a maker
        (Command(0x00, 0xFD, 0x01, 0x00), 0x6A86),
        (Command(0x00, 0xFD, 0x00, 0x00, b"1"), 0x6700),
        (Command(0x00, 0xFF, 0xFF, 0xFF, b""), 0x6700),
        (Command(0x00, 0xFF, 0xFF, 0xFF, bytes.fromhex("039B10") + bytes(16)), 0x6A80),
        (Command(0x00, 0xFF, 0xFF, 0xFF, bytes.fromhex("009B18") + bytes(24)), 0x6A80),  # TDES is named 03
        (Command(0x00, 0xFF, 0xFF, 0xFF, bytes.fromhex("089B18") + bytes(24)), 0x6A80),
        (yubico.set_management_key(0x08, bytes(16), touch=True), 0x6A80),
        (yubico.set_pin_retries(5, 5), 0x6982),  # without the PIN
    ],
)
def test_a_wrong_extension_gets_its_status_word(apdu: Command, expected: int) -> None:
    card = admin()
    send(card, piv.generate_key(0x9E, 0x11))
    send(card, piv.generate_key(0x9C, 0x11))
    assert sw(card, apdu) == expected


ADMINISTRATIVE = [
    yubico.move_key(0x9A),
    yubico.import_key(yubico.ImportedKey(0x11, 0x9E, (bytes(31) + b"\x05",))),
    yubico.set_management_key(0x0C, bytes(32)),
    yubico.set_pin_retries(5, 5),
]


@pytest.mark.parametrize("apdu", ADMINISTRATIVE)
def test_management_needs_the_administrator_and_contact(apdu: Command) -> None:
    card = selected()
    assert sw(card, apdu) == 0x6982
    sw(card, piv.select(), Interface.CONTACTLESS)
    assert sw(card, apdu, Interface.CONTACTLESS) == 0x6A81


@pytest.mark.parametrize("apdu", [yubico.get_serial(), yubico.get_metadata(0x9E), yubico.reset()])
def test_what_tells_cards_apart_is_not_said_over_contactless(apdu: Command) -> None:
    card = selected()
    sw(card, piv.select(), Interface.CONTACTLESS)
    assert sw(card, apdu, Interface.CONTACTLESS) == 0x6A81


@pytest.mark.parametrize("algorithm", [0x08, 0x0A, 0x0C])
def test_the_new_management_key_counts_and_the_old_one_no_more(algorithm: int) -> None:
    card = admin()
    key = bytes(range(100, 100 + {0x08: 16, 0x0A: 24, 0x0C: 32}[algorithm]))
    send(card, yubico.set_management_key(algorithm, key))
    card.reset()
    send(card, piv.select())
    assert authenticate(card, algorithm, key) == 0x9000
    told = metadata(card, 0x9B)
    assert told == ManagementMetadata(algorithm, 1, False)
    if algorithm == 0x0A:
        assert authenticate(card) == 0x6982


def test_old_tools_manage_a_blank_card_with_tdes() -> None:
    card = admin()
    key = bytes(range(1, 25))
    send(card, yubico.set_management_key(0x03, key))
    assert metadata(card, 0x9B) == ManagementMetadata(Algorithm.TDES_3KEY, 1, False)
    card.reset()
    send(card, piv.select())
    encryptor = Cipher(TripleDES(key), modes.ECB()).encryptor()  # noqa: S305 one block
    for algorithm in (0x03, 0x00):
        for _ in range(2):
            asked = send(card, piv.general_authenticate(algorithm, 0x9B, Authentication(challenge=b"")))
        challenge = tlv.unwrap(tlv.unwrap(asked, 0x7C), 0x81)
        assert len(challenge) == 8
        shown = Authentication(response=encryptor.update(challenge))
        assert sw(card, piv.general_authenticate(algorithm, 0x9B, shown)) == 0x9000
    send(card, piv.put_data(0x5FC102, b""))
    assert sw(card, piv.general_authenticate(0x0A, 0x9B, Authentication(challenge=b""))) == 0x6A86


def test_an_issued_card_knows_no_tdes() -> None:
    card = admin()
    send(card, yubico.set_management_key(0x03, bytes(range(24))))
    card.persistent.commit([Life(Owner.CARD, LifeCycle.SECURED)])
    assert sw(card, yubico.set_management_key(0x03, bytes(24))) == 0x6A80
    assert sw(card, piv.general_authenticate(0x03, 0x9B, Authentication(challenge=b""))) == 0x6985
    send(card, yubico.set_management_key(0x0C, bytes(32)))
    assert authenticate(card, 0x0C, bytes(32)) == 0x9000


@pytest.mark.parametrize(
    ("pin", "puk", "expected"), [(3, 4, 0x9000), (10, 15, 0x9000), (11, 5, 0x6A86), (5, 16, 0x6A86), (0, 5, 0x6A86)]
)
def test_the_number_of_tries_is_set_within_limits(pin: int, puk: int, expected: int) -> None:
    card = admin()
    send(card, piv.verify(PIN))
    assert sw(card, Command(0x00, 0xFA, pin, puk)) == expected
    if expected == 0x9000:
        assert metadata(card, 0x80) == ReferenceMetadata(True, pin, pin)
        assert metadata(card, 0x81) == ReferenceMetadata(True, puk, puk)


def block_both(card: Card) -> None:
    while sw(card, piv.verify(WRONG)) != 0x6983:
        pass
    while sw(card, piv.reset_retry_counter(bytes(8), PIN)) != 0x6983:
        pass


def test_reset_needs_both_blocked_and_brings_the_factory_state_back() -> None:
    card = admin()
    send(card, piv.generate_key(0x9E, 0x11))
    send(card, piv.put_data(0x5FC102, b"\x30\x00"))
    send(card, yubico.set_management_key(0x0C, bytes(32)))
    assert sw(card, yubico.reset()) == 0x6985
    block_both(card)
    send(card, yubico.reset())
    assert sw(card, piv.get_data(0x5FC102)) == 0x6A82
    assert sw(card, yubico.get_metadata(0x9E)) == 0x6A88
    assert sw(card, piv.put_data(0x5FC102, b"")) == 0x6982
    assert authenticate(card) == 0x9000
    assert sw(card, piv.verify(PIN)) == 0x9000


def test_an_issued_card_is_not_reset_by_blocking_it() -> None:
    card = selected()
    card.persistent.commit([Life(Owner.CARD, LifeCycle.SECURED)])
    block_both(card)
    assert sw(card, yubico.reset()) == 0x6985


@pytest.mark.parametrize("policy", [PinPolicy.NEVER, PinPolicy.ONCE])
def test_the_signature_key_never_gets_a_weaker_policy(policy: PinPolicy) -> None:
    assert sw(admin(), piv.generate_key(0x9C, 0x11, pin_policy=policy)) == 0x6A80


def test_an_issued_card_gets_no_published_pin_and_puk_back() -> None:
    card = admin()
    send(card, piv.verify(PIN))
    card.persistent.commit([Life(Owner.CARD, LifeCycle.SECURED)])
    before = dict(card.persistent.references)
    assert sw(card, yubico.set_pin_retries(5, 5)) == 0x6985
    assert dict(card.persistent.references) == before
