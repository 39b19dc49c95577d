"""PINs of the HSM's roles."""

import hashlib
import hmac
from collections.abc import Callable

from hsm_sim.errors import BadRequest
from hsm_sim.keys import Role
from hsm_sim.store import PinRecord

TRIES_MAX = 10
PIN_CHARS = (6, 64)
SALT_BYTES = 16


def _digest(pin: str, salt: bytes) -> bytes:
    """scrypt with 4 MiB: about 10 ms. The hash never leaves the sealed store; this is a second wall."""
    return hashlib.scrypt(pin.encode(), salt=salt, n=1 << 12, r=8, p=1)


def make_pin_record(role: Role, pin: str, random: Callable[[int], bytes]) -> PinRecord:
    """Store form of a person's role and new PIN. Raises BadRequest for one that is too short or too long."""
    if not PIN_CHARS[0] <= len(pin) <= PIN_CHARS[1]:
        raise BadRequest(f"a PIN has {PIN_CHARS[0]} to {PIN_CHARS[1]} characters", "pin.length")
    salt = random(SALT_BYTES)
    return PinRecord(salt, _digest(pin, salt), role=role)


def is_pin(record: PinRecord, pin: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(record.digest, _digest(pin[: PIN_CHARS[1]], record.salt))
