"""Names that the centre makes itself: row keys, card UUIDs, one-time tokens."""

import hashlib
import secrets
import uuid

import uuid_utils.compat

TOKEN_BYTES = 32


def new_id() -> uuid.UUID:
    """Make the key of a new row: UUID version 7, so that keys grow with time."""
    return uuid_utils.compat.uuid7()


def new_card_uuid() -> uuid.UUID:
    """Make a card's UUID: random, version 4, so that it tells nothing (docs/formats.md, F1)."""
    return uuid.uuid4()


def new_token() -> str:
    """Make a token for a link or a cookie: 256 random bits."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_hash(token: str) -> bytes:
    """What the database keeps of a token: enough to know it again, useless to a reader of the database."""
    return hashlib.sha256(token.encode()).digest()
