"""The guards before the transitions of a card's life: each names what must hold, and refuses with a code."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer.cards.states import LIVE, CardState, Form
from issuer.cards.tables import Card, CardRequest
from issuer.days import local_day
from issuer.errors import Conflict, Refused
from issuer.policy import Action, Actor, require, require_other
from issuer.registry import freshness
from issuer.registry.tables import Person

UNDO_WITHIN = timedelta(minutes=10)
"""So long the person who blocked a card may take it back alone (docs/architecture.md, flow 5)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a guard may look at. `card` is None while there is only a request."""

    session: Session
    actor: Actor
    request: CardRequest
    card: Card | None
    now: datetime

    @property
    def agency_code(self) -> str:
        """The agency that the card belongs to."""
        return self.request.agency_code if self.card is None else self.card.agency_code

    def the_card(self) -> Card:
        """The card; guards of the card's half of the table are never asked without one."""
        if self.card is None:
            raise Conflict("cards.no_card", request=str(self.request.id))
        return self.card


def may_request(context: Context) -> None:
    """Requests are made and withdrawn by those who may request for the agency."""
    require(context.actor, Action.CARD_REQUEST, context.agency_code)


def may_decide(context: Context) -> None:
    """Requests are decided by another person than the one who asked."""
    require(context.actor, Action.CARD_APPROVE, context.agency_code)
    require_other(context.actor, context.request.requested_by, "cards.own_request")


def another_person_approves_a_fresh_record(context: Context) -> None:
    """Nobody approves their own request, and the record must still be up to date."""
    may_decide(context)
    person_is_fresh(context.session, context.request.person_id, context.now)


def another_person_encodes(context: Context) -> None:
    """Who approved a card does not make it."""
    require(context.actor, Action.CARD_PERSONALISE, context.agency_code)
    require_other(context.actor, context.request.decided_by, "cards.approver_encodes")


def another_person_encodes_a_chip(context: Context) -> None:
    """Only a card with a chip is encoded, and not by who approved it."""
    another_person_encodes(context)
    card = context.the_card()
    if card.form != Form.CHIP:
        raise Refused("cards.no_chip", card=str(card.uuid))
    if card.credential is None or card.key_hash is None:
        raise Refused("cards.not_read_back", card=str(card.uuid))


def may_personalise(context: Context) -> None:
    """Cards are printed, checked and spoiled by the card office."""
    require(context.actor, Action.CARD_PERSONALISE, context.agency_code)


def plastic_is_printed_at_once(context: Context) -> None:
    """A plastic card skips encoding; a card with a chip does not."""
    another_person_encodes(context)
    card = context.the_card()
    if card.form != Form.PLASTIC:
        raise Refused("cards.not_encoded", card=str(card.uuid))


def may_hand_over(context: Context) -> None:
    """Cards are handed over by the card office."""
    require(context.actor, Action.CARD_HAND_OVER, context.agency_code)


def no_other_card_is_active(context: Context) -> None:
    """A person has one active card; an older one is replaced in the same transaction, before this one counts."""
    may_hand_over(context)
    card = context.the_card()
    if card.expires_on < local_day(context.now):
        raise Refused("cards.expired", card=str(card.uuid))
    no_other_is_active(context.session, card)


def may_block(context: Context) -> None:
    """Blocking is one person's decision."""
    require(context.actor, Action.CARD_BLOCK, context.agency_code)


def undone_in_time_or_by_two(context: Context) -> None:
    """A block is undone by the same person within ten minutes, later by two persons."""
    card = context.the_card()
    if not is_own_undo(context):
        require(context.actor, Action.CARD_UNBLOCK, context.agency_code)
        if card.unblock_by is None:
            raise Refused("cards.second_person_needed", card=str(card.uuid))
        require_other(context.actor, card.unblock_by, "cards.same_second_person")
    if card.expires_on < local_day(context.now):
        raise Refused("cards.expired", card=str(card.uuid))
    no_other_is_active(context.session, card)


def may_revoke(context: Context) -> None:
    """Revoking is for good."""
    require(context.actor, Action.CARD_REVOKE, context.agency_code)


def its_replacement_is_handed_over(context: Context) -> None:
    """The old card goes when the new one of the same person is handed over."""
    may_hand_over(context)
    card = context.the_card()
    query = select(Card.id).where(
        Card.person_id == card.person_id, Card.id != card.id, Card.state == CardState.HANDED_OVER
    )
    if context.session.scalars(query).first() is None:
        raise Refused("cards.no_replacement", card=str(card.uuid))


def its_time_is_over(context: Context) -> None:
    """A card expires on the day after its last."""
    require(context.actor, Action.CARD_VIEW, context.agency_code)
    card = context.the_card()
    if local_day(context.now) <= card.expires_on:
        raise Refused("cards.not_expired", card=str(card.uuid))


def is_own_undo(context: Context) -> bool:
    """Say whether the actor takes back their own block in time."""
    card = context.the_card()
    if context.actor.user_id is None or card.blocked_at is None:
        return False
    return card.blocked_by == context.actor.user_id and context.now - card.blocked_at <= UNDO_WITHIN


def person_is_fresh(session: Session, person_id: uuid.UUID, now: datetime) -> Person:
    """Pass only a record that the freshness gate lets through; the refusal names every reason."""
    person = session.get(Person, person_id)
    if person is None:
        raise Refused("cards.no_person", person=str(person_id))
    freshness.require(session, person, now)
    return person


def no_other_is_active(session: Session, card: Card) -> None:
    """The rule of one active card."""
    query = select(Card.uuid).where(
        Card.person_id == card.person_id, Card.id != card.id, Card.state == CardState.ACTIVE
    )
    other = session.scalars(query).first()
    if other is not None:
        raise Conflict("cards.other_active", card=str(other))


def live_cards(session: Session, person_id: uuid.UUID) -> list[Card]:
    """Cards of a person that may still come to open a door."""
    return list(session.scalars(select(Card).where(Card.person_id == person_id, Card.state.in_(LIVE))))
