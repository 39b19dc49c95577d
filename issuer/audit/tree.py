"""The Merkle tree over the audit log, kept in tiles of 256 hashes; it grows behind the rows, in batches.

A tile is written until it is full and never again. A tree of n rows has n / 255 of them, and a proof reads a few of
each level.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer import database
from issuer.audit import log, merkle
from issuer.audit.log import BEGINNING, Break, Broken
from issuer.audit.merkle import HASH_BYTES
from issuer.audit.tables import AuditRow, TileRow
from issuer.database import SessionFactory
from issuer.errors import Conflict

HEIGHT = 8
WIDTH = 1 << HEIGHT
ROWS_AT_ONCE = 10_000
"""How many rows one transaction takes in: other writers wait only while its tiles are written."""


def grow(factory: SessionFactory, on_progress: Callable[[int], None] | None = None) -> int | Broken:
    """Take all rows into the tree that are not in it yet, checking that they follow each other. Answers its size.

    A row that does not fit is not taken in, nor what follows it. Any process may call, also several at once.
    """
    while True:
        with database.reading(factory) as session:
            size = size_of(session)
            previous = BEGINNING if size == 0 else session.scalar(select(AuditRow.hash).where(AuditRow.n == size))
            rows = log.rows_after(session, size, ROWS_AT_ONCE)
        if previous is None:
            return Broken(size, Break.SHORT)
        checked = log.check_rows(rows, size, previous)
        if isinstance(checked, Broken):
            return checked
        if not checked:
            return size
        with database.transaction(factory) as session:
            database.lock(session, "audit-tree")
            if size_of(session) == size:
                _extend(session, 0, size, [merkle.leaf_hash(one) for one in checked])
        if on_progress is not None:
            on_progress(size + len(checked))


def size_of(session: Session) -> int:
    """How many rows are in the tree."""
    query = select(TileRow.n, TileRow.hashes).where(TileRow.level == 0).order_by(TileRow.n.desc()).limit(1)
    newest = session.execute(query).one_or_none()
    return 0 if newest is None else newest.n * WIDTH + len(newest.hashes) // HASH_BYTES


def root(session: Session, size: int) -> bytes:
    """The root of the tree over the first `size` rows. Raises Conflict for tiles that are not there."""
    return merkle.root(size, subtrees(session))


def subtrees(session: Session) -> merkle.Subtree:
    """The full subtrees of the tree, each from the tiles it takes; a tile is read once."""
    held: dict[tuple[int, int], bytes] = {}

    def subtree(level: int, index: int) -> bytes:
        of_tile, height = divmod(level, HEIGHT)
        n, first = divmod(index << height, WIDTH)
        if (of_tile, n) not in held:
            held[of_tile, n] = _tile(session, of_tile, n)
        part = held[of_tile, n][first * HASH_BYTES : (first + (1 << height)) * HASH_BYTES]
        if len(part) != HASH_BYTES << height:
            raise Conflict("audit.no_tile", level=of_tile, n=n)
        return merkle.join(_cut(part))

    return subtree


class TreeWatch:
    """Beside a reading of the whole log: is each row the one that the tree holds, and what is the root so far."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.size = size_of(session)
        self.growing = merkle.Growing()
        self._tile = b""

    def take(self, n: int, leaf: bytes) -> Broken | None:
        """Compare one row; rows behind the tree's end are not in it yet."""
        found = merkle.leaf_hash(leaf)
        if n <= self.size:
            at = (n - 1) % WIDTH
            if at == 0:
                self._tile = _tile(self._session, 0, (n - 1) // WIDTH)
            if self._tile[at * HASH_BYTES : (at + 1) * HASH_BYTES] != found:
                return Broken(n, Break.TREE)
        self.growing.add(found)
        if n == self.size and self.growing.root() != root(self._session, n):
            return Broken(n, Break.TREE)
        return None


def _tile(session: Session, level: int, n: int) -> bytes:
    found = session.scalar(select(TileRow.hashes).where(TileRow.level == level, TileRow.n == n))
    return b"" if found is None else found


def _extend(session: Session, level: int, count: int, hashes: list[bytes]) -> None:
    """Write hashes behind the `count` that stand on a level, and the roots of tiles that they fill on the next."""
    filled: list[bytes] = []
    n, done = count // WIDTH, 0
    while done < len(hashes):
        row: Any = session.get(TileRow, (level, n))
        held = b"" if row is None else row.hashes
        taken = hashes[done : done + WIDTH - len(held) // HASH_BYTES]
        whole = held + b"".join(taken)
        if row is None:
            session.add(TileRow(level=level, n=n, hashes=whole))
        else:
            row.hashes = whole
        if len(whole) == WIDTH * HASH_BYTES:
            filled.append(merkle.join(_cut(whole)))
        done += len(taken)
        n += 1
    if filled:
        _extend(session, level + 1, count // WIDTH, filled)


def _cut(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
