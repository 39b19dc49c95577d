"""What the door tells the centre about the feed: a receipt for each step applied, a nonce every minute."""

import logging

from cardlink.statements.receipt import Receipt, issue_receipt
from cardlink.statements.refusal import Reason
from reader_daemon.centre import Centre
from reader_daemon.clock import Clock
from reader_daemon.enrol import DoorKey
from reader_daemon.errors import DoorError
from reader_daemon.feed import Feed, Signals
from reader_daemon.state import CHECKPOINT_S, DoorState

log = logging.getLogger(__name__)

FRESH_EVERY_S = 60.0
RETRY_S = 2.0
TICK_S = 1.0


class Courier:
    """Sends receipts at once and asks for freshness in time; watches that the stream is alive. One thread."""

    def __init__(
        self, url: str, door: bytes, key: DoorKey, state: DoorState, clock: Clock, feed: Feed, signals: Signals
    ) -> None:
        self._url = url
        self._door = door
        self._key = key
        self._state = state
        self._clock = clock
        self._feed = feed
        self._signals = signals
        self._confirmed: tuple[int, int] | None = None
        self._asked_at_s = float("-inf")
        self._not_before_s = float("-inf")
        self._kept_at_s = clock.monotonic_s()

    def run(self) -> None:
        """Work until told to stop."""
        centre = Centre(self._url)
        while not self._signals.stop.is_set():
            try:
                if self._clock.monotonic_s() >= self._not_before_s:
                    self._work(centre)
            except DoorError as error:
                log.info("courier failed why=%s", error)
                self._not_before_s = self._clock.monotonic_s() + RETRY_S
            self._watch()
            with self._signals.applied:
                if not self._signals.stop.is_set() and not self._is_work_waiting():
                    self._signals.applied.wait(TICK_S)
        centre.close()

    def _is_work_waiting(self) -> bool:
        is_allowed = self._clock.monotonic_s() >= self._not_before_s
        return is_allowed and (self._place() not in (None, self._confirmed) or self._is_fresh_due())

    def _place(self) -> tuple[int, int] | None:
        """The place of the feed that a receipt may name: applied, and on disk."""
        status = self._state.view.status
        return None if status is None or self._state.is_disk_behind else (status.epoch, status.seq)

    def _work(self, centre: Centre) -> None:
        place = self._place()
        if place is not None and place != self._confirmed:
            receipt = Receipt(self._door, int(self._clock.now_s()), *place)
            centre.receipt(issue_receipt(receipt, self._key.kid, self._key.sign))
            self._confirmed = place
            log.debug("receipt sent epoch=%d seq=%d", *place)
        if self._is_fresh_due():
            self._ask(centre)
        now_s = self._clock.monotonic_s()
        if now_s - self._kept_at_s >= CHECKPOINT_S:
            self._kept_at_s = now_s
            self._state.checkpoint()

    def _is_fresh_due(self) -> bool:
        if self._state.view.status is None:
            return False
        since_s = self._clock.monotonic_s() - self._asked_at_s
        return since_s >= FRESH_EVERY_S or (self._signals.is_fresh_wanted and since_s >= RETRY_S)

    def _ask(self, centre: Centre) -> None:
        """Have a nonce answered; where the answer shows that events are missing, fetch them and ask again."""
        with self._signals.applied:
            self._signals.is_fresh_wanted = False
        self._asked_at_s = self._clock.monotonic_s()
        refusal = self._feed.ask(centre)
        if refusal is not None and refusal.reason is Reason.GAP and self._state.view.status is not None:
            self._feed.catch_up(centre)
            refusal = self._feed.ask(centre)
        if refusal is not None:
            log.info("not fresh reason=%s detail=%s", refusal.reason, refusal.detail)

    def _watch(self) -> None:
        try:
            self._feed.check_alive()
        except DoorError as error:
            log.warning("feed silent why=%s", error)
            self._feed.abort()
