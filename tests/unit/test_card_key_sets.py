"""Opening channels to the card, its sequence counters, and its key sets: PUT KEY and DELETE."""

import pytest
from gp_host import CHALLENGE, TRANSPORT, begin, blank, card_with, open_channel, raw, told

from cardlink.gp import commands as gp
from cardlink.gp import inventory
from cardlink.gp.commands import ISD_AID, LoadedKey, PutKey
from cardlink.gp.inventory import CardTag
from cardlink.gp.keys import encrypt_key, key_check_value
from cardlink.gp.scp03 import LEVELS, OPTIONS, StaticKeys, offers
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command
from cardlink.piv.tables import PIV_AID, Interface
from cardos.card import Card
from cardos.factory import TRANSPORT_KVN
from cardos.gp.keys import COUNTED_MAX, counter_number, counter_of
from cardos.records import Sequence

OTHER = StaticKeys(bytes.fromhex("11" * 16), bytes.fromhex("22" * 16), bytes.fromhex("33" * 16))
LONG = StaticKeys(bytes.fromhex("44" * 32), bytes.fromhex("55" * 32), bytes.fromhex("66" * 32))
NEW_KEY = bytes.fromhex("77" * 16)


# --- options and levels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aid", [ISD_AID, PIV_AID], ids=["domain", "PIV"])
@pytest.mark.parametrize("option", sorted(OPTIONS), ids=lambda option: f"i={option:02X}")
def test_a_card_opens_the_levels_that_its_option_offers_and_no_other(option: int, aid: bytes) -> None:
    for level in sorted(LEVELS):
        card = card_with(option=option)
        if offers(option, level):
            assert open_channel(card, level, aid=aid).level == level
            continue
        host, cryptogram, _ = begin(card, aid=aid)
        assert raw(card, host.wrap(gp.external_authenticate(level, cryptogram))) == (b"", 0x6A86)
        host.mcv = bytes(16)
        assert raw(card, host.wrap(gp.external_authenticate(0x01, cryptogram))) == (b"", 0x6985)


@pytest.mark.parametrize("option", [0x60, 0x61])
def test_a_host_challenge_of_the_other_mode_is_6700(option: int) -> None:
    card = card_with(option=option)
    raw(card, gp.select())
    assert raw(card, gp.initialize_update(0, bytes(8 if option & 1 else 16)))[1] == 0x6700


def test_recognition_and_capability_tell_the_option() -> None:
    for option in sorted(OPTIONS):
        card = card_with(option=option)
        assert inventory.decode_recognition(told(card, CardTag.RECOGNITION)[0]) == ((3, option),)
        capability, _ = told(card, CardTag.CAPABILITY)
        assert dict(tlv.parse(tlv.unwrap(tlv.unwrap(capability, 0x67), 0xA0)))[0x81] == bytes((option,))


# --- the sequence counter -----------------------------------------------------------------------------------------


def test_the_sequence_counter_counts_every_channel_and_survives_the_power() -> None:
    store = blank(option=0x70)
    for count in range(1, 4):
        card = Card(store)
        _, _, update = begin(card)
        assert update.sequence_counter == count.to_bytes(3, "big")
        assert told(card, CardTag.SEQUENCE_COUNTER) == (b"\xc1\x03" + count.to_bytes(3, "big"), 0x9000)


def test_a_challenge_never_comes_twice_and_differs_between_applications() -> None:
    card = card_with(option=0x70)
    seen = {begin(card, aid=aid)[2].card_challenge for aid in (ISD_AID, PIV_AID) for _ in range(5)}
    assert len(seen) == 10
    assert counter_of(card.persistent, TRANSPORT_KVN) == 10


def test_a_failed_initialize_update_counts_nothing() -> None:
    card = card_with(option=0x70)
    raw(card, gp.select())
    for command in (gp.initialize_update(0x31, CHALLENGE), gp.initialize_update(0, CHALLENGE[:7])):
        assert raw(card, command)[1] in (0x6A88, 0x6700)
    assert raw(card, gp.initialize_update(0, CHALLENGE), Interface.CONTACTLESS)[1] == 0x6A81
    assert card.persistent.sequences == {}


def test_a_used_up_counter_ends_the_key_set() -> None:
    card = card_with(option=0x70)
    card.persistent.commit([Sequence(counter_number(TRANSPORT.enc), 0xFFFFFE)])
    assert begin(card)[2].sequence_counter == b"\xff\xff\xff"
    raw(card, gp.select())
    assert raw(card, gp.initialize_update(0, CHALLENGE)) == (b"", 0x6985)


def test_a_card_keeps_a_number_of_counters_and_takes_no_key_beyond() -> None:
    card = card_with(option=0x70)
    card.persistent.commit([Sequence(number, 1) for number in range(COUNTED_MAX - 1)])
    host = open_channel(card)
    assert host.say(gp.put_key_set(OTHER, TRANSPORT.dek, 0x31).encode()) == (b"", 0x6A84)
    assert host.say(gp.put_key_set(TRANSPORT, TRANSPORT.dek, 0x31).encode())[1] == 0x9000


def test_a_card_with_random_challenges_has_no_counter() -> None:
    store = blank(option=0x60)
    before, card = store.load(), Card(store)
    open_channel(card)
    assert told(card, CardTag.SEQUENCE_COUNTER) == (b"", 0x6A88)
    assert store.load() == before


def test_another_key_set_begins_at_one() -> None:
    card = card_with(option=0x70)
    host = open_channel(card)
    assert host.say(gp.put_key_set(OTHER, TRANSPORT.dek, 0x31, TRANSPORT_KVN).encode())[1] == 0x9000
    assert counter_of(card.persistent, 0x31) == 0
    assert begin(card, OTHER, 0x31)[2].sequence_counter == b"\0\0\1"


def test_a_set_that_keeps_its_enc_keeps_its_counter_even_under_another_version() -> None:
    card = card_with(option=0x70)
    open_channel(card)
    host = open_channel(card)
    assert host.say(gp.put_key_set(TRANSPORT, TRANSPORT.dek, 0x31, TRANSPORT_KVN).encode())[1] == 0x9000
    assert counter_of(card.persistent, 0x31) == 2
    assert begin(card, TRANSPORT, 0x31)[2].sequence_counter == b"\0\0\3"


# --- PUT KEY and DELETE -------------------------------------------------------------------------------------------


def loaded(key: bytes, dek: bytes = TRANSPORT.dek) -> LoadedKey:
    return LoadedKey(encrypt_key(dek, key), len(key), key_check_value(key))


@pytest.mark.parametrize(("key_id", "name"), [(1, "enc"), (2, "mac"), (3, "dek")])
def test_one_key_of_a_set_is_replaced(key_id: int, name: str) -> None:
    card = card_with()
    host = open_channel(card)
    command = PutKey(TRANSPORT_KVN, TRANSPORT_KVN, key_id, (loaded(NEW_KEY),)).encode()
    assert host.say(command) == (bytes((TRANSPORT_KVN,)) + key_check_value(NEW_KEY), 0x9000)
    keys = {"enc": TRANSPORT.enc, "mac": TRANSPORT.mac, "dek": TRANSPORT.dek, name: NEW_KEY}
    assert open_channel(card, keys=StaticKeys(**keys)).level == 0x33


def test_two_neighbours_of_a_set_are_replaced() -> None:
    card = card_with()
    command = PutKey(TRANSPORT_KVN, TRANSPORT_KVN, 2, (loaded(NEW_KEY), loaded(OTHER.dek))).encode()
    assert open_channel(card).say(command)[1] == 0x9000
    assert card.persistent.key_sets[TRANSPORT_KVN].keys == StaticKeys(TRANSPORT.enc, NEW_KEY, OTHER.dek)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (PutKey(TRANSPORT_KVN, 0x31, 1, (loaded(NEW_KEY),)), 0x6A80),  # one key under a version of its own
        (PutKey(0, 0x31, 1, (loaded(NEW_KEY),)), 0x6A80),
        (PutKey(TRANSPORT_KVN, TRANSPORT_KVN, 1, (loaded(LONG.enc),)), 0x6A80),  # of another length
        (PutKey(TRANSPORT_KVN, TRANSPORT_KVN, 3, (loaded(NEW_KEY), loaded(NEW_KEY))), 0x6A80),
        (PutKey(TRANSPORT_KVN, TRANSPORT_KVN, 4, (loaded(NEW_KEY),)), 0x6A86),
        (PutKey(TRANSPORT_KVN, TRANSPORT_KVN, 0, (loaded(NEW_KEY),)), 0x6A86),
        (PutKey(0x31, 0x31, 1, (loaded(NEW_KEY),)), 0x6A88),
        (PutKey(TRANSPORT_KVN, TRANSPORT_KVN, 1, (loaded(NEW_KEY, OTHER.dek),)), 0x6A80),
        (PutKey(TRANSPORT_KVN, TRANSPORT_KVN, 1, (LoadedKey(encrypt_key(TRANSPORT.dek, NEW_KEY), 16, b""),)), 0x6A80),
    ],
)
def test_put_key_of_single_keys_refuses_what_would_break_the_set(command: PutKey, expected: int) -> None:
    card = card_with()
    before = dict(card.persistent.key_sets)
    assert open_channel(card).say(command.encode()) == (b"", expected)
    assert card.persistent.key_sets == before


def test_more_put_key_commands_to_come_are_not_supported() -> None:
    command = gp.put_key_set(OTHER, TRANSPORT.dek, 0x31).encode()
    assert open_channel(card_with()).say(command._replace(p1=0x80))[1] == 0x6A86


@pytest.mark.parametrize("keys", [OTHER, LONG], ids=["AES-128", "AES-256"])
def test_sets_of_several_lengths_live_beside_each_other(keys: StaticKeys) -> None:
    card = card_with()
    assert open_channel(card).say(gp.put_key_set(keys, TRANSPORT.dek, 0x31).encode())[1] == 0x9000
    assert open_channel(card, keys=keys, kvn=0x31).level == 0x33
    assert open_channel(card).level == 0x33
    assert open_channel(card, kvn=0).level == 0x33  # version 0: the first one
    info = inventory.decode_key_info(told(card, CardTag.KEY_INFO)[0])
    size = len(keys.enc)
    assert [(one.key_id, one.kvn, one.key_bytes) for one in info] == [
        *((key_id, 0x30, 16) for key_id in (1, 2, 3)),
        *((key_id, 0x31, size) for key_id in (1, 2, 3)),
    ]


def test_a_key_set_is_deleted_but_never_the_last() -> None:
    card = card_with(option=0x70)
    host = open_channel(card)
    assert host.say(gp.delete_key_set(TRANSPORT_KVN)) == (b"", 0x6985)
    assert host.say(gp.put_key_set(OTHER, TRANSPORT.dek, 0x31).encode())[1] == 0x9000
    open_channel(card, keys=OTHER, kvn=0x31)
    assert open_channel(card).say(gp.delete_key_set(0x31)._replace(p2=0x01)) == (b"\0", 0x9000)
    assert set(card.persistent.key_sets) == {TRANSPORT_KVN}
    assert [counter_of(card.persistent, TRANSPORT_KVN), len(card.persistent.sequences)] == [2, 2]
    raw(card, gp.select())
    assert raw(card, gp.initialize_update(0x31, CHALLENGE))[1] == 0x6A88


@pytest.mark.parametrize(
    ("p1", "p2", "data", "expected"),
    [
        (0, 0, "d20131", 0x6A88),
        (0, 0, "d00101", 0x6A88),  # a key identifier alone: sets are deleted whole
        (0, 0, "d00101d20130", 0x6985),
        (0, 0, "", 0x6A80),
        (0, 0, "d20030", 0x6A80),
        (1, 0, "d20130", 0x6A86),
        (0, 2, "d20130", 0x6A86),
        (0, 1, "d20130", 0x6985),  # the last one, asked for as yubikit does
        (0, 0, "4f0ba000000308000010000100", 0x6985),  # PIV is in ROM
        (0, 0x80, "4f05a000000099", 0x6A88),
    ],
)
def test_delete_gives_its_status_words(p1: int, p2: int, data: str, expected: int) -> None:
    card = card_with()
    command = Command(0x80, 0xE4, p1, p2, bytes.fromhex(data), 256)
    assert open_channel(card).say(command) == (b"", expected)
    assert set(card.persistent.key_sets) == {TRANSPORT_KVN}
