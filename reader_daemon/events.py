"""The door's log (formats.md, F9): each event is a record, chained to the one before, on disk before the lock moves.

`seq` counts from 1 in each boot, and the first record of a boot names the last one of the boot before. Signed heads say
where the log stood; the centre takes records and heads, and only what it acknowledged is deleted here.
"""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cardlink.errors import Malformed
from cardlink.statements.bundle import Mechanism
from cardlink.statements.cose_key import CoseKey
from cardlink.statements.record import (
    FIRST_SEQ,
    NO_RECORD,
    Decision,
    Head,
    Kind,
    Record,
    check_chain,
    check_head,
    encode_record,
    issue_head,
    read_head,
    record_hash,
    verify_head,
)
from cardlink.statements.refusal import Reason, Refused
from reader_daemon.clock import Clock
from reader_daemon.database import Database, set_number
from reader_daemon.enrol import DoorKey
from reader_daemon.errors import LogBroken

log = logging.getLogger(__name__)

PAGE_RECORDS = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log stands: its last record and that record's hash."""

    boot: int
    seq: int
    record_hash: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """Proof that an event is on disk; only `EventLog.append` makes one."""

    boot: int
    seq: int
    commit_s: float


class Happening(NamedTuple):
    """What a record tells beside its place and time. `numbers`: bundle seq, status epoch and seq it was judged with."""

    kind: Kind
    numbers: tuple[int, int, int] = (0, 0, 0)
    card_uuid: bytes | None = None
    mechanism: Mechanism | None = None
    decision: Decision | None = None
    reason: str | None = None
    elapsed_us: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Records of one boot for the centre, in order, and the signed head over the last of them."""

    records: list[bytes]
    head: bytes
    last: Place


class EventLog:
    """The log of one running process: opening it begins a boot."""

    def __init__(self, database: Database, door: bytes, key: DoorKey, clock: Clock) -> None:
        self._database = database
        self._door = door
        self._key = key
        self._clock = clock
        self._guard = threading.Lock()
        self._before = last_place(database)
        self.boot = max(database.number("boot"), self._before.boot) + 1
        self._seq = FIRST_SEQ - 1
        self._hash = self._before.record_hash
        self._signed_seq = FIRST_SEQ - 1
        self._signed_at_s = clock.monotonic_s()
        self.grew = threading.Event()  # set by each new record, cleared by whoever sends them

    def append(self, event: Happening) -> Stored:
        """Put one event on disk. Raises NotDurable; then it did not happen, and its number is used again."""
        started = time.perf_counter()
        with self._guard:
            seq = self._seq + 1
            bundle_seq, status_epoch, status_seq = event.numbers
            raw = encode_record(
                Record(
                    door_uuid=self._door,
                    boot=self.boot,
                    seq=seq,
                    previous=self._hash,
                    wall_ms=int(self._clock.now_s() * 1000),
                    monotonic_ms=int(self._clock.monotonic_s() * 1000),
                    clock=self._clock.quality,
                    card_uuid=event.card_uuid,
                    mechanism=event.mechanism,
                    kind=event.kind,
                    decision=event.decision,
                    reason=event.reason,
                    bundle_seq=bundle_seq,
                    status_epoch=status_epoch,
                    status_seq=status_seq,
                    elapsed_us=event.elapsed_us,
                )
            )
            digest = record_hash(raw)
            with self._database.transaction() as connection:
                connection.execute("INSERT INTO records VALUES (?, ?, ?, ?)", (self.boot, seq, digest, raw))
                if seq == FIRST_SEQ:
                    set_number(connection, "boot", self.boot)
            self._seq, self._hash = seq, digest
        if not self.grew.is_set():  # who waits clears it before reading, so a record stored by now is read
            self.grew.set()
        return Stored(self.boot, seq, time.perf_counter() - started)

    def place(self) -> Place:
        """The last record of this boot, or of the one before while this boot has none."""
        with self._guard:
            return self._before if self._seq < FIRST_SEQ else Place(self.boot, self._seq, self._hash)

    def sign_head_if_due(self, every_records: int, every_s: float) -> bool:
        """Sign where the log stands, at a boot's first record and then every so many records or seconds."""
        now_s = self._clock.monotonic_s()
        new = self._seq - self._signed_seq
        if new == 0 or (self._signed_seq >= FIRST_SEQ and new < every_records and now_s - self._signed_at_s < every_s):
            return False
        place = self.place()
        head = self._sign(place)
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (place.boot, place.seq, head))
        self._signed_seq, self._signed_at_s = place.seq, now_s
        return True

    def _sign(self, place: Place) -> bytes:
        head = Head(self._door, int(self._clock.now_s()), place.boot, place.seq, place.record_hash)
        return issue_head(head, self._key.kid, self._key.sign)

    def waiting(self) -> Page | None:
        """The oldest records that the centre has not acknowledged, of one boot; None when it has all."""
        rows = self._database.rows(
            "SELECT boot, seq, hash, record FROM records WHERE boot = (SELECT min(boot) FROM records) "
            "ORDER BY seq LIMIT ?",
            PAGE_RECORDS,
        )
        if not rows:
            return None
        last = _place(rows[-1][:3])
        return Page([_bytes(row[3]) for row in rows], self._sign(last), last)

    def acknowledge(self, place: Place) -> None:
        """Delete what the centre has, up to this place. Raises LogBroken when it names another record than ours."""
        rows = self._database.rows(
            "SELECT hash FROM records WHERE boot = ? AND seq = ? UNION ALL "
            "SELECT hash FROM acknowledged WHERE boot = ? AND seq = ?",
            *(place.boot, place.seq, place.boot, place.seq),
        )
        if not rows or rows[0][0] != place.record_hash:
            raise LogBroken("log-broken", boot=place.boot, seq=place.seq, why="the centre has another record")
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM records WHERE boot = ? AND seq <= ?", (place.boot, place.seq))
            connection.execute("DELETE FROM heads WHERE boot = ? AND seq < ?", (place.boot, place.seq))
            connection.execute("DELETE FROM acknowledged WHERE boot < ?", (place.boot,))
            connection.execute(
                "INSERT INTO acknowledged VALUES (?, ?, ?) ON CONFLICT (boot) DO UPDATE SET seq = excluded.seq, "
                "hash = excluded.hash WHERE excluded.seq > seq",
                (place.boot, place.seq, place.record_hash),
            )


def last_place(database: Database) -> Place:
    """The last record that the file knows of, stored or acknowledged."""
    rows = database.rows(
        "SELECT boot, seq, hash FROM (SELECT boot, seq, hash FROM records UNION ALL "
        "SELECT boot, seq, hash FROM acknowledged) ORDER BY boot DESC, seq DESC LIMIT 1"
    )
    return _place(rows[0]) if rows else Place(0, 0, NO_RECORD)


def verify_log(database: Database, door: bytes, key: CoseKey) -> Place:
    """Check every stored record and head; answer where the log ends. Raises LogBroken naming the record.

    What a thief of the disk cut off together with its heads shows at the centre, which has later heads.
    """
    acknowledged = database.rows("SELECT boot, seq, hash FROM acknowledged ORDER BY boot DESC LIMIT 1")
    start = _place(acknowledged[0]) if acknowledged else Place(0, 0, NO_RECORD)
    hashes = {(start.boot, start.seq): start.record_hash}
    at = start
    for raw in _records(database):
        try:
            digest = check_chain([raw[1]], at.record_hash, at.boot, at.seq)
        except Malformed as error:
            raise LogBroken("log-broken", boot=raw[0].boot, seq=raw[0].seq, why=error) from error
        if isinstance(digest, Refused):
            raise LogBroken("log-broken", boot=raw[0].boot, seq=raw[0].seq, why=f"{digest.reason} {digest.detail}")
        if digest != raw[0].record_hash:
            raise LogBroken("log-broken", boot=raw[0].boot, seq=raw[0].seq, why="the stored hash is another")
        at = raw[0]
        hashes[at.boot, at.seq] = at.record_hash
    for boot, seq, statement in database.rows("SELECT boot, seq, statement FROM heads ORDER BY boot, seq"):
        try:
            head = verify_head(read_head(_bytes(statement)), door, key)
        except Malformed as error:
            raise LogBroken("log-broken", boot=boot, seq=seq, why=error) from error
        if isinstance(head, Head):
            expected = hashes.get((head.boot, head.seq))
            head = check_head(head, at.boot, at.seq, at.record_hash)
            if isinstance(head, Head) and expected is not None and head.record_hash != expected:
                head = Refused(Reason.FORKED, "the signed head names another record")
            elif isinstance(head, Head) and expected is None and (head.boot, head.seq) > (start.boot, start.seq):
                head = Refused(Reason.SHORTENED, "the record under a signed head is gone")
        if isinstance(head, Refused):
            raise LogBroken("log-broken", boot=boot, seq=seq, why=f"{head.reason} {head.detail}")
    return at


def _records(database: Database) -> Iterator[tuple[Place, bytes]]:
    after: tuple[int, int] = (-1, -1)
    while rows := database.rows(
        "SELECT boot, seq, hash, record FROM records WHERE (boot, seq) > (?, ?) ORDER BY boot, seq LIMIT ?",
        *after,
        PAGE_RECORDS,
    ):
        for row in rows:
            place = _place(row[:3])
            yield place, _bytes(row[3])
            after = (place.boot, place.seq)


def _place(row: tuple[object, ...]) -> Place:
    boot, seq, digest = row
    return Place(int(str(boot)), int(str(seq)), _bytes(digest))


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
