"""A sheet read into records: what is right, what an officer must confirm, what is wrong and why. Nothing is lost.

Every row ends in exactly one of the three. A number that a spreadsheet robbed of its leading zeros is shown with what
it probably was; it counts only once confirmed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer.registry.columns import Header, find_header
from issuer.registry.reading import Doubt, Known, Problem, RowReading
from issuer.registry.record import PersonFacts
from issuer.registry.sheets import Line, read_lines
from issuer.registry.tables import Agency, Place, Position


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row that was understood."""

    line: Line
    facts: PersonFacts


@dataclass(frozen=True, slots=True)
class DoubtedRow:
    """A row that is right if its doubts are confirmed."""

    row: ReadRow
    doubts: tuple[Doubt, ...]


@dataclass(frozen=True, slots=True)
class WrongRow:
    """A row that goes back to its office."""

    line: Line
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Intake:
    """A whole sheet, read."""

    file: str
    header: Header
    rows: tuple[ReadRow, ...]
    to_confirm: tuple[DoubtedRow, ...]
    wrong: tuple[WrongRow, ...]

    def confirm(self, numbers: Collection[int] | None = None) -> "Intake":
        """Take the doubted rows as proposed: all of them, or those with these row numbers."""
        taken = [item for item in self.to_confirm if numbers is None or item.row.line.number in numbers]
        left = tuple(item for item in self.to_confirm if numbers is not None and item.row.line.number not in numbers)
        rows = sorted([*self.rows, *(item.row for item in taken)], key=lambda row: row.line.number)
        return replace(self, rows=tuple(rows), to_confirm=left)

    def unconfirmed(self) -> tuple[WrongRow, ...]:
        """The rows still in doubt, as rows that go back: the reason names what stands there and what is proposed."""
        return tuple(
            WrongRow(
                item.row.line,
                tuple(
                    Problem("intake.zeros_lost", {"column": it.column, "read": it.as_read, "proposed": it.proposed})
                    for it in item.doubts
                ),
            )
            for item in self.to_confirm
        )


def known(session: Session) -> Known:
    """What the register knows now and a sheet may name."""
    return Known(
        agencies=frozenset(session.scalars(select(Agency.code))),
        places=frozenset(session.scalars(select(Place.code))),
        positions=dict(session.execute(select(Position.code, Position.name)).all()),
    )


def read_sheet(path: Path, known: Known, today: date) -> Intake:
    """Read an .xlsx or CSV file of people. Raises NotFound or Refused only over the file as a whole."""
    lines = read_lines(path)
    header = find_header(lines, path.name)
    rows: list[ReadRow] = []
    doubted: list[DoubtedRow] = []
    wrong: list[WrongRow] = []
    for line in lines:
        if line.number <= header.line.number:
            continue
        reading = RowReading(header, line, known, today)
        facts = reading.facts()
        if facts is None:
            wrong.append(WrongRow(line, tuple(reading.problems)))
        elif reading.doubts:
            doubted.append(DoubtedRow(ReadRow(line, facts), tuple(reading.doubts)))
        else:
            rows.append(ReadRow(line, facts))
    repeated = _repeats([*rows, *(item.row for item in doubted)])
    return Intake(
        file=path.name,
        header=header,
        rows=tuple(row for row in rows if row.line.number not in repeated),
        to_confirm=tuple(item for item in doubted if item.row.line.number not in repeated),
        wrong=tuple(sorted([*wrong, *repeated.values()], key=lambda row: row.line.number)),
    )


def _repeats(rows: Iterable[ReadRow]) -> dict[int, WrongRow]:
    """Rows whose citizen number stands in the sheet more than once, by row number: none of them is taken."""
    by_number: dict[str, list[ReadRow]] = defaultdict(list)
    for row in rows:
        by_number[row.facts.citizen_number].append(row)
    found: dict[int, WrongRow] = {}
    for number, same in by_number.items():
        if len(same) < 2:
            continue
        for row in same:
            others = ", ".join(str(other.line.number) for other in same if other is not row)
            found[row.line.number] = WrongRow(
                row.line, (Problem("intake.repeated", {"number": number, "rows": others}),)
            )
    return found
