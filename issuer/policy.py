"""Who may do what, where: one table of roles and actions; the scope is an agency prefix of whole levels."""

import uuid
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import false, or_, true
from sqlalchemy.sql import ColumnElement

from cardlink.statements import agency
from issuer.database import TextColumn, within_agency
from issuer.errors import Forbidden

EVERYWHERE = "*"
"""The agency prefix that covers every agency of the installation."""


class Role(StrEnum):
    """What a user is, within one agency prefix."""

    HR = "hr"
    APPROVER = "approver"
    CARD_OFFICE = "card_office"
    DOOR_ADMIN = "door_admin"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Action(StrEnum):
    """What can be asked for."""

    PERSON_VIEW = "person.view"
    PERSON_DECLARE = "person.declare"
    PERSON_ATTEST = "person.attest"
    PERSON_CHECK = "person.check"
    PERSON_APPRAISE = "person.appraise"
    PERSON_APPROVE = "person.approve"
    CARD_VIEW = "card.view"
    CARD_REQUEST = "card.request"
    CARD_APPROVE = "card.approve"
    CARD_PERSONALISE = "card.personalise"
    CARD_HAND_OVER = "card.hand_over"
    CARD_BLOCK = "card.block"
    CARD_UNBLOCK = "card.unblock"
    CARD_REVOKE = "card.revoke"
    STOCK_MANAGE = "stock.manage"
    DOOR_VIEW = "door.view"
    DOOR_MANAGE = "door.manage"
    EVENTS_VIEW = "events.view"
    KEYS_MANAGE = "keys.manage"
    AUDIT_VIEW = "audit.view"
    USERS_VIEW = "users.view"
    USERS_MANAGE = "users.manage"
    AGENCIES_MANAGE = "agencies.manage"


ALLOWED: dict[Role, frozenset[Action]] = {
    Role.HR: frozenset(
        {
            Action.PERSON_VIEW,
            Action.PERSON_DECLARE,
            Action.PERSON_ATTEST,
            Action.PERSON_CHECK,
            Action.PERSON_APPRAISE,
            Action.CARD_VIEW,
            Action.CARD_REQUEST,
            Action.CARD_BLOCK,
        }
    ),
    Role.APPROVER: frozenset(
        {
            Action.PERSON_VIEW,
            Action.PERSON_APPRAISE,
            Action.PERSON_APPROVE,
            Action.CARD_VIEW,
            Action.CARD_APPROVE,
            Action.CARD_BLOCK,
            Action.CARD_UNBLOCK,
            Action.CARD_REVOKE,
        }
    ),
    Role.CARD_OFFICE: frozenset(
        {
            Action.PERSON_VIEW,
            Action.CARD_VIEW,
            Action.CARD_REQUEST,
            Action.CARD_PERSONALISE,
            Action.CARD_HAND_OVER,
            Action.CARD_BLOCK,
            Action.CARD_UNBLOCK,
            Action.CARD_REVOKE,
            Action.STOCK_MANAGE,
        }
    ),
    Role.DOOR_ADMIN: frozenset(
        {Action.PERSON_VIEW, Action.CARD_VIEW, Action.DOOR_VIEW, Action.DOOR_MANAGE, Action.EVENTS_VIEW}
    ),
    Role.AUDITOR: frozenset(
        {
            Action.PERSON_VIEW,
            Action.CARD_VIEW,
            Action.DOOR_VIEW,
            Action.EVENTS_VIEW,
            Action.AUDIT_VIEW,
            Action.USERS_VIEW,
        }
    ),
    # No role may do everything: the administrator makes users and keys, and approves neither records nor cards.
    Role.ADMIN: frozenset(
        {
            Action.PERSON_VIEW,
            Action.CARD_VIEW,
            Action.CARD_BLOCK,
            Action.STOCK_MANAGE,
            Action.DOOR_VIEW,
            Action.DOOR_MANAGE,
            Action.EVENTS_VIEW,
            Action.KEYS_MANAGE,
            Action.AUDIT_VIEW,
            Action.USERS_VIEW,
            Action.USERS_MANAGE,
            Action.AGENCIES_MANAGE,
        }
    ),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a signed-in user with the roles of this moment, or a named part of the system without a user."""

    user_id: uuid.UUID | None
    name: str
    roles: tuple[tuple[Role, str], ...]


def covers(prefix: str, agency_code: str) -> bool:
    """Say whether a prefix covers an agency, by whole levels: H4 does not cover H49."""
    return prefix == EVERYWHERE or agency.covers(prefix, agency_code)


def allows(actor: Actor, action: Action, agency_code: str) -> bool:
    """Say whether the actor may do this for this agency."""
    return any(covers(prefix, agency_code) for prefix in scopes(actor, action))


def scopes(actor: Actor, action: Action) -> tuple[str, ...]:
    """The agency prefixes within which the actor may do this; none means nowhere."""
    return tuple(sorted({prefix for role, prefix in actor.roles if action in ALLOWED[role]}))


def require(actor: Actor, action: Action, agency_code: str) -> None:
    """Raise Forbidden unless the actor may do this for this agency."""
    if allows(actor, action, agency_code):
        return
    if scopes(actor, action):
        raise Forbidden("policy.other_agency", action=action.value, agency=agency_code)
    raise Forbidden("policy.no_role", action=action.value)


def require_anywhere(actor: Actor, action: Action) -> None:
    """Raise Forbidden unless there is an agency for which the actor may do this."""
    if not scopes(actor, action):
        raise Forbidden("policy.no_role", action=action.value)


def require_other(actor: Actor, user_id: uuid.UUID | None, code: str) -> None:
    """Raise Forbidden(code) unless the actor is a named user and another one than `user_id`."""
    if actor.user_id is None:
        raise Forbidden("policy.needs_user")
    if actor.user_id == user_id:
        raise Forbidden(code)


def scope_filter(actor: Actor, action: Action, column: TextColumn) -> ColumnElement[bool]:
    """The condition that keeps a query to the agencies for which the actor may do this."""
    prefixes = scopes(actor, action)
    if EVERYWHERE in prefixes:
        return true()
    return or_(false(), *(within_agency(column, prefix) for prefix in prefixes))
