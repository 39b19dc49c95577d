"""Contenders that take turns, so that a machine which changes its speed changes it for all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.report import Row, percentile, slower_by_at_most

ROUNDS, WARM_ROUNDS = 25, 3
WARM_PART = 20


@dataclass(frozen=True, slots=True)
class Contender:
    """What is called over and over in one turn; `items`: how many of what is counted one call does."""

    call: Callable[[], object]
    calls: int
    items: int = 1


@dataclass(slots=True)
class _Times:
    """Seconds: per item, a figure a round; of each call; of the first call of each turn."""

    rounds: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)


class Turns:
    """What each contender took, round by round.

    A turn begins with some calls that do not count: whoever comes back after the others had their turns wakes a
    processor first, which is no part of one call after the other. `first` tells what that takes.
    """

    def __init__(self, contenders: Mapping[str, Contender], rounds: int = ROUNDS) -> None:
        self._times = {name: _Times() for name in contenders}
        for number in range(rounds + WARM_ROUNDS):
            for name, contender in contenders.items():
                self._turn(contender, self._times[name] if number >= WARM_ROUNDS else _Times())

    def _turn(self, contender: Contender, times: _Times) -> None:
        call, now_s, spent_s = contender.call, time.perf_counter, list[float]()
        for _ in range(1 + contender.calls // WARM_PART):
            started_s = now_s()
            call()
            spent_s.append(now_s() - started_s)
        times.firsts.append(spent_s[0])
        times.calls += spent_s
        spent_s.clear()
        for _ in range(contender.calls):
            started_s = now_s()
            call()
            spent_s.append(now_s() - started_s)
        times.calls += spent_s
        times.rounds.append(sum(spent_s) / (contender.calls * contender.items))

    def __getitem__(self, name: str) -> float:
        """The median of one contender's rounds, microseconds an item."""
        return statistics.median(self._times[name].rounds) * 1e6

    def first(self, name: str) -> float:
        """The median of one contender's first calls, microseconds."""
        return statistics.median(self._times[name].firsts) * 1e6

    def p99(self, name: str) -> float:
        """What 99 of 100 calls of one contender stay below, those that do not count among them, microseconds."""
        return percentile(self._times[name].calls, 0.99) * 1e6

    def at_least(self, what: str, name: str, versus: str, other: str, part: float) -> Row:
        """One contender must reach that part of another one's speed: the median of the rounds' ratios."""
        rounds = zip(self._times[other].rounds, self._times[name].rounds, strict=True)
        ratio = statistics.median(theirs / ours for theirs, ours in rounds)
        return slower_by_at_most(what, self[name], "us", versus, self[other], part, ratio)
