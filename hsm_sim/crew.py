"""Threads that share a batch: `cryptography` lets the interpreter go while it signs, so every processor can sign."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

PART_MIN = 8
"""Handing over a part takes as long as two or three signatures: shorter ones are not worth it."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crew:
    """As many threads as processors, the caller's among them. Any thread may ask."""

    def __init__(self, count: int | None = None) -> None:
        self._count = count or len(os.sched_getaffinity(0))
        self._others = ThreadPoolExecutor(max(1, self._count - 1), "hsm-crew")

    def each(self, act: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """What `act` gives for each item, in their order. Raises what it raises, once nobody works on the batch."""
        parts = min(self._count, len(items) // PART_MIN)
        if parts < 2:
            return [act(item) for item in items]
        ends = [len(items) * number // parts for number in range(parts + 1)]
        shares = [items[begin:end] for begin, end in pairwise(ends)]

        def work(share: Sequence[Item]) -> list[Result]:
            return [act(item) for item in share]

        handed_over = [self._others.submit(work, share) for share in shares[1:]]
        try:
            results = work(shares[0])
        finally:
            rest = [future.exception() for future in handed_over]
        for error in rest:
            if error is not None:
                raise error
        for future in handed_over:
            results += future.result()
        return results

    def close(self) -> None:
        """Let the threads go."""
        self._others.shutdown()
