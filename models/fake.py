"""Deterministic fakes of every seam: simple enough to predict, real enough to run the whole service on."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from ingest.questions import Evidence, Query, Recollection
from ingest.records import MICROSECONDS, Feature, Frame, Moment, Pixels, Sound, Span, StreamId, Utterance, Vector

_CHANNELS = ("red", "green", "blue")


class FakeEncoder:
    """The mean colour of a picture, and hashed words: "red" finds red pictures, any other word finds its utterances."""

    id = "fake-1"
    dim = 64

    def __init__(
        self, *, dies_at: Sequence[int] = (), hangs_at: Sequence[int] = (), fails_at: Sequence[int] = ()
    ) -> None:
        """Faults to rehearse, by the frame's pts: ending the process, never answering, raising."""
        self._dies_at, self._hangs_at, self._fails_at = set(dies_at), set(hangs_at), set(fails_at)

    def encode(self, frames: Sequence[Frame]) -> list[Feature]:
        for frame in frames:
            self._rehearse(frame.pts)
        return [
            Feature(frame.stream, frame.epoch, frame.pts, _span(frame), _colour_vector(frame.pixels), thumbnail=b"")
            for frame in frames
        ]

    def encode_utterances(self, utterances: Sequence[Utterance]) -> list[Feature]:
        return [
            Feature(one.stream, one.epoch, one.pts, one.span, _words_vector(one.text), origin="sound")
            for one in utterances
        ]

    def encode_queries(self, queries: Sequence[str | Pixels]) -> list[Query]:
        found = []
        for query in queries:
            vector = _words_vector(query) if isinstance(query, str) else _colour_vector(query)
            text = query if isinstance(query, str) else ""
            found.append(Query(text, vector, slope=20.0, offset=-10.0, understood=tuple(_words(text))))
        return found

    def _rehearse(self, pts: int) -> None:
        if pts in self._dies_at:
            os._exit(9)
        if pts in self._hangs_at:
            threading.Event().wait()
        if pts in self._fails_at:
            raise ArithmeticError(f"a fault was asked for at {pts}")


class FakeTranscriber:
    """Hears one word in every sound that is not silent: its level, "loud" or "quiet"."""

    id = "fake-1"
    languages = frozenset({"en"})

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        found = []
        for sound in sounds:
            level = float(np.abs(sound.samples).max()) if len(sound.samples) else 0.0
            if level > 0.01:
                text = "loud" if level > 0.5 else "quiet"
                found.append(Utterance(sound.stream, sound.epoch, sound.pts, sound.span, text, 1.0))
        return found


class FakeSystem:
    """Repeats the question and cites every exhibit."""

    id = "fake-1"

    def __init__(self, *, dies_at: str = "", hangs_at: str = "", fails_at: str = "") -> None:
        """Faults to rehearse after the first piece, by the question: ending the process, never going on, raising."""
        self._dies_at, self._hangs_at, self._fails_at = dies_at, hangs_at, fails_at

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        yield f"You asked: {question}"
        if question and question == self._dies_at:
            os._exit(9)
        if question and question == self._hangs_at:
            threading.Event().wait()
        if question and question == self._fails_at:
            raise ArithmeticError(f"a fault was asked for at {question}")
        for exhibit in evidence.exhibits:
            yield f" [{exhibit.number}]"


class FakeGrounder(FakeSystem):
    """Also says when: in the middle third of every exhibit."""

    id = "fake-grounder-1"

    def ground(self, event: str, evidence: Evidence) -> list[Span]:
        spans = [exhibit.hit.span for exhibit in evidence.exhibits]
        return [Span(Moment(one.start + one.duration // 3), Moment(one.end - one.duration // 3)) for one in spans]


class FakeRecollector(FakeSystem):
    """Also remembers: how many frames it watched. An answer from a recollection says so."""

    id = "fake-recollector-1"

    def __init__(self) -> None:
        super().__init__()
        self._watched: dict[StreamId, list[Moment]] = {}

    def watch(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self._watched.setdefault(frame.stream, []).append(frame.moment)

    def recollect(self, stream: StreamId) -> Recollection | None:
        watched = self._watched.pop(stream, [])
        if not watched:
            return None
        span = Span(watched[0], Moment(watched[-1] + MICROSECONDS))
        return Recollection(stream, span, len(watched), str(len(watched)).encode())

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        if evidence.recollection is not None:
            yield f"I remember {evidence.recollection.data.decode()} frames."
        yield from super().answer(question, evidence)


def _span(frame: Frame) -> Span:
    return Span(frame.moment, Moment(frame.moment + MICROSECONDS // 2))


def _colour_vector(pixels: Pixels) -> Vector:
    vector = np.zeros(FakeEncoder.dim, dtype=np.float32)
    vector[:3] = pixels.reshape(-1, 3).mean(axis=0) + 1.0
    return vector / np.float32(np.linalg.norm(vector))


def _words_vector(text: str) -> Vector:
    vector = np.zeros(FakeEncoder.dim, dtype=np.float32)
    for word in _words(text):
        digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
        vector[_CHANNELS.index(word) if word in _CHANNELS else 3 + int.from_bytes(digest) % (FakeEncoder.dim - 3)] = 1.0
    norm = float(np.linalg.norm(vector))
    return vector / np.float32(norm) if norm else vector


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())
