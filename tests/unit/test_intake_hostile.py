"""Hostile sheets: bombs, lies about size, entities, damage. A typed refusal within bounds, whatever the file holds."""

import contextlib
import random
import time
import zipfile
from pathlib import Path

import openpyxl
import pytest
from openpyxl.xml import DEFUSEDXML

from issuer.errors import Refused
from issuer.registry import sheets
from issuer.registry.sheets import read_lines

SHEET = "xl/worksheets/sheet1.xml"
NAMESPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def workbook(folder: Path) -> Path:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.append(["a", "b"])
    path = folder / "x.xlsx"
    book.save(path)
    return path


def with_part(folder: Path, name: str, content: bytes, *, level: int = 9) -> Path:
    """The same workbook with one part replaced."""
    path = workbook(folder)
    made = folder / "made.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry, old.read(entry))
        new.writestr(name, content)
    return made


def refused(path: Path) -> str:
    begun = time.monotonic()
    with pytest.raises(Refused) as error:
        read_lines(path)
    assert time.monotonic() - begun < 20
    return error.value.code


def test_openpyxl_reads_xml_through_defusedxml() -> None:
    assert DEFUSEDXML


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    assert refused(with_part(tmp_path, SHEET, b" " * 50_000_000)) == "sheet.bomb"


def test_too_many_parts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(sheets.MAX_ZIP_ENTRIES + 1):
            archive.writestr(f"{n}", b"")
    assert refused(path) == "sheet.bomb"


def test_entities_in_a_sheet_are_refused(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    xml = (
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><worksheet {NAMESPACE}><sheetData>'
        '<row r="1"><c r="A1" t="inlineStr"><is><t>&l9;</t></is></c></row></sheetData></worksheet>'
    )
    assert refused(with_part(tmp_path, SHEET, xml.encode())) == "sheet.damaged"


def test_a_file_entity_is_refused(tmp_path: Path) -> None:
    xml = (
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><worksheet {NAMESPACE}>'
        '<sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>&f;</t></is></c></row></sheetData></worksheet>'
    )
    assert refused(with_part(tmp_path, SHEET, xml.encode())) == "sheet.damaged"


@pytest.mark.parametrize("number", [str(sheets.MAX_ROWS + 1), "99999999999"])
def test_a_row_with_an_absurd_number_is_refused(tmp_path: Path, number: str) -> None:
    xml = f'<worksheet {NAMESPACE}><sheetData><row r="{number}"><c t="n"><v>1</v></c></row></sheetData></worksheet>'
    assert refused(with_part(tmp_path, SHEET, xml.encode())) == "sheet.too_many_rows"


def test_a_cell_far_to_the_right_is_refused(tmp_path: Path) -> None:
    xml = f'<worksheet {NAMESPACE}><sheetData><row r="1"><c r="XFD1"><v>1</v></c></row></sheetData></worksheet>'
    assert refused(with_part(tmp_path, SHEET, xml.encode())) == "sheet.too_many_columns"


def test_an_overlong_cell_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a" * (sheets.MAX_CELL_CHARS + 1), encoding="utf-8")
    assert refused(path) == "sheet.cell_too_long"


def test_a_formula_gives_its_stored_value_and_is_never_evaluated(tmp_path: Path) -> None:
    xml = (
        f'<worksheet {NAMESPACE}><sheetData><row r="1"><c r="A1"><f>1+1</f><v>7</v></c>'
        '<c r="B1" t="str"><f>WEBSERVICE("http://127.0.0.1")</f></c></row></sheetData></worksheet>'
    )
    assert [line.cells for line in read_lines(with_part(tmp_path, SHEET, xml.encode()))] == [(7, None)]


def test_a_damaged_workbook_is_refused_whatever_is_damaged(tmp_path: Path) -> None:
    whole = workbook(tmp_path).read_bytes()
    dice = random.Random(7)
    path = tmp_path / "broken.xlsx"
    for _ in range(150):
        raw = bytearray(whole)
        for _ in range(dice.randint(1, 12)):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        path.write_bytes(bytes(raw[: dice.randint(1, len(raw))] if dice.random() < 0.3 else raw))
        with contextlib.suppress(Refused):  # many of the damaged files can still be read; nothing else may come out
            read_lines(path)


def test_an_unfinished_quote_in_a_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a,b\n"open,c\n', encoding="utf-8")
    assert refused(path) == "sheet.damaged"
