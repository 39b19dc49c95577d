"""The two buffers between APDUs and whole commands: a chain on its way in, the rest of an answer on its way out."""

from cardlink.errors import CardStatus
from cardlink.iso7816.apdu import Command, command_name
from cardlink.iso7816.cla import CHAIN_BIT
from cardlink.iso7816.sw import SUCCESS_BYTES, SW, more_available

CHAIN_BYTES_MAX = 20_480  # a facial image of 12,710 bytes and room to spare


class Chain:
    """The blocks of one chained command so far (ISO/IEC 7816-4 §5.3.3). Nothing has an effect before the last one."""

    __slots__ = ("_data", "_head")

    def __init__(self, first: Command) -> None:
        self._head = (first.cla & ~CHAIN_BIT, first.ins, first.p1, first.p2)
        self._data = bytearray()  # one buffer and no list: blocks without data may come for ever
        self.add(first)

    def continues(self, command: Command) -> bool:
        """Is this the next block of the same command; anything else interrupts the chain."""
        return (command.cla & ~CHAIN_BIT, command.ins, command.p1, command.p2) == self._head

    def add(self, block: Command) -> None:
        """Keep one more block. Raises CardStatus 6A84 when the chain grows beyond what the card can hold."""
        if len(self._data) + len(block.data) > CHAIN_BYTES_MAX:
            raise CardStatus(command_name(block.ins), SW.NOT_ENOUGH_MEMORY)
        self._data += block.data

    def finish(self, last: Command) -> Command:
        """The whole command, with the last block's class byte and Le."""
        self.add(last)
        return Command(last.cla, last.ins, last.p1, last.p2, bytes(self._data), last.le, last.extended)


class Outgoing:
    """What GET RESPONSE has still to fetch (ISO/IEC 7816-4 §5.3.4)."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = b""

    def clear(self) -> None:
        """Forget the rest: another command came."""
        self.rest = b""

    def send(self, data: bytes, size: int) -> bytes:
        """Answer with the first `size` bytes, keep the rest and announce it with 61xx."""
        if len(data) <= size:
            self.rest = b""
            return data + SUCCESS_BYTES
        self.rest = data[size:]
        return data[:size] + more_available(len(self.rest)).to_bytes(2, "big")

    def next(self, size: int) -> bytes:
        """Answer GET RESPONSE. Raises CardStatus 6985 when nothing waits."""
        if not self.rest:
            raise CardStatus("GET RESPONSE", SW.CONDITIONS_NOT_SATISFIED)
        return self.send(self.rest, size)
