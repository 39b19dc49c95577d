"""`./run bench personalise`: a card personalised through pcscd, beside the floor below anybody who does the same.

The floor of each card is measured right after it: its very exchanges with a card that answers at once, its bare
cryptography, two empty calls of the HSM for each protected APDU, and its journal's commits as bare commits.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, event

from bench.centre import ENCODER, Centre, now, open_centre
from bench.door_pcscd import seconds
from bench.limits import BareCommit, BareEcdsa, bare_protection
from bench.report import Row, at_most, publish, told
from bench.slots import Slots, open_slots
from cardlink.piv.tables import Interface
from cardlink.transport.connection import Connection
from cardlink.transport.pcsc import Reader
from demo.pcscd import NoVirtualReader
from hsm_sim.policy import Op
from issuer.cards import personalise
from issuer.cards.personalise import Done
from issuer.cards.run import run as carry
from issuer.trust.port import OpenedSession
from issuer.trust.sim import Sim

FACTOR = 3.0
CARDS = 6  # and one before them, which warms up
EMPTY_CALLS_A_WRAPPED = 2
KEY_PAIRS = 4
CARD_SIGNATURES = 2  # the read-back has 9E and 9A sign
# Before it is written: the credential. Read back as a door: credential and answer of 9E; then the answer of 9A. The
# whole card: credential, four certificates, CHUID and its signer's certificate, security object, identity statement.
VERIFICATIONS = 1 + 2 + 1 + 9


class CountingHsm(Sim):
    """The HSM, counting what the floor is made of."""

    signatures = 0
    wrapped = 0

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        """One signature."""
        self.signatures += 1
        return super().sign(label, use, data)

    def sign_many(self, label: str, use: str, data: Sequence[bytes]) -> list[bytes]:
        """Several signatures."""
        self.signatures += len(data)
        return super().sign_many(label, use, data)

    def open_session(
        self,
        job: str,
        key_set: str,
        label: str,
        kdd: bytes,
        kvn: int,
        host_challenge: bytes,
        initialize_update_answer: bytes,
        level: int,
    ) -> OpenedSession:
        """Its EXTERNAL AUTHENTICATE is protected as well."""
        self.wrapped += 1
        return super().open_session(job, key_set, label, kdd, kvn, host_challenge, initialize_update_answer, level)

    def wrap(self, session: int, apdu: bytes) -> bytes:
        """One protected APDU."""
        self.wrapped += 1
        return super().wrap(session, apdu)

    def wrap_chain(self, session: int, apdus: Sequence[bytes]) -> list[bytes]:
        """As many protected APDUs as blocks."""
        self.wrapped += len(apdus)
        return super().wrap_chain(session, apdus)

    def put_keys(self, session: int, master_label: str, kdd: bytes, new_kvn: int, replace_kvn: int) -> bytes:
        """One protected APDU."""
        self.wrapped += 1
        return super().put_keys(session, master_label, kdd, new_kvn, replace_kvn)

    def put_secret(self, session: int, kind: str, master_label: str | None, kdd: bytes, kvn: int) -> bytes:
        """One protected APDU."""
        self.wrapped += 1
        return super().put_secret(session, kind, master_label, kdd, kvn)


class Commits:
    """Counts the commits of an engine."""

    def __init__(self, engine: Engine) -> None:
        self.count = 0
        event.listen(engine, "commit", self._one)

    def _one(self, connection: object) -> None:
        self.count += 1


class Recorder:
    """A connection that remembers every exchange."""

    def __init__(self, below: Connection) -> None:
        self._below = below
        self.sent: list[bytes] = []
        self.answer_lengths: list[int] = []

    def transmit(self, apdu: bytes) -> bytes:
        """Pass one APDU on."""
        answer = self._below.transmit(apdu)
        self.sent.append(apdu)
        self.answer_lengths.append(len(answer))
        return answer


@dataclass(frozen=True, slots=True)
class Encoded:
    """One personalisation: how long it took, and what it consisted of."""

    elapsed_s: float
    exchanges: Recorder
    signatures: int
    wrapped: int
    commits: int


@dataclass(frozen=True, slots=True)
class Floor:
    """The same without what we add."""

    trips_s: float
    crypto_s: float
    hsm_s: float
    commits_s: float

    @property
    def whole_s(self) -> float:
        """Everything, one after the other."""
        return self.trips_s + self.crypto_s + self.hsm_s + self.commits_s


def run() -> bool:
    """Measure and publish; True when the goal was met."""
    with open_centre() as centre:
        try:
            with open_slots(centre.supervisor) as slots:
                rows = _measure(centre, slots)
        except NoVirtualReader as missing:
            print(f"bench: {missing}: nothing can be measured")
            return False
    return publish("personalise", rows)


def _measure(centre: Centre, slots: Slots) -> list[Row]:
    commits = Commits(centre.engine)
    bare_commit = BareCommit(centre.folder / "bare.db")
    runs: list[tuple[Encoded, Floor]] = []
    for number in range(CARDS + 1):
        encoded = _encode(centre, slots, commits)
        floor = _floor(centre, slots, encoded, bare_commit)
        if number:
            runs.append((encoded, floor))
    bare_commit.close()
    last = runs[-1][0]
    sent = sum(map(len, last.exchanges.sent))
    elapsed_s, floor_s = _median(encoded.elapsed_s for encoded, _ in runs), _median(floor.whole_s for _, floor in runs)
    return [
        at_most("personalisation through pcscd", elapsed_s, "s", "its floor", floor_s, FACTOR),
        told(
            "the same, median of each card's own ratio", _median(one.elapsed_s / low.whole_s for one, low in runs), "x"
        ),
        told("exchanges", len(last.exchanges.sent), "exchanges"),
        told("bytes to the card", sent, "bytes"),
        told("bytes from the card", sum(last.exchanges.answer_lengths), "bytes"),
        told("protected APDUs", last.wrapped, "APDUs"),
        told("commits", last.commits, "commits"),
        told(
            "in the floor: the exchanges with a card that answers at once", _median(low.trips_s for _, low in runs), "s"
        ),
        told("in the floor: cryptography", _median(low.crypto_s for _, low in runs), "s"),
        told("in the floor: empty calls of the HSM", _median(low.hsm_s for _, low in runs), "s"),
        told("in the floor: bare commits", _median(low.commits_s for _, low in runs), "s"),
    ]


def _encode(centre: Centre, slots: Slots, commits: Commits) -> Encoded:
    """Personalise one blank, from taking the job to the register saying that it is encoded."""
    blank = centre.blank()
    card = centre.allocated(blank.serial)
    hsm = CountingHsm(centre.client)
    with slots.card(blank, Interface.CONTACT) as reader:
        before, started_s = commits.count, time.perf_counter()
        job = personalise.start(centre.factory, hsm, ENCODER, card.id, now)
        with reader.connect() as connection, connection.transaction():
            recorder = Recorder(connection)
            report = carry(recorder, job, lambda progress: None)
        elapsed_s = time.perf_counter() - started_s
    if not isinstance(report.outcome, Done):
        raise RuntimeError(f"the card was not encoded: {report.outcome}")
    return Encoded(elapsed_s, recorder, hsm.signatures, hsm.wrapped, commits.count - before)


def _floor(centre: Centre, slots: Slots, encoded: Encoded, bare_commit: BareCommit) -> Floor:
    """What nobody can do without, measured now."""
    with slots.constant(encoded.exchanges.answer_lengths, Interface.CONTACT) as reader:
        trips_s, calls_s = _replay(reader, encoded.exchanges.sent, lambda: centre.client.call(Op.RANDOM, [1]))
    bare = BareEcdsa()
    lengths = zip(encoded.exchanges.sent, encoded.exchanges.answer_lengths, strict=True)
    protections = [bare_protection(len(apdu), answer) for apdu, answer in lengths if apdu[0] & 0x04]
    started_s = time.perf_counter()
    for _ in range(KEY_PAIRS):
        bare.make_key()
    for _ in range(encoded.signatures + CARD_SIGNATURES):
        bare.sign()
    for _ in range(VERIFICATIONS):
        bare.verify()
    for protect in protections:
        protect()
    crypto_s = time.perf_counter() - started_s
    commit_s = _median(seconds(bare_commit) for _ in range(encoded.commits))
    return Floor(trips_s, crypto_s, calls_s, encoded.commits * commit_s)


def _replay(reader: Reader, apdus: Sequence[bytes], call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the exchanges, and of the empty calls: where they stand in a personalisation, between exchanges.

    An HSM that is called without a pause answers faster than one that goes to sleep while a card is spoken to.
    """
    calls_s = 0.0
    with reader.connect() as connection, connection.transaction():
        started_s = time.perf_counter()
        for apdu in apdus:
            connection.transmit(apdu)
            if apdu[0] & 0x04:
                called_s = time.perf_counter()
                for _ in range(EMPTY_CALLS_A_WRAPPED):
                    call()
                calls_s += time.perf_counter() - called_s
        return time.perf_counter() - started_s - calls_s, calls_s


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))
