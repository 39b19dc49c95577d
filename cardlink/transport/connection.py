"""A connection to one card, and saying one command over it: GET RESPONSE, a corrected Le and chaining, with caps."""

import time
from dataclasses import dataclass
from typing import Protocol

from cardlink.errors import CardStatus, LinkLost, Malformed
from cardlink.iso7816.apdu import SHORT_DATA_MAX, Command, Ins, command_name, decode_response, split_chain, with_le
from cardlink.iso7816.cla import GET_RESPONSE_CLA
from cardlink.iso7816.sw import SUCCESS_BYTES, announced, as_sw, is_more_available, is_wrong_le


class Connection(Protocol):
    """A carrier of APDUs to one card."""

    def transmit(self, apdu: bytes) -> bytes:
        """Send one APDU and return the raw answer, SW1 SW2 last, whatever it says. Raises LinkLost."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What one command may cost before the card counts as hostile: exchanges, bytes of answer, seconds in all."""

    exchanges: int = 300
    answer_bytes: int = 40_960
    wait_s: float = 60.0


DEFAULT_LIMITS = Limits()


def command(connection: Connection, apdu: Command | bytes, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Say one command and return the data of its answer.

    61xx is followed by GET RESPONSE, 6Cxx by the same command with that Le, data of more than 255 bytes go as a chain.
    `apdu` may be an encoded APDU, which is then sent as it stands (hot paths hold theirs ready).
    Raises CardStatus unless the card answers 9000, Malformed when it breaks the protocol or the limits, LinkLost.
    """
    if isinstance(apdu, bytes):
        raw = apdu
    elif len(apdu.data) <= SHORT_DATA_MAX or apdu.extended:
        raw = apdu.encode()
    else:
        return _command_in_blocks(connection, apdu, limits)
    answer = connection.transmit(raw)
    if answer[-2:] == SUCCESS_BYTES and len(answer) <= limits.answer_bytes:
        return answer[:-2]
    return _finish(connection, raw, answer, limits)


def _command_in_blocks(connection: Connection, whole: Command, limits: Limits) -> bytes:
    """Send a chain; a block before the last one must be answered 9000 without data."""
    *first, last = split_chain(whole)
    for block in first:
        answer = decode_response(connection.transmit(block.encode()))
        if answer.sw != 0x9000:
            raise CardStatus(command_name(whole.ins), as_sw(answer.sw))
        if answer.data:
            raise Malformed("chained command", f"{len(answer.data)} bytes of data before its last block")
    raw = last.encode()
    return _finish(connection, raw, connection.transmit(raw), limits)


def _finish(connection: Connection, raw: bytes, answer: bytes, limits: Limits) -> bytes:
    """Follow 61xx and 6Cxx from the first answer to the last one."""
    name = command_name(raw[1])
    get_response = bytes((GET_RESPONSE_CLA[raw[0]], Ins.GET_RESPONSE, 0, 0))
    started, exchanges, corrected = time.monotonic(), 1, False
    parts: list[bytes] = []
    size = 0
    while True:
        response = decode_response(answer)
        sw = response.sw
        size += len(response.data)
        parts.append(response.data)
        if size > limits.answer_bytes:
            raise Malformed("card answer", f"{name}: more than {limits.answer_bytes} bytes")
        if sw == 0x9000:
            return b"".join(parts)
        if is_wrong_le(sw):
            if corrected or response.data:
                raise Malformed("card answer", f"{name}: {sw:04X} to the Le that the card had named")
            corrected, raw = True, with_le(raw, announced(sw))
        elif is_more_available(sw):
            if raw[1] == Ins.GET_RESPONSE and not response.data:
                raise Malformed("card answer", f"{name}: GET RESPONSE gave nothing and promised {sw:04X}")
            corrected, raw = False, get_response + bytes((sw & 0xFF,))
        else:
            raise CardStatus(name, as_sw(sw))
        if exchanges >= limits.exchanges:
            raise Malformed("card answer", f"{name}: no end after {exchanges} exchanges")
        if time.monotonic() - started > limits.wait_s:
            raise Malformed("card answer", f"{name}: no end after {limits.wait_s:g} s")
        exchanges += 1
        answer = connection.transmit(raw)


class Counted:
    """A connection that counts what passes: exchanges, bytes each way, and the seconds spent waiting for the card."""

    __slots__ = ("_below", "bytes_received", "bytes_sent", "elapsed_s", "exchanges")

    def __init__(self, below: Connection) -> None:
        self._below = below
        self.exchanges = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.elapsed_s = 0.0

    def transmit(self, apdu: bytes) -> bytes:
        """Pass the APDU on. An exchange that ends in LinkLost counts as sent."""
        self.exchanges += 1
        self.bytes_sent += len(apdu)
        started = time.perf_counter()
        try:
            answer = self._below.transmit(apdu)
        finally:
            self.elapsed_s += time.perf_counter() - started
        self.bytes_received += len(answer)
        return answer


class Torn:
    """A connection that loses its card at one exchange, counted from 1.

    The card is lost before it sees that command or, with `after_card`, after it acted and before we see its answer.
    """

    __slots__ = ("_below", "_lost", "after_card", "at_exchange", "exchanges")

    def __init__(self, below: Connection, at_exchange: int, *, after_card: bool = False) -> None:
        self._below = below
        self._lost = False
        self.at_exchange = at_exchange
        self.after_card = after_card
        self.exchanges = 0

    def transmit(self, apdu: bytes) -> bytes:
        """Pass the APDU on until the card is gone; from then on raise LinkLost."""
        self.exchanges += 1
        if self._lost or self.exchanges == self.at_exchange:
            if self.after_card and not self._lost:
                self._below.transmit(apdu)
            self._lost = True
            raise LinkLost(f"the card left at exchange {self.at_exchange}")
        return self._below.transmit(apdu)
