"""Sends the door's records to the centre, at least once, and deletes only what it acknowledged."""

import logging

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.claims import SHA256_BYTES, octets, uint
from cardlink.statements.refusal import Reason
from reader_daemon.centre import Answer, Centre
from reader_daemon.errors import DoorError, FeedError, LogBroken
from reader_daemon.events import EventLog, Page, Place
from reader_daemon.feed import Signals
from reader_daemon.state import Alarm

log = logging.getLogger(__name__)

IDLE_S = 5.0
RETRY_S = 3.0
GATHER_S = 0.05  # a tap has the disk to itself, and taps close together go out in one request
MAX_ANSWER_BYTES = 4096


class Uploader:
    """One thread. A lost answer means the same records again; the centre stores them once."""

    def __init__(self, url: str, door: bytes, events: EventLog, signals: Signals, alarm: Alarm) -> None:
        self._url = url
        self._door = door
        self._events = events
        self._signals = signals
        self._alarm = alarm

    def run(self) -> None:
        """Work until told to stop."""
        centre = Centre(self._url)
        while not self._signals.stop.is_set():
            self._events.grew.clear()
            try:
                while (page := self._events.waiting()) is not None and not self._signals.stop.is_set():
                    self.send(centre, page)
            except DoorError as error:
                log.info("records not sent why=%s", error)
                self._signals.stop.wait(RETRY_S)
                continue
            if self._events.grew.wait(IDLE_S):
                self._signals.stop.wait(GATHER_S)
        centre.close()

    def send(self, centre: Centre, page: Page) -> None:
        """Hand one page over and delete what the centre then has. Raises FeedError when nothing moved on."""
        answer = centre.records(self._door, [*page.records, page.head])
        if answer.status == 200:
            self._acknowledge(_place(answer))
            return
        if answer.status == 409:
            if _is_fork(answer):
                self._alarm(Reason.FORKED, "the centre has other records under these numbers")
            else:
                self._acknowledge(_place(answer))
                if (waiting := self._events.waiting()) is not None and waiting.records[0] != page.records[0]:
                    return  # it had some of them already: go on from there
                self._alarm(Reason.GAP, "the centre misses records that were deleted after its acknowledgement")
        raise FeedError("feed-status", path="/records", status=answer.status)

    def _acknowledge(self, place: Place | None) -> None:
        if place is None:
            return
        try:
            self._events.acknowledge(place)
        except LogBroken as error:
            self._alarm(Reason.FORKED, str(error))
            raise


def _place(answer: Answer) -> Place | None:
    """What the centre has; None when it has nothing of this door."""
    try:
        value = cbor.decode(answer.body, max_bytes=MAX_ANSWER_BYTES, max_depth=1)
        if not isinstance(value, dict) or value.keys() != {"boot", "seq", "hash"}:
            raise Malformed("acknowledgement", "want boot, seq and hash")
        place = Place(
            uint(value["boot"], "boot"), uint(value["seq"], "seq"), octets(value["hash"], "hash", SHA256_BYTES)
        )
    except Malformed as error:
        raise FeedError("feed-malformed", path="/records", why=error) from error
    return place if place.seq else None


def _is_fork(answer: Answer) -> bool:
    return b"feed.fork" in answer.body[:200]
