"""A centre with a real HSM process and a feed over HTTP, for tests of what passes between them and doors."""

import base64
import http.client
import json
import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from card_office import HsmProcess
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import issuer.tables
from cardlink.statements import cbor
from cardlink.statements import receipt as receipt_wire
from cardlink.statements import record as record_wire
from cardlink.statements import status as wire
from cardlink.statements.cose_key import from_public_key
from cardlink.statements.status import Status
from cardlink.statements.trust import Roots as PinnedRoots
from cardlink.statements.trust import Trust, accept_trust_list
from hsm_sim.client import Client, Role
from issuer import database, outbox
from issuer.access import doors
from issuer.access.doors import DoorPlan
from issuer.database import SessionFactory
from issuer.policy import Actor
from issuer.policy import Role as Office
from issuer.registry.tables import Agency
from issuer.trust import setup, status, trust_list
from issuer.trust.setup import AgencyName, Roots
from issuer.trust.sim import Ceremony, Sim
from issuer.trust.status import Position

OWNER, INSTALLATION = "H38", "G09"
ADMIN = Actor(uuid.UUID(int=1), "quản trị", ((Office.ADMIN, "*"),))
READY_WAIT_S = 60.0
LIST_BITS = 12


def now() -> datetime:
    return datetime.now(UTC)


class DoorKey:
    """A door's own key and what it signs."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.public = from_public_key(self._private.public_key())
        self.kid = self.public.kid()

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def receipt(self, door_id: uuid.UUID, at: Position) -> bytes:
        said = receipt_wire.Receipt(door_id.bytes, int(time.time()), at.epoch, at.seq)
        return receipt_wire.issue_receipt(said, self.kid, self.sign)


@dataclass
class DoorLog:
    """A door's log: records in their chain, and messages of them."""

    door_id: uuid.UUID
    key: DoorKey
    boot: int = 1
    seq: int = 0
    previous: bytes = record_wire.NO_RECORD

    def write(self, count: int = 1, reason: str = "expired") -> list[bytes]:
        return [self._one(reason) for _ in range(count)]

    def message(self, records: list[bytes]) -> bytes:
        last = record_wire.decode_record(records[-1])
        said = record_wire.Head(
            self.door_id.bytes, int(time.time()), last.boot, last.seq, record_wire.record_hash(records[-1])
        )
        return cbor.encode([*records, record_wire.issue_head(said, self.key.kid, self.key.sign)])

    def _one(self, reason: str) -> bytes:
        self.seq += 1
        record = record_wire.Record(
            door_uuid=self.door_id.bytes,
            boot=self.boot,
            seq=self.seq,
            previous=self.previous,
            wall_ms=int(time.time() * 1000),
            monotonic_ms=self.seq,
            clock=record_wire.ClockQuality.CONFIRMED,
            card_uuid=None,
            mechanism=record_wire.Mechanism.CREDENTIAL,
            kind="tap",
            decision=record_wire.Decision.REFUSED,
            reason=reason,
            bundle_seq=1,
            status_epoch=1,
            status_seq=0,
            elapsed_us=70_000,
        )
        raw = record_wire.encode_record(record)
        self.previous = record_wire.record_hash(raw)
        return raw


@dataclass(frozen=True)
class Frame:
    """One server-sent event, and when it came."""

    event: str
    data: str
    at_s: float

    def body(self) -> bytes:
        return base64.urlsafe_b64decode(self.data + "=" * (-len(self.data) % 4))


class Listener:
    """A connection to /stream that reads frames as they come."""

    def __init__(self, port: int, epoch: int, after: int, door: uuid.UUID | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        named = "" if door is None else f"&door={door}"
        self._connection.request("GET", f"/stream?epoch={epoch}&after={after}{named}")
        self.response = self._connection.getresponse()
        if self.response.status == 200:
            assert self.response.readline() == b": themo feed\n"
            assert self.response.readline() == b"\n"

    def frame(self) -> Frame:
        event = data = ""
        while line := self.response.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                data = value
        return Frame(event, data, time.perf_counter())

    def next(self, event: str) -> Frame:
        """The next frame of a kind."""
        while True:
            frame = self.frame()
            if not frame.event:
                raise EOFError("the stream ended")
            if frame.event == event:
                return frame

    def close(self) -> None:
        self.response.close()
        self._connection.close()


@dataclass
class FeedProcess:
    """`issuer feed serve` as a process of its own."""

    config: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.config.parent / "feed.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "issuer", "feed", "serve"],
                env={**os.environ, "THEMO_CONFIG": str(self.config)},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], READY_WAIT_S)
        said = self.process.stdout.readline() if readable else b""
        if str(self.port).encode() not in said:
            raise RuntimeError((self.config.parent / "feed.log").read_text())

    def kill(self) -> None:
        """What a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.reap()

    def stop(self) -> int:
        """What an administrator does. Answers the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.reap()

    def reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(15)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    def log(self) -> str:
        return (self.config.parent / "feed.log").read_text()


@dataclass
class Centre:
    """The office's side: database and HSM, and the feed beside it."""

    folder: Path
    factory: SessionFactory
    hsm_process: HsmProcess
    hsm: Sim
    feed: FeedProcess
    doors: int = 0
    cards: list[uuid.UUID] = field(default_factory=list)

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.feed.port, timeout=10)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> bytes:
        code, body = self.request("GET", path)
        assert code == 200, (path, code, body)
        return body

    def error(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        code, answer = self.request(method, path, body)
        return code, json.loads(answer)["error"]

    def listen(self, after: int = 0, door: uuid.UUID | None = None, epoch: int = 1) -> Listener:
        return Listener(self.feed.port, epoch, after, door)

    def poke(self) -> None:
        outbox.poke_at(self.folder / "feed.sock")

    def settled(self) -> Position:
        """Where the feed stands once it has told all that there is: who listens from here on hears only what is new."""
        with database.reading(self.factory) as session:
            at = status.head(session)
        deadline = time.monotonic() + READY_WAIT_S
        while time.monotonic() < deadline:
            code, body = self.request("POST", "/fresh", os.urandom(16))
            if code == 200:
                told = wire.read_fresh(body).value
                if Position(told.epoch, told.seq) >= at:
                    return at
            time.sleep(0.02 if code == 200 else 0.5)  # it answers two in a second, and some more after a rest
        raise TimeoutError

    def new_card(self) -> uuid.UUID:
        card_id = uuid.uuid4()
        with database.transaction(self.factory) as session:
            status.allocate(session, card_id, now())
        return card_id

    def set_status(self, card_id: uuid.UUID, value: Status) -> Position:
        with database.transaction(self.factory) as session:
            at = status.set_status(session, self.hsm, card_id, value, now())
        self.poke()
        return at

    def change(self, count: int = 1) -> Position:
        """Make `count` events."""
        for _ in range(count):
            at = self.set_status(self.new_card(), Status.SUSPENDED)
        return at

    def new_door(self) -> tuple[uuid.UUID, str]:
        """A door and its code."""
        self.doors += 1
        with database.transaction(self.factory) as session:
            plan = DoorPlan(f"Cửa {self.doors}", "Tầng 1", "Sảnh", 0, OWNER, {})
            door = doors.add(session, ADMIN, plan, now())
            return door.id, doors.new_code(session, ADMIN, door.id, now())

    def enrolled(self) -> tuple[uuid.UUID, DoorKey]:
        """A door that enrolled over HTTP."""
        (door_id, code), key = self.new_door(), DoorKey()
        http_code, _ = self.request("POST", "/enrol", cbor.encode({"code": code, "key": key.public.fields()}))
        assert http_code == 200
        return door_id, key

    def roots(self) -> PinnedRoots:
        with database.reading(self.factory) as session:
            return trust_list.roots(session)

    def trust(self) -> Trust:
        """What a door makes of the published trust list."""
        trust = accept_trust_list(self.get("/trust"), self.roots(), now())
        assert isinstance(trust, Trust), trust
        return trust


@contextmanager
def open_centre(folder: Path, port: int, url: str | None = None) -> Iterator[Centre]:
    """Start an HSM, make the keys of two agencies, start a feed."""
    url = url or f"sqlite:///{folder / 'centre.db'}"
    hsm_process = HsmProcess(folder)
    engine = database.engine_at(url)
    feed = FeedProcess(folder / "centre.toml", port)
    try:
        issuer.tables.metadata.create_all(engine)
        factory = database.session_factory(engine)
        with hsm_process.client(Role.USER) as user, hsm_process.client(Role.SO) as officer:
            _fill(factory, user, officer)
            pin = folder / "user.pin"
            pin.write_text(hsm_process.pins["user"])
            feed.config.write_text(_settings(folder, port, url, hsm_process.socket, pin), encoding="utf-8")
            feed.start()
            yield Centre(folder, factory, hsm_process, Sim(user), feed)
    finally:
        if feed.process is not None:
            feed.stop()
        hsm_process.kill()
        engine.dispose()


def _fill(factory: SessionFactory, user: Client, officer: Client) -> None:
    names = {OWNER: "Ủy ban nhân dân tỉnh Thử", INSTALLATION: "Bộ Thử nghiệm"}
    with database.transaction(factory) as session:
        for code, name in names.items():
            session.add(Agency(code=code, name=name, short_name=name, kind="province", scheme=1))
    agencies = [AgencyName(code, name) for code, name in names.items()]
    told = (LIST_BITS, now(), lambda label: None)
    setup.init(factory, Ceremony(user, officer), ADMIN, agencies[1], agencies, Roots(), *told)


def _settings(folder: Path, port: int, url: str, hsm_socket: Path, pin: Path) -> str:
    return f"""
[centre]
data_dir = "{folder}"
database_url = "{url}"
installation = "{INSTALLATION}"
[hsm]
socket = "{hsm_socket}"
pin_file = "{pin}"
[feed]
listen = "127.0.0.1:{port}"
"""
