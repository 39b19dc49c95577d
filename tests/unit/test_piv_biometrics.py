"""The facial image container: CBEFF header, face record, signature."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest

from cardlink.errors import Malformed
from cardlink.piv.biometrics import (
    EMPTY_BIOMETRIC,
    HEADER_BYTES,
    QUALITY_NOT_SET,
    decode_cbeff,
    decode_face,
    decode_facial_image,
    encode_cbeff,
    encode_face,
    encode_facial_image,
)
from cardlink.piv.fascn import NON_FEDERAL, encode_fascn

JPEG = b"\xff\xd8\xff\xe0 made up \xff\xd9"
FASCN = encode_fascn(NON_FEDERAL)
CREATED = datetime(2026, 3, 1, 8, 30, 5, tzinfo=UTC)
UNTIL = datetime(2031, 6, 30, 23, 59, 59, tzinfo=UTC)
FACE = encode_face(JPEG, 300, 400)


def write(sign=lambda signed: b"S" * 70) -> bytes:
    return encode_cbeff(FACE, sign, created=CREATED, valid_until=UNTIL, creator="H38", fascn=FASCN)


GOOD = write()


def test_the_header_has_88_bytes_in_the_order_of_the_standard() -> None:
    # SP 800-76-2 Table 14
    assert GOOD[:HEADER_BYTES] == (
        bytes.fromhex("030D")
        + len(FACE).to_bytes(4, "big")
        + bytes.fromhex("0046 001B 0501")
        + bytes.fromhex("20260301083005") + b"Z"
        + bytes.fromhex("20260301083005") + b"Z"
        + bytes.fromhex("20310630235959") + b"Z"
        + bytes.fromhex("000002 20 FE")
        + b"H38".ljust(18, b"\x00")
        + FASCN
        + bytes(4)
    )  # fmt: skip


def test_a_record_is_read_back() -> None:
    cbeff = decode_facial_image(encode_facial_image(GOOD))
    assert (cbeff.created, cbeff.valid_from, cbeff.valid_until) == (CREATED, CREATED, UNTIL)
    assert (cbeff.creator, cbeff.fascn, cbeff.record, cbeff.signature) == ("H38", FASCN, FACE, b"S" * 70)
    assert cbeff.quality == QUALITY_NOT_SET
    assert cbeff.signed_part == GOOD[:-70]
    assert decode_face(cbeff.record) == JPEG


def test_times_are_written_in_utc() -> None:
    hanoi = CREATED.astimezone(timezone(timedelta(hours=7)))
    raw = encode_cbeff(FACE, lambda _: b"", created=hanoi, valid_until=UNTIL, creator="H38", fascn=FASCN)
    assert decode_cbeff(raw).created == CREATED


def test_signing_goes_on_until_the_length_is_the_one_in_the_header() -> None:
    sizes = itertools.chain([70, 71, 72, 70, 70], itertools.repeat(1))
    signed: list[bytes] = []

    def sign(part: bytes) -> bytes:
        signed.append(part)
        return b"S" * next(sizes)

    cbeff = decode_cbeff(write(sign))
    assert len(cbeff.signature) == 70
    assert signed[-1] == cbeff.signed_part
    assert len(signed) == 5


def test_a_signature_whose_length_never_settles_is_given_up() -> None:
    sizes = itertools.count(60)
    with pytest.raises(Malformed, match="did not settle"):
        write(lambda _: b"S" * next(sizes))


@pytest.mark.parametrize(("creator", "fascn"), [("", FASCN), ("x" * 18, FASCN), ("Sở", FASCN), ("H38", FASCN[:-1])])
def test_a_header_that_does_not_fit_is_not_written(creator: str, fascn: bytes) -> None:
    with pytest.raises(Malformed, match="CBEFF header"):
        encode_cbeff(FACE, lambda _: b"", created=CREATED, valid_until=UNTIL, creator=creator, fascn=fascn)


def changed(at: int, value: bytes) -> bytes:
    return GOOD[:at] + value + GOOD[at + len(value) :]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "want 88 bytes"),
        (GOOD[:87], "want 88 bytes"),
        (changed(0, b"\x02"), "version"),
        (changed(1, b"\x00"), "security options"),
        (changed(5, b"\x00"), "announces"),
        (changed(7, b"\x47"), "announces"),
        (GOOD + b"\x00", "announces"),
        (GOOD[:-1], "announces"),
        (changed(9, b"\x1a"), "not a raw face"),
        (changed(10, b"\x02\x01"), "not a raw face"),
        (changed(36, b"\x00\x00\x08"), "not a raw face"),
        (changed(39, b"\x80"), "not a raw face"),
        (changed(40, b"\x65"), "quality"),
        (changed(40, b"\xfd"), "quality"),
        (changed(84, b"\x01"), "reserved"),
        (changed(41, b"H\x008"), "creator"),
        (changed(41, b"\xc3"), "creator"),
        (changed(12, b"\x20\x26\x02\x30"), "CBEFF time"),
        (changed(19, b"X"), "CBEFF time"),
        (changed(20, b"\xaa"), "CBEFF time"),
        (changed(33, b"\x61"), "CBEFF time"),
    ],
)
def test_a_broken_record_is_malformed(raw: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_cbeff(raw)


@pytest.mark.parametrize(("jpeg", "width", "height"), [(b"GIF89a", 1, 1), (JPEG, 0, 1), (JPEG, 1, 65_536)])
def test_only_a_jpeg_with_a_size_becomes_a_face_record(jpeg: bytes, width: int, height: int) -> None:
    with pytest.raises(Malformed, match="face record"):
        encode_face(jpeg, width, height)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        FACE[:45],
        b"FAX" + FACE[3:],
        FACE + b"\x00",
        FACE[:-1],
        FACE[:13] + b"\x02" + FACE[14:],
        FACE[:17] + b"\x00" + FACE[18:],
        FACE[:18] + b"\xff\xff" + FACE[20:],
        encode_face(JPEG, 1, 1)[:46].replace(len(FACE).to_bytes(4, "big"), (46).to_bytes(4, "big")),
    ],
)
def test_a_broken_face_record_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="face record"):
        decode_face(raw)


def test_an_empty_biometric_container_is_read_as_malformed_not_as_a_face() -> None:
    assert EMPTY_BIOMETRIC.hex().upper() == "BC00FE00"
    with pytest.raises(Malformed, match="want 88 bytes"):
        decode_facial_image(EMPTY_BIOMETRIC)
