"""Keys of every algorithm: made on the card or brought in, used, asked for, moved."""

from functools import cache

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from test_card_yubico import PIN, admin, metadata, send, sw

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.tables import RSA_BITS, Algorithm
from cardlink.piv.templates import (
    Authentication,
    EcPublicKey,
    OctetPublicKey,
    PublicKey,
    RsaPublicKey,
    decode_key_fields,
    decode_public_key,
    decode_response,
)
from cardlink.piv.yubico import KeyMetadata, Origin
from cardos.card import Card
from cardos.piv.keys import generate, import_private, load_private, public_of, save_private, sign

CURVES: dict[int, tuple[ec.EllipticCurve, HashAlgorithm]] = {
    Algorithm.P_256: (ec.SECP256R1(), SHA256()),
    Algorithm.P_384: (ec.SECP384R1(), SHA384()),
}


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, bits)


def import_rsa(card: Card, algorithm: Algorithm, ref: int) -> rsa.RSAPrivateKey:
    key = rsa_key(RSA_BITS[algorithm])
    numbers = key.private_numbers()
    five = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    parts = tuple(one.to_bytes(key.key_size // 16, "big") for one in five)
    send(card, yubico.import_key(yubico.ImportedKey(algorithm, ref, parts)))
    return key


def made(card: Card, ref: int, algorithm: Algorithm) -> PublicKey:
    return decode_public_key(send(card, piv.generate_key(ref, algorithm)), algorithm)


def agree(algorithm: int, ref: int, point: bytes) -> Command:
    return piv.general_authenticate(algorithm, ref, Authentication(response=b"", exponentiation=point))


@pytest.mark.parametrize("ref", [0x9A, 0x9C, 0x9E])
def test_ed25519_signs_the_message_itself(ref: int) -> None:
    card = admin()
    public = made(card, ref, Algorithm.ED25519)
    assert isinstance(public, OctetPublicKey)
    for message in (b"a message that nobody hashed", b"1", bytes(3000)):
        send(card, piv.verify(PIN))
        signature = decode_response(send(card, piv.sign(Algorithm.ED25519, ref, message)))
        ed25519.Ed25519PublicKey.from_public_bytes(public.value).verify(signature, message)
    send(card, piv.verify(PIN))
    assert sw(card, agree(Algorithm.ED25519, ref, bytes(32))) == 0x6A80


# RFC 8032 §7.1, test 2
def test_an_imported_ed25519_key_makes_the_signature_of_the_rfc() -> None:
    card = admin()
    seed = bytes.fromhex("4CCD089B28FF96DA9DB6C346EC114E0F5B8A319F35ABA624DA8CF6ED4FB8A6FB")
    send(card, yubico.import_key(yubico.ImportedKey(Algorithm.ED25519, 0x9E, (seed,))))
    assert decode_response(send(card, piv.sign(Algorithm.ED25519, 0x9E, b"\x72"))).hex().upper() == (
        "92A009A9F0D4CAB8720E820B5F642540A2B27B5416503F8FB3762223EBDB69DA"
        "085AC1E43E15996E458F3613D0F11D8C387B2EAEB4302AEEB00D291612BB0C00"
    )
    told = metadata(card, 0x9E)
    assert isinstance(told, KeyMetadata)
    assert (told.algorithm, told.origin) == (Algorithm.ED25519, Origin.IMPORTED)
    assert decode_key_fields(told.public_key, Algorithm.ED25519) == OctetPublicKey(
        bytes.fromhex("3D4017C3E843895A92B70AA74D1B7EBC9C982CCF2EC4968CC0CD55F12AF4660C")
    )


# RFC 7748 §6.1: Bob's key, Alice's point, and what they share
def test_an_imported_x25519_key_agrees_as_in_the_rfc() -> None:
    card = admin()
    scalar = bytes.fromhex("5DAB087E624A8A4B79E17F8B83800EE66F3BB1292618B6FD1C2F8B27FF88E0EB")
    point = bytes.fromhex("8520F0098930A754748B7DDCB43EF75A0DBF3A0D26381AF4EBA4A98EAA9B4E6A")
    send(card, yubico.import_key(yubico.ImportedKey(Algorithm.X25519, 0x9D, (scalar,))))
    send(card, piv.verify(PIN))
    assert decode_response(send(card, agree(0xE1, 0x9D, point))).hex().upper() == (
        "4A5D9D5BA4CE2DE1728E3BF480350F25E07E21C947D19E3376F09B3C1E161742"
    )


@pytest.mark.parametrize("ref", [0x9D, 0x82, 0x95])
def test_a_generated_x25519_key_agrees_and_signs_nothing(ref: int) -> None:
    card = admin()
    public = made(card, ref, Algorithm.X25519)
    assert isinstance(public, OctetPublicKey)
    other = x25519.X25519PrivateKey.generate()
    point = other.public_key().public_bytes_raw()
    assert sw(card, agree(0xE1, ref, point)) == 0x6982
    send(card, piv.verify(PIN))
    shared = decode_response(send(card, agree(0xE1, ref, point)))
    assert shared == other.exchange(x25519.X25519PublicKey.from_public_bytes(public.value))
    assert sw(card, piv.sign(0xE1, ref, bytes(32))) == 0x6A80
    # wrong lengths, and points of small order, with which every secret is zero (RFC 7748 §6.1)
    for broken in (point[:-1], point + b"\0", b"\x04" + 64 * b"\1", bytes(32), b"\1" + bytes(31)):
        assert sw(card, agree(0xE1, ref, broken)) == 0x6A80


@pytest.mark.parametrize("algorithm", [Algorithm.P_256, Algorithm.P_384])
def test_an_ec_key_signs_in_9a_and_agrees_in_9d(algorithm: Algorithm) -> None:
    card = admin()
    curve, digest = CURVES[algorithm]
    signing, agreeing = made(card, 0x9A, algorithm), made(card, 0x9D, algorithm)
    assert isinstance(signing, EcPublicKey)
    assert isinstance(agreeing, EcPublicKey)
    send(card, piv.verify(PIN))
    signature = decode_response(send(card, piv.sign(algorithm, 0x9A, bytes(digest.digest_size))))
    mine = ec.EllipticCurvePublicKey.from_encoded_point(curve, signing.point)
    mine.verify(signature, bytes(digest.digest_size), ec.ECDSA(Prehashed(digest)))
    other = ec.EllipticCurvePublicKey.from_encoded_point(curve, agreeing.point)
    shared = decode_response(send(card, agree(algorithm, 0x9D, signing.point)))
    key = load_private(card.persistent.keys[0x9A].private)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert shared == key.exchange(ec.ECDH(), other)


def test_a_p_384_key_signs_a_sha_256_digest_and_no_other_shorter_one() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    digest = bytes(range(32))
    key.public_key().verify(sign(key, Algorithm.P_384, digest), digest, ec.ECDSA(Prehashed(SHA256())))
    for size in (0, 20, 31, 33, 47, 49):
        with pytest.raises(Malformed, match="challenge"):
            sign(key, Algorithm.P_384, bytes(size))


def type_1(message: bytes, size: int) -> bytes:
    return b"\0\1" + b"\xff" * (size - 3 - len(message)) + b"\0" + message


RSA_SIZES = [Algorithm.RSA_2048, Algorithm.RSA_3072, Algorithm.RSA_4096]


@pytest.mark.parametrize(
    "algorithm",
    [Algorithm.RSA_2048, *(pytest.param(one, marks=pytest.mark.slow) for one in RSA_SIZES[1:])],
)
def test_an_imported_rsa_key_gives_the_private_operation_on_any_block(algorithm: Algorithm) -> None:
    card = admin()
    key = import_rsa(card, algorithm, 0x9E)
    size, n = key.key_size // 8, key.public_key().public_numbers().n
    d = key.private_numbers().d
    short_padding = b"\0\1" + b"\xff" * 7 + b"\0" + bytes(size - 10)
    for block in (
        type_1(b"", size),
        type_1(bytes(size - 11), size),
        type_1(b"x" * 51, size),
        short_padding,
        b"\0\2" + b"\xff" * (size - 2),
        b"\0\1" + b"\xff" * (size - 2),  # no end of the padding
        bytes(size),
        bytes(size - 1) + b"\1",
        (n - 1).to_bytes(size, "big"),
    ):
        told = decode_response(send(card, piv.sign(algorithm, 0x9E, block)))
        assert int.from_bytes(told, "big") == pow(int.from_bytes(block, "big"), d, n)
        assert len(told) == size
    for wrong in (n.to_bytes(size, "big"), b"\xff" * size, bytes(size - 1), bytes(size + 1)):
        with pytest.raises(CardStatus, match="6A80"):
            send(card, piv.sign(algorithm, 0x9E, wrong))


def test_the_padding_of_a_signature_with_pss_is_the_hosts() -> None:
    key = rsa_key(2048)
    pss = padding.PSS(padding.MGF1(SHA256()), 32)
    n, e = key.public_key().public_numbers().n, 65_537
    block = pow(int.from_bytes(key.sign(b"signed", pss, SHA256()), "big"), e, n).to_bytes(256, "big")
    signature = sign(key, Algorithm.RSA_2048, block)
    key.public_key().verify(signature, b"signed", pss, SHA256())
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, b"other", pss, SHA256())


def test_rsa_1024_comes_in_for_old_mail_and_nothing_else() -> None:
    card = admin()
    key = import_rsa(card, Algorithm.RSA_1024, 0x82)
    send(card, piv.verify(PIN))
    sealed = key.public_key().encrypt(b"old mail", padding.PKCS1v15())
    opened = decode_response(send(card, piv.sign(Algorithm.RSA_1024, 0x82, sealed)))
    assert opened.startswith(b"\0\2")
    assert opened.endswith(b"\0old mail")
    assert sw(card, piv.generate_key(0x83, Algorithm.RSA_1024)) == 0x6A80
    parts = 5 * (bytes(63) + b"\5",)
    for ref in (0x9A, 0x9C, 0x9D, 0x9E, 0xF9):
        with pytest.raises(CardStatus, match="6A80"):
            send(card, yubico.import_key(yubico.ImportedKey(Algorithm.RSA_1024, ref, parts)))
    for ref in (0x9A, 0x9D):
        assert sw(card, yubico.move_key(0x82, ref)) == 0x6A86
    send(card, yubico.move_key(0x82, 0x95))


@pytest.mark.parametrize(
    ("ref", "algorithm", "expected"),
    [
        (0x9A, Algorithm.X25519, 0x6A80),
        (0x9C, Algorithm.X25519, 0x6A80),
        (0x9E, Algorithm.X25519, 0x6A80),
        (0x9D, Algorithm.ED25519, 0x6A80),
        (0x82, Algorithm.ED25519, 0x6A80),
        (0x9A, Algorithm.RSA_1024, 0x6A80),
        (0x9A, Algorithm.AES_128, 0x6A80),
        (0x9E, Algorithm.AES_128, 0x6A80),  # in the table for 9E, but no pair
        (0x9A, 0x99, 0x6A80),
        (0xF9, Algorithm.ED25519, 0x6A80),
        (0xF9, Algorithm.P_384, 0x9000),
        (0x9B, Algorithm.P_256, 0x6A86),
    ],
)
def test_a_key_is_made_only_where_it_can_be_used(ref: int, algorithm: int, expected: int) -> None:
    assert sw(admin(), piv.generate_key(ref, algorithm)) == expected


def test_an_octet_key_moves_where_it_serves() -> None:
    card = admin()
    public = made(card, 0x9D, Algorithm.X25519)
    assert sw(card, yubico.move_key(0x9D, 0x9E)) == 0x6A86
    send(card, yubico.move_key(0x9D, 0x82))
    told = metadata(card, 0x82)
    assert isinstance(told, KeyMetadata)
    assert decode_key_fields(told.public_key, told.algorithm) == public


@pytest.mark.parametrize("algorithm", [Algorithm.P_256, Algorithm.P_384, Algorithm.ED25519, Algorithm.X25519])
def test_a_stored_key_is_the_same_key(algorithm: Algorithm) -> None:
    key = generate(algorithm)
    assert public_of(load_private(save_private(key))) == public_of(key)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", RSA_SIZES)
def test_rsa_keys_are_made_on_the_card(algorithm: Algorithm) -> None:
    card = admin()
    public = made(card, 0x9E, algorithm)
    assert isinstance(public, RsaPublicKey)
    size = RSA_BITS[algorithm] // 8
    numbers = rsa.RSAPublicNumbers(65_537, int.from_bytes(public.modulus, "big")).public_key()
    signature = decode_response(send(card, piv.sign(algorithm, 0x9E, type_1(b"any", size))))
    assert pow(int.from_bytes(signature, "big"), 65_537, numbers.public_numbers().n).to_bytes(size, "big") == type_1(
        b"any", size
    )


def test_what_is_no_key_of_ours_is_malformed() -> None:
    with pytest.raises(Malformed, match="algorithm 0C"):
        generate(Algorithm.AES_256)
    with pytest.raises(Malformed, match="algorithm 0C"):
        import_private(Algorithm.AES_256, (bytes(32),))
    with pytest.raises(Malformed, match="does not sign"):
        sign(generate(Algorithm.X25519), Algorithm.X25519, bytes(32))
    for raw in (b"", bytes(40), save_private(generate(Algorithm.ED25519))[:-1]):
        with pytest.raises(Malformed, match="stored private key"):
            load_private(raw)
