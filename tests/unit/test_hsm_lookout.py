"""The wait for the other end's bytes: looks while they come fast, sleep where they do not, and never a byte lost."""

import socket
import threading
from collections.abc import Iterator

import pytest

from hsm_sim.frames import Lookout


class Pair:
    """Two ends of a socket, one with a lookout whose looks are counted by the turns they take."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.ours, self.theirs = socket.socketpair()
        self.lookout = Lookout(self.ours, self.turn)

    def exchange(self) -> None:
        self.theirs.send(b"now")
        assert self.lookout.read() == b"now"

    def exchange_until_it_looks(self) -> int:
        """How many exchanges it took; on a busy machine some of them are no short waits."""
        for count in range(1000):
            if self.lookout.is_looking:
                return count
            self.exchange()
        raise AssertionError("a thousand exchanges, and none was short")

    def later(self, wait_s: float, act: str = "send") -> threading.Timer:
        timer = threading.Timer(wait_s, lambda: self.theirs.send(b"late") if act == "send" else self.theirs.close())
        timer.start()
        return timer


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    with pair.ours, pair.theirs:
        yield pair


def test_it_looks_once_a_wait_was_short(pair: Pair) -> None:
    assert not pair.lookout.is_looking
    pair.exchange_until_it_looks()


def test_a_look_in_vain_is_followed_by_sleep_and_the_bytes_still_come(pair: Pair) -> None:
    pair.exchange_until_it_looks()
    late = pair.later(0.02)
    assert pair.lookout.read() == b"late"
    late.join()
    assert not pair.lookout.is_looking


def test_each_look_in_vain_asks_for_more_short_waits_until_it_looks_again(pair: Pair) -> None:
    for at_least in (1, 1, 2, 4, 8):
        assert pair.exchange_until_it_looks() >= at_least
        late = pair.later(0.02)
        assert pair.lookout.read() == b"late"
        late.join()


def test_a_long_wait_is_no_reason_to_look(pair: Pair) -> None:
    for _ in range(3):
        late = pair.later(0.02)
        assert pair.lookout.read() == b"late"
        late.join()
        assert not pair.lookout.is_looking


def test_one_connection_looks_at_a_time(pair: Pair) -> None:
    pair.exchange_until_it_looks()
    with pair.turn:
        late = pair.later(0.02)
        assert pair.lookout.read() == b"late"
        late.join()
    assert pair.lookout.is_looking, "it did not look, so it did not look in vain"


@pytest.mark.parametrize("is_looking", [False, True])
def test_the_end_is_told(pair: Pair, is_looking: bool) -> None:
    if is_looking:
        pair.exchange_until_it_looks()
    late = pair.later(0.02, "close")
    assert pair.lookout.read() == b""
    late.join()
