"""GENERAL AUTHENTICATE, and what only the administrator may do: (command, state, interface) -> status word."""

import hashlib
import tracemalloc
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from piv_card import CONTACT, CONTACTLESS, PIN, Filled, admin, aes, filled_card, selected, send, sw, verified

from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command, Ins, split_chain
from cardlink.piv import commands as piv
from cardlink.piv.tables import Algorithm, Interface
from cardlink.piv.templates import (
    Authentication,
    EcPublicKey,
    PublicKey,
    RsaPublicKey,
    decode_public_key,
    decode_response,
)
from cardos.card import Card
from cardos.defaults import FACTORY_ADMIN_KEY


@pytest.fixture
def filled() -> Filled:
    return filled_card()


# --- GENERAL AUTHENTICATE ---------------------------------------------------------------------------------------


def verify_signature(public: PublicKey, answer: bytes, digest: bytes) -> None:
    assert isinstance(public, EcPublicKey)
    curve: ec.EllipticCurve = ec.SECP256R1() if len(digest) == 32 else ec.SECP384R1()
    hashed = utils.Prehashed(SHA256() if len(digest) == 32 else SHA384())
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, public.point)
    key.verify(decode_response(answer), digest, ec.ECDSA(hashed))


@pytest.mark.parametrize("interface", list(Interface))
def test_the_card_authentication_key_signs_without_a_pin_over_both_faces(filled: Filled, interface: Interface) -> None:
    sw(filled.card, piv.select(), interface)
    digest = hashlib.sha256(b"challenge").digest()
    answer = filled.card.transmit(piv.sign_with_card_key_apdu(digest), interface)
    verify_signature(filled.keys[0x9E], answer[:-2], digest)


@pytest.mark.parametrize("ref", [0x9A, 0x9C, 0x9D, 0x82])
def test_a_key_that_asks_for_the_pin_is_not_used_without_it(filled: Filled, ref: int) -> None:
    for interface in Interface:
        sw(filled.card, piv.select(), interface)
        assert sw(filled.card, piv.sign(Algorithm.P_256, ref, bytes(32)), interface) == 0x6982


def test_the_authentication_key_signs_after_the_pin_as_often_as_asked(filled: Filled) -> None:
    send(filled.card, piv.select())
    send(filled.card, piv.verify(PIN))
    for _ in range(3):
        verify_signature(filled.keys[0x9A], send(filled.card, piv.sign(Algorithm.P_256, 0x9A, bytes(32))), bytes(32))


@pytest.mark.parametrize(
    "between",
    ["00CB3FFF055C035FC10200", "00200080", "00C0000000", "00FD000000", "008711", "00871199", "00A4040005A000000308"],
)
def test_any_command_between_voids_the_pin_for_the_signature_key(filled: Filled, between: str) -> None:
    card = filled.card
    send(card, piv.select())
    send(card, piv.verify(PIN))
    verify_signature(filled.keys[0x9C], send(card, piv.sign(Algorithm.P_256, 0x9C, bytes(32))), bytes(32))
    assert sw(card, piv.sign(Algorithm.P_256, 0x9C, bytes(32))) == 0x6982
    send(card, piv.verify(PIN))
    card.transmit(bytes.fromhex(between))
    assert sw(card, piv.sign(Algorithm.P_256, 0x9C, bytes(32))) == 0x6982
    assert sw(card, piv.sign(Algorithm.P_256, 0x9A, bytes(32))) == 0x9000


def test_a_chained_signature_counts_as_one_command_after_the_pin(filled: Filled) -> None:
    card = filled.card
    send(card, piv.select())
    send(card, piv.verify(PIN))
    first, last = split_chain(piv.sign(Algorithm.P_256, 0x9C, bytes(32)), block=20)
    assert sw(card, first) == 0x9000
    verify_signature(filled.keys[0x9C], card.transmit(last.encode())[:-2], bytes(32))


def test_blocks_without_data_fill_no_memory() -> None:
    card = selected()
    empty = Command(0x10, Ins.GENERAL_AUTHENTICATE, Algorithm.P_256, 0x9E).encode()
    tracemalloc.start()
    try:
        card.transmit(empty)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20_000):
            card.transmit(empty)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000  # a byte a block would be as much
    finally:
        tracemalloc.stop()


def test_an_interrupted_chain_has_no_effect(filled: Filled) -> None:
    card = filled.card
    send(card, piv.select())
    first, last = split_chain(piv.sign(Algorithm.P_256, 0x9E, bytes(32)), block=20)
    assert sw(card, first) == 0x9000
    assert sw(card, piv.get_data(0x5FFF20)) & 0xFF00 in (0x9000, 0x6100)
    assert sw(card, last) == 0x6A80


@pytest.mark.parametrize("ref", [0x9D, 0x82])
def test_key_management_keys_agree_and_do_not_sign(filled: Filled, ref: int) -> None:
    card = filled.card
    send(card, piv.select())
    send(card, piv.verify(PIN))
    mine = ec.generate_private_key(ec.SECP256R1())
    numbers = mine.public_key().public_numbers()
    point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    public = filled.keys[ref]
    assert isinstance(public, EcPublicKey)
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public.point)
    assert decode_response(send(card, piv.agree(Algorithm.P_256, ref, point))) == mine.exchange(ec.ECDH(), theirs)
    assert sw(card, piv.sign(Algorithm.P_256, ref, bytes(32))) == 0x6A80
    assert sw(card, piv.agree(Algorithm.P_256, ref, point[:-1] + bytes([point[-1] ^ 1]))) == 0x6A80
    assert sw(card, piv.agree(Algorithm.P_256, ref, b"\x04" + bytes(64))) == 0x6A80
    assert sw(card, piv.agree(Algorithm.P_256, ref, b"\x02" + point[1:33])) == 0x6A80
    assert sw(card, piv.agree(Algorithm.P_256, ref, b"\x00")) == 0x6A80


@pytest.mark.parametrize("ref", [0x9A, 0x9C, 0x9E])
def test_exponentiation_is_refused_on_the_other_keys(filled: Filled, ref: int) -> None:
    send(filled.card, piv.select())
    send(filled.card, piv.verify(PIN))
    assert sw(filled.card, piv.agree(Algorithm.P_256, ref, b"\x04" + bytes(64))) == 0x6A80


@pytest.mark.parametrize(
    ("apdu", "expected"),
    [
        ("0087149E267C2482008120" + "00" * 32, 0x6A86),  # another algorithm than the key's
        ("0087119F267C2482008120" + "00" * 32, 0x6A86),
        ("00872704267C2482008120" + "00" * 32, 0x6A86),  # no secure messaging on this card
        ("00871104267C2482008120" + "00" * 32, 0x6A86),
        ("008711F9267C2482008120" + "00" * 32, 0x6A86),
        ("0087119E257C2382008120" + "00" * 31, 0x6A80),
        ("0087119E257C238200811F" + "00" * 31, 0x6A80),
        ("0087119E247C22812000" + "00" * 31, 0x6A80),  # nothing asked for
        ("0087119E047C028200", 0x6A80),
        ("0087119E047C028100", 0x6A80),
        ("0087119E027C00", 0x6A80),
        ("0087119E0400000000", 0x6A80),
        ("0087119E", 0x6A80),
        ("0087119E067C0482008300", 0x6A80),
        ("0087119E067C0482008200", 0x6A80),
    ],
)
def test_a_wrong_general_authenticate_gets_its_status_word(filled: Filled, apdu: str, expected: int) -> None:
    send(filled.card, piv.select())
    assert sw(filled.card, bytes.fromhex(apdu)) == expected


def test_p_384_signs() -> None:
    card = admin()
    public = decode_public_key(send(card, piv.generate_key(0x9E, Algorithm.P_384)), Algorithm.P_384)
    digest = hashlib.sha384(b"challenge").digest()
    verify_signature(public, send(card, piv.sign(Algorithm.P_384, 0x9E, digest)), digest)


def test_rsa_2048_signs_a_padded_block_and_refuses_one_not_below_the_modulus() -> None:
    card = admin()
    public = decode_public_key(send(card, piv.generate_key(0x9E, Algorithm.RSA_2048)), Algorithm.RSA_2048)
    assert isinstance(public, RsaPublicKey)
    info = bytes.fromhex("3031300D060960864801650304020105000420") + hashlib.sha256(b"text").digest()
    block = b"\x00\x01" + b"\xff" * (256 - 3 - len(info)) + b"\x00" + info
    signature = decode_response(send(card, piv.sign(Algorithm.RSA_2048, 0x9E, block)))
    key = rsa.RSAPublicNumbers(public.exponent, int.from_bytes(public.modulus, "big")).public_key()
    key.verify(signature, b"text", padding.PKCS1v15(), SHA256())
    *first, last = split_chain(piv.sign(Algorithm.RSA_2048, 0x9E, b"\xff" * 256))
    assert [sw(card, one) for one in first] == [0x9000]
    assert sw(card, last) == 0x6A80


# --- the administrator ------------------------------------------------------------------------------------------


def test_mutual_authentication_proves_both_sides() -> None:
    card = selected()
    template = tlv.unwrap(send(card, piv.general_authenticate(0x0A, 0x9B, Authentication(witness=b""))), 0x7C)
    decryptor = Cipher(algorithms.AES(FACTORY_ADMIN_KEY), modes.ECB()).decryptor()  # noqa: S305 one block
    shown = decryptor.update(tlv.unwrap(template, 0x80))
    request = Authentication(witness=shown, challenge=bytes(16), response=b"")
    answer = send(card, piv.general_authenticate(0x0A, 0x9B, request))
    assert decode_response(answer) == aes(FACTORY_ADMIN_KEY, bytes(16))
    assert sw(card, piv.put_data(0x5FC102, b"")) == 0x9000


def challenged() -> tuple[Card, bytes]:
    card = selected()
    template = tlv.unwrap(send(card, piv.general_authenticate(0x0A, 0x9B, Authentication(challenge=b""))), 0x7C)
    return card, tlv.unwrap(template, 0x81)


def test_a_challenge_is_used_once_even_by_a_wrong_answer() -> None:
    card, challenge = challenged()
    right = piv.general_authenticate(0x0A, 0x9B, Authentication(response=aes(FACTORY_ADMIN_KEY, challenge)))
    wrong = piv.general_authenticate(0x0A, 0x9B, Authentication(response=bytes(16)))
    assert sw(card, wrong) == 0x6982
    assert sw(card, right) == 0x6982
    assert sw(card, piv.put_data(0x5FC102, b"")) == 0x6982


def test_a_failed_authentication_takes_the_administrator_away() -> None:
    card = admin()
    assert sw(card, piv.general_authenticate(0x0A, 0x9B, Authentication(response=bytes(16)))) == 0x6982
    assert sw(card, piv.put_data(0x5FC102, b"")) == 0x6982


@pytest.mark.parametrize(
    ("apdu", "interface", "expected"),
    [
        ("00870C9B047C028100", CONTACT, 0x6A86),
        ("0087039B047C028100", CONTACT, 0x6A86),
        ("00870A9B047C028500", CONTACT, 0x6A80),
        ("00870A9B067C0482028081", CONTACT, 0x6A80),
        ("00870A9B047C028200", CONTACT, 0x6A80),
        ("00870A9B047C028100", CONTACTLESS, 0x6982),
    ],
)
def test_a_wrong_authentication_of_the_administrator_gets_its_status_word(
    apdu: str, interface: Interface, expected: int
) -> None:
    card = selected()
    sw(card, piv.select(), interface)
    assert sw(card, bytes.fromhex(apdu), interface) == expected


@pytest.mark.parametrize(
    ("state", "apdu", "interface", "expected"),
    [
        (selected, "00DB3FFF095C035FC1025302AABB", CONTACT, 0x6982),
        (verified, "00DB3FFF095C035FC1025302AABB", CONTACT, 0x6982),
        (admin, "00DB3FFF095C035FC1025302AABB", CONTACT, 0x9000),
        (admin, "00DB3FFF075C035FC1025300", CONTACT, 0x9000),
        (admin, "00DB3FFF095C035FC1025302AABB", CONTACTLESS, 0x6A81),
        (admin, "00DB3FFF095C035FC2025302AABB", CONTACT, 0x6A81),
        (admin, "00DB3FFF095C035FC1025303AABB", CONTACT, 0x6A80),
        (admin, "00DB3FFF095C035FC1025402AABB", CONTACT, 0x6A80),
        (admin, "00DB00FF095C035FC1025302AABB", CONTACT, 0x6A86),
        (admin, "00DB3FFF147E124F0BA0000003080000100001005F2F024000", CONTACT, 0x9000),
        (admin, "00DB3FFF147E124F0BA0000003080000100001005F2F024C00", CONTACT, 0x6A80),  # no VCI on this card
        (admin, "00DB3FFF147E124F0BA0000003080000100001005F2F026010", CONTACT, 0x6A80),  # no Global PIN
        (admin, "00DB3FFF147E124F0BA0000003080000100001005F2F024100", CONTACT, 0x6A80),
        (selected, "0047009E05AC0380011100", CONTACT, 0x6982),
        (admin, "0047009E05AC0380011100", CONTACT, 0x9000),
        (admin, "0047008205AC0380011100", CONTACT, 0x9000),
        (admin, "0047009E05AC0380011100", CONTACTLESS, 0x6A81),
        (admin, "0047019E05AC0380011100", CONTACT, 0x6A86),
        (admin, "0047009B05AC0380011100", CONTACT, 0x6A86),
        (admin, "0047000405AC0380012700", CONTACT, 0x9000),
        (admin, "0047000405AC0380011100", CONTACT, 0x6A86),  # 04 is of a cipher suite and of nothing else
        (admin, "0047000405AC0380012700", CONTACTLESS, 0x6A81),
        (selected, "0047000405AC0380012700", CONTACT, 0x6982),
        (admin, "0047009E05AC0380010600", CONTACT, 0x6A80),
        (admin, "0047009E05AC0380010C00", CONTACT, 0x6A80),
        (admin, "0047009E05AC0381011100", CONTACT, 0x6A80),
        (admin, "0047009A08AC06800111AA010100", CONTACT, 0x6A80),  # weaker than the slot's rule
        (admin, "0047009C08AC06800111AA010200", CONTACT, 0x6A80),
        (admin, "0047009E08AC06800111AB010200", CONTACT, 0x6A80),  # no button to touch
        (admin, "0047009E08AC06800111AA010900", CONTACT, 0x6A80),
    ],
)
def test_an_administrative_command_gets_its_status_word(
    state: Callable[[], Card], apdu: str, interface: Interface, expected: int
) -> None:
    card = state()
    if interface is CONTACTLESS:
        sw(card, piv.select(), CONTACTLESS)
    assert sw(card, bytes.fromhex(apdu), interface) == expected


def test_memory_is_finite() -> None:
    card = admin()
    *blocks, last = split_chain(piv.put_data(0x5FC108, bytes(16_385)))
    assert {sw(card, one) for one in blocks} == {0x9000}
    assert sw(card, last) == 0x6A84
    answers = [sw(card, one) for one in split_chain(piv.put_data(0x5FC108, bytes(21_000)))]
    assert 0x6A84 in answers
    assert answers[-1] != 0x9000
    assert sw(card, piv.get_data(0x5FC102)) == 0x6A82
