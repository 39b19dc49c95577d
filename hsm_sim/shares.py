"""The store's secret in shares of several persons: SLIP-0039 (Shamir over GF(256)), 33 words a share, kept library.

Any `threshold` of the shares give the secret; fewer say nothing of it. A share that was mistyped is noticed by its
checksum, shares of another split by their identifier, and a wrong set by the digest inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import shamir_mnemonic
from shamir_mnemonic.share import Share
from shamir_mnemonic.utils import MnemonicError

from hsm_sim.errors import BadRequest

SHARES_MAX = 16
SECRET_BYTES = 32
# PBKDF2 protects a passphrase, and there is none; the least it can be set to.
ITERATION_EXPONENT = 0


@dataclass(frozen=True, slots=True)
class Place:
    """What a share says of itself: which split, its number in it (from 1), how many shares give the secret."""

    split: int
    number: int
    threshold: int


def split(secret: bytes, threshold: int, count: int) -> list[str]:
    """Split a secret of 32 bytes. Raises BadRequest for a threshold that is no threshold."""
    if len(secret) != SECRET_BYTES or not 2 <= threshold <= count <= SHARES_MAX:
        raise BadRequest(f"2 to {SHARES_MAX} shares, and at least 2 of them to open", "share.count")
    groups = shamir_mnemonic.generate_mnemonics(1, [(threshold, count)], secret, iteration_exponent=ITERATION_EXPONENT)
    return list(groups[0])


def look(share: str) -> Place:
    """Read what a share says of itself. Raises BadRequest when a word is wrong or missing."""
    try:
        read = Share.from_mnemonic(" ".join(share.lower().split()))
    except MnemonicError as error:
        raise BadRequest(f"no share: {error}", "share.words") from error
    return Place(read.identifier, read.index + 1, read.member_threshold)


class Gathering:
    """Shares as they are entered, one after the other, until there are enough."""

    def __init__(self) -> None:
        self._held: dict[int, str] = {}
        self._split: int | None = None
        self.needed = 0

    @property
    def count(self) -> int:
        """How many different shares are there."""
        return len(self._held)

    def add(self, share: str) -> bytes | None:
        """Take one share; the secret with the last one needed. Raises BadRequest; what was taken before stays."""
        place = look(share)
        if self._split is not None and place.split != self._split:
            raise BadRequest("this share belongs to another split than the ones before", "share.other")
        self._split, self.needed = place.split, place.threshold
        self._held[place.number] = " ".join(share.lower().split())
        if self.count < self.needed:
            return None
        return combine(list(self._held.values()))


def combine(shares: Sequence[str]) -> bytes:
    """The secret of enough shares, or more. Raises BadRequest."""
    places = [look(share) for share in shares]
    held = {place.number: " ".join(share.lower().split()) for place, share in zip(places, shares, strict=True)}
    if len({place.split for place in places}) != 1:
        raise BadRequest("these shares give no secret: they are of different splits", "share.other")
    needed = places[0].threshold
    if len(held) < needed:
        raise BadRequest(f"these shares give no secret: {len(held)} different ones of {needed}", "share.few")
    try:
        secret: bytes = shamir_mnemonic.combine_mnemonics(list(held.values())[:needed])
    except MnemonicError as error:
        raise BadRequest(f"these shares give no secret: {error}") from error
    if len(secret) != SECRET_BYTES:
        raise BadRequest(f"these shares give a secret of {len(secret)} bytes")
    return secret
