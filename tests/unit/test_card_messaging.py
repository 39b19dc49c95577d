"""The card's end of PIV secure messaging: status words, what ends a session, chains, and the key that it rests on."""

from collections.abc import Callable

import pytest
from messaging_card import (
    CONTACT,
    CONTACTLESS,
    PIN,
    SUITES,
    a_point,
    become_admin,
    issued,
    office,
    opened,
    sayer,
    sw,
)

from cardlink.errors import CardStatus, Malformed
from cardlink.gp import commands as gp
from cardlink.iso7816.apdu import Command, split_chain
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.secure_messaging import CS2, CS7, Request, Suite, establish
from cardlink.piv.secure_session import SecureSession, open_session
from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.factory import make_blank
from cardos.store import MemoryStore

NAMED = {"ids": lambda one: one.algorithm.name if isinstance(one, Suite) else one.value}
Change = Callable[[Command], Command]


def changed_by(card: Card, change: Change, interface: Interface = CONTACTLESS) -> SecureSession:
    """A session whose protected commands pass through `change`."""
    send = sayer(card, interface)
    send(piv.select())
    return open_session(lambda one: send(change(one) if one.cla else one), CS2, office(CS2).signer)


def data(change: Callable[[bytes], bytes]) -> Change:
    return lambda one: one._replace(data=change(one.data))


# --- errors in a session ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (data(lambda raw: raw[:-1] + bytes((raw[-1] ^ 1,))), 0x6988),
        (data(lambda raw: raw[:5] + bytes((raw[5] ^ 1,)) + raw[6:]), 0x6988),
        (lambda one: one._replace(p1=one.p1 ^ 1), 0x6988),
        (lambda one: one._replace(p2=one.p2 ^ 1), 0x6988),
        (lambda one: one._replace(ins=0x20), 0x6988),
        (data(lambda raw: raw[:-10]), 0x6987),
        (data(lambda raw: b""), 0x6987),
        (data(lambda raw: raw[-10:] + raw[:-10]), 0x6988),
        (data(lambda raw: raw[:-10] + b"\x8e\x04" + raw[-8:-4]), 0x6988),
        (data(lambda raw: raw.replace(b"\x87\x11\x01", b"\x87\x11\x02")), 0x6988),
        (data(lambda raw: raw + b"\x00"), 0x6988),
        (data(lambda raw: raw + raw[-10:]), 0x6988),
        (data(lambda raw: b"\x87\x7f"), 0x6988),
        (data(lambda raw: b"\x5c\x03\x5f\xc1\x02"), 0x6988),
        (lambda one: one._replace(ins=0xDB), 0x6882),  # PUT DATA and the like have no protected form
        (lambda one: one._replace(ins=0x47), 0x6882),
        (lambda one: one._replace(ins=0x2C), 0x6882),
        (lambda one: one._replace(ins=0xA4), 0x6882),
        (lambda one: one._replace(ins=0xC0), 0x6882),
        (lambda one: one._replace(ins=0xFD), 0x6882),
        (lambda one: one._replace(cla=0x1C), 0x6884),  # only GENERAL AUTHENTICATE comes in parts
    ],
)
@pytest.mark.parametrize("interface", list(Interface), **NAMED)
def test_an_error_gets_its_status_word_and_ends_the_session(
    change: Change, expected: int, interface: Interface
) -> None:
    card = issued()
    honest = True
    session = changed_by(card, lambda one: one if honest else change(one), interface)
    session.command(piv.verify(PIN))
    honest = False
    with pytest.raises(CardStatus) as caught:
        session.command(piv.get_data(0x5FC102))
    assert caught.value.sw == expected
    # the keys are gone, and over contactless what was said under them
    assert sw(card, "0CCB3FFF0A8E080000000000000000", interface) == 0x6982
    again = opened(card, interface)
    if interface is CONTACT:
        assert again.command(piv.get_data(0x5FC103))
    else:
        with pytest.raises(CardStatus, match="6982"):
            again.command(piv.get_data(0x5FC103))


def test_a_command_said_again_ends_the_session() -> None:
    kept: list[Command] = []
    card = issued()

    def keep(one: Command) -> Command:
        kept.append(one)
        return one

    session = changed_by(card, keep)
    session.command(piv.get_data(0x5FC102))
    assert sw(card, kept[0], CONTACTLESS) == 0x6988
    with pytest.raises(CardStatus, match="6982"):
        session.command(piv.get_data(0x5FC102))


def test_a_command_out_of_turn_ends_the_session() -> None:
    card = issued()
    session = opened(card)
    assert session._ciphers is not None
    first, second = (session._protect(session._ciphers, piv.get_data(tag)) for tag in (0x5FC102, 0x5FC101))
    assert sw(card, second, CONTACTLESS) == 0x6988
    assert sw(card, first, CONTACTLESS) == 0x6982


def test_without_a_session_a_protected_command_is_refused() -> None:
    card = issued()
    for interface in Interface:
        sw(card, piv.select(), interface)
        assert sw(card, "0CCB3FFF0A8E080000000000000000", interface) == 0x6982
        assert sw(card, "1C8711040100", interface) == 0x6982


def test_without_a_key_or_its_certificate_there_is_no_secure_messaging() -> None:
    card = Card(MemoryStore(make_blank(bytes(10), (bytes(16),) * 3)))
    become_admin(card)
    for prepare in (lambda: None, lambda: sayer(card)(piv.generate_key(0x04, 0x27))):
        prepare()
        assert sw(card, "0CCB3FFF0A8E080000000000000000") == 0x6882
        assert sw(card, establish(CS2, Request(0, bytes(8), a_point(CS2)))) == 0x6A86
        assert card.transmit(piv.SELECT_PIV_APDU).hex() == "61164f0ba00000030800001000010079074f05a0000003089000"


def test_another_application_knows_no_secure_messaging() -> None:
    card = issued()
    session = opened(card, CONTACT)
    sw(card, gp.select())
    with pytest.raises(CardStatus, match="6882"):
        session.command(piv.get_data(0x5FC102))


@pytest.mark.parametrize(
    "end",
    [
        Card.reset,
        lambda card: sw(card, piv.select(), CONTACT),
        lambda card: sw(card, gp.select(), CONTACTLESS),
        lambda card: sw(card, establish(CS2, Request(0, bytes(8), a_point(CS2))), CONTACTLESS),
        lambda card: sw(card, establish(CS7, Request(0, bytes(8), a_point(CS7))), CONTACTLESS),  # even in vain
        lambda card: sw(card, "00872704027C00", CONTACTLESS),
    ],
)
def test_what_ends_a_session(end: Callable[[Card], object]) -> None:
    card = issued()
    session = opened(card)
    session.command(piv.verify(PIN))
    end(card)
    sw(card, piv.select(), CONTACTLESS)
    with pytest.raises(CardStatus) as caught:
        session.command(piv.verify(b""))
    assert caught.value.sw in (0x6982, 0x6988)
    with pytest.raises(CardStatus, match="63C5"):
        opened(card).command(piv.verify(b""))


def test_what_does_not_end_a_session() -> None:
    card = issued()
    session = opened(card)
    session.command(piv.verify(PIN))
    for plain in (piv.select(), piv.get_data(0x5FC102), piv.get_data(0x5FC109), piv.verify(PIN), yubico.get_serial()):
        sw(card, plain, CONTACTLESS)
    sw(card, "00C0000000", CONTACTLESS)
    sw(card, "00", CONTACTLESS)
    assert session.command(piv.get_data(0x5FC109))
    with pytest.raises(CardStatus, match="6A82"):
        session.command(piv.get_data(0x5FC17F))
    with pytest.raises(CardStatus, match="6A80"):
        session.command(Command(0x00, 0xCB, 0x3F, 0xFF))
    with pytest.raises(CardStatus, match="6A86"):
        session.command(Command(0x00, 0xCB, 0x00, 0x00, b"\x5c\x01\x7e", 256))
    assert session.command(piv.verify(b"")) == b""


def test_a_plain_command_in_a_session_is_outside_the_virtual_contact_interface() -> None:
    card = issued()
    session = opened(card)
    session.command(piv.verify(PIN))
    assert session.command(piv.get_data(0x5FC105))
    assert sw(card, piv.get_data(0x5FC105), CONTACTLESS) == 0x6982
    assert sw(card, piv.verify(b""), CONTACTLESS) == 0x6982
    assert sw(card, piv.sign(0x11, 0x9A, bytes(32)), CONTACTLESS) == 0x6982


# --- chains -----------------------------------------------------------------------------------------------------------


def test_a_chain_of_any_cut_is_one_command() -> None:
    for block in (1, 7, 30, 255):
        card = issued()
        send = sayer(card, CONTACTLESS)

        def in_blocks(one: Command, block: int = block, card: Card = card) -> bytes:
            if not one.cla:
                return sayer(card, CONTACTLESS)(one)
            *first, last = split_chain(one, block)
            assert {sw(card, part, CONTACTLESS) for part in first} <= {0x9000}
            return sayer(card, CONTACTLESS)(last)

        send(piv.select())
        session = open_session(in_blocks, CS2, office(CS2).signer)
        for _ in range(2):
            assert session.command(piv.sign(0x11, 0x9E, bytes(32)))


def test_an_interrupted_chain_has_no_effect() -> None:
    card = issued()
    session = opened(card)
    session.command(piv.verify(PIN))
    for block in ("1C87119E0187", "1087119E017C"):
        assert sw(card, block, CONTACTLESS) == 0x9000
        assert session.command(piv.verify(b"")) == b""
    assert sw(card, "1C87119E0187", CONTACTLESS) == 0x9000
    # the last block in the clear is another command, which knows nothing of the first
    assert sw(card, piv.sign(0x11, 0x9E, bytes(32)), CONTACTLESS) == 0x9000
    assert session.command(piv.sign(0x11, 0x9A, bytes(32)))


def test_the_pin_stands_immediately_before_a_signature_that_comes_in_parts() -> None:
    card = issued()
    session = opened(card)
    session.command(piv.verify(PIN))
    assert session.command(piv.sign(0x11, 0x9C, bytes(32)))
    with pytest.raises(CardStatus, match="6982"):
        session.command(piv.sign(0x11, 0x9C, bytes(32)))
    session.command(piv.verify(PIN))
    session.command(piv.get_data(0x5FC102))
    with pytest.raises(CardStatus, match="6982"):
        session.command(piv.sign(0x11, 0x9C, bytes(32)))


def test_the_rest_of_a_protected_answer_is_lost_by_another_command() -> None:
    for other in ("00CB3FFF", "0CCB3FFF0A8E080000000000000000", "20CB3FFF", "00"):
        card = issued()
        seen: list[bytes] = []

        def first_part(one: Command, card: Card = card, seen: list[bytes] = seen) -> bytes:
            if not one.cla:
                return sayer(card, CONTACTLESS)(one)
            seen.append(card.transmit(one.encode(), CONTACTLESS))
            return b""

        sayer(card, CONTACTLESS)(piv.select())
        session = open_session(first_part, CS2, office(CS2).signer)
        with pytest.raises(Malformed):
            session.command(piv.get_data(0x5FC105))
        assert seen[0][-2] == 0x61
        sw(card, other, CONTACTLESS)
        assert sw(card, "00C0000000", CONTACTLESS) == 0x6985


# --- establishing keys ------------------------------------------------------------------------------------------------


POINT = a_point(CS2)
OFF = POINT[:-1] + bytes((POINT[-1] ^ 1,))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (establish(CS2, Request(0x00, bytes(8), POINT)), 0x9000),
        (establish(CS2, Request(0x0F, bytes(8), POINT)), 0x9000),  # a host with persistent binding: passed over (C2)
        (establish(CS2, Request(0x10, bytes(8), POINT)), 0x6A80),
        (establish(CS2, Request(0xFF, bytes(8), POINT)), 0x6A80),
        (establish(CS2, Request(0x00, bytes(8), OFF)), 0x6A80),
        (establish(CS2, Request(0x00, bytes(8), b"\x04" + bytes(64))), 0x6A80),
        (establish(CS2, Request(0x00, bytes(8), b"\x02" + POINT[1:])), 0x6A80),
        (establish(CS2, Request(0x00, bytes(8), b"\x02" + POINT[1:33])), 0x6A80),
        (establish(CS2, Request(0x00, bytes(7), POINT)), 0x6A80),
        (establish(CS2, Request(0x00, bytes(8), a_point(CS7))), 0x6A80),
        (establish(CS7, Request(0x00, bytes(8), a_point(CS7))), 0x6A86),
        (establish(CS2, Request(0x00, bytes(8), POINT))._replace(p1=0x11), 0x6A86),
        (establish(CS2, Request(0x00, bytes(8), POINT))._replace(p1=0x00), 0x6A86),
        (piv.sign(0x27, 0x04, b""), 0x6A80),
        (piv.agree(0x27, 0x04, POINT), 0x6A80),
        (Command(0x00, 0x87, 0x27, 0x04, b"\x7c\x02\x82\x00", 256), 0x6A80),
        (Command(0x00, 0x87, 0x27, 0x04, b"\x7c\x02\x80\x00", 256), 0x6A80),
        (Command(0x00, 0x87, 0x27, 0x04, b"", 256), 0x6A80),
    ],
)
@pytest.mark.parametrize("interface", list(Interface), **NAMED)
def test_a_key_establishment_gets_its_status_word(command: Command, expected: int, interface: Interface) -> None:
    card = issued()
    sw(card, piv.select(), interface)
    answer = sw(card, command, interface)
    assert answer == expected or (expected == 0x9000 and answer >> 8 == 0x61)


def test_both_orders_of_the_template_and_a_chain_are_taken() -> None:
    card = issued()
    sw(card, piv.select(), CONTACTLESS)
    request = establish(CS2, Request(0, bytes(8), POINT))
    turned = request._replace(data=b"\x7c\x4e\x82\x00" + request.data[2:-2])
    assert sw(card, turned, CONTACTLESS) >> 8 in (0x61, 0x90)
    *first, last = split_chain(request, 20)
    assert {sw(card, one, CONTACTLESS) for one in first} == {0x9000}
    assert sw(card, last, CONTACTLESS) >> 8 in (0x61, 0x90)


def test_no_two_sessions_have_the_same_nonce() -> None:
    card = issued()
    sw(card, piv.select(), CONTACTLESS)
    request = establish(CS2, Request(0, bytes(8), POINT)).encode()
    assert len({card.transmit(request, CONTACTLESS) for _ in range(50)}) == 50


def test_keys_are_not_established_inside_a_session() -> None:
    session = opened(issued())
    with pytest.raises(CardStatus, match="6A86"):
        session.command(establish(CS2, Request(0, bytes(8), POINT)))
    assert session.command(piv.get_data(0x5FC102))


@pytest.mark.parametrize("suite", SUITES, **NAMED)
@pytest.mark.parametrize("interface", list(Interface), **NAMED)
def test_select_names_the_cipher_suite(suite: Suite, interface: Interface) -> None:
    answer = issued(suite).transmit(piv.SELECT_PIV_APDU, interface)
    template = "611e4f0ba00000030800001000010079074f05a000000308ac068001"
    assert answer.hex() == f"{template}{suite.algorithm:02x}0601009000"
