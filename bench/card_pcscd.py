"""One exchange through pcscd and vpcd, beside that of a card which answers a constant of the same length at once.

Both cards lie in the two slots of one reader and are asked in turn, exchange by exchange. They are started anew and
change places several times, since where the kernel puts a process weighs more than what the card does.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.limits import BareEcdsa
from bench.report import Row, at_most, median_us, told
from bench.sample_card import GET_SHORT, SELECT, SIGN
from bench.slots import Slots
from cardlink.piv.tables import Interface
from cardlink.transport.pcsc import PcscConnection
from demo.slots import CardFile

EXCHANGE_FACTOR = 1.3
SIGNATURES = 2
STARTS, ROUNDS, WARM_ROUNDS = 4, 300, 20
COMMANDS = {"SELECT": SELECT, "GET DATA, 20 bytes": GET_SHORT, "GENERAL AUTHENTICATE, P-256": SIGN}
FACES = (Interface.CONTACT, Interface.CONTACTLESS)


@dataclass(slots=True)
class Times:
    """Seconds of each exchange, by command, and of a bare signature in between."""

    ours: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COMMANDS})
    theirs: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COMMANDS})
    signature: list[float] = field(default_factory=list)


def through_pcscd(slots: Slots, card: CardFile) -> list[Row]:
    """The rows of the exchanges."""
    times = Times()
    lengths = _lengths(slots, card)
    for start in range(STARTS):
        ours, theirs = FACES if start % 2 else FACES[::-1]
        with ExitStack() as stack:
            reader = stack.enter_context(slots.card(card, ours))
            other = stack.enter_context(slots.constant(lengths, theirs))
            _turns(times, _open(stack, reader.connect()), _open(stack, other.connect()))
    rows: list[Row] = []
    us = {name: (median_us(times.ours[name]), median_us(times.theirs[name])) for name in COMMANDS}
    signature_us = median_us(times.signature)
    for name, (ours_us, theirs_us) in us.items():
        if COMMANDS[name] is not SIGN:
            versus = "a constant of that length"
            rows.append(at_most(f"{name}, through pcscd", ours_us, "us", versus, theirs_us, EXCHANGE_FACTOR))
            continue
        most_us = EXCHANGE_FACTOR * theirs_us + SIGNATURES * signature_us
        versus = f"{EXCHANGE_FACTOR:g} x constant + {SIGNATURES} bare signatures"
        rows.append(at_most(f"{name}, through pcscd", ours_us, "us", versus, most_us, 1.0))
        rows.append(told("in the limit: the constant of the same length", theirs_us, "us"))
        rows.append(told("in the limit: a bare signature, after such an exchange", signature_us, "us"))
    return rows


def _open(stack: ExitStack, connection: PcscConnection) -> PcscConnection:
    stack.enter_context(connection)
    stack.enter_context(connection.transaction())
    return connection


def _lengths(slots: Slots, card: CardFile) -> list[int]:
    with slots.card(card, FACES[0]) as reader, reader.connect() as connection:
        return [len(connection.transmit(apdu)) for apdu in COMMANDS.values()]


def _turns(times: Times, ours: PcscConnection, theirs: PcscConnection) -> None:
    bare = BareEcdsa()
    for round_number in range(ROUNDS + WARM_ROUNDS):
        counts = round_number >= WARM_ROUNDS
        pair = [(ours, times.ours), (theirs, times.theirs)]
        for name, apdu in COMMANDS.items():
            for connection, kept in pair if round_number % 2 else reversed(pair):
                spent_s = _seconds(connection, apdu)
                if counts:
                    kept[name].append(spent_s)
        started_s = time.perf_counter()
        bare.sign_digest()
        if counts:
            times.signature.append(time.perf_counter() - started_s)


def _seconds(connection: PcscConnection, apdu: bytes) -> float:
    started_s = time.perf_counter()
    connection.transmit(apdu)
    return time.perf_counter() - started_s
