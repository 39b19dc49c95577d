"""The HSM's log: one line an operation, each line's hash over the line and the hash before it.

A line is `{"n":..,"t":..,...}<TAB><SHA-256 in hex>`. It is written before the operation is done and reaches the disk at
most 10 ms later: no log, no operation. The store keeps an anchor (where the log stood at the last change of the store),
so that a log that was written anew from the beginning, or shortened, does not pass. Anybody can check the chain.
"""

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Self

from hsm_sim.errors import LogBroken, LogFull

log = logging.getLogger(__name__)

FLUSH_WAIT_S = 0.008
DEFAULT_MAX_BYTES = 4 << 30
FIRST_HASH = bytes(32)
SAVED_MARK = b',"store","saved","'  # cannot stand inside a text: there the quotation marks are escaped
HASH_TAIL_BYTES = 1 + 64 + 1  # tab, hex, newline


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log stands: how many lines, how many bytes, the hash of the last line."""

    count: int = 0
    size_bytes: int = 0
    last_hash: bytes = FIRST_HASH


@dataclass(frozen=True, slots=True)
class Scan:
    """What a reading of the log found: its head, how many bytes of an unfinished line follow, and the highest
    generation of the store that a line says was saved (0: no such line)."""

    head: Head
    torn_bytes: int
    generation: int


def scan_log(path: Path, start: Head | None = None) -> Scan:
    """Check the chain from `start` to the end. Raises LogBroken with the first line that does not fit."""
    begin = start or Head()
    count, size, last = begin.count, begin.size_bytes, begin.last_hash
    generation = 0
    with path.open("rb") as file:
        if begin.count:
            _check_anchor(file.seek, file.read, begin)
        file.seek(size)
        for line in file:
            if not line.endswith(b"\n"):
                return Scan(Head(count, size, last), len(line), generation)
            body, tail = line[:-HASH_TAIL_BYTES], line[-HASH_TAIL_BYTES:]
            last = hashlib.sha256(last + body).digest()
            if tail != b"\t" + last.hex().encode() + b"\n" or not body.startswith(b'{"n":%d,' % (count + 1)):
                raise LogBroken(f"line {count + 1} does not fit the chain")
            if SAVED_MARK in body:
                generation = max(generation, int(json.loads(body)["e"][4]))
            count += 1
            size += len(line)
    return Scan(Head(count, size, last), 0, generation)


def _check_anchor(seek: Callable[[int], int], read: Callable[[int], bytes], anchor: Head) -> None:
    """Raise LogBroken unless the line that ends at the anchor has the anchor's hash."""
    seek(anchor.size_bytes - HASH_TAIL_BYTES)
    if read(HASH_TAIL_BYTES) != b"\t" + anchor.last_hash.hex().encode() + b"\n":
        raise LogBroken(f"line {anchor.count} is not the one that the store remembers: shortened or replaced")


class Log:
    """The open log of a running HSM. Any thread may append."""

    def __init__(
        self,
        path: Path,
        anchor: Head | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        if anchor and anchor.count and not path.exists():
            raise LogBroken(f"the log {path} is missing")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            scan = scan_log(path, anchor)
            os.ftruncate(self._file, scan.head.size_bytes)
            os.lseek(self._file, scan.head.size_bytes, os.SEEK_SET)
        except BaseException:
            os.close(self._file)
            raise
        self._head = scan.head
        self.saved_generation = scan.generation
        self._max_bytes = max_bytes
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._dirty = threading.Event()
        self._failed = ""
        self._closing = False
        self._flusher = threading.Thread(target=self._flush_loop, name="log-flush", daemon=True)
        self._flusher.start()
        if scan.torn_bytes:
            log.warning("hsm log had an unfinished line bytes=%d", scan.torn_bytes)
            self.append("hsm", 0, "log", "torn-line", str(scan.torn_bytes), "")

    @property
    def head(self) -> Head:
        """Where the log stands now."""
        with self._lock:
            return self._head

    def append(self, role: str, uid: int, op: str, outcome: str, subject: str, what: str) -> int:
        """Write one line and give its number. Raises LogFull when it cannot be written."""
        names = f"{quoted(role)},{uid},{quoted(op)},{quoted(outcome)}"
        rest = f"[{names},{quoted(subject)},{quoted(what)}]"
        with self._lock:
            head = self._head
            count = head.count + 1
            body = f'{{"n":{count},"t":{self._clock_ms()},"e":{rest}}}'.encode()
            digest = hashlib.sha256(head.last_hash + body)
            line = body + b"\t" + digest.hexdigest().encode() + b"\n"
            if self._failed:
                raise LogFull(self._failed)
            if head.size_bytes + len(line) > self._max_bytes:
                raise LogFull(f"{head.size_bytes} of {self._max_bytes} bytes")
            self._write(line, head.size_bytes)
            self._head = Head(count, head.size_bytes + len(line), digest.digest())
        if not self._dirty.is_set():
            self._dirty.set()
        return count

    def _write(self, line: bytes, size_bytes: int) -> None:
        """Write a whole line or leave the file as it was."""
        try:
            written = os.write(self._file, line)
            if written == len(line):
                return
            reason = f"{written} of {len(line)} bytes could be written"
        except OSError as error:
            reason = error.strerror or str(error)
        os.ftruncate(self._file, size_bytes)
        os.lseek(self._file, size_bytes, os.SEEK_SET)
        raise LogFull(reason)

    def flush(self) -> Head:
        """Bring everything to the disk and give the head that is there."""
        head = self.head
        try:
            os.fsync(self._file)
        except OSError as error:
            # after a failed fsync nobody knows what is on the disk: nothing more is done until a restart has checked it
            self._failed = error.strerror or str(error)
            log.exception("hsm log cannot be flushed")
            raise LogFull(self._failed) from error
        return head

    def _flush_loop(self) -> None:
        while not self._closing:
            self._dirty.wait()
            time.sleep(FLUSH_WAIT_S)
            self._dirty.clear()
            try:
                self.flush()
            except LogFull:
                return

    def close(self) -> Head:
        """Flush, stop the flusher and close the file."""
        head = self.flush()
        self._closing = True
        self._dirty.set()
        self._flusher.join()
        os.close(self._file)
        return head

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
