"""The card's benchmark, run for a few rounds: every row is there, and what it measures really answers."""

import json
import subprocess
import sys

import pytest

from bench import card_messaging, card_process
from bench.report import Row


def names(rows: list[Row]) -> set[str]:
    return {row.what.split(",")[0] for row in rows}


def test_the_card_is_measured_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROUNDS", 1), ("CALLS", 2), ("WARM_ROUNDS", 1), ("WRAPPED", 4), ("POWER_UPS", 2)):
        monkeypatch.setattr(card_process, name, value)
    rows = card_process.in_process()
    assert {"SELECT", "GET DATA", "GENERAL AUTHENTICATE", "power-up from the sealed image"} <= names(rows)
    assert [row.goal for row in rows if row.what.startswith("SCP03")] == ["<= 3 x", "<= 3 x"]
    real = [row for row in rows if "timing model" in row.what]
    assert [(row.theirs or 0) > 30_000 for row in real] == [True, True]


def test_sessions_of_secure_messaging_are_opened_and_carry_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_messaging, "SESSIONS", 2)
    monkeypatch.setattr(card_messaging, "COMMANDS", 3)
    assert len(card_messaging.secure_messaging()) == 4


def test_a_small_fleet_is_measured_in_a_process_of_its_own() -> None:
    argv = [sys.executable, "-m", "bench.fleet_figures", "20"]
    figures = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    assert figures["data_bytes"] > 1500
    assert figures["insertion_s"] > 0
