"""Sequences of random, mutated and well-protected APDUs to a card, and what must hold after each one.

Whatever the bytes: a status word and no exception; nothing kept unless the command succeeded, but a try that was lost;
no private key in any answer; and to a stranger, who has no PIN and no key, no object that asks for one, and no change.
A sequence is told by its name alone: `play("1 42 7")` plays it again.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from card_session import ADMIN_KEY, KEPT, SERIAL, VALUES, Session, put
from card_states import BEFORE, become_admin, begin, select
from card_world import two_pins
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from messaging_host import tlv
from notation import parse

from cardlink.iso7816.apdu import decode_command
from cardos.maker import Maker
from cardos.records import Chip, Kind, record_name
from cardos.state import Persistent
from cardos.store import MemoryStore

MAKER = Maker(bytes(range(64, 96)), datetime(2026, 1, 1, tzinfo=UTC))  # a seed made up for these tests
STEPS = 25  # of a sequence, before the card is new again
CANARY = bytes.fromhex("5EC2E75EC2E75EC2E75EC2E75EC2E7")
GUARDED = (0x5FC103, 0x5FC108, 0x5FC109, 0x5FC121, 0x5FFF21)  # what asks for the PIN in any state
SW1 = frozenset((0x90, 0x61, 0x62, 0x63, 0x64, 0x65, 0x67, 0x68, 0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F))
SUCCESS = (b"\x90\x00", b"\x63\x10")


class Broken(AssertionError):
    """The card did what it must never do."""


class Watched(MemoryStore):
    """A store that remembers what it held when it was asked last."""

    def __init__(self, records: Mapping[bytes, bytes]) -> None:
        super().__init__(records)
        self._before = self._records

    def changes(self) -> dict[bytes, tuple[bytes | None, bytes | None]]:
        """Records that differ from the last time, with their old and new values."""
        before, after = self._before, self._records
        if before is after:
            return {}
        self._before = after
        return {
            name: (before.get(name), after.get(name))
            for name in before.keys() | after.keys()
            if before.get(name) != after.get(name)
        }


@cache
def filled(*, is_secured: bool = False) -> dict[bytes, bytes]:
    """A card with both PINs, secure messaging, keys, and a canary in each object that asks for the PIN."""
    session = Session(two_pins())
    select(session)
    become_admin(session)
    assert session.say("00 47 00 84 (AC [80 [07]]) 00")[-2] == 0x61
    for tag in GUARDED:
        put(session, tag, CANARY * 3)
    BEFORE["domain"](session)
    BEFORE["channel"](session)
    session.must("80 47 00 00 (AC [4F [PKOC] 80 [11]]) 00")
    if is_secured:
        session.must("80 F0 80 0F (ISD)")
    attesting = MAKER.equip(Chip(SERIAL))
    return session.store.load() | {record_name(one.kind, one.number): one.encode() for one in attesting}


@cache
def private_parts() -> tuple[bytes, ...]:
    """Each secret of the filled card, a scalar, a factor, a key: none may ever be in an answer."""
    records = filled()
    keys = [
        secret_number(load_der_private_key(value[3:], None)) for name, value in records.items() if name[0] == Kind.KEY
    ]
    sets = [value[:16] for name, value in records.items() if name[0] == Kind.KEY_SET]
    return (*keys, *sets, ADMIN_KEY, VALUES["PIN"], VALUES["PUK"], VALUES["GLOBAL"])


def secret_number(key: object) -> bytes:
    """The scalar of an EC key, or the first factor of an RSA key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.private_numbers().p.to_bytes(key.key_size // 16, "big")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big").lstrip(b"\0")


OPEN = [
    "00 A4 04 00 (AID) 00",
    "00 A4 04 00 (ISD) 00",
    *(f"00 CB 3F FF (5C [{tag}]) 00" for tag in ("5FC102", "5FC109", "7E", "7F61", "5FFF20", "5FFF21", "5FC108")),
    "00 20 00 80",
    "00 20 FF 80",
    "00 20 00 80 (WRONG)",
    "00 20 00 00 (WRONG)",
    "00 20 00 98 (WRONGCODE)",
    "00 24 00 80 (WRONG NEWPIN)",
    "00 24 00 81 (WRONGPUK NEWPUK)",
    "00 2C 00 80 (WRONGPUK NEWPIN)",
    *(f"00 87 11 {ref} (7C [82 [] 81 [AB*32]]) 00" for ref in ("9A", "9C", "9E")),
    "00 87 11 9D (7C [82 [] 85 [P256]]) 00",
    "00 87 07 84 (7C 82 0106 82 00 81 82 0100 00*200) 00",
    "00 87 0A 9B (7C [81 []]) 00",
    "00 87 0A 9B (7C [80 []]) 00",
    "00 87 0A 9B (7C [82 [00*16]]) 00",
    "00 87 0A 9B (7C [80 [00*16] 81 [AB*16] 82 []]) 00",
    "00 87 27 04 (7C [81 [00 11*8 P256] 82 []]) 00",
    "0C CB 3F FF (8E [00*8]) 00",
    "1C 87 11 9E (87 [01 00*16])",
    "10 87 11 9E (7C 24 82 00)",
    "00 87 11 9E (81 [AB*32]) 00",
    "00 A4 04 00 (DOOR) 00",
    "00 88 00 9E (11*48) 00",
    "00 A4 04 00 (PKOC) 00",
    "80 80 00 01 (5C [0100] 4C [11*16] 4D [22*32]) 00",
    "80 47 00 00 (AC [4F [PKOC] 80 [11]]) 00",
    "00 DB 3F FF (5C [5FC101] 53 [AB*40])",
    "00 DB 3F FF (DISCOVERY 4000)",
    "00 DB 3F FF (DISCOVERY 4C00)",
    "00 DB 3F FF <5C [5FC108] 53 [AB*300]>",
    "10 DB 3F FF (5C 03 5FC108 53 82 0100 AB*100)",
    "00 DB 3F FF (AB*156)",
    "00 47 00 9E (AC [80 [11]]) 00",
    "00 47 00 04 (AC [80 [27]]) 00",
    "00 FD 00 00 00",
    "00 F8 00 00 00",
    "00 F7 00 9A 00",
    "00 F7 00 80 00",
    "00 F9 9A 00 00",
    "00 CA 00 66 00",
    "00 E2 90 00 (42 [0102])",
    "00 FE 11 95 (06 [01*32] AA [02])",
    "00 F6 85 9A",
    "00 F6 FF 9A",
    "00 FF FF FF (0A 9B [01*24])",
    "00 FA 03 04",
    "00 FB 00 00",
    "00 C0 00 00 00",
    "80 50 30 00 (11*8) 00",
    "84 82 01 00 (11*16)",
    "80 CA 9F 7F 00",
    "80 CA 00 66 00",
    "80 CA 00 E0 00",
    "80 F2 40 02 (4F []) 00",
    "80 F0 80 0F (ISD)",
    "80 F0 40 87 (AID)",
    "80 D8 30 81 (NEWSET) 00",
    "80 E2 90 00 (9F7F [00*8])",
    "80 E4 00 00 (D2 [30])",
]
WITH_SECRETS = [
    "00 20 00 80 (PIN)",
    "00 24 00 80 (PIN NEWPIN)",
    "00 24 00 81 (PUK NEWPUK)",
    "00 2C 00 80 (PUK NEWPIN)",
    "00 20 00 00 (GLOBAL)",
    "00 24 00 00 (GLOBAL NEWPIN)",
    "00 24 01 00 (NEWPIN)",
    "00 20 00 98 (CODE)",
]


@cache
def examples(*, is_stranger: bool) -> tuple[bytes, ...]:
    texts = OPEN if is_stranger else OPEN + WITH_SECRETS
    return tuple(parse(text, lambda name: VALUES[name]) for text in texts)


@dataclass(frozen=True, slots=True)
class Start:
    """How a sequence begins."""

    words: str
    face: str
    is_stranger: bool


STARTS = (
    Start("cold", "contact", True),
    Start("", "contact", True),
    Start("", "contactless", True),
    Start("SM", "contact", True),
    Start("SM", "contactless", True),
    Start("door", "contactless", True),
    Start("pkoc", "contactless", True),
    Start("domain", "contact", True),
    Start("domain", "contactless", True),
    Start("pin", "contact", False),
    Start("SM pin", "contactless", False),
    Start("SM code global", "contactless", False),
    Start("admin pin", "contact", False),
    Start("admin", "contact", False),
    Start("channel", "contact", False),
    Start("pin channel", "contact", False),
    Start("domain channel", "contact", False),
)


def begun(start: Start) -> tuple[Session, Watched]:
    """A card of its own in that state."""
    store = Watched(filled(is_secured=start.is_stranger))
    session = Session({}, start.face, store)
    begin(session, start.words.split())
    store.changes()
    return session, store


def play(name: str) -> int:
    """Play the sequence of that name. Raises Broken, with the sequence in its message; how many APDUs there were."""
    rng = random.Random(name)
    start = rng.choice(STARTS)
    session, store = begun(start)
    said: list[bytes] = []
    try:
        for _ in range(STEPS):
            apdu = rng.choice(MAKERS)(rng, examples(is_stranger=start.is_stranger))
            said.append(apdu)
            step(session, store, apdu, start, is_inside=rng.random() < 0.7, is_cut=rng.random() < 0.2)
        live, fresh = session.card.persistent, Persistent(store)
        for part in KEPT:
            if getattr(live, part) != getattr(fresh, part):
                raise Broken(f"the card believes other {part} than it keeps")
    except Exception as error:
        told = "\n".join(apdu.hex() for apdu in said)
        raise Broken(f"sequence {name!r} from {start}:\n{told}\n{type(error).__name__}: {error}") from error
    return len(said)


def step(session: Session, store: Watched, apdu: bytes, start: Start, *, is_inside: bool, is_cut: bool = False) -> None:
    """Say one APDU, inside the session's protection where it has one, and check what came of it.

    `is_cut`: inside a channel of SCP03 it is protected whole and then cut.
    """
    if is_inside and is_short(apdu) and session.channel is not None:
        blocks = session.channel.cut(apdu, 60) if is_cut and len(apdu) > 5 else [session.channel.wrap(apdu)]
        for block in blocks:
            answer = session.send(block)
            check(answer, store.changes(), is_stranger=start.is_stranger)
        return
    if is_inside and is_short(apdu) and session.messaging is not None:
        answer = session.messaging.transmit(apdu)
    else:
        answer = session.send(apdu)
    check(answer, store.changes(), is_stranger=start.is_stranger)


def is_short(apdu: bytes) -> bool:
    """Can it be protected: a well-formed short APDU with room for its MAC and padding."""
    return (
        4 <= len(apdu) <= 230 and (len(apdu) <= 5 or apdu[4] in (len(apdu) - 5, len(apdu) - 6)) and apdu[4:5] != b"\0"
    )


def check(answer: bytes, changes: Mapping[bytes, tuple[bytes | None, bytes | None]], *, is_stranger: bool) -> None:
    """What must hold after any command. Raises Broken."""
    if len(answer) < 2 or answer[-2] not in SW1:
        raise Broken(f"answer {answer.hex()}")
    for secret in private_parts():
        if secret in answer:
            raise Broken("a secret in an answer")
    if is_stranger and CANARY in answer:
        raise Broken("an object that asks for the PIN in an answer to a stranger")
    is_success = answer[-2] == 0x61 or answer[-2:] in SUCCESS
    if not is_success and len(answer) > 2:
        raise Broken(f"data with {answer[-2:].hex()}")
    if is_success and not is_stranger:
        return
    for name, (old, new) in changes.items():
        # a wrong PIN or PUK costs a try: the counter, second byte of the record, and nothing else
        lost = old is not None and new is not None and new == old[:1] + bytes((old[1] - 1,)) + old[2:]
        if name[0] != Kind.REFERENCE or not lost or answer[-2] != 0x63:
            raise Broken(f"record {name.hex()} changed by a command that answered {answer[-2:].hex()}")


# --- makers of APDUs ----------------------------------------------------------------------------------------------

Maker = Callable[[random.Random, tuple[bytes, ...]], bytes]


def random_bytes(rng: random.Random, known: tuple[bytes, ...]) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 3, 4, 5, 6, 7, 8, 20, 260, 300)))


def any_header(rng: random.Random, known: tuple[bytes, ...]) -> bytes:
    """A random header with a body in one of the length forms, right or wrong."""
    data = rng.randbytes(rng.choice((0, 1, 2, 8, 16, 40)))
    lengths = (b"", bytes((len(data),)), b"\x00" + len(data).to_bytes(2, "big"), rng.randbytes(1))
    return rng.randbytes(4) + rng.choice(lengths) + data + rng.choice((b"", b"\x00", b"\x00\x00"))


def example(rng: random.Random, known: tuple[bytes, ...]) -> bytes:
    return rng.choice(known)


def mutated(rng: random.Random, known: tuple[bytes, ...]) -> bytes:
    apdu = bytearray(rng.choice(known))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
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
                apdu[0] = rng.choice((0x00, 0x04, 0x0C, 0x10, 0x1C, 0x80, 0x84, 0x94, rng.randrange(256)))
        if not apdu:
            return b""
    return bytes(apdu)


def inner(rng: random.Random, known: tuple[bytes, ...]) -> bytes:
    """Data mutated under a right Lc: past the length checks, into the parsers."""
    apdu = rng.choice(known)
    try:
        command = decode_command(apdu)
    except ValueError:
        return apdu
    data = bytearray(command.data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0 if data:
                data[at % len(data)] = rng.randrange(256)
            case 1:
                del data[at : at + rng.choice((1, 2, 8))]
            case 2:
                data[at:at] = rng.choice((b"\0", tlv("82", b""), tlv("5C", b"\x7e"), rng.randbytes(3), bytes(data[:8])))
            case _:
                data = data[at:] + data[:at]
    header = bytearray(apdu[:4])
    if rng.random() < 0.3:
        header[rng.randrange(2, 4)] = rng.choice((0x00, 0x04, 0x80, 0x81, 0x9A, 0x9B, 0x9E, 0x82, 0xFF, 0x3F))
    body = bytes(data[:255])
    return bytes(header) + (bytes((len(body),)) + body if body else b"") + rng.choice((b"", b"\x00"))


def block(rng: random.Random, known: tuple[bytes, ...]) -> bytes:
    """One block of a chain, sometimes the last."""
    apdu = rng.choice(known)
    at = rng.randrange(5, max(6, len(apdu)))
    data = apdu[5:at][:255]
    cla = apdu[0] | rng.choice((0x10, 0x10, 0x00))
    return bytes((cla, *apdu[1:4], len(data))) + data if data else bytes((cla, *apdu[1:4]))


MAKERS: tuple[Maker, ...] = (
    example,
    example,
    example,
    mutated,
    mutated,
    inner,
    inner,
    inner,
    block,
    any_header,
    random_bytes,
)
