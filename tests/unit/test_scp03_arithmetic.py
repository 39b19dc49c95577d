"""SCP03 arithmetic against published sessions of other implementations and a second computation (tests/vectors/gp)."""

import json
import runpy
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scp03_sessions import FOLDER, NAMES, PUBLISHED, SESSIONS, keys_of

from cardlink.errors import Malformed
from cardlink.gp import scp03
from cardlink.gp.commands import decode_initialize_update, external_authenticate, initialize_update
from cardlink.gp.scp03 import Level, SessionCiphers, StaticKeys
from cardlink.iso7816.apdu import decode_command

CMACS = json.loads((FOLDER / "aes_cmac.json").read_text())["cases"]
every_session = pytest.mark.parametrize("session", SESSIONS, ids=NAMES)


def test_the_second_computation_still_gives_its_file() -> None:
    computed = runpy.run_path(str(FOLDER / "compute_scp03.py"))["compute"]()
    assert computed == json.loads((FOLDER / "scp03_computed.json").read_text())


def test_there_is_a_published_session_at_every_level_and_with_every_key_length() -> None:
    published = {(bytes.fromhex(one["external_authenticate"])[2], len(keys_of(one).enc)) for one in PUBLISHED}
    assert {level for level, _ in published} == set(scp03.LEVELS)
    assert {size for _, size in published} == set(scp03.KEY_BYTES)


@pytest.mark.parametrize("case", CMACS)
def test_aes_cmac_gives_the_published_values(case: dict[str, str]) -> None:
    assert scp03.cmac(bytes.fromhex(case["key"]), bytes.fromhex(case["data"])).hex() == case["mac"]


@every_session
def test_a_published_session_is_reproduced_byte_for_byte(session: dict[str, Any]) -> None:
    keys = keys_of(session)
    begin = decode_command(bytes.fromhex(session["initialize_update"]))
    assert begin == initialize_update(begin.p1, begin.data)
    answer = decode_initialize_update(bytes.fromhex(session["answer"]))
    assert answer.encode() == bytes.fromhex(session["answer"])
    size = 16 if session["mode"] == "S16" else 8
    assert answer.mac_bytes == size
    session_keys = scp03.derive_session(keys, begin.data, answer.card_challenge)
    assert scp03.card_cryptogram(session_keys, begin.data, answer.card_challenge) == answer.card_cryptogram

    ciphers = SessionCiphers(session_keys, size)
    sent = decode_command(bytes.fromhex(session["external_authenticate"]))
    level = sent.p1
    cryptogram = scp03.host_cryptogram(session_keys, begin.data, answer.card_challenge)
    plain = external_authenticate(level, cryptogram)
    header = scp03.maced_header(plain.encode()[:4], 2 * size)
    chaining = ciphers.c_mac(scp03.FIRST_CHAINING_VALUE, header + plain.data)
    assert sent.data == cryptogram + chaining[:size]

    for counter, exchange in enumerate(session["exchanges"], start=1):
        command = decode_command(bytes.fromhex(exchange["plain"]))
        sent = decode_command(bytes.fromhex(exchange["sent"]))
        data = command.data
        if level & Level.C_ENC and data:
            data = ciphers.encrypt_command(counter, data)
            assert ciphers.decrypt_command(counter, data) == command.data
        header = scp03.maced_header(command.encode()[:4], len(data) + size)
        chaining = ciphers.c_mac(chaining, header + data)
        assert sent.data == data + chaining[:size]
        assert sent.cla == scp03.protected_cla(command.cla)
        if "received" not in exchange:
            continue
        whole = bytes.fromhex(exchange["received"])
        received, sw = whole[:-2], int.from_bytes(whole[-2:], "big")
        if level & Level.R_MAC and scp03.is_protected_sw(sw):
            received, mac = received[:-size], received[-size:]
            assert ciphers.is_r_mac(chaining, received, sw, mac)
            assert not ciphers.is_r_mac(chaining, received, sw ^ 1, mac)
        if exchange.get("overpadded"):
            with pytest.raises(Malformed, match="padding"):
                ciphers.decrypt_response(counter, received)
            continue
        plain_answer = bytes.fromhex(exchange["answer"])[:-2]
        if level & Level.R_ENC and received:
            assert ciphers.encrypt_response(counter, plain_answer) == received
            received = ciphers.decrypt_response(counter, received)
        assert received == plain_answer


@pytest.mark.parametrize("session", [one for one in SESSIONS if "aid" in one], ids=lambda one: one["name"])
def test_a_pseudo_random_card_challenge_follows_from_counter_and_aid(session: dict[str, Any]) -> None:
    answer = decode_initialize_update(bytes.fromhex(session["answer"]))
    aid = bytes.fromhex(session["aid"])
    made = scp03.pseudo_random_challenge(keys_of(session).enc, answer.sequence_counter, aid, answer.mac_bytes)
    assert made == answer.card_challenge


def test_a_pseudo_random_challenge_of_16_bytes_is_the_published_one() -> None:
    # github.com/ievkh/scll-rust, the tests named in scp03.json
    key, aid = bytes.fromhex("404142434445464748494A4B4C4D4E4F"), bytes.fromhex("A000000151000000")
    assert scp03.pseudo_random_challenge(key, b"\0\0\1", aid).hex() == "86c8bd65fa1044ee"
    assert scp03.pseudo_random_challenge(key, b"\0\0\1", aid, 16).hex() == "6924434c956736c8ee6122e8a3fc612f"


@pytest.mark.parametrize("key_bytes", scp03.KEY_BYTES)
def test_one_running_context_equals_a_fresh_one_for_every_counter(key_bytes: int) -> None:
    keys = scp03.SessionKeys(bytes(range(key_bytes)), bytes(key_bytes), bytes(key_bytes))
    ciphers = SessionCiphers(keys)
    for counter, data in ((1, b""), (7, bytes(15)), (2, bytes(16)), (7, bytes(255)), (0x10203, b"abc")):
        for block, encrypted in (
            (counter, ciphers.encrypt_command(counter, data)),
            (counter | 0x80 << 120, ciphers.encrypt_response(counter, data)),
        ):
            ecb = Cipher(algorithms.AES(keys.enc), modes.ECB()).encryptor()  # noqa: S305 - one block
            icv = ecb.update(block.to_bytes(16, "big"))
            fresh = Cipher(algorithms.AES(keys.enc), modes.CBC(icv)).encryptor()
            assert encrypted == fresh.update(scp03.pad(data))
        assert ciphers.decrypt_command(counter, ciphers.encrypt_command(counter, data)) == data
        assert ciphers.decrypt_response(counter, ciphers.encrypt_response(counter, data)) == data


@pytest.mark.parametrize("padded", [b"", bytes(16), b"\x80" + bytes(16), b"\x80" + bytes(31), b"a" * 16, b"a\x80"])
def test_broken_padding_is_malformed(padded: bytes) -> None:
    with pytest.raises(Malformed, match="padding"):
        scp03.unpad(padded)


@pytest.mark.parametrize("size", range(33))
def test_padding_comes_off_again(size: int) -> None:
    data = b"\x80" * size
    assert len(scp03.pad(data)) % 16 == 0
    assert scp03.unpad(scp03.pad(data)) == data


def test_data_that_are_no_whole_blocks_are_malformed() -> None:
    ciphers = SessionCiphers(scp03.SessionKeys(bytes(16), bytes(16), bytes(16)))
    for encrypted in (b"", bytes(8), bytes(17)):
        with pytest.raises(Malformed, match="whole blocks"):
            ciphers.decrypt_command(1, encrypted)


@pytest.mark.parametrize(
    ("plain", "sent", "maced"),
    [
        (0x00, 0x04, 0x04),
        (0x80, 0x84, 0x84),
        (0x90, 0x94, 0x94),
        (0x83, 0x87, 0x84),
        (0x10, 0x14, 0x14),
        (0x40, 0x60, 0x04),
        (0xC5, 0xE5, 0x84),
        (0x52, 0x72, 0x14),
    ],
)
def test_the_class_byte_is_marked_and_its_channel_left_out_of_the_mac(plain: int, sent: int, maced: int) -> None:
    assert scp03.protected_cla(plain) == sent
    assert scp03.maced_cla(plain) == maced
    assert scp03.maced_cla(sent) == maced


def test_a_long_lc_goes_into_the_mac_on_three_bytes() -> None:
    assert scp03.maced_header(b"\x00\xdb\x3f\xff", 255) == bytes.fromhex("04DB3FFFFF")
    assert scp03.maced_header(b"\x00\xdb\x3f\xff", 256) == bytes.fromhex("04DB3FFF000100")
    assert scp03.maced_header(b"\x00\xdb\x3f\xff", 16, extended=True) == bytes.fromhex("04DB3FFF000010")


@pytest.mark.parametrize("mac_bytes", [8, 16])
@pytest.mark.parametrize("level", sorted(scp03.LEVELS))
def test_the_longest_plain_data_fill_one_short_apdu(level: Level, mac_bytes: int) -> None:
    longest = scp03.max_plain_bytes(level, mac_bytes)

    def sent_bytes(size: int) -> int:
        return len(scp03.pad(bytes(size))) + mac_bytes if level & Level.C_ENC else size + mac_bytes

    assert sent_bytes(longest) <= 255 < sent_bytes(longest + 1)


def test_only_success_and_warnings_carry_an_r_mac() -> None:
    protected = [sw for sw in range(0x10000) if scp03.is_protected_sw(sw)]
    assert protected == [*range(0x6200, 0x6400), 0x9000]


def test_a_key_set_of_mixed_lengths_is_refused_and_shows_no_key() -> None:
    with pytest.raises(Malformed, match="one length"):
        StaticKeys(bytes(16), bytes(16), bytes(24))
    assert repr(StaticKeys(bytes(16), bytes(16), bytes(16))) == "StaticKeys()"
