"""Append to the audit log, read it, check its chain of hashes (docs/formats.md, F10).

The tree over the rows grows behind them (issuer/audit/tree.py): an act pays for its row alone.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from issuer import database
from issuer.audit.tables import AuditRow
from issuer.policy import Actor

BEGINNING = bytes(32)
"""What stands as `previous` of the first row."""
BATCH_ROWS = 2000
COLUMNS = (
    AuditRow.n,
    AuditRow.at,
    AuditRow.actor,
    AuditRow.actor_id,
    AuditRow.action,
    AuditRow.subject,
    AuditRow.facts,
    AuditRow.previous,
    AuditRow.hash,
)


class Break(StrEnum):
    """How a row can break the chain."""

    NUMBER = "number"
    LINK = "link"
    HASH = "hash"
    TREE = "tree"  # not the row that the tree holds
    CHECKPOINT = "checkpoint"  # a signed checkpoint says something else of the rows up to here
    SHORT = "short"  # rows that a tree or checkpoint covers are not there any more


@dataclass(frozen=True, slots=True)
class Intact:
    """Every row is as it was written; `head` is the last hash, to be compared with one noted elsewhere."""

    rows: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row that is not as it was written."""

    n: int
    how: Break


OnRow = Callable[[int, bytes], Broken | None]


def append(
    session: Session, actor: Actor, action: str, subject: str, facts: Mapping[str, object], now: datetime
) -> AuditRow:
    """Write down an act in the caller's transaction: no act without its row, no row without its act.

    `facts` are texts, whole numbers, booleans, and lists and maps of them; anything else raises TypeError.
    """
    database.lock(session, "audit")
    newest = session.execute(select(AuditRow.n, AuditRow.hash).order_by(AuditRow.n.desc()).limit(1)).one_or_none()
    n, previous = (1, BEGINNING) if newest is None else (newest.n + 1, newest.hash)
    at = now.astimezone(UTC)
    written = {name: _plain(value) for name, value in facts.items()}
    leaf = _leaf(n, at, actor.name, actor.user_id, action, subject, written)
    row = AuditRow(
        n=n,
        at=at,
        actor=actor.name,
        actor_id=actor.user_id,
        action=action,
        subject=subject,
        facts=written,
        previous=previous,
        hash=_chain(previous, leaf),
    )
    session.add(row)
    session.flush()
    return row


def verify(session: Session, on_row: OnRow | None = None) -> Intact | Broken:
    """Read the whole log and name the first row that was altered, renumbered, taken out or put in.

    `on_row` gets each row's number and leaf, and may name a break of its own. A log cut off at its end is intact as far
    as it goes: compare it with a checkpoint (issuer/audit/checkpoints.py), or `head` with one noted elsewhere.
    """
    n, previous = 0, BEGINNING
    while rows := rows_after(session, n):
        checked = check_rows(rows, n, previous)
        if isinstance(checked, Broken):
            return checked
        for leaf in checked:
            n += 1
            found = on_row(n, leaf) if on_row is not None else None
            if found is not None:
                return found
        previous = rows[-1].hash
    return Intact(n, previous)


def rows_after(session: Session, n: int, limit: int = BATCH_ROWS) -> Sequence[Row[Any]]:
    """The next rows after number n, without the objects: there may be millions."""
    return session.execute(select(*COLUMNS).where(AuditRow.n > n).order_by(AuditRow.n).limit(limit)).all()


def check_rows(rows: Iterable[Row[Any]], n: int, previous: bytes) -> list[bytes] | Broken:
    """The leaves of rows that follow number n, whose hash is `previous`; or the first that does not fit."""
    leaves: list[bytes] = []
    for row in rows:
        n += 1
        if row.n != n:
            return Broken(n, Break.NUMBER)
        if row.previous != previous:
            return Broken(n, Break.LINK)
        leaf = leaf_of(row)
        if row.hash != _chain(previous, leaf):
            return Broken(n, Break.HASH)
        leaves.append(leaf)
        previous = row.hash
    return leaves


def leaf_of(row: Row[Any] | AuditRow) -> bytes:
    """What the chain and the tree hash of a row."""
    return _leaf(row.n, row.at, row.actor, row.actor_id, row.action, row.subject, row.facts)


def entries(
    session: Session,
    *,
    before: int | None = None,
    action: str | None = None,
    subject: str | None = None,
    actor_id: uuid.UUID | None = None,
    limit: int = 50,
) -> Sequence[AuditRow]:
    """Read the log from its end, page by page: `before` is the last number of the page already seen."""
    query = select(AuditRow).order_by(AuditRow.n.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRow.n < before)
    if action is not None:
        query = query.where(database.starts_with(AuditRow.action, action))
    if subject is not None:
        query = query.where(AuditRow.subject == subject)
    if actor_id is not None:
        query = query.where(AuditRow.actor_id == actor_id)
    return session.scalars(query).all()


def _plain(value: object) -> object:
    """Copy a fact into what JSON gives back unchanged."""
    match value:
        case str() | bool() | int() | None:
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    raise TypeError(f"an audit fact of type {type(value).__name__}")


def _leaf(
    n: int, at: datetime, actor: str, actor_id: uuid.UUID | None, action: str, subject: str, facts: object
) -> bytes:
    written = [n, at.isoformat(timespec="microseconds"), actor, str(actor_id or ""), action, subject, facts]
    return json.dumps(written, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _chain(previous: bytes, leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + previous + leaf).digest()
