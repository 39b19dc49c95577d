"""Signed notes and checkpoints as text (C2SP: c2sp.org/signed-note, c2sp.org/tlog-checkpoint), with Ed25519."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from issuer.audit.merkle import HASH_BYTES
from issuer.errors import Refused

ED25519: Final = b"\x01"  # signature type (signed-note, "Signature types")
PUBLIC_BYTES: Final = 32
ID_BYTES: Final = 4
SIGNATURES_MAX: Final = 16
NOTE_CHARS_MAX: Final = 65_536
_DASH: Final = "\u2014 "
_LAST: Final = "last="
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Last:
    """The one checkpoint that a key in other hands still vouches for."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class NoteKey:
    """Who signs: a name without spaces or plus, and an Ed25519 public key. `str` gives what others are handed.

    A key that came into other hands has a `last` checkpoint: it may have signed anything since.
    """

    name: str
    public: bytes
    last: Last | None = None

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(one.isspace() for one in self.name):
            raise Refused("audit.bad_key", why="a name without spaces and plus signs")
        if len(self.public) != PUBLIC_BYTES:
            raise Refused("audit.bad_key", why=f"{PUBLIC_BYTES} bytes of an Ed25519 key")

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name, newline, type, public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:ID_BYTES]

    def __str__(self) -> str:
        """As the verifier key of golang.org/x/mod/sumdb/note: name+id+base64(type, public key).

        Behind a dead key stands its last checkpoint (docs/formats.md, F10), which no other program knows.
        """
        key = f"{self.name}+{self.key_id.hex()}+{_b64(ED25519 + self.public)}"
        return key if self.last is None else f"{key} {_LAST}{self.last.size}:{_b64(self.last.root)}"

    @classmethod
    def read(cls, text: str) -> "NoteKey":
        """Read a verifier key. Raises Refused."""
        line, _, more = text.strip().partition(" ")
        parts = line.split("+", 2)
        if len(parts) != 3:
            raise Refused("audit.bad_key", why="name+id+key")
        raw = _unb64(parts[2], "audit.bad_key")
        if raw[:1] != ED25519:
            raise Refused("audit.bad_key", why="not an Ed25519 key")
        key = cls(parts[0], raw[1:], _read_last(more) if more else None)
        if key.key_id.hex() != parts[1]:
            raise Refused("audit.bad_key", why="the id is another key's")
        return key


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: of which log, how many rows, which root. `note` is the whole signed text."""

    origin: str
    size: int
    root: bytes
    note: str


def sign(text: str, key: NoteKey, signer: Callable[[bytes], bytes]) -> str:
    """Sign a text that ends in a newline."""
    signature = signer(text.encode())
    return f"{text}\n{_DASH}{key.name} {_b64(key.key_id + signature)}\n"


def verify(note: str, keys: Sequence[NoteKey]) -> str:
    """The text of a note, once a key of ours has signed it and none of ours has signed it wrongly. Raises Refused.

    Signatures of others are read over, as the format demands.
    """
    return _verify(note, keys)[0]


def signed_by(note: str, keys: Sequence[NoteKey]) -> list[NoteKey]:
    """Those of these keys that have signed a note. Raises Refused where none has."""
    return _verify(note, keys)[1]


def _verify(note: str, keys: Sequence[NoteKey]) -> tuple[str, list[NoteKey]]:
    text, lines = _take_apart(note)
    known = {(key.name, key.key_id): key for key in keys}
    good: list[NoteKey] = []
    for line in lines:
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        raw = _unb64(encoded, "audit.bad_note")
        if not line.startswith(_DASH) or not name or len(raw) <= ID_BYTES:
            raise Refused("audit.bad_note", why="signature line")
        key = known.get((name, raw[:ID_BYTES]))
        if key is not None:
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(raw[ID_BYTES:], text.encode())
            except InvalidSignature as error:
                raise Refused("audit.forged_note", name=name) from error
            good.append(key)
    if not good:
        raise Refused("audit.unsigned_note", names=" ".join(key.name for key in keys))
    return text, good


def sign_checkpoint(size: int, root: bytes, key: NoteKey, signer: Callable[[bytes], bytes]) -> Checkpoint:
    """Make and sign the checkpoint of a tree; the log's name is the key's."""
    text = f"{key.name}\n{size}\n{_b64(root)}\n"
    return Checkpoint(key.name, size, root, sign(text, key, signer))


def verify_checkpoint(note: str, keys: Sequence[NoteKey], *, is_held_to_log: bool = False) -> Checkpoint:
    """Read a checkpoint signed by one of these keys, for the log of that key's name. Raises Refused.

    A dead key vouches for its last checkpoint. `is_held_to_log`: the caller proves that the log of now goes on from
    this one; then it may be an earlier one too, and never a later one.
    """
    text, signers = _verify(note, keys)
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]) or lines[-1]:
        raise Refused("audit.bad_note", why="want origin, size and root")
    origin, size, encoded = lines[:3]
    root = _unb64(encoded, "audit.bad_note")
    if origin not in {key.name for key in keys} or not _SIZE.fullmatch(size) or len(root) != HASH_BYTES:
        raise Refused("audit.bad_note", why="origin, size or root")
    found = Checkpoint(origin, int(size), root, note)
    if not any(_vouches(key, found, is_held_to_log) for key in signers):
        last = max(key.last.size for key in signers if key.last is not None)
        raise Refused("audit.dead_key", size=found.size, last=last)
    return found


def _vouches(key: NoteKey, found: Checkpoint, is_held_to_log: bool) -> bool:
    if key.last is None or key.last == Last(found.size, found.root):
        return True
    return is_held_to_log and found.size < key.last.size


def _read_last(text: str) -> Last:
    size, _, root = text.removeprefix(_LAST).partition(":")
    raw = _unb64(root, "audit.bad_key")
    if not text.startswith(_LAST) or not _SIZE.fullmatch(size) or len(raw) != HASH_BYTES:
        raise Refused("audit.bad_key", why="last=size:root behind the key of one that is dead")
    return Last(int(size), raw)


def _take_apart(note: str) -> tuple[str, list[str]]:
    if len(note) > NOTE_CHARS_MAX or any(ord(one) < 0x20 and one != "\n" for one in note):
        raise Refused("audit.bad_note", why="too long, or control characters")
    text, blank, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not blank or lines[-1] or not 2 <= len(lines) <= SIGNATURES_MAX + 1:
        raise Refused("audit.bad_note", why="want a text, an empty line and signatures")
    return text + "\n", lines[:-1]


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _unb64(text: str, code: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(code, why="base64") from error
    if _b64(raw) != text:
        raise Refused(code, why="base64")
    return raw
