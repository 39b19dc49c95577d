"""The life of a card as one table: from which state which event leads where, and which guard stands before it.

A request carries the states up to `allocated`, a card those from `allocated` on (docs/architecture.md, flow 2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from issuer.cards import guards
from issuer.cards.guards import Context
from issuer.cards.states import CardState, Event
from issuer.errors import Conflict

Guard = Callable[[Context], None]


class StatusChange(StrEnum):
    """What a transition does to the card's published status (docs/formats.md, F6)."""

    KEEP = "keep"
    VALID = "valid"
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    STOLEN = "stolen"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table."""

    to: CardState
    guard: Guard
    status: StatusChange = StatusChange.KEEP


S, E = CardState, Event
_SUSPEND, _REVOKE, _ALARM = StatusChange.SUSPENDED, StatusChange.REVOKED, StatusChange.STOLEN

TRANSITIONS: dict[tuple[CardState, Event], Transition] = {
    # the request
    (S.REQUESTED, E.APPROVE): Transition(S.APPROVED, guards.another_person_approves_a_fresh_record),
    (S.REQUESTED, E.REJECT): Transition(S.CANCELLED, guards.may_decide),
    (S.REQUESTED, E.CANCEL): Transition(S.CANCELLED, guards.may_request),
    (S.APPROVED, E.CANCEL): Transition(S.CANCELLED, guards.may_request),
    (S.APPROVED, E.ALLOCATE): Transition(S.ALLOCATED, guards.another_person_encodes),
    # the card
    (S.ALLOCATED, E.ENCODE): Transition(S.ENCODED, guards.another_person_encodes_a_chip),
    (S.ALLOCATED, E.PRINT): Transition(S.PRINTED, guards.plastic_is_printed_at_once),
    (S.ENCODED, E.PRINT): Transition(S.PRINTED, guards.may_personalise),
    (S.PRINTED, E.CHECK): Transition(S.CHECKED, guards.may_personalise),
    (S.CHECKED, E.HAND_OVER): Transition(S.HANDED_OVER, guards.may_hand_over),
    (S.HANDED_OVER, E.ACTIVATE): Transition(S.ACTIVE, guards.no_other_card_is_active, StatusChange.VALID),
    (S.ALLOCATED, E.SPOIL): Transition(S.SPOILED, guards.may_personalise, _REVOKE),
    (S.ENCODED, E.SPOIL): Transition(S.SPOILED, guards.may_personalise, _REVOKE),
    (S.PRINTED, E.SPOIL): Transition(S.SPOILED, guards.may_personalise, _REVOKE),
    (S.CHECKED, E.SPOIL): Transition(S.SPOILED, guards.may_personalise, _REVOKE),
    # Khóa thẻ: at once, and for a while one person may take it back
    (S.ACTIVE, E.SUSPEND): Transition(S.SUSPENDED, guards.may_block, _SUSPEND),
    (S.ACTIVE, E.REPORT_LOST): Transition(S.LOST, guards.may_block, _SUSPEND),
    (S.ACTIVE, E.REPORT_STOLEN): Transition(S.STOLEN, guards.may_block, _ALARM),
    (S.ACTIVE, E.REPORT_DAMAGED): Transition(S.DAMAGED, guards.may_block, _SUSPEND),
    (S.SUSPENDED, E.REPORT_LOST): Transition(S.LOST, guards.may_block, _SUSPEND),
    (S.SUSPENDED, E.REPORT_STOLEN): Transition(S.STOLEN, guards.may_block, _ALARM),
    (S.LOST, E.REPORT_STOLEN): Transition(S.STOLEN, guards.may_block, _ALARM),
    (S.SUSPENDED, E.UNBLOCK): Transition(S.ACTIVE, guards.undone_in_time_or_by_two, StatusChange.VALID),
    (S.LOST, E.UNBLOCK): Transition(S.ACTIVE, guards.undone_in_time_or_by_two, StatusChange.VALID),
    (S.STOLEN, E.UNBLOCK): Transition(S.ACTIVE, guards.undone_in_time_or_by_two, StatusChange.VALID),
    (S.DAMAGED, E.UNBLOCK): Transition(S.ACTIVE, guards.undone_in_time_or_by_two, StatusChange.VALID),
    # for good
    (S.ENCODED, E.REVOKE): Transition(S.REVOKED, guards.may_revoke, _REVOKE),
    (S.PRINTED, E.REVOKE): Transition(S.REVOKED, guards.may_revoke, _REVOKE),
    (S.CHECKED, E.REVOKE): Transition(S.REVOKED, guards.may_revoke, _REVOKE),
    (S.HANDED_OVER, E.REVOKE): Transition(S.REVOKED, guards.may_revoke, _REVOKE),
    (S.ACTIVE, E.REVOKE): Transition(S.REVOKED, guards.may_revoke, _REVOKE),
    (S.SUSPENDED, E.REVOKE): Transition(S.REVOKED, guards.may_revoke, _REVOKE),
    (S.LOST, E.REVOKE): Transition(S.REVOKED, guards.may_revoke, _REVOKE),
    (S.STOLEN, E.REVOKE): Transition(S.REVOKED, guards.may_revoke, _REVOKE),
    (S.DAMAGED, E.REVOKE): Transition(S.REVOKED, guards.may_revoke, _REVOKE),
    (S.ACTIVE, E.REPLACE): Transition(S.REVOKED, guards.its_replacement_is_handed_over, _REVOKE),
    (S.SUSPENDED, E.REPLACE): Transition(S.REVOKED, guards.its_replacement_is_handed_over, _REVOKE),
    (S.LOST, E.REPLACE): Transition(S.REVOKED, guards.its_replacement_is_handed_over, _REVOKE),
    (S.STOLEN, E.REPLACE): Transition(S.REVOKED, guards.its_replacement_is_handed_over, _REVOKE),
    (S.DAMAGED, E.REPLACE): Transition(S.REVOKED, guards.its_replacement_is_handed_over, _REVOKE),
    (S.ACTIVE, E.SURRENDER): Transition(S.SURRENDERED, guards.may_revoke, _REVOKE),
    (S.SUSPENDED, E.SURRENDER): Transition(S.SURRENDERED, guards.may_revoke, _REVOKE),
    (S.ACTIVE, E.EXPIRE): Transition(S.EXPIRED, guards.its_time_is_over),
    (S.SUSPENDED, E.EXPIRE): Transition(S.EXPIRED, guards.its_time_is_over),
    (S.SPOILED, E.DESTROY): Transition(S.DESTROYED, guards.may_personalise),
    (S.REVOKED, E.DESTROY): Transition(S.DESTROYED, guards.may_personalise),
    (S.EXPIRED, E.DESTROY): Transition(S.DESTROYED, guards.may_personalise),
    (S.SURRENDERED, E.DESTROY): Transition(S.DESTROYED, guards.may_personalise),
}


def step(context: Context, event: Event) -> Transition:
    """Find the row for this event and let its guard speak. Raises Conflict for an event that does not fit the state."""
    state = CardState(context.request.state if context.card is None else context.card.state)
    row = TRANSITIONS.get((state, event))
    if row is None:
        raise Conflict("cards.wrong_state", state=state.value, event=event.value)
    row.guard(context)
    return row
