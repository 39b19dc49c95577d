"""The virtual contact interface: every object, key and reference, over each way to reach the card, by each PIN.

What must hold is worked out here from the rows of SP 800-73pt1-5 (Tables 3, 6 and 7) word by word, not from the card.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from messaging_card import (
    CODE,
    CONTACT,
    CONTACTLESS,
    GLOBAL,
    PIN,
    WRONG,
    issued,
    opened,
    records,
    sayer,
    status,
)

from cardlink.errors import CardStatus
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv.secure_messaging import CS2
from cardlink.piv.tables import CONTAINERS, KEYS, Access, Interface
from cardos.card import Card
from cardos.records import Reference, decode_record

Say = Callable[[Command], bytes]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to reach the card: a face, protection, the PIN usage policy, whether the pairing code was said."""

    name: str
    interface: Interface
    secure: bool
    usage: int
    paired: bool = False

    @property
    def is_virtual_contact(self) -> bool:
        return self.secure and bool(self.usage & 0x08) and (self.paired or bool(self.usage & 0x04))

    def reach(self) -> tuple[Card, Say]:
        card = issued(CS2, self.usage)
        if self.secure:
            session = opened(card, self.interface)
            if self.paired:
                session.command(piv.verify(CODE, 0x98))
            return card, session.command
        say = sayer(card, self.interface)
        say(piv.select())
        return card, say


WAYS = [
    Way("contact", CONTACT, False, 0x6C),
    Way("contact protected", CONTACT, True, 0x6C),
    Way("contactless", CONTACTLESS, False, 0x6C),
    Way("protected without VCI", CONTACTLESS, True, 0x40),
    Way("protected, Global PIN without VCI", CONTACTLESS, True, 0x60),
    Way("VCI without its code", CONTACTLESS, True, 0x68),
    Way("VCI by its code", CONTACTLESS, True, 0x68, paired=True),
    Way("VCI that needs no code", CONTACTLESS, True, 0x6C),
    Way("VCI by its code, no Global PIN", CONTACTLESS, True, 0x48, paired=True),
]
PINS = ["none", "application", "global"]
EVERY = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


def show(way: Way, say: Say, pin: str) -> bool:
    """Verify that PIN if the way allows; is one verified."""
    if pin == "none":
        return False
    ref, value = (0x80, PIN) if pin == "application" else (0x00, GLOBAL)
    answer = status(say, piv.verify(value, ref))
    known = ref == 0x80 or bool(way.usage & 0x20)
    allowed = way.interface is CONTACT or way.is_virtual_contact
    assert answer == ((0x9000 if allowed else 0x6982) if known else 0x6A88)
    return answer == 0x9000


def allowed(way: Way, access: Access, has_pin: bool) -> bool:
    """Does the rule hold: its words, one by one."""
    words = access.value
    needs_vci, needs_pin = words.startswith("VCI"), "PIN" in words
    if words == "never" or (needs_vci and not way.is_virtual_contact) or (words == "SM" and not way.secure):
        return False
    return has_pin or not needs_pin


@EVERY
@pytest.mark.parametrize("pin", PINS)
def test_every_object_is_read_as_its_row_says(way: Way, pin: str) -> None:
    _, say = way.reach()
    has_pin = show(way, say, pin)
    for row in CONTAINERS.values():
        expected = 0x9000 if allowed(way, row.read_access(way.interface), has_pin) else 0x6982
        assert status(say, piv.get_data(row.tag)) == expected, row.name


@EVERY
@pytest.mark.parametrize("pin", PINS)
@pytest.mark.parametrize("ref", [0x9A, 0x9C, 0x9D, 0x9E, 0x82, 0x95])
def test_every_key_is_used_as_its_row_says(way: Way, pin: str, ref: int) -> None:
    _, say = way.reach()
    has_pin = show(way, say, pin)
    row = KEYS[ref]
    use = piv.agree(0x11, ref, GENERATOR) if row.can_agree else piv.sign(0x11, ref, bytes(32))
    granted = allowed(way, row.use_access(way.interface), has_pin)
    assert status(say, use) == (0x9000 if granted else 0x6982)
    each_time = "each use" in row.use_access(way.interface).value
    assert status(say, use) == (0x9000 if granted and not each_time else 0x6982)


# a point of P-256 like any other: its generator
GENERATOR = bytes.fromhex(
    "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
    "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
)


@EVERY
def test_every_reference_is_changed_as_its_row_says(way: Way) -> None:
    _, say = way.reach()
    reaches = way.interface is CONTACT or way.is_virtual_contact
    assert status(say, piv.change_reference_data(0x80, PIN, PIN)) == (0x9000 if reaches else 0x6982)
    expected = (0x9000 if reaches else 0x6982) if way.usage & 0x20 else 0x6A88
    assert status(say, piv.change_reference_data(0x00, GLOBAL, GLOBAL)) == expected
    puk = status(say, piv.change_reference_data(0x81, b"12345678", b"12345678"))
    assert puk == (0x9000 if way.interface is CONTACT else 0x6A81)


@EVERY
@pytest.mark.parametrize("ref", [0x96, 0x97])
def test_fingers_are_not_enabled_on_this_card(way: Way, ref: int) -> None:
    _, say = way.reach()
    for command in (piv.verify(b"", ref), piv.verify(bytes(30), ref), piv.verify_clear(ref)):
        assert status(say, command) == 0x6A88
    assert status(say, piv.change_reference_data(ref, PIN, PIN)) == 0x6A88


@EVERY
def test_the_pairing_code_is_taken_where_it_counts(way: Way) -> None:
    _, say = way.reach()
    if not way.usage & 0x08:
        expected = 0x6A88
    else:
        expected = 0x9000 if way.secure or way.interface is CONTACT else 0x6982
    assert status(say, piv.verify(CODE, 0x98)) == expected


def test_over_contact_a_command_comes_to_the_same_with_and_without_protection() -> None:
    rng = random.Random(4)
    plain_card, secure_card = issued(CS2, 0x6C), issued(CS2, 0x6C)
    plain = sayer(plain_card)
    plain(piv.select())
    session = opened(secure_card, CONTACT)
    commands = [
        *(
            piv.verify(value, ref)
            for ref in (0x00, 0x80, 0x98, 0x96, 0x81)
            for value in (PIN, GLOBAL, WRONG, CODE, b"")
        ),
        *(piv.verify_clear(ref) for ref in (0x00, 0x80, 0x98)),
        *(piv.change_reference_data(ref, one, one) for ref in (0x00, 0x80, 0x81) for one in (PIN, GLOBAL, b"12345678")),
        *(piv.get_data(tag) for tag in (0x5FC102, 0x5FC109, 0x5FC105, 0x5FC103, 0x7E, 0x7F61, 0x5FC17F, 0x5FFF22)),
        *(piv.sign(0x11, ref, bytes(32)) for ref in (0x9A, 0x9C, 0x9D, 0x9E, 0x9B)),
        piv.agree(0x11, 0x9D, GENERATOR),
        piv.sign(0x14, 0x9E, bytes(48)),
    ]
    for number in range(1500):
        one = rng.choice(commands)
        if rng.random() < 0.1:
            one = one._replace(p1=rng.randrange(256), data=rng.randbytes(rng.choice((0, 1, 8, 16, 17, 200))))
        expected, given = outcome(plain, one), outcome(session.command, one)
        assert expected == given or (one.ins == 0x87 and expected[0] == given[0] == 0x9000), (number, one)
        assert plain_card.persistent.references == secure_card.persistent.references
        if rng.random() < 0.05:
            for card in (plain_card, secure_card):
                for record in records(CS2, 0x6C).items():
                    restored = decode_record(*record)
                    if isinstance(restored, Reference):
                        card.persistent.commit([restored])
    assert session.is_open


def outcome(say: Say, command: Command) -> tuple[int, bytes]:
    try:
        return 0x9000, say(command)
    except CardStatus as refused:
        return int(refused.sw), b""
