"""`./run bench door`: a door check against its cryptography, against a card that answers at once, against yubikit.

A card is personalised by the real centre; a real door follows the real feed. Contenders take turns, and each figure is
a median. The event's commit is measured with every tap and told in rows of its own.
"""

import statistics
import time
from collections.abc import Callable

from bench.centre import AGENCY, Centre, now, open_card, open_centre
from bench.door_pcscd import against_yubikit, through_pcscd
from bench.limits import BareEcdsa
from bench.our_door import forget_credentials, open_door, quiet_copy
from bench.report import Row, at_most, limit, median_us, publish, told
from bench.revocation import click_to_refusal
from bench.slots import open_slots
from cardlink.piv.tables import Interface
from cardlink.transport.connection import Connection
from cardlink.transport.loopback import Loopback
from cardos.card import Card as ChipCard
from demo.pcscd import NoVirtualReader
from issuer import database
from issuer.cards.personalise import Done
from issuer.cards.run import run as personalise
from issuer.trust import ca
from reader_daemon.decide import Granted
from reader_daemon.loop import Loop

MAX_EXCHANGES, MAX_BYTES = 3, 450
CPU_FACTOR = 2.0
CPU_ROUNDS, CPU_TAPS, WARM_TAPS = 60, 25, 200


class AnswerLengths:
    """A connection that remembers how long each answer was."""

    def __init__(self, below: Connection) -> None:
        self._below = below
        self.lengths: list[int] = []

    def transmit(self, apdu: bytes) -> bytes:
        """Pass one APDU on."""
        answer = self._below.transmit(apdu)
        self.lengths.append(len(answer))
        return answer


def run() -> bool:
    """Measure everything and publish it; True when every goal was met."""
    with open_centre() as centre:
        blank = centre.blank()
        with open_door(centre) as door:
            with open_card(blank) as chip, quiet_copy(door) as (loop, timed):
                _issue(centre, chip, blank.serial)
                answers = AnswerLengths(contactless(chip))
                rows = in_size(loop, answers)
                rows += in_process(loop, lambda: timed.cpu_s, chip)
            with database.reading(centre.factory) as session:
                issuer_pem = ca.chain_pem(session, AGENCY, now())
            try:
                with open_slots(centre.supervisor) as slots:
                    rows += through_pcscd(slots, blank, door.loop, answers.lengths)
                    rows += against_yubikit(slots, blank, door.loop, issuer_pem)
            except NoVirtualReader as missing:
                print(f"bench: {missing}: nothing was measured through pcscd")
            rows += click_to_refusal(centre, door)
    return publish("door", rows)


def contactless(chip: ChipCard) -> Loopback:
    """The card in the in-process carrier."""
    return Loopback(lambda apdu: chip.transmit(apdu, Interface.CONTACTLESS))


def in_size(loop: Loop, connection: Connection) -> list[Row]:
    """Exchanges, and bytes in both directions."""
    result = loop.tap(connection)
    if not isinstance(result.decision, Granted):
        raise RuntimeError(f"the door refuses the card: {result.decision}")
    return [
        limit("exchanges of a check", result.exchanges, "exchanges", MAX_EXCHANGES),
        limit("bytes of a check, both ways", result.bytes_out + result.bytes_in, "bytes", MAX_BYTES),
    ]


def in_process(loop: Loop, commits_s: Callable[[], float], chip: ChipCard) -> list[Row]:
    """CPU of card and door together, in one thread; the log lies in memory, its transactions are taken off."""
    connection, bare = contactless(chip), BareEcdsa()

    def new_card() -> None:
        forget_credentials(loop)
        loop.tap(connection)

    def known_card() -> None:
        loop.tap(connection)

    contenders = {"bare": bare.door_check, "new": new_card, "bare cached": bare.cached_check, "known": known_card}
    for _ in range(WARM_TAPS):
        new_card()
    spent_s: dict[str, list[float]] = {name: [] for name in (*contenders, "commit")}
    for _ in range(CPU_ROUNDS):
        for name, action in contenders.items():
            commits_before_s, started_s = commits_s(), time.thread_time()
            for _ in range(CPU_TAPS):
                action()
            commit_s = commits_s() - commits_before_s
            spent_s[name].append((time.thread_time() - started_s - commit_s) / CPU_TAPS)
            if name == "new":
                spent_s["commit"].append(commit_s / CPU_TAPS)
    us = {name: median_us(values) for name, values in spent_s.items()}
    ratios = [new / bare_s for new, bare_s in zip(spent_s["new"], spent_s["bare"], strict=True)]
    return [
        at_most("CPU of a check, in process", us["new"], "us", "2 verifications, 1 signature", us["bare"], CPU_FACTOR),
        told("the same, median of the ratios of all rounds", statistics.median(ratios), "x"),
        at_most("CPU, credential cached", us["known"], "us", "2 verifications, 1 signature", us["bare"], CPU_FACTOR),
        told("the same against 1 verification, 1 signature", us["known"] / us["bare cached"], "x"),
        told("CPU of the event's transaction, log in memory", us["commit"], "us"),
    ]


def _issue(centre: Centre, chip: ChipCard, serial: str) -> None:
    """Personalise the blank in this process and hand it over."""
    card = centre.allocated(serial)
    contact = Loopback(lambda apdu: chip.transmit(apdu, Interface.CONTACT))
    report = personalise(contact, centre.job(card), lambda progress: None)
    if not isinstance(report.outcome, Done):
        raise RuntimeError(f"the card was not encoded: {report.outcome}")
    centre.activate(card)
