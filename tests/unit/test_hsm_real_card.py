"""The HSM's end of SCP03 against the card's: every option, every level that it offers, every key length."""

import itertools

import pytest
from gp_host import CHALLENGE, card_with, raw

from cardlink.gp.commands import decode_initialize_update, initialize_update, put_key_set, select
from cardlink.gp.host_channel import HostChannel, Misused, WrongAnswer
from cardlink.gp.scp03 import LEVELS, OPTIONS, Level, Option, StaticKeys, max_plain_bytes, offers
from cardlink.iso7816.apdu import Command, split_chain
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv import commands as piv
from cardlink.piv.tables import PIV_AID
from cardos.card import Card

NAMES = {16: "AES-128", 24: "AES-192", 32: "AES-256"}
OFFERED = [
    (option, level) for option, level in itertools.product(sorted(OPTIONS), sorted(LEVELS)) if offers(option, level)
]
REFUSED = [
    (option, level) for option, level in itertools.product(sorted(OPTIONS), sorted(LEVELS)) if not offers(option, level)
]
LONG = bytes(range(256)) * 5


def key_set(size: int) -> StaticKeys:
    return StaticKeys(bytes([1]) * size, bytes([2]) * size, bytes([3]) * size)


def connect(card: Card, keys: StaticKeys, level: int, aid: bytes) -> HostChannel:
    """SELECT, INITIALIZE UPDATE and the host's judgement of its answer; EXTERNAL AUTHENTICATE is ready to be sent."""
    raw(card, select(aid))
    challenge = CHALLENGE * (2 if card.persistent.channel_option & Option.S16 else 1)
    answer, sw = raw(card, initialize_update(0, challenge))
    assert sw == 0x9000
    return HostChannel.of_keys(keys, challenge, decode_initialize_update(answer), level)


def opened(card: Card, keys: StaticKeys, level: int, aid: bytes = PIV_AID) -> HostChannel:
    channel = connect(card, keys, level, aid)
    assert channel.unwrap(card.transmit(channel.authentication)) == SUCCESS_BYTES
    return channel


def say(card: Card, channel: HostChannel, command: Command) -> bytes:
    """One command with its whole answer."""
    answer, data = card.transmit(channel.wrap(command)), b""
    while answer[-2] == 0x61:
        data += answer[:-2]
        answer = card.transmit(bytes.fromhex("00C00000") + answer[-1:])
    return channel.unwrap(data + answer)


@pytest.mark.parametrize("size", NAMES, ids=NAMES.get)
@pytest.mark.parametrize(("option", "level"), OFFERED, ids=lambda one: f"{int(one):02X}")
def test_both_ends_understand_each_other(option: int, level: Level, size: int) -> None:
    keys = key_set(size)
    card = card_with(keys, option)
    channel = opened(card, keys, level)
    blocks = split_chain(piv.put_data(0x5FC102, LONG), max_plain_bytes(level, 16 if option & Option.S16 else 8))
    answers = [card.transmit(one) for one in channel.wrap_chain(blocks)]
    assert channel.unwrap_chain(answers) == [SUCCESS_BYTES] * len(blocks)
    assert say(card, channel, piv.get_data(0x5FC102)) == piv.wrap_object(0x5FC102, LONG) + SUCCESS_BYTES
    assert say(card, channel, piv.verify(b"000000\xff\xff")) == b"\x63\xc4"  # a warning, with its R-MAC
    assert say(card, channel, piv.get_data(0x5FC109)) == b"\x69\x82"
    assert say(card, channel, piv.verify(b"")) == b"\x63\xc4"


@pytest.mark.parametrize("new", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("old", NAMES, ids=NAMES.get)
def test_a_key_set_is_replaced_by_one_of_any_length(old: int, new: int) -> None:
    keys, others = key_set(old), StaticKeys(*(bytes([9 + at]) * new for at in range(3)))
    card = card_with(keys, 0x70)
    channel = opened(card, keys, 0x33, select().data)
    put = put_key_set(others, keys.dek, 0x01, 0x30)
    assert say(card, channel, put.encode()) == put.answer() + SUCCESS_BYTES
    opened(card, others, 0x33)


@pytest.mark.parametrize(("option", "level"), REFUSED, ids=lambda one: f"{int(one):02X}")
def test_the_host_asks_no_card_for_what_it_does_not_offer(option: int, level: Level) -> None:
    card = card_with(option=option)
    with pytest.raises(Misused, match="does not offer"):
        connect(card, key_set(16), level, PIV_AID)


def test_a_card_that_lies_about_its_option_is_found_out_at_its_first_answer() -> None:
    keys = key_set(16)
    card = card_with(keys, 0x00)
    raw(card, select())
    answer = decode_initialize_update(raw(card, initialize_update(0, CHALLENGE))[0])
    lying = decode_initialize_update(answer.encode()[:12] + b"\x60" + answer.encode()[13:])
    channel = HostChannel.of_keys(keys, CHALLENGE, lying, 0x33)
    with pytest.raises(WrongAnswer, match="6A86"):
        channel.unwrap(card.transmit(channel.authentication))
