"""The templates 61, 7C, AC and 7F49."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.tables import PIV_AID, Algorithm
from cardlink.piv.templates import (
    ApplicationProperties,
    Authentication,
    EcPublicKey,
    KeyRequest,
    OctetPublicKey,
    PublicKey,
    RsaPublicKey,
    decode_apt,
    decode_authentication,
    decode_key_request,
    decode_public_key,
    decode_response,
    encode_apt,
    encode_authentication,
    encode_key_request,
    encode_public_key,
    encode_response,
)

# as cards in the field answer: the first with the whole AID and more, the second with the PIX alone
FULL = "6116" + "4F0BA000000308000010000100" + "7907" + "4F05A000000308"
PIX = "6111" + "4F06000010000100" + "7907" + "4F05A000000308"


@pytest.mark.parametrize("raw", [FULL, PIX, "6114" + "4F09A00000030800001000" + "7907" + "4F05A000000308"])
def test_whole_truncated_and_partial_names_are_read(raw: str) -> None:
    apt = decode_apt(bytes.fromhex(raw))
    assert PIV_AID.startswith(apt.aid)
    assert (apt.label, apt.url, apt.algorithms, apt.secure_messaging) == ("", "", (), 0)


def test_both_forms_are_written() -> None:
    assert encode_apt(ApplicationProperties()).hex().upper() == FULL
    assert encode_apt(ApplicationProperties(), pix_only=True).hex().upper() == PIX


@pytest.mark.parametrize("algorithms", [(), (0x27,), (0x11, 0x14, 0x2E)])
@pytest.mark.parametrize(("label", "url"), [("", ""), ("Thẻ Mở", "https://a.vn/x")])
def test_application_properties_come_back(algorithms: tuple[int, ...], label: str, url: str) -> None:
    apt = ApplicationProperties(PIV_AID, label, url, algorithms)
    assert decode_apt(encode_apt(apt)) == apt
    assert apt.secure_messaging == next((one for one in algorithms if one in (0x27, 0x2E)), 0)


TAIL = "79074F05A000000308"


def application(inside: str) -> bytes:
    return tlv.encode(0x61, bytes.fromhex(inside))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (bytes.fromhex("6F00"), "want tag 61"),
        (application(""), "no data object"),
        (application(TAIL), "4F is"),
        (application("4F06000010000100"), "no data object"),
        (application("4F0600001000010079074F05A000000309"), "does not name NIST"),
        (application("4F06000020000100" + TAIL), "4F is 000020000100"),
        (application("4F08A000000151000000" + TAIL), "4F is"),
        (application("4F0CA00000030800001000010000" + TAIL), "4F is"),
        (application("4F0400001000" + TAIL[:-2] + "08" + "8000"), "tag 80"),
        (application("4F06000010000100" + TAIL + "5001FF"), "UTF-8"),
        (application("4F06000010000100" + TAIL + "AC03800127"), "06 01 00"),
        (application("4F06000010000100" + TAIL + "AC00"), "06 01 00"),
        (application("4F06000010000100" + TAIL + "AC0781022727060100"), "one byte"),
        (application("4F06000010000100" + TAIL + "AC078002272706" + "0100"), "one byte"),
        (application("4F06000010000100" + TAIL) + b"\x00", "after tag 61"),
    ],
)
def test_broken_application_properties_are_malformed(raw: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_apt(raw)


# SP 800-73pt2-5 §3.2.4 and appendix A
@pytest.mark.parametrize(
    ("template", "raw"),
    [
        (Authentication(challenge=b""), "7C028100"),
        (Authentication(witness=b""), "7C028000"),
        (Authentication(response=b"\xaa\xbb"), "7C048202AABB"),
        (Authentication(challenge=b"\x01\x02", response=b""), "7C06820081020102"),
        (Authentication(exponentiation=b"\x04\x05", response=b""), "7C06820085020405"),
        (Authentication(witness=b"\x01", challenge=b"\x02", response=b""), "7C08800101810102" + "8200"),
        (Authentication(witness=b"\x01", challenge=b"\x02"), "7C06800101810102"),
    ],
)
def test_authentication_templates(template: Authentication, raw: str) -> None:
    assert encode_authentication(template).hex().upper() == raw
    assert decode_authentication(bytes.fromhex(raw)) == template


def test_any_order_is_read() -> None:
    assert decode_authentication(bytes.fromhex("7C05810101" + "8200")) == Authentication(
        challenge=b"\x01", response=b""
    )


def test_no_field_shows_in_a_log() -> None:
    assert "secret" not in repr(Authentication(b"secret", b"secret", b"secret", b"secret"))


MAYBE = st.none() | st.binary(max_size=300)


@given(MAYBE, MAYBE, MAYBE, MAYBE)
def test_every_template_comes_back(
    witness: bytes | None, challenge: bytes | None, response: bytes | None, exponentiation: bytes | None
) -> None:
    template = Authentication(witness, challenge, response, exponentiation)
    if template != Authentication():
        assert decode_authentication(encode_authentication(template)) == template


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("7C00", "authentication template"),
        ("7C028300", "authentication template"),
        ("7C0481008100", "stands twice"),
        ("7C0281", "announced"),
        ("7D028100", "want tag 7C"),
        ("7C02810000", "after tag 7C"),
        ("", "no data object"),
    ],
)
def test_a_broken_authentication_template_is_malformed(raw: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_authentication(bytes.fromhex(raw))


def test_a_response_is_one_82_in_7c() -> None:
    assert encode_response(b"\x30\x00").hex().upper() == "7C0482023000"
    assert decode_response(bytes.fromhex("7C0482023000")) == b"\x30\x00"
    for raw in ("7C0481023000", "7C06820230008100", "820230", "7C00", ""):
        with pytest.raises(Malformed):
            decode_response(bytes.fromhex(raw))


POINT = b"\x04" + bytes(range(64))
MODULUS = b"\x80" + bytes(254) + b"\x01"


@pytest.mark.parametrize(
    ("key", "algorithm", "head"),
    [
        (EcPublicKey(POINT), Algorithm.P_256, "7F4943864104"),
        (EcPublicKey(b"\x04" + bytes(96)), Algorithm.P_384, "7F4963866104"),
        (RsaPublicKey(MODULUS), Algorithm.RSA_2048, "7F498201098182010080"),
        (RsaPublicKey(b"\x80" + bytes(510) + b"\x01"), Algorithm.RSA_4096, "7F498202098182020080"),
        (OctetPublicKey(bytes(range(32))), Algorithm.ED25519, "7F49228620000102"),
        (OctetPublicKey(bytes(range(32))), Algorithm.X25519, "7F49228620000102"),
    ],
)
def test_public_keys(key: PublicKey, algorithm: Algorithm, head: str) -> None:
    raw = encode_public_key(key)
    assert raw.hex().upper().startswith(head)
    assert decode_public_key(raw, algorithm) == key


def key_pair(inside: bytes) -> bytes:
    return tlv.encode(0x7F49, inside)


RSA = tlv.encode(0x81, MODULUS)


@pytest.mark.parametrize(
    ("raw", "algorithm", "why"),
    [
        (key_pair(tlv.encode(0x86, POINT)), Algorithm.P_384, "want 86 with 04 and 96"),
        (key_pair(tlv.encode(0x86, POINT[:-1])), Algorithm.P_256, "want 86 with 04 and 64"),
        (key_pair(tlv.encode(0x86, b"\x02" + POINT[1:])), Algorithm.P_256, "want 86"),
        (key_pair(tlv.encode(0x86, b"")), Algorithm.P_256, "want 86"),
        (key_pair(tlv.encode(0x81, POINT)), Algorithm.P_256, "want 86"),
        (key_pair(tlv.encode(0x86, POINT) + b"\x81\x00"), Algorithm.P_256, "want 86"),
        (key_pair(b""), Algorithm.P_256, "want 86"),
        (tlv.encode(0x7F4A, tlv.encode(0x86, POINT)), Algorithm.P_256, "want tag 7F49"),
        (key_pair(RSA + bytes.fromhex("820103")), Algorithm.RSA_2048, "65537"),
        (key_pair(RSA + bytes.fromhex("8203010001")), Algorithm.RSA_3072, "3072 bits"),
        (key_pair(RSA), Algorithm.RSA_2048, "want 81 and 82"),
        (key_pair(bytes.fromhex("8203010001") + RSA), Algorithm.RSA_2048, "want 81 and 82"),
        (key_pair(tlv.encode(0x81, b"\x00" + MODULUS) + bytes.fromhex("8203010001")), Algorithm.RSA_2048, "odd"),
        (key_pair(tlv.encode(0x81, b"\x7f" + MODULUS[1:]) + bytes.fromhex("8203010001")), Algorithm.RSA_2048, "odd"),
        (key_pair(tlv.encode(0x81, MODULUS[:-1] + b"\x02") + bytes.fromhex("8203010001")), Algorithm.RSA_2048, "odd"),
        (key_pair(tlv.encode(0x86, POINT)), Algorithm.ED25519, "want 86 with 32"),
        (key_pair(tlv.encode(0x86, bytes(31))), Algorithm.X25519, "want 86 with 32"),
        (key_pair(tlv.encode(0x81, bytes(32))), Algorithm.X25519, "want 86 with 32"),
        (key_pair(tlv.encode(0x86, POINT)), Algorithm.AES_128, "algorithm 08"),
        (key_pair(tlv.encode(0x86, POINT)), 0x99, "algorithm 99"),
    ],
)  # fmt: skip
def test_a_broken_public_key_is_malformed(raw: bytes, algorithm: int, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_public_key(raw, algorithm)


@pytest.mark.parametrize(
    ("request_", "raw"),
    [
        (KeyRequest(0x11), "AC03800111"),
        (KeyRequest(0x07, 1), "AC06800107AA0101"),
        (KeyRequest(0x14, 2, 3), "AC09800114AA0102AB0103"),
    ],
)
def test_key_requests(request_: KeyRequest, raw: str) -> None:
    assert encode_key_request(request_).hex().upper() == raw
    assert decode_key_request(bytes.fromhex(raw)) == request_


def test_the_parameter_of_rsa_may_say_what_it_is_anyway() -> None:
    assert decode_key_request(bytes.fromhex("AC088001078103010001")) == KeyRequest(0x07)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("AC00", "want 80"),
        ("AC03810111", "want 80"),
        ("AC0480021111", "one byte"),
        ("AC028000", "one byte"),
        ("AC06800111AA0200", "announced"),
        ("AC07800111AA020000", "one byte"),
        ("AC068001118301FF", "want 80"),
        ("AC06800111800111", "stands twice"),
        ("AC06800111810103", "65537"),
        ("AC068001078101" + "03", "65537"),
        ("7C03800111", "want tag AC"),
    ],
)
def test_a_broken_key_request_is_malformed(raw: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_key_request(bytes.fromhex(raw))
