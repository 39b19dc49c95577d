"""An HSM whose process dies at one of its writes: the files stay as they were at that moment, and it starts again."""

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hsm_world import SECRET, HsmWorld

from hsm_sim import log as log_module
from hsm_sim.core import Hsm

CALLS = ("write", "pwrite", "fsync", "ftruncate", "replace", "unlink")
"""What the HSM changes files by; the store and the log use no others."""


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
    flushed: dict[int, int] = field(default_factory=dict)
    is_armed: bool = False
    is_dead: bool = False
    dead: set[threading.Thread] = field(default_factory=set)
    thread: threading.Thread = field(default_factory=threading.current_thread)

    def patch(self, patch: pytest.MonkeyPatch) -> "Disk":
        patch.setattr(log_module, "FLUSH_WAIT_S", 0.0)
        patch.setattr(log_module, "SEAL_EVERY_S", 1e12)  # sealed when asked: the same writes each time
        for name in CALLS:
            patch.setattr(os, name, self._counting(name, getattr(os, name)))
        return self

    def arm(self, at: int = 0, *, half: bool = False) -> None:
        """Die at write `at` (1: the first), half of it done; 0: never."""
        self.at, self.half, self.names, self.is_armed, self.is_dead = at, half, [], True, False

    def note(self, *paths: Path) -> None:
        """What these files hold now has been flushed."""
        for path in paths:
            self.flushed[path.stat().st_ino] = path.stat().st_size

    def disarm(self) -> None:
        self.is_armed = self.is_dead = False

    def lose(self, path: Path) -> None:
        """The power was cut too: what was not flushed is gone."""
        kept = self.flushed.get(path.stat().st_ino)
        if kept is not None and kept < path.stat().st_size:
            os.truncate(path, kept)

    def _counting(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            caller = threading.current_thread()
            if self.is_dead or caller in self.dead:
                return len(args[1]) if "write" in name else None
            is_counted = self.is_armed and caller is self.thread
            if is_counted:
                self.names.append(name)
            is_last = is_counted and len(self.names) == self.at
            if is_last and self.half:
                if "write" in name:
                    real(args[0], args[1][: len(args[1]) // 2], *args[2:])
                self._die()
            if name == "fsync":
                known = os.fstat(args[0])
                # two threads flush: whoever looked first may be heard last
                self.flushed[known.st_ino] = max(known.st_size, self.flushed.get(known.st_ino, 0))
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
        os.close(hsm.log._file)
        hsm._store.close()
