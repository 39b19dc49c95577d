"""The host side of SCP03 against published sessions and against a card's end, at every level and key size."""

import os
from typing import Any

import pytest
from hsm_world import CardEnd
from scp03_sessions import NAMES, SESSIONS, keys_of

from cardlink.gp.commands import decode_initialize_update
from cardlink.gp.host_channel import (
    ChannelClosed,
    HostChannel,
    Misused,
    NotForOthers,
    WrongAnswer,
    WrongCryptogram,
    check_is_plain,
)
from cardlink.gp.scp03 import LEVELS, Level, StaticKeys
from cardlink.iso7816.apdu import Command, decode_command, split_chain

DATA = Command(0x00, 0xDB, 0x3F, 0xFF, bytes(range(200)))


def a_key_set(key_bytes: int = 16) -> StaticKeys:
    return StaticKeys(*(os.urandom(key_bytes) for _ in range(3)))


def opened(level: int, key_bytes: int = 16, option: int = 0x60) -> tuple[HostChannel, CardEnd]:
    card = CardEnd(a_key_set(key_bytes), option=option)
    challenge = os.urandom(16 if option & 1 else 8)
    answer = decode_initialize_update(card.initialize_update(challenge))
    channel = HostChannel.of_keys(card.keys, challenge, answer, level)
    assert channel.unwrap(card.external_authenticate(channel.authentication)) == b"\x90\x00"
    return channel, card


@pytest.mark.parametrize("session", SESSIONS, ids=NAMES)
def test_the_host_sends_and_understands_a_published_session(session: dict[str, Any]) -> None:
    keys = keys_of(session)
    begin = decode_command(bytes.fromhex(session["initialize_update"]))
    answer = decode_initialize_update(bytes.fromhex(session["answer"]))
    sent = bytes.fromhex(session["external_authenticate"])
    channel = HostChannel.of_keys(keys, begin.data, answer, sent[2])
    assert channel.authentication == sent
    for exchange in session["exchanges"]:
        wrapped = channel.wrap(decode_command(bytes.fromhex(exchange["plain"])))
        assert wrapped.hex().upper() == exchange["sent"]
        if "received" not in exchange:
            assert channel.unwrap(b"\x6a\x88") == b"\x6a\x88"  # none was published: an error needs no MAC
        elif exchange.get("overpadded"):
            with pytest.raises(WrongAnswer, match="padding"):
                channel.unwrap(bytes.fromhex(exchange["received"]))
        else:
            assert channel.unwrap(bytes.fromhex(exchange["received"])).hex().upper() == exchange["answer"]


@pytest.mark.parametrize("option", [0x60, 0x61], ids=["S8", "S16"])
@pytest.mark.parametrize("key_bytes", [16, 24, 32])
@pytest.mark.parametrize("level", sorted(LEVELS))
def test_commands_and_answers_pass_at_every_level(level: Level, key_bytes: int, option: int) -> None:
    channel, card = opened(level, key_bytes, option)
    for command, answer, sw in (
        (Command(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 256), bytes(range(90)), 0x9000),
        (Command(0x00, 0xCB, 0x3F, 0xFF), b"", 0x9000),
        (Command(0x10, 0xDB, 0x3F, 0xFF, bytes(221)), b"", 0x9000),
        (Command(0x00, 0xDB, 0x3F, 0xFF, b"x"), b"", 0x6A84),
        (Command(0x00, 0xCB, 0x3F, 0xFF, b"\x5c\x01\x7e", 256), os.urandom(3000), 0x6310),
        (Command(0x00, 0xDB, 0x3F, 0xFF, bytes(900), 256, True), b"ok", 0x9000),
    ):
        answered = card.transmit(channel.wrap(command), answer, sw)
        assert channel.unwrap(answered) == answer + sw.to_bytes(2, "big")
        assert card.seen[-1] == command


@pytest.mark.parametrize("answer", [b"", b"data"])
@pytest.mark.parametrize("sw", [0x9000, 0x6282, 0x63C1])
@pytest.mark.parametrize("level", [0x11, 0x13, 0x33])
def test_a_changed_answer_or_status_closes_the_session(level: int, sw: int, answer: bytes) -> None:
    for at in (0, -1):
        channel, card = opened(level)
        answered = bytearray(card.transmit(channel.wrap(DATA), answer, sw))
        answered[at] ^= 1
        with pytest.raises(WrongAnswer):
            channel.unwrap(bytes(answered))
        with pytest.raises(ChannelClosed):
            channel.wrap(DATA)


@pytest.mark.parametrize(
    "answer", [b"\x90\x00", b"\x62\x82", b"\x63\x00", b"1234567\x90\x00", b"\x90", b"", b"\x01\x02"]
)
def test_an_answer_without_its_mac_is_refused(answer: bytes) -> None:
    channel, _ = opened(0x33)
    channel.wrap(DATA)
    with pytest.raises(WrongAnswer):
        channel.unwrap(answer)


def test_data_beside_an_error_status_are_refused() -> None:
    channel, _ = opened(0x01)
    channel.wrap(DATA)
    with pytest.raises(WrongAnswer, match="beside"):
        channel.unwrap(b"x\x69\x82")


def test_an_error_status_is_passed_on_and_the_session_goes_on() -> None:
    channel, card = opened(0x33)
    assert channel.unwrap(card.transmit(channel.wrap(DATA), b"", 0x6982)) == b"\x69\x82"
    assert channel.unwrap(card.transmit(channel.wrap(DATA))) == b"\x90\x00"


def test_a_replayed_answer_is_refused() -> None:
    channel, card = opened(0x33)
    first = card.transmit(channel.wrap(DATA), b"first")
    assert channel.unwrap(first) == b"first\x90\x00"
    card.transmit(channel.wrap(DATA), b"second")
    with pytest.raises(WrongAnswer, match="R-MAC"):
        channel.unwrap(first)


def test_each_command_waits_for_the_answer_before_it() -> None:
    channel, card = opened(0x33)
    with pytest.raises(Misused, match="out of turn"):
        channel.unwrap(b"\x90\x00")
    wrapped = channel.wrap(DATA)
    with pytest.raises(Misused, match="out of turn"):
        channel.wrap(DATA)
    assert channel.unwrap(card.transmit(wrapped)) == b"\x90\x00"


def test_a_command_too_long_for_a_short_apdu_is_refused_and_does_not_count() -> None:
    channel, card = opened(0x33)
    with pytest.raises(Misused, match="do not fit"):
        channel.wrap(Command(0x00, 0xDB, 0x3F, 0xFF, bytes(240)))
    assert channel.unwrap(card.transmit(channel.wrap(Command(0x00, 0xDB, 0x3F, 0xFF, bytes(239))))) == b"\x90\x00"


CHAIN = split_chain(Command(0x00, 0xDB, 0x3F, 0xFF, bytes(range(250)) * 3, 256), 223)


@pytest.mark.parametrize("level", sorted(LEVELS))
def test_a_chain_protected_at_once_is_the_one_protected_block_by_block(level: Level) -> None:
    channel, card = opened(level)
    answers = [
        card.transmit(one, b"end" if number == 3 else b"") for number, one in enumerate(channel.wrap_chain(CHAIN))
    ]
    assert channel.unwrap_chain(answers) == [b"\x90\x00"] * 3 + [b"end\x90\x00"]
    assert tuple(card.seen[-4:]) == CHAIN
    assert channel.unwrap(card.transmit(channel.wrap(DATA), b"after")) == b"after\x90\x00"


@pytest.mark.parametrize("sw", [0x6A84, 0x6310])
def test_a_chain_that_the_card_stops_is_told_and_ends_the_session(sw: int) -> None:
    channel, card = opened(0x33)
    wrapped = channel.wrap_chain(CHAIN)
    answers = [card.transmit(wrapped[0]), card.transmit(wrapped[1], b"", sw)]
    assert channel.unwrap_chain(answers) == [b"\x90\x00", sw.to_bytes(2, "big")]
    with pytest.raises(ChannelClosed):
        channel.wrap(DATA)


def test_an_error_at_the_last_block_of_a_chain_changes_nothing() -> None:
    channel, card = opened(0x33)
    wrapped = channel.wrap_chain(CHAIN)
    answers = [*(card.transmit(one) for one in wrapped[:-1]), card.transmit(wrapped[-1], b"", 0x6A84)]
    assert channel.unwrap_chain(answers)[-1] == b"\x6a\x84"
    assert channel.unwrap(card.transmit(channel.wrap(DATA))) == b"\x90\x00"


@pytest.mark.parametrize("at", range(4))
def test_one_changed_answer_of_a_chain_closes_the_session_and_opens_none(at: int) -> None:
    channel, card = opened(0x33)
    answers = [bytearray(card.transmit(one)) for one in channel.wrap_chain(CHAIN)]
    answers[at][0] ^= 1
    with pytest.raises(WrongAnswer, match="R-MAC"):
        channel.unwrap_chain([bytes(one) for one in answers])
    with pytest.raises(ChannelClosed):
        channel.wrap(DATA)


def test_the_answers_of_a_chain_in_another_order_are_refused() -> None:
    channel, card = opened(0x33)
    answers = [card.transmit(one) for one in channel.wrap_chain(CHAIN)]
    with pytest.raises(WrongAnswer, match="R-MAC"):
        channel.unwrap_chain([answers[1], answers[0], *answers[2:]])


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_a_chain_wants_an_answer_for_each_block_and_waits_for_them(count: int) -> None:
    channel, card = opened(0x33)
    answers = [card.transmit(one) for one in channel.wrap_chain(CHAIN)]
    with pytest.raises(Misused, match="4 blocks"):
        channel.unwrap_chain([*answers, answers[0]][:count])
    for early in (lambda: channel.wrap(DATA), lambda: channel.wrap_chain(CHAIN)):
        with pytest.raises(Misused, match="out of turn"):
            early()
    assert channel.unwrap_chain(answers) == [b"\x90\x00"] * 4


@pytest.mark.parametrize(
    "blocks",
    [
        (),
        (DATA, DATA),
        CHAIN[:-1],
        (*CHAIN, *CHAIN),
        (*CHAIN[:-1], DATA, CHAIN[-1]),
        (*CHAIN[:-1], Command(0x00, 0xDA, 0x3F, 0xFF)),
        (*CHAIN[:-1], Command(0x00, 0xDB, 0x3F, 0xFE)),
    ],
)
def test_only_the_blocks_of_one_chain_are_protected_ahead(blocks: tuple[Command, ...]) -> None:
    channel, card = opened(0x33)
    with pytest.raises(Misused, match="chain"):
        channel.wrap_chain(blocks)
    assert channel.unwrap(card.transmit(channel.wrap(DATA))) == b"\x90\x00"


def test_a_chain_with_a_block_too_long_is_refused_and_does_not_count() -> None:
    channel, card = opened(0x33)
    with pytest.raises(Misused, match="do not fit"):
        channel.wrap_chain((*CHAIN[:-1], Command(0x00, 0xDB, 0x3F, 0xFF, bytes(240))))
    assert channel.unwrap_chain([card.transmit(one) for one in channel.wrap_chain(CHAIN)]) == [b"\x90\x00"] * 4


def test_another_key_set_is_a_wrong_cryptogram() -> None:
    card = CardEnd(a_key_set())
    answer = decode_initialize_update(card.initialize_update(bytes(8)))
    with pytest.raises(WrongCryptogram, match="30"):
        HostChannel.of_keys(a_key_set(), bytes(8), answer, 0x33)
    with pytest.raises(WrongCryptogram):
        HostChannel.of_keys(card.keys, b"\x01" + bytes(7), answer, 0x33)


@pytest.mark.parametrize("level", [0x00, 0x02, 0x10, 0x12, 0x23, 0x31, 0x73, 0x133])
def test_a_reserved_level_is_refused(level: int) -> None:
    card = CardEnd(a_key_set())
    answer = decode_initialize_update(card.initialize_update(bytes(8)))
    with pytest.raises(Misused, match="level"):
        HostChannel.of_keys(card.keys, bytes(8), answer, level)


def test_a_host_challenge_of_the_other_mode_is_refused() -> None:
    card = CardEnd(a_key_set(), option=0x61)
    answer = decode_initialize_update(card.initialize_update(bytes(16)))
    with pytest.raises(Misused, match="host challenge"):
        HostChannel.of_keys(card.keys, bytes(8), answer, 0x33)


def test_a_refused_external_authenticate_closes_the_session() -> None:
    card = CardEnd(a_key_set())
    channel = HostChannel.of_keys(card.keys, bytes(8), decode_initialize_update(card.initialize_update(bytes(8))), 0x33)
    with pytest.raises(WrongAnswer, match="6300"):
        channel.unwrap(b"\x63\x00")
    assert channel.is_closed


# instruction: classes without chaining, P1 P2 of a form that passes
PASSES: dict[int, tuple[set[int], tuple[int, int]]] = {
    **dict.fromkeys((0xCB, 0xF7, 0xF8, 0xFD, 0xF9), ({0x00}, (0x00, 0x00))),
    0xDB: ({0x00}, (0x3F, 0xFF)),
    0x47: ({0x00}, (0x00, 0x9A)),
    0x87: ({0x00}, (0x11, 0x9E)),
    **dict.fromkeys((0xCA, 0xC0), ({0x00, 0x80}, (0x00, 0x66))),
    0xF2: ({0x80}, (0x80, 0x02)),
    0xF0: ({0x80}, (0x80, 0x0F)),
    0xE2: ({0x80}, (0x90, 0x00)),
}


def passes(command: Command) -> bool:
    try:
        check_is_plain(command)
    except NotForOthers:
        return False
    return True


@pytest.mark.parametrize("ins", range(256))
def test_only_commands_that_load_no_secret_are_wrapped_for_others(ins: int) -> None:
    classes, (p1, p2) = PASSES.get(ins, (set(), (0x00, 0x00)))
    found = {cla for cla in range(256) if passes(Command(cla, ins, p1, p2, b"data"))}
    assert found == {cla | chained for cla in classes for chained in (0x00, 0x10)}


@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("PUT KEY", (0x80, 0xD8, 0x00, 0x81)),
        ("PUT KEY, chained", (0x90, 0xD8, 0x00, 0x81)),
        ("CHANGE REFERENCE DATA", (0x00, 0x24, 0x00, 0x80)),
        ("OpenFIPS201: CHANGE REFERENCE DATA of a key", (0x84, 0x24, 0x0C, 0x9B)),
        ("RESET RETRY COUNTER", (0x00, 0x2C, 0x00, 0x80)),
        ("VERIFY", (0x00, 0x20, 0x00, 0x80)),
        ("SET MANAGEMENT KEY", (0x00, 0xFF, 0xFF, 0xFF)),
        ("IMPORT KEY", (0x00, 0xFE, 0x11, 0x9A)),
        ("MOVE KEY", (0x00, 0xF6, 0x82, 0x9A)),
        ("SET PIN RETRIES", (0x00, 0xFA, 0x0F, 0x0F)),
        ("RESET", (0x00, 0xFB, 0x00, 0x00)),
        ("OpenFIPS201: PUT DATA of keys and settings", (0x00, 0xDB, 0x3F, 0x00)),
        ("GENERATE of the maker's key", (0x00, 0x47, 0x00, 0xF9)),
        ("GENERATE of 9B", (0x00, 0x47, 0x00, 0x9B)),
        ("GENERAL AUTHENTICATE with 9B", (0x00, 0x87, 0x0C, 0x9B)),
        ("GENERAL AUTHENTICATE with 9C: a signature of the holder", (0x00, 0x87, 0x11, 0x9C)),
        ("GENERAL AUTHENTICATE with 9D", (0x00, 0x87, 0x11, 0x9D)),
        ("GENERAL AUTHENTICATE with a retired key", (0x00, 0x87, 0x11, 0x82)),
        ("STORE DATA of data groups", (0x80, 0xE2, 0x88, 0x00)),
        ("STORE DATA, encrypted", (0x80, 0xE2, 0xF0, 0x00)),
        ("INSTALL", (0x80, 0xE6, 0x20, 0x00)),
        ("DELETE of a key", (0x80, 0xE4, 0x00, 0x00)),
        ("LOAD", (0x80, 0xE8, 0x00, 0x00)),
        ("SET STATUS: locked", (0x80, 0xF0, 0x80, 0x7F)),
        ("SET STATUS: ended", (0x80, 0xF0, 0x80, 0xFF)),
        ("SET STATUS of an application", (0x80, 0xF0, 0x40, 0x07)),
        ("SELECT", (0x00, 0xA4, 0x04, 0x00)),
        ("MANAGE CHANNEL", (0x00, 0x70, 0x00, 0x00)),
        ("INITIALIZE UPDATE", (0x80, 0x50, 0x00, 0x00)),
        ("EXTERNAL AUTHENTICATE, for a lower level", (0x84, 0x82, 0x00, 0x00)),
        ("GET DATA on another channel", (0x01, 0xCB, 0x3F, 0xFF)),
        ("GET DATA, protected once already", (0x0C, 0xCB, 0x3F, 0xFF)),
    ],
)
def test_what_loads_opens_or_ends_is_not_wrapped_for_others(what: str, command: tuple[int, int, int, int]) -> None:
    for cla in {command[0], command[0] | 0x10}:
        assert not passes(Command(cla, *command[1:], b"data")), what


def test_store_data_is_wrapped_as_ber_tlv_only_and_9b_is_never_answered() -> None:
    check_is_plain(Command(0x80, 0xE2, 0x90, 0x00, b"data"))
    for p1 in (0x00, 0x08, 0x88, 0x60, 0xF0, 0x18):
        with pytest.raises(NotForOthers):
            check_is_plain(Command(0x80, 0xE2, p1, 0x00, b"data"))
    check_is_plain(Command(0x00, 0x87, 0x11, 0x9E, b"data"))
    with pytest.raises(NotForOthers):
        check_is_plain(Command(0x00, 0x87, 0x0C, 0x9B, b"data"))
