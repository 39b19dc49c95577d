"""One-time links with which a user sets a password: how the first administrator comes in, and everyone after."""

from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from issuer import ids, policy
from issuer.accounts import passwords, users
from issuer.accounts.tables import Invitation, User
from issuer.audit import log as audit
from issuer.database import SessionFactory, reading, transaction
from issuer.errors import NotFound, Refused
from issuer.policy import Action, Actor

LIFETIME = timedelta(hours=24)


def invite(session: Session, actor: Actor, login: str, now: datetime) -> str:
    """Make a link's token for a user; older links of the same user die. The token is shown once and never stored."""
    user = users.by_login(session, login)
    policy.require_anywhere(actor, Action.USERS_MANAGE)
    for grant in users.roles_of(session, user.id):
        policy.require(actor, Action.USERS_MANAGE, grant.agency_prefix)
    if not user.is_active:
        raise Refused("accounts.inactive", login=user.login)
    session.execute(update(Invitation).where(Invitation.user_id == user.id, Invitation.used.is_(None)).values(used=now))
    token = ids.new_token()
    session.add(
        Invitation(token_hash=ids.token_hash(token), user_id=user.id, created=now, expires=now + LIFETIME, used=None)
    )
    session.flush()
    audit.append(session, actor, "user.invited", user.login, {}, now)
    return token


def look(session: Session, token: str, now: datetime) -> User:
    """Whose link this is, if it is still good. Raises NotFound."""
    return session.get_one(User, _living(session, token, now).user_id)


def accept(factory: SessionFactory, token: str, password: str, now: datetime) -> User:
    """Set the password and use the link up; every session of the user ends. Raises NotFound, Refused.

    No transaction is open while the password is hashed; of two who use a link at once, one comes through.
    """
    with reading(factory) as session:
        passwords.check_new(password, look(session, token, now).login)
    stored = passwords.make_hash(password)
    with transaction(factory) as session:
        invitation = _living(session, token, now)
        user = session.get_one(User, invitation.user_id)
        used = session.connection().execute(
            update(Invitation)
            .where(Invitation.token_hash == invitation.token_hash, Invitation.used.is_(None))
            .values(used=now)
        )
        if used.rowcount != 1:
            raise NotFound("accounts.dead_link")
        user.password_hash = stored
        session.flush()
        users.end_sessions(session, user.id, now)
        audit.append(session, Actor(user.id, user.login, ()), "user.password_set", user.login, {}, now)
        return user


def _living(session: Session, token: str, now: datetime) -> Invitation:
    invitation = session.get(Invitation, ids.token_hash(token))
    if invitation is None or invitation.used is not None or now >= invitation.expires:
        raise NotFound("accounts.dead_link")
    if not session.get_one(User, invitation.user_id).is_active:
        raise NotFound("accounts.dead_link")
    return invitation
