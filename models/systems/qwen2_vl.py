"""Qwen2-VL (Wang et al. 2024, arXiv 2409.12191): pictures and videos at their own resolution, in time and space.

    video [T, H, W] ── ViT, 2 frames per patch ──▶ T/2 x H/28 x W/28 tokens ─┐
    text            ── table                  ──▶ tokens                   ──┴─▶ Qwen2 with M-RoPE (section 2.1)

Here a video's temporal positions are the seconds between its pictures on the stream's clock: what the model was
trained with at two frames per second, and true also for evidence whose pictures lie further apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, Qwen2VLConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel, Qwen2VLTextModel

from ingest.questions import Evidence, Exhibit
from ingest.records import MICROSECONDS, Span
from models.parts.asking import Answering, rate, told, with_material
from models.parts.decoding import Manner, Step, speak, spell
from models.parts.exhibits import Shot, clock, shots
from models.parts.fast_tokens import FastTokens
from models.parts.grounding import ANSWER_LENGTH, only, when, within
from models.parts.multimodal_rope import Grid, multimodal_positions
from models.parts.quantised import quantise
from models.parts.qwen_pixels import (
    FACTOR,
    FrameBudget,
    Patches,
    PixelBudget,
    VideoBudget,
    picture_patches,
    video_patches,
)
from models.weights import CPU, Hollow, KeyMap, LoadReport, Place, load, read_config

_KEYS = KeyMap(rules=((r"^model\.visual\.", "visual."), (r"^model\.language_model\.", "model.")))
"""The published names, and those under which newer libraries save the same model."""

SYSTEM = "You are a helpful assistant."

PICTURES = 64
"""So many pictures of the evidence are looked at; the model itself could take 768."""

_STILL = PixelBudget(most=1280 * FACTOR**2)
"""The authors advise 256 to 1280 tokens for a picture."""

_CITE = "Cite what you rely on by its number, as in [1], and give times as they are given."

_LONGEST_STEP = 60
"""Seconds between two temporal positions, at most: further apart they would leave what was seen in training."""


@dataclass(frozen=True)
class Visual:
    """A picture or a video in a prompt; `steps` are the seconds of its temporal patches, None as in training."""

    patches: Patches
    steps: tuple[int, ...] | None = None
    still: bool = False

    @property
    def grid(self) -> Grid:
        """Its merged tokens: 2 x 2 patches are one."""
        time, rows, columns = self.patches.grid
        return Grid(time, rows // 2, columns // 2, self.steps)


@dataclass(frozen=True)
class Prompt:
    """ids int64 [B, L]; real bool [B, L], False at padding; visuals in the order of their tokens, row by row."""

    ids: Tensor
    real: Tensor
    visuals: tuple[Visual, ...] = ()

    def to(self, device: torch.device) -> Prompt:
        return replace(self, ids=self.ids.to(device), real=self.real.to(device))


class Qwen2VlModel(nn.Module):
    """transformers' vision tower and language model under the published names."""

    def __init__(self, config: Qwen2VLConfig) -> None:
        super().__init__()
        self.config = config
        text = config.text_config
        self.visual = Qwen2VisionTransformerPretrainedModel(config.vision_config)
        self.model = Qwen2VLTextModel(text)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = self.model.embed_tokens.weight.device
        return device

    def is_vision(self, ids: Tensor) -> Tensor:
        """bool like ids: where a visual's tokens stand."""
        marks = (self.config.image_token_id, self.config.video_token_id)
        return torch.isin(ids, torch.tensor(marks, device=ids.device))

    def positions(self, prompt: Prompt) -> Tensor:
        """int64 [3, B, L]: time, height, width. Padding takes no position and its entries mean nothing."""
        grids = iter([visual.grid for visual in prompt.visuals])
        positions = torch.zeros(3, *prompt.ids.shape, dtype=torch.long)
        for row, (ids, real) in enumerate(zip(prompt.ids.cpu(), prompt.real.cpu(), strict=True)):
            positions[:, row, real] = multimodal_positions(self.is_vision(ids[real]).tolist(), grids)
        return positions.to(prompt.ids.device)

    def embed(self, prompt: Prompt) -> Tensor:
        """[B, L, C]: words from the table, merged patches where the prompt has visuals."""
        x: Tensor = self.model.embed_tokens(prompt.ids)
        if not prompt.visuals:
            return x
        values = torch.cat([visual.patches.values for visual in prompt.visuals]).to(x.device)
        grids = torch.tensor([visual.patches.grid for visual in prompt.visuals], device=x.device)
        tokens = self.visual(values, grid_thw=grids).pooler_output
        return x.masked_scatter(self.is_vision(prompt.ids)[..., None], tokens.to(x.dtype))

    def forward(self, prompt: Prompt) -> Tensor:
        """Logits [B, L, V]."""
        states = self.model(
            inputs_embeds=self.embed(prompt),
            position_ids=self.positions(prompt),
            attention_mask=prompt.real.long(),
            use_cache=False,
        )
        return self.logits(states.last_hidden_state)

    def logits(self, states: Tensor) -> Tensor:
        """[..., C] -> [..., V]; small models share the table of embeddings."""
        if self.config.tie_word_embeddings:
            return F.linear(states, self.model.embed_tokens.weight)
        out: Tensor = self.lm_head(states)
        return out

    def start(self, prompt: Prompt) -> Step:
        """The model with the prompt before it. What it says is text: one position per token in all three rows."""
        cache, real = DynamicCache(), prompt.real
        here = self.positions(prompt)

        def step(said: Tensor | None) -> Tensor:
            nonlocal real, here
            if said is None:
                x = self.embed(prompt)
            else:
                x = self.model.embed_tokens(said)
                real, here = F.pad(real, (0, 1), value=True), here.amax(dim=(0, 2), keepdim=True).expand(3, -1, 1) + 1
            states = self.model(
                inputs_embeds=x,
                position_ids=here,
                attention_mask=real.long(),
                past_key_values=cache,
                use_cache=True,
            )
            return self.logits(states.last_hidden_state[:, -1])

        return step


def build_prompt(parts: Sequence[str | Visual], words: FastTokens, config: Qwen2VLConfig) -> Prompt:
    """One row of ChatML: the system's line, the user's `parts`, and the beginning of the answer."""
    begin, end = words.special("<|im_start|>"), words.special("<|im_end|>")
    turn = words.encode("\n")
    ids = [begin, *words.encode(f"system\n{SYSTEM}"), end, *turn, begin]
    text = "user\n"
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        pad = config.image_token_id if part.still else config.video_token_id
        places = [config.vision_start_token_id, *[pad] * part.grid.tokens, config.vision_end_token_id]
        ids += words.encode(text) + places
        text = ""
    ids += [*words.encode(text), end, *turn, begin, *words.encode("assistant\n")]
    visuals = tuple(part for part in parts if isinstance(part, Visual))
    return Prompt(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool), visuals)


def visual(shown: Sequence[Shot]) -> Visual:
    """A picture, or pictures as a video whose temporal positions are their seconds."""
    if len(shown) == 1:
        return Visual(picture_patches(shown[0].pixels, _STILL), still=True)
    return Visual(video_patches([shot.pixels for shot in shown], VideoBudget()), steps=real_steps(shown))


def plain_video(shown: Sequence[Shot]) -> Visual:
    """Pictures as the authors' pipeline takes the frames of a file: a step per pair, whatever its time."""
    return Visual(video_patches([shot.pixels for shot in shown], VideoBudget()))


def labelled(evidence: Evidence, shown: Sequence[Shot]) -> Iterator[str | Visual]:
    """Each exhibit with its number and its times on the stream's clock."""
    for number in sorted({shot.exhibit for shot in shown}):
        of_it = [shot for shot in shown if shot.exhibit == number]
        first, last = (clock(evidence, shot.stream, shot.moment) for shot in (of_it[0], of_it[-1]))
        yield f"[{number}] from {first} to {last}: "
        yield visual(of_it)
        yield "\n"


def real_steps(shown: Sequence[Shot]) -> tuple[int, ...]:
    """Each pair's seconds after the first picture; ascending by 1 to 60 even where the pictures' do not."""
    at = [round((shot.moment - shown[0].moment) / MICROSECONDS) for shot in shown[::2]]
    steps = [0]
    for before, after in pairwise(at):
        steps.append(steps[-1] + min(max(after - before, 1), _LONGEST_STEP))
    return tuple(steps)


class Qwen2VlSystem:
    """Answers about exhibits as numbered videos with their times, and says when something happens in one."""

    id = "qwen2-vl"
    report: LoadReport | None = None

    def __init__(
        self, model: Qwen2VlModel, words: FastTokens, manner: Manner, options: Answering | None = None
    ) -> None:
        self.model, self.words, self.manner = model.eval(), words, manner
        self.options = options or Answering()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        place: Place = CPU,
        options: Answering | None = None,
    ) -> Qwen2VlSystem:
        """From a published folder: Qwen2-VL-2B-Instruct, 7B, 72B. The authors serve in bfloat16."""
        config = Qwen2VLConfig(**read_config(folder, "vision_config"))
        with Hollow():
            model = Qwen2VlModel(config)
        quantise(model.model.layers, place.language)
        report = load(model, [folder], _KEYS, place)
        manner = Manner.read(folder, otherwise=config.text_config.eos_token_id)
        system = cls(model, FastTokens(folder / "tokenizer.json"), manner, options)
        system.report = report
        return system

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        shown, asked = self.options.look(evidence, PICTURES), with_material(question, evidence)
        if self.options.sampling == "official":
            chosen = [shown[index] for index in FrameBudget().indices(len(shown), rate(shown))]
            return told(lambda some: self._say([plain_video(some), asked], self.options.longest), chosen)
        parts = partial(labelled, evidence)
        return told(lambda some: self._say([*parts(some), f"{asked}\n{_CITE}"], self.options.longest), shown)

    def ground(self, event: str, evidence: Evidence) -> list[Span]:
        seen = [exhibit for exhibit in evidence.exhibits if exhibit.pictures]
        return [span for exhibit in seen if (span := self._ground(event, exhibit, evidence))]

    def _ground(self, event: str, exhibit: Exhibit, evidence: Evidence) -> Span | None:
        shown = shots(only(exhibit, evidence), PICTURES)
        said = "".join(self._say([visual(shown), when(event)], ANSWER_LENGTH))
        return within(said, shown[0].moment, exhibit)

    def _say(self, parts: Sequence[str | Visual], longest: int) -> Iterator[str]:
        prompt = build_prompt(parts, self.words, self.model.config).to(self.model.device)
        said = speak(self.model.start(prompt), self.manner, longest=longest, prompt=prompt.ids)
        return spell(said, self.words)
