"""Alarms about doors: what must not happen, and happened. They stay until somebody has looked at them."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer import policy
from issuer.access.tables import Door, DoorAlarm
from issuer.audit import log as audit
from issuer.errors import NotFound
from issuer.policy import Action, Actor

log = logging.getLogger(__name__)


class AlarmKind(StrEnum):
    """What a door's log or receipts did (docs/formats.md, F9, F13)."""

    FORK = "fork"  # one number with two contents: an old copy of the log came back, or a second door has its key
    GAP = "gap"  # records are missing
    SHORTENED = "shortened"  # the log ends earlier than it did
    BROKEN = "broken"  # a record does not follow its predecessor
    FORGED_HEAD = "forged-head"  # a head that the door's key did not sign
    WENT_BACK = "went-back"  # the door stands at an older place of the status feed than it did
    AHEAD = "ahead"  # the door says that it applied an event which does not exist


def append(session: Session, door_id: uuid.UUID, kind: AlarmKind, facts: Mapping[str, object], now: datetime) -> None:
    """Raise an alarm, once: the same one again, while nobody has looked, adds nothing."""
    waiting = select(DoorAlarm).where(
        DoorAlarm.door_id == door_id, DoorAlarm.kind == kind.value, DoorAlarm.seen_at.is_(None)
    )
    if any(row.facts == facts for row in session.scalars(waiting)):
        return
    log.warning("door alarm door=%s kind=%s facts=%s", door_id, kind.value, facts)
    session.add(DoorAlarm(door_id=door_id, at=now, kind=kind.value, facts=dict(facts)))
    session.flush()


def waiting(session: Session, actor: Actor, limit: int = 100) -> Sequence[tuple[DoorAlarm, Door]]:
    """The alarms that nobody has looked at, newest first, of doors that the actor may see."""
    mine = policy.scope_filter(actor, Action.EVENTS_VIEW, Door.owner_agency)
    found = (
        select(DoorAlarm, Door)
        .join(Door, Door.id == DoorAlarm.door_id)
        .where(mine, DoorAlarm.seen_at.is_(None))
        .order_by(DoorAlarm.id.desc())
        .limit(limit)
    )
    return session.execute(found).all()


def seen(session: Session, actor: Actor, alarm_id: int, now: datetime) -> None:
    """Note who has looked at an alarm. Raises NotFound, Forbidden."""
    row = session.get(DoorAlarm, alarm_id)
    if row is None:
        raise NotFound("alarm.unknown", alarm=alarm_id)
    door = session.get_one(Door, row.door_id)
    policy.require(actor, Action.DOOR_MANAGE, door.owner_agency)
    if row.seen_at is None:
        row.seen_at, row.seen_by = now, actor.name
        audit.append(session, actor, "door.alarm.seen", str(door.id), {"alarm": alarm_id, "kind": row.kind}, now)
