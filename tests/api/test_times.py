"""Times as people write them: examples with known answers, and properties."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import times
from api.times import Calendar
from ingest.errors import Invalid
from ingest.records import MICROSECONDS, Moment, Span, seconds

BERLIN = ZoneInfo("Europe/Berlin")
NOW = Moment(seconds(datetime(2026, 11, 23, 18, 12, 4, tzinfo=UTC).timestamp()))  # a Monday, 19:12:04 in Berlin
LIVE = Calendar(NOW, BERLIN)
FILE = Calendar(NOW, BERLIN, Span(Moment(NOW - seconds(7200)), Moment(NOW - seconds(3600))))

moments = st.integers(seconds(946_684_800), seconds(4_102_444_800)).map(Moment)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]).map(
    ZoneInfo
)


def shown(span: Span) -> str:
    start, end = times.local(span.start, BERLIN), times.local(span.end, BERLIN)
    return f"{start:%d %H:%M:%S}" if start == end else f"{start:%d %H:%M:%S} {end:%d %H:%M:%S}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yesterday 14:00", "22 14:00:00"),
        ("Yesterday at 2pm", "22 14:00:00"),
        ("14:00", "23 14:00:00"),
        ("21:30", "22 21:30:00"),
        ("9:30 pm", "22 21:30:00"),
        ("noon", "23 12:00:00"),
        ("monday 9am", "23 09:00:00"),
        ("monday 23:00", "16 23:00:00"),
        ("friday 9am", "20 09:00:00"),
        ("last monday", "16 00:00:00 17 00:00:00"),
        ("last hour", "23 18:12:04 23 19:12:04"),
        ("in the last two hours", "23 17:12:04 23 19:12:04"),
        ("past 30 min", "23 18:42:04 23 19:12:04"),
        ("10 minutes ago", "23 19:02:04"),
        ("half an hour ago", "23 18:42:04"),
        ("yesterday", "22 00:00:00 23 00:00:00"),
        ("yesterday afternoon", "22 12:00:00 22 18:00:00"),
        ("this morning", "23 06:00:00 23 12:00:00"),
        ("last night", "22 18:00:00 23 06:00:00"),
        ("friday night", "20 18:00:00 21 06:00:00"),
        ("2026-11-20", "20 00:00:00 21 00:00:00"),
        ("2026-11-20 10:00", "20 10:00:00"),
        ("2026-11-20T10:00:00Z", "20 11:00:00"),
        ("2026-11-20T10:00:00.250+02:00", "20 09:00:00"),
        ("3 nov 14:00", "03 14:00:00"),
        ("between 14:00 and 15:00", "23 14:00:00 23 15:00:00"),
        ("14:00-15:30", "23 14:00:00 23 15:30:00"),
        ("from yesterday 22:00 to 02:00", "22 22:00:00 23 02:00:00"),
        ("since 9am", "23 09:00:00 23 19:12:04"),
        ("after yesterday", "23 00:00:00 23 19:12:04"),
        ("now", "23 19:12:04"),
        ("two hours ago", "23 17:12:04"),
        ("an hour and a half ago", "23 17:42:04"),
        ("2 hours and 30 minutes ago", "23 16:42:04"),
        ("forty-five minutes ago", "23 18:27:04"),
        ("the last few minutes", "23 19:07:04 23 19:12:04"),
        ("past half hour", "23 18:42:04 23 19:12:04"),
        ("last 24h", "22 19:12:04 23 19:12:04"),
        ("a moment ago", "23 19:11:04 23 19:12:04"),
        ("monday morning", "23 06:00:00 23 12:00:00"),
        ("early yesterday morning", "22 06:00:00 22 12:00:00"),
        ("the night of friday", "20 18:00:00 21 06:00:00"),
        ("all day yesterday", "22 00:00:00 23 00:00:00"),
        ("last weekend", "21 00:00:00 23 00:00:00"),
        ("last week", "16 00:00:00 23 00:00:00"),
        ("past week", "16 19:12:04 23 19:12:04"),
        ("this week", "23 00:00:00 30 00:00:00"),
        ("between 2 and 3 pm", "23 14:00:00 23 15:00:00"),
        ("11-1pm", "23 11:00:00 23 13:00:00"),
        ("9 to 5", "23 09:00:00 23 17:00:00"),
        ("22:00 to 06:00", "22 22:00:00 23 06:00:00"),
        ("yesterday between 14:00 and 15:00", "22 14:00:00 22 15:00:00"),
        ("10:00-11:00 yesterday", "22 10:00:00 22 11:00:00"),
        ("on friday from 9 to 10", "20 09:00:00 20 10:00:00"),
        ("between monday and wednesday", "16 00:00:00 19 00:00:00"),
        ("from monday to wednesday", "16 00:00:00 19 00:00:00"),
        ("from 14:00 on", "23 14:00:00 23 19:12:04"),
        ("half past two", "23 02:30:00"),
        ("quarter to 5 pm", "23 16:45:00"),
        ("at 5 o'clock", "23 05:00:00"),
        ("14h30", "23 14:30:00"),
        ("2.30pm", "23 14:30:00"),
        ("3 in the afternoon", "23 15:00:00"),
        ("yesterday 24:00", "23 00:00:00"),
        ("an hour before noon", "23 11:00:00"),
        ("two days before yesterday", "20 00:00:00 21 00:00:00"),
        ("the 20th", "20 00:00:00 21 00:00:00"),
        ("friday the 20th", "20 00:00:00 21 00:00:00"),
        ("november 20th, 2026", "20 00:00:00 21 00:00:00"),
        ("20.11.2026", "20 00:00:00 21 00:00:00"),
        ("20/11/2026 at 3pm", "20 15:00:00"),
        ("tomorrow", "24 00:00:00 25 00:00:00"),
        ("tomorrow at 9", "24 09:00:00"),
        ("next monday", "30 00:00:00 01 00:00:00"),
    ],
)
def test_live_times(text: str, expected: str) -> None:
    assert shown(times.read(text, LIVE)) == expected


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("last year", (2025, 1, 1), (2026, 1, 1)),
        ("this month", (2026, 11, 1), (2026, 12, 1)),
        ("last month", (2026, 10, 1), (2026, 11, 1)),
        ("in 1995", (1995, 1, 1), (1996, 1, 1)),
        ("the 1990s", (1990, 1, 1), (2000, 1, 1)),
        ("in march", (2026, 3, 1), (2026, 4, 1)),
        ("december", (2025, 12, 1), (2026, 1, 1)),
        ("feb 2024", (2024, 2, 1), (2024, 3, 1)),
        ("2026-03", (2026, 3, 1), (2026, 4, 1)),
        ("between may and july", (2026, 5, 1), (2026, 8, 1)),
    ],
)
def test_long_times_are_those_of_the_calendar(
    text: str, start: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    span = times.read(text, LIVE)
    assert times.local(span.start, BERLIN) == datetime(*start, tzinfo=BERLIN)
    assert times.local(span.end, BERLIN) == datetime(*end, tzinfo=BERLIN)


def test_months_ago_keep_the_day_where_there_is_one() -> None:
    march = Moment(seconds(datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()))
    month_ago = times.local(times.read("a month ago", Calendar(march, BERLIN)).start, BERLIN)
    assert (month_ago.year, month_ago.month, month_ago.day, month_ago.hour) == (2026, 2, 28, 14)
    assert times.local(times.read("2 years ago", LIVE).start, BERLIN).year == 2024


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("00:12:31", 751, 751),
        ("12:31", 751, 751),
        ("12:31.5", 751.5, 751.5),
        ("75s", 75, 75),
        ("1m30s", 90, 90),
        ("1h 2m 3s", 3723, 3723),
        ("first 30 seconds", 0, 30),
        ("in the first minute", 0, 60),
        ("the last minute of the video", 3540, 3600),
        ("between 1:00 and 2:00", 60, 120),
        ("after 2:00", 120, 3600),
        ("before 2:00", 0, 120),
        ("end", 3600, 3600),
        ("75 seconds", 75, 75),
        ("2 minutes in", 120, 120),
        ("one minute and a half into the video", 90, 90),
        ("first two and a half minutes", 0, 150),
    ],
)
def test_offsets_into_a_file(text: str, start: float, end: float) -> None:
    origin = FILE.file
    assert origin is not None
    assert times.read(text, FILE) == Span(Moment(origin.start + seconds(start)), Moment(origin.start + seconds(end)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "25:00",
        "14:61",
        "13pm",
        "2026-02-30",
        "99 nov",
        "13 o'clock pm",
        "ago",
        "the other day",
        "3 decent",
        "1 marching",
        "5 in the market",
        "99999999999 days ago",
        "at " * 500,
    ],
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(Invalid, match="yesterday 14:00"):
        times.read(text, LIVE)


@pytest.mark.parametrize(
    ("question", "when", "rest"),
    [
        ("Did a red car pass this morning?", "23 06:00:00 23 12:00:00", "Did a red car pass?"),
        ("What happened at 12:30?", "23 12:30:00", "What happened?"),
        ("who came in the last 10 minutes, and why?", "23 19:02:04 23 19:12:04", "who came, and why?"),
        ("how many came between 9am and 10am on monday?", "23 09:00:00 23 10:00:00", "how many came?"),
        ("Yesterday afternoon, did it rain?", "22 12:00:00 22 18:00:00", "did it rain?"),
        ("who came on the 20th?", "20 00:00:00 21 00:00:00", "who came?"),
        ("what happened at 5?", "23 05:00:00", "what happened?"),
        ("Who will come tomorrow?", "24 00:00:00 25 00:00:00", "Who will come?"),
        ("How many came yesterday between 9 and 10?", "22 09:00:00 22 10:00:00", "How many came?"),
    ],
)
def test_times_in_questions(question: str, when: str, rest: str) -> None:
    found = times.find(question, LIVE)
    assert found is not None
    assert (shown(found[0]), found[1]) == (when, rest)


@pytest.mark.parametrize(
    "question",
    [
        "Does the sign say 12:30?",
        "Does the sign say 1995?",
        "Is there a second car?",
        "What is on the desk?",
        "Were there 3 people at 2 tables?",
        "Did 2 decent cars pass the market?",
        "May I see people march?",
        "When does the rain start?",
        "Who lives on the 2nd floor?",
        "How many cars pass in 5 minutes?",
        "",
    ],
)
def test_what_only_looks_like_a_time_stays_in_the_question(question: str) -> None:
    assert times.find(question, LIVE) is None
    assert times.find(question, FILE) is None


def test_a_date_that_may_be_two_says_how_to_write_it() -> None:
    with pytest.raises(Invalid, match="2025-03-04 or 2025-04-03"):
        times.read("3/4/2025", LIVE)
    assert times.read("4/4/2025", LIVE) == times.read("2025-04-04", LIVE)


@given(moments, zones)
def test_iso_round_trip(moment: Moment, zone: ZoneInfo) -> None:
    text = times.utc(moment).astimezone(zone).isoformat()
    assert times.read(text, Calendar(NOW, BERLIN)) == Span(moment, moment)


@given(moments, zones, st.integers(0, 23), st.integers(0, 59))
def test_a_time_of_day_is_the_most_recent_one(now: Moment, zone: ZoneInfo, hour: int, minute: int) -> None:
    moment = times.read(f"{hour:02}:{minute:02}", Calendar(now, zone)).start
    assert moment <= now
    assert now - moment <= seconds(25 * 3600)  # a day may have 25 hours
    local = times.local(moment, zone)
    skipped = times.local(moment, zone).replace(tzinfo=None) != datetime.combine(local, datetime.min.time()).replace(
        hour=hour, minute=minute
    )
    if not skipped:  # the clock showed it
        assert (local.hour, local.minute, local.second) == (hour, minute, 0)


@given(moments, zones, st.integers(1, 500), st.sampled_from(["second", "minute", "hour", "day"]))
def test_ago_and_last_agree(now: Moment, zone: ZoneInfo, count: int, unit: str) -> None:
    calendar = Calendar(now, zone)
    length = count * {"second": 1, "minute": 60, "hour": 3600, "day": 86400}[unit] * MICROSECONDS
    assert times.read(f"{count} {unit}s ago", calendar).start == now - length
    assert times.read(f"last {count} {unit}s", calendar) == Span(Moment(now - length), now)


@given(st.integers(0, 99 * 3600 * 10))
def test_offset_labels_can_be_read_again(tenths: int) -> None:
    start = Moment(NOW - seconds(100 * 3600))
    calendar = Calendar(NOW, BERLIN, Span(start, NOW))
    text = times.offset_label(tenths * 100_000)
    assert times.read(text, calendar).start == start + tenths * 100_000


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for calendar in (LIVE, FILE):
        try:
            span = times.read(text, calendar)
        except Invalid:
            continue
        assert span.start <= span.end


def test_from_and_to() -> None:
    day = times.between("yesterday", "yesterday", LIVE)
    assert day is not None
    assert shown(day) == "22 00:00:00 23 00:00:00"
    assert times.between(None, None, LIVE) is None
    assert times.between("last hour", None, LIVE) == times.read("last hour", LIVE)
    with pytest.raises(Invalid, match="before"):
        times.between("last hour", "yesterday", LIVE)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("18:30", "20:00", "23 18:30:00 23 20:00:00"),  # it is 19:12: alone, 20:00 was yesterday
        ("19:00", "01:00", "23 19:00:00 24 01:00:00"),
        ("14:00", "13:00", None),
    ],
)
def test_an_end_that_is_yet_to_come_belongs_to_its_start(start: str, end: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(Invalid, match=f'"{end}" is before "{start}"'):
            times.between(start, end, LIVE)
    else:
        span = times.between(start, end, LIVE)
        assert span is not None
        assert shown(span) == expected
    with pytest.raises(Invalid, match="before"):
        times.between("00:40", "00:30", FILE)


def test_labels() -> None:
    assert times.label(times.read("12:31 to 12:40", FILE), FILE) == "00:12:31–00:12:40"
    assert times.label(times.read("02:00:00 to 02:10:00", FILE), FILE) == "02:00:00–02:10:00"
    early = Span(Moment(FILE.file.start - 5_000_000), Moment(FILE.file.start + 5_000_000)) if FILE.file else None
    assert early is not None
    assert times.label(early, FILE) == "00:00:00–00:00:05"
    assert not times.label(times.read("yesterday", FILE), FILE)[0].isdigit(), "a day, not thousands of hours"
    assert times.label(times.read("yesterday 14:00", LIVE), LIVE) == "Sun 14:00:00"
    assert times.label(times.read("2026-01-02", LIVE), LIVE) == "2026-01-02 00:00:00 – 2026-01-03 00:00:00"


def test_unknown_zone() -> None:
    with pytest.raises(Invalid, match="Mars"):
        times.zone_named("Mars/Olympus")
