"""The card called in this process: its commands, beside the bare signature and the bare AES that they contain."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from bench.limits import BareEcdsa, BareScp03
from bench.report import Row, at_most, beside, limit, median_us, told
from bench.sample_card import GET_LONG, GET_SHORT, SELECT, SIGN, random_keys, sample_records, write_image
from cardlink.gp import commands as gp
from cardlink.gp.host_channel import HostChannel
from cardlink.gp.scp03 import Level
from cardlink.iso7816.apdu import Command, decode_command
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.factory import TRANSPORT_KVN
from cardos.image import FileStore
from cardos.store import MemoryStore
from cardos.timing import Timing, contactless

COMMAND_US = 10.0
SIGNATURE_FACTOR, SIGNATURE_MORE_US = 1.5, 10.0
SCP03_FACTOR = 3.0
ROUNDS, CALLS, WARM_ROUNDS = 150, 40, 10
WRAPPED = 4000
REAL_CARDS = (("median", 106), ("jcop4", 848))
POWER_UPS = 200
CONTACT, CONTACTLESS = Interface.CONTACT, Interface.CONTACTLESS
PROTECTED_LEVEL = int(Level.C_MAC | Level.C_ENC | Level.R_MAC | Level.R_ENC)


def in_process() -> list[Row]:
    """All rows of a card without a reader."""
    card = Card(MemoryStore(sample_records()))
    return [*_commands(card), *_protected(), *_power_up()]


def powered(records: dict[bytes, bytes], interface: Interface = CONTACT) -> Card:
    """A card of these records with PIV selected."""
    card = Card(MemoryStore(records))
    say(card, SELECT, interface)
    return card


def say(card: Card, apdu: bytes, interface: Interface = CONTACT) -> bytes:
    """The data of an answer. Raises RuntimeError unless it is 9000."""
    answer = card.transmit(apdu, interface)
    if not answer.endswith(SUCCESS_BYTES):
        raise RuntimeError(f"{apdu[:5].hex()}: {answer[-2:].hex()}")
    return answer[:-2]


def _commands(card: Card) -> list[Row]:
    bare = BareEcdsa()
    for apdu in (SELECT, GET_SHORT, SIGN):
        say(card, apdu, CONTACTLESS)
    us = median_of_turns(
        {
            "select": lambda: card.transmit(SELECT, CONTACTLESS),
            "get": lambda: card.transmit(GET_SHORT, CONTACTLESS),
            "sign": lambda: card.transmit(SIGN, CONTACTLESS),
            "bare": bare.sign_digest,
        }
    )
    most_us = SIGNATURE_FACTOR * us["bare"] + SIGNATURE_MORE_US
    versus = f"{SIGNATURE_FACTOR:g} x bare signature + {SIGNATURE_MORE_US:g} us"
    return [
        limit("SELECT, in process", us["select"], "us", COMMAND_US),
        limit("GET DATA, in process", us["get"], "us", COMMAND_US),
        at_most("GENERAL AUTHENTICATE, P-256, in process", us["sign"], "us", versus, most_us, 1.0),
        told("in the limit: a bare signature", us["bare"], "us"),
        *_on_a_chip(card, us["sign"]),
    ]


def median_of_turns(contenders: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Microseconds of one call of each: they take turns of `CALLS` calls, and the median turn counts."""
    spent_s: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(rounds + WARM_ROUNDS):
        for name, action in contenders.items():
            started_s = perf_counter()
            for _ in range(CALLS):
                action()
            if round_number >= WARM_ROUNDS:
                spent_s[name].append((perf_counter() - started_s) / CALLS)
    return {name: median_us(values) for name, values in spent_s.items()}


def _protected() -> list[Row]:
    """GET DATA over SCP03 at level 33, of something short and of something as long as a certificate."""
    short, long = decode_command(GET_SHORT), decode_command(GET_LONG)
    return [*_added("20 bytes", short, WRAPPED), *_added("1,508 bytes", long, WRAPPED // 2)]


def _added(what: str, command: Command, rounds: int) -> list[Row]:
    """What protection adds to a command, beside the same in the clear on a card of its own, and beside the bare AES."""
    keys = random_keys()
    records = sample_records(keys)
    plain, card = powered(records), powered(records)
    host_challenge = os.urandom(8)
    update = gp.decode_initialize_update(say(card, gp.initialize_update(TRANSPORT_KVN, host_challenge).encode()))
    host = HostChannel.of_keys(keys, host_challenge, update, PROTECTED_LEVEL)
    host.unwrap(card.transmit(host.authentication))
    apdu = command.encode()
    answer_bytes = len(say(plain, apdu))
    bare = BareScp03(len(command.data), answer_bytes)
    contenders: dict[str, Callable[[], object]] = {
        "plain": lambda: plain.transmit(apdu),
        "bare": bare,
        "running": bare.running,
    }
    spent_s: dict[str, list[float]] = {name: [] for name in ("wrapped", *contenders)}
    for _ in range(rounds):
        wrapped = host.wrap(command)
        started_s = perf_counter()
        answer = card.transmit(wrapped)
        spent_s["wrapped"].append(perf_counter() - started_s)
        if len(host.unwrap(answer)) != answer_bytes + len(SUCCESS_BYTES):
            raise RuntimeError("the protected answer is not what the plain one is")
        for name, action in contenders.items():
            started_s = perf_counter()
            action()
            spent_s[name].append(perf_counter() - started_s)
    us = {name: median_us(values) for name, values in spent_s.items()}
    adds_us = us["wrapped"] - us["plain"]
    name = f"SCP03 level 33 adds to GET DATA of {what}"
    return [
        at_most(name, adds_us, "us", "its bare AES at the card", us["bare"], SCP03_FACTOR),
        told("the same against AES that sets up no context for an ICV", adds_us / us["running"], "x"),
    ]


def _power_up() -> list[Row]:
    """From the sealed image to the first answer."""
    spent_s: list[float] = []
    with tempfile.TemporaryDirectory(prefix="themo-bench-") as name:
        file = write_image(Path(name))
        secret = file.secret
        for _ in range(POWER_UPS):
            started_s = perf_counter()
            store = FileStore(file.image, secret)
            say(Card(store), SELECT)
            spent_s.append(perf_counter() - started_s)
            store.close()
    return [told("power-up from the sealed image, to the answer of SELECT", median_us(spent_s), "us")]


def _on_a_chip(card: Card, sign_us: float) -> list[Row]:
    """The exchange of a signature beside what it would take on a real card, by the timing model."""
    answer = card.transmit(SIGN, CONTACTLESS)
    rows = []
    for chip, kbit in REAL_CARDS:
        real_s = Timing(chip, contactless(kbit)).exchange(SIGN, answer, CONTACTLESS).total_s
        versus = f"{chip} chip, {kbit} kbit/s"
        rows.append(beside("the same beside a real card, by the timing model", sign_us, "us", versus, real_s * 1e6))
    return rows
