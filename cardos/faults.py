"""Cards that misbehave: wrappers of a card's `transmit` for door tests and demonstrations, by name in `PROFILES`.

A profile does what an attacker or a broken card does at a door; it never changes the card that it wraps.
"""

import os
import time
from collections.abc import Callable, Iterable
from types import MappingProxyType

from cardlink.errors import CardStatus, LinkLost, Malformed
from cardlink.gp.scp03 import StaticKeys
from cardlink.iso7816.apdu import Ins, decode_response
from cardlink.iso7816.sw import SUCCESS_BYTES, SW, is_more_available
from cardlink.piv import commands as piv
from cardlink.piv.tables import CHUID, CONTAINERS, KEYS, Algorithm, Interface, KeyRef
from cardlink.piv.templates import encode_response
from cardlink.piv.yubico import Origin
from cardos.factory import make_blank
from cardos.piv.auth import default_pin_policy
from cardos.piv.keys import generate, save_private
from cardos.records import Record, SlotKey, StoredObject, record_name
from cardos.vpcd import Answering

Transmit = Callable[[bytes, Interface], bytes]
Profile = Callable[[Answering], "Faulty"]
HUGE_BYTES = 65_533
SLOW_S = 0.5


class Faulty:
    """A card with a profile on. It can lie in a reader like any other."""

    __slots__ = ("_below", "_on_reset", "transmit")

    def __init__(self, below: Answering, transmit: Transmit, on_reset: Callable[[], None] | None = None) -> None:
        self._below = below
        self._on_reset = on_reset
        self.transmit = transmit

    @property
    def atr(self) -> bytes:
        """The ATR of the card below."""
        return self._below.atr

    def reset(self) -> None:
        """Reset the card below."""
        if self._on_reset is not None:
            self._on_reset()
        self._below.reset()


def _ins(apdu: bytes) -> int:
    return apdu[1] if len(apdu) > 1 else -1


def _answer_always(card: Answering, instructions: Iterable[int], answer: Callable[[], bytes]) -> Faulty:
    """Answer these instructions so, all others as the card does."""
    wrong = frozenset(instructions)
    return Faulty(card, lambda apdu, interface: answer() if _ins(apdu) in wrong else card.transmit(apdu, interface))


_READS = (Ins.GET_DATA, Ins.GET_RESPONSE)


def mute(card: Answering, *, after: int = 0, hold_s: float = 0.0) -> Faulty:
    """Says nothing more after that many exchanges; a reader gives up on it after `hold_s`."""
    left = after

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        nonlocal left
        if left:
            left -= 1
            return card.transmit(apdu, interface)
        time.sleep(hold_s)
        raise LinkLost("the card is mute")

    return Faulty(card, transmit)


def slow(card: Answering, *, delay_s: float = SLOW_S) -> Faulty:
    """Answers late, as a relay would."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        time.sleep(delay_s)
        return card.transmit(apdu, interface)

    return Faulty(card, transmit)


def garbage(card: Answering, *, random: Callable[[int], bytes] = os.urandom, size: int = 64) -> Faulty:
    """Answers everything but SELECT with random bytes and 9000."""
    instructions = frozenset(range(256)) - {Ins.SELECT}
    return _answer_always(card, instructions, lambda: random(size) + SUCCESS_BYTES)


def no_status_word(card: Answering) -> Faulty:
    """Answers reads with a single byte."""
    return _answer_always(card, _READS, lambda: b"\x90")


def endless_61(card: Answering) -> Faulty:
    """Has always more to give: full answers, each announcing the next."""
    return _answer_always(card, _READS, lambda: bytes(256) + b"\x61\x00")


def empty_61(card: Answering) -> Faulty:
    """Announces more and gives nothing."""
    return _answer_always(card, _READS, lambda: b"\x61\x00")


def ping_pong_6c(card: Answering) -> Faulty:
    """Is never content with Le."""
    wanted = 0x10

    def answer() -> bytes:
        nonlocal wanted
        wanted ^= 0x30
        return bytes((0x6C, wanted))

    return _answer_always(card, _READS, answer)


def huge_answer(card: Answering) -> Faulty:
    """Answers reads with 64 KB at once."""
    return _answer_always(card, _READS, lambda: bytes(HUGE_BYTES) + SUCCESS_BYTES)


def no_9e(card: Answering, *, sw: int = SW.FUNCTION_NOT_SUPPORTED) -> Faulty:
    """Claims not to know the card authentication key."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        if _ins(apdu) == Ins.GENERAL_AUTHENTICATE and apdu[3] == KeyRef.CARD_AUTH:
            return sw.to_bytes(2, "big")
        return card.transmit(apdu, interface)

    return Faulty(card, transmit)


def only_chuid(card: Answering) -> Faulty:
    """Offers nothing but what anybody can copy: the CHUID."""
    wanted = piv.get_data(CHUID.tag).data

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        if _ins(apdu) == Ins.GET_DATA and apdu[5 : 5 + len(wanted)] != wanted:
            return SW.NOT_FOUND.to_bytes(2, "big")
        if _ins(apdu) == Ins.GENERAL_AUTHENTICATE:
            return SW.INS_NOT_SUPPORTED.to_bytes(2, "big")
        return card.transmit(apdu, interface)

    return Faulty(card, transmit)


def torn_at_exchange(card: Answering, number: int, *, after_card: bool = False) -> Faulty:
    """Leaves at that exchange, counted from 1: before the card sees it or, with `after_card`, after it acted.

    It leaves once: a reset, which is putting it back, makes it answer again.
    """
    at, is_gone = 0, False

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        nonlocal at, is_gone
        at += 1
        if at == number:
            is_gone = True
            if after_card:
                card.transmit(apdu, interface)
        if is_gone:
            raise LinkLost(f"the card left at exchange {number}")
        return card.transmit(apdu, interface)

    def put_back() -> None:
        nonlocal is_gone
        is_gone = False

    return Faulty(card, transmit, put_back)


def torn_at_byte(card: Answering, number: int) -> Faulty:
    """Leaves when that many bytes have passed, both ways counted: an answer that is cut is lost whole."""
    passed = 0

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        nonlocal passed
        passed += len(apdu)
        if passed > number:
            raise LinkLost(f"the card left at byte {number}")
        answer = card.transmit(apdu, interface)
        passed += len(answer)
        if passed > number:
            raise LinkLost(f"the card left at byte {number}")
        return answer

    return Faulty(card, transmit)


def swapped_objects(card: Answering, other: Answering, tags: Iterable[int]) -> Faulty:
    """Shows these objects of another card: a statement, certificate or CHUID that is not its own."""
    asked = frozenset(piv.get_data(tag).data for tag in tags)
    rest_from_other = False

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        nonlocal rest_from_other
        if _ins(apdu) == Ins.GET_RESPONSE:
            return (other if rest_from_other else card).transmit(apdu, interface)
        rest_from_other = _ins(apdu) == Ins.GET_DATA and apdu[5:-1] in asked
        if _ins(apdu) == Ins.SELECT:
            other.transmit(apdu, interface)
        return (other if rest_from_other else card).transmit(apdu, interface)

    return Faulty(card, transmit)


def swapped_key(card: Answering, other: Answering) -> Faulty:
    """Shows its own data and lets another card answer challenges."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        if _ins(apdu) == Ins.SELECT:
            other.transmit(apdu, interface)
        return (other if _ins(apdu) == Ins.GENERAL_AUTHENTICATE else card).transmit(apdu, interface)

    return Faulty(card, transmit)


def replayed(card: Answering) -> Faulty:
    """Answers every challenge with its answer to the first."""
    recorded = b""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        nonlocal recorded
        if _ins(apdu) != Ins.GENERAL_AUTHENTICATE:
            return card.transmit(apdu, interface)
        recorded = recorded or card.transmit(apdu, interface)
        return recorded

    return Faulty(card, transmit)


def fixed_response(card: Answering, response: bytes) -> Faulty:
    """Answers every challenge with these bytes in place of a signature: zeros, DER junk, another key's."""
    return _answer_always(card, (Ins.GENERAL_AUTHENTICATE,), lambda: encode_response(response) + SUCCESS_BYTES)


def clone(victim: Answering, interface: Interface = Interface.CONTACTLESS) -> dict[bytes, bytes]:
    """The records of a new card: what anybody can read from `victim` over one face, and keys 9A and 9E of its own."""
    victim.transmit(piv.select().encode(), interface)
    records: list[Record] = []
    for tag in CONTAINERS:
        try:
            records.append(StoredObject(tag, _read(victim, tag, interface)))
        except (CardStatus, Malformed):
            continue
    for ref in (KeyRef.PIV_AUTH, KeyRef.CARD_AUTH):
        private = save_private(generate(Algorithm.P_256))
        records.append(SlotKey(ref, Algorithm.P_256, private, Origin.GENERATED, default_pin_policy(KEYS[ref])))
    image = make_blank(os.urandom(10), StaticKeys(*(os.urandom(16) for _ in range(3))))
    image.update((record_name(one.kind, one.number), one.encode()) for one in records)
    return image


def _read(card: Answering, tag: int, interface: Interface) -> bytes:
    """The whole answer to GET DATA. Raises CardStatus when the card refuses."""
    response = decode_response(card.transmit(piv.get_data(tag).encode(), interface))
    data = response.data
    while is_more_available(response.sw):
        response = decode_response(card.transmit(bytes((0x00, Ins.GET_RESPONSE, 0, 0, 0)), interface))
        data += response.data
    if response.sw != SW.SUCCESS:
        raise CardStatus("GET DATA", response.sw)
    return data


# Those that need no second card and no number.
PROFILES: MappingProxyType[str, Profile] = MappingProxyType(
    {
        "mute": mute,
        "slow": slow,
        "garbage": garbage,
        "no-status-word": no_status_word,
        "endless-61": endless_61,
        "empty-61": empty_61,
        "ping-pong-6c": ping_pong_6c,
        "huge-answer": huge_answer,
        "no-9e": no_9e,
        "only-chuid": only_chuid,
        "replayed": replayed,
    }
)
