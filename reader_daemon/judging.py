"""Statements of the status feed judged by a trust list: pure, from the bytes received to a value or a refusal."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from cardlink.errors import Malformed
from cardlink.statements.cose import Received
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.status import (
    Event,
    Fresh,
    Heartbeat,
    Snapshot,
    read_event,
    read_fresh,
    read_heartbeat,
    read_snapshot,
    verify_feed_message,
)
from cardlink.statements.status_state import StatusState, adopt_snapshots, apply_event
from cardlink.statements.trust import Trust

T = TypeVar("T", Snapshot, Event, Heartbeat)


@dataclass(frozen=True, slots=True)
class Rolled:
    """A status state built from snapshots and events, and the statements it is made of: events as (epoch, seq, raw)."""

    status: StatusState
    expires_s: int
    snapshots: list[bytes]
    events: list[tuple[int, int, bytes]]


def judge_event(raw: bytes, trust: Trust, now: datetime) -> Event | Refused:
    """Read and verify one event."""
    return _judge(read_event, raw, trust, now)


def judge_heartbeat(raw: bytes, trust: Trust, now: datetime) -> Heartbeat | Refused:
    """Read and verify one heartbeat."""
    return _judge(read_heartbeat, raw, trust, now)


def judge_fresh(raw: bytes, trust: Trust, newest_signed_s: int) -> Fresh | Refused:
    """Read and verify one answer to a nonce; whether it is our nonce is for the state to say.

    It says what time it is, so it is verified at its own time, but not before the newest signed time seen: a door's
    clock may be wrong by years, and this is what puts it right.
    """
    try:
        received = read_fresh(raw)
    except Malformed as error:
        return Refused(Reason.MALFORMED_STATEMENT, str(error))
    at = datetime.fromtimestamp(max(received.value.issued_s, newest_signed_s), UTC)
    signer = verify_feed_message(received, trust, at)
    return signer if isinstance(signer, Refused) else received.value


def roll_forward(snapshots: list[bytes], events: list[bytes], trust: Trust, now: datetime) -> Rolled | Refused:
    """Build a state from nothing but verified statements. It expires with the first of its snapshots."""
    values: list[Snapshot] = []
    for raw in snapshots:
        snapshot = _judge(read_snapshot, raw, trust, now)
        if isinstance(snapshot, Refused):
            return snapshot
        values.append(snapshot)
    state = adopt_snapshots(None, values, trust.lists)
    used: list[tuple[int, int, bytes]] = []
    for raw in events:
        if isinstance(state, Refused):
            return state
        event = judge_event(raw, trust, now)
        if isinstance(event, Refused):
            return event
        if event.seq > state.seq:
            state = apply_event(state, event)
            used.append((event.epoch, event.seq, raw))
    if isinstance(state, Refused):
        return state
    return Rolled(state, min(one.expires_s for one in values), snapshots, used)


def as_snapshots(status: StatusState, expires_s: int) -> list[Snapshot]:
    """A state written as snapshots at its own seq, to be compared with another state."""
    return [
        Snapshot("", number, expires_s, 0, 0, status.epoch, status.seq, one.packed)
        for number, one in status.lists.items()
    ]


def _judge(read: Callable[[bytes], Received[T]], raw: bytes, trust: Trust, now: datetime) -> T | Refused:
    try:
        received = read(raw)
    except Malformed as error:
        return Refused(Reason.MALFORMED_STATEMENT, str(error))
    signer = verify_feed_message(received, trust, now)
    return signer if isinstance(signer, Refused) else received.value
