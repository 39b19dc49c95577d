"""The key of the audit log's checkpoints is in other hands: it is buried behind the last checkpoint that is believed.

Whoever has the key can sign checkpoints of a log that never was. So the log is held against one of before, best one
that somebody else has kept; from there on a new key vouches, and what the old one signed later counts for nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from issuer import database
from issuer.audit import checkpoints, note, tree
from issuer.audit import log as audit
from issuer.audit.log import Broken
from issuer.audit.merkle import EMPTY_ROOT
from issuer.audit.note import Checkpoint, Last, NoteKey
from issuer.audit.tables import AuditKeyRow
from issuer.database import SessionFactory
from issuer.errors import NotFound, Refused
from issuer.policy import Action, Actor, require_anywhere
from issuer.trust.key_labels import next_key
from issuer.trust.port import Ceremony

COMPROMISED = "compromised"


@dataclass(frozen=True, slots=True)
class Buried:
    """What was done: the key and its successor, up to where it is believed, and what it signed after that.

    `keys` are the log's keys as everybody has to be told them; `checkpoint` is the first of the new one.
    """

    label: str
    made: tuple[str, ...]
    last: Last
    since: datetime
    withdrawn: tuple[str, ...]
    keys: tuple[NoteKey, ...]
    checkpoint: Checkpoint


def is_audit_key(factory: SessionFactory, label: str) -> bool:
    """Say whether a label is of a key that signed checkpoints."""
    with database.reading(factory) as session:
        return session.get(AuditKeyRow, label) is not None


def compromised(
    factory: SessionFactory,
    hsm: Ceremony,
    actor: Actor,
    label: str,
    installation: str,
    now: datetime,
    since: datetime | None = None,
    kept: str | None = None,
) -> Buried:
    """Stop the key, hold the log against the last believed checkpoint, let a new key vouch from there.

    `kept`: that checkpoint, from elsewhere; without it the newest one of ours from before `since`, by default now.
    Raises Refused where the log does not fit it: the key is stopped, and somebody has to look. May be run again: the
    key is never believed further than it was after the run before.
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    if not is_audit_key(factory, label):
        raise NotFound("trust.unknown_key", label=label)
    if hsm.info(label).state != COMPROMISED:
        hsm.set_state(label, COMPROMISED)
    since = min(since or now, now)
    last = _last(factory, kept, since)
    with database.reading(factory) as session:
        is_in_use = checkpoints.active_label(session) == label
    info = None
    if is_in_use:
        stem = f"{checkpoints.USE}-{installation}"
        info = next_key(factory, hsm, stem, checkpoints.KIND, checkpoints.USE, (installation,))
    made = (info.label,) if info is not None else ()
    with database.transaction(factory) as session:
        if info is not None:
            checkpoints.add_key(session, info, installation, now)
        last, since = _earlier(session, label, last, since)
        withdrawn = checkpoints.bury(session, label, last, since)
        facts = {"use": checkpoints.USE, "replaced_by": made, "since": since.isoformat(), "withdrawn": len(withdrawn)}
        facts |= {"last_size": last.size, "last_root": last.root.hex()}
        audit.append(session, actor, "key.compromised", label, facts, now)
    first = checkpoints.make(factory, hsm, now)
    with database.reading(factory) as session:
        keys = checkpoints.keys(session)
    return Buried(label, made, last, since, tuple(withdrawn), tuple(keys), first)


def _earlier(session: Session, label: str, last: Last, since: datetime) -> tuple[Last, datetime]:
    """Up to where and when a key is believed: for one that is dead already, never further than before."""
    row = session.get_one(AuditKeyRow, label)
    if row.dead_since is None or row.last_size is None:
        return last, since
    if row.last_size < last.size:
        last = Last(row.last_size, row.last_root or b"")
    return last, min(since, row.dead_since)


def _last(factory: SessionFactory, kept: str | None, since: datetime) -> Last:
    """The last believed checkpoint, once the log of now goes on from it. Before the first one: the empty log."""
    grown = tree.grow(factory)
    if isinstance(grown, Broken):
        raise Refused(f"audit.broken_{grown.how}", n=grown.n)
    with database.reading(factory) as session:
        if kept is not None:
            found = note.verify_checkpoint(kept, checkpoints.keys(session), is_held_to_log=True)
        else:
            before = checkpoints.last_before(session, since)
            if before is None:
                return Last(0, EMPTY_ROOT)
            found = before
        held = checkpoints.hold(session, [found])
    if isinstance(held, Broken):
        raise Refused(f"audit.broken_{held.how}", n=held.n)
    return Last(found.size, found.root)
