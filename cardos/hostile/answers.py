"""Cards whose answers break the protocol, or never end."""

import os
from collections.abc import Callable
from types import MappingProxyType

from cardlink.iso7816.apdu import Ins
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv.commands import get_data
from cardlink.piv.tables import CARD_CREDENTIAL, Interface
from cardos.hostile.faulty import READS, Faulty, answer_always, change_answers, ins_of
from cardos.vpcd import Answering

HUGE_BYTES = 65_533
DEEP = 10_000
_TEMPLATE = 0x53


def garbage(card: Answering, *, random: Callable[[int], bytes] = os.urandom, size: int = 64) -> Faulty:
    """Answers everything but SELECT with random bytes and 9000."""
    instructions = frozenset(range(256)) - {Ins.SELECT}
    return answer_always(card, instructions, lambda: random(size) + SUCCESS_BYTES)


def always_sw(card: Answering, sw: int) -> Faulty:
    """Answers everything but SELECT with this status word."""
    instructions = frozenset(range(256)) - {Ins.SELECT}
    return answer_always(card, instructions, lambda: sw.to_bytes(2, "big"))


def no_status_word(card: Answering) -> Faulty:
    """Answers reads with a single byte."""
    return answer_always(card, READS, lambda: b"\x90")


def endless_61(card: Answering) -> Faulty:
    """Has always more to give: full answers, each announcing the next."""
    return answer_always(card, READS, lambda: bytes(256) + b"\x61\x00")


def empty_61(card: Answering) -> Faulty:
    """Announces more and gives nothing."""
    return answer_always(card, READS, lambda: b"\x61\x00")


def ping_pong_6c(card: Answering) -> Faulty:
    """Is never content with Le."""
    wanted = 0x10

    def answer() -> bytes:
        nonlocal wanted
        wanted ^= 0x30
        return bytes((0x6C, wanted))

    return answer_always(card, READS, answer)


def six_c_and_61(card: Answering) -> Faulty:
    """Wants another Le, then announces more, then wants another Le: in turns without end."""
    turn = 0

    def answer() -> bytes:
        nonlocal turn
        turn += 1
        return b"\x6c\x20" if turn % 2 else b"\x61\x20"

    return answer_always(card, READS, answer)


def huge_answer(card: Answering) -> Faulty:
    """Answers reads with 64 KB at once."""
    return answer_always(card, READS, lambda: bytes(HUGE_BYTES) + SUCCESS_BYTES)


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    return b"\x82" + size.to_bytes(2, "big")


def _first(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and value of the first data object of a well-formed answer, and what stands behind it."""
    size, at = data[1], 2
    if size > 0x80:
        at = 2 + (size & 0x7F)
        size = int.from_bytes(data[2:at], "big")
    return data[0], data[at : at + size], data[at + size :]


def _truncated(tag: int, value: bytes, rest: bytes) -> bytes:
    whole = bytes((tag,)) + _length(len(value)) + value + rest
    return whole[: len(whole) // 2]


def _non_minimal(tag: int, value: bytes, rest: bytes) -> bytes:
    return bytes((tag, 0x83)) + len(value).to_bytes(3, "big") + value + rest


def _deep(tag: int, value: bytes, rest: bytes) -> bytes:
    """As deep as fits into what two length bytes can say."""
    depth, sizes = min(DEEP, 65_000 // 4), [0]
    for _ in range(depth - 1):
        sizes.append(sizes[-1] + 1 + len(_length(sizes[-1])))
    return b"".join(bytes((0x70,)) + _length(size) for size in reversed(sizes))


TLV_SHAPES: MappingProxyType[str, Callable[[int, bytes, bytes], bytes]] = MappingProxyType(
    {
        "truncated": _truncated,
        "trailing": lambda tag, value, rest: bytes((tag,)) + _length(len(value)) + value + rest + b"\x00\x00",
        "indefinite": lambda tag, value, rest: bytes((tag, 0x80)) + value + b"\x00\x00" + rest,
        "non-minimal": _non_minimal,
        "huge-length": lambda tag, value, rest: bytes((tag, 0x84)) + b"\x7f\xff\xff\xff" + value + rest,
        "repeated": lambda tag, value, rest: (bytes((tag,)) + _length(len(value)) + value) * 2 + rest,
        "nested": _deep,
    }
)
CBOR_BOMBS: MappingProxyType[str, bytes] = MappingProxyType(
    {
        "nested": b"\x81" * DEEP,
        "huge-array": b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
        "huge-text": b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
        "indefinite": b"\x9f" * 200,
        "tags": b"\xd2" * 250,
    }
)


def broken_tlv(card: Answering, shape: str) -> Faulty:
    """Gives data objects whose encoding is broken in one of the ways of `TLV_SHAPES`."""
    make = TLV_SHAPES[shape]
    concerned = frozenset((Ins.GET_DATA, Ins.INTERNAL_AUTHENTICATE))
    return change_answers(card, lambda apdu: ins_of(apdu) in concerned, lambda apdu, data: make(*_first(data)))


def cbor_bomb(card: Answering, shape: str) -> Faulty:
    """Shows a credential that is one of `CBOR_BOMBS`."""
    bomb = CBOR_BOMBS[shape]
    asked = get_data(CARD_CREDENTIAL.tag).data

    def concerns(apdu: bytes) -> bool:
        ins = ins_of(apdu)
        return ins == Ins.INTERNAL_AUTHENTICATE or (ins == Ins.GET_DATA and apdu[5 : 5 + len(asked)] == asked)

    def change(apdu: bytes, data: bytes) -> bytes:
        return bytes((_TEMPLATE,)) + _length(len(bomb)) + bomb + _first(data)[2]

    return change_answers(card, concerns, change)


def echo(card: Answering) -> Faulty:
    """Answers reads with the command that it was sent."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        return apdu + SUCCESS_BYTES if ins_of(apdu) in READS else card.transmit(apdu, interface)

    return Faulty(card, transmit)
