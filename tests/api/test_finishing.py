"""When a file is finished, and what a restart has still to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from api.profile import Models
from api.settings import Settings
from ingest.records import Sound, Utterance
from models.fake import FakeEncoder, FakeSystem, FakeTranscriber
from tests.api.conftest import FILMED, running, wait_for
from tests.media import Clip, make

SPOKEN = 30.0


class Slow(FakeTranscriber):
    """Hears nothing until it is let; `asked` counts the sounds it was given."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        self.asked += len(sounds)
        self.go.wait(60)
        return super().transcribe(sounds)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make(tmp_path / "spoken.mp4", Clip(seconds=SPOKEN))


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.go.set()


def models(transcriber: FakeTranscriber) -> Models:
    return Models(FakeEncoder(), FakeSystem(), transcriber)


def add(http: httpx.Client, film: Path) -> None:
    answer = http.post("/v1/streams", json={"name": "door", "source": str(film), "starts_at": FILMED})
    assert answer.status_code == 201, answer.text


def state(http: httpx.Client) -> str:
    return str(http.get("/v1/streams/door").json()["state"])


def frames_are_in(http: httpx.Client) -> bool:
    """Whether the last picture is remembered."""
    span = http.get("/v1/streams/door").json()["span"]
    return span is not None and span["end_offset_s"] > SPOKEN - 1


def heard(http: httpx.Client) -> list[float]:
    """Starts of what was heard, as the fake recogniser's one word finds it."""
    hits = http.post("/v1/find", json={"event": "quiet", "limit": 50}).json()["hits"]
    return sorted(hit["span"]["start_offset_s"] for hit in hits)


def test_a_file_is_finished_when_its_sound_is_remembered_too(settings: Settings, film: Path, slow: Slow) -> None:
    with running(settings, models(slow)) as (_, http):
        add(http, film)
        wait_for(lambda: frames_are_in(http))
        assert state(http) == "reading"
        assert heard(http) == []
        slow.go.set()
        wait_for(lambda: state(http) == "finished")
        pieces = heard(http)
        assert len(pieces) >= 3
        assert pieces[0] < 0.1


def test_speech_that_was_under_way_is_heard_after_a_restart(settings: Settings, film: Path, slow: Slow) -> None:
    with running(settings, models(FakeTranscriber())) as (_, http):
        add(http, film)
        wait_for(lambda: state(http) == "finished")
        expected = heard(http)
        http.delete("/v1/streams/door")
    with running(settings, models(slow)) as (service, http):
        add(http, film)
        wait_for(lambda: frames_are_in(http))
        service.workers.stop.set()  # what is handled from here on is not kept, as when it is killed
        slow.go.set()
    with running(settings, models(FakeTranscriber())) as (_, http):
        wait_for(lambda: state(http) == "finished")
        assert heard(http) == expected
        counted = http.get("/v1/streams/door").json()["counters"]
    silent = Slow()
    silent.go.set()
    with running(settings, models(silent)) as (_, http):
        assert state(http) == "finished"
        assert http.get("/v1/streams/door").json()["counters"] == counted, "nothing was read again"
        assert heard(http) == expected
    assert silent.asked == 0


def test_what_is_finished_is_not_read_again_when_resumed(settings: Settings, films: Path) -> None:
    with running(settings, models(FakeTranscriber())) as (service, http):
        http.post("/v1/streams", json={"name": "door", "source": str(films / "plain.mp4")})
        wait_for(lambda: state(http) == "finished")
        service.store.streams.set_paused(service.store.streams.get("door").id, True)
        before = http.get("/v1/streams/door").json()["counters"]
        assert http.post("/v1/streams/door/resume").json()["state"] == "finished"
        assert http.get("/v1/streams/door").json()["counters"] == before
