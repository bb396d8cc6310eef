"""Days as people write them: names, dates, ordinals."""

from __future__ import annotations

import re
from datetime import date, timedelta

from api.calendars import Calendar, months_later
from ingest.errors import Invalid

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_OWN_DAY = "the day before yesterday|day before yesterday|yesterday|today|tomorrow"

MONTH = rf"(?:{'|'.join(f'{name[:3]}(?:{name[3:]})?' if name[3:] else name for name in MONTHS)}|sept)"
_nth = r"\d{1,2}(?:st|nd|rd|th)?"
_date = (
    rf"\d{{4}}-\d\d-\d\d|\d{{4}}/\d\d/\d\d|\d{{1,2}}[./]\d{{1,2}}[./]\d{{4}}"
    rf"|(?:the )?{_nth} (?:of )?{MONTH}(?:,? \d{{4}})?|{MONTH} (?:the )?{_nth}(?:,? \d{{4}})?"
    r"|the \d{1,2}(?:st|nd|rd|th)"
)
DAY = rf"(?:{_OWN_DAY}|(?:(?:last|this|next) )?(?:{'|'.join(WEEKDAYS)})(?: the {_nth})?|{_date})"


def day_of(text: str, calendar: Calendar) -> date:
    """Raises ValueError for a day that does not exist, `Invalid` for one that may be two."""
    today = calendar.today
    near = {"today": 0, "yesterday": 1, "tomorrow": -1}
    if text in near:
        return today - timedelta(days=near[text])
    if text.endswith("day before yesterday"):
        return today - timedelta(days=2)
    named = re.fullmatch(rf"(?:(last|this|next) )?({'|'.join(WEEKDAYS)})(?: the (\d+)\w\w)?", text)
    if named:
        return _weekday(named[2], named[1] or "", int(named[3] or 0), today)
    if re.fullmatch(r"\d{4}[-/]\d\d[-/]\d\d", text):
        return date.fromisoformat(text.replace("/", "-"))
    numeric = re.fullmatch(r"(\d{1,2})([./])(\d{1,2})[./](\d{4})", text)
    if numeric:
        return _numeric(text, int(numeric[1]), int(numeric[3]), int(numeric[4]), dotted=numeric[2] == ".")
    return _named(text, today)


def _weekday(name: str, which: str, number: int, today: date) -> date:
    back = (today.weekday() - WEEKDAYS.index(name)) % 7
    if which == "next":
        return today + timedelta(days=7 - back)
    day = today - timedelta(days=7 if back == 0 and which == "last" else back)
    weeks = range(6 * 53) if number else range(1)
    return next(day - timedelta(weeks=n) for n in weeks if number in (0, (day - timedelta(weeks=n)).day))


def _numeric(text: str, first: int, second: int, year: int, *, dotted: bool) -> date:
    """Dots put the day first; with slashes it is told by which of the two can only be a day."""
    if not dotted and first <= 12 and second <= 12 and first != second:
        raise Invalid(
            f'"{text}" could be two days.',
            advice=f"Write {date(year, first, second)} or {date(year, second, first)}.",
        )
    day, month = (first, second) if dotted or first > 12 else (second, first)
    return date(year, month, day)


def _named(text: str, today: date) -> date:
    """ "20 november", "nov 20th, 2026", "the 20th": the latest that is not ahead where no year is given."""
    year = re.search(r"\d{4}", text)
    day = int(next(n for n in re.findall(r"\d+", text) if len(n) < 3))
    month = next((i for i, name in enumerate(MONTHS, 1) if re.search(rf"\b{name[:3]}", text)), 0)
    if not month:
        first = today.replace(day=1)
        candidates = [months_later(first, -back) for back in range(3)]
        return next(one.replace(day=day) for one in candidates if _exists(one, day) and one.replace(day=day) <= today)
    if year:
        return date(int(year.group()), month, day)
    found = date(today.year, month, day)
    return found if found <= today else date(today.year - 1, month, day)


def _exists(month: date, day: int) -> bool:
    return 1 <= day <= (months_later(month, 1) - timedelta(days=1)).day
