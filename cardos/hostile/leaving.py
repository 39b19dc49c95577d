"""Cards that say nothing, speak late, or leave."""

import time

from cardlink.errors import LinkLost
from cardlink.piv.tables import Interface
from cardos.hostile.faulty import Faulty
from cardos.vpcd import Answering

SLOW_S = 0.5
WAITING_S = 3600.0


def mute(card: Answering, after: int = 0, *, hold_s: float = 0.0) -> Faulty:
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


def waiting(card: Answering, seconds: float = WAITING_S) -> Faulty:
    """Stays in the reader and lets it wait, as one does that asks for more waiting time for ever; then it leaves."""
    return mute(card, hold_s=seconds)


def slow(card: Answering, delay_s: float = SLOW_S) -> Faulty:
    """Answers late, as a relay would."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        time.sleep(delay_s)
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


def torn_after_exchange(card: Answering, number: int) -> Faulty:
    """Leaves at that exchange after it acted and before it answers."""
    return torn_at_exchange(card, number, after_card=True)


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
