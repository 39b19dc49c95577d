"""Days as an office in Việt Nam counts them: UTC+7 all year."""

from datetime import date, datetime, timedelta, timezone

LOCAL = timezone(timedelta(hours=7))


def local_day(moment: datetime) -> date:
    """The day of a moment."""
    return moment.astimezone(LOCAL).date()


def months_before(day: date, months: int) -> date:
    """The same day of the month so many months earlier, or that month's last day."""
    index = day.year * 12 + day.month - 1 - months
    year, month = divmod(index, 12)
    following = date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return date(year, month + 1, min(day.day, (following - timedelta(days=1)).day))
