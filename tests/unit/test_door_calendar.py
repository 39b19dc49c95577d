"""Calendars: weeks, special dates, time zones."""

from datetime import UTC, datetime

import pytest

from reader_daemon.calendar import is_open, local_minute, zone
from reader_daemon.errors import ZoneMissing
from reader_daemon.messages import error_text

OFFICE = [((450, 690), (780, 1020))] * 5 + [()] * 2  # 07:30-11:30 and 13:00-17:00, Monday to Friday
HANOI = zone("Asia/Ho_Chi_Minh")


@pytest.mark.parametrize(
    ("utc", "want"),
    [
        (datetime(2026, 9, 1, 0, 30, tzinfo=UTC), True),  # Tuesday 07:30 in Hanoi
        (datetime(2026, 9, 1, 0, 29, tzinfo=UTC), False),
        (datetime(2026, 9, 1, 4, 29, 59, tzinfo=UTC), True),  # 11:29:59
        (datetime(2026, 9, 1, 4, 30, tzinfo=UTC), False),  # 11:30: the last minute is not in it
        (datetime(2026, 9, 4, 18, 0, tzinfo=UTC), False),  # Saturday 01:00 in Hanoi, Friday in London
        (datetime(2026, 9, 6, 23, 59, tzinfo=UTC), False),  # Monday 06:59
        (datetime(2026, 9, 7, 0, 30, tzinfo=UTC), True),  # Monday 07:30
    ],
)
def test_the_week_counts_in_the_doors_zone(utc: datetime, want: bool) -> None:
    assert is_open(OFFICE, {}, local_minute(utc, HANOI)) is want


def test_a_date_replaces_its_weekday() -> None:
    dates = {20260902: (), 20260905: ((480, 720),)}  # National Day shut, a Saturday made up for
    assert not is_open(OFFICE, dates, local_minute(datetime(2026, 9, 2, 3, tzinfo=UTC), HANOI))
    assert is_open(OFFICE, dates, local_minute(datetime(2026, 9, 5, 3, tzinfo=UTC), HANOI))


def test_the_29th_of_february_is_a_day() -> None:
    assert local_minute(datetime(2028, 2, 28, 17, tzinfo=UTC), HANOI).day == 20280229


def test_daylight_saving_of_another_zone_is_that_zones_matter() -> None:
    paris = zone("Europe/Paris")
    assert local_minute(datetime(2026, 3, 29, 0, 59, tzinfo=UTC), paris).minute == 119
    assert local_minute(datetime(2026, 3, 29, 1, 0, tzinfo=UTC), paris).minute == 180


def test_an_open_span_may_reach_midnight() -> None:
    week = [((0, 1440),)] * 7
    assert is_open(week, {}, local_minute(datetime(2026, 9, 1, 16, 59, 59, tzinfo=UTC), HANOI))


@pytest.mark.parametrize("name", ["Asia/Nowhere", "", "../etc/passwd"])
def test_a_zone_without_rules_says_so(name: str) -> None:
    with pytest.raises(ZoneMissing) as caught:
        zone(name)
    assert "tzdata" in error_text(caught.value, "en")[1]
