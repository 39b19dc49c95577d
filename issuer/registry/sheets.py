"""Office sheets as rows of cells: .xlsx and CSV, within limits that a bomb does not pass.

Nothing is guessed here: a cell stays what the file says it is (text, number, date), so that the reading of a row can
tell a number robbed of its zeros from one that was always short.
"""

import csv
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import ParseError

import openpyxl
from defusedxml import DefusedXmlException
from openpyxl.utils.exceptions import InvalidFileException

from issuer.errors import NotFound, Refused

MAX_FILE_BYTES = 100_000_000
MAX_UNPACKED_BYTES = 1_000_000_000
MAX_PACK_RATIO = 200
MAX_ZIP_ENTRIES = 2000
SMALL_ENTRY_BYTES = 1_000_000
"""An entry this small may be packed as tightly as it likes."""
MAX_ROWS = 300_000
MAX_COLUMNS = 100
MAX_CELL_CHARS = 2000
DELIMITERS = (",", ";", "\t")

DAMAGE = (
    InvalidFileException, DefusedXmlException, ParseError, zipfile.BadZipFile, zlib.error, struct.error, EOFError,
    LookupError, ValueError, TypeError, AttributeError, ArithmeticError, NotImplementedError, RuntimeError, OSError,
)  # fmt: skip
"""What openpyxl and zipfile raise over damaged files, found by damaging them."""

Cell = str | int | float | bool | date | None
"""What a cell holds. A date with a time of day is a `datetime`, which is a `date` too."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row that holds anything; `number` is the one the spreadsheet shows."""

    number: int
    cells: tuple[Cell, ...]


def read_lines(path: Path) -> list[Line]:
    """Read the first worksheet of an .xlsx file, or a CSV file. Raises NotFound, Refused."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise NotFound("file.unreadable", path=str(path), why=error.strerror or "") from error
    if size > MAX_FILE_BYTES:
        raise Refused("sheet.too_large", file=path.name, most=MAX_FILE_BYTES // 1_000_000)
    suffix = path.suffix.lower()
    if suffix == ".xlsx":
        return _read_workbook(path)
    if suffix in (".csv", ".txt", ".tsv"):
        return _read_csv(path)
    raise Refused("sheet.unknown_kind", file=path.name)


def _read_workbook(path: Path) -> list[Line]:
    try:
        # The handle is ours: openpyxl leaves its own open where a file is damaged.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # styles and validations that openpyxl leaves out
            _check_zip(file, path.name)
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what the file says of its size may be wrong
            return _collect(sheet.iter_rows(values_only=True), path.name)
    except DAMAGE as error:
        raise Refused("sheet.damaged", file=path.name, why=str(error)[:100]) from error


def _check_zip(file: BinaryIO, name: str) -> None:
    """Judge the archive by its directory; reading later never gives more than the directory says."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    file.seek(0)
    unpacked = sum(entry.file_size for entry in entries)
    tight = any(
        entry.file_size > SMALL_ENTRY_BYTES and entry.file_size > MAX_PACK_RATIO * max(entry.compress_size, 1)
        for entry in entries
    )
    if len(entries) > MAX_ZIP_ENTRIES or unpacked > MAX_UNPACKED_BYTES or tight:
        raise Refused("sheet.bomb", file=name)


def _read_csv(path: Path) -> list[Line]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Old Vietnamese code pages (CP1258, TCVN3, VNI) decode to wrong letters without an error: never guessed.
        raise Refused("file.not_utf8", path=path.name) from error
    if "\0" in text:
        raise Refused("file.not_utf8", path=path.name)
    delimiter = _delimiter(text)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        return _collect(_numbered(reader), path.name)
    except csv.Error as error:
        raise Refused("sheet.damaged", file=path.name, why=f"{reader.line_num}: {error}") from error


def _numbered(rows: Iterable[list[str]]) -> Iterator[tuple[Cell, ...]]:
    for row in rows:
        yield tuple(cell if cell else None for cell in row)


def _delimiter(text: str) -> str:
    """The one that divides the first lines into the most cells; offices send all three."""
    head = text.splitlines()[:5]
    return max(DELIMITERS, key=lambda candidate: max((line.count(candidate) for line in head), default=0))


def _collect(rows: Iterable[tuple[object, ...]], name: str) -> list[Line]:
    lines: list[Line] = []
    for number, row in enumerate(rows, start=1):
        # Counted with the empty rows: a file may claim a row with a number that nothing could ever reach.
        if number > MAX_ROWS:
            raise Refused("sheet.too_many_rows", file=name, most=MAX_ROWS)
        if len(row) > MAX_COLUMNS and any(cell is not None for cell in row[MAX_COLUMNS:]):
            raise Refused("sheet.too_many_columns", file=name, most=MAX_COLUMNS)
        cells = tuple(_cell(value, name, number) for value in row[:MAX_COLUMNS])
        if any(cell is not None for cell in cells):
            lines.append(Line(number, cells))
    return lines


def _cell(value: object, name: str, number: int) -> Cell:
    match value:
        case None:
            return None
        case str():
            if len(value) > MAX_CELL_CHARS:
                raise Refused("sheet.cell_too_long", file=name, row=number, most=MAX_CELL_CHARS)
            return value if value.strip() else None
        case bool() | int() | float() | date():
            return value
        case time() | timedelta():
            return str(value)
    return str(value)[:MAX_CELL_CHARS]


def shown(cell: Cell) -> str:
    """A cell as an office would read it: dates dd/mm/yyyy, whole numbers without a point."""
    match cell:
        case None:
            return ""
        case datetime():
            is_day = cell.time() == time(0)
            return f"{cell:%d/%m/%Y}" if is_day else f"{cell:%d/%m/%Y %H:%M}"
        case date():
            return f"{cell:%d/%m/%Y}"
        case float() if cell.is_integer() and abs(cell) < 1e15:
            return str(int(cell))
        case str():
            return cell.strip()
    return str(cell)
