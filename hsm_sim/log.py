"""The HSM's log: one line an operation, each line's hash over the line and the hash before it.

A line is `{"n":..,"t":..,...}<TAB><SHA-256 in hex>`. It is written before the operation is done and reaches the disk at
most 10 ms later: no log, no operation. While the HSM runs, zeros follow the last line (`hsm_sim/log_file.py`). Once a
second, and at the end, a line seals what stands before it with the HSM's Ed25519 log key, so that nobody who can write
the file alone can write it anew. The store keeps an anchor (where the log stood at the last change of the store), so
that a log that was shortened does not pass. Anybody can check the chain.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ed25519

from hsm_sim.endings import Ending, booted_ms, last_ending
from hsm_sim.errors import LogBroken, LogFull
from hsm_sim.keys import REVEAL_PIN
from hsm_sim.log_file import LogFile, end_of_lines
from hsm_sim.seals import (
    CHANGED_MARK,
    LABELS,
    SEALED_MARK,
    KeptHead,
    KeyChange,
    SealReader,
    change_bytes,
    change_subject,
    sealed_bytes,
)

log = logging.getLogger(__name__)

FLUSH_WAIT_S = 0.008
DEFAULT_MAX_BYTES = 4 << 30
FIRST_HASH = bytes(32)
SAVED_MARK = b',"store","saved","'  # cannot stand inside a text: there the quotation marks are escaped
HASH_TAIL_BYTES = 1 + 64 + 1  # tab, hex, newline
SEAL_EVERY_S = 1.0
USES_MARKS = (
    *(b',"sign","do","', b',"sign_many","do","', b',"sign_digest","do","'),
    *(b',"open_session","do","', b',"reveal_pin","do","'),
    *(b',"wrap_key","do","', b',"unwrap_key","do","'),
)
UNENDED_MARK = b',"log","unended","'
DAY_MS = 86_400_000

Uses = dict[tuple[str, str, int], int]
"""How often a key (label) was used by a client (name/uid) on a day, as the lines of the log say."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log stands: how many lines, how many bytes, the hash of the last line."""

    count: int = 0
    size_bytes: int = 0
    last_hash: bytes = FIRST_HASH


@dataclass(frozen=True, slots=True)
class Scan:
    """What a reading of the log found: its head, how many bytes of an unfinished line follow, the highest generation of
    the store that a line says was saved (0: no such line), uses of keys, and how many lines no seal covers."""

    head: Head
    torn_bytes: int
    generation: int
    uses: Uses = field(default_factory=dict)
    unsealed: int = 0
    changes: tuple[KeyChange, ...] = ()
    """The lines that name another key that seals."""
    unended: tuple[tuple[int, Ending], ...] = ()
    """The lines before which a life of the HSM ended without a stop, and how."""


def scan_log(
    path: Path,
    start: Head | None = None,
    seal_key: bytes | None = None,
    heads: Mapping[int, KeptHead] | None = None,
) -> Scan:
    """Check the chain from `start` to the end, each seal where the first public key is given, and heads kept elsewhere.

    Raises LogBroken with the first line that does not fit.
    """
    begin = start or Head()
    count, size, last = begin.count, begin.size_bytes, begin.last_hash
    generation, uses, sealed = 0, dict[tuple[str, str, int], int](), begin.count
    seals, torn, unended = SealReader(seal_key), 0, list[tuple[int, Ending]]()
    with path.open("rb") as file:
        end = end_of_lines(file)  # first: a running HSM goes on writing
        if begin.count:
            _check_anchor(file.seek, file.read, begin)
        file.seek(size)
        for line in file:
            if not line.endswith(b"\n") or b"\0" in line:  # room; or half a line, or pages that never reached the disk
                torn = max(0, end - size)
                break
            body, tail = line[:-HASH_TAIL_BYTES], line[-HASH_TAIL_BYTES:]
            before, last = last, sha256(last + body).digest()
            if tail != b"\t" + last.hex().encode() + b"\n" or not body.startswith(b'{"n":%d,' % (count + 1)):
                raise LogBroken(f"line {count + 1} does not fit the chain")
            if SAVED_MARK in body:
                generation = max(generation, int(json.loads(body)["e"][4]))
            elif SEALED_MARK in body:
                seals.seal(count, before, body)
                sealed = count + 1
            elif CHANGED_MARK in body:
                seals.change(count, before, body)
                sealed = count + 1
            elif UNENDED_MARK in body:
                unended.append((count + 1, Ending(json.loads(body)["e"][4])))
            elif any(mark in body for mark in USES_MARKS):
                _count_uses(uses, body)
            count += 1
            size += len(line)
            if heads and count in heads:
                seals.check_head(count, last, heads[count])
    if heads and max(heads) > count:
        raise LogBroken(f"the log has {count} lines, and had {max(heads)}: shortened or replaced", "log.short")
    changes = tuple(seals.changes)
    return Scan(Head(count, size, last), torn, generation, uses, count - sealed, changes, tuple(unended))


def _count_uses(uses: Uses, body: bytes) -> None:
    line = json.loads(body)
    name, uid, op, _, subject, what = line["e"]
    label, number = subject, 1
    if op == "sign_many":
        number = int(what.partition(" ")[0])
    elif op == "open_session":
        label = what.partition(" ")[2]
    elif op == "reveal_pin":
        label = REVEAL_PIN
    place = label, f"{name}/{uid}", line["t"] // DAY_MS
    uses[place] = uses.get(place, 0) + number


def _check_anchor(seek: Callable[[int], int], read: Callable[[int], bytes], anchor: Head) -> None:
    """Raise LogBroken unless the line that ends at the anchor has the anchor's hash."""
    seek(anchor.size_bytes - HASH_TAIL_BYTES)
    if read(HASH_TAIL_BYTES) != b"\t" + anchor.last_hash.hex().encode() + b"\n":
        wrong = f"line {anchor.count} is not the one that the store remembers: shortened or replaced"
        raise LogBroken(wrong, "log.short")


@lru_cache(maxsize=4096)
def _names(role: str, uid: int, op: str, outcome: str) -> str:
    """The part of a line that a client's lines share."""
    return f"{quoted(role)},{uid},{quoted(op)},{quoted(outcome)}"


def line_start(role: str, uid: int, op: str, outcome: str, subject: str) -> str:
    """How a line begins, in JSON: for those who write many that differ at their end."""
    return f"{_names(role, uid, op, outcome)},{quoted(subject)}"


class Log:
    """The open log of a running HSM. Any thread may append."""

    def __init__(
        self,
        path: Path,
        anchor: Head | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        clock_ns: Callable[[], int] = time.time_ns,
        machine_start_ms: Callable[[], int] = booted_ms,
    ) -> None:
        if anchor and anchor.count and not path.exists():
            raise LogBroken(f"the log {path} is missing", "log.missing")
        self._path = path
        self._file = LogFile(path, max_bytes)
        try:
            scan = scan_log(path, anchor)
            ending = last_ending(path, scan.head.size_bytes, machine_start_ms(), is_torn=bool(scan.torn_bytes))
            self._file.begin(scan.head.size_bytes)
        except BaseException:
            self._file.close()
            raise
        # a bare tuple: each line makes a new one, and a frozen dataclass takes longer than the line's hash
        self._place = scan.head.count, scan.head.size_bytes, scan.head.last_hash
        self.saved_generation = scan.generation
        self.uses = scan.uses
        self._sealer: ed25519.Ed25519PrivateKey | None = None
        self._sealed_count = scan.head.count - scan.unsealed
        self._sealed_at_s = 0.0
        self._sealing = threading.Lock()
        self._max_bytes = max_bytes
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._dirty = threading.Event()
        self._failed = ""
        self._closing = False
        self._flusher = threading.Thread(target=self._flush_loop, name="log-flush", daemon=True)
        self._flusher.start()
        if scan.torn_bytes:
            log.warning("hsm log had an unfinished line bytes=%d", scan.torn_bytes)
            self.append("hsm", 0, "log", "torn-line", str(scan.torn_bytes), "")
        if ending in (Ending.KILLED, Ending.POWER):
            log.warning("hsm log was not ended by a stop how=%s", ending)
            self.append("hsm", 0, "log", "unended", ending, "")

    @property
    def head(self) -> Head:
        """Where the log stands now."""
        return Head(*self._place)

    def append(self, role: str, uid: int, op: str, outcome: str, subject: str, what: str) -> int:
        """Write one line and give its number. Raises LogFull when it cannot be written."""
        return self.append_to(line_start(role, uid, op, outcome, subject), what)

    def append_to(self, start: str, what: str, signs: Callable[[int, bytes], bytes] | None = None) -> int:
        """The same for a line whose beginning is known; `start` comes from `line_start`.

        `signs`: what the line says is a signature over what stands before it, made from the last number and hash.
        """
        with self._lock:  # one long function: it is in the way of every signature
            before, size, last = self._place
            count = before + 1
            if signs is not None:
                what = signs(before, last).hex()
            body = f'{{"n":{count},"t":{self._clock_ns() // 1_000_000},"e":[{start},{quoted(what)}]}}'.encode()
            digest = sha256(last + body).digest()
            line = b"%b\t%b\n" % (body, digest.hex().encode())
            after = size + len(line)
            if self._failed:
                raise LogFull(self._failed)
            if after > self._max_bytes:
                raise LogFull(f"{size} of {self._max_bytes} bytes")
            try:
                self._file.put(line, size)
            except OSError as error:
                raise LogFull(error.strerror or str(error)) from error
            self._place = count, after, digest
            if signs is not None:
                self._sealed_count = count
        if not self._dirty.is_set():
            self._dirty.set()
        return count

    def flush(self) -> Head:
        """Bring everything to the disk and give the head that is there."""
        head = self.head
        try:
            self._file.flush()
        except OSError as error:
            # after a failed flush nobody knows what is on the disk: nothing more is done until a restart has checked it
            self._failed = error.strerror or str(error)
            log.exception("hsm log cannot be flushed")
            raise LogFull(self._failed) from error
        return head

    @property
    def seal_public(self) -> bytes | None:
        """The public half of the key that seals, 32 bytes."""
        return self._sealer.public_key().public_bytes_raw() if self._sealer is not None else None

    def seal_with(self, key: ed25519.Ed25519PrivateKey) -> None:
        """From now on seal the log with this key."""
        self._sealer = key

    def sign(self, data: bytes) -> bytes:
        """Sign with the key that seals the log; `data` says by its beginning that it is no seal."""
        if self._sealer is None or data.startswith(LABELS):
            raise LogBroken("this log has no key that seals it")
        return self._sealer.sign(data)

    def seal(self) -> None:
        """Sign what stands there, unless a seal stands last already."""
        with self._sealing:
            sealer = self._sealer
            if sealer is None or self.head.count == self._sealed_count:
                return
            self._sealed_at_s = time.monotonic()
            start = line_start("hsm", 0, "seal", "ok", "")
            self.append_to(start, "", lambda count, last: sealer.sign(sealed_bytes(count, last)))

    def change_key(self, key: ed25519.Ed25519PrivateKey, doubted_after: int | None) -> None:
        """Let the key that seals name the next one, which seals from here on; on the disk on return.

        `doubted_after`: the old key has been in other hands since that line.
        """
        with self._sealing:
            sealer = self._sealer
            if sealer is None:
                raise LogBroken("this log has no key that seals it")
            subject = change_subject(key.public_key().public_bytes_raw(), doubted_after)
            signs = lambda count, last: sealer.sign(change_bytes(count, last, subject))  # noqa: E731 - as in seal
            self.append_to(line_start("hsm", 0, "seal-key", "ok", subject), "", signs)
            self._sealer = key
        self.flush()

    def has_named(self, public: bytes) -> bool:
        """Does a line name this key as the one that seals. Reads the whole log."""
        return any(one.public == public for one in scan_log(self._path).changes)

    def _flush_loop(self) -> None:
        """Flush what was written and seal it, until the end; or until a flush fails, after which nothing is done."""
        is_owing = False
        while not (self._closing or self._failed):
            self._dirty.wait(SEAL_EVERY_S if is_owing else None)
            time.sleep(FLUSH_WAIT_S)
            self._dirty.clear()
            if not self._closing and time.monotonic() - self._sealed_at_s >= SEAL_EVERY_S:
                is_owing = not self._seal_if_it_fits()
                self._dirty.clear()
            with suppress(LogFull):
                self.flush()
            with suppress(OSError):  # who needs the room will say that there is none
                self._file.grow(self._place[1])

    def _seal_if_it_fits(self) -> bool:
        """A disk that is full for a moment ends neither the flushing nor the seals that follow."""
        try:
            self.seal()
        except LogFull:
            log.warning("hsm log has no room for a seal")
            return False
        return True

    def close(self) -> Head:
        """Flush, stop the flusher and close the file; who writes after that gets LogFull."""
        self._closing = True
        self._dirty.set()
        self._flusher.join()
        with self._lock:
            if self._file.is_open:
                try:
                    self._file.cut(self.flush().size_bytes)
                finally:
                    self._failed = self._failed or "closed"
                    self._file.close()
        return self.head

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
