"""A fleet of 10,000 cards: the memory of each beyond its data, and how long it takes to put one into a reader."""

import json
import subprocess
import sys

from bench.report import Row, limit, told

CARDS = 10_000
KILOBYTE = 1000
MOST_KB, MOST_MS = 20.0, 5.0


def of_fleet() -> list[Row]:
    """The rows of a fleet, which is a process of its own."""
    argv = [sys.executable, "-m", "bench.fleet_figures", str(CARDS)]
    figures = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    beyond_bytes = figures["whole_bytes"] - figures["data_bytes"]
    in_use_bytes = beyond_bytes + figures["powered_bytes"]
    return [
        limit(f"a card of {CARDS:,} beyond its data", beyond_bytes / KILOBYTE, "KB", MOST_KB),
        limit("the same, if each were powered up and had signed", in_use_bytes / KILOBYTE, "KB", MOST_KB),
        told("its data", figures["data_bytes"] / KILOBYTE, "KB"),
        limit("insertion, to the answer to reset", figures["insertion_s"] * 1e3, "ms", MOST_MS),
        told("the slowest of 300", figures["insertion_most_s"] * 1e3, "ms"),
    ]
