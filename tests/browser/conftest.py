"""What browser tests share until all are done: one installation, one Chromium; a fresh window for each test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from demo.console_pictures import DESKTOP, WAIT_MS, chromium

# The parts of an installation are started by modules beside the tests that wire several parts together.
sys.path += [str(Path(__file__).resolve().parent.parent / folder) for folder in ("link", "unit")]

from console_world import World, open_world


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("installation")) as opened:
        yield opened


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window that nobody has used; errors of its scripts fail the test."""
    context = browser.new_context(viewport={"width": DESKTOP[0], "height": DESKTOP[1]}, locale="vi-VN")
    opened = context.new_page()
    opened.set_default_timeout(WAIT_MS)
    broken: list[str] = []
    opened.on("pageerror", lambda error: broken.append(str(error)))
    opened.on("console", lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None)
    yield opened
    context.close()
    assert broken == []
