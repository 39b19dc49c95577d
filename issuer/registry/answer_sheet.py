"""The answer to an office: its own wrong rows again, as they were, with a column of reasons."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import openpyxl
from openpyxl.cell import Cell as OpenpyxlCell
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from issuer.errors import NotFound, Refused
from issuer.messages.catalogue import text
from issuer.registry.columns import Header
from issuer.registry.intake import WrongRow
from issuer.registry.record import FORMULA_STARTS
from issuer.registry.sheets import Cell, shown

REASON_WIDTH = 70
CELL_WIDTH = 22


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: the sheet's header and the rows with their problems."""

    header: Header
    rows: Sequence[WrongRow]


def write(answer: Answer, path: Path, lang: str) -> None:
    """Write the answer as .xlsx or, by its name, as CSV with semicolons. Nothing in it can run as a formula."""
    try:
        match path.suffix.lower():
            case ".xlsx":
                _write_workbook(answer, path, lang)
            case ".csv":
                _write_csv(answer, path, lang)
            case _:
                raise Refused("sheet.unknown_kind", file=path.name)
    except OSError as error:
        raise NotFound("file.unwritable", path=str(path), why=error.strerror or "") from error


def reasons(row: WrongRow, lang: str) -> str:
    """Every problem of a row in one text."""
    return "; ".join(text(problem.code, lang, **problem.facts) for problem in row.problems)


def harmless(value: str) -> str:
    """A text that no spreadsheet takes for a formula when it reads it from a CSV file."""
    return "'" + value if value.startswith(FORMULA_STARTS) else value


def _table(answer: Answer, lang: str) -> list[list[Cell]]:
    width = max(len(answer.header.line.cells), *(len(row.line.cells) for row in answer.rows), 0)

    def padded(cells: Sequence[Cell], last: str | None) -> list[Cell]:
        return [*cells, *[None] * (width - len(cells)), last]

    table = [padded(line.cells[:width], None) for line in answer.header.above]
    table.append(padded(answer.header.line.cells, text("intake.reason_column", lang)))
    table += [padded(row.line.cells, reasons(row, lang)) for row in answer.rows]
    return table


def _write_workbook(answer: Answer, path: Path, lang: str) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(text("intake.sheet_name", lang))
    table = _table(answer, lang)
    heading = len(answer.header.above)
    for place in range(len(table[heading])):
        letter = get_column_letter(place + 1)
        sheet.column_dimensions[letter].width = REASON_WIDTH if place == len(table[heading]) - 1 else CELL_WIDTH
    sheet.freeze_panes = f"A{heading + 2}"
    for index, row in enumerate(table):
        sheet.append([_cell(sheet, value, is_heading=index == heading) for value in row])
    book.save(path)


def _cell(sheet: WriteOnlyWorksheet, value: Cell, *, is_heading: bool) -> OpenpyxlCell:
    cell = WriteOnlyCell(sheet)
    cell.value = value
    if isinstance(value, str):
        cell.data_type = "s"  # shown, never run, whatever it begins with
        cell.quotePrefix = value.startswith(FORMULA_STARTS)
        cell.number_format = "@"  # and a number written as text keeps its zeros when the office edits it
        cell.alignment = Alignment(wrap_text=True, vertical="top")
    elif isinstance(value, date):
        cell.number_format = "dd/mm/yyyy"
    if is_heading:
        cell.font = Font(bold=True)
        cell.fill = PatternFill("solid", fgColor="E8E2D2")
    return cell


def _write_csv(answer: Answer, path: Path, lang: str) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerows([harmless(shown(cell)) for cell in row] for row in _table(answer, lang))
