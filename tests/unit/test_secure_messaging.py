"""The arithmetic of PIV secure messaging, computed a second time by other means, and its data objects.

NIST publishes no example with keys for SP 800-73pt2-5 §4; so the derivation is held against `cryptography`'s
ConcatKDFHash, MACs against RFC 4493 written out below (itself held against its published vectors), encryption against
AES in steps. The fixed values at the end were computed so, with keys made up for them.
"""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from messaging_card import SUITES, point_of

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.iso7816.padding import pad, unpad
from cardlink.piv import secure_messaging as sm
from cardlink.piv.secure_messaging import CS2, CS7, Agreement, Reply, Request, SessionCiphers, SessionKeys, Suite

HASH = {CS2: hashes.SHA256(), CS7: hashes.SHA384()}


def aes(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305 one block


def rfc4493(key: bytes, data: bytes) -> bytes:
    """AES-CMAC as RFC 4493 §2.4 writes it."""

    def double(value: int) -> int:
        return (value << 1 ^ (0x87 if value >> 127 else 0)) & (1 << 128) - 1

    first = double(int.from_bytes(aes(key, bytes(16)), "big"))
    whole = bool(data) and len(data) % 16 == 0
    padded = data if whole else pad(data)
    last = int.from_bytes(padded[-16:], "big") ^ (first if whole else double(first))
    blocks = [padded[at : at + 16] for at in range(0, len(padded) - 16, 16)] + [last.to_bytes(16, "big")]
    state = bytes(16)
    for block in blocks:
        state = aes(key, bytes(a ^ b for a, b in zip(state, block, strict=True)))
    return state


def agreement(suite: Suite, host_control: int = 0) -> Agreement:
    host = ec.derive_private_key(0x1234567, suite.curve)
    nonce = bytes(range(suite.nonce_bytes))
    return Agreement(suite, b"HOST ID.", point_of(host), b"CARD ID.", nonce, host_control)


def ciphers(size: int = 16) -> tuple[SessionKeys, SessionCiphers]:
    keys = SessionKeys(*(bytes((n,)) * size for n in (1, 2, 3, 4)))
    return keys, SessionCiphers(keys)


# RFC 4493 §4, with its published key
@pytest.mark.parametrize(
    ("data", "mac"),
    [
        ("", "bb1d6929e95937287fa37d129b756746"),
        ("6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"),
        (
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
            "dfa66747de9ae63030ca32611497c827",
        ),
    ],
)
def test_the_second_computation_of_the_mac_is_right(data: str, mac: str) -> None:
    assert rfc4493(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"), bytes.fromhex(data)).hex() == mac


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.algorithm.name)
@pytest.mark.parametrize("control", [0x00, 0x0F])
def test_the_keys_are_those_of_a_second_derivation(suite: Suite, control: int) -> None:
    one = agreement(suite, control)
    info = (
        bytes((4, *(suite.mark,) * 4))
        + b"\x08HOST ID."
        + bytes((1, control))
        + b"\x10"
        + one.host_point[1:17]
        + b"\x08CARD ID."
        + bytes((suite.nonce_bytes,))
        + one.nonce
        + b"\x01\x00"
    )
    assert sm.other_info(one) == info
    secret = bytes(range(suite.coordinate_bytes))
    size = suite.key_bytes
    stream = ConcatKDFHash(algorithm=HASH[suite], length=4 * size, otherinfo=info).derive(secret)
    keys = sm.derive(one, secret)
    assert (keys.confirmation, keys.mac, keys.enc, keys.rmac) == tuple(
        stream[at : at + size] for at in range(0, 4 * size, size)
    )


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.algorithm.name)
def test_the_cryptogram_confirms_who_agreed_with_whom(suite: Suite) -> None:
    one = agreement(suite)
    keys = sm.derive(one, b"secret")
    x_and_y = one.host_point[1:]
    assert sm.cryptogram(one, keys) == rfc4493(keys.confirmation, b"KC_1_V" + b"CARD ID." + b"HOST ID." + x_and_y)


def test_the_card_is_named_by_the_hash_of_its_certificate() -> None:
    assert sm.card_id(b"\x7f\x21\x00") == hashlib.sha256(b"\x7f\x21\x00").digest()[:8]


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("data", [b"a", bytes(15), bytes(16), bytes(255)], ids=len)
def test_data_are_encrypted_under_the_enciphered_counter(size: int, data: bytes) -> None:
    keys, session = ciphers(size)
    for block in (1, 0x80 << 120 | 1, 0x10203):
        vector = aes(keys.enc, block.to_bytes(16, "big"))
        expected, padded = b"", pad(data)
        for at in range(0, len(padded), 16):
            vector = aes(keys.enc, bytes(a ^ b for a, b in zip(vector, padded[at : at + 16], strict=True)))
            expected += vector
        assert session.encrypt(block, data) == expected
        assert session.decrypt(block, expected) == data
        with pytest.raises(Malformed):
            session.decrypt(block ^ 1, expected[:-1])


def test_macs_cover_chaining_value_header_and_objects() -> None:
    keys, session = ciphers()
    header = bytes.fromhex("0CCB3FFF80") + bytes(11)
    assert session.c_mac(bytes(16), 0xCB, 0x3F, 0xFF, b"objects") == rfc4493(keys.mac, bytes(16) + header + b"objects")
    assert session.r_mac(b"\x05" * 16, b"objects") == rfc4493(keys.rmac, b"\x05" * 16 + b"objects")


@pytest.mark.parametrize("broken", [b"", b"a" * 15, b"a" * 17])
def test_cipher_text_that_is_no_whole_blocks_is_malformed(broken: bytes) -> None:
    with pytest.raises(Malformed):
        ciphers()[1].decrypt(1, broken)


def test_padding_that_is_none_is_malformed() -> None:
    session = ciphers()[1]
    plain = Cipher(algorithms.AES(bytes((3,)) * 16), modes.CBC(aes(bytes((3,)) * 16, (1).to_bytes(16, "big"))))
    for padded in (b"a" * 16, bytes(16), b"\x80" + bytes(31)):
        with pytest.raises(Malformed, match="padding"):
            session.decrypt(1, plain.encryptor().update(padded))
    assert unpad(pad(b"")) == b""


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.algorithm.name)
def test_the_key_establishment_is_written_as_the_standard_shows_it(suite: Suite) -> None:
    point = agreement(suite).host_point
    command = sm.establish(suite, Request(0x00, b"HOST ID.", point))
    length = 1 + 8 + len(point)
    head = bytes((0x00, 0x87, suite.algorithm, 0x04, length + 6, 0x7C, length + 4, 0x81, length, 0x00))
    assert command.encode() == head + b"HOST ID." + point + bytes.fromhex("820000")
    assert sm.decode_request(suite, b"\x00HOST ID." + point) == Request(0x00, b"HOST ID.", point)


@pytest.mark.parametrize("broken", ["", "00", "00" * 10 + "04" * 64, "00" * 9 + "02" + "04" * 64, "00" * 9 + "04" * 66])
def test_a_broken_key_establishment_is_malformed(broken: str) -> None:
    with pytest.raises(Malformed):
        sm.decode_request(CS2, bytes.fromhex(broken))


def test_the_cards_reply_comes_apart_again() -> None:
    for suite in SUITES:
        reply = Reply(0x00, bytes(suite.nonce_bytes), b"c" * 16, b"certificate")
        assert sm.decode_reply(suite, sm.encode_reply(reply)) == reply
        with pytest.raises(Malformed):
            sm.decode_reply(suite, sm.encode_reply(Reply(0x00, bytes(suite.nonce_bytes), b"c" * 16, b"")))


COMMAND, RESPONSE = sm.COMMAND_ORDER, sm.RESPONSE_ORDER
E87, E97, E99, E8E = "871101" + "AA" * 16, "970100", "99029000", "8E08" + "55" * 8


@pytest.mark.parametrize(
    ("data", "order", "encrypted", "status", "objects"),
    [
        (E87 + E97 + E8E, COMMAND, 16, None, E87 + E97),
        (E87 + E8E, COMMAND, 16, None, E87),
        (E97 + E8E, COMMAND, 0, None, E97),
        (E8E, COMMAND, 0, None, ""),
        (E87 + E97, COMMAND, 16, None, E87 + E97),
        ("", COMMAND, 0, None, ""),
        (E87 + E99 + E8E, RESPONSE, 16, 0x9000, E87 + E99),
        (E99 + E8E, RESPONSE, 0, 0x9000, E99),
        (E8E, RESPONSE, 0, None, ""),
    ],
)
def test_the_data_objects_are_read(
    data: str, order: tuple[int, ...], encrypted: int, status: int | None, objects: str
) -> None:
    secured = sm.decode_secured(bytes.fromhex(data), order)
    assert (len(secured.encrypted), secured.status, secured.objects.hex().upper()) == (encrypted, status, objects)
    assert secured.mac == (b"\x55" * 8 if E8E in data else b"")


@pytest.mark.parametrize(
    ("data", "order"),
    [
        (E97 + E87 + E8E, COMMAND),
        (E8E + E87, COMMAND),
        (E87 + E87 + E8E, COMMAND),
        (E99 + E8E, COMMAND),
        (E97 + E8E, RESPONSE),
        (E99 + E87 + E8E, RESPONSE),
        ("850100" + E8E, COMMAND),
        ("8700" + E8E, COMMAND),
        ("870101" + E8E, COMMAND),
        ("871102" + "AA" * 16 + E8E, COMMAND),
        ("8E0455555555", COMMAND),
        ("8E00", COMMAND),
        ("97020000" + E8E, COMMAND),
        ("990190" + E8E, RESPONSE),
        ("8711", COMMAND),
        ("80", COMMAND),
    ],
)
def test_broken_data_objects_are_malformed(data: str, order: tuple[int, ...]) -> None:
    with pytest.raises(Malformed):
        sm.decode_secured(bytes.fromhex(data), order)


def test_data_objects_are_written_as_the_standard_shows_them() -> None:
    assert sm.encode_encrypted(b"\xaa" * 16).hex().upper() == E87
    assert sm.encode_encrypted(b"") == b""
    assert sm.encode_status(0x6A82) == bytes.fromhex("99026A82")
    assert sm.encode_mac(b"\x55" * 16).hex().upper() == E8E
    assert tlv.parse(sm.LE_OBJECT) == [(0x97, b"\x00")]


def test_whole_sessions_give_the_same_bytes_as_ever() -> None:
    """A regression guard; computed once with the second computations above."""
    for suite, key, command in (
        (CS2, "CS2_MAC", "CS2_DATA"),
        (CS7, "CS7_MAC", "CS7_DATA"),
    ):
        host = ec.derive_private_key(0x1234567, suite.curve)
        card = ec.derive_private_key(0x7654321, suite.curve)
        one = agreement(suite)
        keys = sm.derive(one, host.exchange(ec.ECDH(), card.public_key()))
        session = SessionCiphers(keys)
        encrypted = session.encrypt(1, bytes.fromhex("5C035FC109"))
        objects = sm.encode_encrypted(encrypted) + sm.LE_OBJECT
        assert sm.cryptogram(one, keys).hex() == FIXED[key]
        mac = session.c_mac(sm.FIRST_CHAINING_VALUE, 0xCB, 0x3F, 0xFF, objects)
        assert (objects + sm.encode_mac(mac)).hex() == FIXED[command]


FIXED = {
    "CS2_MAC": "cb19ed72fceac08507406c538c82533b",
    "CS2_DATA": "871101497309ce65e909d469a635123997acab9701008e08007bb46c148d1d9a",
    "CS7_MAC": "55a318d6fd73158444775cfc63984a13",
    "CS7_DATA": "8711016fb955c5a50fe0dca49e618bd1ed2d989701008e084eaebc8a46ba8a80",
}
