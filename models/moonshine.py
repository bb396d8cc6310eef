"""Speech as timed text: `Transcriber` over Moonshine (Jeffries et al., Moonshine: Speech Recognition for Live
Transcription and Voice Commands, 2024), whose small English model comes with its wheel. ONNX Runtime runs it.

The model says words and not when: PocketSphinx, told what was said, says when each word was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ingest.errors import NotFound
from ingest.records import MICROSECONDS, SAMPLE_RATE, Moment, Sound, Span, Utterance, Word
from models.speech import Aligner, Voiced, joined

_PACKAGE: Final = "moonshine_voice"
_BEGIN, _END = 1, 2
_TOKENS_PER_S: Final = 6.5
"""What anyone can say; more is the model repeating itself."""
_LEAST_SAMPLES: Final = SAMPLE_RATE // 4
_LEAST_CONFIDENCE: Final = 0.45
_LEAST_WORDS_PER_S: Final = 0.7
"""Fewer in all of a stretch is what it makes of music: a word or two it has seen under films."""
_SHORT_PAUSE: Final = MICROSECONDS // 2
_LONG_PAUSE: Final = 8 * MICROSECONDS // 10
_ENCODED_WORD: Final = "\u2581"
_STRAYS: Final = re.compile(r"[^\w'&%$-]+")


def installed() -> Path | None:
    """The folder of the model inside the wheel, where a wheel with a model is installed."""
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "assets" / "tiny-en"
    return folder if (folder / "encoder_model.ort").exists() else None


@dataclass(frozen=True)
class Said:
    """A word, and the geometric mean of its tokens' probabilities."""

    text: str
    confidence: float


class MoonshineTranscriber:
    """English. `folder` holds encoder_model.ort, decoder_model_merged.ort and tokenizer.bin; by default the wheel's."""

    id = "moonshine-tiny-en"
    languages = frozenset({"en"})

    def __init__(self, folder: str | Path | None = None) -> None:
        where = Path(folder) if folder is not None else installed()
        if where is None:
            raise NotFound("The speech model is not installed.", advice="pip install moonshine-voice==0.0.48")
        self._folder = where
        self._model: _Model | None = None
        self._aligner = Aligner()

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        return [utterance for sound in sounds for utterance in self._transcribe(sound)]

    def _transcribe(self, sound: Sound) -> Iterator[Utterance]:
        for stretch in joined(sound):
            if len(stretch.samples) < _LEAST_SAMPLES:
                continue
            if self._model is None:
                self._model = _Model(self._folder)
            said = self._model.said(stretch.samples.astype(np.float32) / 32768.0)
            if len(said) * SAMPLE_RATE >= _LEAST_WORDS_PER_S * len(stretch.samples):
                yield from self._utterances(sound, stretch, said)

    def _utterances(self, sound: Sound, stretch: Voiced, said: Sequence[Said]) -> Iterator[Utterance]:
        """What was said in a stretch, sentence by sentence."""
        base = sound.moment + stretch.offset_us
        bare = [_STRAYS.sub("", word.text.lower()) for word in said]
        times = self._aligner.align(bare, stretch.samples)
        words = [
            Word(Span(Moment(base + start), Moment(base + end)), text, word.confidence)
            for text, word, (start, end) in zip(bare, said, times, strict=True)
        ]
        for first, last in _sentences(said, words):
            span = Span(words[first].span.start, words[last - 1].span.end)
            confidence = float(np.mean([word.confidence for word in words[first:last]]))
            if confidence >= _LEAST_CONFIDENCE:
                text = " ".join(word.text for word in said[first:last])
                pts = sound.pts + (span.start - sound.moment)
                named = tuple(word for word in words[first:last] if word.text)
                yield Utterance(sound.stream, sound.epoch, pts, span, text, confidence, named)


def _sentences(said: Sequence[Said], words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Where to part: behind a full stop, behind a comma with a pause, and in a long pause."""
    first = 0
    for place in range(1, len(words) + 1):
        if place < len(words):
            pause = words[place].span.start - words[place - 1].span.end
            stop = said[place - 1].text[-1]
            ends = stop in ".?!" or pause >= (_SHORT_PAUSE if stop in ",;:" else _LONG_PAUSE)
            if not ends:
                continue
        yield first, place
        first = place


class _Model:
    """The encoder once, the decoder token by token, always the likeliest."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for name in ("encoder_model.ort", "decoder_model_merged.ort")
        )
        self._past = [one.name for one in self._decoder.get_inputs() if one.name.startswith("past_key_values")]
        shapes = {one.name: one.shape for one in self._decoder.get_inputs()}
        self._empty = {name: np.zeros((1, shapes[name][1], 0, shapes[name][3]), np.float32) for name in self._past}
        self._pieces = read_pieces((folder / "tokenizer.bin").read_bytes())

    def said(self, samples: NDArray[np.float32]) -> list[Said]:
        """The words of `samples`, float32 [N] at `SAMPLE_RATE`."""
        heard = np.ones((1, len(samples)), np.int64)
        (states,) = self._encoder.run(None, {"input_values": samples[None], "attention_mask": heard})
        most = int(len(samples) / SAMPLE_RATE * _TOKENS_PER_S) + 1
        return self._words(list(self._tokens(states, heard, most)))

    def _tokens(self, states: NDArray[np.float32], heard: NDArray[np.int64], most: int) -> Iterator[tuple[int, float]]:
        past, token = dict(self._empty), _BEGIN
        for step in range(most):
            feed: dict[str, Any] = {
                "input_ids": np.array([[token]], np.int64),
                "encoder_hidden_states": states,
                "encoder_attention_mask": heard,
                "use_cache_branch": np.array([step > 0]),
                **past,
            }
            logits, *present = self._decoder.run(None, feed)
            last = logits[0, -1].astype(np.float64)
            token = int(last.argmax())
            if token == _END:
                return
            yield token, float(1.0 / np.exp(last - last[token]).sum())
            # What attends to the sound is computed once, in the first step; later steps return it empty.
            past = {
                name: new if step == 0 or "decoder" in name else past[name]
                for name, new in zip(self._past, present, strict=True)
            }

    def _words(self, tokens: Sequence[tuple[int, float]]) -> list[Said]:
        groups: list[tuple[bytes, list[float]]] = []
        for token, chance in tokens:
            piece = self._pieces[token] if token < len(self._pieces) else b""
            if piece.startswith(_ENCODED_WORD.encode()) or not groups:
                groups.append((b"", []))
            letters, chances = groups[-1]
            groups[-1] = (letters + piece.removeprefix(_ENCODED_WORD.encode()), [*chances, chance])
        said = (
            Said(letters.decode("utf-8", "ignore").strip(), float(np.exp(np.log(chances).mean())))
            for letters, chances in groups
        )
        return [word for word in said if any(map(str.isalnum, word.text))]  # notes and dashes are what music becomes


def read_pieces(data: bytes) -> list[bytes]:
    """The tokenizer's pieces in order: each a length in 1 byte, or in 2 from 128 on, and that many bytes."""
    pieces, at = [], 0
    while at < len(data):
        size, at = data[at], at + 1
        if size >= 128:
            size, at = data[at] * 128 + size - 128, at + 1
        pieces.append(data[at : at + size])
        at += size
    return pieces
