"""The store's backup: a copy under a wrap key that exists only as shares, and what is made from one again."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hsm_sim.errors import StoreSealed
from hsm_sim.keys import Key, KeyState, make_key
from hsm_sim.shares import combine, look, split
from hsm_sim.store import SECRET_BYTES, State, Store, read_state, write_copy

LOCK, NEW = ".lock", ".new"
"""What stands beside a store while a process holds it, or died over it."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of a new wrap key, in the order of their holders, and the number that all of them bear."""

    words: tuple[str, ...] = field(repr=False)
    split: int


def check_value(key: Key) -> bytes:
    """The public key or key check value, worked out anew from the secret; none of a destroyed key."""
    info = key.info
    if info.state is KeyState.DESTROYED:
        return b""
    made = make_key(info.label, info.kind, info.use, info.scope, info.created, key.secret, info.state, info.terms)
    return made.info.public or made.info.kcv or b""


def check_values(state: State) -> dict[str, bytes]:
    """The check value of every key, by label."""
    return {label: check_value(key) for label, key in state.keys.items()}


def new_shares(threshold: int, count: int) -> tuple[bytes, Shares]:
    """Draw a wrap key; it is kept nowhere but in its shares. Raises BadRequest for a threshold that is none."""
    wrap_key = os.urandom(SECRET_BYTES)
    words = tuple(split(wrap_key, threshold, count))
    return wrap_key, Shares(words, look(words[0]).split)


def write(state: State, wrap_key: bytes, path: Path) -> str:
    """Write a backup to a new file; gives SHA-256 of the file in hex. Raises StoreSealed."""
    write_copy(path, wrap_key, state, os.urandom)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def restore(path: Path, wrap_key: bytes, store: Path, secret: bytes) -> State:
    """Make a new store from a backup, under a secret of its own. Its log begins anew. Raises StoreSealed."""
    state = read_state(path, wrap_key)
    fresh = State(
        keys=state.keys,
        pins=state.pins,
        jobs=state.jobs,
        caps=state.caps,
        counts=state.counts,
        settings=state.settings,
    )
    write_copy(store, secret, fresh, os.urandom)
    return fresh


def remove(path: Path) -> None:
    """Take a store's file away, and what a process that died left beside it."""
    for name in (path, path.with_name(path.name + LOCK), path.with_name(path.name + NEW)):
        name.unlink(missing_ok=True)


def trial(path: Path, shares: Sequence[str], threshold: int, scratch: Path, expected: Mapping[str, bytes]) -> int:
    """Restore a backup into a scratch store, compare every key's check value, take the scratch store away again.

    Each share is used at least once, together with those after it. Gives how many keys were compared. Raises
    BadRequest for shares that give no secret, StoreSealed where the backup does not open or holds anything else.
    """
    row = [*shares, *shares]
    keys = {combine(row[first : first + threshold]) for first in range(len(shares))}
    if len(keys) != 1:
        raise StoreSealed("the shares give different keys")
    remove(scratch)
    secret = os.urandom(SECRET_BYTES)
    try:
        restore(path, keys.pop(), scratch, secret)
        opened = Store(scratch, secret, os.urandom)
        try:
            found = check_values(opened.state)
        finally:
            opened.close()
    finally:
        remove(scratch)
    wrong = sorted(
        label for label in found.keys() | expected.keys() if label not in found or found[label] != expected.get(label)
    )
    if wrong:
        raise StoreSealed(f"trial restore: {wrong[0]} is missing, more than expected, or has another check value")
    return len(found)
