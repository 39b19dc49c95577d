"""A benchmark's result: rows of ours against a peer or a limit measured in the same run; a table and a JSON file."""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `ratio` is what `goal` speaks of; `met` is None where there is no goal."""

    what: str
    ours: float
    unit: str
    versus: str
    theirs: float | None
    ratio: float | None
    goal: str
    met: bool | None


def at_most(what: str, ours: float, unit: str, versus: str, theirs: float, factor: float) -> Row:
    """Ours may be at most `factor` times theirs."""
    ratio = ours / theirs
    return Row(what, ours, unit, versus, theirs, ratio, f"<= {factor:g} x", ratio <= factor)


def faster(what: str, ours: float, unit: str, versus: str, theirs: float, factor: float) -> Row:
    """Theirs must take at least `factor` times as long as ours."""
    ratio = theirs / ours
    return Row(what, ours, unit, versus, theirs, ratio, f">= {factor:g} x faster", ratio >= factor)


def slower_by_at_most(
    what: str, ours: float, unit: str, versus: str, theirs: float, part: float, ratio: float | None = None
) -> Row:
    """Ours must reach at least that part of their speed: both are times, and the ratio is theirs to ours.

    `ratio`: where it was worked out round by round, since a machine that changes its speed spoils that of two medians.
    """
    by_round = "" if ratio is None else ", by round"
    ratio = theirs / ours if ratio is None else ratio
    return Row(what, ours, unit, versus, theirs, ratio, f">= {part:g} x its speed{by_round}", ratio >= part)


def limit(what: str, ours: float, unit: str, bound: float) -> Row:
    """Ours may be at most a fixed bound."""
    return Row(what, ours, unit, "limit", bound, ours / bound, f"<= {bound:g} {unit}", ours <= bound)


def told(what: str, ours: float, unit: str) -> Row:
    """A figure without a goal."""
    return Row(what, ours, unit, "", None, None, "", None)


def beside(what: str, ours: float, unit: str, versus: str, theirs: float) -> Row:
    """A figure beside another one, without a goal."""
    return Row(what, ours, unit, versus, theirs, ours / theirs, "", None)


def publish(name: str, rows: Sequence[Row]) -> bool:
    """Print the table, write bench/results/NAME.json; say whether every goal was met."""
    table = Table(title=name, title_justify="left")
    for heading in ("what", "ours", "unit", "versus", "theirs", "ratio", "goal", "met"):
        table.add_column(heading, justify="right" if heading in ("ours", "theirs", "ratio") else "left")
    for row in rows:
        table.add_row(
            row.what,
            _figure(row.ours),
            row.unit,
            row.versus,
            _figure(row.theirs),
            _figure(row.ratio),
            row.goal,
            {True: "yes", False: "NO", None: ""}[row.met],
        )
    Console(width=150).print(table)
    RESULTS.mkdir(exist_ok=True)
    result = {"name": name, "rows": [asdict(row) for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return all(row.met is not False for row in rows)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def interleaved(rounds: int, *contenders: Callable[[], object]) -> list[list[float]]:
    """Time each contender once a round, in turn, so that a slow moment hits all; seconds per contender."""
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for index, contender in enumerate(contenders):
            started = perf_counter()
            contender()
            times[index].append(perf_counter() - started)
    return times


def median_us(seconds: Sequence[float]) -> float:
    """The median in microseconds."""
    return statistics.median(seconds) * 1e6


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of the values lie, nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(round(part * len(ordered), 6)) - 1)]
