"""One row of a sheet, read cell by cell: its facts, what is doubtful in it, what is wrong with it."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from cardlink.errors import Malformed
from cardlink.statements.agency import normalise_agency_code
from issuer.errors import Refused
from issuer.registry import record
from issuer.registry.columns import Column, Header
from issuer.registry.names import fold
from issuer.registry.record import PersonFacts
from issuer.registry.sheets import Cell, Line, shown

NUMBER_DIGITS = 12
MOST_ZEROS_LOST = 2
"""A place code begins with at most two zeros (001 to 096)."""
OLD_NUMBER_DIGITS = 9
SEXES = {"nam": 1, "nu": 2, "male": 1, "female": 2}

_DAY = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})", re.ASCII)
_ISO_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ]00:00(?::00)?)?", re.ASCII)
_ROUNDED = re.compile(r"\d([.,]\d+)?E\+\d+", re.ASCII | re.IGNORECASE)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known:
    """What the register knows and a sheet may name; `positions` gives each code its name."""

    agencies: Collection[str]
    places: Collection[str]
    positions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a row: a code of the catalogue and its facts."""

    code: str
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A cell that lost its leading zeros: what stands there, what it probably was."""

    column: str
    as_read: str
    proposed: str


class RowReading:
    """One row being read: every cell is looked at, so that a row comes back once with all that is wrong."""

    def __init__(self, header: Header, line: Line, known: Known, today: date) -> None:
        self.problems: list[Problem] = []
        self.doubts: list[Doubt] = []
        self._header = header
        self._line = line
        self._known = known
        self._today = today

    def facts(self) -> PersonFacts | None:
        """The row's facts, or None when a problem was found. The photo is not the sheet's."""
        number = self._number()
        name = self._try(lambda: record.check_name(self._text(Column.NAME)))
        birth = self._day(Column.BIRTH)
        birth = None if birth is None else self._birth(birth)
        sex = self._sex()
        agency = self._agency()
        unit = self._try(lambda: record.check_text(self._text(Column.UNIT), self._title(Column.UNIT)))
        title = self._try(lambda: record.check_text(self._text(Column.TITLE), self._title(Column.TITLE)))
        category = self._try(lambda: record.check_category(self._text(Column.CATEGORY)))
        position = self._position()
        attested = self._attested()
        if number is None or name is None or birth is None or sex is None or agency is None or category is None:
            return None
        if self.problems or unit is None or title is None:
            return None
        return PersonFacts(
            citizen_number=number,
            full_name=name,
            birth_date=birth,
            sex=sex,
            agency_code=agency,
            unit=unit,
            position_code=position,
            title=title or self._known.positions.get(position or "", ""),
            category=category,
            attested_on=attested,
            photo_sha256=None,
        )

    def _cell(self, column: Column) -> Cell:
        return self._header.cell(self._line, column)

    def _text(self, column: Column) -> str:
        return shown(self._cell(column))

    def _title(self, column: Column) -> str:
        return self._header.title(column) if column in self._header.places else column.value

    def _wrong(self, code: str, /, **facts: object) -> None:
        self.problems.append(Problem(code, facts))

    def _try(self, check: Callable[[], T]) -> T | None:
        """Run a check of the record; what it refuses becomes a problem of the row."""
        try:
            return check()
        except Refused as refused:
            self.problems.append(Problem(refused.code, refused.facts))
            return None

    def _number(self) -> str | None:
        text = self._text(Column.NUMBER)
        if not text:
            self._wrong("record.no_number")
            return None
        if text.isascii() and text.isdigit():
            if len(text) == NUMBER_DIGITS:
                return text
            proposed = text.zfill(NUMBER_DIGITS)
            if NUMBER_DIGITS - MOST_ZEROS_LOST <= len(text) < NUMBER_DIGITS and proposed[:3] in self._known.places:
                self.doubts.append(Doubt(self._title(Column.NUMBER), text, proposed))
                return proposed
            if len(text) == OLD_NUMBER_DIGITS:
                self._wrong("record.old_number", value=text)
                return None
        elif _ROUNDED.fullmatch(text):
            self._wrong("record.rounded_number", value=text[:40])
            return None
        self._wrong("record.bad_number", value=text[:40])
        return None

    def _birth(self, day: date) -> date | None:
        return self._try(lambda: record.check_birth(day, self._today))

    def _day(self, column: Column) -> date | None:
        """A real date, or text dd/mm/yyyy (or ISO). A bare number or a two-digit year is not guessed at."""
        cell = self._cell(column)
        if cell is None:
            self._wrong("record.no_date", column=self._title(column))
            return None
        if isinstance(cell, datetime):
            return cell.date()
        if isinstance(cell, date):
            return cell
        text = shown(cell)
        try:
            if match := _DAY.fullmatch(text):
                return date(int(match[3]), int(match[2]), int(match[1]))
            if match := _ISO_DAY.fullmatch(text):
                return date(int(match[1]), int(match[2]), int(match[3]))
        except ValueError:
            self._wrong("record.no_such_day", column=self._title(column), value=text)
            return None
        self._wrong("record.bad_date", column=self._title(column), value=text[:40])
        return None

    def _attested(self) -> date | None:
        if self._cell(Column.ATTESTED) is None:
            return None
        day = self._day(Column.ATTESTED)
        if day is not None and day > self._today:
            self._wrong("record.attested_in_future", value=f"{day:%d/%m/%Y}")
            return None
        return day

    def _sex(self) -> int | None:
        text = self._text(Column.SEX)
        sex = SEXES.get(fold(text))
        if sex is None:
            self._wrong("record.bad_sex", value=text[:40])
        return sex

    def _agency(self) -> str | None:
        text = self._text(Column.AGENCY).upper()
        try:
            code = normalise_agency_code(text)
        except Malformed:
            self._wrong("agencies.bad_code", code=text[:40])
            return None
        if code not in self._known.agencies:
            self._wrong("agencies.unknown", code=code)
            return None
        return code

    def _position(self) -> str | None:
        """A known code, or nothing. `01.003` read as the number 1.003 is proposed, not taken."""
        text = self._text(Column.POSITION)
        if not text or text in self._known.positions:
            return text or None
        if isinstance(self._cell(Column.POSITION), int | float):
            could_be = [code for code in self._known.positions if _bare(code) == _bare(text)]
            if len(could_be) == 1:
                self.doubts.append(Doubt(self._title(Column.POSITION), text, could_be[0]))
                return could_be[0]
        self._wrong("positions.unknown", code=text[:40])
        return None


def _bare(code: str) -> str:
    """A code as a spreadsheet leaves it when it takes it for a number: no zeros at either end."""
    whole, point, fraction = code.partition(".")
    return f"{whole.lstrip('0')}{point}{fraction.rstrip('0')}".rstrip(".")
