"""Threads that share a batch: `cryptography` lets the interpreter go while it signs, so every processor can sign."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

PART_MIN = 8
"""Waking a thread takes as long as two or three signatures: for fewer it is not worth it."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crew:
    """As many threads as processors, the caller's among them. Any thread may ask."""

    def __init__(self, count: int | None = None) -> None:
        self._count = count or len(os.sched_getaffinity(0))
        self._others = ThreadPoolExecutor(max(1, self._count - 1), "hsm-crew")

    def each(self, act: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """What `act` gives for each item, in their order. Raises what it raises, once nobody works on the batch.

        Everybody takes the next item that nobody has taken: a thread that wakes late finds less to do, or nothing.
        """
        others = min(self._count, len(items) // PART_MIN) - 1
        if others < 1:
            return [act(item) for item in items]
        done: dict[int, Result] = {}
        open_items = iter(enumerate(items))  # shared: taking the next one is a single step of the interpreter

        def work() -> None:
            for place, item in open_items:
                done[place] = act(item)

        handed_over = [self._others.submit(work) for _ in range(others)]
        try:
            work()
        finally:
            errors = [future.exception() for future in handed_over if not future.cancel()]
        for error in errors:
            if error is not None:
                raise error
        return [done[place] for place in range(len(items))]

    def close(self) -> None:
        """Let the threads go."""
        self._others.shutdown()
