"""PINs of the HSM's roles, and PINs made for cards."""

import hashlib
import hmac
from collections.abc import Callable
from itertools import pairwise

from hsm_sim.errors import BadRequest
from hsm_sim.keys import Role
from hsm_sim.store import PinRecord

TRIES_MAX = 10
PIN_CHARS = (6, 64)
CARD_PIN_DIGITS = 6
SALT_BYTES = 16


def _digest(pin: str, salt: bytes) -> bytes:
    """scrypt with 4 MiB: about 10 ms. The hash never leaves the sealed store; this is a second wall."""
    return hashlib.scrypt(pin.encode(), salt=salt, n=1 << 12, r=8, p=1)


def make_pin_record(role: Role, pin: str, random: Callable[[int], bytes]) -> PinRecord:
    """Store form of a person's role and new PIN. Raises BadRequest for one that is too short or too long."""
    if not PIN_CHARS[0] <= len(pin) <= PIN_CHARS[1]:
        raise BadRequest(f"a PIN has {PIN_CHARS[0]} to {PIN_CHARS[1]} characters")
    salt = random(SALT_BYTES)
    return PinRecord(salt, _digest(pin, salt), role=role)


def is_pin(record: PinRecord, pin: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(record.digest, _digest(pin[: PIN_CHARS[1]], record.salt))


def make_card_pin(random: Callable[[int], bytes]) -> bytes:
    """Draw a card PIN of 6 digits, none of the ones that people try first."""
    while True:
        pin = b"%0*d" % (CARD_PIN_DIGITS, int.from_bytes(random(16), "big") % 10**CARD_PIN_DIGITS)
        steps = {after - before for before, after in pairwise(pin)}
        if steps not in ({0}, {1}, {-1}):
            return pin


def piv_padded(pin: bytes) -> bytes:
    """A PIV PIN or PUK on the wire: 8 bytes, filled up with FF (SP 800-73pt2-5 §2.4.3)."""
    return pin.ljust(8, b"\xff")
