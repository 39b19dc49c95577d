"""The feed over HTTP. Everything it hands out is signed and numbered; everything it takes in is checked by signature.

GET /trust · /status/{n} · /events · /stream · /bundles/{door}; POST /fresh · /receipts · /records/{door} · /enrol.
"""

import asyncio
import json
import logging
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from aiohttp import HttpVersion11, web
from sqlalchemy.exc import OperationalError

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.receipt import MAX_RECEIPT_BYTES
from cardlink.statements.status import NONCE_BYTES
from issuer.access.events import Acknowledged, Gap
from issuer.access.receipts import Outcome
from issuer.database import SessionFactory
from issuer.errors import IssuerError, NotFound
from issuer.feed import intake, snapshots
from issuer.feed.hub import GREETING, MAX_BUFFER_BYTES, Hub, Subscriber, status_frame
from issuer.feed.intake import MAX_RECORDS_BODY, ReceiptQueue
from issuer.feed.signing import FeedSigner
from issuer.feed.snapshots import Snapshots
from issuer.feed.source import Source
from issuer.limits import RateLimit
from issuer.trust.port import HsmError
from issuer.trust.status import Position

log = logging.getLogger(__name__)

CBOR = "application/cbor"
COSE = "application/cose"
MAX_BACKLOG = 10_000
"""Who is further behind takes a snapshot."""
MAX_UINT = (1 << 53) - 1
RETRY_S = 2
VANISHED_AFTER_MS = 15_000
FORBIDDEN = ("feed.bad_code", "feed.bad_receipt", "feed.bad_head", "feed.broken_chain")
PROXY_ADDRESSES = ("127.0.0.1", "::1")

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Feed:
    """The parts that the routes work with."""

    factory: SessionFactory
    source: Source
    signer: FeedSigner
    hub: Hub
    snapshots: Snapshots
    receipts: ReceiptQueue
    readers: Executor
    writers: Executor
    signers: Executor
    chores: Executor
    """For signatures that no door waits for: what an HSM that is away holds up there holds up no door."""
    clock: Callable[[], datetime]
    fresh_each: RateLimit = field(default_factory=lambda: RateLimit(per_second=2, burst=20))
    fresh_all: RateLimit = field(default_factory=lambda: RateLimit(per_second=2000, burst=4000))
    enrol_each: RateLimit = field(default_factory=lambda: RateLimit(per_second=0.2, burst=10))

    async def in_thread(self, executor: Executor, work: Callable[[], T]) -> T:
        """Run blocking work beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(executor, work)


FEED = web.AppKey("feed", Feed)


def application(feed: Feed) -> web.Application:
    """Put the routes together."""
    app = web.Application(middlewares=[_refusals], client_max_size=MAX_RECORDS_BODY)
    app[FEED] = feed
    app.add_routes(
        [
            web.get("/trust", trust),
            web.get("/status/{n:[0-9]{1,5}}", status_list),
            web.get("/events", events),
            web.get("/stream", stream),
            web.get("/bundles/{door}", bundle),
            web.post("/fresh", fresh),
            web.post("/receipts", receipt),
            web.post("/records/{door}", records),
            web.post("/enrol", enrol),
        ]
    )
    return app


async def trust(request: web.Request) -> web.Response:
    """The newest trust list (F8)."""
    feed = request.app[FEED]
    return _bytes(await feed.in_thread(feed.readers, feed.source.trust), COSE)


async def status_list(request: web.Request) -> web.StreamResponse:
    """The newest snapshot of one list (F6), from its file."""
    path = request.app[FEED].snapshots.path(int(request.match_info["n"]))
    if not await asyncio.to_thread(path.is_file):
        raise NotFound("feed.no_snapshot")
    return web.FileResponse(path, headers={"Content-Type": snapshots.CONTENT_TYPE, "Cache-Control": "no-cache"})


async def events(request: web.Request) -> web.Response:
    """The events of an epoch after a number, at most 1000 of them."""
    feed = request.app[FEED]
    at = _asked_place(request)
    found = await feed.in_thread(feed.readers, partial(feed.source.events, at.epoch, at.seq))
    return _bytes(cbor.encode([body for _, body in found]), CBOR)


async def bundle(request: web.Request) -> web.Response:
    """The newest bundle of one door (F7)."""
    feed = request.app[FEED]
    seq, body = await feed.in_thread(feed.readers, partial(feed.source.bundle, _door(request)))
    answer = _bytes(body, COSE)
    answer.etag = str(seq)
    return answer


async def fresh(request: web.Request) -> web.Response:
    """Answer a door's nonce: proof that the feed is not older than the question."""
    feed = request.app[FEED]
    _limit(request, feed.fresh_each, feed.fresh_all)
    nonce = await request.read()
    if len(nonce) != NONCE_BYTES:
        raise Malformed("nonce", f"want {NONCE_BYTES} bytes")
    if not feed.hub.is_current(time.monotonic()):
        return _refusal(503, "feed.no_database", RETRY_S)
    sign = partial(feed.signer.fresh, feed.hub.position, nonce, feed.clock())
    return _bytes(await feed.in_thread(feed.signers, sign), COSE)


async def receipt(request: web.Request) -> web.Response:
    """Take one receipt (F13)."""
    body = await request.read()
    if len(body) > MAX_RECEIPT_BYTES or await request.app[FEED].receipts.put(body) is Outcome.REFUSED:
        return _refusal(403, "feed.bad_receipt")
    return web.Response(status=204)


async def records(request: web.Request) -> web.Response:
    """Take log records and their head (F9); answer up to where the centre has the log."""
    feed = request.app[FEED]
    door = _door(request)
    sent = intake.read_records(await request.read())
    take = partial(intake.take_records, feed.factory, door, sent, feed.clock())
    answer = await feed.in_thread(feed.writers, take)
    match answer:
        case Acknowledged():
            return _bytes(intake.place(answer), CBOR)
        case Gap():
            return _bytes(intake.place(answer), CBOR, status=409)
    status = 403 if answer.code in FORBIDDEN else 400 if answer.code == "feed.malformed" else 409
    log.warning("records refused door=%s code=%s why=%s", door, answer.code, answer.detail)
    return _refusal(status, answer.code)


async def enrol(request: web.Request) -> web.Response:
    """Enrol a door by its one-time code."""
    feed = request.app[FEED]
    _limit(request, feed.enrol_each)
    asked = intake.read_enrol_request(await request.read())
    answer = await feed.in_thread(feed.writers, partial(intake.enrol, feed.factory, asked, feed.clock()))
    return _bytes(answer, CBOR)


async def stream(request: web.Request) -> web.StreamResponse:
    """Server-sent events: what a door missed, then what comes, until either side ends it."""
    feed = request.app[FEED]
    hub, at = feed.hub, _asked_place(request)
    door = _uuid(request.query["door"]) if "door" in request.query else None
    if at.epoch != hub.position.epoch or hub.position.seq - at.seq > MAX_BACKLOG:
        return _refusal(409, "feed.take_snapshot")
    if at.seq > hub.position.seq:
        log.warning("listener ahead door=%s asked=%d feed=%d", door, at.seq, hub.position.seq)
    answer = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await answer.prepare(request)
    await answer.write(GREETING)
    while at.epoch == hub.position.epoch and at.seq < hub.position.seq:
        found = await feed.in_thread(feed.readers, partial(feed.source.events, at.epoch, at.seq))
        # Events beyond the hub's place will be told to everybody: not twice to this one.
        due = [(seq, body) for seq, body in found if seq <= hub.position.seq]
        if not due:
            return answer
        await answer.write(b"".join(status_frame(Position(at.epoch, seq), body) for seq, body in due))
        at = Position(at.epoch, due[-1][0])
    transport = request.transport
    if at.epoch != hub.position.epoch or transport is None or transport.is_closing():
        return answer
    _bound(transport)
    # No await between the last look at the hub's place and here: nothing can be told in between.
    is_chunked = request.version >= HttpVersion11
    subscriber = Subscriber(transport, is_chunked, door, asyncio.get_running_loop().create_future())
    hub.subscribe(subscriber)
    try:
        await subscriber.gone
    finally:
        hub.unsubscribe(subscriber)
    return answer


def _bound(transport: asyncio.Transport) -> None:
    """Keep little in the kernel for who does not read, and find out about who has vanished without a word."""
    opened = transport.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_BUFFER_BYTES)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_AFTER_MS)


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what was raised into an answer with a code; what nobody foresaw stays a 500 in the log."""
    try:
        return await handler(request)
    except Malformed as error:
        log.info("malformed path=%s why=%s", request.path, error)
        return _refusal(400, "feed.malformed")
    except HsmError as error:
        log.warning("hsm away path=%s code=%s", request.path, error.code)
        return _refusal(503, "feed.no_hsm", RETRY_S)
    except OperationalError as error:
        log.warning("database away path=%s why=%s", request.path, error.orig)
        return _refusal(503, "feed.no_database", RETRY_S)
    except IssuerError as error:
        code = error.code if error.code.startswith("feed.") else "feed.not_found"
        return _refusal(403 if code in FORBIDDEN else 404, code)


def _limit(request: web.Request, each: RateLimit, everybody: RateLimit | None = None) -> None:
    """Refuse who asks too often. Behind a proxy on this machine the address is the one that the proxy names."""
    now_s = time.monotonic()
    address = request.remote or ""
    if address in PROXY_ADDRESSES:
        address = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    wait_s = each.wait_s(address, now_s) if address else 0.0
    if wait_s == 0 and everybody is not None:
        wait_s = everybody.wait_s("", now_s)
    if wait_s:
        raise web.HTTPTooManyRequests(
            text=json.dumps({"error": "feed.too_often"}),
            content_type="application/json",
            headers={"Retry-After": str(int(wait_s) + 1)},
        )


def _asked_place(request: web.Request) -> Position:
    return Position(_number(request, "epoch"), _number(request, "after"))


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 16 or int(text) > MAX_UINT:
        raise Malformed("query", f"want a number {name}")
    return int(text)


def _door(request: web.Request) -> uuid.UUID:
    return _uuid(request.match_info["door"])


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise Malformed("query", "want a door's UUID") from error


def _bytes(body: bytes, content_type: str, status: int = 200) -> web.Response:
    return web.Response(body=body, content_type=content_type, status=status, headers={"Cache-Control": "no-cache"})


def _refusal(status: int, code: str, retry_s: int | None = None) -> web.Response:
    headers = {} if retry_s is None else {"Retry-After": str(retry_s)}
    return web.json_response({"error": code}, status=status, headers=headers)
