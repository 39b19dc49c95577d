"""The columns of an office's sheet, known by the names that offices give them, with or without diacritics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from issuer.errors import Refused
from issuer.registry.names import fold
from issuer.registry.sheets import Cell, Line, shown

HEADER_WITHIN = 20
"""A title and a few empty rows may stand above the header."""


class Column(StrEnum):
    """What a column can mean; the text of the name is `column.<name>`."""

    NUMBER = "number"
    NAME = "name"
    BIRTH = "birth"
    SEX = "sex"
    AGENCY = "agency"
    UNIT = "unit"
    CATEGORY = "category"
    POSITION = "position"
    TITLE = "title"
    ATTESTED = "attested"


NAMES: Mapping[Column, tuple[str, ...]] = {
    Column.NUMBER: (
        "so dinh danh ca nhan", "so dinh danh", "so dinh danh ca nhan cccd", "so can cuoc cong dan", "so can cuoc",
        "can cuoc cong dan", "so cccd", "cccd", "citizen number",
    ),
    Column.NAME: ("ho va ten", "ho ten", "ho va ten khai sinh", "ho ten khai sinh", "ho chu dem va ten", "full name"),
    Column.BIRTH: ("ngay sinh", "ngay thang nam sinh", "sinh ngay", "birth date", "date of birth"),
    Column.SEX: ("gioi tinh", "nam nu", "sex"),
    Column.AGENCY: (
        "ma co quan", "ma don vi", "ma co quan don vi", "ma dinh danh co quan", "ma dinh danh don vi",
        "ma dinh danh dien tu", "agency code",
    ),
    Column.UNIT: ("don vi", "ten don vi", "don vi cong tac", "co quan don vi", "phong ban", "unit"),
    Column.CATEGORY: ("nhom", "loai", "doi tuong", "nhom doi tuong", "loai can bo", "phan loai", "category"),
    Column.POSITION: (
        "ma chuc vu chuc danh", "ma chuc vu", "ma chuc danh", "ma ngach", "ma so ngach", "ma chuc danh nghe nghiep",
        "position code",
    ),
    Column.TITLE: (
        "chuc vu chuc danh", "chuc vu", "chuc danh", "ten chuc vu", "ten chuc danh", "chuc danh chuc vu", "title",
    ),
    Column.ATTESTED: ("ngay cam doan", "cam doan ngay", "ngay xac nhan", "attested on"),
}  # fmt: skip
REQUIRED = (Column.NUMBER, Column.NAME, Column.BIRTH, Column.SEX, Column.AGENCY, Column.CATEGORY)
BY_NAME: Mapping[str, Column] = {name: column for column, written in NAMES.items() for name in written}


@dataclass(frozen=True, slots=True)
class Header:
    """Where the columns stand. `above` is what stood over the header, `ignored` the names nobody knows."""

    line: Line
    above: tuple[Line, ...]
    places: Mapping[Column, int]
    ignored: tuple[str, ...]

    def cell(self, line: Line, column: Column) -> Cell:
        """A row's cell in a column; None where the sheet or the row has none."""
        place = self.places.get(column)
        return line.cells[place] if place is not None and place < len(line.cells) else None

    def title(self, column: Column) -> str:
        """The column's name as this sheet writes it."""
        return shown(self.line.cells[self.places[column]])


def find_header(lines: Sequence[Line], file: str) -> Header:
    """Find the header among the first rows: the row in which most columns are known. Raises Refused."""
    best = max(lines[:HEADER_WITHIN], key=lambda line: len(_known(line)), default=None)
    if best is None:
        raise Refused("sheet.empty", file=file)
    known = _known(best)
    missing = [column for column in REQUIRED if column not in known]
    if missing:
        wanted = ", ".join(f"«{OFFICIAL[column]}»" for column in missing)
        raise Refused("sheet.columns_missing", file=file, columns=wanted)
    twice = [OFFICIAL[column] for column, places in known.items() if len(places) > 1]
    if twice:
        raise Refused("sheet.column_twice", file=file, columns=", ".join(twice))
    places = {column: found[0] for column, found in known.items()}
    ignored = tuple(
        shown(cell) for place, cell in enumerate(best.cells) if cell is not None and place not in places.values()
    )
    above = tuple(line for line in lines if line.number < best.number)
    return Header(best, above, places, ignored)


OFFICIAL: Mapping[Column, str] = {
    Column.NUMBER: "Số định danh cá nhân",
    Column.NAME: "Họ và tên",
    Column.BIRTH: "Ngày sinh",
    Column.SEX: "Giới tính",
    Column.AGENCY: "Mã cơ quan",
    Column.UNIT: "Đơn vị",
    Column.CATEGORY: "Nhóm",
    Column.POSITION: "Mã chức vụ, chức danh",
    Column.TITLE: "Chức vụ, chức danh",
    Column.ATTESTED: "Ngày cam đoan",
}
"""The names that the blank sheet has; a sheet is in Vietnamese whatever language the officer reads."""


def _known(line: Line) -> dict[Column, list[int]]:
    found: dict[Column, list[int]] = {}
    for place, cell in enumerate(line.cells):
        column = BY_NAME.get(fold(shown(cell)))
        if column is not None:
            found.setdefault(column, []).append(place)
    return found
