"""Signing in: counted before the password is looked at, so that guesses at the same moment are limited too."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer import database
from issuer.accounts import passwords, sessions, users
from issuer.accounts.tables import SignInCount, User
from issuer.audit import log as audit
from issuer.database import SessionFactory, reading, transaction
from issuer.policy import Actor

LOGIN_ATTEMPTS = 5
ADDRESS_ATTEMPTS = 30
WINDOW = timedelta(minutes=15)
LOCKED = timedelta(minutes=15)
MAX_KEY_CHARS = 100


@dataclass(frozen=True, slots=True)
class Welcome:
    """The right password: the token of the new session."""

    token: str
    login: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """No session. `code` is `accounts.wrong_password` or `accounts.locked`; which of login and password was wrong is
    not told."""

    code: str
    until: datetime | None = None


def sign_in(factory: SessionFactory, login: str, password: str, address: str, now: datetime) -> Welcome | TurnedAway:
    """Check a password and open a session. No transaction is open while the password is hashed.

    After LOGIN_ATTEMPTS failures for a login, or ADDRESS_ATTEMPTS from an address, within WINDOW, both right and
    wrong passwords are turned away for LOCKED.
    """
    name = users.normalise_login(login)[:MAX_KEY_CHARS]
    keys = {f"login:{name}": LOGIN_ATTEMPTS, f"address:{address[:MAX_KEY_CHARS]}": ADDRESS_ATTEMPTS}
    with transaction(factory) as session:
        database.lock(session, "sign_in")
        until = _count(session, keys, now)
        if until is not None:
            return TurnedAway("accounts.locked", until)
    with reading(factory) as session:
        user = session.scalars(select(User).where(User.login == name)).one_or_none()
        stored = user.password_hash if user is not None and user.is_active else None
    if user is None or not passwords.matches(stored, password):
        with transaction(factory) as session:
            # a login that nobody has may be a password typed into the wrong field: the books must not keep it
            _note_failure(session, name if user is not None else "?", address, now)
        return TurnedAway("accounts.wrong_password")
    with transaction(factory) as session:
        user = session.get_one(User, user.id)
        if not user.is_active or user.password_hash != stored or stored is None:
            return TurnedAway("accounts.wrong_password")
        if passwords.is_outdated(stored):
            user.password_hash = passwords.make_hash(password)
        _succeeded(session, name, address)
        sessions.sweep(session, now)
        audit.append(session, Actor(user.id, user.login, ()), "user.signed_in", user.login, {"address": address}, now)
        return Welcome(sessions.begin(session, user, now), user.login)


def _count(session: Session, keys: dict[str, int], now: datetime) -> datetime | None:
    """Count one attempt under every key; the end of the lock if one is, or is now, locked."""
    known = [row for key in keys if (row := session.get(SignInCount, key)) is not None]
    ends = [row.locked_until for row in known if row.locked_until is not None and now < row.locked_until]
    if ends:
        return max(ends)  # and no row for one more made-up login
    for row, most in [(_row(session, key, now), most) for key, most in keys.items()]:
        if now - row.since > WINDOW or row.locked_until is not None:
            row.attempts, row.since, row.locked_until = 0, now, None
        row.attempts += 1
        if row.attempts > most:
            row.locked_until = now + LOCKED
            ends.append(row.locked_until)
    return max(ends, default=None)


def _row(session: Session, key: str, now: datetime) -> SignInCount:
    row = session.get(SignInCount, key)
    if row is None:
        row = SignInCount(key=key, attempts=0, since=now, locked_until=None)
        session.add(row)
    return row


def _succeeded(session: Session, login: str, address: str) -> None:
    """Forget the login's failures; take back one attempt of the address, not those against others."""
    by_login = session.get(SignInCount, f"login:{login}")
    if by_login is not None:
        session.delete(by_login)
    by_address = session.get(SignInCount, f"address:{address[:MAX_KEY_CHARS]}")
    if by_address is not None and by_address.attempts > 0:
        by_address.attempts -= 1


def _note_failure(session: Session, login: str, address: str, now: datetime) -> None:
    actor = Actor(None, f"address:{address}", ())
    audit.append(session, actor, "user.sign_in_failed", login, {"address": address}, now)
