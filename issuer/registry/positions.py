"""Positions and titles, each with the colour and the shape of its group on a face: a table that an office edits.

Colour alone would exclude people who cannot tell colours apart; shape and text say the same. The shipped list holds the
ranks 01.001 to 01.005; teachers', doctors' and accountants' codes are given to the best of knowledge and to be checked.
"""

import csv
import re
from collections.abc import Sequence
from datetime import datetime
from importlib import resources

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.statements.identifier import Scheme, check_third_field
from issuer import policy
from issuer.audit import log as audit
from issuer.errors import NotFound, Refused
from issuer.policy import Action, Actor
from issuer.registry.tables import Position

SHAPES = ("circle", "square", "triangle", "diamond", "star", "hexagon", "bar", "ring", "cross")
_COLOUR = re.compile(r"#[0-9a-f]{6}")


def load_shipped(session: Session) -> int:
    """Fill the positions that are not known yet; those an office edited stay. Answers how many were new."""
    known = set(session.scalars(select(Position.code)))
    file = resources.files("issuer.registry") / "data" / "positions.csv"
    rows = [row for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()) if row["code"] not in known]
    session.add_all(Position(**row) for row in rows)
    session.flush()
    return len(rows)


def put(
    session: Session, actor: Actor, code: str, name: str, level: str, colour: str, shape: str, now: datetime
) -> Position:
    """Add a position or change its name, group, colour and shape."""
    policy.require(actor, Action.AGENCIES_MANAGE, policy.EVERYWHERE)
    try:
        check_third_field(Scheme.POSITION, code)
    except Malformed as error:
        raise Refused("positions.bad_code", code=code) from error
    if not name.strip() or not level.strip():
        raise Refused("positions.no_name", code=code)
    if not _COLOUR.fullmatch(colour):
        raise Refused("positions.bad_colour", colour=colour)
    if shape not in SHAPES:
        raise Refused("positions.bad_shape", shape=shape, shapes=", ".join(SHAPES))
    position = session.get(Position, code)
    if position is None:
        position = Position(code=code)
        session.add(position)
    position.name, position.level, position.colour, position.shape = name.strip(), level.strip(), colour, shape
    session.flush()
    audit.append(session, actor, "position.put", code, {"name": name, "colour": colour, "shape": shape}, now)
    return position


def get(session: Session, code: str) -> Position:
    """Find a position by its code. Raises NotFound."""
    position = session.get(Position, code)
    if position is None:
        raise NotFound("positions.unknown", code=code)
    return position


def all_positions(session: Session) -> Sequence[Position]:
    """List positions by code."""
    return session.scalars(select(Position).order_by(Position.code)).all()
