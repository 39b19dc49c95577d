"""What a benchmark says of its figures: ratios, goals, the JSON file, the order of turns."""

import json
from pathlib import Path

import pytest

from bench import report
from bench.report import at_most, beside, faster, interleaved, limit, median_us, percentile, publish, told


def test_a_goal_of_at_most_is_met_up_to_its_factor() -> None:
    assert at_most("check", 200.0, "us", "bare", 100.0, 2.0).met is True
    missed = at_most("check", 201.0, "us", "bare", 100.0, 2.0)
    assert (missed.ratio, missed.met, missed.goal) == (2.01, False, "<= 2 x")


def test_a_goal_of_faster_is_met_from_its_factor_on() -> None:
    assert faster("check", 100.0, "us", "peer", 130.0, 1.3).met is True
    assert faster("check", 100.0, "us", "peer", 129.0, 1.3).met is False


def test_a_limit_is_met_up_to_its_bound() -> None:
    assert limit("bytes", 450, "bytes", 450).met is True
    assert limit("bytes", 451, "bytes", 450).met is False


def test_a_figure_without_a_goal_is_neither_met_nor_missed() -> None:
    assert told("commit", 1.0, "ms").met is None
    row = beside("signature", 1.0, "ms", "a chip", 4.0)
    assert (row.ratio, row.goal, row.met) == (0.25, "", None)


def test_a_percentile_is_the_nearest_rank() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.99), percentile(values, 0.5), percentile(values, 1.0)) == (99.0, 50.0, 100.0)
    assert percentile([7.0], 0.99) == 7.0


def test_contenders_take_turns() -> None:
    turns: list[str] = []
    first, second = interleaved(3, lambda: turns.append("ours"), lambda: turns.append("theirs"))
    assert turns == ["ours", "theirs"] * 3
    assert len(first) == len(second) == 3
    assert median_us([0.000_001, 0.000_003, 0.000_002]) == pytest.approx(2.0)


def test_published_rows_are_in_the_file_and_one_missed_goal_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    good, bad = limit("exchanges", 3, "exchanges", 3), limit("bytes", 500, "bytes", 450)
    assert publish("door", [good, told("commit", 0.5, "ms")]) is True
    assert publish("door", [good, bad]) is False
    written = json.loads((tmp_path / "results" / "door.json").read_text(encoding="utf-8"))
    assert written["name"] == "door"
    keys = {"what", "ours", "unit", "versus", "theirs", "ratio", "goal", "met"}
    assert [set(row) for row in written["rows"]] == [keys, keys]
    assert [row["met"] for row in written["rows"]] == [True, False]
