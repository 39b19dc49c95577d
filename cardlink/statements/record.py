"""Door records and their log (F9): one record for each thing that happened, chained by hash, with signed heads."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.bundle import Mechanism
from cardlink.statements.claims import SHA256_BYTES, UUID_BYTES, Claim, fields, items, octets, second, uint, word
from cardlink.statements.cose import Received, Sign, parse_sign1, sign1
from cardlink.statements.cose_key import CoseKey
from cardlink.statements.receipt import check_door_signature
from cardlink.statements.refusal import Reason, Refused

MAX_RECORD_BYTES: Final = 512
MAX_HEAD_BYTES: Final = 256
FIRST_SEQ: Final = 1
NO_RECORD: Final = bytes(SHA256_BYTES)  # the hash before a door's very first record
_HEAD: Final = b"\xa1\x3a\x00\x01\x00\x0f\xaf\x01\x50"  # {-65552: map of 15 with key 1, a string of 16 bytes
_MAX_MS: Final = 253_402_300_799_999


class ClockQuality(IntEnum):
    """How far the wall time of a record may be trusted."""

    LOST = 0  # nobody has told the door the time since its clock failed
    OWN = 1  # the door's own clock
    CONFIRMED = 2  # compared with signed time since the door started


class Decision(IntEnum):
    """What the door decided."""

    REFUSED = 0
    GRANTED = 1


class Kind(StrEnum):
    """What happened. The format allows any word, so that an older centre stores the records of a newer door."""

    TAP = "tap"
    EXIT = "exit"
    FORCED = "forced"
    HELD = "held"
    FEED = "feed"
    START = "start"
    STOP = "stop"
    ALARM = "alarm"
    FAULT = "fault"
    COMMAND = "command"


class Record(NamedTuple):
    """One record. `seq` counts from 1 in each `boot`; `previous` chains across boots. Absent things are None.

    A tuple: a door makes one for each tap, and a frozen dataclass of this size takes four times as long to make.
    """

    door_uuid: bytes
    boot: int
    seq: int
    previous: bytes
    wall_ms: int
    monotonic_ms: int
    clock: ClockQuality
    card_uuid: bytes | None
    mechanism: Mechanism | None
    kind: str
    decision: Decision | None
    reason: str | None
    bundle_seq: int
    status_epoch: int
    status_seq: int
    elapsed_us: int


@dataclass(frozen=True, slots=True)
class Head:
    """The door's signed word on where its log stands. `record_hash` is SHA-256 of the record (boot, seq)."""

    door_uuid: bytes
    time_s: int
    boot: int
    seq: int
    record_hash: bytes


def encode_record(record: Record) -> bytes:
    """Write a record: what is stored, hashed and sent. Raises Malformed for an identifier of another length.

    Written by hand, key after key: a door does it for each tap, between judging and opening.
    """
    number = cbor.encode_int
    return b"".join(
        (
            _HEAD + octets(record.door_uuid, "door UUID", UUID_BYTES) + b"\x02" + number(record.boot),
            b"\x03"
            + number(record.seq)
            + b"\x04\x58\x20"
            + octets(record.previous, "record previous hash", SHA256_BYTES),
            b"\x05" + number(record.wall_ms) + b"\x06" + number(record.monotonic_ms) + b"\x07" + number(record.clock),
            b"\x08\xf6"
            if record.card_uuid is None
            else b"\x08\x50" + octets(record.card_uuid, "card UUID", UUID_BYTES),
            b"\x09" + number(record.mechanism or 0) + b"\x0a" + cbor.encode(record.kind),
            b"\x0b\xf6" if record.decision is None else b"\x0b" + number(record.decision),
            b"\x0c\xf6" if record.reason is None else b"\x0c" + cbor.encode(record.reason),
            b"\x0d" + number(record.bundle_seq) + b"\x0e\x82" + number(record.status_epoch) + number(record.status_seq),
            b"\x0f" + number(record.elapsed_us),
        )
    )


def decode_record(raw: bytes) -> Record:
    """Read a record. Raises Malformed."""
    outer = fields(cbor.decode(raw, max_bytes=MAX_RECORD_BYTES, max_depth=3), "door record", (Claim.RECORD,))
    record = fields(outer[Claim.RECORD], "door record", range(1, 16))
    mechanism = uint(record[9], "record mechanism", 6)
    epoch, seq = items(record[14], "record status place", 2, 2)
    return Record(
        door_uuid=octets(record[1], "door UUID", UUID_BYTES),
        boot=uint(record[2], "record boot"),
        seq=_from_first(record[3], "record seq"),
        previous=octets(record[4], "record previous hash", SHA256_BYTES),
        wall_ms=uint(record[5], "record wall time", _MAX_MS),
        monotonic_ms=uint(record[6], "record monotonic time"),
        clock=ClockQuality(uint(record[7], "record clock quality", 2)),
        card_uuid=None if record[8] is None else octets(record[8], "card UUID", UUID_BYTES),
        mechanism=Mechanism(mechanism) if mechanism else None,
        kind=word(record[10], "record kind"),
        decision=None if record[11] is None else Decision(uint(record[11], "record decision", 1)),
        reason=None if record[12] is None else word(record[12], "record reason"),
        bundle_seq=uint(record[13], "record bundle seq"),
        status_epoch=uint(epoch, "record status epoch"),
        status_seq=uint(seq, "record status seq"),
        elapsed_us=uint(record[15], "record elapsed"),
    )


def record_hash(raw: bytes) -> bytes:
    """What the next record and a head say of this one."""
    return hashlib.sha256(raw).digest()


def check_chain(records: Iterable[bytes], previous: bytes = NO_RECORD, boot: int = 0, seq: int = 0) -> bytes | Refused:
    """Follow records in order from a known place (hash, boot and seq of the last one); answer the last hash.

    Within a boot seq goes up by one; a later boot begins at 1. Raises Malformed for a record that is none.
    """
    door: bytes | None = None
    for raw in records:
        record = decode_record(raw)
        if door is not None and record.door_uuid != door:
            return Refused(Reason.WRONG_DOOR, f"record of {record.door_uuid.hex()}")
        door = record.door_uuid
        follows = record.seq == seq + 1 if record.boot == boot else record.seq == FIRST_SEQ and record.boot > boot
        if not follows:
            return Refused(Reason.GAP, f"record {record.boot}.{record.seq} after {boot}.{seq}")
        if record.previous != previous:
            return Refused(Reason.BROKEN_CHAIN, f"record {record.boot}.{record.seq}")
        previous, boot, seq = record_hash(raw), record.boot, record.seq
    return previous


def issue_head(head: Head, kid: bytes, sign: Sign) -> bytes:
    """Sign a head with the door's key."""
    payload = encode_head(head)
    decode_head(payload)
    return sign1(payload, kid, sign)


def encode_head(head: Head) -> bytes:
    """The claims to be signed; the numbers inside are those of a record's fields."""
    return cbor.encode(
        {
            Claim.SUB: head.door_uuid,
            Claim.IAT: head.time_s,
            Claim.RECORD: {2: head.boot, 3: head.seq, 4: head.record_hash},
        }
    )


def read_head(raw: bytes) -> Received[Head]:
    """Take a head apart. Raises Malformed."""
    statement = parse_sign1(raw, max_bytes=MAX_HEAD_BYTES)
    if statement.typ is not None:
        raise Malformed("log head", "unexpected type header")
    return Received(decode_head(statement.payload), statement)


def decode_head(payload: bytes) -> Head:
    """Read the claims of a head."""
    claims = cbor.decode(payload, max_bytes=MAX_HEAD_BYTES, max_depth=2)
    outer = fields(claims, "log head", (Claim.SUB, Claim.IAT, Claim.RECORD))
    place = fields(outer[Claim.RECORD], "log head", (2, 3, 4))
    return Head(
        door_uuid=octets(outer[Claim.SUB], "door UUID", UUID_BYTES),
        time_s=second(outer[Claim.IAT], "head time"),
        boot=uint(place[2], "head boot"),
        seq=_from_first(place[3], "head seq"),
        record_hash=octets(place[4], "head hash", SHA256_BYTES),
    )


def verify_head(received: Received[Head], door_uuid: bytes, key: CoseKey) -> Head | Refused:
    """Judge a head by the key that the door was enrolled with."""
    if received.value.door_uuid != door_uuid:
        return Refused(Reason.WRONG_DOOR, f"head of {received.value.door_uuid.hex()}")
    return check_door_signature(received.statement, key) or received.value


def check_head(head: Head, boot: int, seq: int, last_hash: bytes) -> Head | Refused:
    """Compare a head with the last record that its log brought: a shortened or forked log shows here."""
    if (head.boot, head.seq) > (boot, seq):
        return Refused(Reason.SHORTENED, f"head at {head.boot}.{head.seq}, records end at {boot}.{seq}")
    if (head.boot, head.seq) == (boot, seq) and head.record_hash != last_hash:
        return Refused(Reason.FORKED, f"record {boot}.{seq}")
    return head


def _from_first(value: object, what: str) -> int:
    if uint(value, what) < FIRST_SEQ:
        raise Malformed(what, f"counts from {FIRST_SEQ}")
    return uint(value, what)
