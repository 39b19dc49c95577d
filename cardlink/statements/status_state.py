"""What a door knows of the status feed, and how messages change it (F6). Pure: a new state or a refusal.

Messages come in verified (`verify_feed_message`); here stand the rules of order: event n only on state n - 1,
never back, never away from REVOKED.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.status import ENTRIES_PER_BYTE, Entry, Event, Fresh, Heartbeat, Snapshot, Status
from cardlink.statements.trust import ListEntry

_STATUS = tuple(Status)  # by value


@dataclass(frozen=True, slots=True)
class StatusList:
    """One list as of `seq` of the feed: 2 bits a card, from the low bits up."""

    seq: int
    length: int
    packed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatusState:
    """All lists of one feed. `seq` is the last event applied; `heard_s` the signed time of the last beat."""

    epoch: int
    seq: int
    lists: Mapping[int, StatusList]
    heard_s: int = 0


def packed_bytes(length: int) -> int:
    """Bytes that a list of `length` cards takes."""
    return -(-length // ENTRIES_PER_BYTE)


def read_entry(packed: bytes, index: int) -> Status:
    """Read one card's status out of a packed list."""
    return _STATUS[packed[index // ENTRIES_PER_BYTE] >> 2 * (index % ENTRIES_PER_BYTE) & 3]


def pack(length: int, entries: Mapping[int, Status]) -> bytes:
    """Pack a list of `length` cards; those not named are valid."""
    packed = bytearray(packed_bytes(length))
    for index, status in entries.items():
        packed[index // ENTRIES_PER_BYTE] |= status << 2 * (index % ENTRIES_PER_BYTE)
    return bytes(packed)


def status_of(state: StatusState, number: int, index: int) -> Status | Refused:
    """Look a card's status up."""
    one = state.lists.get(number)
    if one is None:
        return Refused(Reason.UNKNOWN_LIST, f"list {number}")
    if index >= one.length:
        return Refused(Reason.BEYOND_END, f"list {number} ends before {index}")
    return read_entry(one.packed, index)


def adopt_snapshots(
    held: StatusState | None, snapshots: Sequence[Snapshot], lists: Mapping[int, ListEntry]
) -> StatusState | Refused:
    """Start from snapshots, one for each list of the trust list; `held` is the state so far, if any.

    Snapshots may stand at different places of the feed; events from the lowest on bring them together. Within one
    epoch nothing may be older than what is held, and no revocation may be missing. A new epoch starts afresh: only
    the root keys can open one.
    """
    by_number = {one.number: one for one in snapshots}
    epochs = {one.epoch for one in snapshots}
    if len(by_number) != len(snapshots) or by_number.keys() != lists.keys():
        return Refused(Reason.UNKNOWN_LIST, "want one snapshot of each list")
    if len(epochs) != 1:
        return Refused(Reason.WRONG_EPOCH, "snapshots of several epochs")
    epoch = epochs.pop()
    if held is not None and epoch < held.epoch:
        return Refused(Reason.OLDER, f"epoch {epoch} after {held.epoch}")
    same_epoch = held if held is not None and held.epoch == epoch else None
    adopted = {}
    for number, snapshot in by_number.items():
        length = lists[number].length
        if len(snapshot.packed) != packed_bytes(length):
            return Refused(Reason.WRONG_LIST_LENGTH, f"list {number}")
        before = same_epoch.lists.get(number) if same_epoch is not None else None
        refusal = _step_back(before, snapshot) if before is not None else None
        if refusal is not None:
            return refusal
        adopted[number] = StatusList(snapshot.seq, length, snapshot.packed)
    seq = min(one.seq for one in adopted.values())
    if same_epoch is not None and seq < same_epoch.seq:
        return Refused(Reason.OLDER, f"seq {seq} after {same_epoch.seq}")
    return StatusState(epoch, seq, adopted, same_epoch.heard_s if same_epoch is not None else 0)


def apply_event(state: StatusState, event: Event) -> StatusState | Refused:
    """Apply the next event. Refused: another epoch, a replay, a gap, an unknown card, a revocation taken back."""
    if event.epoch != state.epoch:
        return Refused(Reason.WRONG_EPOCH, f"epoch {event.epoch}, state has {state.epoch}")
    if event.seq <= state.seq:
        return Refused(Reason.OLDER, f"event {event.seq} on state {state.seq}")
    if event.seq > state.seq + 1:
        return Refused(Reason.GAP, f"event {event.seq} on state {state.seq}")
    changed: dict[int, bytearray] = {}
    for entry in event.entries:
        one = state.lists.get(entry.list_number)
        if one is None:
            return Refused(Reason.UNKNOWN_LIST, f"list {entry.list_number}")
        if entry.index >= one.length:
            return Refused(Reason.BEYOND_END, f"list {entry.list_number} ends before {entry.index}")
        if one.seq >= event.seq:
            continue  # this list's snapshot was taken later and holds the change already
        packed = changed.setdefault(entry.list_number, bytearray(one.packed))
        if not _change(packed, entry):
            return Refused(Reason.TERMINAL_STATUS, f"list {entry.list_number} index {entry.index}")
    lists = dict(state.lists)
    for number, packed in changed.items():
        lists[number] = replace(lists[number], seq=event.seq, packed=bytes(packed))
    return StatusState(state.epoch, event.seq, lists, state.heard_s)


def apply_heartbeat(state: StatusState, beat: Heartbeat) -> StatusState | Refused:
    """Note a heartbeat: its time must exceed the last one. GAP says that events are missing: fetch them."""
    if beat.epoch != state.epoch:
        return Refused(Reason.WRONG_EPOCH, f"epoch {beat.epoch}, state has {state.epoch}")
    if beat.issued_s <= state.heard_s or beat.seq < state.seq:
        return Refused(Reason.OLDER, f"heartbeat seq {beat.seq} at {beat.issued_s}")
    if beat.seq > state.seq:
        return Refused(Reason.GAP, f"heartbeat seq {beat.seq}, state {state.seq}")
    return replace(state, heard_s=beat.issued_s)


def apply_fresh(state: StatusState, fresh: Fresh, nonce: bytes) -> StatusState | Refused:
    """Note the answer to the door's nonce: a new state proves that the feed ends where the state does."""
    if not hmac.compare_digest(fresh.nonce, nonce):
        return Refused(Reason.WRONG_NONCE, "fresh")
    if fresh.epoch != state.epoch:
        return Refused(Reason.WRONG_EPOCH, f"epoch {fresh.epoch}, state has {state.epoch}")
    if fresh.seq < state.seq:
        return Refused(Reason.OLDER, f"fresh seq {fresh.seq}, state {state.seq}")
    if fresh.seq > state.seq:
        return Refused(Reason.GAP, f"fresh seq {fresh.seq}, state {state.seq}")
    return replace(state, heard_s=max(state.heard_s, fresh.issued_s))


def _change(packed: bytearray, entry: Entry) -> bool:
    """Set one entry; False when the card is revoked and would become something else."""
    shift = 2 * (entry.index % ENTRIES_PER_BYTE)
    at = entry.index // ENTRIES_PER_BYTE
    if packed[at] >> shift & 3 == Status.REVOKED and entry.status is not Status.REVOKED:
        return False
    packed[at] = packed[at] & ~(3 << shift) | entry.status << shift
    return True


def _step_back(before: StatusList, snapshot: Snapshot) -> Refused | None:
    """Refuse a snapshot older than the list held, another one at the same place, or one with a revocation undone."""
    if snapshot.seq < before.seq:
        return Refused(Reason.OLDER, f"list {snapshot.number} seq {snapshot.seq} after {before.seq}")
    if snapshot.seq == before.seq and snapshot.packed != before.packed:
        return Refused(Reason.FORKED, f"list {snapshot.number}, two states at seq {before.seq}")
    if not _keeps_revocations(before.packed, snapshot.packed):
        return Refused(Reason.TERMINAL_STATUS, f"list {snapshot.number}")
    return None


def _keeps_revocations(before: bytes, after: bytes) -> bool:
    """Say whether each card REVOKED (01) before still is; on whole numbers, since a list may be a megabyte."""
    low = int.from_bytes(b"\x55" * len(before), "little")
    old = int.from_bytes(before, "little")
    new = int.from_bytes(after[: len(before)], "little")
    revoked_before = old & ~(old >> 1) & low
    revoked_after = new & ~(new >> 1) & low
    return revoked_before & ~revoked_after == 0
