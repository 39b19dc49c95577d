"""How long a card counts: its last day, and that day's last second."""

from datetime import UTC, date, datetime, time, timedelta

from issuer.days import LOCAL
from issuer.trust.profiles import CARD_YEARS


def last_day(issued_on: date, years: int = CARD_YEARS) -> date:
    """The last day of a card issued on this day."""
    try:
        same = issued_on.replace(year=issued_on.year + years)
    except ValueError:  # 29 February
        same = issued_on.replace(year=issued_on.year + years, day=28) + timedelta(days=1)
    return same - timedelta(days=1)


def end_of(day: date) -> datetime:
    """The last second of a day in Việt Nam; in UTC it bears the same date."""
    return datetime.combine(day, time(23, 59, 59), LOCAL).astimezone(UTC)
