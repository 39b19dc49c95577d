"""Whatever bytes come: a status word, no exception, and nothing kept unless the command succeeded."""

import os
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cardlink.gp import commands as gp
from cardlink.gp import inventory
from cardlink.gp.scp03 import SessionCiphers, StaticKeys, derive_session, host_cryptogram, maced_header
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv import tables, yubico
from cardlink.piv.tables import Interface
from cardlink.piv.templates import Authentication
from cardos.card import Card
from cardos.defaults import FACTORY_ADMIN_KEY
from cardos.factory import make_blank
from cardos.records import Kind
from cardos.store import MemoryStore

# keys made up for these tests
SERIAL = bytes.fromhex("0001000200C0FFEE0001")
TRANSPORT = StaticKeys(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
PIN = b"123456\xff\xff"
COUNT = int(os.environ.get("THEMO_FUZZ_APDUS", "20000"))  # ./run soak card asks for ten million


class Watched(MemoryStore):
    """A store that remembers which records were touched since it was asked last."""

    def __init__(self, records: Mapping[bytes, bytes]) -> None:
        super().__init__(records)
        self.before = self.load()

    def changes(self) -> dict[bytes, tuple[bytes | None, bytes | None]]:
        """Records that differ from the last time, with their old and new values."""
        before, after = self.before, self.load()
        self.before = after
        names = before.keys() | after.keys()
        return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


@cache
def issued() -> dict[bytes, bytes]:
    """A card with keys and objects."""
    store = MemoryStore(make_blank(SERIAL, TRANSPORT))
    card = Card(store)
    become_admin(card)
    for ref, algorithm in ((0x9A, 0x11), (0x9C, 0x14), (0x9D, 0x11), (0x9E, 0x11), (0x82, 0x07)):
        assert card.transmit(piv.generate_key(ref, algorithm).encode())[-2] in (0x90, 0x61)
    for tag in (0x5FC102, 0x5FC109, 0x5FFF20, 0x5FFF21):
        assert card.transmit(piv.put_data(tag, bytes(180)).encode()) == b"\x90\x00"
    return store.load()


def selected(card: Card) -> None:
    card.transmit(piv.SELECT_PIV_APDU)


def become_admin(card: Card) -> None:
    selected(card)
    answer = card.transmit(piv.general_authenticate(0x0A, 0x9B, Authentication(challenge=b"")).encode())
    block = tlv.unwrap(tlv.unwrap(answer[:-2], 0x7C), 0x81)
    shown = Cipher(algorithms.AES(FACTORY_ADMIN_KEY), modes.ECB()).encryptor().update(block)  # noqa: S305 one block
    assert card.transmit(piv.general_authenticate(0x0A, 0x9B, Authentication(response=shown)).encode()) == b"\x90\x00"


def verified(card: Card) -> None:
    become_admin(card)
    card.transmit(piv.verify(PIN).encode())


def in_channel(card: Card) -> None:
    card.transmit(gp.select().encode())
    update = gp.decode_initialize_update(card.transmit(gp.initialize_update(0, bytes(8)).encode())[:-2])
    session = derive_session(TRANSPORT, bytes(8), update.card_challenge)
    request = gp.external_authenticate(0x01, host_cryptogram(session, bytes(8), update.card_challenge))
    header = maced_header(bytes((0x84, 0x82, 0x01, 0x00)), 16)
    mac = SessionCiphers(session).c_mac(bytes(16), header + request.data)[:8]
    assert card.transmit(Command(0x84, 0x82, 0x01, 0x00, request.data + mac).encode()) == b"\x90\x00"


def powered(card: Card) -> None:
    card.reset()


# RESET, SET PIN RETRIES and PIN commands would soon leave nothing to test; each has its own tests
EXAMPLES = [
    one.encode()
    for one in (
        piv.select(),
        gp.select(),
        *(piv.get_data(tag) for tag in (0x5FC102, 0x5FC109, 0x7E, 0x7F61, 0x5FFF20, 0x5FFF21)),
        piv.put_data(0x5FC101, bytes(40)),
        piv.put_data(0x7E, bytes.fromhex("4F0BA0000003080000100001005F2F024000")),
        piv.sign(0x11, 0x9E, bytes(32)),
        piv.sign(0x11, 0x9A, bytes(32)),
        piv.agree(0x11, 0x9D, b"\x04" + bytes(64)),
        piv.general_authenticate(0x0A, 0x9B, Authentication(challenge=b"")),
        piv.general_authenticate(0x0A, 0x9B, Authentication(witness=bytes(16), challenge=bytes(16), response=b"")),
        piv.generate_key(0x9E, 0x11),
        piv.verify(b""),
        piv.verify(PIN),
        yubico.get_version(),
        yubico.get_serial(),
        yubico.get_metadata(0x9E),
        yubico.move_key(0x9A, 0x83),
        yubico.import_key(yubico.ImportedKey(0x11, 0x95, (bytes(31) + b"\x05",))),
        yubico.set_management_key(0x0A, bytes.fromhex("0102030405060708") * 3),
        gp.initialize_update(0x30, bytes(8)),
        gp.external_authenticate(0x33, bytes(16)),
        inventory.get_data(inventory.CardTag.CPLC),
        inventory.get_status(inventory.Scope.APPLICATIONS),
        inventory.set_status(inventory.Scope.ISSUER_DOMAIN, 0x0F, gp.ISD_AID),
        gp.put_key_set(TRANSPORT, TRANSPORT.dek, 0x30, 0x30).encode(),
        Command(0x00, 0xC0, 0x00, 0x00, b"", 256),
        Command(0x10, 0x87, 0x11, 0x9E, bytes(20)),
        Command(0x00, 0xDB, 0x3F, 0xFF, bytes.fromhex("5C035FC1085382012C") + bytes(300), None, extended=True),
    )
]


def random_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 3, 4, 5, 6, 7, 8, 20, 260, 300)))


def any_header(rng: random.Random) -> bytes:
    """A random header with a body in one of the length forms, right or wrong."""
    data = rng.randbytes(rng.choice((0, 1, 2, 8, 16, 40)))
    lengths = (b"", bytes((len(data),)), b"\x00" + len(data).to_bytes(2, "big"), rng.randbytes(1))
    return rng.randbytes(4) + rng.choice(lengths) + data + rng.choice((b"", b"\x00", b"\x00\x00"))


def mutated(rng: random.Random) -> bytes:
    apdu = bytearray(rng.choice(EXAMPLES))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        at = rng.randrange(len(apdu))
        match rng.randrange(5):
            case 0:
                apdu[at] ^= 1 << rng.randrange(8)
            case 1:
                apdu[at] = rng.choice((0x00, 0x01, 0x7F, 0x80, 0x81, 0x82, 0xFF))
            case 2:
                del apdu[at:]
            case 3:
                apdu[at:at] = rng.randbytes(rng.choice((1, 2, 200)))
            case _:
                apdu[0] = rng.randrange(256)
        if not apdu:
            return b""
    return bytes(apdu)


def apdus(rng: random.Random, count: int) -> Iterator[bytes]:
    makers: tuple[Callable[[random.Random], bytes], ...] = (
        mutated,
        mutated,
        mutated,
        mutated,
        any_header,
        random_bytes,
    )
    return (rng.choice(makers)(rng) for _ in range(count))


@pytest.mark.parametrize("interface", list(Interface))
@pytest.mark.parametrize("begin", [powered, selected, verified, in_channel])
def test_any_bytes_get_a_status_word_and_change_nothing_unless_they_succeed(
    begin: Callable[[Card], None], interface: Interface
) -> None:
    rng = random.Random(f"{begin.__name__} {interface.value}")
    store = Watched(issued())
    card = Card(store)
    for number, apdu in enumerate(apdus(rng, COUNT // 8)):
        if number % 25 == 0:
            store = Watched(issued())
            card = Card(store)
            begin(card)
            store.changes()
        answer = card.transmit(apdu, interface)
        assert len(answer) >= 2, apdu.hex()
        assert answer[-2] in (0x90, 0x61, 0x62, 0x63, 0x65, 0x67, 0x68, 0x69, 0x6A, 0x6C, 0x6D, 0x6E), apdu.hex()
        changes = store.changes()
        if answer[-2] in (0x90, 0x61):
            continue
        assert len(answer) == 2, apdu.hex()
        for name, (old, new) in changes.items():
            # a wrong PIN or PUK costs a try: the counter, second byte of the record, and nothing else
            assert name[0] == Kind.REFERENCE, apdu.hex()
            assert answer[-2] == 0x63, apdu.hex()
            assert old is not None
            assert new is not None
            assert (new[0], new[1], new[2:]) == (old[0], old[1] - 1, old[2:]), apdu.hex()


def test_all_class_and_instruction_bytes_get_a_status_word() -> None:
    for begin in (powered, selected):
        card = Card(MemoryStore(issued()))
        begin(card)
        for cla in range(256):
            for ins in range(256):
                answer = card.transmit(bytes((cla, ins, 0x00, 0x00)))
                assert len(answer) >= 2
                assert answer[-2] >> 4 in (6, 9)


def test_every_container_of_the_table_can_be_asked_for_in_any_state() -> None:
    card = Card(MemoryStore(issued()))
    for interface in Interface:
        card.transmit(piv.SELECT_PIV_APDU, interface)
        for tag in (*tables.CONTAINERS, 0x5FC17F, 0x5FFF00, 0x4F, 0x5F2F):
            assert card.transmit(piv.get_data(tag).encode(), interface)[-2] in (0x90, 0x61, 0x69, 0x6A)
