"""`./run bench hsm`: the HSM through its socket, beside bare cryptography and beside SoftHSM through python-pkcs11.

Contenders take turns; each figure is a median of rounds. Policy check, caps, counters and the chained log are included:
nothing is switched off for the measurement.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.limits import BareEcdsa
from bench.report import Row, beside, limit, publish, told
from bench.softhsm import SoftHsm, soft_hsm
from bench.turns import ROUNDS, Contender, Turns
from cardlink.gp import scp03
from cardlink.gp.commands import InitializeUpdateAnswer
from cardlink.gp.keys import derive_card_keys, derive_card_keys_by, keyed_cmac
from cardlink.gp.scp03 import Level
from cardlink.iso7816.apdu import Command, split_chain
from cardlink.iso7816.sw import SUCCESS_BYTES
from hsm_sim.client import Client
from hsm_sim.keys import Kind, Role, Use, make_key
from hsm_sim.store import State, read_state, write_copy

ONE_BY_ONE, BATCH, BATCHES = 500, 64, 8
MANY_KEYS = 100_000
CARDS, CARDS_AT_ONCE = 4096, 2048
WRAPS = 200
DATA = os.urandom(200)
KDD = bytes.fromhex("A1A01243058551312085")  # made up


def run() -> bool:
    """Measure everything and publish it; True when every goal was met."""
    with tempfile.TemporaryDirectory(prefix="bench-hsm-") as name, _hsm(Path(name) / "few") as few:
        folder = Path(name)
        with _hsm(folder / "many", MANY_KEYS) as many, soft_hsm(folder) as soft:
            rows = signatures(few, many, soft)
            rows += _operations(few, soft)
            rows += _adapter(soft)
        rows += cards(few)
        rows += wrapped(few)
    return publish("hsm", rows)


def signatures(few: Client, many: Client, soft: SoftHsm) -> list[Row]:
    """P-256 signatures: one by one, in batches, with many keys in the store, and by SoftHSM."""
    bare = BareEcdsa()
    turns = Turns(
        {
            "bare": Contender(bare.sign, ONE_BY_ONE),
            "one": Contender(lambda: few.sign("signer", "card", DATA), ONE_BY_ONE),
            "many": Contender(lambda: many.sign("signer", "card", DATA), ONE_BY_ONE),
            "soft": Contender(lambda: soft.sign(DATA), ONE_BY_ONE),
            "batch": Contender(lambda: few.sign_many("signer", "card", [DATA] * BATCH), BATCHES, BATCH),
        }
    )
    return [
        turns.at_least("signature, one by one", "one", "bare signature", "bare", 0.45),
        turns.at_least("signature, in batches of 64", "batch", "bare signature", "bare", 0.9),
        limit("signature one by one, p99", turns.p99("one") / 1e3, "ms", 0.5),
        told("the first signature after a pause", turns.first("one") / 1e3, "ms"),
        turns.at_least("the same, 100,000 keys in the store", "many", "few keys", "one", 0.9),
        turns.at_least("signature, one by one", "one", "SoftHSM", "soft", 0.8),
        turns.at_least("signature, in batches of 64", "batch", "SoftHSM", "soft", 1.0),
    ]


def _operations(few: Client, soft: SoftHsm) -> list[Row]:
    """What else both do."""
    drawn = Turns(
        {
            "random": Contender(lambda: few.random(32), ONE_BY_ONE),
            "soft random": Contender(lambda: soft.random(32), ONE_BY_ONE),
        }
    )
    made = Turns({"key": Contender(_make_key(few), 4), "soft key": Contender(soft.generate, 4)}, rounds=8)
    return [
        drawn.at_least("32 random bytes", "random", "SoftHSM", "soft random", 0.8),
        made.at_least("a key pair made, on the disk", "key", "SoftHSM", "soft key", 0.8),
    ]


def _adapter(soft: SoftHsm) -> list[Row]:
    """Our PKCS #11 adapter, whose worker is a process of its own, beside the library that it uses."""
    with soft.adapter() as ours:
        us = Turns(
            {
                "one": Contender(lambda: ours.sign("adapter", "card", DATA), ONE_BY_ONE),
                "batch": Contender(lambda: ours.sign_many("adapter", "card", [DATA] * BATCH), BATCHES, BATCH),
                "soft": Contender(lambda: soft.sign(DATA), ONE_BY_ONE),
            }
        )
    return [
        beside("PKCS #11 adapter, a signature one by one", us["one"], "us", "python-pkcs11", us["soft"]),
        beside("PKCS #11 adapter, a signature in batches of 64", us["batch"], "us", "python-pkcs11", us["soft"]),
    ]


def _make_key(client: Client) -> Callable[[], None]:
    officer = Client(_bench(client).socket_path, Role.SO, PINS["so"])
    numbers = iter(range(1 << 20))

    def make() -> None:
        officer.generate(f"made-{next(numbers)}", Kind.EC_P256, Use.QR, ("H49",))

    return make


def cards(few: Client) -> list[Row]:
    """The SCP03 keys of many cards derived, with their check values told."""
    numbers = [number.to_bytes(10, "big") for number in range(CARDS)]
    mac = keyed_cmac(bytes(32))

    def inside() -> None:
        for at in range(0, CARDS, CARDS_AT_ONCE):
            few.derive_checks("master", numbers[at : at + CARDS_AT_ONCE], 1)

    def bare() -> None:
        for kdd in numbers:
            derive_card_keys_by(mac, kdd, 1)

    us = Turns({"inside": Contender(inside, 1, CARDS), "bare": Contender(bare, 1, CARDS)}, rounds=6)
    return [
        _at_least("cards whose keys are derived", 1e6 / us["inside"], "cards/s", 20_000),
        beside("one card: derived, checked and told", us["inside"], "us", "bare derivation", us["bare"]),
    ]


def wrapped(few: Client) -> list[Row]:
    """Commands of an open SCP03 session wrapped, one call each; and whole chains.

    The session is of level 03, whose answers carry no MAC: each is opened (another call) before the next command.
    """
    command = Command(0x00, 0xDB, 0x3F, 0xFF, bytes(200)).encode()
    chain = [one.encode() for one in split_chain(Command(0x00, 0xDB, 0x3F, 0xFF, bytes(200 * WRAPS)), 200)]
    session = _session(few)
    wraps_s: list[float] = []
    pairs_s: list[float] = []
    chains_s: list[float] = []
    for _ in range(ROUNDS):
        for _ in range(WRAPS):
            started_s = time.perf_counter()
            few.wrap(session, command)
            wrapped_s = time.perf_counter()
            few.unwrap(session, SUCCESS_BYTES)
            wraps_s.append(wrapped_s - started_s)
            pairs_s.append(time.perf_counter() - started_s)
        started_s = time.perf_counter()
        few.wrap_chain(session, chain)
        few.unwrap_chain(session, [SUCCESS_BYTES] * WRAPS)
        chains_s.append((time.perf_counter() - started_s) / WRAPS)
    return [
        _at_least("commands wrapped, one by one", 1 / statistics.median(wraps_s), "APDU/s", 10_000),
        told("the same with their answers opened", 1 / statistics.median(pairs_s), "APDU/s"),
        told("in chains of 200, answers opened", 1 / statistics.median(chains_s), "APDU/s"),
    ]


def _session(client: Client) -> int:
    """A session with a card that holds the derived keys."""
    keys = derive_card_keys(_master_secret(client), KDD, 1)
    host, card = client.random(8), os.urandom(8)
    cryptogram = scp03.card_cryptogram(scp03.derive_session(keys, host, card), host, card)
    answer = InitializeUpdateAnswer(KDD, 1, 0x60, card, cryptogram).encode()
    level = int(Level.C_MAC | Level.C_ENC)
    return client.open_session("bench", "card", "master", KDD, 1, host, answer, level).session


PINS = {"so": "bench-so-1", "user": "bench-user-1", "auditor": "bench-audit-1"}
"""For this benchmark alone; its store is deleted with it."""
SECRET = os.urandom(32)


class _BenchClient(Client):
    """A client that knows where its HSM's files are."""

    store_path: Path
    socket_path: Path


def _bench(client: Client) -> _BenchClient:
    if not isinstance(client, _BenchClient):
        raise TypeError("not an HSM of this benchmark")
    return client


def _master_secret(client: Client) -> bytes:
    return read_state(_bench(client).store_path, SECRET).keys["master"].secret


@contextmanager
def _hsm(folder: Path, more_keys: int = 0) -> Iterator[_BenchClient]:
    """An HSM in a process of its own, with a signer, a card master, and that many keys more."""
    folder.mkdir(parents=True)
    store, path = folder / "store", folder / "socket"
    given = {"store_secret": SECRET.hex(), "pins": PINS}
    first = _start(store, path, given, "--init")
    with Client(path, Role.SO, PINS["so"], wait_s=20) as officer:
        officer.generate("signer", Kind.EC_P256, Use.CARD, ("H49",))
        officer.generate("master", Kind.AES_256, Use.CARD_MASTER)
    process = first
    if more_keys:
        _end(first)
        _fill(store, more_keys)
        process = _start(store, path, given)
    client = _BenchClient(path, Role.USER, PINS["user"], wait_s=60)
    client.store_path, client.socket_path = store, path
    try:
        client.status()
        yield client
    finally:
        client.close()
        _end(process)


def _fill(store: Path, count: int) -> None:
    """Put many signers into a closed store; its log begins anew."""
    state = read_state(store, SECRET)
    more = {
        f"key-{number}": make_key(f"key-{number}", Kind.EC_P256, Use.QR, ("H49",), 0, (number + 1).to_bytes(32, "big"))
        for number in range(count)
    }
    store.unlink()
    store.with_name(store.name + ".log").unlink()
    filled = State({**state.keys, **more}, state.pins, settings=state.settings)
    write_copy(store, SECRET, filled, os.urandom)


def _start(store: Path, path: Path, given: object, *options: str) -> subprocess.Popen[bytes]:
    read, write = os.pipe()
    os.write(write, json.dumps(given).encode() + b"\n")
    os.close(write)
    argv = [sys.executable, "-m", "hsm_sim", "serve", "--socket", str(path), "--store", str(store)]
    try:
        return subprocess.Popen(
            [*argv, "--secret-fd", str(read), *options], pass_fds=(read,), stderr=subprocess.DEVNULL
        )
    finally:
        os.close(read)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)


def _at_least(what: str, ours: float, unit: str, bound: float) -> Row:
    return Row(what, ours, unit, "limit", bound, ours / bound, f">= {bound:g} {unit}", ours >= bound)
