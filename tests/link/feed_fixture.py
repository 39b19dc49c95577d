"""A small real centre for door tests: the feed's HTTP interface over a `World`, with switches for what can go wrong.

Signed times go up by a second with each statement, so that beats may be faster than seconds.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from urllib.parse import parse_qs, urlsplit

from door_cards import Issued
from door_world import World

from cardlink.statements import cbor
from cardlink.statements.bundle import Bundle
from cardlink.statements.cose_key import CoseKey, decode_cose_key
from cardlink.statements.receipt import Receipt, read_receipt, verify_receipt
from cardlink.statements.record import NO_RECORD, Head, check_chain, decode_record, read_head, record_hash, verify_head
from cardlink.statements.refusal import Refused
from cardlink.statements.status import Status

CODE = "7K2M-Q9XD"


class Centre:
    """What the centre knows, and the switches."""

    def __init__(self, world: World, beat_s: float = 0.2) -> None:
        self.world = world
        self.beat_s = beat_s
        self.trust = world.issue_trust()
        self.bundle = b""
        self.bundle_seq = 0
        self.door_key: CoseKey | None = None
        self.snapshot = world.snapshot()
        self.receipts: list[tuple[float, Receipt]] = []
        self.records: dict[tuple[int, int], bytes] = {}
        self.requests: list[str] = []
        self.streams: list[SimpleQueue[bytes]] = []
        self.is_silent = False  # the stream stays open and says nothing
        self.is_withholding = False  # events do not go out, heartbeats do
        self.is_dripping = False  # bytes without an end of line
        self.replayed_beat = b""  # an old heartbeat again and again
        self.is_forgetting_answers = False  # takes records and breaks off before answering
        self.fresh_seq: int | None = None
        self.guard = threading.RLock()
        self.is_down = False
        self._signed_s = 0

    def sign_time(self) -> int:
        with self.guard:
            self._signed_s = max(self._signed_s + 1, int(time.time()))
            return self._signed_s

    def publish(self, bundle: Bundle) -> None:
        self.bundle = self.world.issue_rules(bundle)
        self.bundle_seq = bundle.seq
        self._push(b"event: bundle\ndata: %d\n\n" % bundle.seq)

    def set_status(self, card: Issued | int, status: Status) -> bytes:
        with self.guard:
            raw = self.world.set_status(card, status)
        if not self.is_withholding:
            self.push_event(raw)
        return raw

    def push_event(self, raw: bytes) -> None:
        self._push(b"event: status\nid: 1.%d\ndata: %s\n\n" % (self.world.seq, b64(raw)))

    def _push(self, frame: bytes) -> None:
        for queue in list(self.streams):
            queue.put(frame)

    def take_receipt(self, raw: bytes) -> bool:
        assert self.door_key is not None
        receipt = verify_receipt(read_receipt(raw), self.world.door, self.door_key)
        if isinstance(receipt, Refused):
            return False
        self.receipts.append((time.monotonic(), receipt))
        return True

    def take_records(self, items: list[bytes]) -> tuple[int, bytes]:
        """Store records once by (boot, seq); answer 200, or 409 with the place that the centre has."""
        *records, head_raw = items
        assert self.door_key is not None
        head = verify_head(read_head(head_raw), self.world.door, self.door_key)
        assert isinstance(head, Head)
        with self.guard:
            for raw in records:
                record = decode_record(raw)
                place = record.boot, record.seq
                if self.records.get(place, raw) != raw:
                    return 409, json.dumps({"error": "feed.fork"}).encode()
            last = max(self.records, default=(0, 0))
            new = [raw for raw in records if _place(raw) > last]
            previous = record_hash(self.records[last]) if self.records else NO_RECORD
            if isinstance(check_chain(new, previous, *last), Refused):
                return 409, self.place()
            self.records.update((_place(raw), raw) for raw in new)
            return 200, self.place()

    def place(self) -> bytes:
        boot, seq = max(self.records, default=(0, 0))
        digest = record_hash(self.records[boot, seq]) if self.records else NO_RECORD
        return cbor.encode({"boot": boot, "seq": seq, "hash": digest})

    def enrol(self, body: bytes) -> tuple[int, bytes]:
        asked = cbor.decode(body, max_bytes=1024)
        assert isinstance(asked, dict)
        if asked["code"] != CODE:
            return 403, b'{"error": "feed.bad_code"}'
        self.door_key = decode_cose_key(asked["key"])
        enrolment = self.world.enrolment()
        return 200, cbor.encode(
            {
                "door": enrolment.door,
                "name": enrolment.name,
                "owner": enrolment.owner,
                "roots": {1: 1, 2: [key.fields() for key in enrolment.roots.keys]},
                "epoch": enrolment.epoch,
                "trust": self.trust,
            }
        )


def _place(raw: bytes) -> tuple[int, int]:
    record = decode_record(raw)
    return record.boot, record.seq


def b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


class Handler(BaseHTTPRequestHandler):
    """One connection of one door."""

    protocol_version = "HTTP/1.1"
    centre: Centre

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class's name
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        centre, url = self.centre, urlsplit(self.path)
        centre.requests.append(url.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if centre.is_down:
            self.answer(503)
        elif url.path == "/trust":
            self.answer(200, centre.trust)
        elif url.path == "/status/1":
            self.answer(200, centre.snapshot)
        elif url.path.startswith("/bundles/"):
            self.answer(200 if centre.bundle else 404, centre.bundle)
        elif url.path == "/events":
            after = int(query["after"])
            page = centre.world.events[after : after + 1000] if int(query["epoch"]) == centre.world.epoch else []
            self.answer(200, cbor.encode(page))
        elif url.path == "/stream":
            self.stream(int(query["epoch"]), int(query["after"]))
        else:
            self.answer(404)

    def stream(self, epoch: int, after: int) -> None:
        centre = self.centre
        if epoch != centre.world.epoch:
            self.answer(409, b'{"error": "feed.take_snapshot"}')
            return
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b": themo feed\n\n")
        queue: SimpleQueue[bytes] = SimpleQueue()
        centre.streams.append(queue)
        try:
            for raw in centre.world.events[after:]:
                if not centre.is_withholding:
                    self.wfile.write(b"event: status\ndata: %s\n\n" % b64(raw))
            while not centre.is_down:
                try:
                    frame = queue.get(timeout=centre.beat_s)
                except Empty:
                    frame = self.beat()
                if not centre.is_silent:
                    self.wfile.write(frame)
                    self.wfile.flush()
        except OSError:
            return
        finally:
            centre.streams.remove(queue)

    def beat(self) -> bytes:
        centre = self.centre
        if centre.is_dripping:
            return b":"
        with centre.guard:
            raw = centre.replayed_beat or centre.world.heartbeat(issued_s=centre.sign_time())
        return b"event: heartbeat\ndata: %s\n\n" % b64(raw)

    def do_POST(self) -> None:
        centre, path = self.centre, urlsplit(self.path).path
        centre.requests.append(path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if centre.is_down:
            self.answer(503)
        elif path == "/fresh":
            with centre.guard:
                seq = centre.world.seq if centre.fresh_seq is None else centre.fresh_seq
                self.answer(200, centre.world.fresh(body, issued_s=centre.sign_time(), seq=seq))
        elif path == "/receipts":
            self.answer(204 if centre.take_receipt(body) else 403)
        elif path.startswith("/records/"):
            items = cbor.decode(body, max_bytes=1 << 20)
            assert isinstance(items, list)
            status, answer = centre.take_records(items)
            if centre.is_forgetting_answers:
                self.close_connection = True
                self.connection.close()
                return
            self.answer(status, answer)
        elif path == "/enrol":
            self.answer(*centre.enrol(body))
        else:
            self.answer(404)


@contextmanager
def serving(centre: Centre) -> Iterator[str]:
    """Serve until the block ends; gives the address."""

    class Bound(Handler):
        pass

    Bound.centre = centre
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        centre.is_down = True
        server.shutdown()
        server.server_close()
        thread.join()


def world_now() -> World:
    """A world whose time is now: the door and the centre run by the real clock."""
    return World(now=datetime.now(UTC).replace(microsecond=0))
