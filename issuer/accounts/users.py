"""Users and their roles. Taking a role or the account away ends the user's sessions in the same transaction."""

import re
import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.language.catalogue import Language
from cardlink.statements.agency import check_agency_code
from issuer import ids, policy
from issuer.accounts.tables import Invitation, User, UserRole, WebSession
from issuer.audit import log as audit
from issuer.errors import Conflict, NotFound, Refused
from issuer.policy import EVERYWHERE, Action, Actor, Role

MAX_NAME_CHARS = 100

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")


@dataclass(frozen=True, slots=True)
class Grant:
    """A role within an agency prefix; `*` is everywhere."""

    role: Role
    agency_prefix: str

    @classmethod
    def parse(cls, text: str) -> "Grant":
        """Read `role@prefix`, such as `hr@H38` or `admin@*`. Raises Refused."""
        name, at, prefix = text.partition("@")
        if name not in set(Role) or not at:
            raise Refused("accounts.bad_role", value=text, roles=", ".join(Role))
        if prefix != EVERYWHERE:
            try:
                check_agency_code(prefix)
            except Malformed as error:
                raise Refused("agencies.bad_code", code=prefix) from error
        return cls(Role(name), prefix)

    def __str__(self) -> str:
        return f"{self.role}@{self.agency_prefix}"


def local_administrator(name: str) -> Actor:
    """The actor of the command line without a user: whoever may open the database may set the installation up.

    Nobody's record or card is approved so: that takes a named user with the role.
    """
    return Actor(None, f"local:{name}", ((Role.ADMIN, EVERYWHERE),))


def add(
    session: Session,
    actor: Actor,
    login: str,
    full_name: str,
    grants: Iterable[Grant],
    now: datetime,
    language: str = Language.VI,
) -> User:
    """Make a user, who signs in once an invitation was accepted. Raises Conflict for a login that is taken."""
    given = list(grants)
    for grant in given:
        policy.require(actor, Action.USERS_MANAGE, grant.agency_prefix)
    policy.require_anywhere(actor, Action.USERS_MANAGE)
    known = normalise_login(login)
    name = unicodedata.normalize("NFC", " ".join(full_name.split()))
    if not _LOGIN.fullmatch(known):
        raise Refused("accounts.bad_login", login=login)
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise Refused("accounts.bad_name", login=known)
    if session.scalar(select(User.id).where(User.login == known)) is not None:
        raise Conflict("accounts.login_taken", login=known)
    user = User(
        id=ids.new_id(),
        login=known,
        full_name=name,
        language=Language(language),
        password_hash=None,
        is_active=True,
        created=now,
    )
    session.add(user)
    session.flush()
    for grant in dict.fromkeys(given):
        session.add(UserRole(user_id=user.id, role=grant.role, agency_prefix=grant.agency_prefix, granted=now))
    session.flush()
    audit.append(session, actor, "user.added", known, {"roles": [str(grant) for grant in given]}, now)
    return user


def grant_role(session: Session, actor: Actor, user_id: uuid.UUID, grant: Grant, now: datetime) -> None:
    """Give a user a role."""
    policy.require(actor, Action.USERS_MANAGE, grant.agency_prefix)
    user = _get(session, user_id)
    if grant in roles_of(session, user_id):
        return
    session.add(UserRole(user_id=user_id, role=grant.role, agency_prefix=grant.agency_prefix, granted=now))
    session.flush()
    audit.append(session, actor, "user.role_granted", user.login, {"role": str(grant)}, now)


def revoke_role(session: Session, actor: Actor, user_id: uuid.UUID, grant: Grant, now: datetime) -> None:
    """Take a role away; the user's sessions end at once. The last administrator's stays."""
    policy.require(actor, Action.USERS_MANAGE, grant.agency_prefix)
    user = _get(session, user_id)
    if grant not in roles_of(session, user_id):
        raise NotFound("accounts.no_such_role", login=user.login, role=str(grant))
    if grant == Grant(Role.ADMIN, EVERYWHERE):
        _leave_an_administrator(session, user)
    session.execute(
        delete(UserRole).where(
            UserRole.user_id == user_id,
            UserRole.role == grant.role,
            UserRole.agency_prefix == grant.agency_prefix,
        )
    )
    end_sessions(session, user_id, now)
    audit.append(session, actor, "user.role_revoked", user.login, {"role": str(grant)}, now)


def deactivate(session: Session, actor: Actor, user_id: uuid.UUID, now: datetime) -> User:
    """Close an account: sessions end, links die, the row stays for the audit log."""
    user = _managed(session, actor, user_id)
    if not user.is_active:
        return user
    if Grant(Role.ADMIN, EVERYWHERE) in roles_of(session, user_id):
        _leave_an_administrator(session, user)
    user.is_active = False
    session.flush()
    end_sessions(session, user_id, now)
    session.execute(update(Invitation).where(Invitation.user_id == user_id, Invitation.used.is_(None)).values(used=now))
    audit.append(session, actor, "user.deactivated", user.login, {}, now)
    return user


def reactivate(session: Session, actor: Actor, user_id: uuid.UUID, now: datetime) -> User:
    """Open an account again; the old password no longer counts, a new invitation is needed."""
    user = _managed(session, actor, user_id)
    if not user.is_active:
        user.is_active = True
        user.password_hash = None
        session.flush()
        audit.append(session, actor, "user.reactivated", user.login, {}, now)
    return user


def end_sessions(session: Session, user_id: uuid.UUID, now: datetime) -> int:
    """End every session of a user; answers how many were open."""
    statement = (
        update(WebSession).where(WebSession.user_id == user_id, WebSession.revoked.is_(None)).values(revoked=now)
    )
    ended: int = session.connection().execute(statement).rowcount
    session.expire_all()
    return ended


def set_language(session: Session, user_id: uuid.UUID, language: str) -> None:
    """Remember the language a user reads."""
    _get(session, user_id).language = Language(language)


def by_login(session: Session, login: str) -> User:
    """Find a user. Raises NotFound."""
    user = session.scalars(select(User).where(User.login == normalise_login(login))).one_or_none()
    if user is None:
        raise NotFound("accounts.unknown", login=login)
    return user


def names_of(session: Session, logins: Iterable[str]) -> dict[str, str]:
    """The full names behind logins, as far as they are users: logs and requests keep the login."""
    wanted = set(logins)
    return {user.login: user.full_name for user in session.scalars(select(User).where(User.login.in_(wanted)))}


def listed(session: Session, actor: Actor) -> Sequence[tuple[User, tuple[Grant, ...]]]:
    """The users with a role where the actor may look, and those with none, by login."""
    policy.require_anywhere(actor, Action.USERS_VIEW)
    roles: dict[uuid.UUID, list[Grant]] = {}
    for row in session.scalars(select(UserRole).order_by(UserRole.role, UserRole.agency_prefix)):
        roles.setdefault(row.user_id, []).append(Grant(Role(row.role), row.agency_prefix))
    users = [(user, tuple(roles.get(user.id, ()))) for user in session.scalars(select(User).order_by(User.login))]
    return [
        (user, grants)
        for user, grants in users
        if not grants or any(policy.allows(actor, Action.USERS_VIEW, grant.agency_prefix) for grant in grants)
    ]


def roles_of(session: Session, user_id: uuid.UUID) -> tuple[Grant, ...]:
    """A user's roles now."""
    query = select(UserRole).where(UserRole.user_id == user_id).order_by(UserRole.role, UserRole.agency_prefix)
    return tuple(Grant(Role(row.role), row.agency_prefix) for row in session.scalars(query))


def actor_for(session: Session, user: User) -> Actor:
    """The user as an actor, with the roles of this moment. Raises Refused for a closed account."""
    if not user.is_active:
        raise Refused("accounts.inactive", login=user.login)
    grants = roles_of(session, user.id)
    return Actor(user.id, user.login, tuple((grant.role, grant.agency_prefix) for grant in grants))


def normalise_login(login: str) -> str:
    """The one form in which a login is stored and compared."""
    return unicodedata.normalize("NFKC", login).strip().lower()


def _get(session: Session, user_id: uuid.UUID) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("accounts.unknown", login=str(user_id))
    return user


def _managed(session: Session, actor: Actor, user_id: uuid.UUID) -> User:
    """A user whom the actor may manage: with every role they have, or everywhere."""
    user = _get(session, user_id)
    policy.require_anywhere(actor, Action.USERS_MANAGE)
    for grant in roles_of(session, user_id):
        policy.require(actor, Action.USERS_MANAGE, grant.agency_prefix)
    return user


def _leave_an_administrator(session: Session, user: User) -> None:
    query = (
        select(func.count())
        .select_from(UserRole)
        .join(User, User.id == UserRole.user_id)
        .where(
            UserRole.role == Role.ADMIN,
            UserRole.agency_prefix == EVERYWHERE,
            User.is_active,
            User.id != user.id,
        )
    )
    if not session.scalar(query):
        raise Refused("accounts.last_administrator", login=user.login)
