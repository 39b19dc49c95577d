"""What the feed's channel can try: forged, foreign, old, reordered statements."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from door_cards import Key, uuid4
from door_place import Place, why
from door_world import DAY_S, OWNER, VISITOR, Machine, World

from cardlink.statements.refusal import Reason
from cardlink.statements.status import Status
from cardlink.statements.trust import ListEntry, Use
from reader_daemon.clock import MAX_STEP_S
from reader_daemon.reasons import DoorReason


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.door.close()


# -- status ------------------------------------------------------------------------------------------------------


def test_events_apply_in_order_only(place: Place) -> None:
    first, second, third = (place.world.set_status(index, Status.SUSPENDED) for index in (10, 11, 12))
    state = place.door.state
    assert why(state.take_event(second)) is Reason.GAP
    assert state.take_event(first) is None
    assert why(state.take_event(third)) is Reason.GAP
    assert state.take_event(second) is None
    assert state.take_event(third) is None
    assert state.view.status is not None
    assert state.view.status.seq == 3


def test_the_same_event_again_is_no_alarm_and_another_under_its_number_is(place: Place) -> None:
    event = place.world.set_status(10, Status.SUSPENDED)
    assert place.door.state.take_event(event) is None
    assert why(place.door.state.take_event(event)) is Reason.OLDER
    assert place.door.alarms() == []
    place.world.seq -= 1
    assert why(place.door.state.take_event(place.world.set_status(11, Status.SUSPENDED))) is Reason.FORKED
    assert place.door.alarms() == ["forked"]


def test_a_revocation_cannot_be_taken_back(place: Place) -> None:
    assert place.door.state.take_event(place.world.set_status(place.card, Status.REVOKED)) is None
    assert why(place.door.state.take_event(place.world.set_status(place.card, Status.VALID))) is Reason.TERMINAL_STATUS
    assert place.door.alarms() == ["terminal-status"]
    assert place.door.tap(place.card).said == "revoked"


def test_a_snapshot_cannot_take_a_revocation_back_either(place: Place) -> None:
    assert place.door.state.take_event(place.world.set_status(place.card, Status.REVOKED)) is None
    place.world.statuses.clear()
    place.world.seq = 9
    assert why(place.door.state.take_snapshots([place.world.snapshot()], [])) is Reason.TERMINAL_STATUS
    assert place.door.tap(place.card).said == "revoked"


@pytest.mark.parametrize(
    ("signer", "want"), [("unknown", Reason.WRONG_LIST_SIGNER), ("card", Reason.WRONG_LIST_SIGNER)]
)
def test_an_event_by_any_other_key_is_refused(place: Place, signer: str, want: Reason) -> None:
    key = Key() if signer == "unknown" else place.world.card
    assert why(place.door.state.take_event(place.world.set_status(10, Status.REVOKED, key))) is want
    assert place.door.alarms() == [str(want)]


def test_a_forged_event_is_refused_and_the_state_stays(place: Place) -> None:
    raw = bytearray(place.world.set_status(place.card, Status.REVOKED))
    raw[-1] ^= 1
    assert why(place.door.state.take_event(bytes(raw))) is Reason.FORGED_STATEMENT
    assert place.door.tap(place.card).said == "granted"


@pytest.mark.parametrize("raw", [b"", b"\xd2", bytes(2000), b"\xd2\x84" + b"\x9f" * 500])
def test_junk_is_malformed_wherever_it_comes_in(place: Place, raw: bytes) -> None:
    state = place.door.state
    assert why(state.take_event(raw)) is Reason.MALFORMED_STATEMENT
    assert why(state.take_heartbeat(raw)) is Reason.MALFORMED_STATEMENT
    assert why(state.take_fresh(raw, state.ask(bytes(16)))) is Reason.MALFORMED_STATEMENT
    assert why(state.take_trust(raw)) is Reason.MALFORMED_STATEMENT
    assert why(state.take_bundle(raw)) is Reason.MALFORMED_STATEMENT
    assert why(state.take_snapshots([raw], [])) is Reason.MALFORMED_STATEMENT
    assert place.door.tap(place.card).said == "granted"


def test_a_truncated_or_foreign_snapshot_is_refused(place: Place) -> None:
    state, world = place.door.state, place.world
    assert why(state.take_snapshots([world.snapshot(packed=bytes(10))], [])) is Reason.WRONG_LIST_LENGTH
    assert why(state.take_snapshots([world.snapshot(number=2)], [])) is Reason.UNKNOWN_LIST
    assert why(state.take_snapshots([world.snapshot(Key())], [])) is Reason.WRONG_LIST_SIGNER
    assert why(state.take_snapshots([world.snapshot(epoch=2)], [])) is Reason.WRONG_EPOCH
    assert why(state.take_snapshots([world.snapshot(expires_s=world.now_s - 1, issued_s=world.now_s - 9)], [])) is (
        Reason.EXPIRED
    )
    assert why(state.take_snapshots([], [])) is Reason.UNKNOWN_LIST


def test_an_older_snapshot_is_refused_and_the_newer_state_kept(place: Place) -> None:
    old = place.world.snapshot()
    place.door.state.take_event(place.world.set_status(place.card, Status.SUSPENDED))
    assert why(place.door.state.take_snapshots([old], [])) is Reason.OLDER
    assert place.door.tap(place.card).said == "suspended"
    assert place.door.state.take_snapshots([old], place.world.events) is None  # with the events after it, it is not old


def test_heartbeats_must_be_newer_than_the_last(place: Place) -> None:
    world, state = place.world, place.door.state
    beat = world.heartbeat(issued_s=world.now_s + 1)
    assert state.take_heartbeat(beat) is None
    assert why(state.take_heartbeat(beat)) is Reason.OLDER
    assert why(state.take_heartbeat(world.heartbeat(issued_s=world.now_s + 2, seq=7))) is Reason.GAP
    assert state.take_heartbeat(world.heartbeat(issued_s=world.now_s + 3)) is None


def test_only_the_answer_to_this_nonce_makes_fresh(place: Place) -> None:
    place.door.machine.run(100)
    world, state = place.world, place.door.state
    question = state.ask(b"n" * 16)
    assert why(state.take_fresh(world.fresh(bytes(16)), question)) is Reason.WRONG_NONCE
    assert why(state.take_fresh(world.fresh(b"n" * 16, seq=5), question)) is Reason.GAP
    assert state.stale_s() == pytest.approx(100, abs=1)
    assert state.take_fresh(world.fresh(b"n" * 16), question) is None
    assert state.stale_s() == pytest.approx(0, abs=1)


def test_an_answer_overtaken_by_an_event_counts_and_one_that_hides_an_event_is_an_alarm(place: Place) -> None:
    world, state = place.world, place.door.state
    question, answer = state.ask(bytes(16)), world.fresh(bytes(16))
    state.take_event(world.set_status(10, Status.SUSPENDED))
    assert state.take_fresh(answer, question) is None
    late = state.ask(b"n" * 16)
    assert why(state.take_fresh(world.fresh(b"n" * 16, seq=0), late)) is Reason.OLDER
    assert place.door.alarms() == ["older"]


def test_a_beat_that_an_event_overtook_is_late_and_a_beat_again_is_an_alarm(place: Place) -> None:
    world, state = place.world, place.door.state
    late = world.heartbeat(issued_s=world.now_s + 1)
    state.take_event(world.set_status(10, Status.SUSPENDED))
    assert why(state.take_heartbeat(late)) is Reason.OLDER
    assert place.door.alarms() == []
    beat = world.heartbeat(issued_s=world.now_s + 2)
    assert state.take_heartbeat(beat) is None
    assert why(state.take_heartbeat(beat)) is Reason.OLDER
    assert place.door.alarms() == ["older"]


def test_a_signed_time_far_ahead_moves_the_clock_five_minutes_a_step_and_raises_an_alarm(place: Place) -> None:
    world, state, clock = place.world, place.door.state, place.door.clock
    before_s = clock.now_s()
    assert state.take_heartbeat(world.heartbeat(issued_s=world.now_s + MAX_STEP_S - 1)) is None
    assert clock.now_s() == pytest.approx(before_s + MAX_STEP_S - 1, abs=1)
    assert place.door.alarms() == []
    goal_s = world.now_s + 10 * MAX_STEP_S
    assert state.take_heartbeat(world.heartbeat(issued_s=goal_s)) is None
    assert clock.now_s() == pytest.approx(before_s + 2 * MAX_STEP_S - 1, abs=1)
    for step in range(3, 11):
        assert why(state.take_fresh(world.fresh(bytes(16), issued_s=goal_s), state.ask(bytes(16)))) is (
            Reason.NOT_YET_VALID
        )
        assert clock.now_s() == pytest.approx(before_s + step * MAX_STEP_S - 1, abs=2)
    assert state.take_fresh(world.fresh(bytes(16), issued_s=goal_s), state.ask(bytes(16))) is None
    assert clock.now_s() == pytest.approx(goal_s, abs=1)
    assert "not-yet-valid" in place.door.alarms()


def test_a_clock_years_ahead_is_taken_back_by_an_answer_to_a_nonce(place: Place) -> None:
    machine = Machine(place.world.now)
    machine.run(800 * DAY_S)
    door = place.restart(machine)
    assert not door.tap(place.card).opened
    nonce = b"n" * 16
    assert why(door.state.take_fresh(place.world.fresh(nonce), door.state.ask(nonce))) is Reason.GAP
    assert door.clock.now_s() == pytest.approx(place.world.now_s, abs=1)
    assert door.state.take_trust(place.world.issue_trust(place.world.trust_list(2))) is None
    assert door.state.take_bundle(place.world.issue_rules(place.world.everybody(place.card))) is None
    assert door.state.take_snapshots([place.world.snapshot()], []) is None
    door.freshen()
    assert door.tap(place.card).said == "granted"


def test_a_lost_clock_hears_the_time_from_a_newer_trust_list_when_the_old_one_has_run_out(place: Place) -> None:
    machine = Machine(place.world.now)
    machine.wall_s = 0.0
    door = place.restart(machine)
    assert door.tap(place.card).said == DoorReason.CLOCK_LOST
    place.world.now += timedelta(days=25)  # the door was off for so long
    assert door.state.take_trust(place.world.issue_trust(place.world.trust_list(2))) is None
    assert door.tap(place.card).said == DoorReason.CLOCK_LOST
    nonce = b"n" * 16
    refusal = door.state.take_fresh(place.world.fresh(nonce), door.state.ask(nonce))
    assert refusal is None or refusal.reason is Reason.GAP
    assert door.clock.now_s() == pytest.approx(place.world.now_s, abs=1)
    assert door.state.take_snapshots([place.world.snapshot()], []) is None
    assert door.state.take_bundle(place.world.issue_rules(place.world.everybody(place.card))) is None
    door.freshen()
    assert door.tap(place.card).said == "granted"


# -- bundle and trust list ---------------------------------------------------------------------------------------


def test_a_bundle_of_another_owner_or_door_or_number_is_refused(place: Place) -> None:
    world, state = place.world, place.door.state
    foreign = replace(place.bundle, owner=VISITOR, seq=9)
    assert why(state.take_bundle(world.issue_rules(foreign, world.visitor_bundle))) is Reason.WRONG_OWNER
    assert why(state.take_bundle(world.issue_rules(replace(place.bundle, seq=9), world.visitor_bundle))) is (
        Reason.OUT_OF_SCOPE
    )
    elsewhere = replace(place.bundle, door_uuid=uuid4(), seq=9)
    assert why(state.take_bundle(world.issue_rules(elsewhere))) is Reason.WRONG_DOOR
    assert why(state.take_bundle(world.issue_rules(replace(place.bundle, seq=0)))) is Reason.OLDER
    assert why(state.take_bundle(world.issue_rules(replace(place.bundle, rules=())))) is Reason.FORKED
    assert why(state.take_bundle(world.issue_rules(replace(place.bundle, seq=9), world.card))) is Reason.WRONG_USE
    assert place.door.tap(place.card).said == "granted"


def test_a_newer_bundle_takes_effect_at_once(place: Place) -> None:
    assert place.door.state.take_bundle(place.world.issue_rules(place.world.rules())) is None
    assert place.door.tap(place.card).said == DoorReason.UNKNOWN_CARD


def test_a_bundle_with_a_zone_that_this_machine_lacks_says_so(place: Place) -> None:
    settings = replace(place.bundle.settings, time_zone="Asia/Nowhere")
    bundle = replace(place.world.everybody(place.card), settings=settings)
    assert place.door.state.take_bundle(place.world.issue_rules(bundle)) is None
    assert place.door.tap(place.card).said == DoorReason.ZONE_MISSING


def test_a_trust_list_needs_the_roots_of_the_one_before(place: Place) -> None:
    world, state = place.world, place.door.state
    stranger = Key()
    own_roots = replace(world.trust_list(2), roots=replace(world.trust_list().roots, keys=(stranger.cose,)))
    assert why(state.take_trust(world.issue_trust(own_roots, stranger))) is Reason.THRESHOLD_NOT_MET
    assert why(state.take_trust(world.issue_trust(world.trust_list(0)))) is Reason.OLDER
    other = replace(world.trust_list(1), keys=world.trust_list(1).keys[:-1])
    assert why(state.take_trust(world.issue_trust(other))) is Reason.FORKED
    raw = bytearray(world.issue_trust(world.trust_list(2)))
    raw[-1] ^= 1
    assert why(state.take_trust(bytes(raw))) is Reason.FORGED_STATEMENT
    assert state.take_trust(world.issue_trust(world.trust_list(2))) is None


def test_a_first_trust_list_must_be_signed_by_the_pinned_roots(tmp_path: Path) -> None:
    world, other = World(), World()
    door = world.open_door(world.install(tmp_path / "door"))
    assert why(door.state.take_trust(other.issue_trust())) is Reason.THRESHOLD_NOT_MET
    assert door.state.take_trust(world.issue_trust()) is None
    door.close()


def test_a_new_list_in_the_trust_list_leaves_the_status_of_the_old_one_in_force(place: Place) -> None:
    content = place.world.trust_list(2)
    more = replace(content, lists=(*content.lists, ListEntry(2, 100, place.world.status.kid)))
    assert place.door.state.take_trust(place.world.issue_trust(more)) is None
    assert place.door.tap(place.card).said == "granted"


def test_what_a_compromised_status_signer_said_no_longer_counts(place: Place) -> None:
    content, new = place.world.trust_list(2), Key()
    keys = tuple(one for one in content.keys if one.use is not Use.STATUS)
    entry = place.world.entry(new, Use.STATUS, OWNER)
    changed = replace(content, keys=(*keys, entry), lists=(ListEntry(1, 1000, new.kid),))
    assert place.door.state.take_trust(place.world.issue_trust(changed)) is None
    assert place.door.tap(place.card).said == DoorReason.NO_STATUS
    assert place.door.state.take_snapshots([place.world.snapshot(new)], []) is None
    assert place.door.tap(place.card).said == "granted"
