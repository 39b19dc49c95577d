"""The door that a benchmark measures: enrolled by its command, following the real feed, in this process."""

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType

from bench.centre import Centre
from cardlink.check.cache import CredentialCache
from demo.supervisor import command
from reader_daemon import enrol
from reader_daemon.clock import Clock
from reader_daemon.config import Config
from reader_daemon.daemon import Daemon
from reader_daemon.database import Database
from reader_daemon.door import Door, LogLock
from reader_daemon.events import EventLog
from reader_daemon.loop import AlarmSink, Loop
from reader_daemon.state import DoorState

READY_WAIT_S = 20.0
MEMORY = Path("/dev/shm")  # noqa: S108 a file system in memory


def wait_until(what: Callable[[], bool], wait_s: float = READY_WAIT_S) -> None:
    """Look every few milliseconds. Raises TimeoutError."""
    ends_s = time.monotonic() + wait_s
    while not what():
        if time.monotonic() > ends_s:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.005)


@contextmanager
def open_door(centre: Centre) -> Iterator[Daemon]:
    """A door of its own, connected to the feed, with trust list, status and rules."""
    config = Config(centre.folder / "door-data", centre.office.feed_url)
    settings = centre.folder / "bench-door.toml"
    settings.write_text(f'data_dir = "{config.data_dir}"\nfeed_url = "{config.feed_url}"\n', encoding="utf-8")
    argv = [command("reader-daemon"), "enrol", "--config", str(settings)]
    centre.supervisor.run(argv, stdin=centre.new_door() + "\n")
    with Daemon.open(config, lock=LogLock()) as door:
        door.start_feed(centre.office.feed_url)
        wait_until(lambda: door.state.view.status is not None and door.state.view.rules is not None)
        wait_until(lambda: door.state.view.fresh_at_s is not None)
        yield door


def forget_credentials(loop: Loop) -> None:
    """Empty this thread's cache: the next tap verifies the issuer's signature."""
    loop.caches.credentials = CredentialCache()


class _Timed:
    """One transaction of a `TimedDatabase`."""

    def __init__(self, database: "TimedDatabase", inner: AbstractContextManager[sqlite3.Connection]) -> None:
        self._database = database
        self._inner = inner
        self._started_s = time.thread_time()

    def __enter__(self) -> sqlite3.Connection:
        return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        done = self._inner.__exit__(kind, error, trace)
        self._database.cpu_s += time.thread_time() - self._started_s
        return done


class TimedDatabase(Database):
    """A door's database that counts the CPU of its transactions, in the thread that makes them."""

    cpu_s = 0.0

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:  # type: ignore[override]  # the same, measured
        return _Timed(self, super().transaction())


@contextmanager
def quiet_copy(door: Daemon) -> Iterator[tuple[Loop, TimedDatabase]]:
    """A second door with what this one knows, without threads, its log in memory, its transactions measured apart."""
    with tempfile.TemporaryDirectory(prefix="themo-door-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        path = Path(name) / "door.db"
        source, copy = sqlite3.connect(door.config.database_path), sqlite3.connect(path)
        source.backup(copy)
        source.close()
        copy.close()
        database = TimedDatabase(path)
        try:
            clock = Clock(database.number("newest_signed_s"))
            key = enrol.load_key(door.config.key_path)
            events = EventLog(database, door.enrolment.door, key, clock)
            state = DoorState(database, door.enrolment, clock, AlarmSink(events, clock))
            yield Loop(door.enrolment.door, state, events, Door(LogLock()), clock), database
        finally:
            database.close()
