"""How a device signs: by which mechanism, and with the PIN once more where a key asks for it each time."""

import hashlib
from collections.abc import Sequence, Set

from pkcs11 import Mechanism

from issuer.trust.pkcs11_keys import ED25519, Entry


class Signer:
    """Signs with keys of one login. The library's errors pass through."""

    def __init__(self, mechanisms: Set[Mechanism], pin: str) -> None:
        self._hashes_inside = Mechanism.ECDSA_SHA256 in mechanisms
        self._pin = pin

    def sign(self, entry: Entry, data: Sequence[bytes]) -> list[bytes]:
        """Sign each: ES256 as r ‖ s, or Ed25519."""
        if entry.mark.kind != ED25519 and not self._hashes_inside:
            return [self.sign_digest(entry, hashlib.sha256(one).digest()) for one in data]
        mechanism = Mechanism.EDDSA if entry.mark.kind == ED25519 else Mechanism.ECDSA_SHA256
        key, pin = entry.work(), self._pin_for(entry)
        return [key.sign(one, mechanism=mechanism, pin=pin) for one in data]

    def sign_digest(self, entry: Entry, digest: bytes) -> bytes:
        """ES256 of a SHA-256 made here: r ‖ s. Every device with P-256 does this."""
        signature: bytes = entry.work().sign(digest, mechanism=Mechanism.ECDSA, pin=self._pin_for(entry))
        return signature

    def _pin_for(self, entry: Entry) -> str | None:
        return self._pin if entry.asks_pin() else None
