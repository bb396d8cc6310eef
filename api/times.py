"""Times as people write them, and spans as people read them.

Every expression denotes a `Span`: "yesterday" is a day long, "14:00" is an instant (an empty span). A request's `from`
takes the start of what was written and its `to` the end, so `from=yesterday&to=yesterday` is the whole of yesterday.
For a file, clock-like times are offsets from its first picture: "00:12:31", "12:31", "75s". `time_words.py` lists the
ways of writing that are understood.
"""

from __future__ import annotations

import re

from api.calendars import Calendar, local, utc, zone_named
from api.time_words import alone, attempt
from ingest.errors import Invalid
from ingest.records import MICROSECONDS, Moment, Span

__all__ = ["Calendar", "between", "find", "label", "local", "offset_label", "read", "utc", "zone_named"]

EXAMPLES = (
    '"yesterday 14:00", "last hour", "10 minutes ago", "monday 9am", "2026-11-23 14:00" or, for files, "00:12:31"'
)
_FURTHEST_US = 300 * 366 * 86_400 * MICROSECONDS
"""Before or after now: what is further away is a slip, and beyond what a calendar can say."""
_HALF_A_DAY_US = 12 * 3600 * MICROSECONDS
_LONGEST_TEXT = 100
_LONGEST_PHRASE = 10
"""Words of a sentence that are read as one time."""
_VAGUE = re.compile(
    r"\b(?:the other day|recently|lately|long ago|(?:some time|a while|ages) ago"
    r"|(?:in|last|this|next|during) (?:the )?(?:spring|summer|autumn|fall|winter)|at (?:dawn|dusk|sunrise|sunset)"
    r"|(?:at|after|before|during|around) (?:breakfast|lunch|dinner)(?:time)?)\b",
    re.IGNORECASE,
)


def read(text: str, calendar: Calendar) -> Span:
    """The span that `text` denotes; empty for an instant. Raises `Invalid`."""
    span = attempt(_normal(text), calendar) if len(text) <= _LONGEST_TEXT else None
    if span is None:
        raise Invalid(f'"{text[:_LONGEST_TEXT]}" is not a time that can be read.', advice=f"Write it like {EXAMPLES}.")
    if max(abs(span.start - calendar.now), abs(span.end - calendar.now)) > _FURTHEST_US:
        raise Invalid(f'"{text}" is further away than any video.', advice=f"Write it like {EXAMPLES}.")
    return span


def between(start: str | None, end: str | None, calendar: Calendar) -> Span | None:
    """The span of a request's `from` and `to`; None when neither is given. An open end is now, or the file's end.

    Said at noon, from 11:30 to 12:30 ends in half an hour, as it does where it is said in one phrase.
    """
    if start is None and end is None:
        return None
    whole = calendar.file or Span(Moment(0), calendar.now)
    first = whole.start if start is None else read(start, calendar).start
    last = whole.end if end is None else read(end, calendar).end
    if end is not None and start is not None and last < first:
        together = attempt(_normal(f"{start} to {end}"), calendar)
        if together is not None and together.duration <= _HALF_A_DAY_US:  # for longer, it is a slip
            return together
        raise Invalid(f'"{end}" is before "{start}".', advice="Give the earlier time first.")
    return Span(first, max(first, last))


def find(text: str, calendar: Calendar) -> tuple[Span, str] | None:
    """The longest time expression in a sentence and the sentence without it; None when it names no time."""
    words = [(m.group(), m.start(), m.end()) for m in re.finditer(r"[^\s,;?!]+", text)]
    for size in range(min(_LONGEST_PHRASE, len(words)), 0, -1):
        for first in range(len(words) - size + 1):
            window = words[first : first + size]
            phrase = _normal(text[window[0][1] : window[-1][2]])
            span = attempt(phrase, calendar)
            if span is None or not alone(phrase) or _counts(phrase, text[window[-1][2] :]):
                continue  # a bare "12:30" may be something to read in the picture; "at 12:30" is a time
            rest = f"{text[: window[0][1]]} {text[window[-1][2] :]}"
            return span, re.sub(r"\s+([,;?!.])", r"\1", re.sub(r"\s+", " ", rest)).strip(" ,;")
    return None


def vague(text: str) -> str:
    """A time in a sentence that nobody can put into numbers ("the other day"); empty when there is none."""
    found = _VAGUE.search(text)
    return found.group() if found else ""


def _counts(phrase: str, rest: str) -> bool:
    """Whether the number that a phrase ends with counts what follows: "at 2 tables" is no time, "at 2?" is."""
    return re.search(r" \d{1,2}(?:st|nd|rd|th)?$", phrase) is not None and re.match(r"\s+[^\W\d]", rest) is not None


def _normal(text: str) -> str:
    """Lower case, single spaces, no trailing full stop."""
    lower = re.sub(r"\s+", " ", text.strip().lower()).strip().rstrip(".")
    return re.sub(r"(\d)(?::00)? ?o.?clock", r"\1:00", lower).strip()


_NEAR_US = _HALF_A_DAY_US
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
    """A span for people: an offset into a file, or local time with as much of the date as is needed. One time for an
    instant."""
    if calendar.file is not None:
        near = Span(calendar.file.start, Moment(calendar.file.end + _NEAR_US))
        if span.overlaps(near) or span.start in near:
            first, last = (offset_label(edge - near.start) for edge in (span.start, span.end))
            return f"{first}–{last}" if span.duration else first
    start, end = local(span.start, calendar.zone), local(span.end, calendar.zone)
    recent = abs((calendar.today - start.date()).days) < 6
    day = start.strftime("%a" if recent else "%Y-%m-%d")
    if not span.duration:
        return f"{day} {start:%H:%M:%S}"
    if end.date() == start.date():
        return f"{day} {start:%H:%M:%S}–{end:%H:%M:%S}"
    return f"{day} {start:%H:%M:%S} – {end.strftime('%a' if recent else '%Y-%m-%d')} {end:%H:%M:%S}"
