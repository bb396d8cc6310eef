"""Times as people write them, and spans as people read them.

Every expression denotes a `Span`: "yesterday" is a day long, "14:00" is an instant (an empty span). A request's `from`
takes the start of what was written and its `to` the end, so `from=yesterday&to=yesterday` is the whole of yesterday.
For a file, clock-like times are offsets from its first picture: "00:12:31", "12:31", "75s".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.errors import Invalid
from ingest.records import MICROSECONDS, Moment, Span, seconds

EXAMPLES = (
    '"yesterday 14:00", "last hour", "10 minutes ago", "monday 9am", "2026-11-23 14:00" or, for files, "00:12:31"'
)

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_SHORT = {"s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "hr": "hour", "d": "day"}
_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS: dict[str, float] = dict(zip(_ONES, range(1, 13), strict=True))
_NUMBERS |= {
    "a": 1,
    "an": 1,
    "half a": 0.5,
    "half an": 0.5,
    "a couple of": 2,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PARTS = {"night": (0, 6), "morning": (6, 12), "afternoon": (12, 18), "evening": (18, 24)}
_POINTS = {"midnight": 0, "noon": 12, "midday": 12}
_LONGEST_PHRASE = 10
_LEADS = "in|at|on|during|over|within|for|around|about"

_number = rf"(?P<n>\d+(?:\.\d+)?|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_unit = rf"(?P<unit>(?:{'|'.join(_UNITS)})s?|{'|'.join(sorted(_SHORT, key=len, reverse=True))})"
_clock = r"(?:\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[ap]m)?|\d{1,2} ?[ap]m|noon|midday|midnight)"
_month = rf"(?:{'|'.join(_MONTHS)})[a-z]*"
_day = (
    rf"(?:today|yesterday|the day before yesterday|(?:last |this )?(?:{'|'.join(_WEEKDAYS)})|\d{{4}}-\d\d-\d\d"
    rf"|\d{{1,2}} {_month}(?: \d{{4}})?|{_month} \d{{1,2}}(?: \d{{4}})?)"
)


@dataclass(frozen=True, slots=True)
class Calendar:
    """What a time is relative to: the present, a time zone and, when one file is spoken about, its extent."""

    now: Moment
    zone: ZoneInfo
    file: Span | None = None

    @property
    def today(self) -> date:
        return local(self.now, self.zone).date()


def zone_named(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(f'There is no time zone "{name}".', advice='Use a name such as "Europe/Berlin".') from error


def local(moment: int, zone: ZoneInfo) -> datetime:
    return utc(moment).astimezone(zone)


def at(day: date, time: clock_time, zone: ZoneInfo) -> Moment:
    """The moment of a local time; the first of the two when clocks go back."""
    stamp = datetime.combine(day, time, tzinfo=zone)
    return Moment(seconds(int(stamp.timestamp())) + stamp.microsecond)


def read(text: str, calendar: Calendar) -> Span:
    """The span that `text` denotes; empty for an instant. Raises `Invalid`."""
    span = _try(_normal(text), calendar)
    if span is None:
        raise Invalid(f'"{text}" is not a time that can be read.', advice=f"Write it like {EXAMPLES}.")
    return span


def between(start: str | None, end: str | None, calendar: Calendar) -> Span | None:
    """The span of a request's `from` and `to`; None when neither is given. An open end is now, or the file's end."""
    if start is None and end is None:
        return None
    whole = calendar.file or Span(Moment(0), calendar.now)
    first = whole.start if start is None else read(start, calendar).start
    last = whole.end if end is None else read(end, calendar).end
    if end is not None and start is not None and last < first:
        raise Invalid(f'"{end}" is before "{start}".', advice="Give the earlier time first.")
    return Span(first, max(first, last))


def find(text: str, calendar: Calendar) -> tuple[Span, str] | None:
    """The longest time expression in a sentence and the sentence without it; None when it names no time."""
    words = [(m.group(), m.start(), m.end()) for m in re.finditer(r"[^\s,;?!]+", text)]
    for size in range(min(_LONGEST_PHRASE, len(words)), 0, -1):
        for first in range(len(words) - size + 1):
            window = words[first : first + size]
            phrase = _normal(text[window[0][1] : window[-1][2]])
            span = _try(phrase, calendar)
            if span is None or (re.fullmatch(_clock, phrase) and size == len(phrase.split())):
                continue  # a bare "12:30" may be something to read in the picture; "at 12:30" is a time
            rest = f"{text[: window[0][1]]} {text[window[-1][2] :]}"
            return span, re.sub(r"\s+([,;?!.])", r"\1", re.sub(r"\s+", " ", rest)).strip(" ,;")
    return None


# --- reading ---------------------------------------------------------------------------------------------------


def _normal(text: str) -> str:
    """Lower case, single spaces, no trailing full stop."""
    return re.sub(r"\s+", " ", text.strip().lower()).strip().rstrip(".").replace("o'clock", "").strip()


def _try(text: str, calendar: Calendar) -> Span | None:
    for pattern, reader in _READERS:
        match = pattern.fullmatch(text)
        if match is not None:
            try:
                span = reader(match, calendar)
            except (ValueError, OverflowError):
                return None
            if span is not None:
                return span
    return None


def _now(_match: re.Match[str], calendar: Calendar) -> Span:
    return Span(calendar.now, calendar.now)


def _iso(match: re.Match[str], calendar: Calendar) -> Span:
    stamp = datetime.fromisoformat(match.group().upper())
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=calendar.zone)
    whole = stamp.replace(microsecond=0)
    moment = Moment(seconds(int(whole.timestamp())) + stamp.microsecond)
    return Span(moment, moment)


def _length(match: re.Match[str]) -> int:
    number, unit = match["n"] or "1", match["unit"]
    unit = _SHORT.get(unit, unit.removesuffix("s") if len(unit) > 1 else unit)
    return seconds(float(_NUMBERS.get(number) or number) * _UNITS[unit])


def _ago(match: re.Match[str], calendar: Calendar) -> Span:
    moment = Moment(calendar.now - _length(match))
    return Span(moment, moment)


def _last(match: re.Match[str], calendar: Calendar) -> Span:
    end = calendar.file.end if match["of"] and calendar.file else calendar.now
    return Span(Moment(end - _length(match)), end)


def _first(match: re.Match[str], calendar: Calendar) -> Span | None:
    if calendar.file is None:
        return None
    return Span(calendar.file.start, Moment(calendar.file.start + _length(match)))


def _edge(match: re.Match[str], calendar: Calendar) -> Span | None:
    if calendar.file is None:
        return None
    moment = calendar.file.end if match["edge"] == "end" else calendar.file.start
    return Span(moment, moment)


def _offset(match: re.Match[str], calendar: Calendar) -> Span | None:
    """ "12:31", "00:12:31.5", "75s", "1m30s" into a file."""
    if calendar.file is None:
        return None
    value = 0.0
    for part in match["clock"].split(":") if match["clock"] else ():
        value = value * 60 + float(part)
    for number, unit in re.findall(r"(\d+(?:\.\d+)?) ?([hms])", match["units"] or ""):
        value += float(number) * {"h": 3600, "m": 60, "s": 1}[unit]
    moment = Moment(calendar.file.start + seconds(value))
    return Span(moment, moment)


def _clock_of(text: str) -> clock_time:
    if text in _POINTS:
        return clock_time(_POINTS[text])
    half = text[-2:] if text.endswith("m") else ""
    parts = (text.removesuffix(half).strip() if half else text).split(":")
    hour, minute = int(parts[0]), int(parts[1]) if len(parts) > 1 else 0
    second = float(parts[2]) if len(parts) > 2 else 0.0
    if half and not 1 <= hour <= 12:
        raise ValueError(text)
    hour = hour % 12 + (12 if half == "pm" else 0) if half else hour
    return clock_time(hour, minute, int(second), round(second % 1 * MICROSECONDS) % MICROSECONDS)


def _time_of_day(match: re.Match[str], calendar: Calendar) -> Span:
    """The most recent past moment with that time of day; on a file, the one on the day it was filmed."""
    time = _clock_of(match.group())
    day = local(calendar.file.start, calendar.zone).date() if calendar.file else calendar.today
    moment = at(day, time, calendar.zone)
    if calendar.file is None and moment > calendar.now:
        moment = at(day - timedelta(days=1), time, calendar.zone)
    return Span(moment, moment)


def _day_of(text: str, calendar: Calendar) -> date:
    today = calendar.today
    near = {"today": 0, "yesterday": 1, "the day before yesterday": 2}
    if text in near:
        return today - timedelta(days=near[text])
    name = text.rsplit(maxsplit=1)[-1]
    if name in _WEEKDAYS:
        back = (today.weekday() - _WEEKDAYS.index(name)) % 7
        return today - timedelta(days=7 if back == 0 and text.startswith("last") else back)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return date.fromisoformat(text)
    month = next(i for i, name in enumerate(_MONTHS, 1) if re.search(rf"\b{name}", text))
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    day, year = min(numbers), max(numbers) if len(numbers) > 1 else today.year
    found = date(year, month, day)
    return found if len(numbers) > 1 or found <= today else date(year - 1, month, day)


def _whole_day(match: re.Match[str], calendar: Calendar) -> Span:
    return _hours(_day_of(match["day"], calendar), (0, 24), calendar.zone)


def _hours(day: date, hours: tuple[int, int], zone: ZoneInfo) -> Span:
    start, end = hours
    last = at(day + timedelta(days=1), clock_time(0), zone) if end == 24 else at(day, clock_time(end), zone)
    return Span(at(day, clock_time(start), zone), last)


def _day_and_time(match: re.Match[str], calendar: Calendar) -> Span:
    day, time = _day_of(match["day"], calendar), _clock_of(match["clock"])
    moment = at(day, time, calendar.zone)
    if match["day"] in _WEEKDAYS and moment > calendar.now:  # said on a Monday morning, "monday 5pm" was last week
        moment = at(day - timedelta(days=7), time, calendar.zone)
    return Span(moment, moment)


def _part(match: re.Match[str], calendar: Calendar) -> Span:
    day = _day_of(match["day"], calendar) if match["day"] else calendar.today
    if match["part"] == "night" and match["day"]:  # "monday night" begins on Monday evening
        return Span(_hours(day, (18, 24), calendar.zone).start, _hours(day + timedelta(1), (0, 6), calendar.zone).end)
    return _hours(day, _PARTS[match["part"]], calendar.zone)


def _tonight(match: re.Match[str], calendar: Calendar) -> Span:
    evening = calendar.today - timedelta(days=1 if match.group().startswith("last") else 0)
    morning = evening + timedelta(days=1)
    return Span(at(evening, clock_time(18), calendar.zone), at(morning, clock_time(6), calendar.zone))


def _since(match: re.Match[str], calendar: Calendar) -> Span | None:
    inner = _try(match["a"], calendar)
    if inner is None:
        return None
    edge = inner.end if match["word"] == "after" else inner.start
    return Span(edge, max(edge, calendar.file.end if calendar.file else calendar.now))


def _before(match: re.Match[str], calendar: Calendar) -> Span | None:
    inner = _try(match["a"], calendar)
    if inner is None:
        return None
    edge = inner.end if match["word"] in ("until", "till", "up to") else inner.start
    return Span(min(edge, calendar.file.start if calendar.file else Moment(0)), edge)


def _range(match: re.Match[str], calendar: Calendar) -> Span | None:
    first = _try(match["a"], calendar)
    if first is None:
        return None
    second: Span | None
    if re.fullmatch(_clock, match["b"]) and calendar.file is None:  # on the day of the first, or over midnight
        day, time = local(first.start, calendar.zone).date(), _clock_of(match["b"])
        end = at(day, time, calendar.zone)
        end = end if end >= first.start else at(day + timedelta(days=1), time, calendar.zone)
        second = Span(end, end)
    else:
        second = _try(match["b"], calendar)
    if second is None or second.end < first.start:
        return None
    return Span(first.start, second.end)


def _led(match: re.Match[str], calendar: Calendar) -> Span | None:
    return _try(match["a"], calendar)


_Reader = Callable[[re.Match[str], Calendar], Span | None]
_READERS: tuple[tuple[re.Pattern[str], _Reader], ...] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        (r"now|right now|just now|at the moment", _now),
        (r"\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:z|[+-]\d\d:?\d\d)?", _iso),
        (r"(?P<clock>\d{1,3}(?::\d\d){1,2}(?:\.\d+)?)(?P<units>)", _offset),
        (
            r"(?P<clock>)(?P<units>(?:\d+(?:\.\d+)? ?h ?)?(?:\d+(?:\.\d+)? ?m ?)?(?:\d+(?:\.\d+)? ?s)?(?<=[hms]))",
            _offset,
        ),
        (_clock, _time_of_day),
        (rf"{_number} {_unit} ago", _ago),
        (rf"(?:the )?(?:last|past|previous) (?:{_number} )?{_unit}(?P<of> of .*| in the .*)?", _last),
        (rf"(?:the )?(?:first|opening) (?:{_number} )?{_unit}(?P<of> of .*)?", _first),
        (r"(?:the )?(?P<edge>start|beginning|end)(?: of the (?:video|file|clip|recording|film))?", _edge),
        (rf"(?P<day>{_day})(?: at)? (?P<clock>{_clock})", _day_and_time),
        (rf"(?P<clock>{_clock}) (?:on )?(?P<day>{_day})", _day_and_time),
        (rf"(?P<day>{_day}) (?P<part>{'|'.join(_PARTS)})", _part),
        (rf"(?P<day>)this (?P<part>{'|'.join(_PARTS)})", _part),
        (r"last night|tonight", _tonight),
        (rf"(?P<day>{_day})", _whole_day),
        (r"(?P<word>since|after) (?P<a>.+)", _since),
        (r"(?P<word>before|until|till|up to) (?P<a>.+)", _before),
        (r"between (?P<a>.+?) and (?P<b>.+)", _range),
        (r"(?:from )?(?P<a>.+?) (?:to|until|till|-|–) (?P<b>.+)", _range),
        (r"(?P<a>\d[\d:.]*)[-–](?P<b>\d[\d:.]*)", _range),
        (rf"(?:{_LEADS}) (?P<a>.+)", _led),
    )
)


_NEAR_US = 12 * 3600 * MICROSECONDS
"""Times this long after a file's end are still told as offsets into it: "02:00:00" of a film of an hour."""

# --- writing ---------------------------------------------------------------------------------------------------


def offset_label(offset_us: int) -> str:
    """ "00:12:31" or, within the first minute's precision, "00:00:03.5"."""
    tenths = round(max(0, offset_us) / 100_000)
    hours, rest = divmod(tenths, 36_000)
    minutes, rest = divmod(rest, 600)
    fraction = f".{rest % 10}" if rest % 10 else ""
    return f"{hours:02}:{minutes:02}:{rest // 10:02}{fraction}"


def label(span: Span, calendar: Calendar) -> str:
    """A span for people: an offset into a file, or local time with as much of the date as is needed."""
    if calendar.file is not None:
        near = Span(calendar.file.start, Moment(calendar.file.end + _NEAR_US))
        if span.overlaps(near) or span.start in near:
            return f"{offset_label(span.start - near.start)}–{offset_label(span.end - near.start)}"
    start, end = local(span.start, calendar.zone), local(span.end, calendar.zone)
    recent = abs((calendar.today - start.date()).days) < 6
    day = start.strftime("%a" if recent else "%Y-%m-%d")
    if end.date() == start.date():
        return f"{day} {start:%H:%M:%S}–{end:%H:%M:%S}"
    return f"{day} {start:%H:%M:%S} – {end.strftime('%a' if recent else '%Y-%m-%d')} {end:%H:%M:%S}"


def utc(moment: int) -> datetime:
    """For JSON: an aware datetime in UTC, exact to the microsecond."""
    whole, rest = divmod(moment, MICROSECONDS)
    return datetime.fromtimestamp(whole, tz=UTC).replace(microsecond=rest)
