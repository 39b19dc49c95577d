"""The seals of the HSM's log: what they sign, and how far they are believed when the key that makes them has changed.

A key is replaced by a line `seal-key` which names the next one and is signed by the one before it: whoever knows the
first key follows the chain. A key that was in other hands proves nothing from there on, neither its seals nor whom it
names as its follower: what stands after that line is believed only as far as a head of the log says that was kept
elsewhere (`hsm-sim log-head`).
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from hsm_sim.errors import BadRequest, LogBroken

LABELS = b"themo-hsm-log-"
SEAL_LABEL, CHANGE_LABEL = LABELS + b"1", LABELS + b"key-1"
SEALED_MARK = b',"seal","ok","'
CHANGED_MARK = b',"seal-key","ok","'
KEY_HEX_CHARS = 64
HASH_BYTES = 32
_HEAD = re.compile(r"lines=(\d{1,18}) bytes=\d+ last=([0-9a-f]{64}) seal-key=([0-9a-f]{64}|-)")


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A line that names the next key (32 bytes). `doubted_after`: after this line the key before was in other hands."""

    line: int
    public: bytes
    doubted_after: int | None = None


@dataclass(frozen=True, slots=True)
class KeptHead:
    """Where a log stood when somebody looked: the hash of its last line, and the key that sealed it then."""

    last_hash: bytes
    seal_key: bytes | None


def sealed_bytes(count: int, last_hash: bytes) -> bytes:
    """What a seal signs: how many lines stand before it, and the hash of the last of them."""
    return SEAL_LABEL + count.to_bytes(8, "big") + last_hash


def change_bytes(count: int, last_hash: bytes, subject: str) -> bytes:
    """What the old key signs of a change: the same, and what the line says."""
    return CHANGE_LABEL + count.to_bytes(8, "big") + last_hash + subject.encode()


def change_subject(public: bytes, doubted_after: int | None) -> str:
    """What the line says: the new key in hex, and after which line the old one is in doubt."""
    return public.hex() if doubted_after is None else f"{public.hex()} {doubted_after}"


class SealReader:
    """Follows the seals of a log that is read from its beginning. Without a first key, signatures are not looked at."""

    def __init__(self, first: bytes | None) -> None:
        self._key = _public(first) if first is not None else None
        self.public = first
        self.changes: list[KeyChange] = []

    def seal(self, count: int, before: bytes, body: bytes) -> None:
        """Take a seal after `count` lines. Raises LogBroken."""
        if self._key is not None:
            self._check(self._key, count, json.loads(body)["e"][5], sealed_bytes(count, before))

    def change(self, count: int, before: bytes, body: bytes) -> None:
        """Take a change of the key. Raises LogBroken."""
        subject, signature = json.loads(body)["e"][4:6]
        key, _, after = subject.partition(" ")
        if len(key) != KEY_HEX_CHARS or not (after.isdigit() or not after):
            raise LogBroken(f"line {count + 1} names no key")
        if self._key is not None:
            self._check(self._key, count, signature, change_bytes(count, before, subject))
            self.public = bytes.fromhex(key)
            self._key = _public(self.public)
        self.changes.append(KeyChange(count + 1, bytes.fromhex(key), int(after) if after else None))

    def _check(self, key: ed25519.Ed25519PublicKey, count: int, signature: str, data: bytes) -> None:
        try:
            key.verify(bytes.fromhex(signature), data)
        except (InvalidSignature, ValueError) as error:
            raise LogBroken(f"line {count + 1} is no seal of this HSM") from error

    def check_head(self, count: int, last_hash: bytes, kept: KeptHead) -> None:
        """Hold the log against a head that was kept elsewhere. Raises LogBroken."""
        if kept.last_hash != last_hash:
            raise LogBroken(f"line {count} is not the one of the head that was kept")
        if None not in (self.public, kept.seal_key) and self.public != kept.seal_key:
            raise LogBroken(f"at line {count} another key sealed than the head that was kept says")


def _public(raw: bytes) -> ed25519.Ed25519PublicKey:
    return ed25519.Ed25519PublicKey.from_public_bytes(raw)


def believed_until(count: int, changes: Iterable[KeyChange], kept_until: int, doubted_after: int | None) -> int:
    """The last line that is believed: all `count` of them, or less where a key was in other hands.

    `doubted_after` is what the reader knows without the log: somebody who has the key would not write it down there.
    """
    changes = list(changes)
    doubts = [(one.doubted_after, one.line) for one in changes if one.doubted_after is not None]
    if doubted_after is not None:
        following = [one.line for one in changes if one.line > doubted_after]
        doubts.append((doubted_after, following[0] if following else count + 1))
    limits = [max(after, kept_until) for after, changed in doubts if kept_until < changed]
    return min([count, *limits])


def read_heads(text: str) -> Mapping[int, KeptHead]:
    """Read heads as `hsm-sim log-head` printed them, one a line. Raises BadRequest for anything else."""
    heads: dict[int, KeptHead] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        found = _HEAD.fullmatch(line)
        if found is None:
            raise BadRequest(f"{line[:40]!r} is no head of a log as hsm-sim log-head prints it", "heads.form")
        count, last, key = found.groups()
        kept = KeptHead(bytes.fromhex(last), None if key == "-" else bytes.fromhex(key))
        if heads.setdefault(int(count), kept) != kept:
            raise BadRequest(f"two heads of {count} lines that differ", "heads.form")
    return heads


def read_seal_key(text: str) -> bytes:
    """A public key in hex. Raises BadRequest."""
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise BadRequest("a seal key is 64 hex digits", "seal-key.form") from error
    if len(key) != HASH_BYTES:
        raise BadRequest("a seal key is 64 hex digits", "seal-key.form")
    return key
