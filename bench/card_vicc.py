"""The card's commands a second beside those of the emulator in Debian's vsmartcard-vpicc, each in its process."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from bench.report import Row, faster, median_us
from bench.sample_card import GET_SHORT, SELECT, VERIFY, sample_records
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardos.card import Card
from cardos.store import MemoryStore

FACTOR = 3.0
ROUNDS, CALLS, WARM_ROUNDS = 80, 40, 5
HERE = Path(__file__).resolve().parent
FOREIGN_PYTHON = HERE.parent / ".venv-foreign" / "bin" / "python"
PACKAGE = HERE.parent / ".cache" / "vicc"
# Ours, theirs. SELECT: it answers without file control information only, which P2 says; we answer the template.
# Reading 20 bytes: its data objects do not work, so it reads a file of that length, found by its short identifier.
COMMANDS = {
    "SELECT by AID": (SELECT, bytes.fromhex("00A4040C0BA000000308000010000100")),
    "GET DATA, theirs READ BINARY, of 20 bytes": (GET_SHORT, bytes.fromhex("00B0810014")),
    "VERIFY": (VERIFY, VERIFY),
}


class NoPeer(Exception):
    """The peer is not here; the text says why."""


def beside_vicc() -> list[Row]:
    """The rows of each command, and of one of each. Raises NoPeer."""
    if not (PACKAGE / "virtualsmartcard").is_dir():
        raise NoPeer("the package python3-virtualsmartcard could not be fetched")
    card = Card(MemoryStore(sample_records()))
    for name, (apdu, _) in COMMANDS.items():
        if not card.transmit(apdu).endswith(SUCCESS_BYTES):
            raise RuntimeError(name)
    ours: dict[str, list[float]] = {name: [] for name in COMMANDS}
    theirs: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with _vicc() as turn:
        for round_number in range(ROUNDS + WARM_ROUNDS):
            their_s = turn(CALLS)
            our_s = {name: _seconds(card, apdu) for name, (apdu, _) in COMMANDS.items()}
            if round_number >= WARM_ROUNDS:
                for name in COMMANDS:
                    ours[name].append(our_s[name])
                    theirs[name].append(their_s[name])
    pairs = {f"{name}, in process": (median_us(ours[name]), median_us(theirs[name])) for name in COMMANDS}
    rows = [faster(name, our_us, "us", "vicc", their_us, FACTOR) for name, (our_us, their_us) in pairs.items()]
    our_all, their_all = (3e6 / sum(pair[side] for pair in pairs.values()) for side in (0, 1))
    more = our_all / their_all
    rows.append(
        Row(
            "commands a second, one of each",
            our_all,
            "1/s",
            "vicc",
            their_all,
            more,
            f">= {FACTOR:g} x",
            more >= FACTOR,
        )
    )
    return rows


def _seconds(card: Card, apdu: bytes) -> float:
    started_s = perf_counter()
    for _ in range(CALLS):
        card.transmit(apdu)
    return (perf_counter() - started_s) / CALLS


@contextmanager
def _vicc() -> Iterator[Callable[[int], dict[str, float]]]:
    """The peer in its own environment; a call is one turn of its commands and answers their seconds."""
    process = subprocess.Popen(
        [
            FOREIGN_PYTHON,
            HERE / "vicc_card.py",
            PACKAGE,
            *(f"{name}={theirs.hex()}" for name, (_, theirs) in COMMANDS.items()),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes to the peer")
    asked, told_line = process.stdin, process.stdout

    def line() -> str:
        text = told_line.readline()
        if not text:
            raise RuntimeError(f"vicc ended with {process.wait(10)}")
        return text

    def turn(calls: int) -> dict[str, float]:
        asked.write(f"turn {calls}\n")
        asked.flush()
        spent_s: dict[str, float] = json.loads(line())
        return spent_s

    try:
        line()
        yield turn
    finally:
        asked.close()
        process.wait(10)
        told_line.close()
