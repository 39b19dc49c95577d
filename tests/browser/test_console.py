"""The console in a real browser, over a real installation: sign in, approve, block, and see the door obey."""

import re
import signal
from pathlib import Path

from console_world import PASSWORD, World
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from demo.console_pictures import pictures_with, sign_in
from reader_daemon.reasons import DoorReason


def enter(page: Page, world: World, login: str) -> None:
    sign_in(page, world.web.url, login, PASSWORD)


def test_an_officer_signs_in_and_out(page: Page, world: World) -> None:
    page.goto(f"{world.web.url}/people?q=dang")
    expect(page).to_have_url(re.compile("/sign-in"))
    page.fill("#login", "hoa")
    page.fill("#password", "không phải mật khẩu này")
    page.click("main button")
    expect(page.get_by_role("alert")).to_contain_text("mật khẩu không đúng")
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")
    expect(page).to_have_url(f"{world.web.url}/people?q=dang")
    for name in page.locator("tbody tr td:first-child").all_inner_texts():
        assert "Đăng" in name or "Đặng" in name or "Đằng" in name
    page.get_by_role("button", name="Đăng xuất").click()
    expect(page).to_have_url(re.compile("/sign-in"))
    page.goto(f"{world.web.url}/people?q=dang")
    expect(page).to_have_url(re.compile("/sign-in"))


def test_a_request_is_approved_by_another_person_only(page: Page, world: World) -> None:
    own, others = world.request(asked_by="son"), world.request()
    enter(page, world, "son")
    page.goto(f"{world.web.url}/requests/{own.id}")
    expect(page.get_by_text("Bạn là người đề nghị")).to_be_visible()
    expect(page.get_by_role("button", name="Phê duyệt")).to_have_count(0)
    page.get_by_role("link", name="Đề nghị cấp thẻ").click()
    page.locator(f'a[href="/requests/{others.id}"]').click()
    page.get_by_role("button", name="Phê duyệt").click()
    expect(page.get_by_role("alert")).to_have_text("Đã phê duyệt đề nghị.")
    expect(page.locator("[aria-current=step]")).to_have_text("Đã phê duyệt")


def test_a_card_is_blocked_in_two_clicks_and_the_door_confirms_and_refuses(page: Page, world: World) -> None:
    card = world.card()
    world.let_in(card)
    assert world.tap(card).opened
    enter(page, world, "hoa")
    page.goto(f"{world.web.url}/cards/{card.id}")
    loads: list[str] = []
    page.get_by_text("Khóa thẻ", exact=True).click()
    page.get_by_role("button", name="Mất thẻ").click()
    expect(page.get_by_role("alert")).to_have_text("Đã khóa thẻ. Các cửa đang xác nhận.")
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    expect(page.locator("#confirmed-count")).to_have_text("1")
    expect(page.locator("#total-count")).to_have_text("2")
    expect(page.locator("#waiting-doors")).to_have_text("Cửa kho")
    assert loads == []
    refused = world.tap(card)
    assert (refused.opened, refused.reason) == (False, DoorReason.SUSPENDED)
    page.get_by_role("button", name="Mở khóa thẻ").click()
    expect(page.get_by_role("alert")).to_have_text("Đã mở khóa thẻ.")
    expect(page.locator("#confirmed-count")).to_have_text("1")
    assert world.tap(card).opened


def test_the_count_of_doors_goes_up_on_a_page_that_stays_open(page: Page, world: World) -> None:
    card = world.card()
    assert world.feed.process is not None
    enter(page, world, "hoa")
    world.feed.process.send_signal(signal.SIGSTOP)  # nobody can confirm now
    try:
        page.goto(f"{world.web.url}/cards/{card.id}?block=1#block")
        page.get_by_role("button", name="Bị đánh cắp").click()
        expect(page.locator("#confirmed-count")).to_have_text("0")
        expect(page.locator("#waiting-doors")).to_have_text("Cửa chính, Cửa kho")
        page.evaluate("() => { window.mark = 'not loaded again'; }")
    finally:
        world.feed.process.send_signal(signal.SIGCONT)
    expect(page.locator("#confirmed-count")).to_have_text("1", timeout=20_000)
    expect(page.locator("#waiting-doors")).to_have_text("Cửa kho")
    assert page.evaluate("() => window.mark") == "not loaded again"


def test_what_happens_at_a_door_appears_on_the_page(page: Page, world: World) -> None:
    card = world.card()
    world.let_in(card)
    enter(page, world, "quan")
    page.goto(f"{world.web.url}/doors/{world.door_id}")
    first = page.locator("#events tbody tr").first
    assert world.tap(card).opened
    expect(first).to_contain_text("Cho vào")
    expect(first).to_contain_text(card.name)
    stranger = world.card()
    assert not world.tap(stranger).opened
    expect(first).to_contain_text("Từ chối")
    expect(first).to_contain_text("Cửa không có tên người giữ thẻ này")


def test_a_page_left_open_leads_to_the_sign_in_when_the_session_ends(page: Page, world: World) -> None:
    enter(page, world, "quan")
    page.goto(f"{world.web.url}/doors")
    page.context.clear_cookies()
    expect(page).to_have_url(re.compile(r"/sign-in\?next=/doors"))


def test_no_page_is_wider_than_its_window(page: Page, world: World) -> None:
    card = world.card()
    enter(page, world, "quan")
    for path in (
        "/", "/people", f"/people/{card.person_id}", "/requests", "/cards", f"/cards/{card.id}?block=1", "/doors",
        f"/doors/{world.door_id}", "/audit", "/v",
    ):  # fmt: skip
        for lang in ("vi", "en"):
            page.goto(f"{world.web.url}{path}{'&' if '?' in path else '?'}lang={lang}")
            for width in (360, 800, 1280):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("() => document.documentElement.scrollWidth") <= width, (path, lang)


def test_pages_work_without_a_script_and_with_the_keyboard(page: Page, world: World) -> None:
    card = world.card()
    browser = page.context.browser
    assert browser is not None
    with_none = browser.new_context(java_script_enabled=False)
    plain = with_none.new_page()
    sign_in(plain, world.web.url, "hoa", PASSWORD)
    plain.goto(f"{world.web.url}/cards/{card.id}")
    plain.focus("summary")
    plain.keyboard.press("Enter")
    plain.get_by_role("button", name="Mất thẻ").press("Enter")
    expect(plain.get_by_role("alert")).to_contain_text("Đã khóa thẻ")
    with_none.close()
    assert world.state(card) == "lost"


def test_pictures_for_the_documentation_are_taken(browser: Browser, world: World, tmp_path: Path) -> None:
    world.card()
    made = pictures_with(browser, world.web.url, "quan", PASSWORD, tmp_path / "pictures")
    names = {path.stem.removeprefix("console-") for path in made}
    assert {"home", "people", "requests", "doors", "card", "person", "verify"} <= names
    for path in made:
        with Image.open(path) as picture:
            assert picture.width == (390 if path.stem.endswith("verify") else 1280)
            assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 20
