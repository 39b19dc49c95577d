"""Each reason that a door itself has for staying shut, and the grants beside it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from door_cards import uuid4
from door_world import ALWAYS, DAY_S, NOON, OFFICE, OWNER, STRANGER, VISITOR, World

from cardlink.check.card import StatusPlace, VerifiedCard
from cardlink.statements.bundle import Bundle, Calendar, HolderCard, Mechanism, Rule
from cardlink.statements.record import ClockQuality
from cardlink.statements.refusal import Reason
from cardlink.statements.status import Status
from cardlink.statements.status_state import StatusList, StatusState, pack
from cardlink.statements.trust import Trust, reload_trust_list
from reader_daemon.decide import Granted, Refused, decide
from reader_daemon.reasons import ALARMS, TEXTS, AnyReason, DoorReason, text
from reader_daemon.rules import compile_rules
from reader_daemon.view import View

WORLD = World()
TRUST = reload_trust_list(WORLD.issue_trust())
assert isinstance(TRUST, Trust)
UUID, KEY_HASH = uuid4(), bytes(range(16))
CARD = VerifiedCard(Mechanism.CREDENTIAL, OWNER, UUID, KEY_HASH, WORLD.now_s + DAY_S, StatusPlace(1, 7))
HOLDER = (HolderCard(UUID, KEY_HASH),)
NAMED = Rule(1, True, (0,), (), 1)


def view_of(bundle: Bundle | None, card_status: Status = Status.VALID, /, **changes: object) -> View:
    state = StatusState(1, 5, {1: StatusList(5, 100, pack(100, {7: card_status}))})
    view = View(
        trust=TRUST if isinstance(TRUST, Trust) else None,
        status=state,
        status_expires_s=WORLD.now_s + 30 * DAY_S,
        rules=compile_rules(bundle) if bundle is not None else None,
        fresh_at_s=0.0,
    )
    return replace(view, **changes)  # type: ignore[arg-type]  # the names come from a test's own words


def bundle_of(*rules: Rule, **changes: object) -> Bundle:
    return WORLD.rules(*rules, holders=(HOLDER,), **changes)


def ask(
    view: View,
    card: VerifiedCard = CARD,
    now: datetime = NOON,
    quality: ClockQuality = ClockQuality.OWN,
    stale_s: float = 10.0,
) -> AnyReason | str:
    answer = decide(card, view, now, quality, stale_s)
    return answer.reason if isinstance(answer, Refused) else "granted"


def test_a_holder_with_a_rule_is_let_in() -> None:
    answer = decide(CARD, view_of(bundle_of(NAMED)), NOON, ClockQuality.OWN, 10.0)
    assert answer == Granted(UUID, 1, 3000)


@pytest.mark.parametrize(
    ("status", "want"),
    [
        (Status.REVOKED, DoorReason.REVOKED),
        (Status.SUSPENDED, DoorReason.SUSPENDED),
        (Status.STOLEN, DoorReason.STOLEN),
    ],
)
def test_status_comes_before_rules(status: Status, want: DoorReason) -> None:
    assert ask(view_of(bundle_of(NAMED), status)) is want
    assert ask(view_of(WORLD.rules(), status)) is want  # also where the card has no business


def test_a_stolen_card_is_an_alarm_and_a_revoked_one_is_not() -> None:
    assert DoorReason.STOLEN in ALARMS
    assert DoorReason.REVOKED not in ALARMS


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ({"trust": None}, DoorReason.NO_TRUST),
        ({"rules": None}, DoorReason.NO_BUNDLE),
        ({"rules": None, "no_rules": DoorReason.ZONE_MISSING}, DoorReason.ZONE_MISSING),
        ({"status": None}, DoorReason.NO_STATUS),
        ({"status": None, "no_status": DoorReason.STATUS_EXPIRED}, DoorReason.STATUS_EXPIRED),
        ({"status_expires_s": WORLD.now_s - 1}, DoorReason.STATUS_EXPIRED),
    ],
)
def test_a_door_that_lacks_something_says_what(changes: dict[str, object], want: DoorReason) -> None:
    assert ask(view_of(bundle_of(NAMED), **changes)) is want


def test_a_bundle_counts_only_in_its_time() -> None:
    view = view_of(bundle_of(NAMED))
    assert ask(view, now=NOON + timedelta(days=31)) is DoorReason.BUNDLE_EXPIRED
    assert ask(view, now=NOON - timedelta(days=2)) is DoorReason.BUNDLE_NOT_YET_VALID


def test_a_lost_clock_lets_nobody_in() -> None:
    assert ask(view_of(bundle_of(NAMED)), quality=ClockQuality.LOST) is DoorReason.CLOCK_LOST


def test_a_stale_door_flags_and_later_denies() -> None:
    view = view_of(bundle_of(NAMED))
    answer = decide(CARD, view, NOON, ClockQuality.OWN, 3601.0)
    assert isinstance(answer, Granted)
    assert answer.is_stale
    assert ask(view, stale_s=DAY_S + 1.0) is DoorReason.STALE
    assert ask(view, stale_s=float("inf")) is DoorReason.STALE


def test_a_status_list_that_the_door_lacks_and_an_index_beyond_its_end_are_refused() -> None:
    view = view_of(bundle_of(NAMED))
    assert ask(view, replace(CARD, status=StatusPlace(2, 7))) is Reason.UNKNOWN_LIST
    assert ask(view, replace(CARD, status=StatusPlace(1, 100))) is Reason.BEYOND_END


def test_a_known_number_with_another_key_is_an_alarm_even_where_its_agency_may_enter() -> None:
    view = view_of(bundle_of(NAMED, Rule(2, True, (), (OWNER, VISITOR), 1)))
    other_key = replace(CARD, key_hash=bytes(16))
    assert ask(view, other_key) is DoorReason.KEY_HASH_MISMATCH
    assert ask(view, replace(other_key, agency=VISITOR)) is DoorReason.KEY_HASH_MISMATCH
    assert DoorReason.KEY_HASH_MISMATCH in ALARMS


def test_a_rule_for_an_agency_lets_its_visitors_in_and_nobody_elses() -> None:
    view = view_of(bundle_of(Rule(2, True, (), (VISITOR,), 1)))
    visitor = replace(CARD, card_uuid=uuid4(), agency=VISITOR)
    assert ask(view, visitor) == "granted"
    assert ask(view, replace(visitor, agency=f"{VISITOR}.01")) == "granted"
    assert ask(view, replace(visitor, agency="G0")) is DoorReason.NOT_THIS_AGENCY
    assert ask(view, replace(visitor, agency=STRANGER)) is DoorReason.NOT_THIS_AGENCY


def test_who_has_no_rule_is_told_apart_from_who_is_unknown() -> None:
    assert ask(view_of(bundle_of())) is DoorReason.NO_RULE
    assert ask(view_of(bundle_of()), replace(CARD, card_uuid=uuid4())) is DoorReason.UNKNOWN_CARD


def test_deny_beats_allow_whatever_their_order() -> None:
    deny = Rule(2, False, (0,), (), 1)
    assert ask(view_of(bundle_of(NAMED, deny))) is DoorReason.DENIED
    assert ask(view_of(bundle_of(deny, NAMED))) is DoorReason.DENIED
    by_agency = Rule(3, False, (), (OWNER,), 1)
    assert ask(view_of(bundle_of(NAMED, by_agency))) is DoorReason.DENIED


def test_a_deny_rule_counts_only_in_its_calendar() -> None:
    night = Calendar((((0, 360),),) * 7, {})
    bundle = bundle_of(NAMED, Rule(2, False, (0,), (), 3), calendars={1: ALWAYS, 3: night})
    assert ask(view_of(bundle)) == "granted"
    assert ask(view_of(bundle), now=datetime(2026, 9, 1, 20, tzinfo=UTC)) is DoorReason.DENIED  # 03:00 in Hà Nội


def test_only_deny_rules_give_no_access() -> None:
    night = Calendar((((0, 360),),) * 7, {})
    bundle = bundle_of(Rule(2, False, (0,), (), 3), calendars={1: ALWAYS, 3: night})
    assert ask(view_of(bundle)) is DoorReason.NO_RULE


@pytest.mark.parametrize(
    ("hanoi", "want"),
    [
        (datetime(2026, 9, 1, 7, 29, tzinfo=UTC), DoorReason.OUTSIDE_CALENDAR),
        (datetime(2026, 9, 1, 7, 30, tzinfo=UTC), "granted"),
        (datetime(2026, 9, 1, 12, 0, tzinfo=UTC), DoorReason.OUTSIDE_CALENDAR),
        (datetime(2026, 9, 1, 16, 59, tzinfo=UTC), "granted"),
        (datetime(2026, 9, 2, 9, 0, tzinfo=UTC), DoorReason.OUTSIDE_CALENDAR),  # National Day
        (datetime(2026, 9, 5, 9, 0, tzinfo=UTC), DoorReason.OUTSIDE_CALENDAR),  # Saturday
    ],
)
def test_office_hours_are_those_of_the_doors_zone(hanoi: datetime, want: object) -> None:
    now = hanoi - timedelta(hours=7)  # written as the clock on the wall shows it
    view = view_of(bundle_of(Rule(1, True, (0,), (), 2), calendars={2: OFFICE}))
    assert ask(view, now=now) == want


def test_a_rule_has_its_own_time() -> None:
    later = Rule(1, True, (0,), (), 1, WORLD.now_s + 60, WORLD.now_s + 120)
    view = view_of(bundle_of(later))
    assert ask(view) is DoorReason.RULE_NOT_IN_FORCE
    assert ask(view, now=NOON + timedelta(seconds=60)) == "granted"
    assert ask(view, now=NOON + timedelta(seconds=120)) is DoorReason.RULE_NOT_IN_FORCE


def test_a_rule_that_demands_a_mechanism_wants_that_one() -> None:
    view = view_of(bundle_of(Rule(1, True, (0,), (), 1, demands=(4,))))
    assert ask(view) is DoorReason.DEMANDS_MORE
    assert ask(view, replace(CARD, mechanism=Mechanism.PKI_AUTH_PIN)) == "granted"


def test_a_card_without_a_status_needs_a_rule_that_names_its_holder() -> None:
    by_certificate = replace(CARD, mechanism=Mechanism.PKI_CAK, status=None)
    assert ask(view_of(bundle_of(NAMED)), by_certificate) == "granted"
    assert ask(view_of(bundle_of(Rule(2, True, (), (OWNER,), 1))), by_certificate) is DoorReason.NO_RULE
    deny = Rule(2, False, (), (OWNER,), 1)
    assert ask(view_of(bundle_of(NAMED, deny)), by_certificate) is DoorReason.DENIED


def test_every_reason_has_its_texts() -> None:
    for reason in (*Reason, *DoorReason):
        vietnamese, english = TEXTS[reason]
        assert vietnamese
        assert english
        assert text(reason) == vietnamese
        assert text(reason, "en") == english
    assert len({str(one) for one in (*Reason, *DoorReason)}) == len(Reason) + len(DoorReason)
