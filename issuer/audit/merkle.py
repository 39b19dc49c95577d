"""Merkle tree hashing and proofs (RFC 6962 §2.1): pure functions over SHA-256, and what checks a proof.

Leaves are numbered from 0; `[lo, hi)` are leaves from `lo` up to, not including, `hi`.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Subtree = Callable[[int, int], bytes]
"""Answers the hash of the full subtree of 2^level leaves (first argument) at an index (second)."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def join(hashes: Sequence[bytes]) -> bytes:
    """The root over 2^n hashes of one height."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def root(size: int, subtree: Subtree) -> bytes:
    """The root of a tree of that size."""
    return _range_hash(0, size, subtree) if size else EMPTY_ROOT


def inclusion(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The audit path of a leaf in the tree of that size (§2.1.1), lowest first."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    lo, hi = 0, size
    while hi - lo > 1:
        middle = lo + _split(hi - lo)
        if index < middle:
            path.append(_range_hash(middle, hi, subtree))
            hi = middle
        else:
            path.append(_range_hash(lo, middle, subtree))
            lo = middle
    return path[::-1]


def consistency(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """The proof that the tree of size `new` begins with the one of size `old` (§2.1.2)."""
    if not 0 <= old <= new:
        raise ValueError(f"no proof from {old} to {new}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    lo, hi, is_whole = 0, new, True
    while hi - lo != old - lo:
        middle = lo + _split(hi - lo)
        if old <= middle:
            path.append(_range_hash(middle, hi, subtree))
            hi = middle
        else:
            path.append(_range_hash(lo, middle, subtree))
            lo, is_whole = middle, False
    if not is_whole:
        path.append(_range_hash(lo, hi, subtree))
    return path[::-1]


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root_hash: bytes) -> bool:
    """Check an audit path (RFC 9162 §2.1.3.2, for the same tree)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for one in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(one, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, one)
        at, last = at >> 1, last >> 1
    return last == 0 and hmac.compare_digest(found, root_hash)


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Check a consistency proof (RFC 9162 §2.1.4.2, for the same tree)."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        begins = EMPTY_ROOT if old == 0 else new_root
        return not path and hmac.compare_digest(old_root, begins)
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    of_old = of_new = steps[0]
    for one in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            of_old, of_new = node_hash(one, of_old), node_hash(one, of_new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            of_new = node_hash(of_new, one)
        at, last = at >> 1, last >> 1
    return last == 0 and hmac.compare_digest(of_old, old_root) and hmac.compare_digest(of_new, new_root)


class Growing:
    """The root of a tree that is built leaf by leaf, with the full subtrees on its right edge alone in memory."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []  # full subtrees, the largest first

    def add(self, leaf: bytes) -> None:
        """Take the next leaf's hash."""
        self._edge.append(leaf)
        self.size += 1
        ends = self.size
        while ends & 1 == 0:
            right = self._edge.pop()
            self._edge[-1] = node_hash(self._edge[-1], right)
            ends >>= 1

    def root(self) -> bytes:
        """The root of what was taken so far."""
        if not self._edge:
            return EMPTY_ROOT
        found = self._edge[-1]
        for left in self._edge[-2::-1]:
            found = node_hash(left, found)
        return found


def _split(size: int) -> int:
    """The largest power of two below size."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_hash(lo: int, hi: int, subtree: Subtree) -> bytes:
    size = hi - lo
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return subtree(level, lo >> level)
    middle = lo + _split(size)
    return node_hash(_range_hash(lo, middle, subtree), _range_hash(middle, hi, subtree))
