"""What a person's record says, checked once, and the revisions that keep what it said before."""

import hashlib
import json
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import insert, select, tuple_
from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.statements.citizen import parse_citizen_number
from issuer.errors import Refused
from issuer.policy import Actor
from issuer.registry import names
from issuer.registry.tables import Category, Person, PersonRevision

FIRST_BIRTH_YEAR = 1900
MAX_TEXT_CHARS = 150
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is run, not shown, when a spreadsheet opens it."""
BATCH_KEYS = 500
KEPT = ("person_id", "version", "valid_from", "recorded", "actor", "actor_id", "source", "facts")
"""The columns of a revision that its hash covers."""


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """What is declared about a person. `sex` is 1 male, 2 female; texts are NFC."""

    citizen_number: str
    full_name: str
    birth_date: date
    sex: int
    agency_code: str
    unit: str
    position_code: str | None
    title: str
    category: str
    attested_on: date | None
    photo_sha256: bytes | None

    def columns(self) -> dict[str, object]:
        """The columns of `people` that these facts fill."""
        return {
            "citizen_number": self.citizen_number,
            "full_name": self.full_name,
            "name_fold": names.fold(self.full_name),
            "name_sort": names.sort_key(self.full_name),
            "birth_date": self.birth_date,
            "sex": self.sex,
            "agency_code": self.agency_code,
            "unit": self.unit,
            "position_code": self.position_code,
            "title": self.title,
            "category": self.category,
            "attested_on": self.attested_on,
            "photo_sha256": self.photo_sha256,
        }

    def as_json(self) -> dict[str, object]:
        """The facts as a revision keeps them."""
        return {
            "citizen_number": self.citizen_number,
            "full_name": self.full_name,
            "birth_date": self.birth_date.isoformat(),
            "sex": self.sex,
            "agency_code": self.agency_code,
            "unit": self.unit,
            "position_code": self.position_code,
            "title": self.title,
            "category": self.category,
            "attested_on": None if self.attested_on is None else self.attested_on.isoformat(),
            "photo_sha256": None if self.photo_sha256 is None else self.photo_sha256.hex(),
        }


@dataclass(frozen=True, slots=True)
class Revision:
    """One new version of one record, to be kept."""

    person_id: uuid.UUID
    version: int
    valid_from: date
    facts: PersonFacts


def facts_of(person: Person) -> PersonFacts:
    """The facts that a row holds now."""
    return PersonFacts(
        citizen_number=person.citizen_number,
        full_name=person.full_name,
        birth_date=person.birth_date,
        sex=person.sex,
        agency_code=person.agency_code,
        unit=person.unit,
        position_code=person.position_code,
        title=person.title,
        category=person.category,
        attested_on=person.attested_on,
        photo_sha256=person.photo_sha256,
    )


def check_number(text: str) -> str:
    """Read a citizen number. Raises Refused."""
    try:
        return parse_citizen_number(text).number
    except Malformed as error:
        raise Refused("record.bad_number", value=text[:40]) from error


def check_name(text: str) -> str:
    """Read a full name: at least two words, as every name in the register has. Raises Refused."""
    if not text.strip():
        raise Refused("record.no_name")
    try:
        name = names.normalise(text)
    except Malformed as error:
        raise Refused("record.bad_name", value=text[:40]) from error
    if " " not in name:
        raise Refused("record.one_word_name", value=name)
    return name


def check_birth(day: date, today: date) -> date:
    """A birth date lies between 1900 and today. Raises Refused."""
    if day.year < FIRST_BIRTH_YEAR or day > today:
        raise Refused("record.bad_birth", value=f"{day:%d/%m/%Y}")
    return day


def check_category(text: str) -> str:
    """Read a staff category: CB CC VC XA XA0 HĐ. Raises Refused."""
    category = unicodedata.normalize("NFC", text).strip().upper().replace("HD", "HĐ")
    if category not in set(Category):
        raise Refused("record.bad_category", value=text[:40], known=" ".join(Category))
    return category


def check_text(text: str, what: str) -> str:
    """Read a short free text in NFC. One that a spreadsheet would run as a formula is refused."""
    clean = unicodedata.normalize("NFC", " ".join(text.split()))
    if len(clean) > MAX_TEXT_CHARS:
        raise Refused("record.too_long", field=what, most=MAX_TEXT_CHARS)
    if clean.startswith(FORMULA_STARTS):
        raise Refused("record.formula", field=what)
    if any(unicodedata.category(character)[0] == "C" for character in clean):
        raise Refused("record.bad_character", field=what)
    return clean


def keep(session: Session, actor: Actor, revisions: Sequence[Revision], source: str, now: datetime) -> None:
    """Write revisions of many people, each chained by its hash to the one before of the same person."""
    previous = _hashes(session, [(item.person_id, item.version - 1) for item in revisions if item.version > 1])
    recorded = now.astimezone(UTC)
    rows = []
    for item in revisions:
        row = PersonRevision(
            person_id=item.person_id,
            version=item.version,
            valid_from=item.valid_from,
            recorded=recorded,
            actor=actor.name,
            actor_id=actor.user_id,
            source=source,
            facts=item.facts.as_json(),
        )
        said = {name: getattr(row, name) for name in KEPT}
        rows.append(said | {"hash": _chain(previous.get(item.person_id, b""), row)})
    if rows:
        session.execute(insert(PersonRevision), rows)


def history(session: Session, person_id: uuid.UUID) -> Sequence[PersonRevision]:
    """Every version of a record, the first one first."""
    query = select(PersonRevision).where(PersonRevision.person_id == person_id).order_by(PersonRevision.version)
    return session.scalars(query).all()


def first_false_version(session: Session, person_id: uuid.UUID) -> int | None:
    """Check the chain of a record's revisions: the version that was altered or is missing, or None."""
    previous = b""
    for version, row in enumerate(history(session, person_id), start=1):
        if row.version != version or row.hash != _chain(previous, row):
            return version
        previous = row.hash
    return None


def _hashes(session: Session, versions: Sequence[tuple[uuid.UUID, int]]) -> Mapping[uuid.UUID, bytes]:
    found: dict[uuid.UUID, bytes] = {}
    key = tuple_(PersonRevision.person_id, PersonRevision.version)
    for start in range(0, len(versions), BATCH_KEYS):
        batch = versions[start : start + BATCH_KEYS]
        for row in session.execute(select(PersonRevision.person_id, PersonRevision.hash).where(key.in_(batch))):
            found[row.person_id] = row.hash
    return found


def _chain(previous: bytes, row: PersonRevision) -> bytes:
    said = [
        str(row.person_id),
        row.version,
        row.valid_from.isoformat(),
        row.recorded.isoformat(timespec="microseconds"),
        row.actor,
        str(row.actor_id or ""),
        row.source,
        row.facts,
    ]
    leaf = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(b"\x00" + previous + leaf).digest()
