"""Khóa thẻ: at once, undone for a while by one person, later by two; revoked for good (flow 5; F6)."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from card_register import ADMIN, APPROVER, ENCODER, HR, SECOND, STRANGER, Register, open_register

from cardlink.statements.status import Status, read_event
from issuer import database, outbox
from issuer.cards import blocking
from issuer.cards.blocking import AwaitsSecondPerson, BlockReason, Changed, Undo
from issuer.cards.states import CardState, Form, Kind
from issuer.cards.tables import Card
from issuer.errors import Conflict, Forbidden, Refused
from issuer.policy import Actor
from issuer.trust import status

LATER = timedelta(minutes=10, seconds=1)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return open_register(tmp_path)


@pytest.fixture
def card(register: Register) -> Iterator[Card]:
    return register.active()


def block(register: Register, card: Card, reason: BlockReason = BlockReason.LOST, actor: Actor = HR) -> Changed:
    with database.transaction(register.factory) as session:
        return blocking.block(session, register.keys, actor, card.id, reason, register.now)


def unblock(register: Register, card: Card, actor: Actor) -> Changed | AwaitsSecondPerson:
    with database.transaction(register.factory) as session:
        return blocking.unblock(session, register.keys, actor, card.id, register.now)


def revoke(register: Register, card: Card, actor: Actor = APPROVER) -> Changed:
    with database.transaction(register.factory) as session:
        return blocking.revoke(session, register.keys, actor, card.id, "nghỉ việc", register.now)


@pytest.mark.parametrize(
    ("reason", "state", "value"),
    [
        (BlockReason.SUSPENDED, CardState.SUSPENDED, Status.SUSPENDED),
        (BlockReason.LOST, CardState.LOST, Status.SUSPENDED),
        (BlockReason.STOLEN, CardState.STOLEN, Status.STOLEN),
        (BlockReason.DAMAGED, CardState.DAMAGED, Status.SUSPENDED),
    ],
)
def test_a_block_sends_its_event_in_the_same_transaction(
    register: Register, card: Card, reason: BlockReason, state: CardState, value: Status
) -> None:
    changed = block(register, card, reason)
    assert (register.state(card), register.status(card)) == (state, value)
    with database.reading(register.factory) as session:
        assert status.head(session) == changed.position
        (newest,) = outbox.after(session, outbox.last(session) - 1)
    (entry,) = read_event(newest.body).value.entries
    assert (entry.list_number, entry.index, entry.status) == (card.status_list, card.status_idx, value)
    assert newest.kind == outbox.Kind.STATUS


def test_a_block_that_fails_publishes_nothing(register: Register, card: Card) -> None:
    with database.reading(register.factory) as session:
        before = outbox.last(session)
    with register.factory() as session, session.begin() as transaction:
        blocking.block(session, register.keys, HR, card.id, BlockReason.LOST, register.now)
        transaction.rollback()
    with database.reading(register.factory) as session:
        assert outbox.last(session) == before
    assert (register.state(card), register.status(card)) == (CardState.ACTIVE, Status.VALID)


def test_the_one_who_blocked_takes_it_back_within_ten_minutes(register: Register, card: Card) -> None:
    block(register, card)
    register.pass_by(timedelta(minutes=10))
    assert isinstance(unblock(register, card, HR), Changed)
    assert (register.state(card), register.status(card)) == (CardState.ACTIVE, Status.VALID)


def test_later_it_takes_two_persons(register: Register, card: Card) -> None:
    block(register, card, actor=ENCODER)
    register.pass_by(LATER)
    assert isinstance(unblock(register, card, ENCODER), AwaitsSecondPerson)
    assert (register.state(card), register.status(card)) == (CardState.LOST, Status.SUSPENDED)
    with pytest.raises(Forbidden) as refused:
        unblock(register, card, ENCODER)
    assert refused.value.code == "cards.same_second_person"
    assert isinstance(unblock(register, card, SECOND), Changed)
    assert register.status(card) == Status.VALID
    assert register.audited(card.uuid)[-2:] == ["card.unblock_asked", "card.active"]


def test_another_person_takes_nothing_back_alone_even_at_once(register: Register, card: Card) -> None:
    block(register, card, actor=HR)
    assert isinstance(unblock(register, card, ENCODER), AwaitsSecondPerson)
    assert register.status(card) == Status.SUSPENDED


def test_a_block_by_somebody_else_starts_the_second_persons_count_anew(register: Register, card: Card) -> None:
    block(register, card, BlockReason.SUSPENDED)
    assert isinstance(unblock(register, card, ENCODER), AwaitsSecondPerson)
    block(register, card, BlockReason.STOLEN, SECOND)
    assert isinstance(unblock(register, card, APPROVER), AwaitsSecondPerson)
    assert register.status(card) == Status.STOLEN


def test_making_a_block_of_somebody_else_worse_gives_no_right_to_take_it_back(register: Register, card: Card) -> None:
    block(register, card, BlockReason.SUSPENDED, HR)
    block(register, card, BlockReason.LOST, ENCODER)
    assert isinstance(unblock(register, card, ENCODER), AwaitsSecondPerson)
    assert register.status(card) == Status.SUSPENDED


def test_correcting_ones_own_block_does_not_start_the_ten_minutes_anew(register: Register, card: Card) -> None:
    block(register, card, BlockReason.SUSPENDED, ENCODER)
    register.pass_by(timedelta(minutes=6))
    block(register, card, BlockReason.LOST, ENCODER)
    register.pass_by(timedelta(minutes=6))
    assert isinstance(unblock(register, card, ENCODER), AwaitsSecondPerson)


def test_who_may_not_unblock_is_no_second_person(register: Register, card: Card) -> None:
    block(register, card, actor=ENCODER)
    register.pass_by(LATER)
    unblock(register, card, ENCODER)
    with pytest.raises(Forbidden) as refused:
        unblock(register, card, HR)
    assert refused.value.code == "policy.no_role"
    with pytest.raises(Forbidden, match=r"policy\.other_agency"):
        unblock(register, card, STRANGER)


def test_an_administrator_blocks_and_does_not_unblock_later(register: Register, card: Card) -> None:
    block(register, card, actor=ADMIN)
    register.pass_by(LATER)
    with pytest.raises(Forbidden, match=r"policy\.no_role"):
        unblock(register, card, ADMIN)


def test_revoked_is_for_good(register: Register, card: Card) -> None:
    block(register, card)
    revoke(register, card)
    assert (register.state(card), register.status(card)) == (CardState.REVOKED, Status.REVOKED)
    with pytest.raises(Conflict, match=r"cards\.wrong_state"):
        unblock(register, card, HR)
    with pytest.raises(Conflict, match=r"cards\.wrong_state"):
        block(register, card)
    with database.transaction(register.factory) as session, pytest.raises(Refused, match=r"status\.final"):
        status.set_status(session, register.keys, card.id, Status.VALID, register.now)


def test_revoking_needs_the_role_and_a_reason(register: Register, card: Card) -> None:
    with pytest.raises(Forbidden, match=r"policy\.no_role"):
        revoke(register, card, HR)
    with database.transaction(register.factory) as session, pytest.raises(Refused, match=r"cards\.reason_needed"):
        blocking.revoke(session, register.keys, APPROVER, card.id, " ", register.now)


def test_a_lost_card_is_not_unblocked_beside_its_replacement(register: Register, card: Card) -> None:
    block(register, card)
    new = register.allocated(Form.PLASTIC, card.person_id, Kind.REISSUE)
    register.activate(new)
    assert register.state(card) is CardState.REVOKED
    with pytest.raises(Conflict, match=r"cards\.wrong_state"):
        unblock(register, card, HR)


def test_two_active_cards_of_one_person_are_refused_by_name(register: Register, card: Card) -> None:
    block(register, card)
    other = register.active(person_id=card.person_id, kind=Kind.REISSUE)
    register.put(card, state=CardState.LOST)  # as if the replacement had not ended it
    with pytest.raises(Conflict) as refused:
        unblock(register, card, HR)
    assert refused.value.code == "cards.other_active"
    assert refused.value.facts["card"] == str(other.uuid)


def test_a_card_given_back_is_revoked_at_the_doors(register: Register, card: Card) -> None:
    with database.transaction(register.factory) as session:
        blocking.surrender(session, register.keys, APPROVER, card.id, "nghỉ hưu", register.now)
    assert (register.state(card), register.status(card)) == (CardState.SURRENDERED, Status.REVOKED)


def test_a_card_expires_on_the_day_after_its_last(register: Register, card: Card) -> None:
    with database.transaction(register.factory) as session, pytest.raises(Refused, match=r"cards\.not_expired"):
        blocking.expire(session, register.keys, ENCODER, card.id, register.now)
    register.pass_by(timedelta(days=5 * 366))
    with database.transaction(register.factory) as session:
        assert blocking.expire(session, register.keys, ENCODER, card.id, register.now).state == CardState.EXPIRED


def test_a_card_revoked_before_it_was_handed_over_takes_its_request_with_it(register: Register) -> None:
    card = register.allocated(Form.CHIP)
    register.put(card, state=CardState.ENCODED)
    revoke(register, card)
    register.request(card.person_id)


def test_until_when_a_block_may_be_undone_is_told(register: Register, card: Card) -> None:
    assert blocking.undo_until(register.card(card)) is None
    block(register, card)
    assert blocking.undo_until(register.card(card)) == register.now + timedelta(minutes=10)


def test_what_is_offered_about_a_block_is_what_would_be_done(register: Register, card: Card) -> None:
    def offered() -> list[Undo]:
        return [blocking.undo_for(register.card(card), one, register.now) for one in (HR, APPROVER, ENCODER, STRANGER)]

    assert set(offered()) == {Undo.NO}
    block(register, card)
    assert offered() == [Undo.OWN, Undo.FIRST, Undo.FIRST, Undo.NO]
    register.pass_by(LATER)
    assert offered() == [Undo.NO, Undo.FIRST, Undo.FIRST, Undo.NO]
    assert isinstance(unblock(register, card, APPROVER), AwaitsSecondPerson)
    assert offered() == [Undo.NO, Undo.NO, Undo.SECOND, Undo.NO]
    assert isinstance(unblock(register, card, ENCODER), Changed)


def test_what_can_be_reported_grows_worse_and_never_better(register: Register, card: Card) -> None:
    assert blocking.possible_reasons(register.card(card)) == list(BlockReason)
    block(register, card, BlockReason.SUSPENDED)
    assert blocking.possible_reasons(register.card(card)) == [BlockReason.LOST, BlockReason.STOLEN]
    block(register, card, BlockReason.STOLEN)
    assert blocking.possible_reasons(register.card(card)) == []
