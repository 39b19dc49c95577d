"""Certificates, capabilities, printed information, discovery, key history, pairing code."""

import gzip
import zlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.objects import (
    CERTIFICATE_MAX,
    CardCapability,
    CertificateObject,
    Discovery,
    KeyHistory,
    PrintedInformation,
    decode_ccc,
    decode_certificate,
    decode_discovery,
    decode_key_history,
    decode_pairing_code_reference,
    decode_printed,
    encode_ccc,
    encode_certificate,
    encode_discovery,
    encode_key_history,
    encode_pairing_code_reference,
    encode_printed,
)

DER = bytes.fromhex("3003020105")  # stands for a certificate: the container does not look inside


def test_a_certificate_container_is_70_71_fe() -> None:
    assert encode_certificate(DER).hex() == "70053003020105710100fe00"
    assert decode_certificate(encode_certificate(DER)) == CertificateObject(DER)


@given(st.binary(min_size=1, max_size=3000))
def test_compressed_certificates_come_back(certificate: bytes) -> None:
    content = encode_certificate(certificate, compressed=True)
    assert decode_certificate(content) == CertificateObject(certificate, compressed=True)
    assert gzip.decompress(tlv.find(content, 0x70)) == certificate


def test_the_intermediate_certificate_stands_beside_the_signer() -> None:
    content = encode_certificate(DER, intermediate=b"\x5f\x29\x01\x80")
    assert content.hex() == "700530030201057101007f21045f290180fe00"
    assert decode_certificate(content).intermediate == b"\x5f\x29\x01\x80"


def test_older_cards_may_have_an_mscuid() -> None:
    assert decode_certificate(bytes.fromhex("700530030201057101007202AABBfe00")).mscuid == b"\xaa\xbb"


def packed(stored: bytes) -> bytes:
    return tlv.encode(0x70, stored) + b"\x71\x01\x01\xfe\x00"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bytes.fromhex("70053003020105710102fe00"), "CertInfo is 02"),
        (bytes.fromhex("70053003020105710180fe00"), "CertInfo is 80"),
        (bytes.fromhex("7005300302010571020000fe00"), "CertInfo is 0000"),
        (bytes.fromhex("70053003020105fe00"), "71 is missing"),
        (bytes.fromhex("70053003020105710100"), "FE is missing"),
        (bytes.fromhex("7000710100fe00"), "empty"),
        (bytes.fromhex("71010070053003020105fe00"), "out of order"),
        (bytes.fromhex("70053003020105710100fe00aa00"), "AA does not belong"),
        (bytes.fromhex("710100fe00"), "70 is missing"),
        (b"", "70 is missing"),
        (packed(b"no gzip"), "gzip"),
        (packed(zlib.compress(DER)), "gzip"),
        (packed(gzip.compress(DER, mtime=0)[:-1]), "gzip: no end"),
        (packed(gzip.compress(DER, mtime=0) + b"\x00"), "bytes after it"),
        (packed(gzip.compress(bytes(CERTIFICATE_MAX + 1), mtime=0)), "gzip: no end within"),
        (packed(gzip.compress(bytes(10_000_000), mtime=0)), "gzip: no end within"),
        (packed(gzip.compress(b"", mtime=0)), "empty"),
    ],
)
def test_a_broken_certificate_container_is_malformed(content: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_certificate(content)


NUMBER = bytes(range(14))
# as ykman writes it, with another number
CCC_HEX = "f015a000000116ff02000102030405060708090a0b0c0df10121f20121f300f40100f50110f600f700fa00fb00fc00fd00fe00"


def test_a_ccc_is_what_another_program_writes() -> None:
    assert encode_ccc(NUMBER).hex() == CCC_HEX
    assert decode_ccc(bytes.fromhex(CCC_HEX)) == CardCapability(0xFF, 0x02, NUMBER, 0x10)


def test_a_ccc_of_an_older_card_is_read() -> None:
    assert decode_ccc(bytes.fromhex(CCC_HEX.replace("fd00fe00", "fd00e300b400fe00"))).card_number == NUMBER


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (CCC_HEX.replace("f10121", ""), "F1 is missing"),
        (CCC_HEX.replace("f015a0", "f014"), "21 bytes, got 20"),
        ("f002a000" + CCC_HEX[46:], "21 bytes, got 2"),
        (CCC_HEX.replace("f50110", "f5021010"), "data model"),
    ],
)
def test_a_broken_ccc_is_malformed(content: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_ccc(bytes.fromhex(content))


@pytest.mark.parametrize("number", [b"", bytes(13), bytes(15)])
def test_a_card_number_has_14_bytes(number: bytes) -> None:
    with pytest.raises(Malformed, match="14 bytes"):
        encode_ccc(number)


PRINTED = PrintedInformation("NGUYEN THI HOA", "SO NOI VU", date(2031, 6, 30), "0000000042", "H38")


def test_printed_information_in_the_order_of_the_standard() -> None:
    content = encode_printed(PRINTED)
    assert [tag for tag, _ in tlv.parse(content)] == [0x01, 0x02, 0x04, 0x05, 0x06, 0xFE]
    assert tlv.find(content, 0x04) == b"2031JUN30"
    assert decode_printed(content) == PRINTED


def test_printed_information_with_its_optional_lines() -> None:
    printed = PrintedInformation("A", "B", date(2030, 12, 1), "C", "D", "E", "F")
    assert decode_printed(encode_printed(printed)) == printed


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        (PrintedInformation("Nguyễn Thị Hoa", "", date(2031, 1, 1), "", ""), "name is not printable ASCII"),
        (PrintedInformation("A\nB", "", date(2031, 1, 1), "", ""), "name is not printable"),
        (PrintedInformation("A" * 126, "", date(2031, 1, 1), "", ""), "126 characters, at most 125"),
        (PrintedInformation("A", "B" * 21, date(2031, 1, 1), "", ""), "affiliation has 21"),
        (PrintedInformation("A", "", date(2031, 1, 1), "C" * 21, ""), "serial has 21"),
        (PrintedInformation("A", "", date(2031, 1, 1), "", "D" * 16), "issuer has 16"),
        (PrintedInformation("A", "", date(2031, 1, 1), "", "", "E" * 21), "line_1 has 21"),
    ],
)
def test_text_that_does_not_fit_is_not_written(printed: PrintedInformation, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        encode_printed(printed)


GOOD_PRINTED = encode_printed(PRINTED)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (GOOD_PRINTED.replace(b"2031JUN30", b"2031JUN31"), "expiration date"),
        (GOOD_PRINTED.replace(b"2031JUN30", b"2031jun30"), "expiration date"),
        (GOOD_PRINTED.replace(b"2031JUN30", b"203 JUN30"), "expiration date"),
        (GOOD_PRINTED.replace(b"\x04\x092031JUN30", b"\x04\x0820310630"), "expiration date"),
        (GOOD_PRINTED.replace(b"2031JUN30", b"2031JUN\xb20"), "expiration date"),
        (GOOD_PRINTED.replace(b"HOA", b"H\xd2A"), "name: want"),
        (b"\x01\x7f" + b"A" * 127 + GOOD_PRINTED[16:], "name: want at most 125"),
        (GOOD_PRINTED[:-2], "FE is missing"),
        (GOOD_PRINTED[16:], "1 is missing"),
    ],
)
def test_broken_printed_information_is_malformed(content: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_printed(content)


def test_the_discovery_object_of_the_standard() -> None:
    # SP 800-73pt1-5 §3.3.2: 7E 12 {4F 0B AID, 5F2F 02 40 00}
    assert encode_discovery(Discovery()).hex().upper() == "4F0BA0000003080000100001005F2F024000"
    discovery = decode_discovery(encode_discovery(Discovery(0x4C)))
    assert discovery.has_vci
    assert not discovery.needs_pairing_code
    assert decode_discovery(encode_discovery(Discovery(0x48))).needs_pairing_code
    assert not Discovery(0x40).has_vci


@pytest.mark.parametrize("policy", range(256))
def test_twelve_pin_usage_policies_are_allowed(policy: int) -> None:
    allowed = policy in (0x40, 0x48, 0x4C, 0x50, 0x58, 0x5C, 0x60, 0x68, 0x6C, 0x70, 0x78, 0x7C)
    for preference in (0x00, 0x10, 0x20, 0x30):
        content = bytes.fromhex("4F0BA0000003080000100001005F2F02") + bytes((policy, preference))
        if allowed and preference in ((0x10, 0x20) if policy & 0x20 else (0x00,)):
            assert decode_discovery(content) == Discovery(policy, preference)
        else:
            with pytest.raises(Malformed, match="PIN usage policy"):
                decode_discovery(content)
            with pytest.raises(Malformed, match="PIN usage policy"):
                encode_discovery(Discovery(policy, preference))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("4F0BA000000308000010000100", "5F2F is missing"),
        ("5F2F024000", "4F is missing"),
        ("4F0BA0000003080000100001005F2F0140", "two bytes"),
        ("5F2F0240004F0BA000000308000010000100", "out of order"),
    ],
)
def test_a_broken_discovery_object_is_malformed(content: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_discovery(bytes.fromhex(content))


@pytest.mark.parametrize(
    ("history", "content"),
    [
        (KeyHistory(), "C10100C20100FE00"),
        (KeyHistory(3), "C10103C20100FE00"),
        (KeyHistory(1, 2, "http://a.vn/x"), "C10101C20102F30D687474703A2F2F612E766E2F78FE00"),
    ],
)
def test_key_history(history: KeyHistory, content: str) -> None:
    assert encode_key_history(history).hex().upper() == content
    assert decode_key_history(bytes.fromhex(content)) == history


def test_an_empty_url_counts_as_none() -> None:
    assert decode_key_history(bytes.fromhex("C10103C20100F300FE00")) == KeyHistory(3)


@pytest.mark.parametrize(
    "history",
    [
        KeyHistory(21),
        KeyHistory(11, 10, "http://a.vn"),
        KeyHistory(-1),
        KeyHistory(0, 1),
        KeyHistory(1, 0, "http://a.vn"),
        KeyHistory(0, 1, "a" * 119),
        KeyHistory(0, 1, "http://đ.vn"),
    ],
)
def test_an_impossible_key_history_is_not_written(history: KeyHistory) -> None:
    with pytest.raises(Malformed, match="key history"):
        encode_key_history(history)


@pytest.mark.parametrize(
    "content",
    [
        "C1020000C20100FE00",
        "C100C20100FE00",
        "C10100C20101FE00",
        "C10100FE00",
        "C10115C20100FE00",
        "C10100C20101F301FFFE00",
    ],
)
def test_a_broken_key_history_is_malformed(content: str) -> None:
    with pytest.raises(Malformed, match="key history"):
        decode_key_history(bytes.fromhex(content))


def test_the_pairing_code_reference() -> None:
    content = encode_pairing_code_reference(b"01234567")
    assert content.hex().upper() == "99083031323334353637FE00"
    assert decode_pairing_code_reference(content) == b"01234567"
    with pytest.raises(Malformed, match="want 8 bytes, got 1"):
        decode_pairing_code_reference(bytes.fromhex("990130FE00"))
