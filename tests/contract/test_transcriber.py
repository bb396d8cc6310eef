"""What every `Transcriber` keeps."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import which

import numpy as np
import pytest

from ingest.records import SAMPLE_RATE, Moment, Sound, StreamId
from models.fake import FakeTranscriber
from models.moonshine import MoonshineTranscriber, installed
from models.protocols import Transcriber
from models.speech import PocketSphinxTranscriber


@pytest.fixture(params=[FakeTranscriber, PocketSphinxTranscriber, MoonshineTranscriber], ids=lambda kind: kind.__name__)
def transcriber(request: pytest.FixtureRequest) -> Transcriber:
    make: Callable[[], Transcriber] = request.param
    if make is MoonshineTranscriber and installed() is None:
        pytest.skip("moonshine-voice with a model in it is not installed")
    return make()


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """float32 [N]: a spoken sentence with silence around it."""
    if which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed: there is no voice to transcribe")
    path: Path = tmp_path_factory.mktemp("voice") / "said.wav"
    subprocess.run(["espeak-ng", "-s", "130", "-w", path, "open the window and close the door"], check=True)
    import av

    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    parts = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            parts += [piece.to_ndarray().ravel() for piece in resampler.resample(frame)]
    silence = np.zeros(SAMPLE_RATE, np.float32)
    return np.concatenate([silence, *parts, silence]).astype(np.float32)


def sound(samples: np.ndarray, pts: int = 0, stream: str = "hall") -> Sound:
    return Sound(StreamId(stream), 2, pts, Moment(5_000_000_000 + pts), samples)


def test_silence_gives_nothing(transcriber: Transcriber) -> None:
    assert transcriber.transcribe([sound(np.zeros(3 * SAMPLE_RATE, np.float32))]) == []
    assert transcriber.transcribe([sound(np.zeros(0, np.float32))]) == []
    assert transcriber.transcribe([]) == []


def test_utterances_lie_within_their_sound(transcriber: Transcriber, speech: np.ndarray) -> None:
    given = sound(speech, pts=7_000_000)
    utterances = transcriber.transcribe([given])
    assert utterances
    for one in utterances:
        assert (one.stream, one.epoch) == (given.stream, given.epoch)
        assert given.span.start <= one.span.start < one.span.end <= given.span.end
        assert one.pts - given.pts == one.span.start - given.span.start
        assert one.text
        assert 0.0 <= one.confidence <= 1.0
        for word in one.words:
            assert one.span.start <= word.span.start < word.span.end <= one.span.end


def test_what_it_understands_is_stated_and_what_it_heard_was_in_it(
    transcriber: Transcriber, speech: np.ndarray
) -> None:
    assert transcriber.languages
    assert all(re.fullmatch("[a-z]{2,3}", one) for one in transcriber.languages)
    for language in transcriber.languages:
        assert transcriber.transcribe([replace(sound(speech), language=language)])


def test_what_came_before_does_not_matter(transcriber: Transcriber, speech: np.ndarray) -> None:
    given = sound(speech)
    alone = transcriber.transcribe([given])
    noise = np.random.default_rng(3).normal(0, 0.2, 2 * SAMPLE_RATE).astype(np.float32)
    together = transcriber.transcribe([sound(noise, stream="yard"), given])
    assert [one for one in together if one.stream == given.stream] == alone
