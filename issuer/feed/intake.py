"""What doors send back: receipts in batches, log records, enrolments. Blocking work runs in worker threads."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.cose_key import CoseKey, decode_cose_key
from cardlink.statements.record import MAX_HEAD_BYTES, MAX_RECORD_BYTES
from issuer import database
from issuer.access import doors, enrolment, events, receipts
from issuer.access.events import MAX_RECORDS
from issuer.access.receipts import Outcome
from issuer.database import SessionFactory

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
MAX_RECORDS_BODY = (MAX_RECORDS + 1) * (max(MAX_RECORD_BYTES, MAX_HEAD_BYTES) + 3) + 3
MAX_ENROL_BODY = 1024
MAX_CODE_CHARACTERS = 64
RECEIPTS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """A door's wish to be known by its own key."""

    code: str
    key: CoseKey
    door: uuid.UUID | None


def read_enrol_request(body: bytes) -> EnrolRequest:
    """Read {"code", "key", ?"door"}. Raises Malformed."""
    value = cbor.decode(body, max_bytes=MAX_ENROL_BODY, max_depth=2)
    if not isinstance(value, dict) or not {"code", "key"} <= value.keys() <= {"code", "key", "door"}:
        raise Malformed("enrolment", "want code and key")
    code, door = value["code"], value.get("door")
    if not isinstance(code, str) or not 1 <= len(code) <= MAX_CODE_CHARACTERS:
        raise Malformed("enrolment", "code is no text")
    if door is not None and (not isinstance(door, bytes) or len(door) != 16):
        raise Malformed("enrolment", "door is no UUID")
    key = decode_cose_key(value["key"])
    key.public_key()
    return EnrolRequest(code, key, None if door is None else uuid.UUID(bytes=door))


def enrol(factory: SessionFactory, request: EnrolRequest, now: datetime) -> bytes:
    """Enrol a door and write what it pins. Raises Refused, NotFound."""
    with database.transaction(factory) as session:
        door = doors.enrol(session, request.code, request.key, request.door, now)
        return enrolment.answer(session, door)


def read_records(body: bytes) -> list[bytes]:
    """Read an array of byte strings. Raises Malformed."""
    value = cbor.decode(body, max_bytes=MAX_RECORDS_BODY, max_depth=1)
    if not isinstance(value, list) or not all(isinstance(one, bytes) for one in value):
        raise Malformed("records", "want an array of byte strings")
    return value


def take_records(factory: SessionFactory, door_id: uuid.UUID, sent: Sequence[bytes], now: datetime) -> events.Answer:
    """Store a door's records. An alarm is kept also when nothing else is. Raises Refused for an unknown door."""
    with database.transaction(factory) as session:
        return events.take(session, door_id, sent, now)


def place(answer: events.Acknowledged | events.Gap) -> bytes:
    """Write where the centre has a door's log."""
    return cbor.encode({"boot": answer.boot, "seq": answer.seq, "hash": answer.hash})


@dataclass(slots=True)
class ReceiptQueue:
    """Receipts that wait for one transaction together: ten thousand doors confirm within the same second."""

    factory: SessionFactory
    executor: Executor
    clock: Clock
    waiting: list[tuple[bytes, asyncio.Future[Outcome]]] = field(default_factory=list)
    is_busy: bool = False
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def put(self, statement: bytes) -> Outcome:
        """Hand in one receipt and wait until it is committed or refused."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.waiting.append((statement, done))
        if not self.is_busy:
            self.is_busy = True
            task = asyncio.create_task(self._work())
            self.running.add(task)
            task.add_done_callback(self.running.discard)
        return await done

    async def _work(self) -> None:
        try:
            while self.waiting:
                batch, self.waiting = self.waiting[:RECEIPTS_AT_ONCE], self.waiting[RECEIPTS_AT_ONCE:]
                await self._store(batch)
        finally:
            self.is_busy = False

    async def _store(self, batch: Sequence[tuple[bytes, asyncio.Future[Outcome]]]) -> None:
        statements = [statement for statement, _ in batch]
        work = asyncio.get_running_loop().run_in_executor(self.executor, self._commit, statements)
        await asyncio.wait([work])
        error = work.exception()
        for number, (_, done) in enumerate(batch):
            if done.cancelled():
                continue
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(work.result()[number])

    def _commit(self, statements: Sequence[bytes]) -> list[Outcome]:
        with database.transaction(self.factory) as session:
            return receipts.store(session, statements, self.clock())
