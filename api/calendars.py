"""What a time is relative to: the present, a time zone, and for a file its extent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.errors import Invalid
from ingest.records import MICROSECONDS, Moment, Span, seconds


@dataclass(frozen=True, slots=True)
class Calendar:
    """The present, a time zone and, when one file is spoken about, its extent."""

    now: Moment
    zone: ZoneInfo
    file: Span | None = None

    @property
    def today(self) -> date:
        return local(self.now, self.zone).date()

    def days(self, first: date, end: date) -> Span:
        """Whole days, `end` not among them."""
        return Span(at(first, clock_time(0), self.zone), at(end, clock_time(0), self.zone))

    def hours(self, day: date, first: int, end: int) -> Span:
        """From one full hour of a day to another; hours beyond 24 are of the next day."""
        return Span(self.hour(day, first), self.hour(day, end))

    def hour(self, day: date, hour: int) -> Moment:
        return at(day + timedelta(days=hour // 24), clock_time(hour % 24), self.zone)


def zone_named(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(f'There is no time zone "{name}".', advice='Use a name such as "Europe/Berlin".') from error


def utc(moment: int) -> datetime:
    """For JSON: an aware datetime in UTC, exact to the microsecond."""
    whole, rest = divmod(moment, MICROSECONDS)
    return datetime.fromtimestamp(whole, tz=UTC).replace(microsecond=rest)


def local(moment: int, zone: ZoneInfo) -> datetime:
    return utc(moment).astimezone(zone)


def at(day: date, time: clock_time, zone: ZoneInfo) -> Moment:
    """The moment of a local time; the first of the two when clocks go back."""
    stamp = datetime.combine(day, time, tzinfo=zone)
    return Moment(seconds(int(stamp.timestamp())) + stamp.microsecond)


def months_later(day: date, months: int) -> date:
    """The same day of another month, or its last where it has no such day. Raises ValueError beyond the calendar."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month + 1, min(day.day, last))
