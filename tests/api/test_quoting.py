"""Quotations are found word by word, with the time at which they were said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.profile import Models
from api.quoting import quotation
from api.settings import Settings
from ingest.questions import Query
from ingest.records import Moment, Observation, Span, StreamId, seconds
from models.embedded.encoder import EmbeddedEncoder
from models.fake import FakeSystem
from tests.api.conftest import add, running, wait_for

SPEECH = Path(__file__).parents[3] / "shared" / "footage" / "jfk-speech.flac"
QUOTED = "ask not what your country can do for you"


@pytest.mark.parametrize(
    ("text", "understood", "words"),
    [
        (QUOTED, (f'"{QUOTED}"',), QUOTED.split()),
        (f"someone says “{QUOTED}”", ('"ask"', '"not"'), QUOTED.split()),
        (f"when does someone say {QUOTED}", ('"ask"', '"not"'), QUOTED.split()),
        (f'a man says "{QUOTED}"', ('"ask"', "a man"), []),
        ('someone says "ask not"', ('"ask"', '"not"'), []),
        ("a red car", ("a red car",), []),
    ],
)
def test_what_is_asked_to_have_been_said(text: str, understood: tuple[str, ...], words: list[str]) -> None:
    import numpy as np

    assert quotation(Query(text, np.zeros(3, np.float32), 1.0, 0.0, understood)) == words


def heard(stream: str, zero: int, start: float, end: float, text: str) -> Observation:
    span = Span(Moment(zero + seconds(start)), Moment(zero + seconds(end)))
    return Observation(StreamId(stream), 0, f"{start}", "heard", "speech", span, 0.9, actions=("en",), text=text)


@pytest.mark.parametrize("asked", [QUOTED, f"someone says “{QUOTED}”"])
def test_a_sentence_that_a_pause_parts_is_one(settings: Settings, films: Path, asked: str) -> None:
    """Said at 3.2 to 7.7 s; said again after a minute with a word misheard, and in part."""
    with running(settings, Models(EmbeddedEncoder(), FakeSystem())) as (service, http):
        stream = add(http, "speech", films / "plain.mp4")
        zero = service.store.streams.get(stream["id"]).origin
        assert zero is not None
        said = [
            (0.3, 2.2, "And so my fellow Americans"),
            (3.2, 4.3, "ask not"),
            (5.4, 10.5, "what your country can do for you, ask what you can do for your country."),
            (60.0, 64.0, "Ask not what your county can do for you!"),
            (70.0, 71.0, "Ask not"),
            (77.0, 80.0, "what your country can do for you"),
        ]
        with service.store.database.write() as connection:
            service.store.timeline.observe(connection, [heard(stream["id"], zero, *one) for one in said])
        hits = http.post("/v1/find", json={"event": asked}).json()["hits"]
        spans = [(hit["span"]["start_offset_s"], hit["span"]["end_offset_s"]) for hit in hits]
        assert spans[0] == (3.2, pytest.approx(7.6, abs=0.3))
        assert spans[1:] == [(60.0, pytest.approx(64.0, abs=0.2))]
        assert hits[0]["score"] > hits[1]["score"]


def test_who_looks_for_words_without_quotation_marks_is_told_of_them(settings: Settings, films: Path) -> None:
    """In "ask not" the one word may be what is not to be seen."""
    with running(settings, Models(EmbeddedEncoder(), FakeSystem())) as (_, http):
        add(http, "speech", films / "plain.mp4")
        notes = [http.post("/v1/find", json={"event": event}).json()["note"] for event in ("ask not", "“ask not”")]
        assert ["in quotation marks" in note for note in notes] == [True, False]


@pytest.mark.skipif(not SPEECH.exists(), reason="needs the clips that are not in the repository")
def test_the_speech_itself(settings: Settings, films: Path) -> None:
    from models.moonshine import MoonshineTranscriber, installed

    if installed() is None:
        pytest.skip("needs the wheel that carries a speech model")
    models: Any = Models(EmbeddedEncoder(), FakeSystem(), transcriber=MoonshineTranscriber())
    settings = Settings(**settings.model_dump() | {"roots": [SPEECH.parent, films]})
    with running(settings, models) as (_, http):
        add(http, "speech", SPEECH)
        [hit] = wait_for(lambda: http.post("/v1/find", json={"event": QUOTED}).json()["hits"])
        assert hit["span"]["start_offset_s"] == pytest.approx(3.2, abs=0.5)
        assert hit["span"]["end_offset_s"] == pytest.approx(7.7, abs=0.5)
