"""Khóa thẻ: block at once, undo for a while, revoke for good (docs/architecture.md, flow 5; docs/formats.md, F6)."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from issuer.audit import log as audit
from issuer.cards import guards, lifecycle
from issuer.cards.guards import UNDO_WITHIN
from issuer.cards.states import BLOCKED, CardState, Event
from issuer.cards.tables import Card, CardRequest
from issuer.cards.transitions import TRANSITIONS
from issuer.errors import Conflict, Refused
from issuer.policy import Action, Actor, allows, require, require_other
from issuer.trust import status
from issuer.trust.port import Signing


class BlockReason(StrEnum):
    """Why a card is blocked."""

    LOST = "lost"
    STOLEN = "stolen"
    SUSPENDED = "suspended"
    DAMAGED = "damaged"


EVENT_OF = {  # in the order in which they are offered: what happens most first
    BlockReason.LOST: Event.REPORT_LOST,
    BlockReason.STOLEN: Event.REPORT_STOLEN,
    BlockReason.SUSPENDED: Event.SUSPEND,
    BlockReason.DAMAGED: Event.REPORT_DAMAGED,
}


class Undo(StrEnum):
    """How somebody may take a block back."""

    NO = "no"
    OWN = "own"  # alone: their own block, in time
    FIRST = "first"  # as the first of two persons
    SECOND = "second"


@dataclass(frozen=True, slots=True)
class Changed:
    """A card after a change of its status, and the place of the feed from which on a door has it."""

    card: Card
    position: status.Position


@dataclass(frozen=True, slots=True)
class AwaitsSecondPerson:
    """The first of two persons has asked to unblock; nothing has changed yet."""

    card: Card


def block(
    session: Session,
    hsm: Signing,
    actor: Actor,
    card_id: uuid.UUID,
    reason: BlockReason,
    now: datetime,
    note: str = "",
) -> Changed:
    """Stop a card at every door, at once: status 2, or 3 with an alarm for a stolen one."""
    before = lifecycle.find(session, card_id).state
    card = lifecycle.move(session, hsm, actor, card_id, EVENT_OF[reason], now, reason=note or reason)
    if before not in BLOCKED:
        card.blocked_from, card.blocked_by, card.blocked_at = before, actor.user_id, now
    elif card.blocked_by != actor.user_id:  # two have had a hand in it: nobody takes both back alone
        card.blocked_by = None
    card.unblock_by = None
    session.flush()
    return Changed(card, status.head(session))


def unblock(
    session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, now: datetime
) -> Changed | AwaitsSecondPerson:
    """Take a block back: alone within ten minutes of one's own block, later with a second person."""
    card = lifecycle.find(session, card_id, locked=True)
    if card.state not in BLOCKED:
        raise Conflict("cards.wrong_state", state=card.state, event=Event.UNBLOCK)
    if not guards.is_own_undo(lifecycle.context_of(session, actor, card, now)) and card.unblock_by is None:
        require(actor, Action.CARD_UNBLOCK, card.agency_code)
        require_other(actor, None, "cards.same_second_person")
        card.unblock_by = actor.user_id
        session.flush()
        audit.append(session, actor, "card.unblock_asked", str(card.uuid), {"state": card.state}, now)
        return AwaitsSecondPerson(card)
    lifecycle.move(session, hsm, actor, card_id, Event.UNBLOCK, now)
    card.blocked_from = card.blocked_by = card.blocked_at = card.unblock_by = None
    session.flush()
    return Changed(card, status.head(session))


def revoke(session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, reason: str, now: datetime) -> Changed:
    """End a card for good: status 1 is never taken back."""
    if not reason.strip():
        raise Refused("cards.reason_needed")
    return _end(session, hsm, actor, card_id, Event.REVOKE, reason, now)


def surrender(session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, reason: str, now: datetime) -> Changed:
    """The holder gave the card back, for example at the end of service."""
    return _end(session, hsm, actor, card_id, Event.SURRENDER, reason, now)


def expire(session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, now: datetime) -> Card:
    """Note that a card's time is over; the credential on it says so by itself."""
    return lifecycle.move(session, hsm, actor, card_id, Event.EXPIRE, now)


def undo_until(card: Card) -> datetime | None:
    """Until when the person who blocked the card may take that back alone; None for a card that is not blocked."""
    return None if card.blocked_at is None or card.state not in BLOCKED else card.blocked_at + UNDO_WITHIN


def undo_for(card: Card, actor: Actor, now: datetime) -> Undo:
    """What this person may do about a card's block; `unblock` is the judge."""
    until = undo_until(card)
    if until is None:
        return Undo.NO
    if actor.user_id is not None and card.blocked_by == actor.user_id and now <= until:
        return Undo.OWN
    if not allows(actor, Action.CARD_UNBLOCK, card.agency_code) or card.unblock_by == actor.user_id:
        return Undo.NO
    return Undo.FIRST if card.unblock_by is None else Undo.SECOND


def possible_reasons(card: Card) -> list[BlockReason]:
    """What can be reported of a card as it stands: a suspended one may still turn out to be stolen."""
    state = CardState(card.state)
    return [reason for reason, event in EVENT_OF.items() if (state, event) in TRANSITIONS]


def _end(
    session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, event: Event, reason: str, now: datetime
) -> Changed:
    before = lifecycle.find(session, card_id).state
    card = lifecycle.move(session, hsm, actor, card_id, event, now, reason=reason)
    if before in (CardState.ENCODED, CardState.PRINTED, CardState.CHECKED, CardState.HANDED_OVER):
        request = session.get(CardRequest, card.request_id)
        if request is not None:  # a card that never came into anybody's hand takes its request with it
            request.state = CardState.CANCELLED
    session.flush()
    return Changed(card, status.head(session))
