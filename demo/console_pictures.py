"""Takes the pictures of the console for the documentation: a real browser, signed in, on the running console."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("THEMO_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP = (1280, 860)
PHONE = (390, 844)
WAIT_MS = 10_000
BLOCKED = ("lost", "stolen", "suspended", "revoked")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium without a window."""
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, base_url: str, login: str, password: str) -> None:
    """Sign in as an officer does."""
    page.goto(f"{base_url}/sign-in")
    page.fill("#login", login)
    page.fill("#password", password)
    page.click("main button")
    page.wait_for_url(f"{base_url}/")


def console_pictures(base_url: str, login: str, password: str, out: Path) -> list[Path]:
    """Take a picture of each main page into `out` as console-<page>.png; answers the files.

    The console must hold at least one active card. Nothing is changed but for the sign-in.
    """
    with chromium() as browser:
        return pictures_with(browser, base_url, login, password, out)


def pictures_with(browser: Browser, base_url: str, login: str, password: str, out: Path) -> list[Path]:
    """The same with a browser that is running already."""
    out.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    page = _open(browser, DESKTOP)
    sign_in(page, base_url, login, password)
    _take(page, out / "console-home.png", made)
    for name, path in (("people", "/people?q=dang"), ("requests", "/requests"), ("doors", "/doors")):
        page.goto(f"{base_url}{path}")
        _take(page, out / f"console-{name}.png", made)
    for state in BLOCKED:
        page.goto(f"{base_url}/cards?state={state}")
        if page.locator("tbody tr").count():
            page.goto(base_url + _first_link(page))
            _take(page, out / "console-blocked.png", made)
            break
    page.goto(f"{base_url}/cards?state=active")
    page.goto(base_url + _first_link(page))
    _take(page, out / "console-card.png", made)
    qr_text = page.get_attribute('a[href*="#"][href*="/v"]', "href") or ""
    page.goto(base_url + (page.get_attribute("dl.facts a", "href") or "/people"))
    _take(page, out / "console-person.png", made)
    page.context.close()
    phone = _open(browser, PHONE)
    phone.goto(f"{base_url}/v#{qr_text.partition('#')[2]}")
    phone.wait_for_selector("html[data-verdict]")
    _take(phone, out / "console-verify.png", made)
    phone.context.close()
    return made


def _first_link(page: Page) -> str:
    """The first card of a list, one with a chip if there is one."""
    chips = page.locator("tbody tr", has_text="Thẻ chip").locator("td:first-child a")
    links = chips if chips.count() else page.locator("tbody td:first-child a")
    return links.first.get_attribute("href") or "/cards"


def _open(browser: Browser, size: tuple[int, int]) -> Page:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="vi-VN")
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    return page


def _take(page: Page, path: Path, made: list[Path]) -> None:
    page.screenshot(path=path, full_page=True)
    made.append(path)
