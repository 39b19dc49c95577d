"""People on pages: found without diacritics, in Vietnamese order, page by page; what they hold is shown, never run."""

import re
from html import unescape
from pathlib import Path

import pytest
from web_console import OTHER, Console, open_console, page, post, text_of

from issuer.registry import people

EVIL = "<script>alert('Ước')</script>"


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return open_console(tmp_path)


def names(html: str) -> list[str]:
    """The names on a page of the list, in order."""
    return [unescape(name) for name in re.findall(r'<tr><td><a href="/people/[^"]+">([^<]+)</a>', html)]


def test_dang_finds_those_with_diacritics_and_d_with_a_stroke(console: Console) -> None:
    for number, name in enumerate(("Đặng Văn Ước", "Dang Thị Ấn", "Nguyễn Hải Đăng", "Trần Văn Hùng", "Lê Đằng Giang")):
        console.declare(name, number)
    client = console.client("hoa")
    found = {"Đặng Văn Ước", "Dang Thị Ấn", "Nguyễn Hải Đăng", "Lê Đằng Giang"}
    for asked in ("dang", "DANG", "đặng", "Đ ặ n g".replace(" ", "")):
        assert set(names(page(client.get("/people", query_string={"q": asked})))) == found
    assert names(page(client.get("/people?q=uoc dang"))) == ["Đặng Văn Ước"]
    assert names(page(client.get("/people?q=001085000003"))) == ["Trần Văn Hùng"]


def test_people_stand_in_vietnamese_order_by_given_name(console: Console) -> None:
    wanted = ["Vũ Thị An", "Bùi Văn Ân", "Lý Thị Bình", "Trần Văn Dũng", "Ngô Thị Đào", "Đỗ Văn Ơn", "Hà Văn Ước"]
    for number, name in enumerate(sorted(wanted)):
        console.declare(name, number)
    assert names(page(console.client("hoa").get("/people"))) == wanted


def test_pages_follow_each_other_without_a_gap_or_a_double(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [f"Nguyễn Văn An {chr(ord('A') + n // 26)}{chr(ord('a') + n % 26)}" for n in range(people.PAGE + 10)]
    for number, name in enumerate(wanted):
        console.declare(name, number)
    client, path, seen = console.client("hoa"), "/people?q=van&state=declared", list[str]()
    for _ in range(5):
        html = page(client.get(path))
        seen += names(html)
        following = re.search(r'rel="next" href="([^"]+)"', html)
        if following is None:
            break
        path = unescape(following[1])
        assert "q=van" in path
        assert "state=declared" in path
    assert len(seen) == len(set(seen)) == len(wanted)


def test_a_name_that_is_a_script_is_shown_and_not_run(console: Console) -> None:
    person = console.register.person(full_name=EVIL, title="<b>Chuyên viên", unit='"><img src=x onerror=alert(1)>')
    request = console.register.request(person)
    other = console.register.active(person_id=console.register.person(full_name=EVIL))
    client = console.client("quan")
    for path in (
        "/people",
        f"/people/{person}",
        "/requests",
        f"/requests/{request.id}",
        "/cards",
        f"/cards/{other.id}",
    ):
        html = page(client.get(path))
        assert "<script>alert" not in html
        assert "<b>Chuyên" not in html
        assert "<img src=x" not in html
        assert EVIL in unescape(html), path
    assert "<script>" not in page(client.get("/people", query_string={"q": "</title><script>alert(1)</script>"}))


@pytest.mark.parametrize("query", ["'; DROP TABLE people; --", "%", "_", "a' OR '1'='1", "\\", "{0.__class__}"])
def test_a_search_is_never_a_query(console: Console, query: str) -> None:
    console.declare("Đặng Văn Ước", 1)
    client = console.client("hoa")
    assert names(page(client.get("/people", query_string={"q": query}))) in ([], ["Đặng Văn Ước"])
    assert names(page(client.get("/people?q=dang"))) == ["Đặng Văn Ước"]


def test_a_record_takes_its_steps_each_by_who_may(console: Console) -> None:
    person = console.declare("Đặng Văn Ước", 1)
    path = f"/people/{person}"
    own = post(console.client("hoa"), f"{path}/step", path, step="check", version="1")
    assert "Đã kiểm tra hồ sơ." not in page(own)
    for login, step, said in (
        ("lan", "check", "kiểm tra"),
        ("lan", "appraise", "thẩm định"),
        ("son", "approve", "phê duyệt"),
    ):
        answer = post(console.client(login), f"{path}/step", path, step=step, version="1", opinion="Đúng, đủ")
        assert f"Đã {said} hồ sơ." in page(answer), step
    assert "Đúng, đủ" in page(console.client("son").get(path))
    stale = post(console.client("lan"), f"{path}/step", path, step="check", version="0")
    assert "Đã kiểm tra hồ sơ." not in page(stale)


def test_a_record_is_given_back_with_an_opinion(console: Console) -> None:
    person = console.declare("Đặng Văn Ước", 1)
    path = f"/people/{person}"
    post(console.client("lan"), f"{path}/step", path, step="check", version="1")
    without = post(console.client("lan"), f"{path}/step", path, step="return", version="1")
    assert "Đã trả lại" not in page(without)
    given = post(console.client("lan"), f"{path}/step", path, step="return", version="1", opinion="Sai ngày sinh")
    assert "Đã trả lại hồ sơ" in page(given)
    assert "Sai ngày sinh" in text_of(given)


def test_what_stands_against_a_card_is_named(console: Console) -> None:
    person = console.declare("Đặng Văn Ước", 1)
    html = page(console.client("hoa").get(f"/people/{person}"))
    assert "Chưa có ảnh." in html
    assert "Chưa được cấp thẻ" in html
    answer = post(console.client("hoa"), f"/people/{person}/request", f"/people/{person}", form="chip", kind="new")
    assert "Đã gửi đề nghị" not in page(answer)
    page(console.client("hoa").get(f"/people/{person}/photo"), 404)


def test_a_portrait_and_the_faces_are_pictures_for_who_may_see_the_record(console: Console) -> None:
    person = console.register.person()
    console.portrait(person)
    card = console.register.active(person_id=person)
    for path, kind in (
        (f"/people/{person}/photo", "image/jpeg"),
        (f"/cards/{card.id}/front.png", "image/png"),
        (f"/cards/{card.id}/back.png", "image/png"),
    ):
        answer = console.client("hoa").get(path)
        assert (answer.status_code, answer.mimetype, len(answer.data) > 5000) == (200, kind, True)
        assert console.client("binh").get(path).status_code == 403
        assert console.client().get(path).status_code == 302
    page(console.client("binh").get(f"/people?agency={OTHER}"))
