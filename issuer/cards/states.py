"""The words of a card's life: its states, the events between them, its forms and the kinds of request."""

from enum import StrEnum


class CardState(StrEnum):
    """Where a request or a card stands."""

    REQUESTED = "requested"
    APPROVED = "approved"
    ALLOCATED = "allocated"
    ENCODED = "encoded"
    PRINTED = "printed"
    CHECKED = "checked"
    HANDED_OVER = "handed_over"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    LOST = "lost"
    STOLEN = "stolen"
    DAMAGED = "damaged"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SURRENDERED = "surrendered"
    DESTROYED = "destroyed"
    SPOILED = "spoiled"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What happens to a request or a card."""

    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    ALLOCATE = "allocate"
    ENCODE = "encode"
    PRINT = "print"
    CHECK = "check"
    HAND_OVER = "hand_over"
    ACTIVATE = "activate"
    SPOIL = "spoil"
    SUSPEND = "suspend"
    REPORT_LOST = "report_lost"
    REPORT_STOLEN = "report_stolen"
    REPORT_DAMAGED = "report_damaged"
    UNBLOCK = "unblock"
    REVOKE = "revoke"
    REPLACE = "replace"
    SURRENDER = "surrender"
    EXPIRE = "expire"
    DESTROY = "destroy"


class Form(StrEnum):
    """What the card is made of: only one with a chip is encoded and opens doors."""

    CHIP = "chip"
    PLASTIC = "plastic"


class Kind(StrEnum):
    """Why a card is made: the first one, one for a lost or broken one, one with other data."""

    NEW = "new"
    REISSUE = "reissue"
    EXCHANGE = "exchange"


OPEN_REQUEST = (CardState.REQUESTED, CardState.APPROVED, CardState.ALLOCATED)
IN_THE_MAKING = (
    CardState.ALLOCATED,
    CardState.ENCODED,
    CardState.PRINTED,
    CardState.CHECKED,
    CardState.HANDED_OVER,
)
BLOCKED = (CardState.SUSPENDED, CardState.LOST, CardState.STOLEN, CardState.DAMAGED)
LIVE = (*IN_THE_MAKING, CardState.ACTIVE, *BLOCKED)
"""States in which a card may still come to open a door."""
