"""The door's side of the feed: follow the stream, fetch what is missing, put it into the state. Trusts no channel.

One thread follows the stream. Two more, in `courier` and `uploader`, answer: receipts and nonces, records and heads.
"""

import base64
import binascii
import logging
import os
import threading
from dataclasses import dataclass, field
from secrets import SystemRandom

from cardlink.errors import Malformed
from cardlink.statements.record import ClockQuality
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.status import NONCE_BYTES, read_snapshot
from reader_daemon.centre import EVENTS_A_PAGE, Centre, Frame
from reader_daemon.clock import Clock
from reader_daemon.errors import DoorError, FeedError
from reader_daemon.state import DoorState

log = logging.getLogger(__name__)

BEAT_S = 5.0
SILENT_BEATS = 2
BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
MAX_PAGES = 100
MAX_STORED_EVENTS = 2000
MIN_REFRESH_S = 60.0
MAX_CLOCK_STEPS = 20
CLOCK_STEP_EVERY_S = 0.5


@dataclass(slots=True)
class Signals:
    """What the feed's threads tell each other."""

    stop: threading.Event = field(default_factory=threading.Event)
    applied: threading.Condition = field(default_factory=threading.Condition)
    is_fresh_wanted: bool = False
    alive_at_s: float | None = None  # monotonic time of the last good sign; None while not connected

    def tell(self, *, wants_fresh: bool = False) -> None:
        """Wake the courier: the state moved on, or a nonce should be answered now."""
        with self.applied:
            self.is_fresh_wanted = self.is_fresh_wanted or wants_fresh
            self.applied.notify_all()


class Feed:
    """Keeps the state at the feed's end. `follow` is the body of its thread; `catch_up` may be called by others."""

    def __init__(
        self, url: str, door: bytes, state: DoorState, clock: Clock, signals: Signals, beat_s: float = BEAT_S
    ) -> None:
        self._url = url
        self._door = door
        self._state = state
        self._clock = clock
        self._signals = signals
        self._beat_s = beat_s
        self._fetching = threading.RLock()
        self._random = SystemRandom()
        self._refresh_at_s = self._half_way(state.view.status_expires_s)
        self._wants_snapshots = False
        self._stream: Centre | None = None

    # -- the thread ----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Stay connected until told to stop."""
        failures = 0
        while not self._signals.stop.is_set():
            try:
                failures = 0 if self._follow_once() else failures + 1
            except DoorError as error:
                failures += 1
                log.warning("feed lost failures=%d why=%s", failures, error)
            self._signals.alive_at_s = None
            # full jitter: ten thousand doors that lose one centre must not come back in one moment
            self._signals.stop.wait(self._random.uniform(0.0, min(MAX_BACKOFF_S, BACKOFF_S * 2.0**failures)))

    def _follow_once(self) -> bool:
        """Follow one stream to its end. True when it had brought anything good.

        What the stream only names (trust list, bundle) is fetched once more when it stands: a change between fetching
        and listening would otherwise go unheard.
        """
        if self._clock.quality is not ClockQuality.CONFIRMED:
            self._set_clock()
        if self._needs_snapshots():
            self._fetch()
        is_first, was_alive = True, False
        status = self._state.view.status
        if status is None:
            raise FeedError("feed-malformed", path="/status", why="no status after fetching")
        self._stream = Centre(self._url, self._beat_s * SILENT_BEATS)
        self._signals.alive_at_s = self._clock.monotonic_s()
        self._signals.tell(wants_fresh=True)
        log.info("feed connected epoch=%d seq=%d", status.epoch, status.seq)
        try:
            for frame in self._stream.stream(status.epoch, status.seq, self._door):
                if self._signals.stop.is_set():
                    return True
                if is_first:
                    is_first = False
                    self._fetch()
                if frame is not None and self._take(frame):
                    was_alive = True
                    self._signals.alive_at_s = self._clock.monotonic_s()
                self.check_alive()
        except FeedError as error:
            if error.code == "feed-take-snapshot":
                self._wants_snapshots = True
            log.info("feed ended alive=%s why=%s", was_alive, error)
        finally:
            self._stream.close()
        return was_alive

    def check_alive(self) -> None:
        """Raise FeedError when nothing good came for two beats: noise and replays are no sign of life."""
        alive_at_s = self._signals.alive_at_s
        if alive_at_s is not None and self._clock.monotonic_s() - alive_at_s > self._beat_s * SILENT_BEATS:
            raise FeedError("feed-silent", path="/stream", beats=SILENT_BEATS)

    def abort(self) -> None:
        """Break the stream from another thread."""
        if self._stream is not None:
            self._stream.abort()

    # -- frames --------------------------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> bool:
        """Put one frame into the state; True when it was good and new."""
        if frame.event == "status":
            return self._moved(self._state.take_event(_statement(frame)))
        if frame.event == "heartbeat":
            result = self._state.take_heartbeat(_statement(frame))
            if result is None and self._is_refresh_due():
                self._fetch(snapshots=True)
            return self._moved(result)
        if frame.event in ("trust", "bundle"):
            self._fetch()
            return True
        return False

    def _moved(self, result: Refused | None) -> bool:
        if result is None:
            self._signals.tell()
            return True
        if result.reason is Reason.GAP:
            centre = Centre(self._url)
            try:
                self.catch_up(centre)
            finally:
                centre.close()
            return True
        return False

    def _fetch(self, *, snapshots: bool = False) -> None:
        self._wants_snapshots = self._wants_snapshots or snapshots
        centre = Centre(self._url)
        try:
            self.sync(centre)
        finally:
            centre.close()
        self._signals.tell()

    # -- asking --------------------------------------------------------------------------------------------------

    def ask(self, centre: Centre) -> Refused | None:
        """Have a nonce answered, as often as the clock has steps to go; None when the state is fresh."""
        for _ in range(MAX_CLOCK_STEPS):
            nonce = os.urandom(NONCE_BYTES)
            question = self._state.ask(nonce)
            refusal = self._state.take_fresh(centre.fresh(nonce), question)
            if refusal is None or refusal.reason is not Reason.NOT_YET_VALID:
                return refusal
            if self._signals.stop.wait(CLOCK_STEP_EVERY_S):
                break
        return refusal

    def _set_clock(self) -> None:
        """Put the clock right before anything else is judged by it. A lost one may need a newer trust list first."""
        centre = Centre(self._url)
        try:
            if self._state.view.trust is None or self._clock.quality is ClockQuality.LOST:
                self._state.take_trust(centre.trust())
            self.ask(centre)
        finally:
            centre.close()

    # -- fetching ------------------------------------------------------------------------------------------------

    def sync(self, centre: Centre) -> None:
        """Bring trust list, status and bundle up to the centre's. What is refused leaves the state as it was."""
        with self._fetching:
            self._state.take_trust(centre.trust())
            if self._needs_snapshots():
                self._take_snapshots(centre)
            else:
                self.catch_up(centre)
            bundle = centre.bundle(self._door)
            if bundle is not None:
                self._state.take_bundle(bundle)

    def catch_up(self, centre: Centre) -> None:
        """Fetch and apply the events after the state's; if they do not follow it, take snapshots."""
        with self._fetching:
            for _ in range(MAX_PAGES):
                status = self._state.view.status
                if status is None:
                    break
                page = centre.events(status.epoch, status.seq)
                results = [self._state.take_event(raw) for raw in page]
                self._signals.tell()
                if any(result is not None and result.reason is Reason.GAP for result in results):
                    break
                if len(page) < EVENTS_A_PAGE:
                    return
            self._take_snapshots(centre)

    def _needs_snapshots(self) -> bool:
        view = self._state.view
        if view.status is None or view.trust is None or self._wants_snapshots or self._state.is_disk_behind:
            return True
        is_other = view.status.epoch != view.trust.content.epoch or view.status.lists.keys() != view.trust.lists.keys()
        return is_other or self._is_refresh_due() or self._state.stored_events() > MAX_STORED_EVENTS

    def _is_refresh_due(self) -> bool:
        return self._clock.now_s() >= self._refresh_at_s

    def _half_way(self, expires_s: int) -> float:
        """When to fetch snapshots anew: half of their time before they expire."""
        now_s = self._clock.now_s()
        return now_s + max((expires_s - now_s) / 2, MIN_REFRESH_S)

    def _take_snapshots(self, centre: Centre) -> None:
        trust = self._state.view.trust
        if trust is None:
            raise FeedError("feed-malformed", path="/trust", why="no usable trust list")
        snapshots = [centre.snapshot(number) for number in sorted(trust.lists)]
        try:
            values = [read_snapshot(raw).value for raw in snapshots]
        except Malformed as error:
            raise FeedError("feed-malformed", path="/status", why=error) from error
        if not values:
            raise FeedError("feed-malformed", path="/trust", why="it names no status list")
        epoch, after = values[0].epoch, min(value.seq for value in values)
        events: list[bytes] = []
        for _ in range(MAX_PAGES):
            page = centre.events(epoch, after + len(events))
            events += page
            if len(page) < EVENTS_A_PAGE:
                break
        self._wants_snapshots = False
        refusal = self._state.take_snapshots(snapshots, events)
        self._refresh_at_s = self._half_way(min(value.expires_s for value in values))
        if refusal is not None:
            raise FeedError("feed-malformed", path="/status", why=f"{refusal.reason} {refusal.detail}")
        self._signals.tell()


def _statement(frame: Frame) -> bytes:
    """The statement in a frame; b"" for what is no base64url, which no reader accepts."""
    try:
        return base64.b64decode(frame.data + "=" * (-len(frame.data) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
