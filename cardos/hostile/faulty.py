"""A card with something wrong put over it, and what the profiles share."""

from collections.abc import Callable

from cardlink.errors import Malformed
from cardlink.iso7816.apdu import SHORT_NE_MAX, Ins, decode_command
from cardlink.iso7816.cla import CHAIN_BIT
from cardlink.iso7816.sw import SUCCESS_BYTES, is_more_available
from cardlink.piv.tables import Interface
from cardos.buffers import Outgoing
from cardos.vpcd import Answering

Transmit = Callable[[bytes, Interface], bytes]
GET_RESPONSE_APDU = bytes((0x00, Ins.GET_RESPONSE, 0, 0, 0))
# What reads from a card, and what has its key answer a challenge: through PIV, and through the door application.
READS = frozenset((Ins.GET_DATA, Ins.GET_RESPONSE, Ins.INTERNAL_AUTHENTICATE))
KEY_USES = frozenset((Ins.GENERAL_AUTHENTICATE, Ins.INTERNAL_AUTHENTICATE))


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


def ins_of(apdu: bytes) -> int:
    """The instruction byte, or -1 for bytes that are no command."""
    return apdu[1] if len(apdu) > 1 else -1


def answer_always(card: Answering, instructions: frozenset[int], answer: Callable[[], bytes]) -> Faulty:
    """Answer these instructions so, all others as the card does."""
    return Faulty(
        card, lambda apdu, interface: answer() if ins_of(apdu) in instructions else card.transmit(apdu, interface)
    )


def whole_answer(card: Answering, apdu: bytes, interface: Interface) -> tuple[bytes, bytes]:
    """The card's data with all that GET RESPONSE fetches, and its last status word."""
    raw = card.transmit(apdu, interface)
    data = raw[:-2]
    while is_more_available(int.from_bytes(raw[-2:], "big")):
        raw = card.transmit(GET_RESPONSE_APDU, interface)
        data += raw[:-2]
    return data, raw[-2:]


def change_answers(
    card: Answering, concerns: Callable[[bytes], bool], change: Callable[[bytes, bytes], bytes]
) -> Faulty:
    """Change the whole data of successful answers to some commands; the rest of a long one waits for GET RESPONSE.

    `change` is given the command and the data.
    """
    outgoing = Outgoing()

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        if ins_of(apdu) == Ins.GET_RESPONSE and outgoing.rest:
            return outgoing.next(SHORT_NE_MAX)
        outgoing.clear()
        if not concerns(apdu) or apdu[0] & CHAIN_BIT:
            return card.transmit(apdu, interface)
        data, sw = whole_answer(card, apdu, interface)
        if sw != SUCCESS_BYTES:
            return data + sw
        return outgoing.send(change(apdu, data), _wanted(apdu))

    return Faulty(card, transmit, outgoing.clear)


def _wanted(apdu: bytes) -> int:
    try:
        return decode_command(apdu).le or SHORT_NE_MAX
    except Malformed:
        return SHORT_NE_MAX
