"""Found spans against a film whose truth is known: they begin and end when the thing did, right to a second."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from api.profile import Models
from api.settings import Settings
from ingest.records import MICROSECONDS
from ingest.scene import crossing, film, render
from models.embedded.encoder import EmbeddedEncoder
from models.language.extractive import ExtractiveSystem
from tests.api.conftest import FILMED, running, wait_for

PASSES = ((8.0, 13.0), (20.0, 24.0))
LENGTH = 30.2


@pytest.mark.slow
def test_what_passed_is_found_from_its_first_moment_to_its_last(tmp_path: Path) -> None:
    actors = tuple(crossing("car", "red", start, end) for start, end in PASSES)
    truth = render(tmp_path / "cars.mp4", film=film(actors, LENGTH))
    [event] = [event for event in truth.events if event.text == "a red car"]
    passed = [(span.start / MICROSECONDS, span.end / MICROSECONDS) for span in event.spans]
    still = [(span.start / MICROSECONDS, span.end / MICROSECONDS) for span in truth.still]
    settings = Settings(data=tmp_path / "data", port=0, roots=[tmp_path], timezone="UTC")
    with running(settings, Models(EmbeddedEncoder(), ExtractiveSystem())) as (_, http):
        source = {"name": "street", "source": str(tmp_path / "cars.mp4"), "starts_at": FILMED}
        assert http.post("/v1/streams", json=source).status_code == 201
        wait_for(lambda: http.get("/v1/streams/street").json()["state"] == "finished")
        span = http.get("/v1/streams/street").json()["span"]
        assert span["end_offset_s"] == pytest.approx(LENGTH, abs=0.1)
        wanted = {
            "something red": passed,
            "something moves": passed,
            "nothing moves": still,
            "the road is empty": still,
        }
        for event_text, expected in wanted.items():
            found = spans(http, event_text)
            assert len(found) == len(expected), (event_text, found, expected)
            for (start, end), (true_start, true_end) in zip(found, expected, strict=True):
                assert start == pytest.approx(true_start, abs=1.0), (event_text, found, expected)
                assert end == pytest.approx(true_end, abs=1.0), (event_text, found, expected)


def spans(http: httpx.Client, event: str) -> list[tuple[float, float]]:
    hits = http.post("/v1/find", json={"event": event}).json()["hits"]
    return sorted((hit["span"]["start_offset_s"], hit["span"]["end_offset_s"]) for hit in hits)
