"""CogVLM2-Video (Hong et al. 2024, arXiv 2408.16500): up to 24 pictures, each followed by its second in words.

    picture [3, 224, 224] ── EVA2-CLIP-E ──▶ 66 vectors ─┐
    second 7              ── "7"         ──▶ time token ─┴─▶ … the next picture … ── question ─▶ Llama 3

It was tuned to find when things happen by these seconds: here they count from the first picture of the evidence on
the stream's own clock, not from the first frame of a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache

from ingest.questions import Evidence, Exhibit
from ingest.records import MICROSECONDS, Moment, Pixels, Span
from models.parts.asking import Answering, told, with_material
from models.parts.cogvlm_decoder import CogDecoder, CogDecoderConfig, cog_positions
from models.parts.decoding import Codec, Manner, Step, speak, spell
from models.parts.eva2_clip import Eva2Clip, Eva2ClipConfig
from models.parts.exhibits import Shot, clock, shots
from models.parts.fast_tokens import FastTokens
from models.parts.grounding import ANSWER_LENGTH, only, when, within
from models.parts.pixels import normalise, stack
from models.parts.quantised import quantise
from models.weights import CPU, Hollow, KeyMap, LoadReport, Place, load, read_config

PICTURES = 24
"""At most so many pictures, as in training."""

Style = Literal["chat", "vqa", "base"]
"""chat: pictures with time tokens, a sentence as answer. vqa: without, a word. base: the query is all the text."""

_ANSWERS = {"chat": "Answer:", "vqa": "Short answer:"}
_TEXT, _VISION = 0, 1

_SECONDS = re.compile(r"\d\s*s(?:ec|econds?)?\b|\bseconds?\b", re.IGNORECASE)


@dataclass(frozen=True)
class CogVlm2Config:
    """What the published config.json says, as far as it matters."""

    language: CogDecoderConfig
    vision: Eva2ClipConfig
    bos: int
    eos: int
    pad: int

    @classmethod
    def of(cls, published: dict[str, Any]) -> CogVlm2Config:
        """From the content of config.json."""
        vision = published["vision_config"]
        language = CogDecoderConfig(
            vocab_size=published["vocab_size"],
            hidden_size=published["hidden_size"],
            intermediate_size=published["intermediate_size"],
            num_hidden_layers=published["num_hidden_layers"],
            heads=published["num_attention_heads"],
            kv_heads=published["num_multi_query_heads"],
            rms_norm_eps=published["rms_norm_eps"],
        )
        tower = Eva2ClipConfig(
            hidden_size=vision["hidden_size"],
            num_hidden_layers=vision["num_hidden_layers"],
            num_heads=vision["num_heads"],
            intermediate_size=vision["intermediate_size"],
            language_size=language.hidden_size,
            language_intermediate_size=language.intermediate_size,
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            layer_norm_eps=vision["layer_norm_eps"],
        )
        return cls(language, tower, published["bos_token_id"], published["eos_token_id"], published["pad_token_id"])


@dataclass(frozen=True)
class Prompt:
    """ids int64 [B, L]; kinds int64 [B, L], 1 where a picture's vector stands; real bool [B, L], False at padding."""

    ids: Tensor
    kinds: Tensor
    real: Tensor

    def to(self, device: torch.device) -> Prompt:
        return replace(self, ids=self.ids.to(device), kinds=self.kinds.to(device), real=self.real.to(device))


class SeeingDecoder(CogDecoder):
    """The decoder with its tower under one name, as in the checkpoint."""

    def __init__(self, config: CogVlm2Config) -> None:
        super().__init__(config.language)
        self.vision = Eva2Clip(config.vision)


class CogVlm2Model(nn.Module):
    """The whole network: prompt and pictures -> logits."""

    def __init__(self, config: CogVlm2Config) -> None:
        super().__init__()
        self.model = SeeingDecoder(config)
        self.lm_head = nn.Linear(config.language.hidden_size, config.language.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.lm_head.weight.device

    def embed(self, prompt: Prompt, pictures: Tensor | None) -> Tensor:
        """[B, L, C]: words from the table, the vectors of pictures [T, 3, S, S] in order where the prompt has them."""
        x: Tensor = self.model.embed_tokens(prompt.ids)
        if pictures is None:
            return x
        vectors = self.model.vision(pictures).flatten(0, 1).to(x.dtype)
        return x.masked_scatter((prompt.kinds == _VISION)[..., None], vectors)

    def forward(self, prompt: Prompt, pictures: Tensor | None = None) -> Tensor:
        """float32 logits [B, L, V]."""
        x = self.embed(prompt, pictures)
        x = self.model(x, cog_positions(prompt.kinds, prompt.real), prompt.real, DynamicCache())
        logits: Tensor = self.lm_head(x)
        return logits.float()

    def start(self, prompt: Prompt, pictures: Tensor | None = None) -> Step:
        """The model with the prompt before it. What it says is text, one position per token."""
        cache, real = DynamicCache(), prompt.real
        here = cog_positions(prompt.kinds, prompt.real)

        def step(said: Tensor | None) -> Tensor:
            nonlocal real, here
            if said is None:
                x = self.embed(prompt, pictures)
            else:
                x = self.model.embed_tokens(said)
                real, here = F.pad(real, (0, 1), value=True), here[:, -1:] + 1
            logits: Tensor = self.lm_head(self.model(x, here, real, cache)[:, -1])
            return logits.float()

        return step


def build_prompt(
    question: str,
    seconds: Sequence[int],
    codec: Codec,
    config: CogVlm2Config,
    *,
    style: Style = "chat",
    history: Sequence[tuple[str, str]] = (),
) -> Prompt:
    """One row: a picture for each of `seconds`, in the chat style followed by that number, then the conversation."""
    side = config.vision.image_size // config.vision.patch_size // 2
    ids, kinds = [config.bos], [_TEXT]
    for second in seconds:
        ids += [config.pad] * (side * side + 2)
        kinds += [_VISION] * (side * side + 2)
        time = codec.encode(str(second)) if style == "chat" else []
        ids += time
        kinds += [_TEXT] * len(time)
    ids += codec.encode(conversation(question, style, history))
    kinds += [_TEXT] * (len(ids) - len(kinds))
    return Prompt(torch.tensor([ids]), torch.tensor([kinds]), torch.ones(1, len(ids), dtype=torch.bool))


def conversation(question: str, style: Style, history: Sequence[tuple[str, str]] = ()) -> str:
    """The text after the pictures: no chat headers of Llama 3, plain "Question: … Answer:"."""
    if style == "base":
        return question
    cue = _ANSWERS[style]
    past = "".join(f"Question: {asked} {cue} {answered}\n" for asked, answered in history)
    return f"{past}Question: {question} {cue}"


def each_second(timestamps: Sequence[float]) -> list[int]:
    """The authors' sampling for chat: the frame nearest to every second from 0, the first 24 of them.

    `timestamps` are the starts of all frames in seconds. Longer videos are cut after 24 seconds.
    """
    times = np.asarray(timestamps)
    last = round(float(times.max()))
    return [int(np.abs(times - second).argmin()) for second in range(min(last + 1, PICTURES))]


def first_minute(total: int, rate: float) -> list[int]:
    """The authors' sampling for the base model: 24 of the first 60 seconds' frames, evenly, truncated."""
    return [int(index) for index in np.linspace(0, min(total, int(60 * rate)) - 1, PICTURES)]


def cog_pixels(frames: Tensor, size: int = 224) -> Tensor:
    """uint8 [T, 3, H, W] -> float32 [T, 3, size, size]: normalised, resized without antialiasing, cropped."""
    height, width = frames.shape[2:]
    longer = math.floor(max(height, width) / min(height, width) * size)
    target = (longer, size) if width < height else (size, longer)
    resized = F.interpolate(normalise(frames), target, mode="bilinear", align_corners=False)
    top, left = (round((side - size) / 2) for side in target)
    return resized[:, :, top : top + size, left : left + size]


class CogVlm2VideoSystem:
    """Answers about up to 24 pictures, each with its second, and says when something happens."""

    id = "cogvlm2-video"
    report: LoadReport | None = None

    def __init__(
        self,
        model: CogVlm2Model,
        words: Codec,
        config: CogVlm2Config,
        manner: Manner,
        options: Answering | None = None,
    ) -> None:
        self.model, self.words, self.config, self.manner = model.eval(), words, config, manner
        self.options = options or Answering()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        place: Place = CPU,
        options: Answering | None = None,
    ) -> CogVlm2VideoSystem:
        """From a published folder: cogvlm2-video-llama3-chat, cogvlm2-llama3-caption. The authors serve in bfloat16."""
        config = CogVlm2Config.of(read_config(folder, "vision_config", "num_multi_query_heads"))
        with Hollow():
            model = CogVlm2Model(config)
        quantise(model.model.layers, place.language)
        report = load(model, [folder], KeyMap(), place)
        system = cls(model, FastTokens(folder / "tokenizer.json"), config, Manner.read(folder, config.eos), options)
        system.report = report
        return system

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        shown, asked = self.options.look(evidence, PICTURES), with_material(question, evidence)
        first = min(shown, key=lambda shot: shot.moment)
        zero = clock(evidence, first.stream, first.moment)
        if self.options.sampling == "official":
            shown = [shown[index] for index in each_second(seconds_of(shown, first.moment))]
        return told(lambda some: on_the_clock(self._tell(asked, some, first.moment), zero), shown)

    def _tell(self, asked: str, shown: Sequence[Shot], zero: Moment) -> Iterator[str]:
        official = self.options.sampling == "official"
        seconds = range(len(shown)) if official else [round(at) for at in seconds_of(shown, zero)]
        return self._say(asked, shown, seconds, self.options.longest)

    def ground(self, event: str, evidence: Evidence) -> list[Span]:
        seen = [exhibit for exhibit in evidence.exhibits if exhibit.pictures]
        return [span for exhibit in seen if (span := self._ground(event, exhibit, evidence))]

    def _ground(self, event: str, exhibit: Exhibit, evidence: Evidence) -> Span | None:
        shown = shots(only(exhibit, evidence), PICTURES)
        seconds = [round(at) for at in seconds_of(shown, shown[0].moment)]
        said = "".join(self._say(when(event), shown, seconds, ANSWER_LENGTH))
        return within(said, shown[0].moment, exhibit)

    def _say(self, asked: str, shown: Sequence[Shot], seconds: Sequence[int], longest: int) -> Iterator[str]:
        prompt = build_prompt(asked, seconds, self.words, self.config).to(self.model.device)
        pictures = self._pixels([shot.pixels for shot in shown]).to(self.model.device)
        said = speak(self.model.start(prompt, pictures), self.manner, longest=longest, prompt=prompt.ids)
        return spell(said, self.words)

    def _pixels(self, pictures: Sequence[Pixels]) -> Tensor:
        size = self.config.vision.image_size
        return torch.cat([cog_pixels(stack([picture]), size) for picture in pictures])


def seconds_of(shown: Sequence[Shot], zero: Moment) -> list[float]:
    """Seconds of each picture after `zero`."""
    return [(shot.moment - zero) / MICROSECONDS for shot in shown]


def on_the_clock(answer: Iterator[str], zero: str) -> Iterator[str]:
    """The answer and, if it speaks of seconds, what time they count from on the stream's clock."""
    whole = ""
    for piece in answer:
        whole += piece
        yield piece
    if _SECONDS.search(whole):
        yield f" (Second 0 is {zero}.)"
