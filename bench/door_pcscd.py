"""A door check through a real pcscd: beside a card that answers at once, and beside yubikit on the same card."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.limits import BareEcdsa
from bench.our_door import forget_credentials, only_piv
from bench.report import Row, at_most, faster, median_us, told
from bench.slots import Slots
from cardlink.piv.commands import GET_CARD_CREDENTIAL_APDU, SELECT_PIV_APDU, sign_with_card_key_apdu
from cardlink.piv.tables import Interface
from cardlink.transport.pcsc import Reader
from demo.slots import CardFile
from reader_daemon.decide import Granted
from reader_daemon.loop import Loop, TapResult

PCSC_FACTOR = 1.6
YUBIKIT_FACTOR, YUBIKIT_CACHED_FACTOR = 1.3, 2.0
ROUNDS, YUBIKIT_ROUNDS, WARM_ROUNDS = 200, 80, 3
HERE = Path(__file__).resolve().parent
FOREIGN_PYTHON = HERE.parent / ".venv-foreign" / "bin" / "python"


def through_pcscd(slots: Slots, card: CardFile, loop: Loop, answer_lengths: list[int]) -> list[Row]:
    """A check beside three round trips of a card that answers at once, which lies in the other slot of the reader.

    The limit is that of a check by PIV commands, also for a card that needs two round trips; the check by PIV commands
    on the same card is told beside it.
    """
    by_piv = only_piv(loop)
    bare = BareEcdsa()
    apdus = (SELECT_PIV_APDU, GET_CARD_CREDENTIAL_APDU, sign_with_card_key_apdu(bytes(32)))
    spent_s: dict[str, list[float]] = {name: [] for name in ("check", "commit", "known", "piv", "trips", "crypto")}
    with slots.card(card, Interface.CONTACTLESS) as ours, slots.constant(answer_lengths, Interface.CONTACT) as theirs:
        for round_number in range(ROUNDS + WARM_ROUNDS):
            forget_credentials(loop)
            new = tap(ours, loop)
            trips_s, crypto_s = least_check(theirs, apdus, bare)
            known = tap(ours, loop)
            forget_credentials(by_piv)
            asked = tap(ours, by_piv)
            if round_number >= WARM_ROUNDS:
                spent_s["piv"].append(asked.total_s - asked.commit_s)
                spent_s["check"].append(new.total_s - new.commit_s)
                spent_s["commit"].append(new.commit_s)
                spent_s["known"].append(known.total_s - known.commit_s)
                spent_s["trips"].append(trips_s)
                spent_s["crypto"].append(crypto_s)
    us = {name: median_us(values) for name, values in spent_s.items()}
    floor_us = us["trips"] + us["crypto"]
    versus = "3 round trips at once + cryptography"
    return [
        at_most("check through pcscd", us["check"], "us", versus, floor_us, PCSC_FACTOR),
        at_most("the same, credential cached", us["known"], "us", versus, floor_us, PCSC_FACTOR),
        told("beside it: a new card by PIV commands, three exchanges", us["piv"] / floor_us, "x"),
        told("in the limit: 3 round trips of a card that answers at once", us["trips"], "us"),
        told("in the limit: 2 verifications, 1 signature", us["crypto"], "us"),
        told("beside the check: the event's commit, on the disk", us["commit"], "us"),
    ]


def against_yubikit(slots: Slots, card: CardFile, loop: Loop, issuer_pem: bytes) -> list[Row]:
    """A new session for each tap, the same card, the same pcscd; both verify the issuer's signature.

    Both over contact: a session of yubikit begins with GET METADATA, which the card answers there alone.
    """
    spent_s: dict[str, list[float]] = {name: [] for name in ("new", "known", "commit", "yubikit")}
    issuer = card.image.with_name("issuer.pem")
    issuer.write_bytes(issuer_pem)
    with slots.card(card, Interface.CONTACT) as reader, _yubikit(slots, reader.name, issuer) as yubikit:
        for round_number in range(YUBIKIT_ROUNDS + WARM_ROUNDS):
            forget_credentials(loop)
            new_s, new = _session(reader, loop)
            if round_number % 2:  # nobody always follows the same one
                yubikit_s = yubikit()
            known_s, known = _session(reader, loop)
            if round_number % 2 == 0:
                yubikit_s = yubikit()
            if round_number >= WARM_ROUNDS:
                spent_s["new"].append(new_s - new.commit_s)
                spent_s["known"].append(known_s - known.commit_s)
                spent_s["commit"].append(new.commit_s)
                spent_s["yubikit"].append(yubikit_s)
    us = {name: median_us(values) for name, values in spent_s.items()}
    return [
        faster("new session and check", us["new"], "us", "yubikit", us["yubikit"], YUBIKIT_FACTOR),
        faster("the same, credential cached", us["known"], "us", "yubikit", us["yubikit"], YUBIKIT_CACHED_FACTOR),
        told("new session, check and event on the disk", us["new"] + us["commit"], "us"),
    ]


def tap(reader: Reader, loop: Loop) -> TapResult:
    """One tap as the door's own thread does it. Raises RuntimeError when the door refuses."""
    with reader.connect() as connection, connection.transaction():
        result = loop.tap(connection)
    if not isinstance(result.decision, Granted):
        raise RuntimeError(f"the door refuses the card: {result.decision}")
    return result


def least_check(reader: Reader, apdus: Sequence[bytes], bare: BareEcdsa) -> tuple[float, float]:
    """The least a check can be: these exchanges, then the cryptography; seconds of each, without connecting."""
    with reader.connect() as connection, connection.transaction():
        started_s = time.perf_counter()
        for apdu in apdus:
            connection.transmit(apdu)
        answered_s = time.perf_counter()
        bare.door_check()
        return answered_s - started_s, time.perf_counter() - answered_s


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


def _session(reader: Reader, loop: Loop) -> tuple[float, TapResult]:
    started_s = time.perf_counter()
    result = tap(reader, loop)
    return time.perf_counter() - started_s, result


@contextmanager
def _yubikit(slots: Slots, reader: str, issuer: Path) -> Iterator[Callable[[], float]]:
    """The peer in its own environment; a call is one tap and answers its seconds."""
    process = subprocess.Popen(
        [FOREIGN_PYTHON, HERE / "yubikit_tap.py", reader, issuer],
        env=slots.reader.environ(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes to the peer")
    asked, told_line = process.stdin, process.stdout

    def one() -> float:
        asked.write("tap\n")
        asked.flush()
        line = told_line.readline()
        if not line:
            raise RuntimeError(f"yubikit ended with {process.wait(10)}")
        return float(json.loads(line)["seconds"])

    try:
        yield one
    finally:
        asked.close()
        process.wait(10)
        told_line.close()
