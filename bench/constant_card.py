"""A card that answers at once: constants of given lengths, one after the other, over the card end of vpcd.

It is the floor below any card in the virtual reader: what is left is pcscd, its driver and two processes waking up.
"""

import argparse
import sys

from cardlink.iso7816.atr import CARD_ATR
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv.tables import Interface
from cardos.control import obey, run_control
from cardos.vpcd import CONTACT_PORT, CONTACTLESS_PORT, Slots


class ConstantCard:
    """Answers the n-th command since the last reset with as many bytes as the n-th length says, over and over."""

    atr = CARD_ATR

    def __init__(self, lengths: list[int]) -> None:
        self._answers = [bytes(length - len(SUCCESS_BYTES)) + SUCCESS_BYTES for length in lengths]
        self._next = 0

    def transmit(self, apdu: bytes, interface: Interface) -> bytes:
        """The next answer, whatever was asked."""
        answer = self._answers[self._next]
        self._next = (self._next + 1) % len(self._answers)
        return answer

    def reset(self) -> None:
        """Begin again."""
        self._next = 0


def main() -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="constant-card", description=__doc__)
    parser.add_argument("--interface", choices=[one.value for one in Interface], required=True)
    parser.add_argument("--lengths", required=True, help="lengths of the answers with their status words, by commas")
    options = parser.parse_args()
    card = ConstantCard([int(word) for word in options.lengths.split(",")])
    slots = Slots(card, {Interface.CONTACT: CONTACT_PORT, Interface.CONTACTLESS: CONTACTLESS_PORT})
    slots.insert(Interface(options.interface))
    print(f"inserted {options.interface}", flush=True)
    run_control(None, lambda line: obey(line, slots), print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
