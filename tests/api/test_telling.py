"""What people read: descriptions, absences, highlights, and scopes read from their words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.absence import no_footage, not_found
from api.describe import describe
from api.highlights import highlights, moments
from api.schemas import GapOut, SearchedOut, Where
from api.scope import Scopes
from api.settings import Settings
from api.telling import telling
from api.views import Blind
from ingest.clock import FakeClock, SystemClock
from ingest.errors import Invalid, NotFound
from ingest.ledger import Ledger
from ingest.questions import Hit, Scope
from ingest.records import Feature, Moment, Observation, Span, StreamId, seconds
from memory.memory import Memory
from memory.store import StreamRow
from models.fake import FakeEncoder

START = Moment(1_700_000_000_000_000)


def span(start: float, end: float) -> Span:
    return Span(Moment(START + seconds(start)), Moment(START + seconds(end)))


def seen(kind: str, label: str, start: float = 0, end: float = 1, **more: Any) -> Observation:
    track = more.pop("track", f"{label}{start}")
    return Observation(StreamId("door"), 0, track, kind, label, span(start, end), more.pop("score", 0.9), **more)  # type: ignore[arg-type]  # one of the kinds


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (
            seen("thing", "something", colour="red", actions=("moves right", "stays")),
            "something red moves right and stays",
        ),
        (seen("thing", "car", colour="red"), "a red car"),
        (seen("thing", "car", colour="orange", actions=("moves left",)), "an orange car moves left"),
        (seen("thing", "furniture", colour="brown"), "some brown furniture"),
        (seen("event", "enters", colour="blue", text="something"), "something blue enters"),
        (seen("event", "leaves", text="person"), "a person leaves"),
        (seen("event", "appears"), "something appears"),
        (seen("read", "text", text="EXIT"), "the words “EXIT” are in the picture"),
        (seen("heard", "speech", text="hello there"), "someone says “hello there”"),
        (seen("scene", "cut"), "the scene changes"),
        (seen("scene", "still"), "nothing moves"),
    ],
)
def test_observations_in_words(observation: Observation, expected: str) -> None:
    assert describe(observation) == expected


def gap(label: str) -> GapOut:
    shown = {"start": "2026-11-23T14:10:00Z", "end": "2026-11-23T14:14:00Z", "label": label}
    return GapOut.model_validate({"stream": "door", "span": shown, "reason": "offline"})


def test_absence_is_told_with_what_was_searched_and_when_we_were_blind() -> None:
    whole = {"start": "2026-11-23T14:00:00Z", "end": "2026-11-23T15:00:00Z", "label": "Mon 14:00–15:00"}
    searched = SearchedOut.model_validate({"streams": ["door", "yard"], "span": whole})
    assert not_found(searched, Blind([gap("14:10–14:14")]), ["dog"]) == (
        "Not found in the footage of door and yard, Mon 14:00–15:00. This profile cannot look for “dog”. "
        "There is no video 14:10–14:14 (offline)."
    )
    assert "and 2 more times" in not_found(searched, Blind([gap(str(n)) for n in range(5)]), [])
    assert no_footage(searched, Blind([gap("x")])) == "There is no video of door and yard, Mon 14:00–15:00 (offline)."
    assert "no stream yet" in no_footage(SearchedOut(streams=[], span=None), Blind([]))


@pytest.fixture
def memory(tmp_path: Path) -> Any:
    encoder = FakeEncoder()
    opened = Memory.open(tmp_path, encoder=encoder.id, dim=encoder.dim, ledger=Ledger(), clock=SystemClock())
    for name, kind, extent in (("door", "file", 600), ("kitchen cam", "live", None), ("film", "file", 60)):
        row = StreamRow(
            StreamId(name),
            name,
            kind,
            "",
            "",
            "live",
            "",
            START,
            START if extent else None,
            extent and seconds(extent),  # type: ignore[arg-type]  # literals
        )
        opened.store.streams.add(row)
    yield opened
    opened.close()


def remember(memory: Any, *observations: Observation) -> None:
    import numpy as np

    vector = np.zeros(FakeEncoder.dim, np.float32)
    vector[0] = 1
    features = [
        Feature(StreamId("door"), 0, number, one.span, vector, observations=(one,))
        for number, one in enumerate(sorted(observations, key=lambda one: one.span.start))
    ]
    memory.remember.handle(features)


def test_highlights_join_what_is_near_and_rank_what_is_rich(memory: Any) -> None:
    remember(
        memory,
        seen("read", "text", 0, 500, text="CAM 1"),
        seen("event", "enters", 100, 101, text="something", colour="red"),
        seen("thing", "something", 100, 104, colour="red", actions=("moves right",)),
        seen("event", "leaves", 105, 106, text="something", colour="red"),
        seen("heard", "speech", 300, 303, text="hello"),
        seen("scene", "cut", 400, 401),
    )
    found = highlights(memory.store, Scope((StreamId("door"),)), limit=2)
    assert [(hit.span.start - START) // 1_000_000 for hit in found] == [100, 300]
    assert found[0].span == span(100, 106)
    words = [describe(one) for one in telling(memory.store, found[0])]
    assert words == ["something red enters", "something red leaves", "something red moves right"]
    assert highlights(memory.store, Scope((StreamId("film"),))) == []


def test_a_sign_that_hangs_there_anyway_is_no_highlight(memory: Any) -> None:
    remember(
        memory,
        seen("read", "text", 0, 30, text="BAKERY"),
        seen("scene", "still", 0, 8),
        seen("thing", "something", 8, 13, colour="red", actions=("moves right",)),
    )
    found = highlights(memory.store, Scope((StreamId("door"),)))
    assert [hit.span for hit in found] == [span(8, 13)]


def test_what_is_told_speaks_of_the_moment_and_of_what_was_asked(memory: Any) -> None:
    remember(
        memory,
        seen("read", "text", 0, 40, text="BAKERY"),
        seen("read", "text", 41, 120, text="BAKERY"),  # lost for a moment
        seen("read", "text", 51, 53, text="PARCELS"),
        seen("scene", "still", 0, 50.2),
        seen("thing", "something", 50, 55, colour="red", actions=("moves right",)),
        seen("thing", "something", 50, 55, track="b", colour="blue", actions=("moves left",)),
        seen("thing", "something", 54.9, 90, colour="green", actions=("moves left",)),
    )

    def told(start: float, end: float, asked: str) -> list[str]:
        hit = Hit(StreamId("door"), span(start, end), 0.9, span(start, end).start)
        return [describe(one) for one in telling(memory.store, hit, asked=asked)]

    red, blue = "something red moves right", "something blue moves left"
    sign, parcels = "the words “BAKERY” are in the picture", "the words “PARCELS” are in the picture"
    assert told(50, 55, "Did a red car pass?") == [red, parcels, blue]
    assert told(50, 55, "something blue")[0] == blue
    assert sign in told(50, 55, "which text is shown?")
    assert told(50, 55, "the bakery")[0] == sign
    assert told(10, 50.1, "nothing moves") == ["nothing moves"]


def test_moments_are_those_of_what_is_told(memory: Any) -> None:
    remember(
        memory,
        seen("read", "text", 0, 120, text="BAKERY"),
        seen("event", "enters", 8, 8.5, text="something", colour="red"),
        seen("thing", "something", 8, 13, colour="red", actions=("moves right",)),
        seen("thing", "something", 20, 33, colour="blue", actions=("moves left",)),
        seen("heard", "speech", 50, 52, text="see you tomorrow"),
    )
    scope = Scope((StreamId("door"),))
    assert moments(memory.store, scope, asked="Did a red car pass?", limit=1)[0].span == span(8, 13)
    found = {hit.span for hit in moments(memory.store, scope, asked="What happened?")}
    assert found == {span(8, 13), span(20, 33), span(50, 52), span(0, 120)}
    assert moments(memory.store, Scope((StreamId("film"),)), asked="anything") == []


@pytest.fixture
def scopes(memory: Any) -> Scopes:
    return Scopes(memory.store, FakeClock(START + seconds(86_400)), Settings(timezone="UTC"))


@pytest.mark.parametrize(
    ("question", "rest", "streams", "when"),
    [
        ("what happened on door?", "what happened?", ["door"], None),
        ("Did it ring at the Kitchen-Cam in the last hour?", "Did it ring?", ["kitchen cam"], (82_800, 86_400)),
        ("who came in the first minute of the video on door?", "who came?", ["door"], (0, 60)),
        ("what is on door at 00:05:00?", "what is?", ["door"], (295, 305)),
        ("is the door open?", "is the door open?", ["door", "kitchen cam", "film"], None),
    ],
)
def test_questions_say_where_and_when(
    scopes: Scopes, question: str, rest: str, streams: list[str], when: tuple[int, int] | None
) -> None:
    understood, place = scopes.understand(question, Where.model_validate({}))
    assert understood == rest
    assert [row.name for row in place.rows] == streams
    assert place.scope.span == (span(*when) if when else None)


def test_what_the_caller_says_wins_over_the_question(scopes: Scopes) -> None:
    where = Where.model_validate({"streams": ["film"], "from": "00:10", "to": "00:20"})
    understood, place = scopes.understand("what happened on door at 00:05?", where)
    assert understood == "what happened on door at 00:05?"
    assert [row.name for row in place.rows] == ["film"]
    assert place.scope.span == span(10, 20)


def test_offsets_need_one_file(scopes: Scopes) -> None:
    with pytest.raises(Invalid, match="2 of them"):
        scopes.resolve(Where.model_validate({"streams": ["door", "film"], "from": "00:10"}))
    with pytest.raises(NotFound):
        scopes.resolve(Where.model_validate({"streams": ["nobody"]}))


@pytest.mark.parametrize("question", ["Who came the other day?", "what happened in summer", "Did it rain recently?"])
def test_a_time_that_nobody_can_place_is_asked_about(scopes: Scopes, question: str) -> None:
    with pytest.raises(Invalid, match="I cannot tell when"):
        scopes.understand(question, Where.model_validate({}))
