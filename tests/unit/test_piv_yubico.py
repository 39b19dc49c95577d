"""Yubico's extensions: the bytes that yubikit 5 sends, read on the card's side."""

from collections.abc import Callable

import pytest

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816.apdu import Command, decode_command
from cardlink.iso7816.sw import SW
from cardlink.piv import yubico
from cardlink.piv.tables import Algorithm, KeyRef
from cardlink.piv.yubico import (
    ImportedKey,
    KeyMetadata,
    ManagementKey,
    ManagementMetadata,
    Metadata,
    Origin,
    PinPolicy,
    ReferenceMetadata,
    TouchPolicy,
)

AES_KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("command", "raw"),
    [
        (yubico.get_version(), "00FD000000"),
        (yubico.get_serial(), "00F8000000"),
        (yubico.reset(), "00FB0000"),
        (yubico.attest(KeyRef.PIV_AUTH), "00F99A0000"),
        (yubico.set_pin_retries(5, 8), "00FA0508"),
        (yubico.move_key(0x9A, 0x82), "00F6829A"),
        (yubico.move_key(0x9A), "00F6FF9A"),
        (yubico.get_metadata(0x9A), "00F7009A00"),
        (yubico.set_management_key(Algorithm.AES_256, AES_KEY), "00FFFFFF230C9B20" + AES_KEY.hex().upper()),
        (yubico.set_management_key(0x08, AES_KEY[:16], touch=True), "00FFFFFE13089B10" + AES_KEY[:16].hex().upper()),
        (
            yubico.import_key(ImportedKey(0x11, 0x9A, (AES_KEY,), PinPolicy.NEVER, TouchPolicy.CACHED)),
            "00FE119A280620" + AES_KEY.hex().upper() + "AA0101AB0103",
        ),
    ],
)
def test_commands_are_the_bytes_that_the_tools_send(command: Command, raw: str) -> None:
    assert command.encode().hex().upper() == raw


def test_simple_commands_are_read() -> None:
    yubico.parse_bare(yubico.get_version(), "GET VERSION")
    assert yubico.parse_attest(yubico.attest(0x9A)) == 0x9A
    assert yubico.parse_set_pin_retries(yubico.set_pin_retries(5, 8)) == (5, 8)
    assert yubico.parse_move_key(yubico.move_key(0x9A, 0x82)) == (0x9A, 0x82)
    assert yubico.parse_move_key(yubico.move_key(0x9A)) == (0x9A, yubico.NO_KEY)
    assert yubico.parse_get_metadata(yubico.get_metadata(0x96)) == 0x96


def test_answers_of_a_fixed_length() -> None:
    assert yubico.decode_version(bytes((5, 7, 1))) == (5, 7, 1)
    assert yubico.decode_serial(bytes.fromhex("0000002A")) == 42
    for decode in (yubico.decode_version, yubico.decode_serial):
        for answer in (b"", b"\x05\x07", bytes(5)):
            with pytest.raises(Malformed):
                decode(answer)


def test_management_keys_are_read() -> None:
    assert yubico.parse_set_management_key(yubico.set_management_key(0x0C, AES_KEY, touch=True)) == ManagementKey(
        0x0C, AES_KEY, touch=True
    )
    assert AES_KEY.hex() not in repr(ManagementKey(0x0C, AES_KEY))


RSA_PARTS = tuple(bytes((part,)) * 128 for part in range(1, 6))


@pytest.mark.parametrize(
    "key",
    [
        ImportedKey(Algorithm.RSA_2048, 0x9D, RSA_PARTS),
        ImportedKey(Algorithm.RSA_1024, 0x82, tuple(part[:64] for part in RSA_PARTS), 2, 2),
        ImportedKey(Algorithm.P_256, 0x9A, (AES_KEY,)),
        ImportedKey(Algorithm.P_384, 0x9C, (bytes(48),), 3),
        ImportedKey(Algorithm.ED25519, 0x9A, (AES_KEY,)),
        ImportedKey(Algorithm.X25519, 0x9D, (AES_KEY,), 0, 1),
    ],
)
def test_imported_keys_come_back(key: ImportedKey) -> None:
    assert yubico.parse_import_key(yubico.import_key(key)) == key


def test_a_part_that_lost_its_leading_zeros_gets_them_back() -> None:
    assert yubico.parse_import_key(Command(0, 0xFE, 0x11, 0x9A, bytes.fromhex("06027FFF"))).parts == (
        bytes(30) + b"\x7f\xff",
    )


@pytest.mark.parametrize(
    "key",
    [
        ImportedKey(Algorithm.P_256, 0x9A, (AES_KEY, AES_KEY)),
        ImportedKey(Algorithm.P_256, 0x9A, (AES_KEY[:31],)),
        ImportedKey(Algorithm.RSA_2048, 0x9A, RSA_PARTS[:4]),
        ImportedKey(Algorithm.AES_128, 0x9A, (AES_KEY,)),
        ImportedKey(0x99, 0x9A, (AES_KEY,)),
    ],
)
def test_an_impossible_key_is_not_sent(key: ImportedKey) -> None:
    with pytest.raises(Malformed, match="private key"):
        yubico.import_key(key)


def bare(command: Command) -> object:
    yubico.parse_bare(command, "GET VERSION")
    return None


Parser = Callable[[Command], object]
KEY = AES_KEY.hex()


@pytest.mark.parametrize(
    ("parse", "raw", "sw"),
    [
        (bare, "00FD0100", SW.INCORRECT_P1P2),
        (bare, "00FD0001", SW.INCORRECT_P1P2),
        (bare, "00FD000001AA", SW.WRONG_LENGTH),
        (yubico.parse_attest, "00F99A01", SW.INCORRECT_P1P2),
        (yubico.parse_attest, "00F99A0001AA", SW.WRONG_LENGTH),
        (yubico.parse_set_pin_retries, "00FA0003", SW.INCORRECT_P1P2),
        (yubico.parse_set_pin_retries, "00FA0300", SW.INCORRECT_P1P2),
        (yubico.parse_set_pin_retries, "00FA030301AA", SW.WRONG_LENGTH),
        (yubico.parse_move_key, "00F69A9A", SW.INCORRECT_P1P2),
        (yubico.parse_move_key, "00F6829A01AA", SW.WRONG_LENGTH),
        (yubico.parse_get_metadata, "00F7019A", SW.INCORRECT_P1P2),
        (yubico.parse_get_metadata, "00F7009A01AA", SW.WRONG_LENGTH),
        (yubico.parse_set_management_key, "00FFFFFD230C9B20" + KEY, SW.INCORRECT_P1P2),
        (yubico.parse_set_management_key, "00FF00FF230C9B20" + KEY, SW.INCORRECT_P1P2),
        (yubico.parse_set_management_key, "00FFFFFF010C", SW.WRONG_LENGTH),
        (yubico.parse_set_management_key, "00FFFFFF23089B20" + KEY, SW.INCORRECT_DATA),
        (yubico.parse_set_management_key, "00FFFFFF23119B20" + KEY, SW.INCORRECT_DATA),
        (yubico.parse_set_management_key, "00FFFFFF230C9A20" + KEY, SW.INCORRECT_DATA),
        (yubico.parse_import_key, "00FE089A220620" + KEY, SW.INCORRECT_P1P2),
        (yubico.parse_import_key, "00FE999A220620" + KEY, SW.INCORRECT_P1P2),
        (yubico.parse_import_key, "00FE119A220720" + KEY, SW.INCORRECT_DATA),
        (yubico.parse_import_key, "00FE119A230621" + KEY + "00", SW.INCORRECT_DATA),
        (yubico.parse_import_key, "00FE119A020600", SW.INCORRECT_DATA),
        (yubico.parse_import_key, "00FE119A260620" + KEY + "AA020000", SW.INCORRECT_DATA),
        (yubico.parse_import_key, "00FE119A230620" + KEY + "AA", SW.INCORRECT_DATA),
        (yubico.parse_import_key, "00FE119A", SW.INCORRECT_DATA),
        (yubico.parse_import_key, "00FEE09A21071F" + KEY[2:], SW.INCORRECT_DATA),
        (yubico.parse_import_key, "00FEE19D21081F" + KEY[2:], SW.INCORRECT_DATA),
        (yubico.parse_import_key, "00FEE09A220620" + KEY, SW.INCORRECT_DATA),
    ],
)
def test_the_card_names_what_is_wrong(parse: Parser, raw: str, sw: SW) -> None:
    with pytest.raises(CardStatus) as refusal:
        parse(decode_command(bytes.fromhex(raw)))
    assert refusal.value.sw == sw


@pytest.mark.parametrize(
    ("metadata", "raw"),
    [
        (KeyMetadata(0x11, 2, 1, Origin.GENERATED, b"\x86\x00"), "0101110202020103010104028600"),
        (ReferenceMetadata(True, 3, 2), "0101FF05010106020302"),
        (ManagementMetadata(0x0C, 1, False), "01010C02020001050100"),
    ],
)
def test_metadata(metadata: Metadata, raw: str) -> None:
    assert yubico.encode_metadata(metadata).hex().upper() == raw
    assert yubico.decode_metadata(bytes.fromhex(raw)) == metadata


def test_the_metadata_of_9b_of_a_card_that_knew_tdes_alone() -> None:
    assert yubico.decode_metadata(bytes.fromhex("02020001050101")) == ManagementMetadata(Algorithm.TDES_3KEY, 1, True)


def test_a_number_gets_its_leading_zeros_back() -> None:
    parsed = yubico.parse_import_key(decode_command(bytes.fromhex("00FE119A030601AB")))
    assert parsed.parts == (bytes(31) + b"\xab",)


@pytest.mark.parametrize(
    "raw", ["", "010111", "0101FF0501010601" + "03", "0102110005010106020302", "01011102020201030101", "0101110101"]
)
def test_broken_metadata_is_malformed(raw: str) -> None:
    with pytest.raises(Malformed):
        yubico.decode_metadata(bytes.fromhex(raw))
