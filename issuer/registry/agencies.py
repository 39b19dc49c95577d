"""Agencies: codes with an interval of validity and a successor (docs/formats.md, F1), from a list or one by one."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.statements.agency import check_agency_code, normalise_agency_code
from issuer import policy
from issuer.audit import log as audit
from issuer.errors import Conflict, NotFound, Refused
from issuer.policy import Action, Actor
from issuer.registry.tables import Agency, Place

COLUMNS = ("code", "name", "kind", "closed_on", "successor")
SCHEMES = (1, 2)
FIRST_SCHEME = 1
"""Decision 838/QĐ-BNV (2023); an agency moves to scheme 2, the draft circular's, by itself."""


@dataclass(frozen=True, slots=True)
class AgencyRow:
    """One line of an agency list. `closed_on` is the first day on which the code is closed."""

    code: str
    name: str
    kind: str
    closed_on: date | None
    successor: str | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading a list did."""

    new: int
    changed: int
    unchanged: int


def shipped_rows() -> list[AgencyRow]:
    """The list that comes with the product: ministries and provinces, those closed in 2025 with their successors."""
    return parse_rows(_shipped("agencies.csv"), "agencies.csv")


def read_rows(path: Path) -> list[AgencyRow]:
    """Read an office's list: CSV, UTF-8, with the columns of COLUMNS."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NotFound("file.unreadable", path=str(path), why=error.strerror or "") from error
    except UnicodeDecodeError as error:
        raise Refused("file.not_utf8", path=str(path)) from error
    return parse_rows(text.splitlines(), path.name)


def parse_rows(lines: Sequence[str], name: str) -> list[AgencyRow]:
    """Read the lines of an agency list; `name` stands in the refusal."""
    reader = csv.DictReader(lines)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise Refused("agencies.bad_columns", file=name, want=",".join(COLUMNS))
    rows: list[AgencyRow] = []
    for line in reader:
        try:
            rows.append(
                AgencyRow(
                    code=normalise_agency_code(line["code"].strip()),
                    name=line["name"].strip(),
                    kind=line["kind"].strip(),
                    closed_on=date.fromisoformat(line["closed_on"]) if line["closed_on"] else None,
                    successor=normalise_agency_code(line["successor"]) if line["successor"] else None,
                )
            )
        except (Malformed, ValueError, AttributeError) as error:
            raise Refused("agencies.bad_row", file=name, line=reader.line_num, why=str(error)) from error
    return rows


def load(session: Session, actor: Actor, rows: Iterable[AgencyRow], now: datetime) -> Loaded:
    """Put a list into the register. Loading it again changes nothing; a code that is not in the list stays."""
    policy.require(actor, Action.AGENCIES_MANAGE, policy.EVERYWHERE)
    known = {agency.code: agency for agency in session.scalars(select(Agency))}
    new = changed = unchanged = 0
    listed = list(rows)
    for row in sorted(listed, key=lambda row: row.code.count(".")):
        agency = known.get(row.code)
        told = (row.name, row.kind, row.closed_on)
        if agency is None:
            known[row.code] = _new(row.code, row.name, row.kind, known)
            known[row.code].valid_to = row.closed_on
            session.add(known[row.code])
            new += 1
        elif (agency.name, agency.kind, agency.valid_to) != told or agency.successor != row.successor:
            agency.name, agency.kind, agency.valid_to = told
            changed += 1
        else:
            unchanged += 1
    session.flush()
    for row in listed:
        if row.successor is not None and row.successor not in known:
            raise Refused("agencies.no_successor", code=row.code, successor=row.successor)
        known[row.code].successor = row.successor
    session.flush()
    if new or changed:
        facts = {"new": new, "changed": changed, "unchanged": unchanged}
        audit.append(session, actor, "agencies.loaded", "agencies", facts, now)
    return Loaded(new, changed, unchanged)


def load_places(session: Session) -> int:
    """Fill the places of birth registration that are not known yet; corrected ones stay. Answers how many."""
    known = set(session.scalars(select(Place.code)))
    rows = [row for row in csv.DictReader(_shipped("places.csv")) if row["code"] not in known]
    session.add_all(Place(code=row["code"], name=row["name"]) for row in rows)
    session.flush()
    return len(rows)


def add(session: Session, actor: Actor, code: str, name: str, kind: str, now: datetime) -> Agency:
    """Add one body or unit; its parent is the code above it, where that exists."""
    policy.require(actor, Action.AGENCIES_MANAGE, code)
    try:
        check_agency_code(code)
    except Malformed as error:
        raise Refused("agencies.bad_code", code=code) from error
    if not name.strip():
        raise Refused("agencies.no_name", code=code)
    known = {agency.code: agency for agency in session.scalars(select(Agency))}
    if code in known:
        raise Conflict("agencies.exists", code=code)
    agency = _new(code, name.strip(), kind, known)
    session.add(agency)
    session.flush()
    audit.append(session, actor, "agency.added", code, {"name": agency.name, "kind": kind}, now)
    return agency


def set_scheme(session: Session, actor: Actor, code: str, scheme: int, now: datetime) -> Agency:
    """Say which scheme of identifiers an agency's new cards carry."""
    policy.require(actor, Action.AGENCIES_MANAGE, code)
    if scheme not in SCHEMES:
        raise Refused("agencies.bad_scheme", scheme=scheme)
    agency = get(session, code)
    agency.scheme = scheme
    audit.append(session, actor, "agency.scheme", code, {"scheme": scheme}, now)
    return agency


def close(session: Session, actor: Actor, code: str, on: date, successor: str | None, now: datetime) -> Agency:
    """Close a code from a day on; its row stays for what was signed under it."""
    policy.require(actor, Action.AGENCIES_MANAGE, code)
    agency = get(session, code)
    if successor is not None and get(session, successor).code == code:
        raise Refused("agencies.own_successor", code=code)
    agency.valid_to, agency.successor = on, successor
    facts = {"on": on.isoformat(), "successor": successor or ""}
    audit.append(session, actor, "agency.closed", code, facts, now)
    return agency


def get(session: Session, code: str) -> Agency:
    """Find an agency by its code. Raises NotFound."""
    agency = session.get(Agency, code)
    if agency is None:
        raise NotFound("agencies.unknown", code=code)
    return agency


def all_agencies(session: Session, on: date | None = None) -> Sequence[Agency]:
    """List agencies by code, only those open on a day if one is given."""
    found = session.scalars(select(Agency).order_by(Agency.code)).all()
    return [agency for agency in found if on is None or is_open(agency, on)]


def is_open(agency: Agency, on: date) -> bool:
    """Say whether the code is valid on this day."""
    begun = agency.valid_from is None or agency.valid_from <= on
    return begun and (agency.valid_to is None or on < agency.valid_to)


def current(session: Session, code: str, on: date) -> Agency:
    """Follow successors to the agency that stands for this code on a day. Raises NotFound where none does."""
    seen: set[str] = set()
    agency = get(session, code)
    while not is_open(agency, on):
        if agency.successor is None or agency.successor in seen:
            raise NotFound("agencies.no_successor", code=code, successor=agency.successor or "-")
        seen.add(agency.code)
        agency = get(session, agency.successor)
    return agency


def _new(code: str, name: str, kind: str, known: dict[str, Agency]) -> Agency:
    above, dot, _ = code.rpartition(".")
    return Agency(
        code=code,
        name=name,
        short_name=name,
        kind=kind,
        valid_from=None,
        valid_to=None,
        successor=None,
        parent=above if dot and above in known else None,
        scheme=FIRST_SCHEME,
    )


def _shipped(name: str) -> list[str]:
    return (resources.files("issuer.registry") / "data" / name).read_text(encoding="utf-8").splitlines()
