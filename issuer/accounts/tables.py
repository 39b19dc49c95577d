"""The tables of the accounts."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from issuer.database import Base


class User(Base):
    """Somebody who may sign in. `password_hash` is empty until an invitation was accepted."""

    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    login: Mapped[str] = mapped_column(unique=True)
    full_name: Mapped[str]
    language: Mapped[str]
    password_hash: Mapped[str | None]
    is_active: Mapped[bool]
    created: Mapped[datetime]


class UserRole(Base):
    """A role within an agency prefix (`*`: everywhere)."""

    __tablename__ = "user_roles"

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    agency_prefix: Mapped[str] = mapped_column(primary_key=True)
    granted: Mapped[datetime]


class WebSession(Base):
    """A signed-in browser. The token itself is only in the browser."""

    __tablename__ = "web_sessions"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    created: Mapped[datetime]
    last_seen: Mapped[datetime]
    expires: Mapped[datetime]
    revoked: Mapped[datetime | None]


class Invitation(Base):
    """A one-time link with which a user sets the password."""

    __tablename__ = "invitations"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    created: Mapped[datetime]
    expires: Mapped[datetime]
    used: Mapped[datetime | None]


class SignInCount(Base):
    """Attempts to sign in under one key (a login, an address) that have not ended in success."""

    __tablename__ = "sign_in_counts"

    key: Mapped[str] = mapped_column(primary_key=True)
    attempts: Mapped[int]
    since: Mapped[datetime]
    locked_until: Mapped[datetime | None]
