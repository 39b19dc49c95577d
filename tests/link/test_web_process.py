"""`themo-web serve` as a process: what it needs to start, what a kill loses (nothing), where its key lies."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from console_world import PASSWORD, World, open_world
from web_visitor import Visitor

from issuer import database
from issuer.audit import log as audit
from issuer.audit.log import Intact
from issuer.trust import status


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("web")) as opened:
        yield opened


def serve(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "web", "serve", *options],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_settings_it_says_what_is_missing_and_how_to_give_it(tmp_path: Path) -> None:
    environ = {"THEMO_CENTRE_DATA_DIR": "", "THEMO_CONFIG": ""}
    vietnamese = serve(**environ)
    assert vietnamese.returncode == 2
    assert re.search(r"^themo-web: error: thiếu thiết lập centre\.data_dir\nthemo-web: hint: ", vietnamese.stderr)
    english = serve("--lang", "en", "--config", str(tmp_path / "none.toml"))
    assert (english.returncode, english.stdout) == (2, "")
    assert "themo-web: error: " in english.stderr
    assert "Traceback" not in vietnamese.stderr + english.stderr


def test_a_missing_pin_is_named_and_not_a_traceback(world: World, tmp_path: Path) -> None:
    refused = serve("--config", str(world.web.config), THEMO_HSM_PIN_FILE=str(tmp_path / "none"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("themo-web: error: ")
    assert "Traceback" not in refused.stderr


def test_its_key_is_for_its_own_user(world: World) -> None:
    key = world.folder / "web.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32


def test_a_kill_loses_no_session_and_no_change(world: World) -> None:
    card = world.card()
    visitor = Visitor(world.web).sign_in("hoa", PASSWORD)
    path = f"/cards/{card.id}"
    assert visitor.send(f"{path}/block", path, reason="lost") == 302
    with database.reading(world.factory) as session:
        before = status.head(session)
    key = (world.folder / "web.key").read_bytes()
    world.web.kill()
    world.web.start()
    assert (world.folder / "web.key").read_bytes() == key
    code, body = visitor.ask("GET", path)
    assert code == 200
    assert "Báo mất" in body
    assert visitor.send(f"{path}/unblock", path) == 302
    assert world.state(card) == "active"
    with database.reading(world.factory) as session:
        assert status.head(session) == (before.epoch, before.seq + 1)
        assert isinstance(audit.verify(session), Intact)


def test_an_hsm_that_restarts_is_found_again(world: World) -> None:
    card = world.card()
    visitor = Visitor(world.web).sign_in("hoa", PASSWORD)
    path = f"/cards/{card.id}"
    world.hsm_process.kill()
    code = visitor.send(f"{path}/block", path, reason="lost")
    assert code in (302, 503)
    assert world.state(card) == "active"
    assert "Traceback" not in visitor.ask("GET", path)[1]
    world.hsm_process.start()
    assert visitor.send(f"{path}/block", path, reason="lost") == 302
    assert world.state(card) == "lost"


def test_nothing_it_wrote_names_a_person_or_a_secret(world: World) -> None:
    said = world.web.log.read_text()
    assert "Traceback" not in said
    assert PASSWORD not in said
    assert world.hsm_process.pins["user"] not in said
