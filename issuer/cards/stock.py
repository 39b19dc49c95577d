"""The stock of blank cards: taken in by batch, given to one card each, counted to the last one."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from issuer.audit import log as audit
from issuer.cards.tables import StockItem
from issuer.errors import Conflict, NotFound, Refused
from issuer.policy import Action, Actor, require_anywhere

SERIAL = re.compile(r"[0-9A-F]{20}")
"""Ten bytes in hex: the key diversification data that the chip answers to INITIALIZE UPDATE."""
COLUMN = "serial"


class StockState(StrEnum):
    """Where a blank stands."""

    BLANK = "blank"
    ALLOCATED = "allocated"
    USED = "used"
    SPOILED = "spoiled"


@dataclass(frozen=True, slots=True)
class Intake:
    """What an intake did: how many blanks are new, how many were known already (from the same batch)."""

    added: int
    known: int


def read_serials(path: Path) -> list[str]:
    """Read a card maker's delivery list: CSV with a column `serial`. Raises Refused naming the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Refused("stock.unreadable", path=str(path), why=error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise Refused("stock.unreadable", path=str(path), why="UTF-8") from error
    reader = csv.DictReader(text.splitlines())
    if COLUMN not in (reader.fieldnames or ()):
        raise Refused("stock.no_column", path=str(path), column=COLUMN)
    serials: list[str] = []
    for row in reader:
        serial = (row[COLUMN] or "").strip().upper()
        if not SERIAL.fullmatch(serial):
            raise Refused("stock.bad_serial", line=reader.line_num, serial=serial[:40])
        serials.append(serial)
    return serials


def add_batch(
    session: Session, actor: Actor, batch: str, serials: Iterable[str], transport_label: str, now: datetime
) -> Intake:
    """Take a batch in. The same list twice adds nothing; a serial of another batch is refused."""
    require_anywhere(actor, Action.STOCK_MANAGE)
    wanted = list(dict.fromkeys(serials))
    if not wanted:
        raise Refused("stock.empty_batch", batch=batch)
    for serial in wanted:
        if not SERIAL.fullmatch(serial):
            raise Refused("stock.bad_serial", line=0, serial=serial[:40])
    known = {row.serial: row for row in session.scalars(select(StockItem).where(StockItem.serial.in_(wanted)))}
    for row in known.values():
        if row.batch != batch or row.transport_label != transport_label:
            raise Refused("stock.other_batch", serial=row.serial, batch=row.batch)
    new = [serial for serial in wanted if serial not in known]
    session.add_all(
        StockItem(
            serial=serial,
            batch=batch,
            transport_label=transport_label,
            state=StockState.BLANK,
            added=now,
            changed=now,
            reason=None,
        )
        for serial in new
    )
    session.flush()
    audit.append(session, actor, "stock.added", batch, {"added": len(new), "known": len(known)}, now)
    return Intake(len(new), len(known))


def take(session: Session, serial: str | None, now: datetime) -> StockItem:
    """Give out a blank, a named one or the next: exactly once, whoever asks at the same time.

    Raises NotFound for an unknown serial or an empty stock, Conflict for one that is not blank any more.
    """
    if serial is None:
        free = select(StockItem.serial).where(StockItem.state == StockState.BLANK).order_by(StockItem.serial).limit(1)
        serial = session.scalars(free.with_for_update(skip_locked=True)).first()
        if serial is None:
            raise NotFound("stock.none_left")
    claim = update(StockItem).where(StockItem.serial == serial, StockItem.state == StockState.BLANK)
    taken = session.scalars(
        claim.values(state=StockState.ALLOCATED, changed=now).returning(StockItem.serial)
    ).one_or_none()
    item = session.get(StockItem, serial, populate_existing=True)
    if item is None:
        raise NotFound("stock.unknown", serial=serial)
    if taken is None:
        raise Conflict("stock.not_blank", serial=serial, state=item.state)
    return item


def mark(session: Session, serial: str, state: StockState, reason: str | None, now: datetime) -> None:
    """Say what became of a blank."""
    item = session.get(StockItem, serial)
    if item is None:
        raise NotFound("stock.unknown", serial=serial)
    item.state, item.reason, item.changed = state, reason, now
    session.flush()


def counts(session: Session) -> dict[StockState, int]:
    """How many blanks are in each state."""
    rows = session.execute(select(StockItem.state, func.count()).group_by(StockItem.state)).all()
    found = {StockState(state): count for state, count in rows}
    return {state: found.get(state, 0) for state in StockState}


def items(session: Session, actor: Actor, state: StockState | None = None, limit: int = 200) -> Sequence[StockItem]:
    """List blanks by serial."""
    require_anywhere(actor, Action.STOCK_MANAGE)
    query = select(StockItem).order_by(StockItem.serial).limit(limit)
    if state is not None:
        query = query.where(StockItem.state == state)
    return session.scalars(query).all()
