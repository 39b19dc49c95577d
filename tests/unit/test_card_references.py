"""Pairing code and Global PIN, blocking from afar, and what a Discovery Object may promise."""

import pytest
from messaging_card import (
    CODE,
    GLOBAL,
    PIN,
    WRONG,
    become_admin,
    give_messaging_key,
    issued,
    opened,
    policy,
    sayer,
    status,
    sw,
)

from cardlink.gp import commands as gp
from cardlink.piv import commands as piv
from cardlink.piv.secure_messaging import CS2
from cardlink.piv.tables import BIT_GROUP, IRIS, KEYS, PAIRING_CODE_REFERENCE, KeyRef
from cardos.card import Card
from cardos.factory import make_blank
from cardos.store import MemoryStore

# --- the pairing code -------------------------------------------------------------------------------------------------


def test_the_pairing_code_has_no_counter() -> None:
    session = opened(issued(CS2, 0x48))
    say = session.command
    assert status(say, piv.verify(b"", 0x98)) == 0x6300
    for _ in range(30):
        assert status(say, piv.verify(b"00000000", 0x98)) == 0x6300
    for broken in (b"1234567", b"123456789", b"1234567a", b"123456\xff\xff"):
        assert status(say, piv.verify(broken, 0x98)) == 0x6A80
    assert status(say, piv.verify(CODE, 0x98)) == 0x9000
    assert status(say, piv.verify(b"", 0x98)) == 0x9000
    assert status(say, piv.verify(b"1234567a", 0x98)) == 0x6A80
    assert status(say, piv.get_data(0x5FC105)) == 0x9000
    assert status(say, piv.verify(b"00000000", 0x98)) == 0x6300
    assert status(say, piv.get_data(0x5FC105)) == 0x6982
    status(say, piv.verify(CODE, 0x98))
    assert status(say, piv.verify_clear(0x98)) == 0x9000
    assert status(say, piv.get_data(0x5FC105)) == 0x6982


def test_the_pairing_code_stands_for_its_session_alone() -> None:
    card = issued(CS2, 0x48)
    opened(card).command(piv.verify(CODE, 0x98))
    assert status(opened(card).command, piv.get_data(0x5FC105)) == 0x6982


def test_the_holder_reads_the_pairing_code_with_the_pin() -> None:
    card = issued(CS2, 0x48)
    say = sayer(card)
    say(piv.select())
    assert status(say, piv.get_data(0x5FC123)) == 0x6982
    say(piv.verify(PIN))
    assert piv.unwrap_object(0x5FC123, say(piv.get_data(0x5FC123))) == b"\x99\x08" + CODE + b"\xfe\x00"


@pytest.mark.parametrize("content", ["", "9908", "99073132333435363700FE00", "98083132333435363738FE00"])
def test_a_card_without_a_readable_pairing_code_has_none(content: str) -> None:
    card = issued(CS2, 0x48)
    become_admin(card)
    sayer(card)(piv.put_data(PAIRING_CODE_REFERENCE.tag, bytes.fromhex(content)))
    assert status(opened(card).command, piv.verify(CODE, 0x98)) == 0x6A88


# --- the Global PIN ---------------------------------------------------------------------------------------------------


def fresh() -> Card:
    card = Card(MemoryStore(make_blank(bytes(10), (bytes(16),) * 3)))
    become_admin(card)
    return card


def test_the_administrator_gives_the_global_pin_its_value() -> None:
    card = fresh()
    say = sayer(card)
    discovery = "00DB3FFF147E124F0BA0000003080000100001005F2F02"
    assert sw(card, discovery + "6010") == 0x6A80  # no Global PIN yet
    for broken in (b"12345\xff\xff\xff", b"1234567", b"123456789", b"1234567a"):
        assert sw(card, piv.set_reference_data(0x00, broken)) == 0x6A80
    assert sw(card, piv.set_reference_data(0x80, GLOBAL)) == 0x6A86
    say(piv.set_reference_data(0x00, GLOBAL))
    assert status(say, piv.verify(GLOBAL, 0x00)) == 0x6A88
    assert sw(card, discovery + "6000") == 0x6A80  # one of both must be the holder's first
    assert sw(card, discovery + "6020") == 0x9000
    assert status(say, piv.verify(WRONG, 0x00)) == 0x63C4
    assert status(say, piv.verify(b"", 0x00)) == 0x63C4
    assert status(say, piv.verify(GLOBAL, 0x00)) == 0x9000
    assert status(say, piv.verify(b"", 0x00)) == 0x9000
    say(piv.set_reference_data(0x00, WRONG))
    assert status(say, piv.verify(b"", 0x00)) == 0x63C5
    assert status(say, piv.change_reference_data(0x00, WRONG, GLOBAL)) == 0x9000
    assert status(say, piv.verify(GLOBAL, 0x00)) == 0x9000


def test_nobody_else_sets_it() -> None:
    card = issued(CS2, 0x6C)
    say = sayer(card)
    say(piv.select())
    say(piv.verify(PIN))
    assert status(say, piv.set_reference_data(0x00, WRONG)) == 0x6982
    assert status(opened(card).command, piv.set_reference_data(0x00, WRONG)) == 0x6A81
    assert status(say, piv.set_reference_data(0x00, WRONG)) == 0x6D00  # the other face forgot what was selected


def test_the_global_pin_blocks_alone_and_the_administrator_gives_it_back() -> None:
    card = issued(CS2, 0x6C)
    become_admin(card)
    say = sayer(card)
    answers = [status(say, piv.verify(WRONG, 0x00)) for _ in range(7)]
    assert answers == [0x63C4, 0x63C3, 0x63C2, 0x63C1, 0x63C0, 0x6983, 0x6983]
    assert status(say, piv.verify(GLOBAL, 0x00)) == 0x6983
    assert status(say, piv.change_reference_data(0x00, GLOBAL, GLOBAL)) == 0x6983
    assert status(say, piv.verify(PIN)) == 0x9000
    say(piv.set_reference_data(0x00, GLOBAL))
    assert status(say, piv.verify(GLOBAL, 0x00)) == 0x9000


def test_the_global_pin_stops_counting_when_the_policy_says_so() -> None:
    card = issued(CS2, 0x6C)
    become_admin(card)
    say = sayer(card)
    say(piv.verify(GLOBAL, 0x00))
    assert status(say, piv.get_data(0x5FC109)) == 0x9000
    policy(card, 0x4C)
    assert status(say, piv.get_data(0x5FC109)) == 0x6982
    assert status(say, piv.sign(0x11, 0x9C, bytes(32))) == 0x6982
    assert status(say, piv.verify(b"", 0x00)) == 0x6A88


def test_the_global_pin_belongs_to_the_whole_card() -> None:
    card = issued(CS2, 0x6C)
    say = sayer(card)
    say(piv.select())
    say(piv.verify(GLOBAL, 0x00))
    say(piv.verify(PIN))
    say(gp.select())
    say(piv.select())
    assert (status(say, piv.verify(b"")), status(say, piv.verify(b"", 0x00))) == (0x63C5, 0x9000)


def test_taking_one_pin_back_leaves_the_other() -> None:
    card = issued(CS2, 0x6C)
    say = sayer(card)
    say(piv.select())
    say(piv.verify(GLOBAL, 0x00))
    say(piv.verify(PIN))
    say(piv.verify_clear(0x80))
    assert status(say, piv.get_data(0x5FC109)) == 0x9000
    say(piv.verify_clear(0x00))
    assert status(say, piv.get_data(0x5FC109)) == 0x6982
    say(piv.verify(PIN))
    assert status(say, piv.verify(WRONG, 0x00)) == 0x63C4
    assert status(say, piv.get_data(0x5FC109)) == 0x9000


# --- blocking from afar -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ref", "value"), [(0x80, PIN), (0x00, GLOBAL)])
def test_nobody_blocks_a_pin_over_contactless(ref: int, value: bytes) -> None:
    card = issued(CS2, 0x6C)
    say = opened(card).command
    answers = [status(say, piv.verify(WRONG, ref)) for _ in range(6)]
    assert answers == [0x63C4, 0x63C3, 0x63C2, 0x6983, 0x6983, 0x6983]
    assert status(say, piv.verify(value, ref)) == 0x6983
    assert status(say, piv.verify(b"", ref)) == 0x6983
    assert status(say, piv.change_reference_data(ref, value, value)) == 0x6983
    contact = sayer(card)
    contact(piv.select())
    assert status(contact, piv.verify(b"", ref)) == 0x63C2
    assert status(contact, piv.verify(value, ref)) == 0x9000
    assert status(opened(card).command, piv.verify(value, ref)) == 0x9000


def test_a_verified_pin_stays_verified_when_another_try_is_refused() -> None:
    card = issued(CS2, 0x4C)
    contact = sayer(card)
    contact(piv.select())
    for _ in range(3):
        status(contact, piv.verify(WRONG))
    say = opened(card).command
    assert status(say, piv.verify(PIN)) == 0x6983
    assert status(say, piv.get_data(0x5FC109)) == 0x6982


# --- what a Discovery Object may promise ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "without", "with_global", "with_both"),
    [
        ("4000", 0x9000, 0x9000, 0x9000),
        ("4800", 0x6A80, 0x6A80, 0x9000),
        ("4C00", 0x6A80, 0x6A80, 0x9000),
        ("5000", 0x6A80, 0x6A80, 0x6A80),
        ("5800", 0x6A80, 0x6A80, 0x6A80),
        ("5C00", 0x6A80, 0x6A80, 0x6A80),
        ("6010", 0x6A80, 0x9000, 0x9000),
        ("6020", 0x6A80, 0x9000, 0x9000),
        ("6810", 0x6A80, 0x6A80, 0x9000),
        ("6C20", 0x6A80, 0x6A80, 0x9000),
        ("7010", 0x6A80, 0x6A80, 0x6A80),
        ("7C10", 0x6A80, 0x6A80, 0x6A80),
        ("4400", 0x6A80, 0x6A80, 0x6A80),
        ("4010", 0x6A80, 0x6A80, 0x6A80),
    ],
)
def test_a_usage_policy_is_taken_when_the_card_can_keep_it(
    usage: str, without: int, with_global: int, with_both: int
) -> None:
    card = fresh()
    discovery = f"00DB3FFF147E124F0BA0000003080000100001005F2F02{usage}"
    assert sw(card, discovery) == without
    sayer(card)(piv.set_reference_data(0x00, GLOBAL))
    assert sw(card, discovery) == with_global
    give_messaging_key(card, CS2)
    assert sw(card, discovery) == with_both


@pytest.mark.parametrize("tag", [BIT_GROUP.tag, IRIS.tag])
def test_biometric_objects_are_kept_though_no_finger_is_compared_here(tag: int) -> None:
    card = fresh()
    say = sayer(card)
    say(piv.put_data(tag, b"\x02\x01\x00" * 30))
    say(piv.verify(PIN))
    assert piv.unwrap_object(tag, say(piv.get_data(tag))) == b"\x02\x01\x00" * 30


def test_the_reference_rows_are_the_ones_these_tests_cover() -> None:
    assert {ref for ref in KEYS if not KEYS[ref].algorithms} == {
        KeyRef.GLOBAL_PIN,
        KeyRef.PIN,
        KeyRef.PUK,
        KeyRef.PRIMARY_FINGER,
        KeyRef.SECONDARY_FINGER,
        KeyRef.PAIRING_CODE,
    }
