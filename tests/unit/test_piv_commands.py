"""The PIV commands: what the host builds is what the standard has; the card reads it back or names what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816.apdu import Command, decode_command
from cardlink.iso7816.sw import SW
from cardlink.piv import commands
from cardlink.piv.objects import Discovery, encode_discovery
from cardlink.piv.tables import CONTAINERS, FINGERPRINTS, NIST_RID, PIV_AID, Algorithm, KeyRef
from cardlink.piv.templates import Authentication, KeyRequest

ROWS = json.loads((Path(__file__).parent.parent / "vectors/piv/apdus.json").read_text(encoding="utf-8"))["commands"]
VECTORS = {row["name"]: bytes.fromhex(row["hex"]) for row in ROWS}
PIN, PIN_2, PUK = b"123456\xff\xff", b"87654321", b"12345678"
BLOCK, BLOCK_2 = bytes(range(16)), bytes(range(16, 32))
DIGEST = bytes(range(32))

BUILT = {
    "select": commands.select(),
    "select prefix": commands.select(NIST_RID),
    "get chuid": commands.get_data(0x5FC102),
    "get discovery": commands.get_data(0x7E),
    "get bit group": commands.get_data(0x7F61),
    "get card credential": commands.get_data(0x5FFF20),
    "verify 123456": commands.verify(PIN),
    "verify state": commands.verify(b""),
    "verify clear": commands.verify_clear(),
    "change pin": commands.change_reference_data(KeyRef.PIN, PIN, PIN_2),
    "reset retry counter": commands.reset_retry_counter(PUK, PIN),
    "external authenticate challenge": commands.general_authenticate(8, 0x9B, Authentication(challenge=b"")),
    "external authenticate response": commands.general_authenticate(8, 0x9B, Authentication(response=BLOCK)),
    "mutual witness": commands.general_authenticate(0x0C, 0x9B, Authentication(witness=b"")),
    "mutual answer": commands.general_authenticate(
        0x0C, 0x9B, Authentication(witness=BLOCK, challenge=BLOCK_2, response=b"")
    ),
    "sign with 9E": commands.sign(Algorithm.P_256, KeyRef.CARD_AUTH, DIGEST),
    "put discovery": commands.put_data(0x7E, encode_discovery(Discovery())),
    "empty the fingerprints": commands.put_data(FINGERPRINTS.tag, b""),
    "generate 9A P-256": commands.generate_key(KeyRef.PIV_AUTH, Algorithm.P_256),
}


def test_every_vector_is_built() -> None:
    assert BUILT.keys() == VECTORS.keys()


@pytest.mark.parametrize("name", VECTORS)
def test_commands_are_the_bytes_of_the_standard(name: str) -> None:
    assert BUILT[name].encode().hex().upper() == VECTORS[name].hex().upper()
    assert decode_command(VECTORS[name]) == BUILT[name]


def test_what_a_door_says_is_ready_made() -> None:
    assert VECTORS["select"] == commands.SELECT_PIV_APDU
    assert VECTORS["get chuid"] == commands.GET_CHUID_APDU
    assert VECTORS["get card credential"] == commands.GET_CARD_CREDENTIAL_APDU
    assert commands.get_data(0x5FC101).encode() == commands.GET_CERT_CARD_AUTH_APDU
    assert commands.sign_with_card_key_apdu(DIGEST) == VECTORS["sign with 9E"]


@pytest.mark.parametrize("size", [0, 31, 33])
def test_the_ready_made_signature_wants_a_digest(size: int) -> None:
    with pytest.raises(Malformed, match=f"got {size}"):
        commands.sign_with_card_key_apdu(bytes(size))


def test_select_is_read() -> None:
    assert commands.parse_select(BUILT["select"]) == PIV_AID
    assert commands.parse_select(Command(0, 0xA4, 4, 0)) == b""


@pytest.mark.parametrize("tag", CONTAINERS)
def test_every_container_is_asked_for_and_written(tag: int) -> None:
    assert commands.parse_get_data(commands.get_data(tag)) == tag
    content = bytes.fromhex("4F0BA0000003080000100001005F2F024000")
    assert commands.parse_put_data(commands.put_data(tag, content)) == (tag, content)
    assert commands.unwrap_object(tag, commands.wrap_object(tag, content)) == content


def test_objects_travel_in_53_but_two_do_not() -> None:
    assert commands.wrap_object(0x5FC102, b"\xaa").hex() == "5301aa"
    assert commands.wrap_object(0x7E, b"\xaa").hex() == "7e01aa"
    assert commands.wrap_object(0x7F61, b"\xaa").hex() == "7f6101aa"
    assert commands.unwrap_object(0x5FC103, b"\x53\x00") == b""
    with pytest.raises(Malformed, match="want tag 53, got 7E"):
        commands.unwrap_object(0x5FC102, b"\x7e\x00")


def test_verify_is_read_in_its_three_forms() -> None:
    assert commands.parse_verify(commands.verify(PIN)) == commands.Verify(0x80, PIN)
    assert commands.parse_verify(commands.verify(b"", KeyRef.PAIRING_CODE)) == commands.Verify(0x98)
    assert commands.parse_verify(commands.verify_clear()) == commands.Verify(0x80, clear=True)


def test_reference_changes_are_read() -> None:
    assert commands.parse_change_reference_data(BUILT["change pin"]) == commands.ChangeReference(0x80, PIN, PIN_2)
    assert commands.parse_reset_retry_counter(BUILT["reset retry counter"]) == commands.ResetRetry(PUK, PIN)


def test_parsed_secrets_do_not_show() -> None:
    for parsed in (
        commands.parse_verify(commands.verify(PIN)),
        commands.parse_change_reference_data(BUILT["change pin"]),
        commands.parse_reset_retry_counter(BUILT["reset retry counter"]),
    ):
        assert "123456" not in repr(parsed)


def test_general_authenticate_is_read() -> None:
    assert commands.parse_general_authenticate(BUILT["sign with 9E"]) == commands.GeneralAuthenticate(
        0x11, 0x9E, Authentication(challenge=DIGEST, response=b"")
    )
    agreed = commands.parse_general_authenticate(commands.agree(0x11, 0x9D, b"\x04" + bytes(64)))
    assert agreed.template == Authentication(exponentiation=b"\x04" + bytes(64), response=b"")


def test_key_generation_is_read_with_its_policies() -> None:
    built = commands.generate_key(KeyRef.SIGNATURE, Algorithm.P_384, pin_policy=3, touch_policy=1)
    assert commands.parse_generate_key(built) == (0x9C, KeyRequest(0x14, 3, 1))


Parser = Callable[[Command], object]
SELECT, GET, VERIFY = commands.parse_select, commands.parse_get_data, commands.parse_verify
CHANGE, RESET = commands.parse_change_reference_data, commands.parse_reset_retry_counter
AUTH, PUT, MAKE = commands.parse_general_authenticate, commands.parse_put_data, commands.parse_generate_key


@pytest.mark.parametrize(
    ("parse", "raw", "sw"),
    [
        (SELECT, "00A4000002 3F00", SW.INCORRECT_P1P2),
        (SELECT, "00A4040C05 A000000308", SW.INCORRECT_P1P2),
        (SELECT, "00A4040011" + "A0" * 17, SW.INCORRECT_DATA),
        (GET, "00CB3FFE055C035FC102", SW.INCORRECT_P1P2),
        (GET, "00CB0000055C035FC102", SW.INCORRECT_P1P2),
        (GET, "00CB3FFF", SW.INCORRECT_DATA),
        (GET, "00CB3FFF025C00", SW.INCORRECT_DATA),
        (GET, "00CB3FFF055D035FC102", SW.INCORRECT_DATA),
        (GET, "00CB3FFF055C045FC102", SW.INCORRECT_DATA),
        (GET, "00CB3FFF065C035FC10200", SW.INCORRECT_DATA),
        (GET, "00CB3FFF065C045FC10200", SW.INCORRECT_DATA),
        (VERIFY, "00200180", SW.INCORRECT_P1P2),
        (VERIFY, "0020FF8008313233343536FFFF", SW.INCORRECT_DATA),
        (CHANGE, "0024018010" + "31" * 16, SW.INCORRECT_P1P2),
        (CHANGE, "0024009810" + "31" * 16, SW.REFERENCE_NOT_FOUND),
        (CHANGE, "002400800F" + "31" * 15, SW.INCORRECT_DATA),
        (CHANGE, "00240080", SW.INCORRECT_DATA),
        (RESET, "002C018010" + "31" * 16, SW.INCORRECT_P1P2),
        (RESET, "002C008110" + "31" * 16, SW.REFERENCE_NOT_FOUND),
        (RESET, "002C008011" + "31" * 17, SW.INCORRECT_DATA),
        (AUTH, "0087119E", SW.INCORRECT_DATA),
        (AUTH, "0087119E027C00", SW.INCORRECT_DATA),
        (AUTH, "0087119E047C028300", SW.INCORRECT_DATA),
        (AUTH, "0087119E057C02820000", SW.INCORRECT_DATA),
        (PUT, "00DB3FFE075C035FC1035300", SW.INCORRECT_P1P2),
        (PUT, "00DB3FFF", SW.INCORRECT_DATA),
        (PUT, "00DB3FFF055C035FC103", SW.INCORRECT_DATA),
        (PUT, "00DB3FFF075C035FC1035400", SW.INCORRECT_DATA),
        (PUT, "00DB3FFF085C035FC103530000", SW.INCORRECT_DATA),
        (PUT, "00DB3FFF045C005300", SW.INCORRECT_DATA),
        (PUT, "00DB3FFF055C017E5300", SW.INCORRECT_DATA),
        (PUT, "00DB3FFF065C027F615300", SW.INCORRECT_DATA),
        (PUT, "00DB3FFF065C0253535300", SW.INCORRECT_DATA),
        (PUT, "00DB3FFF037E0000", SW.INCORRECT_DATA),
        (PUT, "00DB3FFF025300", SW.INCORRECT_DATA),
        (MAKE, "0047019A05AC03800111", SW.INCORRECT_P1P2),
        (MAKE, "0047009A", SW.INCORRECT_DATA),
        (MAKE, "0047009A02AC00", SW.INCORRECT_DATA),
    ],
)
def test_the_card_names_what_is_wrong(parse: Parser, raw: str, sw: SW) -> None:
    with pytest.raises(CardStatus) as refusal:
        parse(decode_command(bytes.fromhex(raw)))
    assert refusal.value.sw == sw


@given(
    st.sampled_from([SELECT, GET, VERIFY, CHANGE, RESET, AUTH, PUT, MAKE]), st.binary(max_size=60), st.integers(0, 255)
)
def test_no_data_is_more_than_a_status_word(parse: Parser, data: bytes, p: int) -> None:
    for p1, p2 in ((0x3F, 0xFF), (0x00, 0x80), (0x04, 0x00), (p, p)):
        try:
            parse(Command(0, 0, p1, p2, data))
        except CardStatus as refusal:
            assert isinstance(refusal.sw, SW)  # noqa: PT017 - both outcomes are right, the kind of refusal is the point
