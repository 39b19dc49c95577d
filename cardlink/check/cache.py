"""Verified credentials, kept so that a card seen before costs one signature check less (F12)."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from cardlink.statements.card import CardCredential
from cardlink.statements.trust import Signer, Trust

CAPACITY: Final = 4096


@dataclass(frozen=True, slots=True)
class VerifiedCredential:
    """A credential whose signature was right under one trust list. Times are judged anew at each use."""

    card: CardCredential
    key_hash: bytes
    public_key: ec.EllipticCurvePublicKey = field(repr=False)
    signer: Signer


class CredentialCache:
    """Verified credentials by SHA-256 of their whole bytes, for one trust list; the oldest unused goes first.

    Every claim comes from the kept, verified value, never from bytes that only look alike. Status is not kept.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._trust_digest = b""
        self._asked = b"", b""
        self._kept: OrderedDict[bytes, VerifiedCredential] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, raw: bytes, trust: Trust) -> VerifiedCredential | None:
        """The verified value of exactly these bytes, or None. Another trust list empties the cache."""
        if trust.digest != self._trust_digest:
            self._kept.clear()
            self._trust_digest = trust.digest
        self._asked = raw, hashlib.sha256(raw).digest()
        found = self._kept.get(self._asked[1])
        if found is not None:
            self._kept.move_to_end(self._asked[1])
        return found

    def put(self, raw: bytes, trust: Trust, verified: VerifiedCredential) -> None:
        """Keep the result of verifying these bytes under this trust list."""
        if trust.digest != self._trust_digest:
            self._kept.clear()
            self._trust_digest = trust.digest
        asked, digest = self._asked  # what is put was most often asked for just before
        self._kept[digest if asked is raw else hashlib.sha256(raw).digest()] = verified
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
