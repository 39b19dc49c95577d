"""The card's PIV commands: (command, state, interface) -> status word, after SP 800-73pt2-5."""

from collections.abc import Callable

import pytest
from piv_card import (
    CONTACT,
    CONTACTLESS,
    PIN,
    PUK,
    WRONG,
    Filled,
    admin,
    blank,
    blocked,
    filled_card,
    selected,
    send,
    sw,
    verified,
)

from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv import tables
from cardlink.piv.tables import Interface
from cardos.card import Card


@pytest.fixture
def filled() -> Filled:
    return filled_card()


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
