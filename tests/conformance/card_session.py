"""A session with a card under test: it says the tables' commands, over a face, in the clear or inside a protection.

Everything goes through APDUs, as from a stranger; only the arithmetic of SCP03 is taken from `cardlink`, and only to
open channels.
"""

from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from messaging_host import MessagingHost, collect
from notation import parse

from cardlink.gp.commands import put_key_set
from cardlink.gp.scp03 import (
    SessionCiphers,
    StaticKeys,
    card_cryptogram,
    derive_session,
    host_cryptogram,
    maced_header,
)
from cardlink.iso7816.apdu import Command, decode_command
from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.state import Persistent
from cardos.store import MemoryStore, Store

# keys and references made up for these tests
SERIAL = bytes.fromhex("0001000200C0FFEE0001")
TRANSPORT = StaticKeys(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
NEW_KEYS = StaticKeys(bytes(16), bytes([1]) * 16, bytes([2]) * 16)
ADMIN_KEY = bytes.fromhex("0102030405060708") * 3
CODE = b"20304050"

VALUES = {
    "AID": bytes.fromhex("A000000308000010000100"),
    "DOOR": bytes.fromhex("F07468656D6F4401"),
    "PKOC": bytes.fromhex("A000000898000001"),
    "ISD": bytes.fromhex("A000000151000000"),
    "PIN": b"123456\xff\xff",
    "WRONG": b"654321\xff\xff",
    "NEWPIN": b"77777777",
    "SHORT": b"12345\xff\xff\xff",
    "LETTER": b"12345A\xff\xff",
    "HOLE": b"123\xff456\xff",
    "PUK": b"12345678",
    "WRONGPUK": b"00000000",
    "NEWPUK": bytes(range(8)),
    "CODE": CODE,
    "WRONGCODE": b"00000000",
    "GLOBAL": b"24681357",
    "NEWSET": put_key_set(NEW_KEYS, TRANSPORT.dek, 0x01).encode().data,
    "DISCOVERY": bytes.fromhex("7E124F0BA0000003080000100001005F2F02"),
    # the generator of the curve, a point like any other; and one that is on no curve
    "P256": bytes.fromhex(
        "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
        "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
    ),
    "P384": bytes.fromhex(
        "04AA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7"
        "3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F"
    ),
    "OFFCURVE": b"\x04" + bytes(63) + b"\x01",
}
KEPT = tuple(name for name in Persistent.__slots__ if not name.startswith("_"))  # what a card keeps, decoded


class Channel:
    """A channel of SCP03 from the host's end, with commands protected by their MAC alone unless `level` says more."""

    def __init__(self, send: Callable[[bytes], bytes], level: int = 0x01, keys: StaticKeys = TRANSPORT) -> None:
        host_challenge = b"\x11" * 8
        answer = send(bytes.fromhex("8050000008") + host_challenge + b"\x00")
        assert answer[-2:] == b"\x90\x00", answer.hex()
        card_challenge, shown = answer[13:21], answer[21:29]
        session = derive_session(keys, host_challenge, card_challenge)
        assert shown == card_cryptogram(session, host_challenge, card_challenge)
        self._ciphers, self._mcv, self._level, self._counter = SessionCiphers(session), bytes(16), 0, 0
        proof = host_cryptogram(session, host_challenge, card_challenge)
        assert send(self.wrap(bytes((0x80, 0x82, level, 0x00, 8)) + proof)) == b"\x90\x00"
        self._level, self._counter = level, 0

    def wrap(self, apdu: bytes) -> bytes:
        one = decode_command(apdu)
        self._counter += 1
        data = one.data
        if self._level & 0x02 and data:
            data = self._ciphers.encrypt_command(self._counter, data)
        cla = one.cla | 0x04
        header = maced_header(bytes((cla, one.ins, one.p1, one.p2)), len(data) + 8)
        self._mcv = self._ciphers.c_mac(self._mcv, header + data)
        return Command(cla, one.ins, one.p1, one.p2, data + self._mcv[:8], one.le).encode()

    def cut(self, apdu: bytes, block: int = 200) -> list[bytes]:
        """A command protected whole and then cut, as some hosts do."""
        one = decode_command(apdu)
        self._counter += 1
        data = one.data
        if self._level & 0x02 and data:
            data = self._ciphers.encrypt_command(self._counter, data)
        cla = one.cla | 0x04
        header = maced_header(bytes((cla, one.ins, one.p1, one.p2)), len(data) + 8, extended=True)
        self._mcv = self._ciphers.c_mac(self._mcv, header + data)
        return chain(Command(cla, one.ins, one.p1, one.p2, data + self._mcv[:8], one.le, True).encode(), block)


class Session:
    """One card, one face, and what its host remembers."""

    def __init__(self, records: Mapping[bytes, bytes], face: str = "contact", store: Store | None = None) -> None:
        self.store: Store = store or MemoryStore(records)
        self.card = Card(self.store)
        self.face = Interface(face)
        self.messaging: MessagingHost | None = None
        self.channel: Channel | None = None
        self._challenge = self._witness = bytes(16)

    def send(self, apdu: bytes) -> bytes:
        """One APDU as it stands, over this session's face."""
        return self.card.transmit(apdu, self.face)

    def say(self, text: str) -> bytes:
        """A command of a table. `clear:`, `raw:` and the like in front of it say how it travels."""
        how, _, rest = text.rpartition(":")
        if how == "power":
            self.card.reset()
            self.messaging = self.channel = None
            return b"\x90\x00"
        apdu = parse(rest, self._named)
        answer = self._travel(how, apdu)
        self._remember(answer)
        return answer

    def must(self, text: str) -> bytes:
        """Say a command that succeeds."""
        answer = self.say(text)
        assert answer[-2:] == b"\x90\x00", f"{text}: {answer[-2:].hex()}"
        return answer[:-2]

    def _travel(self, how: str, apdu: bytes) -> bytes:
        if how in ("contact", "contactless"):
            return self.card.transmit(apdu, Interface(how))
        if how.startswith("chain"):
            *first, last = chain(apdu, int(how.removeprefix("chain") or 255))
            for block in first:
                answer = self.send(block)
                if answer != b"\x90\x00":
                    return answer
            return collect(self.send, last)
        if how in ("raw", "clear"):
            return self.send(apdu)
        if self.messaging is not None:
            return self._protected(how, apdu)
        if self.channel is not None:
            if how.startswith("cut"):
                *first, last = self.channel.cut(apdu)
                for index, block in enumerate(first):
                    changed = block[:-1] + bytes((block[-1] ^ 1,)) if how == "cutflip" and not index else block
                    answer = self.send(changed)
                    if answer != b"\x90\x00":
                        return answer
                return collect(self.send, last)
            wrapped = self.channel.wrap(apdu)
            if how == "flip":
                last = 4 + wrapped[4]
                wrapped = wrapped[:last] + bytes((wrapped[last] ^ 1,)) + wrapped[last + 1 :]
            if how == "again":
                self.send(wrapped)
            return self.send(wrapped)
        return self.send(apdu)

    def _protected(self, how: str, apdu: bytes) -> bytes:
        assert self.messaging is not None
        if not how:
            return self.messaging.transmit(apdu)
        *first, last = self.messaging.wrap(apdu)
        assert not first
        if how == "again":
            collect(self.send, last)
        return collect(self.send, BREAK[how](last))

    def _remember(self, answer: bytes) -> None:
        if answer.startswith(b"\x7c") and answer[2:3] in (b"\x80", b"\x81"):
            block = answer[4:-2].ljust(16, b"\0")
            self._challenge, self._witness = (block, self._witness) if answer[2] == 0x81 else (self._challenge, block)

    def _named(self, name: str) -> bytes:
        cipher = Cipher(algorithms.AES(ADMIN_KEY), modes.ECB())  # noqa: S305 one block of random
        if name == "PROOF":
            return cipher.encryptor().update(self._challenge[:16])
        if name == "WITNESS":
            return cipher.decryptor().update(self._witness[:16])
        return VALUES[name]


def rebuilt(apdu: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A protected command with other data in it."""
    data = change(apdu[5 : 5 + apdu[4]])
    return apdu[:4] + bytes((len(data),)) + data + b"\x00"


BREAK: dict[str, Callable[[bytes], bytes]] = {
    "again": lambda apdu: apdu,
    "flip": lambda apdu: rebuilt(apdu, lambda data: data[:-1] + bytes((data[-1] ^ 1,))),
    "header": lambda apdu: apdu[:2] + bytes((apdu[2] ^ 1,)) + apdu[3:],
    "nomac": lambda apdu: rebuilt(apdu, lambda data: data[:-10]),
    "shortmac": lambda apdu: rebuilt(apdu, lambda data: data[:-10] + b"\x8e\x04" + data[-8:-4]),
    "junk": lambda apdu: rebuilt(apdu, lambda data: b"\x87\x7f"),
}


def chain(apdu: bytes, block: int) -> list[bytes]:
    """A command as a chain of short blocks; the last carries Le."""
    head, data = apdu[:4], decode_command(apdu).data
    parts = [data[at : at + block] for at in range(0, len(data), block)]
    *first, last = parts
    return [
        *(bytes((head[0] | 0x10, *head[1:], len(part))) + part for part in first),
        head + bytes((len(last),)) + last + b"\x00",
    ]


def put(session: Session, tag: int, content: bytes) -> None:
    name = tag.to_bytes((tag.bit_length() + 7) // 8, "big").hex()
    text = f"{name} [{content.hex()}]" if tag in (0x7E, 0x7F61) else f"5C [{name}] 53 [{content.hex()}]"
    session.must(f"chain: 00 DB 3F FF <{text}>")
