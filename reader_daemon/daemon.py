"""A whole door, put together from its configuration: opened, running, closed."""

import fcntl
import logging
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from cardlink.errors import Malformed
from cardlink.statements.record import Kind, Record, decode_record
from cardlink.statements.refusal import Reason
from reader_daemon import enrol
from reader_daemon.clock import Clock
from reader_daemon.config import Config
from reader_daemon.courier import Courier
from reader_daemon.database import Database
from reader_daemon.door import Door, Lock, make_lock
from reader_daemon.enrol import DoorKey, Enrolment
from reader_daemon.errors import LogBroken, NotDurable, StorageDamaged
from reader_daemon.events import EventLog, Happening, verify_log
from reader_daemon.feed import BEAT_S, Feed, Signals
from reader_daemon.loop import AlarmSink, Loop
from reader_daemon.state import DoorState
from reader_daemon.uploader import Uploader

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Daemon:
    """The parts of one running door."""

    config: Config
    enrolment: Enrolment
    key: DoorKey
    database: Database
    clock: Clock
    events: EventLog
    state: DoorState
    loop: Loop
    signals: Signals
    threads: list[threading.Thread]
    data_lock: int
    feed: Feed | None = None

    @classmethod
    def open(cls, config: Config, *, lock: Lock | None = None, clock: Clock | None = None) -> Self:
        """Start a boot: check what is on disk, shut the lock, put the start into the log. Raises DoorError."""
        with ExitStack() as undo:  # whatever fails on the way gives the directory back
            data_lock = _hold(config)
            undo.callback(os.close, data_lock)
            enrolment = enrol.load(config.enrolment_path)
            key = enrol.load_key(config.key_path)
            database = Database(config.database_path)
            undo.callback(database.close)
            clock = clock if clock is not None else Clock(database.number("newest_signed_s"))
            before = _last_record(database)
            broken = _check_log(database, enrolment, key)
            events = EventLog(database, enrolment.door, key, clock)
            alarm = AlarmSink(events, clock)
            door = Door(lock if lock is not None else make_lock(config.lock, config.lock_file))
            events.append(Happening(Kind.START))
            state = DoorState(database, enrolment, clock, alarm)
            if broken is not None:
                alarm(Reason.BROKEN_CHAIN, str(broken))
            if before is not None:
                state.refuse_older_than((before.status_epoch, before.status_seq), before.bundle_seq)
            undo.pop_all()
        loop = Loop(
            enrolment.door,
            state,
            events,
            door,
            clock,
            head_every_records=config.head_every_records,
            head_every_s=config.head_every_s,
        )
        loop.sign_head_if_due()
        log.info("door started name=%s door=%s boot=%d", enrolment.name, enrolment.door.hex(), events.boot)
        return cls(config, enrolment, key, database, clock, events, state, loop, Signals(), [], data_lock)

    def start_feed(self, url: str, beat_s: float = BEAT_S) -> None:
        """Begin to follow the centre: three threads."""
        door = self.enrolment.door
        self.feed = Feed(url, door, self.state, self.clock, self.signals, beat_s)
        courier = Courier(url, door, self.key, self.state, self.clock, self.feed, self.signals)
        uploader = Uploader(url, door, self.events, self.signals, AlarmSink(self.events, self.clock))
        for name, body in (("feed", self.feed.follow), ("courier", courier.run), ("uploader", uploader.run)):
            thread = threading.Thread(target=body, name=name, daemon=True)
            self.threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Shut the lock, put the stop into the log, end the threads."""
        self.signals.stop.set()
        self.loop.door.close()
        self.signals.tell()
        self.events.grew.set()
        if self.feed is not None:
            self.feed.abort()
        for thread in self.threads:
            thread.join(10)
        try:
            self.state.checkpoint()
            self.events.append(Happening(Kind.STOP, numbers=self.state.view.numbers()))
        except NotDurable as error:
            log.error("stop not stored why=%s", error)
        self.database.close()
        os.close(self.data_lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _hold(config: Config) -> int:
    """Keep other processes from this data directory for as long as this one lives."""
    try:
        held = os.open(config.data_dir / "door.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageDamaged("data-unusable", path=config.data_dir, why=error) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        raise StorageDamaged("data-in-use", path=config.data_dir) from error
    return held


def _last_record(database: Database) -> Record | None:
    rows = database.rows("SELECT record FROM records ORDER BY boot DESC, seq DESC LIMIT 1")
    if not rows or not isinstance(rows[0][0], bytes):
        return None
    try:
        return decode_record(rows[0][0])
    except Malformed:
        return None  # the check of the log names it


def _check_log(database: Database, enrolment: Enrolment, key: DoorKey) -> LogBroken | None:
    """A log that was tampered with is an alarm for people, not a reason to lock them in."""
    try:
        verify_log(database, enrolment.door, key.public)
    except LogBroken as error:
        log.critical("log broken why=%s", error)
        return error
    return None
