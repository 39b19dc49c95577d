"""The card's PIV commands: (command, state, interface) -> status word, after SP 800-73pt2-5."""

import hashlib
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command, Ins, split_chain
from cardlink.piv import commands as piv
from cardlink.piv import tables
from cardlink.piv.tables import Algorithm, Interface
from cardlink.piv.templates import (
    Authentication,
    EcPublicKey,
    PublicKey,
    RsaPublicKey,
    decode_public_key,
    decode_response,
)
from cardlink.transport.connection import command as say
from cardlink.transport.loopback import Loopback
from cardos.card import Card
from cardos.defaults import FACTORY_ADMIN_KEY
from cardos.factory import make_blank
from cardos.store import MemoryStore

SERIAL = bytes.fromhex("0001000200C0FFEE0001")
TRANSPORT = (bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))  # made up for these tests
PIN, PUK, WRONG = b"123456\xff\xff", b"12345678", b"654321\xff\xff"
CONTACT, CONTACTLESS = Interface.CONTACT, Interface.CONTACTLESS


def sw(card: Card, apdu: Command | bytes, interface: Interface = CONTACT) -> int:
    raw = apdu if isinstance(apdu, bytes) else apdu.encode()
    return int.from_bytes(card.transmit(raw, interface)[-2:], "big")


def send(card: Card, apdu: Command) -> bytes:
    """Say one command over contact, with chain and GET RESPONSE; raises CardStatus."""
    return say(Loopback(card.transmit), apdu)


def become_admin(card: Card) -> None:
    template = tlv.unwrap(
        send(card, piv.general_authenticate(Algorithm.AES_192, 0x9B, Authentication(challenge=b""))), 0x7C
    )
    block = aes(FACTORY_ADMIN_KEY, tlv.unwrap(template, 0x81))
    send(card, piv.general_authenticate(Algorithm.AES_192, 0x9B, Authentication(response=block)))


def aes(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305 one block


def blank() -> Card:
    return Card(MemoryStore(make_blank(SERIAL, TRANSPORT)))


def selected() -> Card:
    card = blank()
    send(card, piv.select())
    return card


def admin() -> Card:
    card = selected()
    become_admin(card)
    return card


def verified() -> Card:
    card = selected()
    send(card, piv.verify(PIN))
    return card


def blocked() -> Card:
    card = selected()
    while sw(card, piv.verify(WRONG)) != 0x6983:
        pass
    return card


@dataclass(frozen=True, slots=True)
class Filled:
    card: Card
    keys: dict[int, PublicKey]


@pytest.fixture(scope="module")
def records() -> tuple[dict[bytes, bytes], dict[int, PublicKey]]:
    """A card with a P-256 key in each slot and something in each object, and its public keys."""
    store = MemoryStore(make_blank(SERIAL, TRANSPORT))
    card = Card(store)
    send(card, piv.select())
    become_admin(card)
    keys: dict[int, PublicKey] = {
        ref: decode_public_key(send(card, piv.generate_key(ref, Algorithm.P_256)), Algorithm.P_256)
        for ref in (0x9A, 0x9C, 0x9D, 0x9E, 0x82)
    }
    for tag in tables.CONTAINERS:
        content = bytes.fromhex("4F0BA0000003080000100001005F2F024000") if tag == 0x7E else tag.to_bytes(3, "big") * 120
        send(card, piv.put_data(tag, content))
    return store.load(), keys


@pytest.fixture
def filled(records: tuple[dict[bytes, bytes], dict[int, PublicKey]]) -> Filled:
    card = Card(MemoryStore(records[0]))
    return Filled(card, records[1])


# --- SELECT -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aid", [tables.PIV_AID, tables.PIV_AID_TRUNCATED, tables.NIST_RID])
@pytest.mark.parametrize("interface", list(Interface))
def test_select_takes_the_whole_and_the_truncated_aid_over_both_faces(aid: bytes, interface: Interface) -> None:
    answer = blank().transmit(piv.select(aid).encode(), interface)
    assert answer == bytes.fromhex("61164F0BA00000030800001000010079074F05A0000003089000")


@pytest.mark.parametrize(
    ("apdu", "expected"),
    [
        ("00A4040006A00000030899", 0x6A82),
        ("00A4040004A0000003", 0x6A82),
        ("00A404000CA0000003080000100001000000", 0x6A82),
        ("00A4040C05A000000308", 0x6A86),
        ("00A4000005A000000308", 0x6A86),
    ],
)
def test_select_of_an_unknown_aid_changes_nothing(apdu: str, expected: int) -> None:
    card = verified()
    assert sw(card, bytes.fromhex(apdu)) == expected
    assert sw(card, piv.verify(b"")) == 0x9000


def test_selecting_piv_again_keeps_the_security_status_and_another_application_clears_it() -> None:
    card = verified()
    send(card, piv.select())
    assert sw(card, piv.verify(b"")) == 0x9000
    send(card, piv.select(bytes.fromhex("A000000151000000")))
    send(card, piv.select())
    assert sw(card, piv.verify(b"")) == 0x63C5


def test_a_reset_and_a_change_of_face_forget_the_security_status() -> None:
    for forget in (Card.reset, lambda card: sw(card, piv.select(), CONTACTLESS)):
        card = verified()
        forget(card)
        send(card, piv.select())
        assert sw(card, piv.verify(b"")) == 0x63C5


# --- GET DATA ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", tables.CONTAINERS.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("interface", list(Interface))
@pytest.mark.parametrize("with_pin", [False, True])
def test_each_object_is_read_exactly_as_its_access_rule_says(
    filled: Filled, container: tables.Container, interface: Interface, with_pin: bool
) -> None:
    card = filled.card
    sw(card, piv.select(), interface)
    if with_pin and interface is CONTACT:
        send(card, piv.verify(PIN))
    rule = container.read_access(interface)
    pin_rules = (tables.Access.PIN, tables.Access.PIN_OR_OCC)
    allowed = rule is tables.Access.ALWAYS or (with_pin and rule in pin_rules and interface is CONTACT)
    answer = card.transmit(piv.get_data(container.tag).encode(), interface)
    assert (answer[-2] in (0x90, 0x61)) is allowed
    assert allowed or answer == b"\x69\x82"


def test_the_identity_statement_is_not_read_over_contactless_in_the_clear(filled: Filled) -> None:
    sw(filled.card, piv.select(), CONTACTLESS)
    assert sw(filled.card, piv.get_data(0x5FFF21), CONTACTLESS) == 0x6982


@pytest.mark.parametrize("tag", [0x5FC102, 0x7E, 0x7F61, 0x5FFF20])
def test_an_object_comes_back_as_it_was_put(tag: int) -> None:
    card = admin()
    content = bytes.fromhex("4F0BA0000003080000100001005F2F024000") if tag == 0x7E else bytes(range(200))
    send(card, piv.put_data(tag, content))
    assert piv.unwrap_object(tag, send(card, piv.get_data(tag))) == content


@pytest.mark.parametrize(
    ("tag", "after"), [(0x5FC101, "6A82"), (0x5FFF00, "6A82"), (0x5FC103, "53009000"), (0x5FC102, "53009000")]
)
def test_an_emptied_certificate_is_gone_and_any_other_object_is_empty(tag: int, after: str) -> None:
    card = admin()
    for content in (b"", b"content", b""):
        send(card, piv.put_data(tag, content))
    send(card, piv.verify(PIN))
    assert card.transmit(piv.get_data(tag).encode()).hex().upper() == after


def test_a_long_object_travels_by_chain_and_get_response() -> None:
    card = admin()
    content = bytes(range(256)) * 40
    send(card, piv.put_data(0x5FC108, content))
    send(card, piv.verify(PIN))
    assert piv.unwrap_object(0x5FC108, send(card, piv.get_data(0x5FC108))) == content
    extended = Command(0x00, 0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC108"), 65_536, extended=True)
    assert piv.unwrap_object(0x5FC108, card.transmit(extended.encode())[:-2]) == content


def test_the_rest_of_an_answer_is_announced_and_lost_by_another_command() -> None:
    card = admin()
    send(card, piv.put_data(0x5FC102, bytes(600)))
    read = piv.get_data(0x5FC102).encode()
    assert card.transmit(read)[-2:] == b"\x61\x00"
    assert card.transmit(bytes.fromhex("00C0000000"))[-2:] == b"\x61\x5c"
    assert card.transmit(bytes.fromhex("00C0000010"))[-2:] == b"\x61\x4c"
    assert len(card.transmit(bytes.fromhex("00C000004C"))) == 0x4C + 2
    assert card.transmit(bytes.fromhex("00C0000000")) == b"\x69\x85"
    card.transmit(read)
    card.transmit(piv.verify(b"").encode())
    assert card.transmit(bytes.fromhex("00C0000000")) == b"\x69\x85"


@pytest.mark.parametrize(
    ("apdu", "expected"),
    [
        ("00CB3FFF055C035FC10200", 0x6A82),  # not there
        ("00CB3FFF055C035FC1FF00", 0x6A82),  # no such object
        ("00CB3FFF035C017E00", 0x6A82),
        ("00CB3FFF045C027F6100", 0x6A82),
        ("00CB0000055C035FC10200", 0x6A86),
        ("00CB3FFF055C045FC10200", 0x6A80),
        ("00CB3FFF0553035FC10200", 0x6A80),
        ("00CB3FFF00", 0x6A80),
        ("00CB3FFF035C047E00", 0x6A80),
        ("10CB3FFF055C035FC102", 0x6884),
        ("0CCB3FFF055C035FC10200", 0x6882),
        ("08CB3FFF055C035FC10200", 0x6882),
        ("04CB3FFF055C035FC10200", 0x6982),
        ("01CB3FFF055C035FC10200", 0x6881),
        ("40CB3FFF055C035FC10200", 0x6881),
        ("20CB3FFF055C035FC10200", 0x6E00),
        ("FFCB3FFF055C035FC10200", 0x6E00),
        ("00CB3FFF075C035FC10200", 0x6700),
        ("00CA3FFF055C035FC10200", 0x6D00),
        ("80CB3FFF055C035FC10200", 0x6D00),
        ("00CB", 0x6700),
        ("", 0x6700),
    ],
)
def test_a_wrong_get_data_gets_its_status_word(apdu: str, expected: int) -> None:
    assert sw(selected(), bytes.fromhex(apdu)) == expected


def test_a_refused_object_is_refused_whether_it_is_there_or_not() -> None:
    assert sw(selected(), piv.get_data(0x5FC109)) == 0x6982


# --- VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER ---------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "apdu", "interface", "expected"),
    [
        (selected, "00200080", CONTACT, 0x63C5),
        (verified, "00200080", CONTACT, 0x9000),
        (blocked, "00200080", CONTACT, 0x6983),
        (selected, "0020008008313233343536FFFF", CONTACT, 0x9000),
        (selected, "0020008008363534333231FFFF", CONTACT, 0x63C4),
        (blocked, "0020008008313233343536FFFF", CONTACT, 0x6983),
        (selected, "00200080083132333435FFFFFF", CONTACT, 0x63C4),
        (selected, "0020008006313233343536", CONTACT, 0x6A80),
        (selected, "002000800831323334353A36FF", CONTACT, 0x63C4),
        (selected, "0020008008313233FF343536FF", CONTACT, 0x63C4),
        (selected, "0020018008313233343536FFFF", CONTACT, 0x6A86),
        (selected, "0020000008313233343536FFFF", CONTACT, 0x6A88),
        (selected, "0020008108313233343536FFFF", CONTACT, 0x6A88),
        (selected, "0020009600", CONTACT, 0x6A88),
        (selected, "00200098083132333435363738", CONTACT, 0x6A88),
        (verified, "0020FF80", CONTACT, 0x9000),
        (verified, "0020FF8008313233343536FFFF", CONTACT, 0x6A80),
        (selected, "0020008008313233343536FFFF", CONTACTLESS, 0x6982),
        (selected, "00200080", CONTACTLESS, 0x6982),
        (selected, "1020008008313233343536FFFF", CONTACT, 0x6884),
        (selected, "0024008010313233343536FFFF363534333231FFFF", CONTACT, 0x9000),
        (selected, "0024008010363534333231FFFF363534333231FFFF", CONTACT, 0x63C4),
        (selected, "0024008010313233343536FFFF3635343332FFFFFF", CONTACT, 0x6A80),
        (selected, "00240080103132333435FFFFFF363534333231FFFF", CONTACT, 0x6A80),
        (selected, "0024008008313233343536FFFF", CONTACT, 0x6A80),
        (selected, "002400811031323334353637380001020304050607", CONTACT, 0x9000),
        (selected, "002400811030303030303030300001020304050607", CONTACT, 0x63C4),
        (selected, "0024000010313233343536FFFF363534333231FFFF", CONTACT, 0x6A88),
        (selected, "0024009610313233343536FFFF363534333231FFFF", CONTACT, 0x6A88),
        (selected, "0024018010313233343536FFFF363534333231FFFF", CONTACT, 0x6A86),
        (blocked, "0024008010313233343536FFFF363534333231FFFF", CONTACT, 0x6983),
        (selected, "0024008010313233343536FFFF363534333231FFFF", CONTACTLESS, 0x6982),
        (selected, "002400811031323334353637380001020304050607", CONTACTLESS, 0x6A81),
        (blocked, "002C0080103132333435363738363534333231FFFF", CONTACT, 0x9000),
        (selected, "002C0080103030303030303030363534333231FFFF", CONTACT, 0x63C4),
        (selected, "002C00801031323334353637383635343332FFFFFF", CONTACT, 0x6A80),
        (selected, "002C00801030303030303030303635343332FFFFFF", CONTACT, 0x63C4),
        (selected, "002C0080083132333435363738", CONTACT, 0x6A80),
        (selected, "002C0081103132333435363738363534333231FFFF", CONTACT, 0x6A88),
        (selected, "002C0180103132333435363738363534333231FFFF", CONTACT, 0x6A86),
        (selected, "002C0080103132333435363738363534333231FFFF", CONTACTLESS, 0x6A81),
    ],
)
def test_a_reference_command_gets_its_status_word(
    state: Callable[[], Card], apdu: str, interface: Interface, expected: int
) -> None:
    card = state()
    if interface is CONTACTLESS:
        sw(card, piv.select(), CONTACTLESS)
    assert sw(card, bytes.fromhex(apdu), interface) == expected


def test_the_pin_blocks_and_the_puk_gives_it_back_with_a_new_value() -> None:
    card = selected()
    assert [sw(card, piv.verify(WRONG)) for _ in range(6)] == [0x63C4, 0x63C3, 0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert sw(card, piv.verify(PIN)) == 0x6983
    send(card, piv.reset_retry_counter(PUK, WRONG))
    assert sw(card, piv.verify(b"")) == 0x63C5
    assert sw(card, piv.verify(WRONG)) == 0x9000


def test_the_right_puk_with_a_broken_pin_costs_no_try() -> None:
    card = selected()
    sw(card, piv.reset_retry_counter(b"00000000", PIN))
    assert sw(card, piv.reset_retry_counter(PUK, b"\xff" * 8)) == 0x6A80
    assert sw(card, piv.reset_retry_counter(b"00000000", PIN)) == 0x63C3


def test_a_blocked_puk_stays_blocked() -> None:
    card = selected()
    wrong = piv.reset_retry_counter(b"00000000", PIN)
    assert [sw(card, wrong) for _ in range(6)] == [0x63C4, 0x63C3, 0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert sw(card, piv.reset_retry_counter(PUK, PIN)) == 0x6983
    assert sw(card, piv.change_reference_data(0x81, PUK, PUK)) == 0x6983


def test_a_wrong_pin_takes_the_verification_back_and_a_right_one_restores_the_counter() -> None:
    card = verified()
    sw(card, piv.verify(WRONG))
    assert sw(card, piv.verify(b"")) == 0x63C4
    send(card, piv.verify(PIN))
    sw(card, piv.verify_clear())
    assert sw(card, piv.verify(b"")) == 0x63C5


def test_a_wrong_puk_takes_the_pin_verification_back_in_reset_retry_counter_only() -> None:
    card = verified()
    sw(card, piv.change_reference_data(0x81, b"00000000", PUK))
    assert sw(card, piv.verify(b"")) == 0x9000
    sw(card, piv.reset_retry_counter(b"00000000", PIN))
    assert sw(card, piv.verify(b"")) == 0x63C5


def test_the_changed_pin_and_puk_count_from_then_on() -> None:
    card = selected()
    send(card, piv.change_reference_data(0x80, PIN, WRONG))
    assert sw(card, piv.verify(b"")) == 0x9000
    send(card, piv.change_reference_data(0x81, PUK, bytes(8)))
    assert sw(card, piv.verify(PIN)) == 0x63C4
    assert sw(card, piv.reset_retry_counter(bytes(8), PIN)) == 0x9000
    assert sw(card, piv.verify(PIN)) == 0x9000


# --- GENERAL AUTHENTICATE ---------------------------------------------------------------------------------------


def verify_signature(public: PublicKey, answer: bytes, digest: bytes) -> None:
    assert isinstance(public, EcPublicKey)
    curve: ec.EllipticCurve = ec.SECP256R1() if len(digest) == 32 else ec.SECP384R1()
    hashed = utils.Prehashed(SHA256() if len(digest) == 32 else SHA384())
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, public.point)
    key.verify(decode_response(answer), digest, ec.ECDSA(hashed))


@pytest.mark.parametrize("interface", list(Interface))
def test_the_card_authentication_key_signs_without_a_pin_over_both_faces(filled: Filled, interface: Interface) -> None:
    sw(filled.card, piv.select(), interface)
    digest = hashlib.sha256(b"challenge").digest()
    answer = filled.card.transmit(piv.sign_with_card_key_apdu(digest), interface)
    verify_signature(filled.keys[0x9E], answer[:-2], digest)


@pytest.mark.parametrize("ref", [0x9A, 0x9C, 0x9D, 0x82])
def test_a_key_that_asks_for_the_pin_is_not_used_without_it(filled: Filled, ref: int) -> None:
    for interface in Interface:
        sw(filled.card, piv.select(), interface)
        assert sw(filled.card, piv.sign(Algorithm.P_256, ref, bytes(32)), interface) == 0x6982


def test_the_authentication_key_signs_after_the_pin_as_often_as_asked(filled: Filled) -> None:
    send(filled.card, piv.select())
    send(filled.card, piv.verify(PIN))
    for _ in range(3):
        verify_signature(filled.keys[0x9A], send(filled.card, piv.sign(Algorithm.P_256, 0x9A, bytes(32))), bytes(32))


@pytest.mark.parametrize(
    "between",
    ["00CB3FFF055C035FC10200", "00200080", "00C0000000", "00FD000000", "008711", "00871199", "00A4040005A000000308"],
)
def test_any_command_between_voids_the_pin_for_the_signature_key(filled: Filled, between: str) -> None:
    card = filled.card
    send(card, piv.select())
    send(card, piv.verify(PIN))
    verify_signature(filled.keys[0x9C], send(card, piv.sign(Algorithm.P_256, 0x9C, bytes(32))), bytes(32))
    assert sw(card, piv.sign(Algorithm.P_256, 0x9C, bytes(32))) == 0x6982
    send(card, piv.verify(PIN))
    card.transmit(bytes.fromhex(between))
    assert sw(card, piv.sign(Algorithm.P_256, 0x9C, bytes(32))) == 0x6982
    assert sw(card, piv.sign(Algorithm.P_256, 0x9A, bytes(32))) == 0x9000


def test_a_chained_signature_counts_as_one_command_after_the_pin(filled: Filled) -> None:
    card = filled.card
    send(card, piv.select())
    send(card, piv.verify(PIN))
    first, last = split_chain(piv.sign(Algorithm.P_256, 0x9C, bytes(32)), block=20)
    assert sw(card, first) == 0x9000
    verify_signature(filled.keys[0x9C], card.transmit(last.encode())[:-2], bytes(32))


def test_blocks_without_data_fill_no_memory() -> None:
    card = selected()
    empty = Command(0x10, Ins.GENERAL_AUTHENTICATE, Algorithm.P_256, 0x9E).encode()
    tracemalloc.start()
    try:
        card.transmit(empty)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20_000):
            card.transmit(empty)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000  # a byte a block would be as much
    finally:
        tracemalloc.stop()


def test_an_interrupted_chain_has_no_effect(filled: Filled) -> None:
    card = filled.card
    send(card, piv.select())
    first, last = split_chain(piv.sign(Algorithm.P_256, 0x9E, bytes(32)), block=20)
    assert sw(card, first) == 0x9000
    assert sw(card, piv.get_data(0x5FFF20)) & 0xFF00 in (0x9000, 0x6100)
    assert sw(card, last) == 0x6A80


@pytest.mark.parametrize("ref", [0x9D, 0x82])
def test_key_management_keys_agree_and_do_not_sign(filled: Filled, ref: int) -> None:
    card = filled.card
    send(card, piv.select())
    send(card, piv.verify(PIN))
    mine = ec.generate_private_key(ec.SECP256R1())
    numbers = mine.public_key().public_numbers()
    point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    public = filled.keys[ref]
    assert isinstance(public, EcPublicKey)
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public.point)
    assert decode_response(send(card, piv.agree(Algorithm.P_256, ref, point))) == mine.exchange(ec.ECDH(), theirs)
    assert sw(card, piv.sign(Algorithm.P_256, ref, bytes(32))) == 0x6A80
    assert sw(card, piv.agree(Algorithm.P_256, ref, point[:-1] + bytes([point[-1] ^ 1]))) == 0x6A80
    assert sw(card, piv.agree(Algorithm.P_256, ref, b"\x04" + bytes(64))) == 0x6A80
    assert sw(card, piv.agree(Algorithm.P_256, ref, b"\x02" + point[1:33])) == 0x6A80
    assert sw(card, piv.agree(Algorithm.P_256, ref, b"\x00")) == 0x6A80


@pytest.mark.parametrize("ref", [0x9A, 0x9C, 0x9E])
def test_exponentiation_is_refused_on_the_other_keys(filled: Filled, ref: int) -> None:
    send(filled.card, piv.select())
    send(filled.card, piv.verify(PIN))
    assert sw(filled.card, piv.agree(Algorithm.P_256, ref, b"\x04" + bytes(64))) == 0x6A80


@pytest.mark.parametrize(
    ("apdu", "expected"),
    [
        ("0087149E267C2482008120" + "00" * 32, 0x6A86),  # another algorithm than the key's
        ("0087119F267C2482008120" + "00" * 32, 0x6A86),
        ("00872704267C2482008120" + "00" * 32, 0x6A86),  # no secure messaging on this card
        ("00871104267C2482008120" + "00" * 32, 0x6A86),
        ("008711F9267C2482008120" + "00" * 32, 0x6A86),
        ("0087119E257C2382008120" + "00" * 31, 0x6A80),
        ("0087119E257C238200811F" + "00" * 31, 0x6A80),
        ("0087119E247C22812000" + "00" * 31, 0x6A80),  # nothing asked for
        ("0087119E047C028200", 0x6A80),
        ("0087119E047C028100", 0x6A80),
        ("0087119E027C00", 0x6A80),
        ("0087119E0400000000", 0x6A80),
        ("0087119E", 0x6A80),
        ("0087119E067C0482008300", 0x6A80),
        ("0087119E067C0482008200", 0x6A80),
    ],
)
def test_a_wrong_general_authenticate_gets_its_status_word(filled: Filled, apdu: str, expected: int) -> None:
    send(filled.card, piv.select())
    assert sw(filled.card, bytes.fromhex(apdu)) == expected


def test_p_384_signs() -> None:
    card = admin()
    public = decode_public_key(send(card, piv.generate_key(0x9E, Algorithm.P_384)), Algorithm.P_384)
    digest = hashlib.sha384(b"challenge").digest()
    verify_signature(public, send(card, piv.sign(Algorithm.P_384, 0x9E, digest)), digest)


def test_rsa_2048_signs_a_padded_block_and_refuses_one_not_below_the_modulus() -> None:
    card = admin()
    public = decode_public_key(send(card, piv.generate_key(0x9E, Algorithm.RSA_2048)), Algorithm.RSA_2048)
    assert isinstance(public, RsaPublicKey)
    info = bytes.fromhex("3031300D060960864801650304020105000420") + hashlib.sha256(b"text").digest()
    block = b"\x00\x01" + b"\xff" * (256 - 3 - len(info)) + b"\x00" + info
    signature = decode_response(send(card, piv.sign(Algorithm.RSA_2048, 0x9E, block)))
    key = rsa.RSAPublicNumbers(public.exponent, int.from_bytes(public.modulus, "big")).public_key()
    key.verify(signature, b"text", padding.PKCS1v15(), SHA256())
    *first, last = split_chain(piv.sign(Algorithm.RSA_2048, 0x9E, b"\xff" * 256))
    assert [sw(card, one) for one in first] == [0x9000]
    assert sw(card, last) == 0x6A80


# --- the administrator ------------------------------------------------------------------------------------------


def test_mutual_authentication_proves_both_sides() -> None:
    card = selected()
    template = tlv.unwrap(send(card, piv.general_authenticate(0x0A, 0x9B, Authentication(witness=b""))), 0x7C)
    decryptor = Cipher(algorithms.AES(FACTORY_ADMIN_KEY), modes.ECB()).decryptor()  # noqa: S305 one block
    shown = decryptor.update(tlv.unwrap(template, 0x80))
    request = Authentication(witness=shown, challenge=bytes(16), response=b"")
    answer = send(card, piv.general_authenticate(0x0A, 0x9B, request))
    assert decode_response(answer) == aes(FACTORY_ADMIN_KEY, bytes(16))
    assert sw(card, piv.put_data(0x5FC102, b"")) == 0x9000


def challenged() -> tuple[Card, bytes]:
    card = selected()
    template = tlv.unwrap(send(card, piv.general_authenticate(0x0A, 0x9B, Authentication(challenge=b""))), 0x7C)
    return card, tlv.unwrap(template, 0x81)


def test_a_challenge_is_used_once_even_by_a_wrong_answer() -> None:
    card, challenge = challenged()
    right = piv.general_authenticate(0x0A, 0x9B, Authentication(response=aes(FACTORY_ADMIN_KEY, challenge)))
    wrong = piv.general_authenticate(0x0A, 0x9B, Authentication(response=bytes(16)))
    assert sw(card, wrong) == 0x6982
    assert sw(card, right) == 0x6982
    assert sw(card, piv.put_data(0x5FC102, b"")) == 0x6982


def test_a_failed_authentication_takes_the_administrator_away() -> None:
    card = admin()
    assert sw(card, piv.general_authenticate(0x0A, 0x9B, Authentication(response=bytes(16)))) == 0x6982
    assert sw(card, piv.put_data(0x5FC102, b"")) == 0x6982


@pytest.mark.parametrize(
    ("apdu", "interface", "expected"),
    [
        ("00870C9B047C028100", CONTACT, 0x6A86),
        ("0087039B047C028100", CONTACT, 0x6A86),
        ("00870A9B047C028500", CONTACT, 0x6A80),
        ("00870A9B067C0482028081", CONTACT, 0x6A80),
        ("00870A9B047C028200", CONTACT, 0x6A80),
        ("00870A9B047C028100", CONTACTLESS, 0x6982),
    ],
)
def test_a_wrong_authentication_of_the_administrator_gets_its_status_word(
    apdu: str, interface: Interface, expected: int
) -> None:
    card = selected()
    sw(card, piv.select(), interface)
    assert sw(card, bytes.fromhex(apdu), interface) == expected


@pytest.mark.parametrize(
    ("state", "apdu", "interface", "expected"),
    [
        (selected, "00DB3FFF095C035FC1025302AABB", CONTACT, 0x6982),
        (verified, "00DB3FFF095C035FC1025302AABB", CONTACT, 0x6982),
        (admin, "00DB3FFF095C035FC1025302AABB", CONTACT, 0x9000),
        (admin, "00DB3FFF075C035FC1025300", CONTACT, 0x9000),
        (admin, "00DB3FFF095C035FC1025302AABB", CONTACTLESS, 0x6A81),
        (admin, "00DB3FFF095C035FC2025302AABB", CONTACT, 0x6A81),
        (admin, "00DB3FFF095C035FC1025303AABB", CONTACT, 0x6A80),
        (admin, "00DB3FFF095C035FC1025402AABB", CONTACT, 0x6A80),
        (admin, "00DB00FF095C035FC1025302AABB", CONTACT, 0x6A86),
        (admin, "00DB3FFF147E124F0BA0000003080000100001005F2F024000", CONTACT, 0x9000),
        (admin, "00DB3FFF147E124F0BA0000003080000100001005F2F024C00", CONTACT, 0x6A80),  # no VCI on this card
        (admin, "00DB3FFF147E124F0BA0000003080000100001005F2F026010", CONTACT, 0x6A80),  # no Global PIN
        (admin, "00DB3FFF147E124F0BA0000003080000100001005F2F024100", CONTACT, 0x6A80),
        (selected, "0047009E05AC0380011100", CONTACT, 0x6982),
        (admin, "0047009E05AC0380011100", CONTACT, 0x9000),
        (admin, "0047008205AC0380011100", CONTACT, 0x9000),
        (admin, "0047009E05AC0380011100", CONTACTLESS, 0x6A81),
        (admin, "0047019E05AC0380011100", CONTACT, 0x6A86),
        (admin, "0047009B05AC0380011100", CONTACT, 0x6A86),
        (admin, "0047000405AC0380012700", CONTACT, 0x9000),
        (admin, "0047000405AC0380011100", CONTACT, 0x6A86),  # 04 is of a cipher suite and of nothing else
        (admin, "0047000405AC0380012700", CONTACTLESS, 0x6A81),
        (selected, "0047000405AC0380012700", CONTACT, 0x6982),
        (admin, "0047009E05AC0380010600", CONTACT, 0x6A80),
        (admin, "0047009E05AC0380010C00", CONTACT, 0x6A80),
        (admin, "0047009E05AC0381011100", CONTACT, 0x6A80),
        (admin, "0047009A08AC06800111AA010100", CONTACT, 0x6A80),  # weaker than the slot's rule
        (admin, "0047009C08AC06800111AA010200", CONTACT, 0x6A80),
        (admin, "0047009E08AC06800111AB010200", CONTACT, 0x6A80),  # no button to touch
        (admin, "0047009E08AC06800111AA010900", CONTACT, 0x6A80),
    ],
)
def test_an_administrative_command_gets_its_status_word(
    state: Callable[[], Card], apdu: str, interface: Interface, expected: int
) -> None:
    card = state()
    if interface is CONTACTLESS:
        sw(card, piv.select(), CONTACTLESS)
    assert sw(card, bytes.fromhex(apdu), interface) == expected


def test_memory_is_finite() -> None:
    card = admin()
    *blocks, last = split_chain(piv.put_data(0x5FC108, bytes(16_385)))
    assert {sw(card, one) for one in blocks} == {0x9000}
    assert sw(card, last) == 0x6A84
    answers = [sw(card, one) for one in split_chain(piv.put_data(0x5FC108, bytes(21_000)))]
    assert 0x6A84 in answers
    assert answers[-1] != 0x9000
    assert sw(card, piv.get_data(0x5FC102)) == 0x6A82
