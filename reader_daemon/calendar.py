"""When a rule applies: weeks and special dates in minutes of the day, in the door's time zone (formats.md, F7)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reader_daemon.errors import ZoneMissing

Spans = Sequence[tuple[int, int]]


class LocalMinute(NamedTuple):
    """One instant as a calendar sees it: day of the week from Monday = 0, the date yyyymmdd, minute of the day."""

    weekday: int
    day: int
    minute: int


def zone(name: str) -> tzinfo:
    """The zone's rules. Raises ZoneMissing when this machine has none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ZoneMissing("zone-missing", zone=name) from error


def local_minute(now: datetime, where: tzinfo) -> LocalMinute:
    """The instant on the wall of the door. Daylight saving is the zone's matter."""
    there = now.astimezone(where)
    return LocalMinute(
        there.weekday(), there.year * 10_000 + there.month * 100 + there.day, there.hour * 60 + there.minute
    )


def is_open(week: Sequence[Spans], dates: Mapping[int, Spans], at: LocalMinute) -> bool:
    """Say whether the calendar is open. A span holds its first minute and not its last; a date replaces its weekday."""
    spans = dates[at.day] if at.day in dates else week[at.weekday]
    minute = at.minute
    for start, end in spans:  # noqa: SIM110 a tap's hot path: `any` would start a generator
        if start <= minute < end:
            return True
    return False
