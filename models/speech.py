"""Speech as timed text: `Transcriber` over PocketSphinx (carried by its wheel) and over Whisper, and what they share
with Moonshine's.

They listen only where a voice activity detector hears speech, and treat every sound by itself, so that what they
return depends on nothing heard before. Sounds are cut where it is quiet, so few words cross their borders.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ingest.errors import Invalid
from ingest.records import MICROSECONDS, SAMPLE_RATE, Moment, Sound, Span, Utterance, Word

_FRAME_US: Final = 10_000
"""PocketSphinx counts time in hundredths of a second."""
_MARKUP: Final = re.compile(r"^[<\[+]|^$")
"""Silences, noises and sentence ends among its words."""
_LEAST_CONFIDENCE: Final = 0.25
_STRICT: Final = 3
_LONGEST_S: Final = 28.0
"""Whisper's window is 30 s."""

Pcm = NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Voiced:
    """A stretch of a sound in which someone may be speaking: samples int16 [N] from `offset_us` on."""

    offset_us: int
    samples: Pcm


def voiced(sound: Sound, *, strict: int = _STRICT) -> Iterator[Voiced]:
    """The stretches of `sound` with voice activity, in order."""
    from pocketsphinx import Endpointer

    pcm = _pcm(sound)
    endpointer = Endpointer(sample_rate=SAMPLE_RATE, vad_mode=strict)
    size = endpointer.frame_bytes // 2
    parts: list[bytes] = []
    for start in range(0, len(pcm) - size + 1, size):
        part = endpointer.process(pcm[start : start + size].tobytes())
        if part is not None:
            parts.append(part)
            if not endpointer.in_speech:
                yield _stretch(endpointer.speech_start, parts)
                parts = []
    if endpointer.in_speech and parts:
        yield _stretch(endpointer.speech_start, parts)


def joined(sound: Sound, *, strict: int = 2, around_s: float = 0.5, longest_s: float = 20.0) -> Iterator[Voiced]:
    """The voiced stretches of `sound` with `around_s` of what surrounds them, those that meet as one of at most
    `longest_s`: a sentence is understood better as a whole, and a detector notices a voice a little late."""
    around, longest = round(around_s * SAMPLE_RATE), round(longest_s * SAMPLE_RATE)
    pcm = _pcm(sound)
    held: tuple[int, int] | None = None
    for stretch in voiced(sound, strict=strict):
        start = stretch.offset_us * SAMPLE_RATE // MICROSECONDS
        first, last = max(0, start - around), min(len(pcm), start + len(stretch.samples) + around)
        if held is not None and first <= held[1] and last - held[0] <= longest:
            held = held[0], last
            continue
        if held is not None:
            yield _slice(pcm, *held)
            first = max(first, held[1])
        held = first, last
    if held is not None:
        yield _slice(pcm, *held)


def _pcm(sound: Sound) -> Pcm:
    return (np.clip(sound.samples, -1.0, 1.0) * 32767.0).astype(np.int16)


def _slice(pcm: Pcm, first: int, last: int) -> Voiced:
    return Voiced(first * MICROSECONDS // SAMPLE_RATE, pcm[first:last])


def _stretch(start_s: float, parts: Sequence[bytes]) -> Voiced:
    return Voiced(round(start_s * MICROSECONDS), np.frombuffer(b"".join(parts), dtype=np.int16))


class PocketSphinxTranscriber:
    """English through PocketSphinx. A word's confidence is its posterior in the word lattice, which is pessimistic."""

    id = "pocketsphinx-en"
    languages = frozenset({"en"})

    def __init__(self) -> None:
        self._decoder: Any = None

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        return [utterance for sound in sounds for utterance in self._transcribe(sound)]

    def _transcribe(self, sound: Sound) -> Iterator[Utterance]:
        for stretch in voiced(sound):
            words = self._decode(sound, stretch)
            if not words:
                continue
            confidence = float(np.average([one.confidence for one in words], weights=[len(one.text) for one in words]))
            if confidence < _LEAST_CONFIDENCE:
                continue
            span = Span(words[0].span.start, words[-1].span.end)
            text = " ".join(one.text for one in words)
            pts = sound.pts + (span.start - sound.moment)
            yield Utterance(sound.stream, sound.epoch, pts, span, text, confidence, tuple(words))

    def _decode(self, sound: Sound, stretch: Voiced) -> list[Word]:
        if self._decoder is None:
            from pocketsphinx import Decoder

            # Normalising over the utterance, not over what was heard before, keeps results independent of order.
            self._decoder = Decoder(samprate=SAMPLE_RATE, cmn="batch", loglevel="FATAL")
        decoder = self._decoder
        decoder.reinit_feat()  # forgets the noise level that it tracked
        decoder.start_utt()
        decoder.process_raw(stretch.samples.tobytes(), full_utt=True)
        decoder.end_utt()
        base = sound.moment + stretch.offset_us
        words = []
        for segment in decoder.seg() or ():
            text = re.sub(r"\(\d+\)$", "", segment.word)
            if _MARKUP.match(text):
                continue
            start = Moment(base + segment.start_frame * _FRAME_US)
            end = Moment(base + (segment.end_frame + 1) * _FRAME_US)
            words.append(Word(Span(start, end), text, float(min(max(segment.prob, 0.0), 1.0))))
        return words


class Aligner:
    """When each word of a known text was said, by PocketSphinx: what it recognises badly it places well."""

    def __init__(self) -> None:
        self._decoder: Any = None

    def align(self, words: Sequence[str], samples: Pcm) -> list[tuple[int, int]]:
        """(start, end) in microseconds of each of `words` in int16 [N]. Words it cannot say share what lies between."""
        if self._decoder is None:
            from pocketsphinx import Decoder

            self._decoder = Decoder(samprate=SAMPLE_RATE, cmn="batch", loglevel="FATAL", lm=None)
        known = [place for place, word in enumerate(words) if word and self._decoder.lookup_word(word)]
        found = self._found([words[place] for place in known], samples)
        placed = dict(zip(known, found, strict=True)) if len(found) == len(known) else {}
        for place in set(range(len(words))) - set(known):
            # What it was not told of it took for part of the neighbours.
            placed.pop(place - 1, None)
            placed.pop(place + 1, None)
        length = len(samples) * MICROSECONDS // SAMPLE_RATE
        return list(_filled(words, placed, length))

    def _found(self, words: Sequence[str], samples: Pcm) -> list[tuple[int, int]]:
        decoder = self._decoder
        if not words:
            return []
        decoder.reinit_feat()
        decoder.set_align_text(" ".join(words))
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
        return [
            (segment.start_frame * _FRAME_US, (segment.end_frame + 1) * _FRAME_US)
            for segment in decoder.seg() or ()
            if not _MARKUP.match(segment.word)
        ]


def _filled(words: Sequence[str], placed: Mapping[int, tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """The words that were placed, and between them the others, each as long as it is written."""
    at = 0
    while at < len(words):
        if at in placed:
            yield placed[at]
            at += 1
            continue
        end = next((place for place in range(at, len(words)) if place in placed), len(words))
        first = placed[at - 1][1] if at else 0
        last = placed[end][0] if end < len(words) else length
        sizes = np.array([len(word) + 1 for word in words[at:end]])
        edges = first + np.concatenate([[0], np.cumsum(sizes)]) * max(last - first, len(sizes)) // int(sizes.sum())
        for start, stop in pairwise(edges):
            yield int(start), int(max(stop, start + 1))
        at = end


class WhisperTranscriber:
    """Any Whisper checkpoint through transformers; `checkpoint` is a folder or a name on the model hub.

    `language`, as in ISO 639, is what it takes speech for where the sound does not say; without it a checkpoint that
    knows several detects which it is, stretch by stretch. Raises `Invalid` for one that the checkpoint does not know.
    """

    def __init__(self, checkpoint: str | Path, *, language: str = "", device: str = "cpu") -> None:
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        self.id = f"whisper:{checkpoint}"
        self._device = device
        self._processor = WhisperProcessor.from_pretrained(checkpoint)
        self._model = WhisperForConditionalGeneration.from_pretrained(checkpoint).to(device).eval()
        known = self._known()
        if language and language not in known.values():
            raise Invalid(
                f"{checkpoint} does not understand the language {language!r}.",
                advice=f"It knows {', '.join(sorted(known.values()))}, and detects which it is if none is given.",
            )
        self._language = language

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(self._known().values())

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        return [utterance for sound in sounds for utterance in self._transcribe(sound)]

    def _transcribe(self, sound: Sound) -> Iterator[Utterance]:
        for stretch in voiced(sound):
            size = int(_LONGEST_S * SAMPLE_RATE)
            for start in range(0, len(stretch.samples), size):
                offset = stretch.offset_us + start * MICROSECONDS // SAMPLE_RATE
                yield from self._decode(sound, Voiced(offset, stretch.samples[start : start + size]))

    def _decode(self, sound: Sound, stretch: Voiced) -> Iterator[Utterance]:
        import torch

        samples = stretch.samples.astype(np.float32) / 32768.0
        inputs = self._processor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
        with torch.inference_mode():
            heard = inputs.input_features.to(self._device, self._model.dtype)
            language = sound.language or self._language or self._detected(heard)
            tokens = self._model.generate(
                heard,
                attention_mask=inputs.attention_mask.to(self._device),
                return_timestamps=True,
                **({"language": language, "task": "transcribe"} if self._multilingual else {}),
            )
            confidence = self._confidence(heard, tokens)
        length = len(stretch.samples) * MICROSECONDS // SAMPLE_RATE
        decoded = self._processor.tokenizer.decode(
            tokens[0].cpu().numpy(), output_offsets=True, skip_special_tokens=True
        )
        for piece in decoded["offsets"]:
            text = piece["text"].strip()
            first, last = piece["timestamp"]
            start = min(round((first or 0.0) * MICROSECONDS), length)
            end = min(round(last * MICROSECONDS), length) if last is not None else length
            if text and end > start:
                moment = Moment(sound.moment + stretch.offset_us + start)
                span = Span(moment, Moment(moment + end - start))
                pts = sound.pts + (moment - sound.moment)
                yield Utterance(sound.stream, sound.epoch, pts, span, text, confidence, language=language)

    def _known(self) -> Mapping[int, str]:
        """The languages it was trained for, by their tokens; of one that knows English alone there are none."""
        if not self._multilingual:
            return {-1: "en"}
        return {token: name.strip("<|>") for name, token in self._model.generation_config.lang_to_id.items()}

    def _detected(self, heard: Any) -> str:
        """The language it takes `heard`, features float [1, mels, T], for."""
        known = self._known()
        return known[int(self._model.detect_language(heard)[0])] if self._multilingual else known[-1]

    @property
    def _multilingual(self) -> bool:
        return bool(getattr(self._model.generation_config, "is_multilingual", False))

    def _confidence(self, heard: Any, tokens: Any) -> float:
        """Mean probability (geometric) of the tokens, given what was heard."""
        if tokens.shape[1] < 2:
            return 0.0
        logits = self._model(input_features=heard, decoder_input_ids=tokens[:, :-1]).logits.float()
        chances = logits.log_softmax(dim=-1).gather(2, tokens[:, 1:, None])
        return math.exp(float(chances.mean()))
