"""What a ceremony has done so far, on disk: one line of JSON for each finished step, chained by hashes, never changed.

A torn ceremony goes on after the last whole line. The transcript is made from these lines and from nothing else.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsm_sim.errors import LogBroken


@dataclass(frozen=True, slots=True)
class Line:
    """One finished step: when (UTC seconds), who was needed for it and was there, and what was found."""

    step: str
    at_s: int
    persons: tuple[str, ...]
    facts: dict[str, Any]
    digest: str


@dataclass
class Book:
    """The lines of one ceremony."""

    path: Path
    clock_s: Callable[[], float]
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.path.exists():
            return
        raw = self.path.read_bytes()
        whole, _, torn = raw.rpartition(b"\n")
        for number, text in enumerate(whole.split(b"\n") if whole else [], 1):
            self.lines.append(self._read(number, text))
        if torn:  # a line that was being written when it broke off: its step is done again
            with self.path.open("r+b") as file:
                file.truncate(len(raw) - len(torn))

    def _read(self, number: int, text: bytes) -> Line:
        body, tab, digest = text.rpartition(b"\t")
        if not tab or _digest(self.last, body) != digest.decode("ascii", "replace"):
            raise LogBroken(f"{self.path.name}: line {number} was changed")
        step, at_s, persons, facts = json.loads(body)
        return Line(step, at_s, tuple(persons), facts, digest.decode())

    @property
    def last(self) -> str:
        """The hash that stands for everything so far."""
        return self.lines[-1].digest if self.lines else ""

    def find(self, step: str) -> Line | None:
        """The line of a step that is finished."""
        return next((line for line in self.lines if line.step == step), None)

    def add(self, step: str, persons: tuple[str, ...], facts: dict[str, Any]) -> Line:
        """Write a finished step; on the disk on return."""
        at_s = int(self.clock_s())
        body = json.dumps([step, at_s, list(persons), facts], ensure_ascii=False, sort_keys=True).encode()
        line = Line(step, at_s, persons, facts, _digest(self.last, body))
        raw = body + b"\t" + line.digest.encode() + b"\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(descriptor).st_size
        try:
            try:
                if os.write(descriptor, raw) != len(raw):
                    raise OSError(errno.ENOSPC, "not all bytes could be written", str(self.path))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        self.lines.append(line)
        return line


def _digest(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + body).hexdigest()
