"""The page of what holds the keys."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from web_console import Console, open_console, page

from hsm_sim.client import Client
from issuer.messages.catalogue import text
from issuer.trust.port import Capabilities
from issuer.trust.sim import Sim
from web.app import create_app
from web.site import EXTENSION, Parts


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return open_console(tmp_path)


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_what_the_hsm_does_not_do_by_itself_is_shown_to_the_administrator(console: Console, lang: str) -> None:
    told = page(console.client("quan").get(f"/hsm?lang={lang}"))
    names = [one.name for one in fields(Capabilities)]
    assert told.count("<li>") == len(names)
    for name in names:
        assert text(f"lacks.{name}", lang)[1:] in told.replace("&#39;", "'")


def test_the_caps_and_how_far_they_are_used_up_are_shown(console: Console) -> None:
    told = page(console.client("quan").get("/hsm?lang=vi"))
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(<td>.*?)</tr>", told)]
    assert rows == [["in mã PIN thẻ (reveal-pin)", "5", "500", "7"], ["card-H38-1", "không giới hạn", "40", "3"]]


def test_an_hsm_that_does_not_answer_is_said_on_its_page(console: Console, tmp_path: Path) -> None:
    parts = console.app.extensions[EXTENSION]
    assert isinstance(parts, Parts)
    away = Sim(Client(tmp_path / "nobody.sock", "user", "no-pin-here", wait_s=0.01))
    console.app = create_app(replace(parts, hsm=away))
    told = page(console.client("quan").get("/hsm?lang=en"))
    assert "The HSM does not answer" in told
    assert "<li>" not in told
