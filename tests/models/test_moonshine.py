"""What only the transcriber that knows its words by heart promises: sentences, times of words, silence about music."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ingest.errors import Invalid
from ingest.records import MICROSECONDS, SAMPLE_RATE, Moment, Sound, Span, StreamId, Word
from models import moonshine, registry, speech
from models.moonshine import MoonshineTranscriber, Said, read_pieces
from models.speech import Aligner, Voiced, joined
from tests.models.test_footage import FOOTAGE

needs_model = pytest.mark.skipif(moonshine.installed() is None, reason="moonshine-voice has no model here")
SPOKEN = FOOTAGE / "jfk-speech.flac"


def stretches(monkeypatch: pytest.MonkeyPatch, *voices: tuple[float, float], length: float = 80) -> list[Voiced]:
    """What is made of a sound in which a voice is heard from..to, in seconds."""
    found = [Voiced(round(a * MICROSECONDS), np.ones(round((b - a) * SAMPLE_RATE), np.int16)) for a, b in voices]
    monkeypatch.setattr(speech, "voiced", lambda *_, **__: iter(found))
    ramp = np.linspace(-1, 1, round(length * SAMPLE_RATE), dtype=np.float32)
    return list(joined(Sound(StreamId("hall"), 0, 0, Moment(0), ramp), around_s=0.5))


def edges(one: Voiced) -> tuple[float, float]:
    return one.offset_us / MICROSECONDS, one.offset_us / MICROSECONDS + len(one.samples) / SAMPLE_RATE


def test_stretches_that_meet_are_one_with_what_surrounds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = stretches(monkeypatch, (0.2, 2), (2.8, 4), (9, 10))
    assert [edges(one) for one in found] == [(0, 4.5), (8.5, 10.5)]


def test_no_stretch_grows_without_end_and_none_is_heard_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [edges(one) for one in stretches(monkeypatch, *((at, at + 3.0) for at in range(0, 60, 3)))]
    assert all(end - start <= 20 for start, end in found)
    assert all(a[1] <= b[0] for a, b in pairwise(found))
    assert stretches(monkeypatch) == []


def said(*texts: str) -> list[Said]:
    return [Said(text, 0.9) for text in texts]


def timed(*starts: float) -> list[Word]:
    return [Word(Span(Moment(round(s * 1e6)), Moment(round(s * 1e6) + 200_000)), "x", 0.9) for s in starts]


def test_sentences_part_at_stops_and_pauses() -> None:
    texts = said("Stop.", "Go", "on,", "he", "said", "then", "left")
    words = timed(0, 0.2, 0.5, 1.3, 1.5, 1.8, 3.0)
    assert list(moonshine._sentences(texts, words)) == [(0, 1), (1, 3), (3, 6), (6, 7)]
    assert list(moonshine._sentences([], [])) == []


def test_pieces_of_one_and_two_bytes_of_length() -> None:
    long = b"x" * 300
    assert read_pieces(bytes([2]) + b"ab" + bytes([0]) + bytes([300 % 128 + 128, 300 // 128]) + long) == [
        b"ab", b"", long,
    ]  # fmt: skip


def test_without_the_wheel_pocketsphinx_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moonshine, "installed", lambda: None)
    assert registry.transcriber("spoken").id == "pocketsphinx-en"


def test_words_that_cannot_be_pronounced_lie_between_the_others() -> None:
    noise = np.random.default_rng(0).normal(0, 3000, 3 * SAMPLE_RATE).astype(np.int16)
    times = Aligner().align(["open", "xyzzyq", "door"], noise)
    assert len(times) == 3
    assert all(start < end for start, end in times)
    assert [start for start, _ in times] == sorted(start for start, _ in times)
    assert times[-1][1] <= 3 * MICROSECONDS


@needs_model
def test_music_is_nothing_said() -> None:
    at = np.arange(9 * SAMPLE_RATE) / SAMPLE_RATE
    tune = sum(np.sin(2 * np.pi * f * at) * (np.sin(2 * np.pi * 2 * at) > 0) for f in (220, 277, 330))
    sound = Sound(StreamId("hall"), 0, 0, Moment(0), (0.2 * tune).astype(np.float32))
    assert MoonshineTranscriber().transcribe([sound]) == []


@needs_model
@pytest.mark.skipif(not SPOKEN.exists(), reason="../shared/footage is not there: nobody speaks")
def test_a_known_speech_word_for_word() -> None:
    from benchmarks.speech import errors, sounds, when, words_of

    utterances = MoonshineTranscriber().transcribe(sounds(SPOKEN))
    known = "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"
    assert errors(words_of(known), words_of(" ".join(one.text for one in utterances))) <= 1
    start, end = (float(edge) for edge in when("ask not", utterances).split("–"))
    assert start == pytest.approx(3.2, abs=0.5)
    assert end == pytest.approx(4.4, abs=0.7)


def test_word_errors_are_counted_as_they_always_are() -> None:
    from benchmarks.speech import errors, words_of

    assert errors(words_of("the cat sat"), words_of("a cat sat down")) == 2
    assert errors(words_of("... cat ... end"), words_of("see the big cat run to the end")) == 0
    assert errors(words_of("the cat"), []) == 2


@pytest.mark.parametrize("name", ["pocketsphinx", "moonshine", "spoken"])
def test_a_recogniser_of_english_alone_refuses_another_language(name: str) -> None:
    with pytest.raises(Invalid, match="understands English alone"):
        registry.transcriber(name, {"language": "de"})
