"""The status feed's four messages (F6): snapshot, event, heartbeat, fresh; as values and as statements."""

import zlib
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, TypeVar

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.agency import check_agency_code
from cardlink.statements.card import MAX_LIST_LENGTH, MAX_LIST_NUMBER, parse_status_uri, status_uri
from cardlink.statements.claims import Claim, fields, items, octets, second, uint
from cardlink.statements.cose import Received, Sign, Sign1, parse_sign1, sign1
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.signers import verify_statement
from cardlink.statements.trust import Signer, Trust, Use

SNAPSHOT_TYPE: Final = "application/statuslist+cwt"  # IETF draft-ietf-oauth-status-list §5.2
BITS: Final = 2
ENTRIES_PER_BYTE: Final = 8 // BITS
MAX_PACKED_BYTES: Final = MAX_LIST_LENGTH // ENTRIES_PER_BYTE
MAX_SNAPSHOT_BYTES: Final = MAX_PACKED_BYTES + 4096  # zlib may enlarge a little
MAX_EVENT_BYTES: Final = 1 << 20
MAX_BEAT_BYTES: Final = 256
MAX_EVENT_ENTRIES: Final = 50_000
NONCE_BYTES: Final = 16

T = TypeVar("T")


class Status(IntEnum):
    """What a list says about a card. REVOKED is terminal."""

    VALID = 0
    REVOKED = 1
    SUSPENDED = 2
    STOLEN = 3  # stop and alarm


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One whole list at one point of the feed. `packed`: 2 bits a card, from the low bits up, not compressed."""

    issuer: str
    number: int
    expires_s: int
    issued_s: int
    ttl_s: int
    epoch: int
    seq: int
    packed: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of one card's status."""

    list_number: int
    index: int
    status: Status


@dataclass(frozen=True, slots=True)
class Event:
    """Step `seq` of the feed: the changes that lead from seq - 1 to seq."""

    issuer: str
    issued_s: int
    epoch: int
    seq: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The feed as it stands; does not advance it."""

    issuer: str
    issued_s: int
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Fresh:
    """The feed as it stands, in answer to the door's own nonce."""

    issuer: str
    issued_s: int
    epoch: int
    seq: int
    nonce: bytes


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The claims to be signed; the list is compressed (zlib, highest level, as the draft recommends)."""
    return cbor.encode(
        {
            Claim.ISS: snapshot.issuer,
            Claim.SUB: status_uri(snapshot.number),
            Claim.EXP: snapshot.expires_s,
            Claim.IAT: snapshot.issued_s,
            Claim.TTL: snapshot.ttl_s,
            Claim.STATUS_LIST: {"bits": BITS, "lst": zlib.compress(snapshot.packed, 9)},
            Claim.EPOCH: snapshot.epoch,
            Claim.SEQ: snapshot.seq,
        }
    )


def encode_event(event: Event) -> bytes:
    """The claims to be signed."""
    return cbor.encode(
        {
            **_beat(event),
            Claim.STATUS_ENTRIES: [[one.list_number, one.index, int(one.status)] for one in event.entries],
        }
    )


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """The claims to be signed."""
    return cbor.encode(_beat(heartbeat))


def encode_fresh(fresh: Fresh) -> bytes:
    """The claims to be signed."""
    return cbor.encode({**_beat(fresh), Claim.NONCE: fresh.nonce})


def issue_snapshot(snapshot: Snapshot, kid: bytes, sign: Sign) -> bytes:
    """Sign a snapshot."""
    payload = encode_snapshot(snapshot)
    decode_snapshot(payload)
    return sign1(payload, kid, sign, SNAPSHOT_TYPE)


def issue_event(event: Event, kid: bytes, sign: Sign) -> bytes:
    """Sign an event."""
    payload = encode_event(event)
    decode_event(payload)
    return sign1(payload, kid, sign)


def issue_heartbeat(heartbeat: Heartbeat, kid: bytes, sign: Sign) -> bytes:
    """Sign a heartbeat."""
    payload = encode_heartbeat(heartbeat)
    decode_heartbeat(payload)
    return sign1(payload, kid, sign)


def issue_fresh(fresh: Fresh, kid: bytes, sign: Sign) -> bytes:
    """Sign an answer to a door's nonce."""
    payload = encode_fresh(fresh)
    decode_fresh(payload)
    return sign1(payload, kid, sign)


def read_snapshot(raw: bytes) -> Received[Snapshot]:
    """Take a snapshot apart and unpack its list. Raises Malformed."""
    statement = parse_sign1(raw, max_bytes=MAX_SNAPSHOT_BYTES)
    if statement.typ != SNAPSHOT_TYPE:
        raise Malformed("snapshot", f"type header is not {SNAPSHOT_TYPE}")
    return Received(decode_snapshot(statement.payload), statement)


def read_event(raw: bytes) -> Received[Event]:
    """Take an event apart. Raises Malformed."""
    statement = _plain(raw, MAX_EVENT_BYTES)
    return Received(decode_event(statement.payload), statement)


def read_heartbeat(raw: bytes) -> Received[Heartbeat]:
    """Take a heartbeat apart. Raises Malformed."""
    statement = _plain(raw, MAX_BEAT_BYTES)
    return Received(decode_heartbeat(statement.payload), statement)


def read_fresh(raw: bytes) -> Received[Fresh]:
    """Take an answer to a nonce apart. Raises Malformed."""
    statement = _plain(raw, MAX_BEAT_BYTES)
    return Received(decode_fresh(statement.payload), statement)


def decode_snapshot(payload: bytes) -> Snapshot:
    """Read the claims of a snapshot; the list is unpacked to at most the size of the largest list."""
    what = "snapshot"
    claims = fields(
        cbor.decode(payload, max_bytes=MAX_SNAPSHOT_BYTES, max_depth=2),
        what,
        (Claim.ISS, Claim.SUB, Claim.EXP, Claim.IAT, Claim.TTL, Claim.STATUS_LIST, Claim.EPOCH, Claim.SEQ),
    )
    packed = claims[Claim.STATUS_LIST]
    if type(packed) is not dict or packed.keys() != {"bits", "lst"} or type(packed["lst"]) is not bytes:
        raise Malformed(what, "want bits and lst alone")
    if type(packed["bits"]) is not int or packed["bits"] != BITS:
        raise Malformed(what, "want 2 bits a card")
    snapshot = Snapshot(
        issuer=check_agency_code(claims[Claim.ISS]),
        number=parse_status_uri(claims[Claim.SUB]),
        expires_s=second(claims[Claim.EXP], "snapshot exp"),
        issued_s=second(claims[Claim.IAT], "snapshot iat"),
        ttl_s=uint(claims[Claim.TTL], "snapshot ttl", 1 << 32),
        epoch=uint(claims[Claim.EPOCH], "snapshot epoch"),
        seq=uint(claims[Claim.SEQ], "snapshot seq"),
        packed=_inflate(packed["lst"]),
    )
    if snapshot.expires_s <= snapshot.issued_s:
        raise Malformed(what, "expires before it is issued")
    return snapshot


def decode_event(payload: bytes) -> Event:
    """Read the claims of an event; one card changes at most once in it."""
    claims = _beat_claims(payload, "event", MAX_EVENT_BYTES, Claim.STATUS_ENTRIES)
    listed = items(claims[Claim.STATUS_ENTRIES], "event entries", 1, MAX_EVENT_ENTRIES)
    entries = tuple(_decode_entry(one) for one in listed)
    if len({(one.list_number, one.index) for one in entries}) != len(entries):
        raise Malformed("event", "one card twice")
    seq = uint(claims[Claim.SEQ], "event seq")
    if not seq:
        raise Malformed("event", "seq 0 is the state before the first event")
    return Event(*_decode_beat(claims, "event"), seq, entries)


def decode_heartbeat(payload: bytes) -> Heartbeat:
    """Read the claims of a heartbeat."""
    claims = _beat_claims(payload, "heartbeat", MAX_BEAT_BYTES)
    return Heartbeat(*_decode_beat(claims, "heartbeat"), uint(claims[Claim.SEQ], "heartbeat seq"))


def decode_fresh(payload: bytes) -> Fresh:
    """Read the claims of an answer to a nonce."""
    claims = _beat_claims(payload, "fresh", MAX_BEAT_BYTES, Claim.NONCE)
    nonce = octets(claims[Claim.NONCE], "nonce", NONCE_BYTES)
    return Fresh(*_decode_beat(claims, "fresh"), uint(claims[Claim.SEQ], "fresh seq"), nonce)


def verify_feed_message(
    received: Received[Snapshot] | Received[Event] | Received[Heartbeat] | Received[Fresh], trust: Trust, now: datetime
) -> Signer | Refused:
    """Say who signed a message of the feed: for each list that it speaks of, the signer that F8 names.

    A message from ahead of `now` is taken: what it does to the door's clock, and how far, is the door's to decide.
    """
    message, statement = received.value, received.statement
    if message.epoch != trust.content.epoch:
        return Refused(Reason.WRONG_EPOCH, f"epoch {message.epoch}, trust list says {trust.content.epoch}")
    numbers: set[int] = set()
    if isinstance(message, Snapshot):
        numbers = {message.number}
        if now.timestamp() >= message.expires_s:
            return Refused(Reason.EXPIRED, f"snapshot of list {message.number}")
    elif isinstance(message, Event):
        numbers = {one.list_number for one in message.entries}
    for number in numbers:
        entry = trust.lists.get(number)
        if entry is None:
            return Refused(Reason.UNKNOWN_LIST, f"list {number}")
        if entry.signer != statement.kid:
            return Refused(Reason.WRONG_LIST_SIGNER, f"list {number}, kid {statement.kid.hex()}")
    if (
        not numbers
        and statement.kid in trust.signers
        and statement.kid not in {one.signer for one in trust.lists.values()}
    ):
        return Refused(Reason.WRONG_LIST_SIGNER, f"kid {statement.kid.hex()} signs no list")
    return verify_statement(statement, Use.STATUS, message.issuer, message.issued_s, trust, now, may_be_ahead=True)


def _beat(message: Event | Heartbeat | Fresh) -> dict[int, object]:
    return {
        Claim.ISS: message.issuer,
        Claim.IAT: message.issued_s,
        Claim.EPOCH: message.epoch,
        Claim.SEQ: message.seq,
    }


def _beat_claims(payload: bytes, what: str, max_bytes: int, *more: Claim) -> dict[int, object]:
    claims = cbor.decode(payload, max_bytes=max_bytes, max_depth=3)
    return fields(claims, what, (Claim.ISS, Claim.IAT, Claim.EPOCH, Claim.SEQ, *more))


def _decode_beat(claims: dict[int, object], what: str) -> tuple[str, int, int]:
    return (
        check_agency_code(claims[Claim.ISS]),
        second(claims[Claim.IAT], f"{what} iat"),
        uint(claims[Claim.EPOCH], f"{what} epoch"),
    )


def _decode_entry(value: object) -> Entry:
    number, index, status = items(value, "event entry", 3, 3)
    return Entry(
        uint(number, "status list number", MAX_LIST_NUMBER),
        uint(index, "status index", MAX_LIST_LENGTH - 1),
        Status(uint(status, "status", Status.STOLEN)),
    )


def _plain(raw: bytes, max_bytes: int) -> Sign1:
    statement = parse_sign1(raw, max_bytes=max_bytes)
    if statement.typ is not None:
        raise Malformed("status message", "unexpected type header")
    return statement


def _inflate(compressed: bytes) -> bytes:
    """Undo zlib, never beyond the largest list: a bomb costs no more memory than an honest list."""
    unpacker = zlib.decompressobj()
    try:
        packed = unpacker.decompress(compressed, MAX_PACKED_BYTES + 1)
    except zlib.error as error:
        raise Malformed("snapshot", "list is not zlib") from error
    if len(packed) > MAX_PACKED_BYTES:
        raise Malformed("snapshot", "list is larger than any list")
    if not unpacker.eof or unpacker.unused_data:
        raise Malformed("snapshot", "list is cut short, or more follows it")
    return packed
