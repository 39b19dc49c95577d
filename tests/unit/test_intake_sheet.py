"""Office sheets: what is right, what must be confirmed, what is wrong, and the sheet that goes back."""

import csv
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pytest
from centre import TODAY

from issuer.errors import NotFound, Refused
from issuer.registry import answer_sheet
from issuer.registry.answer_sheet import Answer
from issuer.registry.intake import Intake, read_sheet
from issuer.registry.reading import Known

HEADER = (
    "Số định danh cá nhân", "Họ và tên", "Ngày sinh", "Giới tính", "Mã cơ quan", "Đơn vị", "Nhóm",
    "Mã chức vụ, chức danh", "Chức vụ, chức danh", "Ngày cam đoan",
)  # fmt: skip
GOOD = (
    "010085012345", "Đặng Văn Ước", "07/06/1985", "Nam", "H38", "Sở Nội vụ", "CC", "01.003", "Chuyên viên",
    date(2026, 1, 15),
)  # fmt: skip
KNOWN = Known(
    agencies=frozenset({"H38", "H38.01", "G09"}),
    places=frozenset({"001", "010", "038"}),
    positions={"01.003": "Chuyên viên", "01.002": "Chuyên viên chính", "06.030": "Kế toán viên chính"},
)


def sheet(folder: Path, *rows: Sequence[object], header: Sequence[object] = HEADER) -> Path:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    for row in [header, *rows]:
        page.append(list(row))
    for cell in (cell for row in page.iter_rows() for cell in row if isinstance(cell.value, str)):
        cell.data_type = "s"  # text that begins with "=" is meant as text here
    path = folder / "danh sách.xlsx"
    book.save(path)
    return path


def changed(**cells: object) -> tuple[object, ...]:
    names = ("number", "name", "birth", "sex", "agency", "unit", "category", "position", "title", "attested")
    return tuple(cells.get(name, value) for name, value in zip(names, GOOD, strict=True))


def read(folder: Path, *rows: Sequence[object]) -> Intake:
    return read_sheet(sheet(folder, *rows), KNOWN, TODAY)


def codes(intake: Intake) -> list[list[str]]:
    return [[problem.code for problem in row.problems] for row in intake.wrong]


def test_a_good_row_is_read_whole(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert (len(found.rows), found.to_confirm, found.wrong) == (1, (), ())
    facts = found.rows[0].facts
    assert facts.citizen_number == "010085012345"
    assert facts.birth_date == date(1985, 6, 7)
    assert (facts.sex, facts.category, facts.position_code) == (1, "CC", "01.003")
    assert (facts.unit, facts.title, facts.attested_on) == ("Sở Nội vụ", "Chuyên viên", date(2026, 1, 15))


def test_a_title_above_the_header_and_empty_rows_do_not_matter(tmp_path: Path) -> None:
    path = sheet(tmp_path, (), HEADER, GOOD, (), header=("DANH SÁCH CÁN BỘ",))
    found = read_sheet(path, KNOWN, TODAY)
    assert [row.line.number for row in found.rows] == [4]
    assert len(found.header.above) == 1


def test_columns_are_known_by_other_names_too_in_any_order(tmp_path: Path) -> None:
    header = ("STT", "HỌ VÀ TÊN", "CCCD", "ngay sinh", "Nam/Nữ", "Mã đơn vị", "Đối tượng")
    found = read_sheet(
        sheet(tmp_path, (1, "Lê Văn An", "038085012345", "1/2/1985", "nam", "G09", "cb"), header=header), KNOWN, TODAY
    )
    assert found.header.ignored == ("STT",)
    assert found.rows[0].facts.category == "CB"
    assert found.rows[0].facts.birth_date == date(1985, 2, 1)
    assert found.rows[0].facts.position_code is None
    assert found.rows[0].facts.attested_on is None


@pytest.mark.parametrize("missing", ["Số định danh cá nhân", "Họ và tên", "Ngày sinh", "Giới tính", "Mã cơ quan"])
def test_a_sheet_without_a_needed_column_is_refused(tmp_path: Path, missing: str) -> None:
    header = ["khác" if name == missing else name for name in HEADER]
    with pytest.raises(Refused) as refused:
        read_sheet(sheet(tmp_path, GOOD, header=header), KNOWN, TODAY)
    assert refused.value.code == "sheet.columns_missing"
    assert missing in str(refused.value.facts["columns"])


def test_two_columns_of_one_meaning_are_refused(tmp_path: Path) -> None:
    path = sheet(tmp_path, (*GOOD, "x"), header=(*HEADER, "CCCD"))
    with pytest.raises(Refused, match=r"sheet\.column_twice"):
        read_sheet(path, KNOWN, TODAY)


@pytest.mark.parametrize(
    "cell",
    [date(1985, 6, 7), datetime(1985, 6, 7), "07/06/1985", "7/6/1985", "07-06-1985", "7.6.1985", "1985-06-07"],  # noqa: DTZ001 - a sheet has no zones
)
def test_dates_are_read_as_dates_or_day_first(tmp_path: Path, cell: object) -> None:
    assert read(tmp_path, changed(birth=cell)).rows[0].facts.birth_date == date(1985, 6, 7)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("31/02/1985", "record.no_such_day"),
        ("06/13/1985", "record.no_such_day"),
        ("07/06/85", "record.bad_date"),
        ("1985", "record.bad_date"),
        (31205, "record.bad_date"),
        ("7 tháng 6 năm 1985", "record.bad_date"),
        (None, "record.no_date"),
        ("07/06/1885", "record.bad_birth"),
        ("07/06/2185", "record.bad_birth"),
    ],
)
def test_a_date_that_is_none_is_not_guessed(tmp_path: Path, cell: object, code: str) -> None:
    assert codes(read(tmp_path, changed(birth=cell))) == [[code]]


@pytest.mark.parametrize(
    ("cell", "proposed"),
    [
        (10085012345, "010085012345"),
        ("10085012345", "010085012345"),
        (10085012345.0, "010085012345"),
        (1085012345, "001085012345"),
    ],
)
def test_a_number_without_its_zeros_is_shown_and_waits(tmp_path: Path, cell: object, proposed: str) -> None:
    found = read(tmp_path, changed(number=cell))
    assert (found.rows, found.wrong) == ((), ())
    assert [doubt.proposed for doubt in found.to_confirm[0].doubts] == [proposed]
    taken = found.confirm()
    assert [row.facts.citizen_number for row in taken.rows] == [proposed]
    assert taken.to_confirm == ()


def test_only_the_confirmed_rows_are_taken(tmp_path: Path) -> None:
    found = read(tmp_path, changed(number=10085012345), changed(number=10085012346), changed(number="010085012347"))
    taken = found.confirm({3})
    assert [row.line.number for row in taken.rows] == [3, 4]
    assert [item.row.line.number for item in taken.to_confirm] == [2]
    assert [row.problems[0].code for row in taken.unconfirmed()] == ["intake.zeros_lost"]


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        (None, "record.no_number"),
        ("123456789", "record.old_number"),
        (3085012345, "record.bad_number"),
        ("01008501234", "record.bad_number"),
        ("0100850123456", "record.bad_number"),
        ("01008501234O", "record.bad_number"),
        ("٠١٠٠٨٥٠١٢٣٤٥", "record.bad_number"),
        ("1,00850E+10", "record.rounded_number"),
        ("1.00850E+10", "record.rounded_number"),
        (True, "record.bad_number"),
        (10085012345.5, "record.bad_number"),
    ],
)
def test_a_number_that_is_none_goes_back(tmp_path: Path, cell: object, code: str) -> None:
    if cell == "01008501234":
        # Eleven digits that begin with a zero were not robbed of one; the place 001 is still possible.
        assert read(tmp_path, changed(number=cell)).to_confirm != ()
        return
    assert codes(read(tmp_path, changed(number=cell))) == [[code]]


def test_a_position_code_read_as_a_number_waits_for_confirmation(tmp_path: Path) -> None:
    found = read(tmp_path, changed(position=1.003), changed(number="010085012346", position=6.03))
    assert [item.doubts[0].proposed for item in found.to_confirm] == ["01.003", "06.030"]


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"name": None}, "record.no_name"),
        ({"name": "An"}, "record.one_word_name"),
        ({"name": "=HYPERLINK(1)"}, "record.bad_name"),
        ({"name": "Lê <script>"}, "record.bad_name"),
        ({"sex": "x"}, "record.bad_sex"),
        ({"sex": None}, "record.bad_sex"),
        ({"agency": None}, "agencies.bad_code"),
        ({"agency": "H99"}, "agencies.unknown"),
        ({"agency": "h 38"}, "agencies.bad_code"),
        ({"category": "XX"}, "record.bad_category"),
        ({"position": "99.999"}, "positions.unknown"),
        ({"position": 9.5}, "positions.unknown"),
        ({"unit": "@SUM(A1)"}, "record.formula"),
        ({"title": "-1+2"}, "record.formula"),
        ({"title": "x" * 200}, "record.too_long"),
        ({"unit": "a\u200bb"}, "record.bad_character"),
        ({"attested": date(2027, 1, 1)}, "record.attested_in_future"),
        ({"attested": "hôm qua"}, "record.bad_date"),
    ],
)
def test_a_wrong_cell_sends_the_row_back_with_its_reason(tmp_path: Path, cells: dict[str, object], code: str) -> None:
    assert codes(read(tmp_path, changed(**cells))) == [[code]]


def test_everything_wrong_with_a_row_is_told_at_once(tmp_path: Path) -> None:
    found = read(tmp_path, changed(number="1", name=None, sex="?", agency="H99"))
    assert codes(found) == [["record.bad_number", "record.no_name", "record.bad_sex", "agencies.unknown"]]


def test_the_older_reversed_agency_code_is_accepted(tmp_path: Path) -> None:
    assert read(tmp_path, changed(agency="000.00.01.H38")).rows[0].facts.agency_code == "H38.01"


def test_a_number_twice_in_a_sheet_is_taken_neither_time(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD, changed(name="Lê Văn An"), changed(number=10085012345), changed(number="038085012345"))
    assert codes(found) == [["intake.repeated"]] * 3
    assert found.wrong[0].problems[0].facts["rows"] == "3, 4"
    assert len(found.rows) == 1


def test_every_row_ends_in_exactly_one_place(tmp_path: Path) -> None:
    rows = [changed(number=f"0100850{n:05d}") for n in range(10)]
    rows += [changed(number=10085000100 + n) for n in range(5)] + [changed(number=str(n)) for n in range(7)]
    found = read(tmp_path, *rows)
    assert (len(found.rows), len(found.to_confirm), len(found.wrong)) == (10, 5, 7)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_file_is_read_like_a_workbook(tmp_path: Path, delimiter: str, encoding: str) -> None:
    path = tmp_path / "ds.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(HEADER)
        writer.writerow([*GOOD[:8], "Chuyên viên, phó phòng; kiêm", "15/01/2026"])
        writer.writerow(["10085012346", *GOOD[1:9], ""])
    found = read_sheet(path, KNOWN, TODAY)
    assert found.rows[0].facts.title == "Chuyên viên, phó phòng; kiêm"
    assert found.to_confirm[0].row.facts.citizen_number == "010085012346"


@pytest.mark.parametrize(
    "raw", ["Họ và tên".encode("utf-16"), "Họ tên,Ngày sinh".encode("cp1258", "replace"), b"a\0b,c\n"]
)
def test_another_encoding_is_refused_and_not_guessed(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "ds.csv"
    path.write_bytes(raw + b"\xe0\xff" if b"\0" not in raw else raw)
    with pytest.raises(Refused, match=r"file\.not_utf8"):
        read_sheet(path, KNOWN, TODAY)


def test_a_missing_file_and_an_unknown_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"file\.unreadable"):
        read_sheet(tmp_path / "none.xlsx", KNOWN, TODAY)
    (tmp_path / "ds.xls").write_bytes(b"x")
    with pytest.raises(Refused, match=r"sheet\.unknown_kind"):
        read_sheet(tmp_path / "ds.xls", KNOWN, TODAY)


def test_wrong_rows_come_back_as_the_same_sheet_with_reasons(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD, changed(birth="31/02/1985"), changed(number=10085012345, title="=1+1"))
    path = tmp_path / "sai.xlsx"
    answer_sheet.write(Answer(found.header, found.wrong), path, "vi")
    page = openpyxl.load_workbook(path).worksheets[0]
    rows = [[cell.value for cell in row] for row in page.iter_rows()]
    assert rows[0] == [*HEADER, "Lý do"]
    assert rows[1][:2] == ["010085012345", "Đặng Văn Ước"]
    assert rows[1][-1] == "«Ngày sinh»: không có ngày 31/02/1985"
    assert rows[2][0] == 10085012345
    assert isinstance(rows[1][9], datetime)
    cell = page.cell(3, 9)
    assert (cell.value, cell.data_type, cell.quotePrefix) == ("=1+1", "s", True)


def test_a_corrected_answer_can_be_imported_as_it_is(tmp_path: Path) -> None:
    found = read(tmp_path, changed(birth="31/02/1985"), changed(number="010085012346", sex="?"))
    path = tmp_path / "sai.xlsx"
    answer_sheet.write(Answer(found.header, found.wrong), path, "vi")
    book = openpyxl.load_workbook(path)
    book.worksheets[0]["C2"] = "28/02/1985"
    book.worksheets[0]["D3"] = "Nam"
    book.save(path)
    again = read_sheet(path, KNOWN, TODAY)
    assert (len(again.rows), again.wrong, again.header.ignored) == (2, (), ("Lý do",))


def test_a_csv_answer_holds_no_formula(tmp_path: Path) -> None:
    found = read(tmp_path, changed(title="=cmd|' /C calc'!A0", unit="@x", name="+1"))
    path = tmp_path / "sai.csv"
    answer_sheet.write(Answer(found.header, found.wrong), path, "vi")
    raw = path.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    cells = [cell for row in csv.reader(raw.decode("utf-8-sig").splitlines(), delimiter=";") for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
