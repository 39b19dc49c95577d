"""The centre over HTTP: one request, one answer, bounded in time and size. Nothing it says is trusted here."""

import http.client
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from cardlink.errors import Malformed
from cardlink.statements import cbor
from reader_daemon.errors import FeedError

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
MAX_BODY_BYTES = 4 << 20  # a snapshot of 2^22 cards has at most 1 MiB before compression
MAX_LINE_BYTES = 1 << 16
EVENTS_A_PAGE = 1000
CBOR = "application/cbor"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the body under it."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event."""

    event: str
    data: str


class Centre:
    """One connection to the centre, for one thread. Reconnects when the server has closed an idle connection."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FeedError("feed-address", url=url)
        self._host, self._port, self._is_tls = parts.hostname, parts.port, parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def _connect(self) -> http.client.HTTPConnection:
        if self._is_tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = self._socket = None

    def abort(self) -> None:
        """Wake a thread that waits on this connection, from another thread; its read ends in FeedError."""
        held = self._socket
        if held is not None:
            with suppress(OSError):  # already closed: that is what is wanted
                held.shutdown(socket.SHUT_RDWR)

    def _send(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
            self._connection.connect()
            self._socket = self._connection.sock  # an answer that ends with its connection takes it along
        headers = {"Content-Type": CBOR} if body is not None else {}
        self._connection.request(method, self._prefix + path, body, headers)
        return self._connection.getresponse()

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Ask once, and once more when a kept connection turned out closed. Raises FeedError."""
        was_kept = self._connection is not None
        try:
            try:
                response = self._send(method, path, body)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.close()
                if not was_kept:
                    raise
                response = self._send(method, path, body)
            content = response.read(MAX_BODY_BYTES + 1)
            if len(content) > MAX_BODY_BYTES:
                raise FeedError("feed-too-much", path=path)
            if response.will_close:
                self.close()
            return Answer(response.status, content)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise FeedError("feed-unreachable", path=path, why=str(error) or type(error).__name__) from error
        except FeedError:
            self.close()
            raise

    def _get(self, path: str) -> bytes:
        answer = self.request("GET", path)
        if answer.status != 200:
            raise FeedError("feed-status", path=path, status=answer.status)
        return answer.body

    def trust(self) -> bytes:
        return self._get("/trust")

    def snapshot(self, number: int) -> bytes:
        return self._get(f"/status/{number}")

    def bundle(self, door: bytes) -> bytes | None:
        """This door's bundle, None while the centre has none for it."""
        path = f"/bundles/{UUID(bytes=door)}"
        answer = self.request("GET", path)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise FeedError("feed-status", path=path, status=answer.status)
        return answer.body

    def events(self, epoch: int, after: int) -> list[bytes]:
        """One page of event statements after a number, oldest first."""
        body = self._get(f"/events?epoch={epoch}&after={after}")
        try:
            value = cbor.decode(body, max_bytes=MAX_BODY_BYTES, max_depth=1)
        except Malformed as error:
            raise FeedError("feed-malformed", path="/events", why=error) from error
        if not isinstance(value, list) or len(value) > EVENTS_A_PAGE:
            raise FeedError("feed-malformed", path="/events", why="want an array of at most 1000")
        return [_bytes(item, "/events") for item in value]

    def fresh(self, nonce: bytes) -> bytes:
        answer = self.request("POST", "/fresh", nonce)
        if answer.status != 200:
            raise FeedError("feed-status", path="/fresh", status=answer.status)
        return answer.body

    def receipt(self, statement: bytes) -> None:
        answer = self.request("POST", "/receipts", statement)
        if answer.status != 204:
            raise FeedError("feed-status", path="/receipts", status=answer.status)

    def records(self, door: bytes, items: list[bytes]) -> Answer:
        """Hand over records and, last, the head over them. 200 and 409 both carry what the centre has."""
        return self.request("POST", f"/records/{UUID(bytes=door)}", cbor.encode(items))

    def enrol(self, request: dict[str, object]) -> Answer:
        return self.request("POST", "/enrol", cbor.encode(request))

    def stream(self, epoch: int, after: int, door: bytes) -> Iterator[Frame | None]:
        """Follow the feed: frames as they come, None for each sign of life that is no frame.

        Raises FeedError when the server ends it, is silent for the connection's time limit, or refuses; the refusal
        `feed.take_snapshot` has the code `feed-take-snapshot`.
        """
        path = f"/stream?epoch={epoch}&after={after}&door={UUID(bytes=door)}"
        try:
            response = self._send("GET", path, None)
            if response.status == 409:
                raise FeedError("feed-take-snapshot", path="/stream")
            if response.status != 200:
                raise FeedError("feed-status", path="/stream", status=response.status)
            event, data = "message", ""
            while line := response.readline(MAX_LINE_BYTES):
                if not line.endswith(b"\n"):
                    raise FeedError("feed-too-much", path="/stream")
                name, _, value = line.rstrip(b"\r\n").decode("utf-8", "replace").partition(":")
                value = value.removeprefix(" ")
                if not name and not value:
                    if data:
                        yield Frame(event, data)
                    event, data = "message", ""
                elif name == "event":
                    event = value
                elif name == "data":
                    data = value
                else:
                    yield None
            raise FeedError("feed-ended", path="/stream")
        except (OSError, http.client.HTTPException) as error:
            raise FeedError("feed-unreachable", path="/stream", why=str(error) or type(error).__name__) from error
        finally:
            self.close()


def _bytes(item: object, path: str) -> bytes:
    if not isinstance(item, bytes):
        raise FeedError("feed-malformed", path=path, why="want byte strings")
    return item
