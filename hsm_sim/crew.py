"""Threads that share a batch: `cryptography` lets the interpreter go while it signs, so every processor can sign."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

PART_MIN = 8
"""Waking a thread takes as long as two or three signatures: for fewer it is not worth it."""
THIS_THREAD = Path("/proc/thread-self/stat")
PROCESSOR_FIELD = 39 - 3  # proc(5), counted behind the name in brackets, which is the second

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crew:
    """As many threads as processors, the caller's among them. Any thread may ask."""

    def __init__(self, count: int | None = None) -> None:
        self._count = count or len(os.sched_getaffinity(0))
        self._threads: list[int] = []
        self._kept_off: tuple[int, set[int]] | None = None
        self._others = ThreadPoolExecutor(max(1, self._count - 1), "hsm-crew", self._join)

    def _join(self) -> None:
        self._threads.append(threading.get_native_id())
        self._kept_off = None

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

        self._make_way()
        handed_over = [self._others.submit(work) for _ in range(others)]
        try:
            work()
        finally:
            errors = [future.exception() for future in handed_over if not future.cancel()]
        for error in errors:
            if error is not None:
                raise error
        return [done[place] for place in range(len(items))]

    def _make_way(self) -> None:
        """Keep the others off the caller's processor.

        A thread that is woken while the machine is busy mostly starts where its waker runs, and waits there for half of
        the batch although another processor has nothing to do.
        """
        here, allowed = _processor(), os.sched_getaffinity(os.getpid())
        if (here, allowed) == self._kept_off:
            return
        for thread in self._threads:
            with suppress(OSError):  # it ended, or its processors were taken away just now: then as the system likes
                os.sched_setaffinity(thread, allowed - {here} or allowed)
        self._kept_off = here, allowed

    def close(self) -> None:
        """Let the threads go."""
        self._others.shutdown()


def _processor() -> int:
    """The processor that this thread runs on; -1 where the system does not tell."""
    try:
        return int(THIS_THREAD.read_bytes().rpartition(b") ")[2].split()[PROCESSOR_FIELD])
    except (OSError, ValueError, IndexError):
        return -1
