"""The PIV application inside an SCP03 channel: every command at every level, long ones in both directions."""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from gp_host import Host, card_with, open_channel, raw

from cardlink.gp.commands import ISD_AID
from cardlink.gp.scp03 import LEVELS
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.pins import FACTORY_PIN, FACTORY_PUK, encode_pin
from cardlink.piv.tables import PIV_AID, Algorithm, KeyRef
from cardlink.piv.templates import EcPublicKey, decode_public_key, decode_response

PIN, WRONG, OTHER_PIN = encode_pin(FACTORY_PIN), encode_pin("000000"), encode_pin("654321")
PUK = FACTORY_PUK.encode()
DIGEST = hashlib.sha256(b"made up").digest()
LONG = bytes(range(256)) * 8
at_every_level = pytest.mark.parametrize("level", sorted(LEVELS), ids=lambda level: f"{int(level):02X}")


def opened(level: int, option: int = 0x60) -> Host:
    return open_channel(card_with(option=option), level, aid=PIV_AID)


def done(host: Host, command: Command) -> bytes:
    data, sw = host.say(command)
    assert sw == 0x9000
    return data


@at_every_level
@pytest.mark.parametrize("option", [0x60, 0x61, 0x70], ids=["S8", "S16", "i=70"])
def test_every_command_of_a_personalisation_passes(level: int, option: int) -> None:
    host = opened(level, option)
    public = decode_public_key(done(host, piv.generate_key(KeyRef.CARD_AUTH, Algorithm.P_256)), Algorithm.P_256)
    assert isinstance(public, EcPublicKey)
    signature = decode_response(done(host, piv.sign(Algorithm.P_256, KeyRef.CARD_AUTH, DIGEST)))
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public.point)
    point.verify(signature, DIGEST, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    done(host, piv.put_data(0x5FC102, LONG))  # a chain of commands out, and 61xx back
    assert piv.unwrap_object(0x5FC102, done(host, piv.get_data(0x5FC102))) == LONG
    done(host, yubico.import_key(yubico.ImportedKey(Algorithm.P_256, 0x9D, (bytes(31) + b"\x07",))))
    done(host, yubico.move_key(0x9D, 0x82))
    done(host, yubico.set_management_key(Algorithm.AES_256, bytes(32)))
    assert yubico.decode_metadata(done(host, yubico.get_metadata(0x9E)))
    assert yubico.decode_serial(done(host, yubico.get_serial()))
    assert yubico.decode_version(done(host, yubico.get_version()))
    done(host, piv.verify(PIN))
    done(host, yubico.set_pin_retries(4, 5))
    done(host, piv.change_reference_data(KeyRef.PIN, PIN, OTHER_PIN))
    done(host, piv.reset_retry_counter(PUK, PIN))
    done(host, piv.change_reference_data(KeyRef.PUK, PUK, PUK[::-1]))
    done(host, piv.verify(PIN))
    done(host, piv.verify_clear())


@at_every_level
def test_a_warning_carries_its_mac_and_an_error_none_and_neither_ends_the_channel(level: int) -> None:
    host = opened(level)
    for left in (4, 3):
        sent = host.card.transmit(host.wrap(piv.verify(WRONG)).encode())
        assert host.unwrap(sent) == (b"", 0x63C0 | left)  # checks the R-MAC where the level has one
        assert len(sent) == (10 if level & 0x10 else 2)
    assert host.say(piv.verify(b"")) == (b"", 0x63C3)
    for command, expected in (
        (piv.get_data(0x5FC102), 0x6A82),
        (piv.get_data(0x5FC109), 0x6982),
        (piv.sign(Algorithm.P_256, KeyRef.PIV_AUTH, DIGEST), 0x6A86),
        (Command(0x00, 0xEE, 0, 0), 0x6D00),
    ):
        answer = host.card.transmit(host.wrap(command).encode())
        assert answer == expected.to_bytes(2, "big")
    assert host.say(piv.verify(PIN)) == (b"", 0x9000)


@at_every_level
def test_extended_commands_and_answers_pass_whole(level: int) -> None:
    host = opened(level)
    put = piv.put_data(0x5FC102, LONG)
    assert host.say(put._replace(le=None, extended=True)) == (b"", 0x9000)
    answer = host.card.transmit(host.wrap(piv.get_data(0x5FC102)._replace(le=65_536, extended=True)).encode())
    data, sw = host.unwrap(answer)
    assert (piv.unwrap_object(0x5FC102, data), sw) == (LONG, 0x9000)


@at_every_level
def test_a_chain_whose_last_block_is_changed_has_no_effect_and_closes_the_channel(level: int) -> None:
    host = opened(level)
    put = piv.put_data(0x5FC102, bytes(300))
    first = Command(0x10, put.ins, put.p1, put.p2, put.data[:200])
    last = Command(0x00, put.ins, put.p1, put.p2, put.data[200:])
    assert host.unwrap(host.card.transmit(host.wrap(first).encode())) == (b"", 0x9000)
    good = host.wrap(last)
    broken = good._replace(data=good.data[:-1] + bytes((good.data[-1] ^ 1,)))
    assert raw(host.card, broken) == (b"", 0x6988)
    assert raw(host.card, good) == (b"", 0x6982)
    assert raw(host.card, piv.get_data(0x5FC102)) == (b"", 0x6A82)


@at_every_level
def test_the_rest_of_an_answer_is_dropped_by_another_command(level: int) -> None:
    host = opened(level)
    done(host, piv.put_data(0x5FC102, LONG))
    first = host.card.transmit(host.wrap(piv.get_data(0x5FC102)).encode())
    assert first[-2] == 0x61
    done(host, yubico.get_version())
    assert raw(host.card, Command(0x00, 0xC0, 0, 0, b"", 256)) == (b"", 0x6985)
    assert piv.unwrap_object(0x5FC102, done(host, piv.get_data(0x5FC102))) == LONG


@at_every_level
def test_the_channel_stands_for_the_administrator_and_a_channel_to_the_domain_does_not(level: int) -> None:
    host = opened(level)
    done(host, piv.generate_key(0x9A, Algorithm.P_256))
    card = card_with()
    open_channel(card, level, aid=ISD_AID)
    raw(card, piv.select())  # ends that channel
    assert raw(card, piv.generate_key(0x9A, Algorithm.P_256)) == (b"", 0x6982)
    host = open_channel(card, level, aid=PIV_AID)
    raw(card, piv.select())  # the same application again ends it as well
    assert raw(card, host.wrap(piv.generate_key(0x9A, Algorithm.P_256)))[1] == 0x6982
    assert raw(card, piv.generate_key(0x9A, Algorithm.P_256)) == (b"", 0x6982)


def test_what_was_proved_inside_a_channel_falls_with_it() -> None:
    card = card_with()
    host = open_channel(card, aid=PIV_AID)
    done(host, piv.verify(PIN))
    again = open_channel(card, aid=PIV_AID)
    assert again.say(piv.verify(b"")) == (b"", 0x63C5)
