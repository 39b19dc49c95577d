"""A command protected whole and then cut into blocks, as yubikit sends it over short APDUs (Amendment D cuts first)."""

import hashlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from gp_host import Host, card_with, open_channel, raw

from cardlink.gp.scp03 import LEVELS
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv.pins import FACTORY_PIN, encode_pin
from cardlink.piv.tables import PIV_AID, Algorithm
from cardlink.piv.templates import Authentication, EcPublicKey, decode_public_key, decode_response
from cardos.buffers import CHAIN_BYTES_MAX

PIN = encode_pin(FACTORY_PIN)
LONG = bytes(range(256)) * 4
PUT = piv.put_data(0x5FC102, LONG)._replace(le=None, extended=True)
at_every_level = pytest.mark.parametrize("level", sorted(LEVELS), ids=lambda level: f"{int(level):02X}")


def opened(level: int = 0x33) -> Host:
    return open_channel(card_with(), level, aid=PIV_AID)


def blocks_of(whole: Command, size: int = 255) -> Iterator[Command]:
    """The blocks of a protected command; the last one has its class byte."""
    parts = [whole.data[at : at + size] for at in range(0, len(whole.data), size)]
    for part in parts[:-1]:
        yield Command(whole.cla | 0x10, whole.ins, whole.p1, whole.p2, part)
    yield Command(whole.cla, whole.ins, whole.p1, whole.p2, parts[-1], whole.le)


def say_cut(host: Host, command: Command, size: int = 255) -> tuple[bytes, int]:
    *first, last = blocks_of(host.wrap(command._replace(extended=True)), size)
    for block in first:
        assert raw(host.card, block) == (b"", 0x9000)
    return host.unwrap(host.card.transmit(last.encode()))


def stored(host: Host) -> bytes | None:
    data, sw = host.say(piv.get_data(0x5FC102))
    return None if sw == 0x6A82 else piv.unwrap_object(0x5FC102, data)


@at_every_level
def test_it_counts_as_one_command_and_the_other_order_still_does_after_it(level: int) -> None:
    host = opened(level)
    assert say_cut(host, PUT) == (b"", 0x9000)
    assert stored(host) == LONG
    assert host.say(piv.put_data(0x5FC102, LONG + LONG)) == (b"", 0x9000)
    assert stored(host) == LONG + LONG


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_changed_block_shows_at_the_end_and_closes_the_channel_with_nothing_done(which: int) -> None:
    host = opened()
    blocks = list(blocks_of(host.wrap(PUT)))
    data = blocks[which].data
    blocks[which] = blocks[which]._replace(data=data[:9] + bytes((data[9] ^ 1,)) + data[10:])
    assert [raw(host.card, block)[1] for block in blocks] == [0x9000] * (len(blocks) - 1) + [0x6988]
    assert raw(host.card, piv.verify(PIN)._replace(cla=0x04)) == (b"", 0x6982)
    assert raw(host.card, piv.get_data(0x5FC102)) == (b"", 0x6A82)


def test_blocks_that_nobody_ends_close_the_channel_at_the_next_command() -> None:
    host = opened()
    before = host.mcv, host.counter
    first, *_ = blocks_of(host.wrap(PUT))
    assert raw(host.card, first) == (b"", 0x9000)
    host.mcv, host.counter = before
    assert raw(host.card, host.wrap(piv.verify(PIN))) == (b"", 0x6988)
    assert raw(host.card, host.wrap(piv.verify(PIN))) == (b"", 0x6982)
    assert raw(host.card, piv.get_data(0x5FC102)) == (b"", 0x6A82)


def test_a_command_that_is_never_chained_is_not_gathered() -> None:
    host = opened()
    assert raw(host.card, Command(0x14, 0x20, 0x00, 0x80, bytes(24))) == (b"", 0x6988)
    assert raw(host.card, host.wrap(piv.verify(PIN))) == (b"", 0x6982)


def test_without_a_channel_nothing_is_gathered() -> None:
    host = opened()
    first, *_ = blocks_of(host.wrap(PUT))
    raw(host.card, piv.select())
    assert raw(host.card, first) == (b"", 0x6982)


def test_blocks_without_end_are_refused_and_close_the_channel() -> None:
    host = opened()
    block = Command(0x14, 0xDB, 0x3F, 0xFF, bytes(255))
    answers = [raw(host.card, block)[1] for _ in range(CHAIN_BYTES_MAX // 255 + 2)]
    assert set(answers[:-2]) == {0x9000}
    assert answers[-2:] == [0x6A84, 0x6982]


def test_the_pin_still_stands_immediately_before_a_signature_that_was_cut() -> None:
    host = opened()
    key = decode_public_key(host.say(piv.generate_key(0x9C, Algorithm.P_256))[0], Algorithm.P_256)
    assert isinstance(key, EcPublicKey)
    digest = hashlib.sha256(b"made up").digest()
    sign = piv.general_authenticate(Algorithm.P_256, 0x9C, Authentication(challenge=digest, response=b""))
    assert host.say(piv.verify(PIN)) == (b"", 0x9000)
    data, sw = say_cut(host, sign, size=20)
    assert sw == 0x9000
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.point)
    public.verify(decode_response(data), b"made up", ec.ECDSA(hashes.SHA256()))
    assert say_cut(host, sign, size=20) == (b"", 0x6982)
