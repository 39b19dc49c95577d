"""The QR codes (F5): plain and signed text from the same fields."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_vectors import at, load, public_key, raw, rows, sign_with, trust_of

from cardlink.errors import Malformed
from cardlink.statements.identifier import Scheme, build_identifier
from cardlink.statements.qr import (
    MAX_PLAIN_CHARACTERS,
    MAX_SIGNED_BITS,
    QrFields,
    QrTexts,
    parse_fragment,
    plain_text,
    qr_texts,
    read_qr,
    signed_bits,
    signed_text,
    verify_qr,
)
from cardlink.statements.refusal import Refused
from cardlink.statements.trust import Signer

FILE = load("qr")
FACE = read_qr(bytes.fromhex(FILE["good"][0]["raw"])).value


def _texts(face: QrFields, url: str = "https://themo.vn/v") -> QrTexts:
    return qr_texts(face, "01.002", url, public_key("qr").kid(), sign_with("qr"))


@rows("qr", "good")
def test_a_scanned_text_leads_to_a_verified_face(row: dict[str, str]) -> None:
    url, fragment = row["text"].split("#")
    assert url == FILE["url"]
    assert parse_fragment(fragment) == raw(row)
    received = read_qr(raw(row))
    assert isinstance(verify_qr(received, trust_of(FILE), at(FILE)), Signer)
    assert received.value.identifier.citizen_number == "001190012345"


@rows("qr", "bad")
def test_a_scanned_face_is_refused_for_its_reason(row: dict[str, str]) -> None:
    if row["refusal"] == "malformed-statement":
        with pytest.raises(Malformed, match=row["why"]):
            read_qr(raw(row))
        return
    refused = verify_qr(read_qr(raw(row)), trust_of(FILE), at(FILE))
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]


@pytest.mark.parametrize("name", FILE["bad_fragments"])
def test_a_broken_fragment_is_malformed(name: str) -> None:
    with pytest.raises(Malformed, match="QR"):
        parse_fragment(FILE["bad_fragments"][name])


def test_both_texts_say_the_same() -> None:
    made = _texts(FACE)
    assert made.plain == "H49.01.02.001190012345.CC|Đặng Thị Bình Yên|30111990|Nữ|Chuyên viên chính"
    assert len(made.plain) <= MAX_PLAIN_CHARACTERS
    assert read_qr(made.statement).value == FACE
    assert made.signed == signed_text("https://themo.vn/v", made.statement)


def test_scheme_2_keeps_the_position_code() -> None:
    face = replace(FACE, identifier=build_identifier(Scheme.POSITION, "H49.01.02", "001190012345", "01.002"))
    assert read_qr(_texts(face).statement).value == face


def test_a_long_title_gives_way_to_its_code() -> None:
    face = replace(FACE, title="Phó Trưởng phòng phụ trách phòng Kiểm soát thủ tục hành chính và Chuyển đổi số tỉnh")
    made = _texts(face)
    assert made.plain.endswith("|01.002")
    assert read_qr(made.statement).value.title == "01.002"


def test_a_face_that_fits_nowhere_is_malformed() -> None:
    with pytest.raises(Malformed, match="plain text"):
        _texts(replace(FACE, full_name="Đ" * 100))
    with pytest.raises(Malformed, match="12-M"):
        _texts(FACE, "https://" + "a" * 120)


def test_a_separator_in_a_field_is_malformed() -> None:
    with pytest.raises(Malformed, match="separator"):
        plain_text(replace(FACE, title="a|b"))


@pytest.mark.parametrize("url", ["https://themo.vn/v#x", "https://cán-bộ.vn/v"])
def test_a_url_that_would_break_the_text_is_malformed(url: str) -> None:
    with pytest.raises(Malformed, match="verify URL"):
        signed_text(url, b"")


@given(st.binary(max_size=300))
def test_every_statement_survives_the_digits(statement: bytes) -> None:
    assert parse_fragment(signed_text("u", statement).split("#")[1]) == statement


def test_189_bytes_and_a_url_of_21_with_its_hash_fit_version_10() -> None:
    """The size that docs/formats.md names; version 10-M has 216 data codewords (ISO/IEC 18004, table 7)."""
    assert signed_bits("u" * 20, b"\xff" * 189) <= 216 * 8 < signed_bits("u" * 20, b"\xff" * 190)
    assert signed_bits("https://themo.vn/v", _texts(FACE).statement) <= MAX_SIGNED_BITS
