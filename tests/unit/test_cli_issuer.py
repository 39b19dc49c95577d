"""The command `issuer`: a made-up office from an empty folder to people fit for cards; errors, hints, exit codes."""

import re
import sqlite3
from datetime import date
from pathlib import Path

import openpyxl
import pytest

from demo.register import make_register, write_photos, write_sheet
from issuer.__main__ import run

TODAY = date.today()  # noqa: DTZ011 - the commands use the real clock


class Said:
    """What one call answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


class Office:
    """An installation in a folder, and its command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.config = folder / "centre.toml"
        self.config.write_text('[centre]\ndata_dir = "data"\ninstallation = "G09"\n', encoding="utf-8")

    def __call__(self, *arguments: object, login: str | None = None) -> Said:
        given = ["--config", str(self.config), *(["--as", login] if login else []), *map(str, arguments)]
        code = run(given)
        out, err = self._capsys.readouterr()
        return Said(code, out, err)


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    for name in ("THEMO_CONFIG", "THEMO_LANG", "THEMO_AS"):
        monkeypatch.delenv(name, raising=False)
    return Office(tmp_path, capsys)


@pytest.fixture
def staffed(office: Office) -> Office:
    assert office("init").code == 0
    for login, role in (("hoa", "hr@*"), ("lan", "hr@*"), ("son", "approver@*"), ("quan", "admin@*")):
        assert office("users", "add", login, "--name", login.title(), "--role", role).code == 0
    return office


def test_init_makes_everything_once(office: Office) -> None:
    first = office("init")
    assert first.code == 0
    assert "90 cơ quan" in first.out
    key = office.folder / "data" / "web.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert (office.folder / "data").stat().st_mode & 0o777 == 0o700
    secret = key.read_bytes()
    assert len(secret) == 32
    again = office("init")
    assert (again.code, key.read_bytes()) == (0, secret)
    assert "0 cơ quan" in again.out
    assert office("db", "status").code == 0


def test_a_missing_setting_is_named_with_a_hint_and_exit_2(office: Office) -> None:
    office.config.write_text("")
    said = office("people", "search")
    assert said.code == 2
    assert said.err == (
        "issuer: error: thiếu thiết lập centre.data_dir\n"
        "issuer: hint: ghi vào tệp thiết lập (--config hoặc THEMO_CONFIG), hoặc đặt biến môi trường"
        " THEMO_CENTRE_DATA_DIR\n"
    )
    assert "is missing" in office("--lang", "en", "people", "search").err


def test_a_database_without_tables_is_named_with_a_hint(office: Office) -> None:
    (office.folder / "data").mkdir()
    said = office("people", "search")
    assert said.code == 1
    assert "chưa được tạo" in said.err
    assert "issuer db upgrade" in said.err
    assert office("db", "status").code == 1
    assert office("db", "upgrade").code == 0


@pytest.mark.parametrize("wrong", [["nonsense"], ["people", "nonsense"], ["people", "search", "--limit", "0"], []])
def test_wrong_usage_is_exit_2(office: Office, wrong: list[str]) -> None:
    assert run(wrong) == 2


@pytest.mark.parametrize("command", [[], ["people"], ["people", "import"], ["users", "add"], ["audit"], ["db"]])
def test_every_command_explains_itself_in_both_languages(office: Office, command: list[str]) -> None:
    vietnamese = office(*command, "--help")
    english = office("--lang", "en", *command, "--help")
    assert (vietnamese.code, english.code) == (0, 0)
    assert not re.search(r"\bcli\.[a-z_.]+", vietnamese.out + english.out)
    assert vietnamese.out != english.out


def test_a_sheet_becomes_people_fit_for_cards(staffed: Office) -> None:
    register = make_register(TODAY, 120)
    write_sheet(register, staffed.folder / "ds.xlsx")
    write_photos(register, staffed.folder / "anh", TODAY)
    told = ["people", "import", staffed.folder / "ds.xlsx", "--photos", staffed.folder / "anh"]

    first = staffed(*told, "--errors", staffed.folder / "sai.xlsx", login="hoa")
    assert first.code == 1
    back = len(register.wrong) + len(register.robbed)
    assert f"{back} dòng trả lại" in first.out
    assert register.robbed[0] in first.out
    page = openpyxl.load_workbook(staffed.folder / "sai.xlsx").worksheets[0]
    assert page.max_row == back + 1
    assert page.cell(1, page.max_column).value == "Lý do"

    second = staffed(*told, "--confirm-zeros", login="hoa")
    assert f"{len(register.robbed)} hồ sơ mới, 0 thay đổi" in second.out
    assert staffed(*told, "--dry-run", "--confirm-zeros", login="hoa").out.count("0 hồ sơ mới") == 1

    for agency in ("G09", "H38"):
        assert staffed("people", "check", "--agency", agency, login="lan").code == 0
        assert staffed("people", "appraise", "--agency", agency, "--opinion", "đủ", login="lan").code == 0
        assert staffed("people", "approve", "--agency", agency, login="son").code == 0
    fresh = staffed("people", "freshness", login="son")
    unfit = register.faulty() - set(register.wrong)
    assert f"{120 - len(register.faulty())} hồ sơ đủ điều kiện cấp thẻ, {len(unfit)} chưa đủ" in fresh.out
    assert all(number in fresh.out for number in unfit)

    shown = staffed("people", "show", register.no_photo[0], login="hoa")
    assert "đã phê duyệt" in shown.out
    assert "chưa có ảnh" in shown.out
    attested = staffed("people", "attest", register.unattested[0], login="hoa")
    assert attested.code == 0
    assert "đủ điều kiện cấp thẻ" in staffed("people", "show", register.unattested[0], login="hoa").out
    returned = staffed("people", "return", register.no_photo[0], "--opinion", "thiếu ảnh", login="son")
    assert returned.code == 0

    found = staffed("people", "search", "dang", "--limit", "2", login="hoa")
    assert found.out.count("Đặng") == 2
    cursor = re.search(r"--after (\S+)", found.out)
    assert cursor is not None
    assert staffed("people", "search", "dang", "--after", cursor[1], login="hoa").code == 0
    assert staffed("audit", "verify").code == 0


def test_who_may_not_is_refused(staffed: Office) -> None:
    for login in (None, "quan"):
        said = staffed("people", "approve", "--agency", "G09", login=login)
        assert said.code == 1
        assert "không có quyền" in said.err
    assert "không có tài khoản" in staffed("people", "search", login="nobody").err


def test_accounts_are_listed_changed_and_invited(staffed: Office) -> None:
    link = staffed("users", "invite", "quan")
    assert re.fullmatch(r"http://127\.0\.0\.1:8440/invite/[\w-]{43}\n", link.out)
    assert staffed("users", "grant", "hoa", "card_office@H38").code == 0
    assert staffed("users", "revoke", "hoa", "hr@*").code == 0
    assert staffed("users", "deactivate", "lan").code == 0
    listed = staffed("users", "list").out
    assert re.search(r"hoa +Hoa +card_office@H38 +đang dùng", listed)
    assert re.search(r"lan +Lan +hr@\* +đã khóa", listed)
    assert staffed("people", "search", login="lan").code == 1
    assert staffed("users", "reactivate", "lan").code == 0
    last = staffed("users", "deactivate", "quan")
    assert (last.code, "quản trị viên cuối cùng" in last.err) == (1, True)


def test_code_lists_are_shown_and_changed(staffed: Office) -> None:
    assert "Lào Cai" in staffed("agencies", "list").out
    assert staffed("agencies", "add", "H38.01", "--name", "Sở Nội vụ").code == 0
    assert staffed("agencies", "scheme", "H38.01", "2").code == 0
    assert staffed("agencies", "close", "H38.01", "--on", "31/12/2026", "--successor", "H38").code == 0
    assert staffed("agencies", "close", "H38.01", "--on", "soon").code == 1
    assert "0 mới, 0 thay đổi" in staffed("agencies", "load").out
    put = ("positions", "put", "05.01", "--name", "Trưởng phòng", "--level", "lãnh đạo", "--colour", "#112233")
    assert staffed(*put, "--shape", "ring").code == 0
    assert staffed(*put, "--shape", "cat").code == 1
    assert "Trưởng phòng" in staffed("positions", "list").out
    assert "installation = G09" in staffed("config").out


def test_an_altered_audit_row_is_named(staffed: Office) -> None:
    assert "user.added" in staffed("audit", "list", "--action", "user").out
    with sqlite3.connect(staffed.folder / "data" / "centre.db") as connection:
        connection.execute("UPDATE audit_log SET actor = 'x' WHERE n = 3")
    connection.close()
    said = staffed("audit", "verify")
    assert (said.code, said.err) == (1, "issuer: error: nhật ký kiểm toán: dòng 3 đã bị sửa\n")
