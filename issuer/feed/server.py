"""The feed process: reads the outbox, tells every door, keeps the beat, keeps the snapshots (architecture, section 4).

Whatever is away - database, HSM - is tried again; doors see silence meanwhile, never something untrue.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from aiohttp import web
from sqlalchemy.exc import OperationalError

from issuer import database
from issuer.config import Config, listen_address
from issuer.errors import IssuerError, Refused
from issuer.feed.hub import Hub, heartbeat_frame, number_frame, status_frame
from issuer.feed.intake import ReceiptQueue
from issuer.feed.routes import Feed, application
from issuer.feed.signing import FeedSigner
from issuer.feed.snapshots import Snapshots
from issuer.feed.source import News, Source
from issuer.outbox import Kind
from issuer.trust.port import Signing

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
BEAT_EVERY_S = 5.0
SNAPSHOT_EVERY_S = 1.0
UPKEEP_EVERY_S = 60.0
REVOCATION_EVERY_S = 5.0
AUDIT_EVERY_S = 5.0
REST_AFTER_FAULT_S = 1.0


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Server:
    """One feed process at work. `poked` wakes it before its next look at the outbox."""

    feed: Feed
    outbox_number: int
    poked: asyncio.Event
    beat_s: int = 0

    async def look(self) -> None:
        """Look at the database whenever poked, and every 200 ms anyway."""
        news = self.feed.source.news
        found = await self.feed.in_thread(self.feed.readers, partial(news, self.feed.hub.position, self.outbox_number))
        self.feed.hub.looked_s = time.monotonic()
        if any(notice.kind is Kind.TRUST for notice in found.notices):
            await self.follow_trust()
        self.tell(found)
        if not found.events:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.poked.wait(), LOOK_EVERY_S)
            self.poked.clear()

    async def follow_trust(self) -> None:
        """Sign the lists anew if their key has changed, before anybody hears of the trust list that says so.

        An HSM that does not answer holds nothing up: a block that waits must go out, the lists follow by themselves.
        """
        feed = self.feed
        feed.signer.forget()
        place = await feed.in_thread(feed.readers, feed.source.head)
        try:
            await feed.in_thread(feed.chores, partial(feed.snapshots.refresh, place, feed.clock()))
        except IssuerError as error:
            log.warning("feed lists not signed anew why=%s", error)

    def tell(self, news: News) -> None:
        """Tell everybody what came: events in their order, then what there is to fetch."""
        hub = self.feed.hub
        for position, body in news.events:
            hub.advance(position, status_frame(position, body))
        hub.position, self.outbox_number = news.position, news.outbox_number
        for notice in news.notices:
            hub.tell(number_frame(notice.kind, notice.number), notice.door)

    async def beat(self) -> None:
        """Tell everybody where the feed stands. Silence says that it cannot be known."""
        feed = self.feed
        if feed.hub.is_current(time.monotonic()):
            now = feed.clock()
            self.beat_s = max(int(now.timestamp()), self.beat_s + 1)
            sign = partial(feed.signer.heartbeat, feed.hub.position, self.beat_s, now)
            feed.hub.tell(heartbeat_frame(await feed.in_thread(feed.signers, sign)))
        await asyncio.sleep(BEAT_EVERY_S)

    async def refresh_snapshots(self) -> None:
        """Keep the snapshot files near the feed."""
        feed = self.feed
        await feed.in_thread(feed.chores, partial(feed.snapshots.refresh, feed.hub.position, feed.clock()))
        await asyncio.sleep(SNAPSHOT_EVERY_S)

    async def upkeep(self) -> None:
        """Renew bundles that run out, forget old news."""
        feed = self.feed
        await feed.in_thread(feed.chores, partial(feed.signer.renew_bundles, feed.clock()))
        await feed.in_thread(feed.writers, partial(feed.source.prune, feed.clock()))
        await asyncio.sleep(UPKEEP_EVERY_S)

    async def publish_revocations(self) -> None:
        """Keep revocation lists near the cards, and the certificates with which OCSP is answered alive."""
        feed = self.feed
        await feed.in_thread(feed.chores, partial(feed.signer.publish_revocations, feed.clock()))
        await asyncio.sleep(REVOCATION_EVERY_S)

    async def checkpoint_audit(self) -> None:
        """Keep the audit log under checkpoints; a log that was changed gets none, and is told about again and again."""
        await asyncio.sleep(AUDIT_EVERY_S)
        feed = self.feed
        await feed.in_thread(feed.chores, partial(feed.signer.checkpoint, feed.clock()))


async def serve(config: Config, hsm: Signing, on_ready: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. Raises Refused when another feed of this installation runs, OSError for the port."""
    _raise_file_limit()
    with only_one(config.data_dir / "feed.lock"):
        async with running(config, hsm) as server:
            app = web.AppRunner(application(server.feed), access_log=None, shutdown_timeout=2.0)
            await app.setup()
            try:
                host, port = listen_address(config.feed_listen)
                await web.TCPSite(app, host, port, backlog=4096).start()
                on_ready(f"http://{host}:{port}")
                await _ended()
            finally:
                server.feed.hub.close()
                await app.cleanup()


@contextlib.asynccontextmanager
async def running(config: Config, hsm: Signing) -> AsyncIterator[Server]:
    """The feed's parts and its loops, without the HTTP side."""
    factory = database.session_factory(database.engine(config))
    source, signer = Source(factory), FeedSigner(factory, hsm)
    pools = [ThreadPoolExecutor(n, name) for n, name in ((2, "read"), (2, "write"), (2, "sign"), (1, "chores"))]
    readers, writers, signers, chores = pools
    try:
        loop = asyncio.get_running_loop()
        position, number = await loop.run_in_executor(readers, source.start)
        snapshots = Snapshots(config.data_dir / "snapshots", source, signer)
        await loop.run_in_executor(readers, snapshots.load, utc_now())
        feed = Feed(
            factory=factory,
            source=source,
            signer=signer,
            hub=Hub(position, time.monotonic()),
            snapshots=snapshots,
            receipts=ReceiptQueue(factory, writers, utc_now),
            readers=readers,
            writers=writers,
            signers=signers,
            chores=chores,
            clock=utc_now,
        )
        server = Server(feed, number, asyncio.Event())
        with _poke_socket(config.feed_poke, server.poked):
            jobs = (
                server.look,
                server.beat,
                server.refresh_snapshots,
                server.upkeep,
                server.publish_revocations,
                server.checkpoint_audit,
            )
            tasks = [asyncio.create_task(_forever(job)) for job in jobs]
            try:
                yield server
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for pool in pools:
            pool.shutdown()
        engine = factory.kw["bind"]
        engine.dispose()


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock of this installation's feed. Raises Refused when another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused("feed.runs_already", path=str(path)) from error
        yield


async def _forever(job: Callable[[], Awaitable[None]]) -> None:
    """Do a job again and again; what is away now may be back in a second."""
    while True:
        try:
            await job()
        except (IssuerError, OperationalError, OSError) as error:
            log.warning("feed job failed job=%s why=%s", getattr(job, "__name__", job), error)
            await asyncio.sleep(REST_AFTER_FAULT_S)


@contextlib.contextmanager
def _poke_socket(path: Path, poked: asyncio.Event) -> Iterator[None]:
    """Listen for datagrams that say: there is something in the outbox."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        receiver.bind(str(path))
        path.chmod(0o660)
        loop.add_reader(receiver, _drain, receiver, poked)
        try:
            yield
        finally:
            loop.remove_reader(receiver)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _raise_file_limit() -> None:
    """Each listening door holds a descriptor; the soft limit is made for shells."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _drain(receiver: socket.socket, poked: asyncio.Event) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            receiver.recv(16)
            poked.set()


async def _ended() -> None:
    """Wait for SIGTERM or SIGINT."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()
