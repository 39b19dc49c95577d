"""Sessions of signed-in browsers. The database holds a token's hash only; roles are read anew at each request."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from issuer import ids
from issuer.accounts import users
from issuer.accounts.tables import User, WebSession
from issuer.database import SessionFactory, reading, transaction
from issuer.policy import Actor

LIFETIME = timedelta(hours=10)
IDLE = timedelta(hours=1)
SEEN_EVERY = timedelta(minutes=1)
"""`last_seen` is written at most this often: a page view must not cost a commit."""
KEEP_ENDED = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A living session: the user with the roles of this moment."""

    user_id: uuid.UUID
    login: str
    full_name: str
    language: str
    actor: Actor
    expires: datetime


def begin(session: Session, user: User, now: datetime) -> str:
    """Open a session; answers its token, which is shown once and never stored."""
    token = ids.new_token()
    row = WebSession(
        token_hash=ids.token_hash(token), user_id=user.id, created=now, last_seen=now, expires=now + LIFETIME
    )
    session.add(row)
    session.flush()
    return token


def resume(factory: SessionFactory, token: str, now: datetime) -> SignedIn | None:
    """Who stands behind a token, or None: unknown, ended, expired, idle too long, or the account closed."""
    key = ids.token_hash(token)
    with reading(factory) as session:
        row = session.get(WebSession, key)
        if row is None or row.revoked is not None or now >= row.expires or now - row.last_seen > IDLE:
            return None
        user = session.get_one(User, row.user_id)
        if not user.is_active:
            return None
        found = SignedIn(
            user.id, user.login, user.full_name, user.language, users.actor_for(session, user), row.expires
        )
    if now - row.last_seen > SEEN_EVERY:
        with transaction(factory) as session:
            session.execute(update(WebSession).where(WebSession.token_hash == key).values(last_seen=now))
    return found


def end(session: Session, token: str, now: datetime) -> None:
    """Sign out."""
    session.execute(
        update(WebSession)
        .where(WebSession.token_hash == ids.token_hash(token), WebSession.revoked.is_(None))
        .values(revoked=now)
    )


def sweep(session: Session, now: datetime) -> int:
    """Forget sessions that ended long ago; answers how many."""
    old = select(WebSession.token_hash).where(WebSession.expires < now - KEEP_ENDED)
    statement = delete(WebSession).where(WebSession.token_hash.in_(old))
    swept: int = session.connection().execute(statement).rowcount
    return swept
