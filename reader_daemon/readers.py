"""Readers through PC/SC, a thread for each, so that a dead one holds up nobody. Survives unplugging, pcscd restarts."""

import logging
import threading
from collections.abc import Callable, Sequence

from cardlink.errors import LinkLost
from cardlink.transport.pcsc import Reader, reader_names
from reader_daemon.loop import Loop, TapResult

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
RETRY_S = 0.5
ANSWER_WAIT_S = 5.0  # a mute card; the time budget of the rules ends most taps earlier
Emit = Callable[[TapResult], None]


class DeadConnection:
    """A card that was there and could not be connected: its tap is recorded like any other."""

    def __init__(self, why: LinkLost) -> None:
        self._why = why

    def transmit(self, apdu: bytes) -> bytes:
        raise self._why


class ReaderThread(threading.Thread):
    """Waits for cards in one reader and taps each once."""

    def __init__(self, name: str, loop: Loop, emit: Emit, stop: threading.Event, insert_wait_s: float) -> None:
        super().__init__(name=f"reader {name}", daemon=True)
        self.reader_name = name
        self._loop = loop
        self._emit = emit
        self._stop_wanted = stop
        self._insert_wait_s = insert_wait_s

    def run(self) -> None:
        is_lost = False
        with Reader(self.reader_name) as reader:
            while not self._stop_wanted.is_set():
                try:
                    if not reader.wait_for_card(self._insert_wait_s):
                        is_lost = self._found(is_lost)
                        continue
                    is_lost = self._found(is_lost)
                    self._emit(self._tap(reader))
                    while not self._stop_wanted.is_set() and not reader.wait_for_removal(self._insert_wait_s):
                        pass
                except LinkLost as lost:
                    if not is_lost:
                        log.warning("reader lost reader=%s why=%s", self.reader_name, lost)
                    is_lost = True
                    self._stop_wanted.wait(RETRY_S)

    def _found(self, was_lost: bool) -> bool:
        if was_lost:
            log.info("reader back reader=%s", self.reader_name)
        return False

    def _tap(self, reader: Reader) -> TapResult:
        try:
            with reader.connect(answer_wait_s=ANSWER_WAIT_S) as connection, connection.transaction():
                return self._loop.tap(connection, self.reader_name)
        except LinkLost as lost:
            return self._loop.tap(DeadConnection(lost), self.reader_name)


class Readers:
    """Looks for readers and starts a thread for each one wanted: those whose name contains a part, or all."""

    def __init__(
        self,
        loop: Loop,
        emit: Emit,
        stop: threading.Event,
        parts: tuple[str, ...],
        insert_wait_s: float,
        others: Sequence[threading.Thread] = (),
    ) -> None:
        self._loop = loop
        self._emit = emit
        self._stop_wanted = stop
        self._parts = parts
        self._insert_wait_s = insert_wait_s
        self._others = others
        self._threads: dict[str, ReaderThread] = {}

    def run(self) -> bool:
        """Look until told to stop, then wait for the threads to end their taps.

        False when a thread of the door died of a fault in this program: better to be started anew than to run on half.
        """
        told = ""
        while not self._stop_wanted.is_set():
            if dead := [one.name for one in (*self._threads.values(), *self._others) if not one.is_alive()]:
                log.critical("thread died name=%s", ", ".join(dead))
                self._stop_wanted.set()
                return False
            try:
                names = reader_names()
                why = "" if any(self._is_wanted(name) for name in names) else "no reader of that name"
            except LinkLost as lost:
                names, why = (), str(lost)
            if why != told:
                log.log(logging.WARNING if why else logging.INFO, "readers found=%d why=%s", len(names), why or "-")
                told = why
            for name in names:
                if self._is_wanted(name) and name not in self._threads:
                    log.info("reader watched reader=%s", name)
                    thread = ReaderThread(name, self._loop, self._emit, self._stop_wanted, self._insert_wait_s)
                    self._threads[name] = thread
                    thread.start()
            self._stop_wanted.wait(LOOK_EVERY_S)
        for thread in self._threads.values():
            thread.join(ANSWER_WAIT_S)
        return True

    def _is_wanted(self, name: str) -> bool:
        return not self._parts or any(part in name for part in self._parts)
