"""Checkpoints of the audit log: signed by the HSM, kept, held against the log; and the proofs that hang on them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from issuer import database
from issuer.audit import log as audit
from issuer.audit import merkle, note, proof, tree
from issuer.audit.log import Break, Broken, Intact
from issuer.audit.note import Checkpoint, Last, NoteKey
from issuer.audit.tables import AuditKeyRow, AuditRow, CheckpointRow
from issuer.database import SessionFactory
from issuer.errors import Conflict, NotFound, Refused
from issuer.trust.port import KeyInfo, Signing
from issuer.trust.signature_check import require_of

log = logging.getLogger(__name__)

USE, KIND = "audit", "ed25519"
EVERY_ROWS = 1000
EVERY = timedelta(seconds=60)
"""A checkpoint is due after so many rows, or so long after the last one if there are new rows at all."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The log fits its chain, its tree and all its checkpoints; `uncovered` rows have come since the last."""

    chain: Intact
    checkpoints: int
    uncovered: int


def name_of(installation: str) -> str:
    """The name of an installation's log, as checkpoints bear it."""
    return f"themo/{installation}/audit"


def add_key(session: Session, info: KeyInfo, installation: str, now: datetime) -> None:
    """Let checkpoints be signed by this key of the HSM from now on. One that is known already stays as it is."""
    if session.get(AuditKeyRow, info.label) is None:
        key = NoteKey(name_of(installation), info.public or b"")
        session.add(AuditKeyRow(label=info.label, name=key.name, public=key.public, since=now))
        session.flush()


def keys(session: Session) -> list[NoteKey]:
    """All keys that checkpoints were ever signed with, the newest first."""
    return [_key(row) for row in _key_rows(session)]


def active_label(session: Session) -> str | None:
    """The label of the key that signs now; None before the first."""
    rows = _key_rows(session)
    return rows[0].label if rows else None


def retired_labels(session: Session) -> list[str]:
    """The labels of the keys that signed before."""
    return [row.label for row in _key_rows(session)[1:]]


def is_due(session: Session, now: datetime) -> bool:
    """Say whether there are rows to be covered, and enough of them or for long enough; False without a key."""
    newest = _newest(session)
    covered = newest.size if newest is not None else 0
    rows = session.scalar(select(func.max(AuditRow.n))) or 0
    if rows == covered or not _key_rows(session):
        return False
    return rows - covered >= EVERY_ROWS or newest is None or now - newest.at >= EVERY


def make(factory: SessionFactory, hsm: Signing, now: datetime) -> Checkpoint:
    """Take all rows into the tree and sign a checkpoint, or answer the one there is of this size.

    Raises Refused where the log does not fit its chain or its last checkpoint: nothing is signed then.
    """
    size = tree.grow(factory)
    if isinstance(size, Broken):
        raise Refused(f"audit.broken_{size.how}", n=size.n)
    with database.reading(factory) as session:
        rows = _key_rows(session)
        newest = _newest(session)
        if not rows:
            raise NotFound("audit.no_key")
        if not size:
            raise NotFound("audit.empty")
        held = _read(newest, keys(session)) if newest is not None else None
        if held is not None and (held.size > size or tree.root(session, held.size) != held.root):
            raise Refused(f"audit.broken_{Break.CHECKPOINT}", n=held.size)
        root = tree.root(session, size)
    if held is not None and held.size == size:
        return held
    label, public = rows[0].label, rows[0].public

    def sign(data: bytes) -> bytes:
        return require_of(label, public, data, hsm.sign(label, USE, data))

    made = note.sign_checkpoint(size, root, NoteKey(rows[0].name, public), sign)
    with database.transaction(factory) as session:
        database.lock(session, "audit-tree")
        if session.get(CheckpointRow, size) is None:
            session.add(CheckpointRow(size=size, at=now, note=made.note))
    log.info("audit checkpoint rows=%d root=%s", size, root.hex())
    return made


def make_due(factory: SessionFactory, hsm: Signing, now: datetime) -> Checkpoint | None:
    """Make a checkpoint if one is due."""
    with database.reading(factory) as session:
        due = is_due(session, now)
    return make(factory, hsm, now) if due else None


def verify(session: Session) -> Verified | Broken:
    """Hold the whole log against its chain, its tree and every checkpoint.

    Raises Refused for a checkpoint that is forged, or of a dead key beyond its last.
    """
    known = keys(session)
    query = select(CheckpointRow).order_by(CheckpointRow.size)
    return hold(session, [_read(row, known) for row in session.scalars(query)])


def hold(session: Session, told: Sequence[Checkpoint]) -> Verified | Broken:
    """Hold the whole log against its chain, its tree and these checkpoints, the smallest first."""
    waiting, watch = list(reversed(told)), tree.TreeWatch(session)

    def on_row(n: int, leaf: bytes) -> Broken | None:
        broken = watch.take(n, leaf)
        while broken is None and waiting and waiting[-1].size <= n:
            one = waiting.pop()
            if (one.size, one.root) != (n, watch.growing.root()):
                return Broken(n, Break.CHECKPOINT)
        return broken

    covered = told[-1].size if told else 0
    chain = audit.verify(session, on_row)
    if isinstance(chain, Broken):
        return chain
    if chain.rows < max(watch.size, covered):
        return Broken(chain.rows + 1, Break.SHORT)
    return Verified(chain, len(told), chain.rows - covered)


def last_before(session: Session, moment: datetime) -> Checkpoint | None:
    """The newest checkpoint that was made before a moment; None where there is none."""
    query = select(CheckpointRow).where(CheckpointRow.at < moment).order_by(CheckpointRow.size.desc()).limit(1)
    row = session.scalars(query).first()
    return None if row is None else _read(row, keys(session))


def bury(session: Session, label: str, last: Last, since: datetime) -> list[str]:
    """Believe a key in nothing but its last checkpoint. Answers the later ones of it, which are taken out."""
    row = session.get_one(AuditKeyRow, label)
    row.dead_since, row.last_size, row.last_root = since, last.size, last.root
    session.flush()
    known, gone = keys(session), []
    for one in session.scalars(
        select(CheckpointRow).where(CheckpointRow.size > last.size).order_by(CheckpointRow.size)
    ):
        if all(key.public == row.public for key in note.signed_by(one.note, known)):
            gone.append(one.note)
            session.delete(one)
    session.flush()
    return gone


def newest(session: Session) -> Checkpoint:
    """The last checkpoint. Raises NotFound."""
    found = _newest(session)
    if found is None:
        raise NotFound("audit.no_checkpoint")
    return _read(found, keys(session))


def prove_row(session: Session, n: int) -> str:
    """The proof that a row stands in the log at the last checkpoint, as a file. Raises NotFound."""
    checkpoint = newest(session)
    row = session.get(AuditRow, n)
    if row is None or n > checkpoint.size:
        raise NotFound("audit.not_covered", n=n, size=checkpoint.size)
    path = merkle.inclusion(n - 1, checkpoint.size, tree.subtrees(session))
    return _self_checked(session, proof.write_inclusion(n, audit.leaf_of(row), path, checkpoint))


def prove_growth(session: Session, noted: str) -> str:
    """The proof that the log goes on from a checkpoint that somebody noted, as a file. Raises Refused, NotFound."""
    old, new = note.verify_checkpoint(noted, keys(session), is_held_to_log=True), newest(session)
    if old.size > new.size:
        raise Refused("audit.shorter", old=old.size, new=new.size)
    path = merkle.consistency(old.size, new.size, tree.subtrees(session))
    return _self_checked(session, proof.write_consistency(old, path, new))


def _self_checked(session: Session, text: str) -> str:
    """A proof that proves nothing is not handed out: it says that the log was changed."""
    proof.check(text, keys(session))
    return text


def _key_rows(session: Session) -> Sequence[AuditKeyRow]:
    return session.scalars(select(AuditKeyRow).order_by(AuditKeyRow.since.desc(), AuditKeyRow.label.desc())).all()


def _key(row: AuditKeyRow) -> NoteKey:
    last = None if row.last_size is None else Last(row.last_size, row.last_root or b"")
    return NoteKey(row.name, row.public, last)


def _newest(session: Session) -> CheckpointRow | None:
    return session.scalars(select(CheckpointRow).order_by(CheckpointRow.size.desc()).limit(1)).first()


def _read(row: CheckpointRow, known: Sequence[NoteKey]) -> Checkpoint:
    held = note.verify_checkpoint(row.note, known, is_held_to_log=True)
    if held.size != row.size:
        raise Conflict(f"audit.broken_{Break.CHECKPOINT}", n=row.size)
    return held
