"""Status words: names, and the three families that carry a number."""

import pytest

from cardlink.errors import CardStatus
from cardlink.iso7816 import sw
from cardlink.iso7816.sw import SW

# every status word that the command tables of SP 800-73pt2-5 §3 and §4 give, and what the dispatcher needs beside them
NAMED = [
    0x9000, 0x6300, 0x6882, 0x6982, 0x6983, 0x6987, 0x6988, 0x6A80, 0x6A81, 0x6A82, 0x6A84, 0x6A86, 0x6A88,
    0x6700, 0x6883, 0x6884, 0x6985, 0x6D00, 0x6E00, 0x6F00, 0x6310, 0x6283,
]  # fmt: skip


@pytest.mark.parametrize("value", NAMED)
def test_status_words_of_the_standard_have_names(value: int) -> None:
    assert isinstance(sw.as_sw(value), SW)
    assert sw.as_sw(value) == value


def test_a_number_without_a_name_stays_a_number() -> None:
    assert sw.as_sw(0x6FAB) == 0x6FAB
    assert not isinstance(sw.as_sw(0x6FAB), SW)


@pytest.mark.parametrize("count", [1, 2, 255])
def test_61xx_says_how_many_bytes_wait(count: int) -> None:
    value = sw.more_available(count)
    assert sw.is_more_available(value)
    assert sw.announced(value) == count


@pytest.mark.parametrize("count", [256, 257, 12_000])
def test_6100_says_256_or_more(count: int) -> None:
    assert sw.more_available(count) == 0x6100
    assert sw.announced(0x6100) == 256


@pytest.mark.parametrize(("right", "value"), [(1, 0x6C01), (255, 0x6CFF), (256, 0x6C00)])
def test_6cxx_names_the_right_le(right: int, value: int) -> None:
    assert sw.wrong_le(right) == value
    assert sw.is_wrong_le(value)
    assert sw.announced(value) == right


@pytest.mark.parametrize(("tries", "value"), [(0, 0x63C0), (3, 0x63C3), (15, 0x63CF), (255, 0x63CF)])
def test_63cx_says_how_many_tries_are_left(tries: int, value: int) -> None:
    assert sw.wrong_pin(tries) == value
    assert sw.is_wrong_pin(value)
    assert sw.tries_left(value) == min(tries, 15)


def test_6300_and_6983_are_no_counters() -> None:
    assert not sw.is_wrong_pin(0x6300)
    assert sw.tries_left(0x6983) == 0


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (SW.NOT_FOUND, "GET DATA: 6A82 not found"),
        (0x63C2, "GET DATA: 63C2"),
        (SW.SECURITY_STATUS_NOT_SATISFIED, "GET DATA: 6982 security status not satisfied"),
    ],
)
def test_a_refusal_reads_well(status: int, text: str) -> None:
    assert str(CardStatus("GET DATA", status)) == text
