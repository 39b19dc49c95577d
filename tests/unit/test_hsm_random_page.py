"""Random bytes fetched a page ahead: each given out once, to one process."""

import os
import threading

import pytest

from hsm_sim.random_page import PAGE_BYTES, RandomPage


class Source:
    """Gives numbered 8-byte blocks, so that every byte says where it came from; keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._next = 0

    def __call__(self, size: int) -> bytes:
        self.asked.append(size)
        first, self._next = self._next, self._next + size // 8
        return b"".join(number.to_bytes(8, "big") for number in range(first, self._next))


def test_small_takes_share_a_page_and_no_byte_is_given_twice() -> None:
    source = Source()
    page = RandomPage(source)
    taken = [page.take(8) for _ in range(1200)]
    assert len(set(taken)) == 1200
    assert source.asked == [PAGE_BYTES] * 3


def test_a_remainder_too_short_for_the_next_take_is_thrown_away() -> None:
    source = Source()
    page = RandomPage(source)
    assert [len(page.take(size)) for size in (PAGE_BYTES - 8, 16, PAGE_BYTES)] == [PAGE_BYTES - 8, 16, PAGE_BYTES]
    assert len(source.asked) == 3


@pytest.mark.parametrize("size", [0, -1, PAGE_BYTES + 1])
def test_what_is_no_part_of_a_page_is_the_sources_to_give_or_refuse(size: int) -> None:
    asked: list[int] = []

    def refuse(size: int) -> bytes:
        asked.append(size)
        raise ValueError

    with pytest.raises(ValueError):
        RandomPage(refuse).take(size)
    assert asked == [size]


def test_a_child_gets_bytes_of_its_own() -> None:
    source = Source()
    page = RandomPage(source)
    page.take(8)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        page.take(8)
        os.write(write, b"%d" % len(source.asked))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 8) == b"2"
    os.close(read)
    os.close(write)
    page.take(8)
    assert len(source.asked) == 1


def test_threads_never_get_the_same_bytes() -> None:
    page = RandomPage(Source())
    taken: list[bytes] = []
    threads = [threading.Thread(target=lambda: taken.extend(page.take(8) for _ in range(500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 2000
