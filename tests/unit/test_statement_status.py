"""The status feed (F6): messages, who may sign them, and the order in which they count."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_vectors import at, load, public_key, raw, rows, sign_with, trust_of

from cardlink.errors import Malformed
from cardlink.statements import status as wire
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.status import Entry, Event, Fresh, Heartbeat, Snapshot, Status, verify_feed_message
from cardlink.statements.status_state import (
    StatusState,
    adopt_snapshots,
    apply_event,
    apply_fresh,
    apply_heartbeat,
    pack,
    packed_bytes,
    read_entry,
    status_of,
)
from cardlink.statements.trust import ListEntry, Signer

FILE = load("status")
TRUST = trust_of(FILE)
NOW = at(FILE)
READ: dict[str, Any] = {
    "snapshot": wire.read_snapshot,
    "event": wire.read_event,
    "heartbeat": wire.read_heartbeat,
    "fresh": wire.read_fresh,
}
ISSUE: dict[str, Any] = {
    "snapshot": wire.issue_snapshot,
    "event": wire.issue_event,
    "heartbeat": wire.issue_heartbeat,
    "fresh": wire.issue_fresh,
}
KID = bytes(8)
LISTS = {1: ListEntry(1, 1000, KID), 2: ListEntry(2, 64, KID)}


@rows("status", "good")
def test_a_message_of_the_feed_is_verified(row: dict[str, str]) -> None:
    received = READ[row["kind"]](raw(row))
    assert isinstance(verify_feed_message(received, TRUST, NOW), Signer)
    made = ISSUE[row["kind"]](received.value, public_key("status").kid(), sign_with("status"))
    assert READ[row["kind"]](made).value == received.value


@rows("status", "bad")
def test_a_message_of_the_feed_is_refused_for_its_reason(row: dict[str, Any]) -> None:
    if row["refusal"] == "malformed":
        with pytest.raises(Malformed, match=row["why"]):
            READ[row["kind"]](raw(row))
        return
    refused = verify_feed_message(READ[row["kind"]](raw(row)), TRUST, at(row) if "now" in row else NOW)
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]


def test_entries_are_packed_from_the_low_bits_up_as_in_the_draft() -> None:
    example = FILE["packed"]
    statuses = {index: Status(value) for index, value in enumerate(example["statuses"])}
    assert pack(len(statuses), statuses).hex() == example["raw"]
    for index, status in statuses.items():
        assert read_entry(bytes.fromhex(example["raw"]), index) is status


def _snapshot(number: int = 1, seq: int = 10, epoch: int = 1, **entries: Status) -> Snapshot:
    listed = {int(name[1:]): status for name, status in entries.items()}
    return Snapshot("G09", number, 2_000, 1_000, 60, epoch, seq, pack(LISTS[number].length, listed))


def _state(seq: int = 10, **entries: Status) -> StatusState:
    state = adopt_snapshots(None, [_snapshot(1, seq, **entries), _snapshot(2, seq)], LISTS)
    assert isinstance(state, StatusState)
    return state


def _event(seq: int, *entries: tuple[int, int, Status], epoch: int = 1) -> Event:
    return Event("G09", 1_000, epoch, seq, tuple(Entry(*entry) for entry in entries))


def _reason(result: object) -> Reason:
    assert isinstance(result, Refused)
    return result.reason


def test_events_change_the_cards_that_they_name() -> None:
    state: Any = _state(c5=Status.SUSPENDED)
    state = apply_event(state, _event(11, (1, 423, Status.STOLEN), (2, 63, Status.REVOKED), (1, 5, Status.VALID)))
    assert state.seq == 11
    assert [status_of(state, *place) for place in ((1, 423), (2, 63), (1, 5), (1, 424))] == [
        Status.STOLEN,
        Status.REVOKED,
        Status.VALID,
        Status.VALID,
    ]


def test_a_status_outside_the_lists_is_refused() -> None:
    assert _reason(status_of(_state(), 3, 0)) is Reason.UNKNOWN_LIST
    assert _reason(status_of(_state(), 2, 64)) is Reason.BEYOND_END


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (_event(10, (1, 1, Status.SUSPENDED)), Reason.OLDER),
        (_event(9, (1, 1, Status.SUSPENDED)), Reason.OLDER),
        (_event(12, (1, 1, Status.SUSPENDED)), Reason.GAP),
        (_event(11, (1, 1, Status.SUSPENDED), epoch=2), Reason.WRONG_EPOCH),
        (_event(11, (1, 1, Status.SUSPENDED), epoch=0), Reason.WRONG_EPOCH),
        (_event(11, (3, 1, Status.SUSPENDED)), Reason.UNKNOWN_LIST),
        (_event(11, (2, 64, Status.SUSPENDED)), Reason.BEYOND_END),
        (_event(11, (1, 7, Status.VALID)), Reason.TERMINAL_STATUS),
        (_event(11, (1, 7, Status.SUSPENDED)), Reason.TERMINAL_STATUS),
        (_event(11, (1, 7, Status.STOLEN)), Reason.TERMINAL_STATUS),
        (_event(11, (1, 1, Status.SUSPENDED), (1, 7, Status.VALID)), Reason.TERMINAL_STATUS),
    ],
)
def test_an_event_out_of_order_is_refused_and_changes_nothing(event: Event, reason: Reason) -> None:
    state = _state(c7=Status.REVOKED)
    before = {number: one.packed for number, one in state.lists.items()}
    assert _reason(apply_event(state, event)) is reason
    assert {number: one.packed for number, one in state.lists.items()} == before


def test_a_revoked_card_may_be_revoked_again() -> None:
    state = apply_event(_state(c7=Status.REVOKED), _event(11, (1, 7, Status.REVOKED)))
    assert isinstance(state, StatusState)


def test_snapshots_at_different_places_are_brought_together_by_events() -> None:
    """List 2 was fetched at 12, after event 12 revoked its card 3; events 11 and 12 are replayed for list 1."""
    state: Any = adopt_snapshots(None, [_snapshot(1, 10), _snapshot(2, 12, c3=Status.REVOKED)], LISTS)
    assert state.seq == 10
    state = apply_event(state, _event(11, (2, 3, Status.SUSPENDED), (1, 1, Status.SUSPENDED)))
    assert status_of(state, 2, 3) is Status.REVOKED
    state = apply_event(state, _event(12, (2, 3, Status.REVOKED)))
    state = apply_event(state, _event(13, (2, 4, Status.STOLEN)))
    assert [status_of(state, *place) for place in ((1, 1), (2, 3), (2, 4))] == [
        Status.SUSPENDED,
        Status.REVOKED,
        Status.STOLEN,
    ]


@pytest.mark.parametrize(
    ("snapshots", "reason"),
    [
        ([_snapshot(1, 10)], Reason.UNKNOWN_LIST),
        ([_snapshot(1, 10), _snapshot(1, 10)], Reason.UNKNOWN_LIST),
        ([], Reason.UNKNOWN_LIST),
        ([_snapshot(1, 10), _snapshot(2, 10, epoch=2)], Reason.WRONG_EPOCH),
        ([_snapshot(1, 10, epoch=0), _snapshot(2, 10, epoch=0)], Reason.OLDER),
        ([_snapshot(1, 9, c7=Status.REVOKED), _snapshot(2, 10)], Reason.OLDER),
        ([_snapshot(1, 10), _snapshot(2, 10)], Reason.FORKED),
        ([_snapshot(1, 11), _snapshot(2, 11)], Reason.TERMINAL_STATUS),
        ([_snapshot(1, 11, c7=Status.STOLEN), _snapshot(2, 11)], Reason.TERMINAL_STATUS),
        ([replace(_snapshot(1, 11), packed=bytes(251)), _snapshot(2, 11)], Reason.WRONG_LIST_LENGTH),
    ],
)
def test_snapshots_that_step_back_are_refused(snapshots: list[Snapshot], reason: Reason) -> None:
    assert _reason(adopt_snapshots(_state(c7=Status.REVOKED), snapshots, LISTS)) is reason


def test_later_snapshots_are_adopted() -> None:
    later = [_snapshot(1, 11, c7=Status.REVOKED, c8=Status.SUSPENDED), _snapshot(2, 11)]
    state = adopt_snapshots(_state(c7=Status.REVOKED), later, LISTS)
    assert isinstance(state, StatusState)
    assert status_of(state, 1, 8) is Status.SUSPENDED


def test_a_new_epoch_starts_afresh() -> None:
    state = adopt_snapshots(_state(c7=Status.REVOKED), [_snapshot(1, 0, epoch=2), _snapshot(2, 0, epoch=2)], LISTS)
    assert isinstance(state, StatusState)
    assert (state.epoch, state.seq) == (2, 0)


def test_a_heartbeat_must_be_newer_than_the_last() -> None:
    state: Any = apply_heartbeat(_state(), Heartbeat("G09", 1_000, 1, 10))
    assert state.heard_s == 1_000
    assert _reason(apply_heartbeat(state, Heartbeat("G09", 1_000, 1, 10))) is Reason.OLDER
    assert _reason(apply_heartbeat(state, Heartbeat("G09", 1_005, 1, 9))) is Reason.OLDER
    assert _reason(apply_heartbeat(state, Heartbeat("G09", 1_005, 1, 11))) is Reason.GAP
    assert _reason(apply_heartbeat(state, Heartbeat("G09", 1_005, 2, 10))) is Reason.WRONG_EPOCH


def test_only_the_answer_to_the_own_nonce_is_fresh() -> None:
    nonce, state = bytes(range(16)), _state()
    fresh = Fresh("G09", 1_000, 1, 10, nonce)
    assert isinstance(apply_fresh(state, fresh, nonce), StatusState)
    assert _reason(apply_fresh(state, fresh, bytes(16))) is Reason.WRONG_NONCE
    assert _reason(apply_fresh(state, replace(fresh, seq=11), nonce)) is Reason.GAP
    assert _reason(apply_fresh(state, replace(fresh, seq=9), nonce)) is Reason.OLDER
    assert _reason(apply_fresh(state, replace(fresh, epoch=2), nonce)) is Reason.WRONG_EPOCH


@given(st.dictionaries(st.integers(0, 99), st.sampled_from(Status)), st.integers(0, 99), st.sampled_from(Status))
def test_a_revocation_is_never_lost(before: dict[int, Status], index: int, status: Status) -> None:
    lists = {1: ListEntry(1, 100, KID)}
    held = adopt_snapshots(None, [Snapshot("G09", 1, 2, 1, 0, 1, 5, pack(100, before))], lists)
    assert isinstance(held, StatusState)
    after = {**before, index: status}
    adopted = adopt_snapshots(held, [Snapshot("G09", 1, 2, 1, 0, 1, 6, pack(100, after))], lists)
    applied = apply_event(held, _event(6, (1, index, status)))
    if before.get(index) is Status.REVOKED and status is not Status.REVOKED:
        assert _reason(adopted) is _reason(applied) is Reason.TERMINAL_STATUS
    else:
        assert isinstance(adopted, StatusState)
        assert isinstance(applied, StatusState)
        assert adopted.lists[1].packed == applied.lists[1].packed


def test_the_largest_list_takes_events_to_its_end() -> None:
    lists = {1: ListEntry(1, 1 << 22, KID)}
    state: Any = adopt_snapshots(None, [Snapshot("G09", 1, 2, 1, 0, 1, 0, bytes(packed_bytes(1 << 22)))], lists)
    for seq in range(1, 11):
        state = apply_event(state, _event(seq, (1, (1 << 22) - seq, Status.SUSPENDED)))
    assert status_of(state, 1, (1 << 22) - 10) is Status.SUSPENDED
