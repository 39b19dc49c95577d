"""An HSM whose process dies at one of its writes: the files stay as they were at that moment, and it starts again."""

import os
import shutil
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hsm_world import SECRET, HsmWorld

from hsm_sim import log as log_module
from hsm_sim.core import Hsm
from hsm_sim.log_file import LogFile, end_of_lines

CALLS = ("write", "pwrite", "fsync", "fdatasync", "ftruncate", "replace", "unlink")
"""What the HSM changes files by, beside the lines that it puts into the log through memory."""


class Died(BaseException):
    """The process is gone."""


@dataclass
class Disk:
    """Counts the writes of this thread from `arm` on, and lets the process die at one of them.

    Nothing is brought to a real disk: `lose` leaves of a file what had been flushed. Writes of other threads (the log's
    flusher) are done, and not counted; after death none is.
    """

    at: int = 0
    half: bool = False
    names: list[str] = field(default_factory=list)
    flushed: dict[int, tuple[int, int]] = field(default_factory=dict)  # by inode: how long, and up to where not zero
    is_armed: bool = False
    is_dead: bool = False
    dead: set[threading.Thread] = field(default_factory=set)
    thread: threading.Thread = field(default_factory=threading.current_thread)

    def patch(self, patch: pytest.MonkeyPatch) -> "Disk":
        patch.setattr(log_module, "FLUSH_WAIT_S", 0.0)
        patch.setattr(log_module, "SEAL_EVERY_S", 1e12)  # sealed when asked: the same writes each time
        for name in CALLS:
            patch.setattr(os, name, self._counting(name, getattr(os, name)))
        patch.setattr(LogFile, "put", self._counting("put", LogFile.put))
        return self

    def arm(self, at: int = 0, *, half: bool = False) -> None:
        """Die at write `at` (1: the first), half of it done; 0: never."""
        self.at, self.half, self.names, self.is_armed, self.is_dead = at, half, [], True, False

    def note(self, *paths: Path) -> None:
        """What these files hold now has been flushed."""
        for path in paths:
            with path.open("rb") as file:
                self._note(file.fileno())

    def disarm(self) -> None:
        self.is_armed = self.is_dead = False

    def lose(self, path: Path) -> None:
        """The power was cut too: what was not flushed is gone. Of a file with room, the room stays."""
        size = path.stat().st_size
        kept_size, kept_lines = self.flushed.get(path.stat().st_ino, (size, size))
        with path.open("r+b") as file:
            file.truncate(min(size, kept_size))
            if kept_lines < kept_size:
                file.seek(kept_lines)
                file.write(bytes(kept_size - kept_lines))

    def _note(self, file: int) -> None:
        """Now this is on the disk. Two threads flush: whoever looked first may be heard last."""
        known = os.fstat(file)
        if not stat.S_ISREG(known.st_mode):
            return
        with open(f"/proc/self/fd/{file}", "rb") as again:
            lines = end_of_lines(again)
        sizes, ends = self.flushed.get(known.st_ino, (0, 0))
        self.flushed[known.st_ino] = max(known.st_size, sizes), max(lines, ends)

    def _counting(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            caller = threading.current_thread()
            if self.is_dead or caller in self.dead:
                return len(args[1]) if "write" in name else None
            has_data = "write" in name or name == "put"
            is_counted = self.is_armed and caller is self.thread
            if is_counted:
                self.names.append(name)
            is_last = is_counted and len(self.names) == self.at
            if is_last and self.half:
                if has_data:
                    real(args[0], args[1][: len(args[1]) // 2], *args[2:])
                self._die()
            if "sync" in name:
                self._note(args[0])
                done = None
            else:
                done = real(*args)
            if is_last:
                self._die()
            return done

        return call

    def _die(self) -> None:
        """Whatever still runs of that process changes nothing any more."""
        self.is_dead = True
        self.dead |= {one for one in threading.enumerate() if one is not self.thread}
        raise Died


class Mortal(HsmWorld):
    """An HSM over a copy of prepared files, that is killed and started again."""

    def __init__(self, prepared: Path, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(exist_ok=True)
        for name in ("store", "store.log"):
            shutil.copyfile(prepared / name, folder / name)

    def open(self, secret: bytes = SECRET) -> Hsm:
        hsm = super().open(secret)
        try:
            hsm.log.append("hsm", 0, "start", "ok", "", "")
        except Died:
            self.kill(hsm)
            raise
        return hsm

    def kill(self, hsm: Hsm) -> None:
        """Let go of the files as a process does that is killed: nothing more is written."""
        hsm.log._closing = True
        hsm.log._dirty.set()
        hsm.log._flusher.join()
        hsm.log._file.close()
        hsm._store.close()
