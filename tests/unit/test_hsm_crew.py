"""Threads that share a batch: nothing lost, nothing swapped, errors told."""

import os
import threading

import pytest

from hsm_sim.crew import PART_MIN, Crew


@pytest.mark.parametrize("processors", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, PART_MIN, 2 * PART_MIN - 1, 2 * PART_MIN, 64, 67])
def test_each_item_is_done_once_and_in_order(processors: int, count: int) -> None:
    crew, seen = Crew(processors), list[int]()

    def act(item: int) -> int:
        seen.append(item)
        return item * item

    assert crew.each(act, range(count)) == [item * item for item in range(count)]
    assert sorted(seen) == list(range(count))
    crew.close()


def test_a_long_batch_is_shared_and_a_short_one_is_not() -> None:
    crew, together = Crew(2), threading.Barrier(2, timeout=10)

    def meet(item: int) -> str:
        if item < 2:
            together.wait()  # the first two items are done at the same time, or not at all
        return threading.current_thread().name

    names = crew.each(meet, range(64))
    assert names[0] != names[1]
    assert len(set(names)) == 2
    alone = crew.each(lambda _: threading.current_thread().name, range(2 * PART_MIN - 1))
    assert set(alone) == {threading.current_thread().name}
    crew.close()


def test_nobody_waits_for_a_thread_that_is_busy_with_something_else() -> None:
    crew, go_on = Crew(2), threading.Event()
    busy = threading.Thread(target=crew.each, args=(lambda _: go_on.wait(10), range(64)))
    busy.start()
    assert crew.each(abs, range(64)) == list(range(64))
    go_on.set()
    busy.join()
    crew.close()


@pytest.mark.parametrize("bad", [0, 31, 32, 63])
def test_an_error_is_told_wherever_it_happened_and_the_crew_works_on(bad: int) -> None:
    crew = Crew(2)

    def act(item: int) -> int:
        if item == bad:
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match=str(bad)):
        crew.each(act, range(64))
    assert crew.each(abs, range(64)) == list(range(64))
    crew.close()


def test_the_others_keep_off_the_callers_processor() -> None:
    everywhere = os.sched_getaffinity(0)
    crew, seen = Crew(2), list[tuple[set[int], set[int]]]()

    def batch(here: int) -> None:
        os.sched_setaffinity(0, {here})
        for _ in range(2):  # the first time the other thread is only made
            together, allowed = threading.Barrier(2, timeout=10), dict[int, set[int]]()

            def look(_: int, together: threading.Barrier = together, allowed: dict[int, set[int]] = allowed) -> None:
                allowed[threading.get_ident()] = os.sched_getaffinity(0)
                together.wait()

            crew.each(look, range(64))
        mine = allowed.pop(threading.get_ident())
        (others,) = allowed.values()
        seen.append((mine, others))

    for here in sorted(everywhere):
        caller = threading.Thread(target=batch, args=(here,))
        caller.start()
        caller.join()
    crew.close()
    assert seen == [({here}, everywhere - {here} or everywhere) for here in sorted(everywhere)]
