"""A read sheet into the register: new, changed and unchanged records, with their portraits, in batches.

Each batch is one transaction, so that a sheet of 200,000 rows does not hold the others up; the same sheet again changes
nothing, so an import that was interrupted is simply run again.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer import database, policy
from issuer.audit import log as audit
from issuer.database import SessionFactory, reading, transaction
from issuer.errors import Forbidden, Refused
from issuer.policy import Action, Actor
from issuer.registry import people, photos
from issuer.registry.intake import Intake, ReadRow, WrongRow
from issuer.registry.people import Change
from issuer.registry.photos import Portrait
from issuer.registry.reading import Problem
from issuer.registry.record import PersonFacts, facts_of
from issuer.registry.tables import Person, Photo

BATCH_ROWS = 500

Progress = Callable[[int, int], None]
"""Told (rows done, rows in all)."""


@dataclass(slots=True)
class Outcome:
    """What an import did, or in a dry run would do. `sent_back` are rows refused by the register, not by the sheet.

    `bad_photos` are rows whose record was taken, but not its portrait.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    photos_new: int = 0
    without_photo: int = 0
    sent_back: list[WrongRow] = field(default_factory=list)
    bad_photos: list[WrongRow] = field(default_factory=list)


def run(
    factory: SessionFactory,
    actor: Actor,
    intake: Intake,
    portraits: Mapping[str, Path],
    now: datetime,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Import the rows of a sheet that are right; those in doubt and those wrong stay where they are.

    `portraits` are the files of `photos.list_folder`. Raises Forbidden when the actor may declare nobody at all.
    """
    policy.require_anywhere(actor, Action.PERSON_DECLARE)
    if actor.user_id is None:
        raise Forbidden("policy.needs_user")
    outcome = Outcome()
    for start in range(0, len(intake.rows), BATCH_ROWS):
        batch = intake.rows[start : start + BATCH_ROWS]
        made = _portraits(factory, batch, portraits, outcome)
        if dry_run:
            with reading(factory) as session:
                _sort_out(session, actor, batch, {number: it.sha256 for number, it in made.items()}, outcome)
        else:
            with transaction(factory) as session:
                _import(session, actor, intake.file, batch, made, now, outcome)
        if progress is not None:
            progress(start + len(batch), len(intake.rows))
    return outcome


@dataclass(frozen=True, slots=True)
class _Made:
    """A portrait for a row: its name, and itself where the register does not have it yet."""

    sha256: bytes
    portrait: Portrait | None


def _portraits(
    factory: SessionFactory, rows: Sequence[ReadRow], files: Mapping[str, Path], outcome: Outcome
) -> dict[str, _Made]:
    """Read the portraits of a batch, outside of any transaction; those the register knows are not made again."""
    raw: dict[str, bytes] = {}
    for row in rows:
        path = files.get(row.facts.citizen_number)
        if path is not None:
            raw[row.facts.citizen_number] = photos.read_file(path)
    hashes = {number: hashlib.sha256(data).digest() for number, data in raw.items()}
    with reading(factory) as session:
        query = select(Photo.source_sha256, Photo.sha256).where(Photo.source_sha256.in_(list(hashes.values())))
        stored = {row.source_sha256: row.sha256 for row in session.execute(query)}
    made: dict[str, _Made] = {}
    for row in rows:
        number = row.facts.citizen_number
        if number not in raw:
            continue
        if hashes[number] in stored:
            made[number] = _Made(stored[hashes[number]], None)
            continue
        try:
            portrait = photos.read_portrait(raw[number])
        except Refused as refused:
            outcome.bad_photos.append(WrongRow(row.line, (Problem(refused.code, refused.facts),)))
            continue
        made[number] = _Made(portrait.sha256, portrait)
        outcome.photos_new += 1
    return made


def _import(
    session: Session,
    actor: Actor,
    file: str,
    rows: Sequence[ReadRow],
    made: Mapping[str, _Made],
    now: datetime,
    outcome: Outcome,
) -> None:
    database.lock(session, people.NEW_PEOPLE)
    before = (outcome.new, outcome.changed)
    changes = _sort_out(session, actor, rows, {number: it.sha256 for number, it in made.items()}, outcome)
    needed = {change.facts.citizen_number for change in changes}
    for number, item in made.items():
        if item.portrait is not None and number in needed:
            photos.keep(session, item.portrait, now)
    if changes:
        people.write(session, actor, changes, f"sheet {file}", now)
        new, changed = outcome.new - before[0], outcome.changed - before[1]
        first, last = rows[0].line.number, rows[-1].line.number
        facts = {"new": new, "changed": changed, "from_row": first, "to_row": last}
        audit.append(session, actor, "people.imported", file, facts, now)


def _sort_out(
    session: Session, actor: Actor, rows: Sequence[ReadRow], portraits: Mapping[str, bytes], outcome: Outcome
) -> list[Change]:
    """Compare rows with the register: what must be written. A row the actor may not write goes back."""
    numbers = [row.facts.citizen_number for row in rows]
    query = select(Person).where(Person.citizen_number.in_(numbers))
    stored = {person.citizen_number: person for person in session.scalars(query)}
    changes: list[Change] = []
    for row in rows:
        number = row.facts.citizen_number
        person = stored.get(number)
        kept = None if person is None else person.photo_sha256
        facts = replace(row.facts, photo_sha256=portraits.get(number, kept))
        refused = _refusal(actor, facts, person)
        if refused is not None:
            outcome.sent_back.append(WrongRow(row.line, (refused,)))
            continue
        if facts.photo_sha256 is None:
            outcome.without_photo += 1
        if person is None:
            outcome.new += 1
            changes.append(Change(None, 0, facts))
        elif facts_of(person) != facts:
            outcome.changed += 1
            changes.append(Change(person.id, person.version, facts))
        else:
            outcome.unchanged += 1
    return changes


def _refusal(actor: Actor, facts: PersonFacts, person: Person | None) -> Problem | None:
    if not policy.allows(actor, Action.PERSON_DECLARE, facts.agency_code):
        return Problem("intake.other_agency", {"agency": facts.agency_code})
    if person is not None and not policy.allows(actor, Action.PERSON_DECLARE, person.agency_code):
        # Where the person is held is not told: the officer may not look there.
        return Problem("intake.held_elsewhere", {"number": facts.citizen_number})
    return None
