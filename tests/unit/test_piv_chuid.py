"""The CHUID: written, read, and the part that is signed."""

from datetime import date
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.chuid import (
    decode_chuid,
    decode_expiry,
    encode_chuid,
    encode_expiry,
    encode_unsigned_chuid,
    signed_part,
)
from cardlink.piv.fascn import NON_FEDERAL, encode_fascn

GUID = UUID("6f1d9dbe-3c5b-4b0e-9d5c-1a2b3c4d5e6f")
HOLDER = UUID("0b8f6a52-5a56-4d3c-8f24-9a1cbb2d7e10")
EXPIRES = date(2031, 6, 30)
SIGNATURE = bytes.fromhex("3003020105")
# written by yubikit 5 from the same values
BY_YUBIKIT = bytes.fromhex(
    "3019d4e739da739ced39ce739d8360d821084210842108421087f334106f1d9dbe3c5b4b0e9d5c1a2b3c4d5e6f"
    "350832303331303633303e053003020105fe00"
)


def test_a_chuid_is_what_another_program_writes() -> None:
    assert encode_chuid(NON_FEDERAL, GUID, EXPIRES, SIGNATURE) == BY_YUBIKIT
    chuid = decode_chuid(BY_YUBIKIT)
    assert (chuid.fascn, chuid.guid, chuid.expires, chuid.signature) == (NON_FEDERAL, GUID, EXPIRES, SIGNATURE)
    assert chuid.cardholder is None
    assert chuid.raw == BY_YUBIKIT


def test_the_signature_covers_all_but_itself_and_fe_too() -> None:
    assert decode_chuid(BY_YUBIKIT).signed_part == BY_YUBIKIT.replace(bytes.fromhex("3e053003020105"), b"")
    assert signed_part(BY_YUBIKIT).endswith(b"\xfe\x00")


@pytest.mark.parametrize("cardholder", [None, HOLDER])
def test_the_unsigned_form_is_the_signed_part(cardholder: UUID | None) -> None:
    whole = encode_chuid(NON_FEDERAL, GUID, EXPIRES, SIGNATURE, cardholder)
    assert signed_part(whole) == encode_unsigned_chuid(NON_FEDERAL, GUID, EXPIRES, cardholder)
    assert decode_chuid(whole).cardholder == cardholder


def test_fields_of_older_cards_are_read_and_stay_under_the_signature() -> None:
    old = (
        tlv.encode(0xEE, b"\x00\x42")
        + tlv.encode(0x30, encode_fascn(NON_FEDERAL))
        + tlv.encode(0x32, b"1234")
        + tlv.encode(0x33, bytes(9))
        + tlv.encode(0x34, GUID.bytes)
        + tlv.encode(0x35, b"20310630")
        + tlv.encode(0x3D, b"\x01")
        + tlv.encode(0x3E, SIGNATURE)
        + b"\xfe\x00"
    )
    assert decode_chuid(old).signed_part == old.replace(tlv.encode(0x3E, SIGNATURE), b"")


@given(st.uuids(), st.dates(), st.binary(max_size=2000), st.none() | st.uuids())
def test_every_chuid_comes_back(guid: UUID, expires: date, signature: bytes, cardholder: UUID | None) -> None:
    chuid = decode_chuid(encode_chuid(NON_FEDERAL, guid, expires, signature, cardholder))
    assert (chuid.guid, chuid.expires, chuid.signature, chuid.cardholder) == (guid, expires, signature, cardholder)


def without(tag: int) -> bytes:
    return tlv.encode_all(pair for pair in tlv.parse(BY_YUBIKIT) if pair[0] != tag)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (without(0x30), "30 is missing"),
        (without(0x34), "34 is missing"),
        (without(0x35), "35 is missing"),
        (without(0x3E), "3E is missing"),
        (without(0xFE), "FE is missing"),
        (b"", "30 is missing"),
        (BY_YUBIKIT + b"\xfe\x00", "FE stands twice"),
        (BY_YUBIKIT + b"\x00", "00 is no tag"),
        (BY_YUBIKIT[:-1], "missing"),
        (BY_YUBIKIT[:-2] + b"\xfe\x01\x00", "FE has a value"),
        (b"\xfe\x00" + BY_YUBIKIT[:-2], "out of order"),
        (BY_YUBIKIT[-2:] + BY_YUBIKIT[:-2], "out of order"),
        (b"\x77\x00" + BY_YUBIKIT, "77 does not belong"),
        (BY_YUBIKIT.replace(b"\x34\x10" + GUID.bytes, b"\x34\x0f" + GUID.bytes[:15]), "GUID: want 16 bytes, got 15"),
        (BY_YUBIKIT.replace(b"\x3e\x05", b"\x36\x01\x00\x3e\x05"), "cardholder UUID: want 16 bytes, got 1"),
        (BY_YUBIKIT.replace(b"20310630", b"20310631"), "CHUID expiry"),
        (BY_YUBIKIT.replace(bytes.fromhex("d4e739"), bytes.fromhex("d4e738")), "FASC-N"),
    ],
)
def test_a_broken_chuid_is_malformed(raw: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_chuid(raw)


@pytest.mark.parametrize("value", [b"", b"2030010", b"203001011", b"2030010A", b"20300230", b"00000101", b"+2030101"])
def test_a_broken_expiry_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed, match="CHUID expiry"):
        decode_expiry(value)


def test_an_expiry_has_four_digits_of_year() -> None:
    assert encode_expiry(date(476, 9, 4)) == b"04760904"
