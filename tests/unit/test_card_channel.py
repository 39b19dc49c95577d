"""The card's end of SCP03, driven by a host end written for these tests; only the arithmetic is shared."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from gp_host import CHALLENGE, SERIAL, TRANSPORT, Host, card_with, open_channel, raw

from cardlink.access.door import DOOR_AID
from cardlink.gp import commands as gp
from cardlink.gp import inventory
from cardlink.gp.keys import derive_card_keys, key_check_value
from cardlink.gp.scp03 import (
    LEVELS,
    SessionCiphers,
    StaticKeys,
    derive_session,
    host_cryptogram,
)
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv.tables import PIV_AID, Interface
from cardos.card import Card
from cardos.factory import TRANSPORT_KVN

# keys made up for these tests
TRANSPORT_256 = StaticKeys(bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96)))
MASTER = bytes.fromhex("5A" * 32)
ISD = gp.ISD_AID


@pytest.mark.parametrize("level", sorted(LEVELS))
@pytest.mark.parametrize("keys", [TRANSPORT, TRANSPORT_256], ids=["AES-128", "AES-256"])
@pytest.mark.parametrize("aid", [ISD, PIV_AID], ids=["domain", "PIV"])
def test_a_channel_opens_at_every_level_and_carries_commands(level: int, keys: StaticKeys, aid: bytes) -> None:
    host = open_channel(card_with(keys), level, keys, aid=aid)
    if aid == ISD:
        data, sw = host.say(inventory.get_data(inventory.CardTag.CPLC))
        assert sw == 0x9000
        assert inventory.decode_cplc(data).ic_serial == SERIAL[4:8]
        return
    assert host.say(piv.put_data(0x5FC102, bytes(range(250)) * 4)) == (b"", 0x9000)
    data, sw = host.say(piv.get_data(0x5FC102))
    assert sw == 0x9000
    assert piv.unwrap_object(0x5FC102, data) == bytes(range(250)) * 4
    data, sw = host.say(piv.generate_key(0x9E, 0x11))
    assert (sw, data[:5]) == (0x9000, bytes.fromhex("7F49438641"))


def test_an_error_inside_the_channel_is_answered_bare_and_the_channel_goes_on() -> None:
    host = open_channel(card_with(), aid=PIV_AID)
    assert host.say(piv.get_data(0x5FC102)) == (b"", 0x6A82)
    assert host.say(piv.verify(b"123456\xff\xff")) == (b"", 0x9000)


def test_extended_apdus_are_protected_whole() -> None:
    host = open_channel(card_with(), aid=PIV_AID)
    put = piv.put_data(0x5FC102, bytes(2000))
    assert host.say(Command(0x00, put.ins, put.p1, put.p2, put.data, None, extended=True)) == (b"", 0x9000)


@pytest.mark.parametrize("kvn", [0, TRANSPORT_KVN])
def test_key_version_0_takes_the_only_set(kvn: int) -> None:
    assert open_channel(card_with(), kvn=kvn).level == 0x33


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (gp.initialize_update(0x31, CHALLENGE), 0x6A88),
        (gp.initialize_update(0x30, CHALLENGE, 1), 0x6A86),
        (gp.initialize_update(0x30, CHALLENGE[:7]), 0x6700),
        (gp.initialize_update(0x30, bytes(16)), 0x6700),
        (Command(0x84, 0x82, 0x33, 0x00, bytes(16)), 0x6985),
        (Command(0x84, 0xD8, 0x30, 0x81, bytes(16)), 0x6982),
        (Command(0x80, 0xD8, 0x30, 0x81, bytes(16)), 0x6982),
        (Command(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00")), 0x6982),
        (Command(0x80, 0xF0, 0x80, 0x0F, ISD), 0x6982),
        (Command(0x80, 0x82, 0x33, 0x00, bytes(16)), 0x6D00),
        (Command(0x80, 0xE2, 0x90, 0x00, bytes(16)), 0x6982),
        (Command(0x80, 0xCA, 0x00, 0x42, b"", 256), 0x6A88),
        (Command(0x90, 0xCA, 0x9F, 0x7F, b"", 256), 0x6E00),
    ],
)
def test_the_domain_without_a_channel_gives_its_status_words(command: Command, expected: int) -> None:
    card = card_with()
    raw(card, gp.select())
    assert raw(card, command) == (b"", expected)


def test_no_channel_opens_over_contactless() -> None:
    card = card_with()
    card.transmit(gp.select().encode(), Interface.CONTACTLESS)
    answer = card.transmit(gp.initialize_update(0, CHALLENGE).encode(), Interface.CONTACTLESS)
    assert answer == b"\x6a\x81"


def started(card: Card) -> tuple[Host, Command]:
    """A handshake before EXTERNAL AUTHENTICATE, and that command."""
    raw(card, gp.select())
    update = gp.decode_initialize_update(raw(card, gp.initialize_update(0, CHALLENGE))[0])
    session = derive_session(TRANSPORT, CHALLENGE, update.card_challenge)
    host = Host(card, SessionCiphers(session), 0, bytes(16))
    return host, gp.external_authenticate(0x33, host_cryptogram(session, CHALLENGE, update.card_challenge))


def test_a_wrong_host_cryptogram_is_6300_and_a_wrong_mac_6988_and_the_handshake_is_used_up() -> None:
    host, right = started(card_with())
    assert raw(host.card, host.wrap(gp.external_authenticate(0x33, bytes(8))))[1] == 0x6300
    host.mcv = bytes(16)
    assert raw(host.card, host.wrap(right))[1] == 0x6985
    host, right = started(card_with())
    good = host.wrap(right)
    broken = Command(good.cla, good.ins, good.p1, good.p2, good.data[:-1] + bytes((good.data[-1] ^ 1,)))
    assert raw(host.card, broken)[1] == 0x6988
    assert raw(host.card, good)[1] == 0x6985


@pytest.mark.parametrize(("level", "expected"), [(0x00, 0x6A86), (0x02, 0x6A86), (0x31, 0x6A86), (0x43, 0x6A86)])
def test_a_reserved_level_is_refused(level: int, expected: int) -> None:
    host, right = started(card_with())
    assert raw(host.card, host.wrap(Command(0x80, 0x82, level, 0, right.data)))[1] == expected


def test_the_challenge_differs_from_channel_to_channel() -> None:
    card = card_with()
    raw(card, gp.select())
    answers = {raw(card, gp.initialize_update(0, CHALLENGE))[0] for _ in range(20)}
    assert len(answers) == 20


# --- attacks on an open channel -----------------------------------------------------------------------------------

PUT = piv.put_data(0x5FC102, b"\x30\x00")


def flipped(command: Command, at: int) -> Command:
    data = bytearray(command.data)
    data[at] ^= 0x01
    return Command(command.cla, command.ins, command.p1, command.p2, bytes(data), command.le)


def changed_header(command: Command) -> Command:
    return Command(command.cla, command.ins, command.p1, command.p2 ^ 1, command.data, command.le)


def cut(command: Command) -> Command:
    return Command(command.cla, command.ins, command.p1, command.p2, command.data[:5], command.le)


@pytest.mark.parametrize(
    "attack",
    [lambda one: flipped(one, -1), lambda one: flipped(one, 0), changed_header, cut],
    ids=["MAC", "data", "header", "cut"],
)
@pytest.mark.parametrize("level", sorted(LEVELS))
def test_a_changed_command_closes_the_channel_and_changes_nothing(
    attack: Callable[[Command], Command], level: int
) -> None:
    host = open_channel(card_with(), level, aid=PIV_AID)
    good = host.wrap(PUT)
    assert raw(host.card, attack(good)) == (b"", 0x6988)
    assert raw(host.card, good) == (b"", 0x6982)
    assert raw(host.card, PUT) == (b"", 0x6982)
    assert raw(host.card, piv.get_data(0x5FC102)) == (b"", 0x6A82)


@pytest.mark.parametrize("level", sorted(LEVELS))
def test_a_replayed_command_closes_the_channel(level: int) -> None:
    host = open_channel(card_with(), level, aid=PIV_AID)
    command = host.wrap(PUT)
    assert raw(host.card, command)[1] == 0x9000
    assert raw(host.card, command) == (b"", 0x6988)
    assert raw(host.card, host.wrap(PUT)) == (b"", 0x6982)


def test_reordered_commands_close_the_channel() -> None:
    host = open_channel(card_with(), aid=PIV_AID)
    first, second = host.wrap(PUT), host.wrap(piv.put_data(0x5FC102, b"\x31\x00"))
    assert raw(host.card, second) == (b"", 0x6988)
    assert raw(host.card, first) == (b"", 0x6982)


def test_a_command_in_the_clear_closes_the_channel_unless_it_selects_or_fetches() -> None:
    host = open_channel(card_with(), aid=PIV_AID)
    assert raw(host.card, piv.get_data(0x7E)) == (b"", 0x6982)
    assert raw(host.card, host.wrap(PUT)) == (b"", 0x6982)


def test_select_ends_the_channel_and_a_failed_one_does_not() -> None:
    host = open_channel(card_with(), aid=PIV_AID)
    assert raw(host.card, gp.select(b"\xa0\x00\x00\x00\x99"))[1] == 0x6A82
    assert host.say(PUT)[1] == 0x9000
    raw(host.card, piv.select())
    assert raw(host.card, host.wrap(PUT))[1] == 0x6982


def test_a_channel_belongs_to_the_application_in_which_it_was_opened() -> None:
    host = open_channel(card_with(), aid=PIV_AID)
    assert host.say(Command(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), 256))[1] == 0x6D00
    host = open_channel(card_with(), aid=ISD)
    assert host.say(PUT)[1] == 0x6D00


# --- PUT KEY, GET STATUS, SET STATUS ------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [TRANSPORT, TRANSPORT_256], ids=["AES-128", "AES-256"])
def test_the_transport_keys_are_replaced_by_the_cards_own_in_one_step(keys: StaticKeys) -> None:
    card = card_with(keys)
    host = open_channel(card, 0x33, keys)
    own = derive_card_keys(MASTER, SERIAL, 0x01)
    data, sw = host.say(gp.put_key_set(own, keys.dek, 0x01, TRANSPORT_KVN).encode())
    assert sw == 0x9000
    assert data == b"\x01" + b"".join(key_check_value(one) for one in (own.enc, own.mac, own.dek))
    assert host.say(inventory.get_data(inventory.CardTag.CPLC))[1] == 0x9000
    raw(card, gp.select())
    assert raw(card, gp.initialize_update(TRANSPORT_KVN, CHALLENGE))[1] == 0x6A88
    assert open_channel(card, 0x33, own, 0x01).level == 0x33
    info = inventory.decode_key_info(
        open_channel(card, 0x33, own, 0).say(inventory.get_data(inventory.CardTag.KEY_INFO))[0]
    )
    assert [(one.key_id, one.kvn, one.key_bytes) for one in info] == [(1, 1, 32), (2, 1, 32), (3, 1, 32)]


OTHER = StaticKeys(bytes.fromhex("11" * 16), bytes.fromhex("22" * 16), bytes.fromhex("33" * 16))


def put_key(new_kvn: int, replace_kvn: int, dek: bytes = TRANSPORT.dek) -> Command:
    return gp.put_key_set(OTHER, dek, new_kvn, replace_kvn).encode()


def one_key() -> Command:
    whole = gp.put_key_set(OTHER, TRANSPORT.dek, 0x01, TRANSPORT_KVN)
    return gp.PutKey(whole.replace_kvn, whole.new_kvn, 1, whole.keys[:1]).encode()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (put_key(0x01, 0x31), 0x6A88),  # no such set
        (put_key(0x30, 0x00), 0x6A80),  # a set of that version is there
        (put_key(0x01, 0x30, bytes(16)), 0x6A80),  # under another DEK: check values do not fit
        (one_key(), 0x6A80),
        (Command(0x80, 0xD8, 0x30, 0x81, b"\x01"), 0x6A80),
        (Command(0x80, 0xD8, 0x30, 0x81, b""), 0x6A80),
        (put_key(0x02, 0x00), 0x9000),
        (put_key(0x30, 0x30), 0x9000),
    ],
)
def test_put_key_gives_its_status_words(command: Command, expected: int) -> None:
    card = card_with()
    before = dict(card.persistent.key_sets)
    assert open_channel(card).say(command)[1] == expected
    assert (card.persistent.key_sets == before) is (expected != 0x9000)


def test_put_key_fills_the_memory_and_then_says_so() -> None:
    host = open_channel(card_with())
    assert [host.say(put_key(kvn, 0))[1] for kvn in (1, 2, 3, 4)] == [0x9000, 0x9000, 0x9000, 0x6A84]


def test_get_status_tells_domain_and_applications() -> None:
    host = open_channel(card_with())
    (domain,) = inventory.decode_status(host.say(inventory.get_status(inventory.Scope.ISSUER_DOMAIN))[0])
    assert (domain.aid, domain.state) == (ISD, inventory.LifeCycle.INITIALIZED)
    applications = inventory.decode_status(host.say(inventory.get_status(inventory.Scope.APPLICATIONS))[0])
    states = {one.aid: one.state for one in applications}
    assert states[PIV_AID] == states[DOOR_AID] == inventory.AppState.SELECTABLE
    assert host.say(inventory.get_status(inventory.Scope.LOAD_FILES))[1] == 0x6A88
    assert host.say(inventory.get_status(inventory.Scope.APPLICATIONS, b"\xa0\x00\x99"))[1] == 0x6A88


def test_the_card_goes_through_its_life_and_only_forward() -> None:
    card = card_with()
    host = open_channel(card)

    def to(state: int) -> int:
        return host.say(inventory.set_status(inventory.Scope.ISSUER_DOMAIN, state, ISD))[1]

    assert to(0x01) == 0x6985
    assert to(0x7F) == 0x6985
    assert to(0x0F) == 0x9000
    assert to(0x07) == 0x6985
    assert to(0x7F) == 0x9000
    assert raw(card, piv.select()) == (b"", 0x6A81)
    assert to(0x0F) == 0x9000
    assert raw(card, piv.select())[1] == 0x9000
    host = open_channel(card)
    assert host.say(inventory.set_status(inventory.Scope.ISSUER_DOMAIN, 0xFF, b""))[1] == 0x9000
    card.reset()
    assert raw(card, piv.select()) == (b"", 0x6985)
    assert raw(card, gp.initialize_update(0, CHALLENGE)) == (b"", 0x6985)
    assert raw(card, inventory.get_data(inventory.CardTag.CPLC))[1] == 0x9000


def test_a_locked_application_is_not_found_until_it_is_unlocked() -> None:
    card = card_with()
    host = open_channel(card)
    assert host.say(inventory.set_status(inventory.Scope.APPLICATIONS, 0x87, PIV_AID))[1] == 0x9000
    assert raw(card, piv.select())[1] == 0x6A82
    assert host.say(inventory.set_status(inventory.Scope.APPLICATIONS, 0x07, PIV_AID))[1] == 0x9000
    assert host.say(inventory.set_status(inventory.Scope.APPLICATIONS, 0x03, PIV_AID))[1] == 0x6985
    assert host.say(inventory.set_status(inventory.Scope.APPLICATIONS, 0x87, ISD))[1] == 0x6A88
    assert host.say(inventory.set_status(inventory.Scope.ISSUER_DOMAIN, 0x0F, PIV_AID))[1] == 0x6A88
    assert raw(card, piv.select())[1] == 0x9000


def test_card_recognition_data_names_scp03_over_both_faces_and_the_serial_only_over_contact() -> None:
    card = card_with()
    for interface in Interface:
        card.transmit(gp.select().encode(), interface)
        answer = card.transmit(inventory.get_data(inventory.CardTag.RECOGNITION).encode(), interface)
        assert inventory.decode_recognition(answer[:-2]) == ((3, 0x60),)
    answer = card.transmit(inventory.get_data(inventory.CardTag.CPLC).encode(), Interface.CONTACTLESS)
    assert answer == b"\x69\x82"


@pytest.mark.parametrize("bits", sorted(AES.key_sizes & {128, 192, 256}))
def test_every_aes_key_length_works(bits: int) -> None:
    size = bits // 8
    keys = StaticKeys(bytes([1]) * size, bytes([2]) * size, bytes([3]) * size)
    assert open_channel(card_with(keys), 0x33, keys).say(inventory.get_data(inventory.CardTag.CPLC))[1] == 0x9000
