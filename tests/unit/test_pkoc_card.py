"""The PKOC application: the published example, a reader written apart, each refusal, and how its key is made."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from gp_host import blank, card_with, open_channel, raw
from hypothesis import given, settings
from hypothesis import strategies as st
from pkoc_reader import NoPkoc, read_card

from cardlink.access import pkoc
from cardlink.errors import CardStatus, Malformed
from cardlink.gp import commands as gp
from cardlink.gp import inventory
from cardlink.gp.inventory import AppState, Scope
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command, decode_command
from cardlink.iso7816.sw import SW
from cardlink.piv import commands as piv
from cardlink.piv.tables import Interface
from cardlink.piv.yubico import get_metadata
from cardlink.transport.connection import Counted, command
from cardlink.transport.loopback import Loopback
from cardos.card import Card
from cardos.image import FileStore
from cardos.piv.keys import save_private
from cardos.records import Kind, Life, Owner, PkocKey
from cardos.store import MemoryStore

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
EXAMPLE = {
    name: bytes.fromhex(value)
    for name, value in json.loads((VECTORS / "pkoc" / "example.json").read_text(encoding="utf-8")).items()
    if name != "source"
}
KEY = ec.derive_private_key(int.from_bytes(EXAMPLE["private_key"], "big"), ec.SECP256R1())
X = EXAMPLE["authenticate_answer"][3:35]
REQUEST = pkoc.PkocRequest(EXAMPLE["transaction"], EXAMPLE["reader"])
VERSION, TRANSACTION, READER = "5C020100", "4C10" + "11" * 16, "4D20" + "22" * 32


def example_card() -> Card:
    card = card_with()
    card.persistent.commit([PkocKey(save_private(KEY)), Life(Owner.PKOC, AppState.SELECTABLE)])
    return card


def authenticate(data: str, p1: int = 0x00, p2: int = 0x01, cla: int = 0x80) -> tuple[bytes, int]:
    card = example_card()
    raw(card, gp.select(pkoc.PKOC_AID), Interface.CONTACTLESS)
    return raw(card, Command(cla, 0x80, p1, p2, bytes.fromhex(data), 256), Interface.CONTACTLESS)


# --- the published example ------------------------------------------------------------------------------------------


def test_the_reader_says_the_commands_of_the_example() -> None:
    assert piv.select(pkoc.PKOC_AID).encode() == EXAMPLE["select"]
    assert pkoc.pkoc_authenticate(REQUEST).encode() == EXAMPLE["authenticate"]


def test_the_reader_reads_the_answers_of_the_example() -> None:
    assert pkoc.decode_select_answer(EXAMPLE["select_answer"][:-2]) == (b"\x01\x00",)
    answer = pkoc.decode_pkoc_answer(EXAMPLE["authenticate_answer"][:-2])
    assert answer.point[1:33] == X
    assert pkoc.encode_pkoc_answer(answer) + b"\x90\x00" == EXAMPLE["authenticate_answer"]


def test_the_card_with_the_key_of_the_example_answers_as_the_example() -> None:
    card = example_card()
    assert card.transmit(EXAMPLE["select"], Interface.CONTACTLESS) == EXAMPLE["select_answer"]
    assert pkoc.parse_pkoc_authenticate(decode_command(EXAMPLE["authenticate"])) == REQUEST
    answer = card.transmit(EXAMPLE["authenticate"], Interface.CONTACTLESS)
    # but for the signature, which is another each time
    assert answer[:69] == EXAMPLE["authenticate_answer"][:69]
    assert (len(answer), answer[-2:]) == (135, b"\x90\x00")


@pytest.mark.parametrize(
    ("bits", "hex_"), [(256, X.hex()), (75, "0" + f"{X[-10] & 7:x}" + X[-9:].hex()), (64, X[-8:].hex())]
)
def test_the_credential_is_the_low_end_of_x(bits: int, hex_: str) -> None:
    point = EXAMPLE["authenticate_answer"][2:67]
    assert pkoc.credential(point, bits).hex() == hex_
    with pytest.raises(Malformed, match="PKOC credential"):
        pkoc.credential(point[:-1], bits)


# --- a reader written apart -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("interface", list(Interface))
@pytest.mark.parametrize("size", [16, 17, 64, 65])
def test_another_reader_reads_the_card_over_either_face_without_a_pin(interface: Interface, size: int) -> None:
    card = example_card()
    told = read_card(lambda apdu: card.transmit(apdu, interface), bytes(range(size)))
    assert (told.versions, told.x, told.is_proved) == (b"\x01\x00", X, True)


def test_another_reader_may_leave_le_away() -> None:
    card = example_card()
    assert read_card(lambda apdu: card.transmit(apdu, Interface.CONTACTLESS), with_le=False).is_proved


def test_our_reader_takes_two_exchanges() -> None:
    card = example_card()
    connection = Counted(Loopback(lambda apdu: card.transmit(apdu, Interface.CONTACTLESS)))
    assert pkoc.decode_select_answer(command(connection, gp.select(pkoc.PKOC_AID))) == (pkoc.VERSION,)
    answer = pkoc.decode_pkoc_answer(command(connection, pkoc.pkoc_authenticate(REQUEST)))
    assert (pkoc.credential(answer.point), connection.exchanges) == (X, 2)


# --- what the card refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        VERSION + TRANSACTION + READER,
        READER + TRANSACTION + VERSION,
        TRANSACTION + "7003AABBCC" + READER + "0100" + VERSION,
    ],
)
def test_the_objects_come_in_any_order_and_unknown_ones_are_passed_over(data: str) -> None:
    assert authenticate(data)[1] == 0x9000


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", 0x6700),
        (VERSION + TRANSACTION, 0x6700),
        (VERSION + "4C0F" + "11" * 15 + READER, 0x6700),
        (VERSION + "4C0F" + "11" * 15 + READER + "0100", 0x6700),
        (VERSION + "4C42" + "11" * 66 + READER, 0x6700),
        (VERSION + TRANSACTION + "4D1F" + "22" * 31 + "0100", 0x6700),
        (VERSION + TRANSACTION + "4D21" + "22" * 33, 0x6700),
        (VERSION + TRANSACTION + READER + "70", 0x6700),
        (VERSION + TRANSACTION + READER + "7002AA", 0x6700),
        (VERSION + TRANSACTION + READER + "708180" + "00" * 128, 0x6700),
        ("5C020101" + TRANSACTION + READER, 0x6985),
        ("5C020000" + TRANSACTION + READER, 0x6985),
        ("5C0101" + TRANSACTION + READER + "0100", 0x6985),
        ("5C0401000101" + TRANSACTION + READER, 0x6985),
        (TRANSACTION + READER + "70020000", 0x6F00),
        (VERSION + READER + "7010" + "00" * 16, 0x6F00),
        (VERSION + TRANSACTION + "7020" + "00" * 32, 0x6F00),
        (VERSION + TRANSACTION + TRANSACTION + READER, 0x6F00),
    ],
)
def test_authenticate_gives_its_status_words(data: str, expected: int) -> None:
    assert authenticate(data) == (b"", expected)


@settings(deadline=None)
@given(st.binary(max_size=255))
def test_whatever_the_data_the_card_answers_a_status_word_or_signs(data: bytes) -> None:
    answered, sw = authenticate(data.hex())
    assert (len(answered) == 133) is (sw == 0x9000)
    assert sw in (0x9000, 0x6700, 0x6985, 0x6F00)


@pytest.mark.parametrize(("p1", "p2"), [(0x00, 0x00), (0x01, 0x01), (0x00, 0x02), (0xFF, 0xFF)])
def test_other_p1_p2_are_wrong(p1: int, p2: int) -> None:
    assert authenticate(VERSION + TRANSACTION + READER, p1, p2) == (b"", 0x6B00)


def test_another_class_and_another_instruction_are_wrong() -> None:
    assert authenticate(VERSION + TRANSACTION + READER, cla=0xA0) == (b"", 0x6E00)
    assert authenticate(VERSION + TRANSACTION + READER, cla=0x00) == (b"", 0x6D00)
    card = example_card()
    raw(card, gp.select(pkoc.PKOC_AID))
    assert raw(card, Command(0x80, 0x88, 0, 1, bytes(16), 256))[1] == 0x6D00
    assert raw(card, gp.initialize_update(0, bytes(8)))[1] == 0x6D00  # it has no channel of its own


def test_without_selecting_it_nothing_signs() -> None:
    card = example_card()
    raw(card, piv.select())
    assert raw(card, pkoc.pkoc_authenticate(REQUEST)) == (b"", 0x6D00)


@pytest.mark.parametrize("state", [AppState.INSTALLED, AppState.SELECTABLE | AppState.LOCKED])
def test_a_locked_one_is_not_found(state: int) -> None:
    card = example_card()
    card.persistent.commit([Life(Owner.PKOC, state)])
    assert raw(card, gp.select(pkoc.PKOC_AID)) == (b"", 0x6A82)


def test_selectable_without_a_key_it_does_not_sign() -> None:
    card = card_with()
    card.persistent.commit([Life(Owner.PKOC, AppState.SELECTABLE)])
    assert raw(card, gp.select(pkoc.PKOC_AID))[1] == 0x9000
    assert raw(card, pkoc.pkoc_authenticate(REQUEST)) == (b"", 0x6985)


def test_piv_neither_shows_nor_uses_its_key() -> None:
    card = example_card()
    raw(card, piv.select())
    for ref in range(256):
        assert raw(card, get_metadata(ref))[1] != 0x9000 or ref in (0x80, 0x81, 0x9B)
    assert card.persistent.keys == {}


@pytest.mark.parametrize(
    "raw_", ["", "5A", "5A02AA", "5A41" + "04" * 65, "9E40" + "00" * 64, "5A41" + "02" * 65 + "9E40" + "00" * 64]
)
def test_the_reader_refuses_an_answer_out_of_form(raw_: str) -> None:
    with pytest.raises(Malformed):
        pkoc.decode_pkoc_answer(bytes.fromhex(raw_))


@pytest.mark.parametrize("raw_", ["", "5C00", "5C0101", "5D020100", "5C0201005C020100"])
def test_the_reader_refuses_versions_out_of_form(raw_: str) -> None:
    with pytest.raises(Malformed):
        pkoc.decode_select_answer(bytes.fromhex(raw_))


@pytest.mark.parametrize(("transaction", "reader"), [(15, 32), (66, 32), (16, 31), (16, 33)])
def test_the_reader_sends_no_other_lengths(transaction: int, reader: int) -> None:
    with pytest.raises(Malformed):
        pkoc.pkoc_authenticate(pkoc.PkocRequest(bytes(transaction), bytes(reader)))


# --- how the key comes onto the card --------------------------------------------------------------------------------


def test_the_issuer_makes_the_key_and_the_card_becomes_a_pkoc_card(tmp_path: Path) -> None:
    store = FileStore.create(tmp_path / "c.card", bytes(32), blank().load(), sync=False)
    card = Card(store)
    with pytest.raises(NoPkoc, match="6a82"):
        read_card(lambda apdu: card.transmit(apdu, Interface.CONTACTLESS))
    data, sw = open_channel(card).say(pkoc.generate_pkoc_key())
    assert sw == 0x9000
    point = tlv.find(tlv.find(data, 0x7F49), 0x86)
    store.close()
    with_power_again = FileStore(tmp_path / "c.card", bytes(32))
    card = Card(with_power_again)
    told = read_card(lambda apdu: card.transmit(apdu, Interface.CONTACTLESS))
    assert (told.x, told.is_proved) == (point[1:33], True)
    host = open_channel(card)
    entries = {
        one.aid: one.state for one in inventory.decode_status(host.say(inventory.get_status(Scope.APPLICATIONS))[0])
    }
    assert entries[pkoc.PKOC_AID] == AppState.SELECTABLE
    with_power_again.close()


def test_another_key_takes_the_place_of_the_first() -> None:
    card = example_card()
    assert open_channel(card).say(pkoc.generate_pkoc_key())[1] == 0x9000
    told = read_card(lambda apdu: card.transmit(apdu, Interface.CONTACTLESS))
    assert told.is_proved
    assert told.x != X


def test_a_locked_application_gets_its_key_and_stays_locked() -> None:
    card = card_with()
    card.persistent.commit([Life(Owner.PKOC, AppState.SELECTABLE | AppState.LOCKED)])
    assert open_channel(card).say(pkoc.generate_pkoc_key())[1] == 0x9000
    assert raw(card, gp.select(pkoc.PKOC_AID)) == (b"", 0x6A82)


@pytest.mark.parametrize("interface", list(Interface))
def test_nobody_makes_a_key_without_the_channel(interface: Interface) -> None:
    card = card_with()
    raw(card, gp.select(gp.ISD_AID), interface)
    assert raw(card, pkoc.generate_pkoc_key(), interface) == (b"", 0x6982)
    assert card.persistent.pkoc is None


@pytest.mark.parametrize(
    ("p1", "p2", "data", "expected"),
    [
        (0x01, 0x00, pkoc.generate_pkoc_key().data.hex(), 0x6A86),
        (0x00, 0x9E, pkoc.generate_pkoc_key().data.hex(), 0x6A86),
        (0x00, 0x00, "", 0x6A80),
        (0x00, 0x00, "AC03800111", 0x6A80),
        (0x00, 0x00, "AC0D4F08A000000898000001800114", 0x6A80),
        (0x00, 0x00, "AC0D4F08A000000898000002800111", 0x6A80),
    ],
)
def test_making_the_key_gives_its_status_words(p1: int, p2: int, data: str, expected: int) -> None:
    host = open_channel(card_with())
    assert host.say(Command(0x80, 0x47, p1, p2, bytes.fromhex(data), 256)) == (b"", expected)


def test_a_locked_card_makes_no_key() -> None:
    card = card_with()
    card.persistent.commit([Life(Owner.CARD, inventory.LifeCycle.CARD_LOCKED)])
    host = open_channel(card)
    assert host.say(pkoc.generate_pkoc_key()) == (b"", 0x6985)


def test_the_key_is_a_record_of_its_own_that_shows_nothing() -> None:
    record = PkocKey(save_private(KEY))
    assert record.kind is Kind.PKOC_KEY
    assert record.private.hex() not in repr(record)
    image = blank().load()
    assert not any(name[0] == Kind.PKOC_KEY for name in image)  # an image of before loads without it
    assert Card(MemoryStore(image)).persistent.pkoc is None


def test_the_card_s_side_of_the_messages_raises_status_words_alone() -> None:
    with pytest.raises(CardStatus) as refused:
        pkoc.parse_pkoc_authenticate(Command(0x80, 0x80, 0, 1, b"\x5c"))
    assert refused.value.sw == SW.WRONG_LENGTH
