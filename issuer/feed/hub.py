"""The fan-out of the feed: one frame, encoded once, written to every door that listens.

A frame goes straight into each connection's write buffer: no queue and no task wakes for each door, so that ten
thousand doors hear of a revocation within a fraction of a second. The buffer is bounded; who does not read is dropped,
and comes back by reading the numbered events after its own.
"""

import base64
import logging
import uuid
from asyncio import Future, Transport
from dataclasses import dataclass, field

from issuer.trust.status import Position

log = logging.getLogger(__name__)

MAX_BUFFER_BYTES = 64 * 1024
"""What a connection may leave unread before it is dropped: some 200 events."""

CURRENT_FOR_S = 3.0
GREETING = b": themo feed\n\n"


@dataclass(eq=False, slots=True)
class Subscriber:
    """One listening connection. `gone` is done when it has been dropped or the process ends."""

    transport: Transport
    is_chunked: bool
    door: uuid.UUID | None
    gone: Future[None]


def status_frame(position: Position, body: bytes) -> bytes:
    """A server-sent event that carries a signed status event (WHATWG HTML §9.2.5)."""
    return b"event: status\nid: %d.%d\ndata: %s\n\n" % (position.epoch, position.seq, base64url(body))


def heartbeat_frame(body: bytes) -> bytes:
    """A server-sent event that carries a signed heartbeat."""
    return b"event: heartbeat\ndata: %s\n\n" % base64url(body)


def number_frame(kind: str, number: int) -> bytes:
    """A server-sent event that says: there is a newer trust list or bundle, fetch it."""
    return b"event: %s\ndata: %d\n\n" % (kind.encode(), number)


def base64url(body: bytes) -> bytes:
    """base64url without padding (RFC 4648 §5)."""
    return base64.urlsafe_b64encode(body).rstrip(b"=")


@dataclass(slots=True)
class Hub:
    """Who listens, and up to where the feed has been told to them."""

    position: Position
    looked_s: float
    """When the database was last read, on the monotonic clock: older than a moment, nothing here is fresh."""
    max_buffer: int = MAX_BUFFER_BYTES
    subscribers: set[Subscriber] = field(default_factory=set)

    def is_current(self, monotonic_s: float) -> bool:
        """Say whether `position` is what the database says now, give or take a moment."""
        return monotonic_s - self.looked_s < CURRENT_FOR_S

    def subscribe(self, subscriber: Subscriber) -> None:
        """Let a connection hear all that follows. It must have been told everything up to `position`."""
        self.subscribers.add(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a connection."""
        self.subscribers.discard(subscriber)
        if not subscriber.gone.done():
            subscriber.gone.set_result(None)

    def advance(self, position: Position, frame: bytes) -> None:
        """Tell everybody the event at `position`."""
        self.position = position
        self.tell(frame)

    def tell(self, frame: bytes, door: uuid.UUID | None = None) -> None:
        """Write a frame to everybody, or to the connections of one door."""
        chunk = b"%x\r\n%s\r\n" % (len(frame), frame)  # RFC 9112 §7.1
        unfit = []
        for one in self.subscribers:
            if door is not None and one.door != door:
                continue
            transport = one.transport
            # What lies unread from before decides, so that one large frame drops nobody who reads.
            if transport.is_closing() or transport.get_write_buffer_size() > self.max_buffer:
                unfit.append(one)
            else:
                transport.write(chunk if one.is_chunked else frame)
        for one in unfit:
            self.drop(one)

    def drop(self, subscriber: Subscriber) -> None:
        """End a connection at once: what it has not read it will fetch."""
        if not subscriber.transport.is_closing():
            log.warning("slow listener dropped door=%s", subscriber.door)
        subscriber.transport.abort()
        self.unsubscribe(subscriber)

    def close(self) -> None:
        """End every connection: the process is about to stop."""
        for one in list(self.subscribers):
            one.transport.close()
            self.unsubscribe(one)
