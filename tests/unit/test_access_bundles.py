"""Rules and the signed bundles made of them."""

import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from access_office import DOOR_ADMIN, NOW, OWNER, STRANGER, VISITOR, add_card, add_door, add_person, furnish
from empty_database import open_empty
from signing_keys import LocalKeys
from sqlalchemy.orm import Session

from cardlink.statements.bundle import Bundle, HolderCard, read_bundle
from cardlink.statements.cose import verify_sign1
from issuer import database, outbox
from issuer.access import bundles, rules
from issuer.access.rules import Effect, RulePlan
from issuer.access.tables import Door
from issuer.errors import Conflict, Forbidden, NotFound, Refused
from issuer.trust import status


@pytest.fixture
def keys() -> LocalKeys:
    return LocalKeys()


@pytest.fixture
def session(tmp_path: Path, keys: LocalKeys) -> Iterator[Session]:
    opened = open_empty(tmp_path / "centre.db")
    with database.transaction(database.session_factory(opened)) as session:
        furnish(session, keys)
        yield session
    opened.dispose()


def allow(session: Session, door: Door, *people: uuid.UUID, agencies: tuple[str, ...] = ()) -> int:
    plan = RulePlan(Effect.ALLOW, people=people, agencies=agencies)
    return rules.add(session, DOOR_ADMIN, door.id, plan, NOW).id


def published(session: Session, keys: LocalKeys, door: Door) -> Bundle:
    bundles.publish(session, keys, door.id, NOW)
    return read_bundle(bundles.current(session, door.id)[1]).value


def test_a_bundle_holds_the_people_of_its_rules_with_their_live_cards(session: Session, keys: LocalKeys) -> None:
    door, person, other = add_door(session), add_person(session, 1), add_person(session, 2)
    card = add_card(session, person)
    blocked = add_card(session, person, "suspended")
    add_card(session, person, "revoked")
    add_card(session, person, "encoded")
    add_card(session, other)
    allow(session, door, person)
    made = published(session, keys, door)
    assert {one.card_uuid for one in made.holders[0]} == {card.uuid.bytes, blocked.uuid.bytes}
    assert HolderCard(card.uuid.bytes, card.id.bytes) in made.holders[0]
    assert len(made.holders) == 1
    assert made.rules[0].holders == (0,)
    assert made.rules[0].allows
    assert (made.owner, made.door_uuid, made.epoch, made.seq) == (OWNER, door.id.bytes, 1, 1)
    assert len(made.calendars[made.rules[0].calendar].week) == 7


def test_a_bundle_is_signed_by_the_owner_and_put_into_the_outbox(session: Session, keys: LocalKeys) -> None:
    door = add_door(session)
    assert bundles.publish(session, keys, door.id, NOW) == bundles.Published(1, is_new=True)
    seq, body = bundles.current(session, door.id)
    received = read_bundle(body)
    assert verify_sign1(received.statement, keys.cose_key(f"bundle-{OWNER}-1").public_key())
    (row,) = outbox.after(session, 0)
    assert (row.kind, row.key, row.body, seq) == ("bundle", f"{door.id} 1", body, 1)


def test_a_bundle_that_says_nothing_new_is_not_made_again(session: Session, keys: LocalKeys) -> None:
    door = add_door(session)
    bundles.publish(session, keys, door.id, NOW)
    again = bundles.publish(session, keys, door.id, NOW + timedelta(days=1))
    assert again == bundles.Published(1, is_new=False)
    late = bundles.publish(session, keys, door.id, NOW + bundles.LIFE - bundles.RENEW_WITHIN)
    assert late == bundles.Published(2, is_new=True)


def test_rules_and_cards_that_change_make_a_new_bundle(session: Session, keys: LocalKeys) -> None:
    door, person = add_door(session), add_person(session, 1)
    rule = allow(session, door, person, agencies=(VISITOR,))
    assert published(session, keys, door).seq == 1
    card = add_card(session, person)
    assert bundles.person_changed(session, keys, person, NOW) == 1
    assert bundles.person_changed(session, keys, person, NOW) == 0
    made = published(session, keys, door)
    assert (made.seq, len(made.holders)) == (2, 1)
    card.state = "revoked"
    assert bundles.person_changed(session, keys, person, NOW) == 1
    assert published(session, keys, door).holders == ()
    assert rules.remove(session, DOOR_ADMIN, rule, NOW) == door.id
    assert published(session, keys, door).rules == ()


def test_a_suspended_card_stays_in_the_bundle_because_status_decides(session: Session, keys: LocalKeys) -> None:
    door, person = add_door(session), add_person(session, 1)
    card = add_card(session, person)
    allow(session, door, person)
    bundles.publish(session, keys, door.id, NOW)
    card.state = "lost"
    assert bundles.person_changed(session, keys, person, NOW) == 0


def test_a_plastic_card_stands_in_no_bundle(session: Session, keys: LocalKeys) -> None:
    door, person = add_door(session), add_person(session, 1)
    add_card(session, person, form="plastic")
    allow(session, door, person)
    made = published(session, keys, door)
    assert (made.holders, made.rules) == ((), ())


def test_an_expired_card_stands_in_no_bundle(session: Session, keys: LocalKeys) -> None:
    door, person = add_door(session), add_person(session, 1)
    add_card(session, person).expires_on = NOW.date() - timedelta(days=1)
    allow(session, door, person)
    assert published(session, keys, door).holders == ()


def test_visitors_come_in_by_the_prefix_of_their_agency(session: Session, keys: LocalKeys) -> None:
    door = add_door(session)
    allow(session, door, agencies=(VISITOR,))
    made = published(session, keys, door)
    assert made.rules[0].agencies == (VISITOR,)
    assert made.holders == ()


def test_a_deny_rule_and_its_interval_are_carried(session: Session, keys: LocalKeys) -> None:
    door, person = add_door(session), add_person(session, 1)
    add_card(session, person)
    until = NOW + timedelta(days=2)
    plan = RulePlan(Effect.DENY, people=(person,), valid_from=NOW, valid_until=until)
    rules.add(session, DOOR_ADMIN, door.id, plan, NOW)
    (rule,) = published(session, keys, door).rules
    assert (rule.allows, rule.from_s, rule.until_s) == (False, NOW.timestamp(), until.timestamp())


def test_a_calendar_of_ones_own_is_carried(session: Session, keys: LocalKeys) -> None:
    door, person = add_door(session), add_person(session, 1)
    add_card(session, person)
    office = [[(450, 690), (780, 1020)]] * 5 + [[], []]
    rules.add_calendar(session, DOOR_ADMIN, OWNER, "giờ hành chính", office, {date(2026, 4, 30): []}, NOW)
    plan = RulePlan(Effect.ALLOW, people=(person,), calendar="giờ hành chính")
    rules.add(session, DOOR_ADMIN, door.id, plan, NOW)
    made = published(session, keys, door)
    (calendar,) = made.calendars.values()
    assert calendar.week[0] == ((450, 690), (780, 1020))
    assert calendar.week[6] == ()
    assert calendar.dates == {20260430: ()}


@pytest.mark.parametrize("day", [[(10, 5)], [(0, 1441)], [(0, 60), (60, 90)], [(-1, 5)], [(5, 5)]])
def test_times_that_no_door_would_read_are_refused(session: Session, day: list[tuple[int, int]]) -> None:
    with pytest.raises(Refused, match=r"calendar\.bad_interval"):
        rules.add_calendar(session, DOOR_ADMIN, OWNER, "x", [day] * 7, {}, NOW)


def test_a_rule_is_made_by_who_manages_the_door_and_names_somebody_known(session: Session) -> None:
    door, person = add_door(session), add_person(session, 1)
    with pytest.raises(Forbidden):
        rules.add(session, STRANGER, door.id, RulePlan(Effect.ALLOW, people=(person,)), NOW)
    for plan, code in (
        (RulePlan(Effect.ALLOW), "rule.needs_subject"),
        (RulePlan(Effect.ALLOW, people=(uuid.UUID(int=7),)), "rule.unknown_person"),
        (RulePlan(Effect.ALLOW, agencies=("h38",)), "rule.bad_agency"),
        (RulePlan(Effect.ALLOW, people=(person,), calendar="nowhen"), "calendar.unknown"),
        (RulePlan(Effect.ALLOW, people=(person,), valid_from=NOW, valid_until=NOW), "rule.ends_before_it_starts"),
    ):
        with pytest.raises(Refused) as caught:
            rules.add(session, DOOR_ADMIN, door.id, plan, NOW)
        assert caught.value.code == code
    with pytest.raises(NotFound):
        rules.remove(session, DOOR_ADMIN, 99, NOW)


def test_a_calendar_name_is_used_once_in_an_agency(session: Session) -> None:
    rules.add_calendar(session, DOOR_ADMIN, OWNER, "x", [[]] * 7, {}, NOW)
    with pytest.raises(Conflict, match=r"calendar\.name_taken"):
        rules.add_calendar(session, DOOR_ADMIN, OWNER, "x", [[]] * 7, {}, NOW)


def test_rules_are_listed_with_the_names_of_people(session: Session) -> None:
    door, person = add_door(session), add_person(session, 1)
    rule = allow(session, door, person, agencies=(VISITOR,))
    (view,) = rules.rules(session, DOOR_ADMIN, door.id)
    assert (view.id, view.people, view.agencies, view.calendar) == (
        rule,
        ((person, "Đặng Văn 1"),),
        (VISITOR,),
        "always",
    )


def test_bundles_that_run_out_or_are_of_an_old_epoch_are_due(session: Session, keys: LocalKeys) -> None:
    door = add_door(session)
    door.enrolled_at = NOW
    session.flush()
    assert list(bundles.due(session, NOW)) == [door.id]
    bundles.publish(session, keys, door.id, NOW)
    assert list(bundles.due(session, NOW)) == []
    assert list(bundles.due(session, NOW + bundles.LIFE)) == [door.id]
    status.start_epoch(session)
    assert list(bundles.due(session, NOW)) == [door.id]
    assert published(session, keys, door).epoch == 2
