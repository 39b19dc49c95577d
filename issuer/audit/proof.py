"""Proofs as files: that a row stands in the log, that a later log goes on from an earlier one. Checked without it.

A row's proof is a C2SP tlog-proof (c2sp.org/tlog-proof@v1) with the row itself as its extra data. For consistency
C2SP has no file; ours (docs/formats.md, F10) is written likewise.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from issuer.audit import merkle
from issuer.audit.merkle import HASH_BYTES
from issuer.audit.note import Checkpoint, NoteKey, verify_checkpoint
from issuer.errors import Refused

INCLUSION = "c2sp.org/tlog-proof@v1"
CONSISTENCY = "themo.audit/consistency@v1"
FILE_CHARS_MAX = 1 << 20
HASHES_MAX = 64 + 2
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class ProvenRow:
    """A row that stands in the log at a checkpoint: `entry` is its leaf (docs/formats.md, F10)."""

    n: int
    entry: bytes
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class ProvenGrowth:
    """A log that holds everything that an earlier checkpoint covered, unchanged and in its place."""

    old: Checkpoint
    new: Checkpoint


def write_inclusion(n: int, entry: bytes, path: Sequence[bytes], checkpoint: Checkpoint) -> str:
    """The proof that row `n` stands in the log at this checkpoint."""
    lines = [INCLUSION, f"extra {_b64(entry)}", f"index {n - 1}", *map(_b64, path), "", checkpoint.note]
    return "\n".join(lines)


def write_consistency(old: Checkpoint, path: Sequence[bytes], new: Checkpoint) -> str:
    """The proof that the log at `new` goes on from the log at `old`."""
    return "\n".join([CONSISTENCY, f"old {_b64(old.note.encode())}", *map(_b64, path), "", new.note])


def check(text: str, keys: Sequence[NoteKey]) -> ProvenRow | ProvenGrowth:
    """Check a proof of either kind with the keys of the log. Raises Refused for whatever is not proven."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if len(text) > FILE_CHARS_MAX or not blank or len(lines) < 2:
        raise Refused("audit.bad_proof", why="want a proof, an empty line and a checkpoint")
    new = verify_checkpoint(note, keys)
    match lines[0]:
        case kind if kind == INCLUSION:
            return _check_row(lines[1:], new)
        case kind if kind == CONSISTENCY:
            return _check_growth(lines[1:], new, keys)
        case _:
            raise Refused("audit.bad_proof", why="unknown kind")


def _check_row(lines: list[str], checkpoint: Checkpoint) -> ProvenRow:
    index = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
    if index is None or not lines[0].startswith("extra "):
        raise Refused("audit.bad_proof", why="want the row and its index")
    entry, place = _unb64(lines[0][6:]), int(index[1])
    if not merkle.is_included(merkle.leaf_hash(entry), place, checkpoint.size, _hashes(lines[2:]), checkpoint.root):
        raise Refused("audit.not_included", n=place + 1, size=checkpoint.size)
    try:
        row = json.loads(entry)
    except ValueError as error:
        raise Refused("audit.bad_proof", why="the row is not JSON") from error
    if not isinstance(row, list) or not row or row[0] != place + 1:
        raise Refused("audit.bad_proof", why="the row has another number")
    return ProvenRow(place + 1, entry, checkpoint)


def _check_growth(lines: list[str], new: Checkpoint, keys: Sequence[NoteKey]) -> ProvenGrowth:
    if not lines[0].startswith("old "):
        raise Refused("audit.bad_proof", why="want the earlier checkpoint")
    try:
        note = _unb64(lines[0][4:]).decode()
    except UnicodeDecodeError as error:
        raise Refused("audit.bad_proof", why="the earlier checkpoint is no text") from error
    old = verify_checkpoint(note, keys, is_held_to_log=True)
    if old.origin != new.origin:
        raise Refused("audit.bad_proof", why="checkpoints of two logs")
    if not merkle.is_consistent(old.size, old.root, new.size, new.root, _hashes(lines[1:])):
        raise Refused("audit.not_consistent", old=old.size, new=new.size)
    return ProvenGrowth(old, new)


def _hashes(lines: list[str]) -> list[bytes]:
    found = [_unb64(line) for line in lines]
    if len(found) > HASHES_MAX or any(len(one) != HASH_BYTES for one in found):
        raise Refused("audit.bad_proof", why="want hashes of 32 bytes")
    return found


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("audit.bad_proof", why="base64") from error
