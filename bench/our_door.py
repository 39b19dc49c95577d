"""The door that a benchmark measures: enrolled by its command, following the real feed, in this process."""

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from bench.centre import Centre
from cardlink.check.cache import CredentialCache
from cardlink.statements.bundle import Mechanism
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


def only_piv(loop: Loop) -> Loop:
    """The same door as it stands now, asking by PIV commands alone (mechanism 1)."""
    view, rules = loop.state.view, loop.state.view.rules
    if rules is None:
        raise RuntimeError("the door has no rules")
    settings = replace(rules.bundle.settings, mechanisms=(Mechanism.CREDENTIAL,))
    state = copy(loop.state)
    state.view = replace(view, rules=replace(rules, bundle=replace(rules.bundle, settings=settings)))
    return Loop(loop.door_uuid, state, loop.events, loop.door, loop.clock)


class TimedDatabase(Database):
    """A door's database that counts the CPU of its transactions, in the thread that makes them."""

    cpu_s = 0.0

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the door, on the disk when it is left."""
        started_s = time.thread_time()
        with super().transaction() as connection:
            yield connection
        self.cpu_s += time.thread_time() - started_s


class MemorySink(Database):
    """A door's database that keeps what is written in a list: what a tap costs without SQLite."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.kept: list[tuple[object, ...]] = []

    def transaction(self) -> "MemorySink":  # type: ignore[override]  # it stands in for transaction and connection
        """The list itself."""
        return self

    def __enter__(self) -> "MemorySink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was written stays."""

    def execute(self, sql: str, values: tuple[object, ...]) -> None:
        """Keep one row."""
        self.kept.append(values)


D = TypeVar("D", bound=Database)


@contextmanager
def quiet_copy(door: Daemon, kind: Callable[[Path], D]) -> Iterator[tuple[Loop, D]]:
    """A second door with what this one knows, without threads, over another kind of database."""
    with tempfile.TemporaryDirectory(prefix="quiet-", dir=door.config.data_dir) as name:
        path = Path(name) / "door.db"
        source, copy = sqlite3.connect(door.config.database_path), sqlite3.connect(path)
        source.backup(copy)
        source.close()
        copy.close()
        database = kind(path)
        try:
            clock = Clock(database.number("newest_signed_s"))
            key = enrol.load_key(door.config.key_path)
            events = EventLog(database, door.enrolment.door, key, clock)
            state = DoorState(database, door.enrolment, clock, AlarmSink(events, clock))
            yield Loop(door.enrolment.door, state, events, Door(LogLock()), clock), database
        finally:
            database.close()
