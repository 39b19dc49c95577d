"""`./run bench door`: a door check against its cryptography, against a card that answers at once, against yubikit.

A card is personalised by the real centre; a real door follows the real feed. Contenders take turns, and each figure is
a median. The event's commit is measured with every tap and told in rows of its own.
"""

import statistics
import time
from functools import partial

from bench.centre import AGENCY, Centre, now, open_card, open_centre
from bench.door_pcscd import against_yubikit, through_pcscd
from bench.limits import BareEcdsa
from bench.our_door import (
    MemorySink,
    TimedDatabase,
    forget_credentials,
    only_piv,
    open_door,
    quiet_copy,
    wait_until,
)
from bench.report import Row, at_most, limit, median_us, publish, told
from bench.revocation import click_to_refusal
from bench.slots import open_slots
from cardlink.check.evidence import CredentialEvidence
from cardlink.piv.tables import Interface
from cardlink.statements.bundle import Mechanism
from cardlink.transport.connection import Connection
from cardlink.transport.loopback import Loopback
from cardos.card import Card as ChipCard
from demo.pcscd import NoVirtualReader
from issuer import database as issuer_database
from issuer.cards.personalise import Done
from issuer.cards.run import run as personalise
from issuer.trust import ca
from reader_daemon.decide import Granted
from reader_daemon.evidence import Metered, collect
from reader_daemon.loop import Loop

MAX_EXCHANGES, MAX_BYTES = 3, 450
BUDGET_S = 2.0
CPU_FACTOR = 2.0
CPU_ROUNDS, CPU_TAPS, WARM_ROUNDS = 80, 25, 8
COMMIT_TAPS = 200


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


def piv_answer_lengths(loop: Loop, chip: ChipCard) -> list[int]:
    """How long the answers are when the door asks by PIV commands: the three round trips of the limit."""
    answers = AnswerLengths(contactless(chip))
    asked = collect(Metered(answers, BUDGET_S), loop.door_uuid, (Mechanism.CREDENTIAL,))
    if not isinstance(asked, CredentialEvidence):
        raise RuntimeError(f"the card gives no credential: {asked}")
    return answers.lengths


def run() -> bool:
    """Measure everything and publish it; True when every goal was met."""
    with open_centre() as centre:
        blank = centre.blank()
        with open_door(centre) as door:
            with open_card(blank) as chip:
                issue(centre, chip, blank.serial)
                wait_until(lambda: isinstance(door.loop.tap(contactless(chip)).decision, Granted))
                rows = in_size(door.loop, contactless(chip))
                lengths = piv_answer_lengths(door.loop, chip)
                with quiet_copy(door, MemorySink) as (loop, _):
                    rows += in_process(loop, chip)
                with quiet_copy(door, TimedDatabase) as (loop, database):
                    rows += of_commit(loop, database, chip)
            with issuer_database.reading(centre.factory) as session:
                issuer_pem = ca.chain_pem(session, AGENCY, now())
            try:
                with open_slots(centre.supervisor) as slots:
                    rows += through_pcscd(slots, blank, door.loop, lengths)
                    rows += against_yubikit(slots, blank, door.loop, issuer_pem)
            except NoVirtualReader as missing:
                print(f"bench: {missing}: nothing was measured through pcscd")
            rows += click_to_refusal(centre, door)
    return publish("door", rows)


def contactless(chip: ChipCard) -> Loopback:
    """The card in the in-process carrier."""
    return Loopback(partial(chip.transmit, interface=Interface.CONTACTLESS))


def in_size(loop: Loop, connection: Connection) -> list[Row]:
    """Exchanges, and bytes in both directions."""
    result = loop.tap(connection)
    if not isinstance(result.decision, Granted):
        raise RuntimeError(f"the door refuses the card: {result.decision}")
    return [
        limit("exchanges of a check", result.exchanges, "exchanges", MAX_EXCHANGES),
        limit("bytes of a check, both ways", result.bytes_out + result.bytes_in, "bytes", MAX_BYTES),
    ]


def in_process(loop: Loop, chip: ChipCard) -> list[Row]:
    """CPU of card and door together, in one thread; the event goes into a list instead of SQLite."""
    connection, bare = contactless(chip), BareEcdsa()

    def new_card() -> None:
        forget_credentials(loop)
        loop.tap(connection)

    def known_card() -> None:
        loop.tap(connection)

    by_piv = only_piv(loop)

    def new_card_by_piv() -> None:
        forget_credentials(by_piv)
        by_piv.tap(connection)

    contenders = {
        "bare": bare.door_check,
        "new": new_card,
        "piv": new_card_by_piv,
        "bare cached": bare.cached_check,
        "known": known_card,
    }
    spent_s: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(CPU_ROUNDS + WARM_ROUNDS):
        for name, action in contenders.items():
            started_s = time.thread_time()
            for _ in range(CPU_TAPS):
                action()
            if round_number >= WARM_ROUNDS:
                spent_s[name].append((time.thread_time() - started_s) / CPU_TAPS)
    us = {name: median_us(values) for name, values in spent_s.items()}
    ratios = [new_s / bare_s for new_s, bare_s in zip(spent_s["new"], spent_s["bare"], strict=True)]
    return [
        at_most("CPU of a check, in process", us["new"], "us", "2 verifications, 1 signature", us["bare"], CPU_FACTOR),
        told("the same, median of the ratios of all rounds", statistics.median(ratios), "x"),
        at_most("CPU, credential cached", us["known"], "us", "2 verifications, 1 signature", us["bare"], CPU_FACTOR),
        told("the same against 1 verification, 1 signature", us["known"] / us["bare cached"], "x"),
        told("beside it: a new card by PIV commands, three exchanges", us["piv"] / us["bare"], "x"),
    ]


def of_commit(loop: Loop, database: TimedDatabase, chip: ChipCard) -> list[Row]:
    """What the event's transaction adds, with the log in SQLite on the disk."""
    connection = contactless(chip)
    cpu_s: list[float] = []
    elapsed_s: list[float] = []
    for _ in range(COMMIT_TAPS):
        before_s = database.cpu_s
        result = loop.tap(connection)
        cpu_s.append(database.cpu_s - before_s)
        elapsed_s.append(result.commit_s)
    return [
        told("beside the check: CPU of the event's transaction", median_us(cpu_s), "us"),
        told("beside the check: the event on the disk, elapsed", median_us(elapsed_s), "us"),
    ]


def issue(centre: Centre, chip: ChipCard, serial: str) -> None:
    """Personalise the blank in this process and hand it over."""
    card = centre.allocated(serial)
    contact = Loopback(lambda apdu: chip.transmit(apdu, Interface.CONTACT))
    report = personalise(contact, centre.job(card), lambda progress: None)
    if not isinstance(report.outcome, Done):
        raise RuntimeError(f"the card was not encoded: {report.outcome}")
    centre.activate(card)
