"""Carry bytes between the centre and a card; a station knows nothing of what they mean."""

from collections.abc import Callable
from dataclasses import dataclass

from cardlink.transport.connection import Connection, Counted

Ask = Callable[[bytes | None], bytes | None]
"""Give the last answer (None at the start), get the next APDU; None ends it."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What passed: exchanges, bytes each way, seconds spent waiting for the card."""

    exchanges: int
    bytes_sent: int
    bytes_received: int
    card_s: float


def carry(connection: Connection, ask: Ask, on_exchange: Callable[[Tally], None]) -> Tally:
    """Ask, transmit, and come back with the answer, until there is nothing more to say. Raises LinkLost."""
    counted = Counted(connection)
    answer: bytes | None = None
    while (apdu := ask(answer)) is not None:
        answer = counted.transmit(apdu)
        on_exchange(tally_of(counted))
    return tally_of(counted)


def tally_of(counted: Counted) -> Tally:
    """The count as a value."""
    return Tally(counted.exchanges, counted.bytes_sent, counted.bytes_received, counted.elapsed_s)
