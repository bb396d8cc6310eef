"""A camera that drops twenty times a day, after a year: what is asked of the database and what is sent stay small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import pytest
from sqlalchemy import event

from api.compose import Service
from api.profile import Models
from api.settings import Settings
from api.streams import Streams
from api.timeline import STRETCHES, fewer
from api.times import utc
from api.views import MOST_GAPS
from ingest.records import Feature, Gap, Moment, Span, StreamId, seconds
from memory.store import Store, StreamRow, schema
from models.fake import FakeEncoder
from models.language.extractive import ExtractiveSystem
from tests.api.conftest import ask, running

START = 1_750_000_000_000_000
CAM = StreamId("cam")
YEAR = Span(Moment(START), Moment(START + seconds(365 * 86_400)))
DROPS = 20 * 365
EVERY = YEAR.duration // DROPS


def drops(store: Store) -> list[Gap]:
    """Half a minute each, every hundredth ten; it is watched between them, in one epoch after the other."""
    lengths = [seconds(600 if number % 100 == 50 else 30) for number in range(DROPS)]
    starts = [START + number * EVERY for number in range(DROPS)]
    gaps = [
        Gap(CAM, Span(Moment(at), Moment(at + length)), "offline", "The camera does not answer.")
        for at, length in zip(starts, lengths, strict=True)
    ]
    told = {"stream": CAM, "reason": "offline", "detail": gaps[0].detail}
    blind = [told | {"start": gap.span.start, "end": gap.span.end} for gap in gaps]
    watched = [
        {"stream": CAM, "epoch": number, "start": gap.span.end, "end": starts[number] + EVERY}
        for number, gap in enumerate(gaps)
    ]
    with store.database.write() as connection:
        connection.execute(schema.gaps.insert(), blind)
        connection.execute(schema.coverage.insert(), watched)
    return gaps


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, httpx.Client, list[Gap]]]:
    settings = Settings(data=tmp_path_factory.mktemp("year") / "data", port=0, timezone="UTC")
    untold = patch.object(Streams, "tell_absence")  # else it is told every five seconds that it is paused
    with untold, running(settings, Models(FakeEncoder(), ExtractiveSystem())) as (service, http):
        row = StreamRow(CAM, "cam", "live", "rtsp://cam/1", "rtsp://cam/1", "paused", "", YEAR.start, paused=True)
        service.store.streams.add(row)
        gaps = drops(service.store)
        vector = np.eye(FakeEncoder.dim, dtype=np.float32)[0]
        frames = [
            Feature(CAM, number, number, Span(Moment(moment), Moment(moment)), vector)
            for number, moment in enumerate((YEAR.start, YEAR.end))
        ]
        with service.store.database.write() as connection:
            service.store.features.insert(connection, CAM, "frame", frames)
        yield service, http, gaps


@contextmanager
def queries(service: Service) -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    engine = service.store.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


WHEN = {"from": utc(YEAR.start).isoformat(), "to": utc(YEAR.end).isoformat()}


def test_an_answer_about_a_year_of_drops_is_short(year: tuple[Service, httpx.Client, list[Gap]]) -> None:
    service, http, gaps = year
    with queries(service) as asked:
        answer = ask(http, "was there a red car?", streams=["cam"], **WHEN)
    assert len([one for one in asked if "FROM streams" in one]) < 50
    assert len(answer["gaps"]) == MOST_GAPS
    assert answer["more_gaps"] == len(gaps) - MOST_GAPS
    shown = [gap["span"]["start"] for gap in answer["gaps"]]
    assert shown == sorted(shown)
    long = {utc(gap.span.start).isoformat().replace("+00:00", "Z") for gap in gaps if gap.span.duration > seconds(30)}
    assert len(long & set(shown)) == len(long) == DROPS // 100, "the longest are among them"
    assert len(answer["text"]) < 1000
    assert "times" in answer["text"]


def test_what_was_found_in_a_year_of_drops_is_short(year: tuple[Service, httpx.Client, list[Gap]]) -> None:
    service, http, gaps = year
    with queries(service) as asked:
        found = http.post("/v1/find", json={"event": "a red car", "streams": ["cam"], **WHEN})
        summary = http.get("/v1/summary", params={"streams": ["cam"], **WHEN})
    assert len([one for one in asked if "FROM streams" in one]) < 50
    for reply in (found, summary):
        assert len(reply.content) < 50_000
        assert len(reply.json()["gaps"]) + reply.json()["more_gaps"] == len(gaps)


def test_a_year_of_drops_is_drawn_and_said_not_to_be_all(year: tuple[Service, httpx.Client, list[Gap]]) -> None:
    service, http, gaps = year
    for what in ("coverage", "timeline"):
        with queries(service) as asked:
            reply = http.get(f"/v1/streams/cam/{what}", params=WHEN)
        drawn = reply.json()
        assert len([one for one in asked if "FROM streams" in one]) < 50
        assert len(reply.content) < 300_000
        assert drawn["truncated"]
        assert len(drawn["gaps"]) == len(drawn["covered"]) == STRETCHES
        assert drawn["more_gaps"] == len(gaps) - STRETCHES
    day = {"from": WHEN["from"], "to": (utc(YEAR.start) + timedelta(days=1)).isoformat()}
    drawn = http.get("/v1/streams/cam/coverage", params=day).json()
    assert (len(drawn["gaps"]), drawn["more_gaps"], drawn["truncated"]) == (20, 0, False), "of a day all are there"


def test_the_widest_holes_stay_between_fewer_stretches() -> None:
    spans = [Span(Moment(start), Moment(end)) for start, end in ((0, 10), (11, 20), (40, 50), (52, 60), (90, 95))]
    assert fewer(spans, 9) == spans
    assert [(span.start, span.end) for span in fewer(spans, 3)] == [(0, 20), (40, 60), (90, 95)]
    assert fewer(spans, 1) == [Span(Moment(0), Moment(95))]
    assert fewer([], 3) == []
    assert all(one.end < other.start for one, other in pairwise(fewer(spans, 4)))
