"""The key that secure messaging rests on: made for a suite, certified, kept, and strong enough for the others."""

import pytest
from messaging_card import (
    CARD_UUID,
    CONTACT,
    CONTACTLESS,
    PIN,
    SLOT_ALGORITHM,
    SUITES,
    WRONG,
    a_point,
    become_admin,
    content_of,
    give_messaging_key,
    issued,
    office,
    opened,
    policy,
    sayer,
    sw,
)

from cardlink.errors import CardStatus
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.cvc import CVC_TAG, issue_card_cvc
from cardlink.piv.objects import decode_key_history, encode_key_history
from cardlink.piv.secure_messaging import CS2, CS7, Request, Suite, establish
from cardlink.piv.tables import Interface
from cardlink.piv.templates import EcPublicKey, decode_public_key
from cardos.card import Card
from cardos.factory import make_blank
from cardos.store import MemoryStore

NAMED = {"ids": lambda one: one.algorithm.name if isinstance(one, Suite) else one.value}


POINT = a_point(CS2)


def bare() -> Card:
    card = Card(MemoryStore(make_blank(bytes(10), (bytes(16),) * 3)))
    become_admin(card)
    return card


def test_the_card_takes_the_certificate_of_its_own_key_alone_and_shows_it_to_nobody() -> None:
    card = bare()
    send = sayer(card)
    signer = office(CS2)

    def cvc(point: bytes, suite: Suite = CS2) -> bytes:
        who = office(suite)
        return issue_card_cvc(suite, point, CARD_UUID, who.signer.issuer_id, who.sign)

    assert sw(card, piv.put_data(CVC_TAG, cvc(POINT))) == 0x6A80
    public = decode_public_key(send(piv.generate_key(0x04, 0x27)), 0x27)
    assert isinstance(public, EcPublicKey)
    for wrong in (cvc(POINT), cvc(a_point(CS7), CS7), b"\x7f\x21\x00", b"certificate", cvc(public.point) + b"\x00"):
        assert sw(card, piv.put_data(CVC_TAG, wrong)) == 0x6A80
    good = issue_card_cvc(CS2, public.point, CARD_UUID, signer.signer.issuer_id, signer.sign)
    send(piv.put_data(CVC_TAG, good))
    for interface in Interface:
        sw(card, piv.select(), interface)
        assert sw(card, piv.get_data(CVC_TAG), interface) == 0x6A82
    sw(card, piv.select())
    assert sw(card, piv.put_data(CVC_TAG, good)) == 0x6982
    assert sw(card, piv.put_data(CVC_TAG, good), CONTACTLESS) == 0x6D00
    sw(card, piv.select(), CONTACTLESS)
    assert sw(card, piv.put_data(CVC_TAG, good), CONTACTLESS) == 0x6A81


def test_an_empty_certificate_takes_secure_messaging_away() -> None:
    card = bare()
    give_messaging_key(card, CS2)
    session = opened(card, CONTACT)
    become_admin(card)
    sayer(card)(piv.put_data(CVC_TAG, b""))
    with pytest.raises(CardStatus, match="6882"):
        session.command(piv.get_data(0x5FC102))


def test_the_key_is_made_for_a_cipher_suite_and_nothing_else() -> None:
    card = bare()
    for algorithm in (0x11, 0x14, 0x07, 0x00, 0xFF, 0xE1):
        assert sw(card, piv.generate_key(0x04, algorithm)) == 0x6A86
    assert sw(card, piv.generate_key(0x9A, 0x27)) == 0x6A80
    assert sw(card, yubico.import_key(yubico.ImportedKey(0x11, 0x04, (bytes(31) + b"\x05",)))) == 0x6A86
    sayer(card)(piv.generate_key(0x9A, 0x11))
    assert sw(card, yubico.move_key(0x9A, 0x04)) == 0x6A86


@pytest.mark.parametrize("ref", [0x9C, 0x9D, 0x82, 0x95])
def test_a_strong_key_asks_for_the_strong_suite(ref: int) -> None:
    card = bare()
    send = sayer(card)
    send(piv.generate_key(ref, 0x14))
    assert sw(card, piv.generate_key(0x04, 0x27)) == 0x6A80
    send(piv.generate_key(0x04, 0x2E))
    card = bare()
    send = sayer(card)
    send(piv.generate_key(0x04, 0x27))
    assert sw(card, piv.generate_key(ref, 0x14)) == 0x6A80
    scalar = (bytes(47) + b"\x05",)
    assert sw(card, yubico.import_key(yubico.ImportedKey(0x14, ref, scalar))) == 0x6A80
    send(piv.generate_key(ref, 0x11))
    send(piv.generate_key(0x9A, 0x14))
    send(yubico.move_key(ref))
    assert sw(card, yubico.move_key(0x9A, ref)) == 0x6A80
    send(piv.generate_key(0x9E, 0x14))


def test_the_key_lives_on_in_the_store() -> None:
    store = MemoryStore(issued().persistent._store.load())
    assert opened(Card(store)).command(piv.get_data(0x5FC105))


def test_a_blocked_card_that_is_reset_has_no_key_left() -> None:
    card = issued()
    become_admin(card)
    for _ in range(6):
        sw(card, piv.verify(WRONG))
        sw(card, piv.reset_retry_counter(b"00000000", PIN))
    assert sw(card, yubico.reset()) == 0x9000
    assert sw(card, establish(CS2, Request(0, bytes(8), POINT))) == 0x6A86
    assert sw(card, piv.verify(b"", 0x00)) == 0x6A88


def test_the_key_history_object_is_kept_as_it_was_put() -> None:
    card = issued()
    become_admin(card)
    content = encode_key_history(decode_key_history(bytes.fromhex("C10102C20100FE00")))
    sayer(card)(piv.put_data(0x5FC10C, content))
    read = opened(card).command(piv.get_data(0x5FC10C))
    assert piv.unwrap_object(0x5FC10C, read) == content


@pytest.mark.parametrize("suite", SUITES, **NAMED)
def test_what_a_session_reads_is_what_is_read_in_the_clear(suite: Suite) -> None:
    card = issued(suite)
    session = opened(card, CONTACT, suite)
    for tag in (0x5FC102, 0x5FC101, 0x7E, 0x7F61, 0x5FFF20):
        assert session.command(piv.get_data(tag)) == sayer(card)(piv.get_data(tag))
    assert session.command(piv.get_data(0x5FC106)) == piv.wrap_object(0x5FC106, content_of(0x5FC106))
    digest = bytes(suite.coordinate_bytes)
    assert session.command(piv.sign(SLOT_ALGORITHM[suite], 0x9E, digest))
    policy_before = card.persistent.pin_policy
    become_admin(card)
    policy(card, 0x48)
    assert (policy_before, card.persistent.pin_policy) == (0x4C, 0x48)
