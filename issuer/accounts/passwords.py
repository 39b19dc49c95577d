"""Passwords: Argon2id (RFC 9106, second recommended option), and what a new one must be."""

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from issuer.errors import Refused

MIN_CHARS = 12
MAX_CHARS = 200
HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)


def make_hash(password: str) -> str:
    """Hash a password for storage."""
    return HASHER.hash(_plain(password))


def matches(stored: str | None, password: str) -> bool:
    """Compare a password with a stored hash. Without one it takes as long and says no."""
    try:
        return HASHER.verify(stored or _nobody(), _plain(password)) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Say whether a hash was made with other parameters than today's."""
    return HASHER.check_needs_rehash(stored)


def check_new(password: str, login: str) -> None:
    """Refuse a password that is short, overlong, of too few different characters, or holds the login."""
    plain = _plain(password)
    if not MIN_CHARS <= len(plain) <= MAX_CHARS:
        raise Refused("accounts.password_length", least=MIN_CHARS, most=MAX_CHARS)
    if len(set(plain)) < MIN_CHARS // 2 or login in plain.lower():
        raise Refused("accounts.password_weak")


def _plain(password: str) -> str:
    # The same Vietnamese letters come composed from one keyboard and decomposed from another.
    return unicodedata.normalize("NFKC", password)[: MAX_CHARS * 4]


@cache
def _nobody() -> str:
    """A hash that nobody's password has, so that an unknown login costs as much time as a known one."""
    return HASHER.hash("a password that nobody has")
