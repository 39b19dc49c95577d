"""The lock. It moves only for a `Granted` whose event is on disk; everything else leaves it shut."""

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Protocol

from reader_daemon.decide import Granted, Refused
from reader_daemon.errors import ConfigError
from reader_daemon.events import Stored

log = logging.getLogger(__name__)


class Lock(Protocol):
    """A lock driver. Hardware has the same two verbs; both are safe to repeat, and `relock` also at start."""

    def unlock(self, open_ms: int) -> None: ...

    def relock(self) -> None: ...


class LogLock:
    """A lock that only says what it would do."""

    def unlock(self, open_ms: int) -> None:
        log.info("lock unlocked open_ms=%d", open_ms)

    def relock(self) -> None:
        log.info("lock relocked")


class FileLock:
    """A lock whose state is one line of JSON in a file, replaced as a whole: what a demo or a panel can watch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _write(self, state: str, open_ms: int) -> None:
        line = json.dumps({"state": state, "open_ms": open_ms, "at_ms": int(time.time() * 1000)})
        staged = self._path.with_name(self._path.name + ".new")
        staged.write_text(line + "\n", encoding="utf-8")
        os.replace(staged, self._path)

    def unlock(self, open_ms: int) -> None:
        self._write("unlocked", open_ms)

    def relock(self) -> None:
        self._write("locked", 0)


def make_lock(driver: str, path: Path | None) -> Lock:
    """The lock a configuration names: `log`, or `file` with the path of its state file."""
    if driver == "log":
        return LogLock()
    if driver == "file" and path is not None:
        return FileLock(path)
    raise ConfigError("lock-unknown", driver=driver)


class Door:
    """One lock and the thread that shuts it again. Starts shut, whatever it was before."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._changed = threading.Condition()
        self._shut_at_s: float | None = None
        self._thread: threading.Thread | None = None
        lock.relock()

    def act(self, decision: Granted | Refused, event: Stored) -> bool:
        """Move the lock as decided. `event` exists only once the event is on disk. True if the lock opened."""
        match decision:
            case Granted():
                log.debug("lock opens record=%d/%d", event.boot, event.seq)
                self._unlock(decision.open_ms)
                return True
            case _:
                return False

    def _unlock(self, open_ms: int) -> None:
        with self._changed:
            self._lock.unlock(open_ms)
            is_idle = self._shut_at_s is None
            self._shut_at_s = time.monotonic() + open_ms / 1000  # a second grant while open starts the time anew
            if self._thread is None:
                self._thread = threading.Thread(target=self._relock_when_due, name="relock", daemon=True)
                self._thread.start()
            elif is_idle:
                self._changed.notify()

    def _relock_when_due(self) -> None:
        with self._changed:
            while True:
                if self._shut_at_s is None:
                    self._changed.wait()
                elif (left_s := self._shut_at_s - time.monotonic()) > 0:
                    self._changed.wait(left_s)
                else:
                    self._shut_at_s = None
                    self._lock.relock()

    def close(self) -> None:
        """Shut now."""
        with self._changed:
            self._shut_at_s = None
            self._lock.relock()
            self._changed.notify()
