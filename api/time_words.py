"""The ways in which people write a time, each with its reader.

A clock without "am" or "pm" is read on the 24-hour clock. "Last week", "last month" and "last year" are those of the
calendar; "past week", "last 7 days" reach back from now. What lies ahead ("tomorrow") is read as well: whoever asks
about it is told that there is no video of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from datetime import time as clock_time

from api.calendars import Calendar, at, local, months_later
from api.days import DAY, MONTH, MONTHS, WEEKDAYS, day_of
from ingest.errors import Invalid
from ingest.records import MICROSECONDS, Moment, Span, seconds

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_LONG_UNITS = {"month": 1, "year": 12}
_SHORT = {"s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "hr": "hour", "d": "day"}
_ONES = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_NUMBERS: dict[str, float] = {name: value for value, name in enumerate(_ONES, 1)}
_NUMBERS |= _TENS
_NUMBERS |= {
    f"{ten}{mark}{one}": value + n
    for ten, value in _TENS.items()
    for n, one in enumerate(_ONES[:9], 1)
    for mark in " -"
}
_NUMBERS |= dict.fromkeys(("a few", "few", "several"), 5)
_NUMBERS |= dict.fromkeys(("a couple of", "couple of", "a couple"), 2)
_NUMBERS |= dict.fromkeys(("half a", "half an", "half"), 0.5)
_NUMBERS |= dict.fromkeys(("quarter of an", "a quarter of an", "quarter"), 0.25)
_NUMBERS |= {"three quarters of an": 0.75, "a": 1, "an": 1}
_PARTS = {"night": (0, 6), "morning": (6, 12), "afternoon": (12, 18), "evening": (18, 24)}
_POINTS = {"midnight": 0, "noon": 12, "midday": 12}
_MOMENTS_AGO = seconds(60)

# --- pieces of patterns ----------------------------------------------------------------------------------------

_words = "|".join(sorted(_NUMBERS, key=len, reverse=True))
_number = rf"(?:\d+(?:\.\d+)? ?|(?:{_words}) )"
_unit = rf"(?:(?:{'|'.join((*_UNITS, *_LONG_UNITS))}|min|sec|hr)s?|[hmsd])"
_term = rf"{_number}(?:and a half )?{_unit}(?: and a half)?"
_length = rf"(?:{_term}(?:,? (?:and )?{_term})*)"
_clock = (
    r"(?:\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[ap]m)?|\d{1,2}(?:\.\d\d)? ?[ap]m|\d{1,2}h\d\d|noon|midday|midnight"
    rf"|(?:half|quarter) (?:past|to) (?:\d{{1,2}}|{'|'.join(_ONES[:12])})(?: ?[ap]m)?)"
)
_hour = rf"(?:{_clock}|\d{{1,2}})"
_span_mark = r" ?(?:to|until|till|and|-|–) ?"

# --- lengths and clocks ----------------------------------------------------------------------------------------


def _length_of(text: str) -> tuple[int, int]:
    """A length in words as months and microseconds."""
    months, total = 0.0, 0
    for found in re.finditer(rf"({_number})(and a half )?({_unit})( and a half)?(?![a-z])", text):
        number = _NUMBERS.get(found[1].strip()) or float(found[1])
        number += 0.5 if found[2] or found[4] else 0.0
        unit = _SHORT.get(found[3].removesuffix("s") or "s", found[3].removesuffix("s"))
        months += number * _LONG_UNITS.get(unit, 0)
        total += seconds(number * _UNITS.get(unit, 0))
    return int(months), total + seconds((months - int(months)) * 30 * 86400)


def _away(moment: int, text: str, calendar: Calendar, direction: int) -> Moment:
    """`moment` and a length; months and years go by the calendar."""
    months, microseconds = _length_of(text)
    if months:
        stamp = local(moment, calendar.zone)
        moment = at(months_later(stamp.date(), direction * months), stamp.time(), calendar.zone)
    return Moment(moment + direction * microseconds)


def _on(day: date, text: str, calendar: Calendar) -> Moment:
    """The moment that a clock shows `text` on a day; 24:00 is its end. Raises ValueError."""
    if text in ("24:00", "24:00:00"):
        return calendar.hour(day, 24)
    return at(day, _clock_of(text), calendar.zone)


def _clock_of(text: str) -> clock_time:
    if text in _POINTS:
        return clock_time(_POINTS[text])
    half = text[-2:] if text.endswith(("am", "pm")) else ""
    spoken = re.fullmatch(r"(half|quarter) (past|to) (\w+?)(?: ?[ap]m)?", text)
    if spoken:
        hour, minute = int(_NUMBERS.get(spoken[3]) or spoken[3]), 30 if spoken[1] == "half" else 15
        hour, minute = (hour, minute) if spoken[2] == "past" else ((hour - 1) % 24, 60 - minute)
        second = 0.0
    else:
        parts = re.split(r"[:h.]", text.removesuffix(half).strip(), maxsplit=2)
        hour, minute = int(parts[0]), int(parts[1]) if len(parts) > 1 else 0
        second = float(parts[2]) if len(parts) > 2 else 0.0
    if half and not (spoken or 1 <= hour <= 12):
        raise ValueError(text)
    hour = hour % 12 + (12 if half == "pm" else 0) if half else hour
    return clock_time(hour, minute, int(second), round(second % 1 * MICROSECONDS) % MICROSECONDS)


def _whole(text: str) -> str:
    """ "9" as a clock shows it."""
    return f"{text}:00" if text.isdigit() else text


def _pair(first: str, second: str) -> tuple[str, str]:
    """The two clocks of a range: in "2 and 3 pm" both are after noon, "9 to 5" is a working day."""
    half = re.search(r" ?([ap]m)$", second)
    if half and re.fullmatch(r"\d{1,2}(?::\d\d)?", first):
        later = int(re.findall(r"\d+", first)[0]) > int(re.findall(r"\d+", second)[0])
        first += "am" if later and half[1] == "pm" else half[1]
    if first.isdigit() and second.isdigit() and int(second) <= int(first) <= 12:
        second = str(int(second) + 12)
    return _whole(first), _whole(second)


# --- readers ---------------------------------------------------------------------------------------------------

Match = re.Match[str]
Reader = Callable[[Match, Calendar], Span | None]


def attempt(text: str, calendar: Calendar) -> Span | None:
    """The span that `text`, lower case with single spaces, denotes; None when it is no time."""
    for pattern, reader in _READERS:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        try:
            span = reader(match, calendar)
        except (ValueError, OverflowError, StopIteration) as error:
            if isinstance(error, Invalid):
                raise
            return None
        if span is not None:
            return span
    return None


def alone(text: str) -> bool:
    """Whether `text` is a time wherever it stands. "12:30", "march", "1995", "start" may be something to look for."""
    return _WEAK.fullmatch(text) is None


_WEAK = re.compile(
    rf"{_clock}|{MONTH}|\d{{4}}(?:-\d\d)?|{_length}|(?:the )?\d{{1,2}}(?:st|nd|rd|th)?|start|beginning|end|the end"
    rf"|the start|the beginning|{_hour}{_span_mark}{_hour}|(?:in|for|within|over|during|about) {_length}"
    r"|(?:for|over|within|about|on|during) \d+|until now|all day|the whole day"
)


def _instant(moment: int) -> Span:
    return Span(Moment(moment), Moment(moment))


def _now(_match: Match, calendar: Calendar) -> Span:
    return _instant(calendar.now)


def _moments_ago(_match: Match, calendar: Calendar) -> Span:
    return Span(Moment(calendar.now - _MOMENTS_AGO), calendar.now)


def _iso(match: Match, calendar: Calendar) -> Span:
    stamp = datetime.fromisoformat(match.group().upper())
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=calendar.zone)
    whole = stamp.replace(microsecond=0)
    return _instant(seconds(int(whole.timestamp())) + stamp.microsecond)


def _ago(match: Match, calendar: Calendar) -> Span:
    return _instant(_away(calendar.now, match["length"], calendar, -1))


def _last(match: Match, calendar: Calendar) -> Span:
    end = calendar.file.end if match["of"] and calendar.file else calendar.now
    length = match["length"] if re.match(_number, match["length"]) else f"a {match['length']}"
    return Span(_away(end, length, calendar, -1), end)


def _first(match: Match, calendar: Calendar) -> Span | None:
    if calendar.file is None:
        return None
    length = match["length"] if re.match(_number, match["length"]) else f"a {match['length']}"
    return Span(calendar.file.start, _away(calendar.file.start, length, calendar, 1))


def _period(match: Match, calendar: Calendar) -> Span:
    """ "this week", "last month", "next year", "last weekend": of the calendar."""
    today, step = calendar.today, {"last": -1, "previous": -1, "this": 0, "the": 0, "next": 1}[match["which"]]
    monday = today - timedelta(days=today.weekday())
    if match["unit"] == "week":
        first = monday + timedelta(weeks=step)
        return calendar.days(first, first + timedelta(weeks=1))
    if match["unit"] == "weekend":
        begun = today.weekday() >= 5
        back = step if begun or step > 0 else -1
        saturday = monday + timedelta(days=5) + timedelta(weeks=0 if step > 0 and not begun else back)
        return calendar.days(saturday, saturday + timedelta(days=2))
    months = _LONG_UNITS[match["unit"]]
    start = months_later(today.replace(day=1, month=today.month if months == 1 else 1), step * months)
    return calendar.days(start, months_later(start, months))


def _month_of(match: Match, calendar: Calendar) -> Span:
    """ "march", "last march", "march 2025", "2025-03": the latest that has begun where no year is given."""
    month = next((i for i, name in enumerate(MONTHS, 1) if (match["month"] or "").startswith(name[:3])), 0)
    month = month or int(match["number"])
    first = date(int(match["year"] or calendar.today.year), month, 1)
    if not match["year"] and first > calendar.today:
        first = months_later(first, -12)
    return calendar.days(first, months_later(first, 1))


def _year(match: Match, calendar: Calendar) -> Span | None:
    year = int(match["year"])
    if not 1900 <= year <= 2100:
        return None
    length = 10 if match["decade"] else 1
    return calendar.days(date(year, 1, 1), date(year + length, 1, 1))


def _edge(match: Match, calendar: Calendar) -> Span | None:
    if calendar.file is None:
        return None
    return _instant(calendar.file.end if match["edge"] == "end" else calendar.file.start)


def _offset(match: Match, calendar: Calendar) -> Span | None:
    """ "12:31", "00:12:31.5" into a file."""
    if calendar.file is None:
        return None
    value = 0.0
    for part in match.group().split(":"):
        value = value * 60 + float(part)
    return _instant(calendar.file.start + seconds(value))


def _offset_length(match: Match, calendar: Calendar) -> Span | None:
    """ "75s", "1m30s", "2 minutes in" into a file."""
    months, microseconds = _length_of(match["length"])
    return None if calendar.file is None or months else _instant(calendar.file.start + microseconds)


def _time_of_day(match: Match, calendar: Calendar) -> Span | None:
    """The most recent past moment with that time of day; on a file, the one on the day it was filmed."""
    text = match.group()
    if text.isdigit():
        if calendar.file is not None:
            return None
        text = _whole(text)
    day = local(calendar.file.start, calendar.zone).date() if calendar.file else calendar.today
    moment = _on(day, text, calendar)
    if calendar.file is None and moment > calendar.now:
        moment = _on(day - timedelta(days=1), text, calendar)
    return _instant(moment)


def _of_a_part(match: Match, calendar: Calendar) -> Span:
    """ "3 in the morning", "8 this evening", "half past two in the afternoon"."""
    text = match["clock"]
    late = match["part"] in ("afternoon", "evening", "night")
    hour = _clock_of(_whole(text)).hour
    if not re.search(r"[ap]m$", text) and late and 1 <= hour < 12 and not (match["part"] == "night" and hour < 6):
        text = f"{text} pm"
    moment = _on(calendar.today, _whole(text), calendar)
    if moment > calendar.now and not match["this"]:
        moment = _on(calendar.today - timedelta(days=1), _whole(text), calendar)
    return _instant(moment)


def _whole_day(match: Match, calendar: Calendar) -> Span:
    day = day_of(match["day"] or "today", calendar)
    return calendar.days(day, day + timedelta(days=1))


def _day_and_time(match: Match, calendar: Calendar) -> Span:
    day, text = day_of(match["day"], calendar), _whole(match["clock"])
    moment = _on(day, text, calendar)
    if match["day"] in WEEKDAYS and moment > calendar.now:  # said on a Monday morning, "monday 5pm" was last week
        moment = _on(day - timedelta(days=7), text, calendar)
    return _instant(moment)


def _day_and_range(match: Match, calendar: Calendar) -> Span | None:
    """ "yesterday between 14:00 and 15:00", "friday 9-10am": the second clock may be past midnight."""
    day = day_of(match["day"], calendar)
    first, second = _pair(match["a"], match["b"])
    start, end = _on(day, first, calendar), _on(day, second, calendar)
    return Span(start, end if end >= start else _on(day + timedelta(days=1), second, calendar))


def _clock_range(match: Match, calendar: Calendar) -> Span | None:
    """ "between 2 and 3 pm", "9 to 17": the latest that has begun."""
    if calendar.file is not None:
        return None
    first, second = _pair(match["a"], match["b"])
    day = calendar.today if _on(calendar.today, first, calendar) <= calendar.now else calendar.today - timedelta(days=1)
    start, end = _on(day, first, calendar), _on(day, second, calendar)
    return Span(start, end if end >= start else _on(day + timedelta(days=1), second, calendar))


def _part(match: Match, calendar: Calendar) -> Span:
    named = match.groupdict().get("day")
    day, part = day_of(named, calendar) if named else calendar.today, match["part"]
    if part == "night" and named:  # "monday night" begins on Monday evening
        return calendar.hours(day, 18, 30)
    return calendar.hours(day, *_PARTS[part])


def _tonight(match: Match, calendar: Calendar) -> Span:
    evening = calendar.today - timedelta(days=1 if match.group().startswith("last") else 0)
    return calendar.hours(evening, 18, 30)


def _since(match: Match, calendar: Calendar) -> Span | None:
    inner = attempt(match["a"], calendar)
    if inner is None:
        return None
    edge = inner.end if match.groupdict().get("word") == "after" else inner.start
    return Span(edge, max(edge, calendar.file.end if calendar.file else calendar.now))


def _before(match: Match, calendar: Calendar) -> Span | None:
    inner = attempt(match["a"], calendar)
    if inner is None:
        return None
    edge = inner.end if match["word"] in ("until", "till", "up to") else inner.start
    return Span(min(edge, calendar.file.start if calendar.file else Moment(0)), edge)


def _beside(match: Match, calendar: Calendar) -> Span | None:
    """ "an hour before noon", "two days before yesterday"."""
    inner = attempt(match["a"], calendar)
    if inner is None:
        return None
    direction = -1 if match["word"] == "before" else 1
    return Span(
        _away(inner.start, match["length"], calendar, direction), _away(inner.end, match["length"], calendar, direction)
    )


def _range(match: Match, calendar: Calendar) -> Span | None:
    first = attempt(match["a"], calendar)
    if first is None:
        return None
    second: Span | None
    if re.fullmatch(_clock, match["b"]) and calendar.file is None:  # on the day of the first, or over midnight
        day = local(first.start, calendar.zone).date()
        end = _on(day, match["b"], calendar)
        second = _instant(end if end >= first.start else _on(day + timedelta(days=1), match["b"], calendar))
    else:
        second = attempt(match["b"], calendar)
    if second is not None and second.end < first.start and match["a"].split()[0] in WEEKDAYS:
        first = _beside_week(first, calendar)  # "monday to wednesday", said on a Monday
    if second is None or second.end < first.start:
        return None
    return Span(first.start, second.end)


def _beside_week(span: Span, calendar: Calendar) -> Span:
    return Span(_away(span.start, "a week", calendar, -1), _away(span.end, "a week", calendar, -1))


def _led(match: Match, calendar: Calendar) -> Span | None:
    return attempt(match["a"], calendar)


_film = r"(?:the )?(?:video|file|clip|recording|film)"
_parts = "|".join(_PARTS)
_between = rf"(?:between |from )?(?P<a>{_hour}){_span_mark}(?P<b>{_hour})"
_READERS: tuple[tuple[re.Pattern[str], Reader], ...] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        (r"now|right now|just now|at the moment", _now),
        (r"(?:a moment|moments|seconds|minutes|just a moment) ago", _moments_ago),
        (r"\d{4}-\d\d-\d\d[t ]\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:z|[+-]\d\d:?\d\d)?", _iso),
        (r"\d{1,3}(?::\d\d){1,2}(?:\.\d+)?", _offset),
        (
            rf"(?P<length>{_length}|(?:\d+h)?(?:\d+m)?(?:\d+(?:\.\d+)?s)?(?<=[hms]))(?: in| into {_film})?",
            _offset_length,
        ),
        (_clock, _time_of_day),
        (r"\d{1,2}", _time_of_day),
        (rf"(?P<clock>{_hour}) (?:in the |at |(?P<this>this ))(?P<part>{_parts})", _of_a_part),
        (rf"(?P<length>{_length}) (?:ago|earlier|back)", _ago),
        (r"(?P<which>last|previous|this|the|next) (?P<unit>week|month|year|weekend)", _period),
        (rf"(?:the )?(?:last|past|previous) (?P<length>{_length}|{_unit})(?P<of> of .*| in the .*)?", _last),
        (rf"(?:the )?(?:first|opening) (?P<length>{_length}|{_unit})(?P<of> of .*)?", _first),
        (rf"(?:the )?(?P<edge>start|beginning|end)(?: of {_film})?", _edge),
        (rf"(?P<day>{DAY})(?: at|,)? (?P<clock>{_clock})", _day_and_time),
        (rf"(?P<day>{DAY}) at (?P<clock>{_hour})", _day_and_time),
        (rf"(?P<clock>{_hour}) (?:on )?(?P<day>{DAY})", _day_and_time),
        (rf"(?P<day>{DAY})(?: between| from)? (?P<a>{_hour}){_span_mark}(?P<b>{_hour})", _day_and_range),
        (rf"{_between} (?:on )?(?P<day>{DAY})", _day_and_range),
        (_between, _clock_range),
        (rf"(?P<day>{DAY}) (?P<part>{_parts})", _part),
        (rf"(?:the )?(?P<part>{_parts}) of (?P<day>{DAY})", _part),
        (rf"this (?P<part>{_parts})", _part),
        (r"last night|tonight", _tonight),
        (rf"(?P<day>{DAY})", _whole_day),
        (r"(?P<day>)(?:all|the whole) day", _whole_day),
        (r"(?:all day|the whole of|all of|so far|earlier|later|early|late|sometime) (?P<a>.+)", _led),
        (rf"(?:last )?(?P<month>{MONTH})(?:,? (?P<year>\d{{4}}))?(?P<number>)", _month_of),
        (r"(?P<month>)(?P<year>\d{4})-(?P<number>\d\d)", _month_of),
        (r"(?:the )?(?:year )?(?P<year>\d{4})(?P<decade>)", _year),
        (r"the (?P<year>\d{3}0)(?P<decade>s)", _year),
        (rf"(?P<length>{_length}) (?P<word>before|after) (?P<a>.+)", _beside),
        (r"(?P<word>since|after) (?P<a>.+)", _since),
        (r"(?P<a>.+) onwards?", _since),
        (r"(?P<word>before|until|till|up to) (?P<a>.+)", _before),
        (r"between (?P<a>.+?) and (?P<b>.+)", _range),
        (r"(?:from )?(?P<a>.+?) (?:to|until|till|-|–) (?P<b>.+)", _range),
        (r"(?P<a>\d[\d:.]*)[-–](?P<b>\d[\d:.]*)", _range),
        (r"from (?P<a>.+?)(?: on| onwards?)?", _since),
        (r"(?:in|at|on|during|over|within|for|around|about|near|by) (?P<a>.+)", _led),
    )
)
