"""The security domain's commands on an open channel: keys, stored data, what the card tells of itself."""

import pytest
from gp_host import SERIAL, Host, blank, card_with, open_channel, raw, told

from cardlink.access.door import DOOR_AID
from cardlink.access.pkoc import PKOC_AID
from cardlink.gp import commands as gp
from cardlink.gp import inventory
from cardlink.gp.card_data import encode_dgi
from cardlink.gp.commands import ISD_AID
from cardlink.gp.inventory import CardTag, Scope
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command
from cardlink.piv.tables import PIV_AID, Interface
from cardos.card import Card
from cardos.dispatch import APPLICATIONS as DISPATCHED
from cardos.dispatch import DOMAIN
from cardos.gp.registry import APPLICATIONS, Row
from cardos.records import Kind, Life, Owner, record_name

# --- STORE DATA ---------------------------------------------------------------------------------------------------

IIN, CIN = b"\x12\x34\x56", b"\x01\x02\x03\x04"
BOTH = tlv.encode_all(((0x42, IIN), (0x45, CIN)))


@pytest.mark.parametrize("structure", [0x00, 0x10, 0x08], ids=["none", "TLV", "DGI"])
@pytest.mark.parametrize("cla", [0x80, 0x00])
def test_issuer_and_card_number_are_stored_in_every_form(structure: int, cla: int) -> None:
    store = blank()
    card = Card(store)
    data = encode_dgi(0x0070, BOTH) if structure == 0x08 else BOTH
    assert told(card, CardTag.IIN) == told(card, CardTag.CIN) == (b"", 0x6A88)
    command = gp.store_data(data, 0, is_last=True, structure=structure)._replace(cla=cla)
    assert open_channel(card).say(command) == (b"", 0x9000)
    assert told(card, CardTag.IIN) == (tlv.encode(0x42, IIN), 0x9000)
    assert told(Card(store), CardTag.CIN) == (tlv.encode(0x45, CIN), 0x9000)
    answer = card.transmit(inventory.get_data(CardTag.CIN).encode(), Interface.CONTACTLESS)
    assert answer == b"\x69\x82"


def test_the_personalisers_enter_the_cplc() -> None:
    card = card_with()
    host = open_channel(card)
    # as GlobalPlatformPro's --set-perso and --set-pre-perso send them
    for payload in ("9F66081122334455667788", "9F6708AABBCCDDEEFF0011"):
        assert host.say(Command(0x80, 0xE2, 0x80, 0x00, bytes.fromhex(payload)))[1] == 0x9000
    cplc = inventory.decode_cplc(told(card, CardTag.CPLC)[0])
    assert (cplc.personaliser.hex(), cplc.pre_personaliser.hex()) == ("1122334455667788", "aabbccddeeff0011")
    assert cplc.ic_serial == SERIAL[4:8]


def test_blocks_are_stored_with_the_last_one_and_all_at_once() -> None:
    card = card_with()
    host = open_channel(card)
    assert host.say(gp.store_data(BOTH[:4], 0, is_last=False))[1] == 0x9000
    assert host.say(gp.store_data(BOTH[4:6], 1, is_last=False))[1] == 0x9000
    assert told_inside(host, CardTag.IIN)[1] == 0x6A88
    assert host.say(gp.store_data(BOTH[6:], 2, is_last=True))[1] == 0x9000
    assert card.persistent.card_data == {0x42: IIN, 0x45: CIN}


def told_inside(host: Host, tag: CardTag) -> tuple[bytes, int]:
    return host.say(inventory.get_data(tag))


@pytest.mark.parametrize("second", [0, 2, 5])
def test_a_block_out_of_turn_is_refused_and_the_whole_begins_again(second: int) -> None:
    card = card_with()
    host = open_channel(card)
    assert host.say(gp.store_data(BOTH[:4], 0, is_last=False))[1] == 0x9000
    expected = 0x6A80 if second == 0 else 0x6A86  # block 00 begins again; what is left here is no data object
    assert host.say(gp.store_data(BOTH[4:], second, is_last=True))[1] == expected
    assert card.persistent.card_data == {}
    assert host.say(gp.store_data(BOTH, 0, is_last=True))[1] == 0x9000


def test_blocks_do_not_outlive_their_channel() -> None:
    card = card_with()
    assert open_channel(card).say(gp.store_data(BOTH[:4], 0, is_last=False))[1] == 0x9000
    assert open_channel(card).say(gp.store_data(BOTH[4:], 1, is_last=True))[1] == 0x6A86


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (gp.store_data(b"", 0, is_last=True), 0x6A80),
        (gp.store_data(b"\x42", 0, is_last=True), 0x6A80),
        (gp.store_data(bytes.fromhex("4200"), 0, is_last=True), 0x6A80),
        (gp.store_data(bytes.fromhex("4F0101"), 0, is_last=True), 0x6A88),
        (gp.store_data(bytes.fromhex("4201014F0101"), 0, is_last=True), 0x6A88),
        (gp.store_data(bytes.fromhex("9F660101"), 0, is_last=True), 0x6A80),
        (gp.store_data(BOTH, 0, is_last=True, structure=0x18), 0x6A86),
        (gp.store_data(BOTH, 0, is_last=True, structure=0x02), 0x6A86),
        (gp.store_data(BOTH, 0, is_last=True, structure=0x60), 0x6A86),  # encrypted data
        (gp.store_data(BOTH, 1, is_last=True), 0x6A86),
    ],
)
def test_store_data_gives_its_status_words(command: Command, expected: int) -> None:
    card = card_with()
    assert open_channel(card).say(command) == (b"", expected)
    assert card.persistent.card_data == {}


def test_too_many_blocks_are_6a84_and_forgotten() -> None:
    host = open_channel(card_with(), 0x01)
    answers = [host.say(gp.store_data(bytes(240), block, is_last=False))[1] for block in range(6)]
    assert answers == [0x9000] * 4 + [0x6A84, 0x6A86]


# --- what the card tells ------------------------------------------------------------------------------------------


def test_templates_come_whole_in_one_class_and_without_their_tag_in_the_other() -> None:
    card = card_with()
    raw(card, gp.select())
    whole = raw(card, Command(0x80, 0xCA, 0x00, 0xE0, b"", 256))[0]
    bare = raw(card, Command(0x00, 0xCA, 0x00, 0xE0, b"", 256))[0]
    assert whole == tlv.encode(0xE0, bare)
    assert inventory.decode_key_info(whole) == inventory.decode_key_info(bare)
    recognition = inventory.get_data(CardTag.RECOGNITION)
    both = [raw(card, recognition)[0], raw(card, recognition._replace(cla=0x00))[0]]
    assert both[0] == tlv.encode(0x66, both[1])
    assert inventory.decode_recognition(both[0]) == inventory.decode_recognition(both[1])
    for tag in (CardTag.CPLC, CardTag.DIVERSIFICATION):
        command = inventory.get_data(tag)
        assert raw(card, command) == raw(card, command._replace(cla=0x00))


def test_the_diversification_data_are_those_of_initialize_update() -> None:
    assert told(card_with(), CardTag.DIVERSIFICATION) == (b"\xcf\x0a" + SERIAL, 0x9000)


def test_get_status_has_two_forms_a_tag_list_and_no_next_occurrence() -> None:
    host = open_channel(card_with())
    data, _ = host.say(inventory.get_status(Scope.APPLICATIONS, tags=bytes.fromhex("4FCC")))
    entries = [dict(tlv.parse(value)) for _, value in tlv.parse(data, repeats=True)]
    assert entries == [{0x4F: row.aid, 0xCC: ISD_AID} for row in APPLICATIONS]
    old, sw = host.say(Command(0x80, 0xF2, 0x40, 0x00, bytes.fromhex("4F00"), 256))
    assert sw == 0x9000
    told_of = [(one.aid, one.state) for one in inventory.decode_old_status(old)]
    assert told_of == [(PIV_AID, 7), (DOOR_AID, 7), (PKOC_AID, 3)]  # no PKOC key has been made
    (domain,) = inventory.decode_old_status(host.say(Command(0x80, 0xF2, 0x80, 0x00, bytes.fromhex("4F00"), 256))[0])
    assert (domain.aid, domain.state, domain.privileges) == (ISD_AID, 0x07, b"\x9e")
    assert host.say(inventory.get_status(Scope.APPLICATIONS, is_next=True)) == (b"", 0x6A88)
    (piv,) = inventory.decode_status(host.say(inventory.get_status(Scope.APPLICATIONS, PIV_AID[:5]))[0])
    assert piv.aid == PIV_AID


@pytest.mark.parametrize("scope", [Scope.LOAD_FILES, Scope.LOAD_FILES_AND_MODULES])
def test_there_are_no_load_files(scope: Scope) -> None:
    assert open_channel(card_with()).say(inventory.get_status(scope)) == (b"", 0x6A88)


@pytest.mark.parametrize(
    ("p1", "p2", "data", "expected"),
    [
        (0x81, 0x02, "4F00", 0x6A86),
        (0x60, 0x02, "4F00", 0x6A86),
        (0x80, 0x04, "4F00", 0x6A86),
        (0x80, 0x82, "4F00", 0x6A86),
        (0x80, 0x02, "", 0x6A80),
        (0x80, 0x02, "5C00", 0x6A80),
        (0x80, 0x00, "4F005C014F", 0x6A80),
    ],
)
def test_get_status_gives_its_status_words(p1: int, p2: int, data: str, expected: int) -> None:
    assert open_channel(card_with()).say(Command(0x80, 0xF2, p1, p2, bytes.fromhex(data), 256)) == (b"", expected)


# --- the registry -------------------------------------------------------------------------------------------------


def test_every_application_that_can_be_selected_stands_in_the_registry() -> None:
    dispatched = {aid: one.owners for aid, one in DISPATCHED.items() if one is not DOMAIN}
    assert {row.aid for row in APPLICATIONS} == set(dispatched)
    assert all(row.owner in dispatched[row.aid] for row in APPLICATIONS)
    assert len({row.owner for row in APPLICATIONS}) == len(APPLICATIONS)


@pytest.mark.parametrize("row", APPLICATIONS, ids=lambda row: row.owner.name)
@pytest.mark.parametrize(("lock", "unlock"), [(0x80, 0x00), (0x87, 0x07), (0xFF, 0x7F)])
def test_every_application_is_locked_and_unlocked(row: Row, lock: int, unlock: int) -> None:
    aid, card = row.aid, card_with()
    card.persistent.commit([Life(row.owner, inventory.AppState.SELECTABLE)])
    host = open_channel(card)
    say = lambda state: host.say(inventory.set_status(Scope.APPLICATIONS, state, aid))[1]  # noqa: E731
    assert say(unlock) == 0x6985
    assert say(lock) == 0x9000
    assert say(lock) == 0x6985
    assert raw(card, gp.select(aid)) == (b"", 0x6A82)
    host = open_channel(card)
    assert say(unlock) == 0x9000
    assert raw(card, gp.select(aid))[1] == 0x9000


def test_a_card_made_before_there_were_more_applications_has_them() -> None:
    store = blank()
    assert {name for name in store.load() if name[0] == Kind.LIFE} == {
        record_name(Kind.LIFE, owner) for owner in (Owner.CARD, Owner.PIV)
    }
    card = Card(store)
    assert card.persistent.life[Owner.DOOR] == inventory.AppState.SELECTABLE
    assert card.persistent.life[Owner.PKOC] == inventory.AppState.INSTALLED  # it has no key yet
    card.persistent.commit([Life(Owner.DOOR, inventory.AppState.INSTALLED)])
    assert raw(card, gp.select(DOOR_AID)) == (b"", 0x6A82)  # installed, not made selectable
