"""A made-up register: 300 civil servants of two agencies, as an office would send it, faults included.

Numbers have the right structure (place, century and sex, birth year) and random rest; names are put together from
common family, middle and given names. Nobody real is meant.
"""

import random
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from openpyxl import Workbook
from openpyxl.styles import Font, PatternFill
from openpyxl.utils import get_column_letter

from demo.portraits import draw_portrait

COLUMNS = (
    "Số định danh cá nhân", "Họ và tên", "Ngày sinh", "Giới tính", "Mã cơ quan", "Đơn vị", "Nhóm",
    "Mã chức vụ, chức danh", "Chức vụ, chức danh", "Ngày cam đoan",
)  # fmt: skip
FAMILY = (
    "Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Phan", "Vũ", "Đặng", "Bùi", "Đỗ", "Hồ", "Ngô", "Dương", "Lý", "Giàng",
    "Lò", "Vàng", "Đinh", "Mai", "Trịnh",
)  # fmt: skip
MIDDLE_MALE = ("Văn", "Đức", "Quang", "Minh", "Hữu", "Xuân", "Công", "Thanh", "Đình", "Trọng")
MIDDLE_FEMALE = ("Thị", "Thị Thu", "Thị Hồng", "Ngọc", "Thị Kim", "Thúy", "Thị Phương", "Diệu", "Thị Bích", "Khánh")
GIVEN_MALE = (
    "Anh",
    "Bình",
    "Cường",
    "Dũng",
    "Đạt",
    "Hải",
    "Hùng",
    "Khôi",
    "Long",
    "Nam",
    "Phúc",
    "Quân",
    "Sơn",
    "Tuấn",
    "Việt",
    "Ước",
)
GIVEN_FEMALE = (
    "An",
    "Chi",
    "Dung",
    "Đào",
    "Giang",
    "Hà",
    "Hạnh",
    "Lan",
    "Linh",
    "Mai",
    "Nga",
    "Nhung",
    "Oanh",
    "Phượng",
    "Trang",
    "Yến",
)
PLACES = {"G09": ("001", "030", "036", "038", "040", "015"), "H38": ("010", "015", "010", "015", "025", "002")}
UNITS = {
    "G09": ("Văn phòng Bộ", "Vụ Tổ chức cán bộ", "Vụ Công chức - Viên chức", "Trung tâm Công nghệ thông tin"),
    "H38": (
        "Sở Nội vụ tỉnh Lào Cai",
        "Sở Giáo dục và Đào tạo tỉnh Lào Cai",
        "Sở Y tế tỉnh Lào Cai",
        "Văn phòng UBND tỉnh Lào Cai",
    ),
}
POSITIONS = (
    ("CC", "01.001", "Chuyên viên cao cấp"), ("CC", "01.002", "Chuyên viên chính"), ("CC", "01.003", "Chuyên viên"),
    ("CC", "01.003", "Chuyên viên"), ("CC", "01.004", "Cán sự"), ("CC", "01.005", "Nhân viên"),
    ("CC", "01.002", "Trưởng phòng"), ("CC", "01.003", "Phó Trưởng phòng"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the sheet, as the cells hold it."""

    citizen_number: str | int
    full_name: str
    birth_date: date | str
    sex: str
    agency: str
    unit: str
    category: str
    position_code: str
    position_title: str
    attested_on: date | None

    def cells(self) -> list[object]:
        """The row's values in the order of COLUMNS."""
        return [
            self.citizen_number, self.full_name, self.birth_date, self.sex, self.agency, self.unit, self.category,
            self.position_code, self.position_title, self.attested_on,
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Register:
    """Rows as written, with the citizen numbers of those whose fault is meant.

    robbed: leading zeros lost in the spreadsheet; wrong: rows that must come back; stale: attested too long ago;
    unattested: never attested; no_photo: without a portrait. All others are up to date.
    """

    rows: tuple[Row, ...]
    robbed: tuple[str, ...]
    wrong: tuple[str, ...]
    stale: tuple[str, ...]
    unattested: tuple[str, ...]
    no_photo: tuple[str, ...]

    def faulty(self) -> frozenset[str]:
        """Every citizen number with a fault that blocks its card."""
        return frozenset((*self.wrong, *self.stale, *self.unattested, *self.no_photo))


def make_register(today: date, count: int = 300, seed: int = 2026) -> Register:
    """Make `count` correct rows, then put in the faults an office's sheet has; the same seed gives the same rows."""
    dice = random.Random(seed)
    rows: list[Row] = []
    taken: set[str] = set()
    while len(rows) < count:
        row = _person(dice, "G09" if len(rows) % 5 < 2 else "H38", today)
        if str(row.citizen_number) not in taken:
            taken.add(str(row.citizen_number))
            rows.append(row)
    zeroed = [index for index in range(20, count) if str(rows[index].citizen_number).startswith("0")]
    robbed, wrong, stale = zeroed[0:6], zeroed[10:14], zeroed[20:26]
    unattested, no_photo = zeroed[30:35], zeroed[40:43]
    numbers = [str(row.citizen_number) for row in rows]
    for index in robbed:
        rows[index] = replace(rows[index], citizen_number=int(rows[index].citizen_number))
    breaks: tuple[dict[str, object], ...] = (
        {"birth_date": "31/02/1990"}, {"full_name": ""}, {"agency": "H99.000"}, {"citizen_number": "01509900O123"},
    )  # fmt: skip
    for index, change in zip(wrong, breaks, strict=True):
        rows[index] = replace(rows[index], **change)  # type: ignore[arg-type]  # each key is a field of Row
    for index in stale:
        rows[index] = replace(rows[index], attested_on=today - timedelta(days=500))
    for index in unattested:
        rows[index] = replace(rows[index], attested_on=None)

    def named(indexes: list[int]) -> tuple[str, ...]:
        return tuple(numbers[index] for index in indexes)

    return Register(tuple(rows), named(robbed), named(wrong), named(stale), named(unattested), named(no_photo))


def _person(dice: random.Random, agency: str, today: date) -> Row:
    is_female = dice.random() < 0.48
    born = date(today.year - dice.randint(24, 59), dice.randint(1, 12), dice.randint(1, 28))
    century = (0 if born.year < 2000 else 2) + is_female
    number = f"{dice.choice(PLACES[agency])}{century}{born.year % 100:02d}{dice.randint(0, 999999):06d}"
    middle, given = (MIDDLE_FEMALE, GIVEN_FEMALE) if is_female else (MIDDLE_MALE, GIVEN_MALE)
    name = f"{dice.choice(FAMILY)} {dice.choice(middle)} {dice.choice(given)}"
    category, code, title = dice.choice(POSITIONS)
    # Half of an office's sheet has dates as text, half as real dates.
    shown: date | str = born if dice.random() < 0.5 else f"{born:%d/%m/%Y}"
    return Row(
        number, name, shown, "Nữ" if is_female else "Nam", agency, dice.choice(UNITS[agency]), category, code, title,
        today - timedelta(days=dice.randint(5, 120)),
    )  # fmt: skip


def write_sheet(register: Register, path: Path) -> None:
    """Write the register as .xlsx with a header row."""
    book = Workbook()
    sheet = book.active
    if sheet is None:
        raise RuntimeError("a new workbook has no sheet")
    sheet.title = "Danh sách"
    sheet.append(list(COLUMNS))
    for cell in sheet[1]:
        cell.font = Font(bold=True)
        cell.fill = PatternFill("solid", fgColor="E8E2D2")
    for row in register.rows:
        sheet.append(row.cells())
    for column in ("C", "J"):
        for cell in sheet[column][1:]:
            cell.number_format = "dd/mm/yyyy"
    for index, name in enumerate(COLUMNS, start=1):
        sheet.column_dimensions[get_column_letter(index)].width = max(14, len(name) + 4)
    sheet.freeze_panes = "A2"
    book.save(path)


def write_photos(register: Register, folder: Path, today: date) -> int:
    """Draw a portrait per person but those meant to have none, named by citizen number; return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = set(register.no_photo)
    drawn = 0
    for row in register.rows:
        number = _full_number(row)
        if number in missing:
            continue
        age = today.year - (1900 + 100 * (int(number[3]) // 2) + int(number[4:6])) if number.isdigit() else 40
        (folder / f"{number}.jpg").write_bytes(draw_portrait(number, row.sex == "Nữ", age))
        drawn += 1
    return drawn


def _full_number(row: Row) -> str:
    """The row's number as it should be: twelve digits where a spreadsheet took zeros away."""
    return f"{row.citizen_number:012d}" if isinstance(row.citizen_number, int) else row.citizen_number
