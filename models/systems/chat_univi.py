"""Chat-UniVi (Jin et al. 2024, arXiv 2311.08046): pictures and videos in the same few, dynamic visual tokens.

    frame [N, C] ──▶ 64 ──▶ 32 ──▶ 16 merged tokens                      picture: all three levels, 112 tokens
    frames ── DPC-KNN over their means ──▶ events ── merge each level ──▶ video: 112 tokens per event

(section 3.1; section 3.2 for the levels.) Coarse tokens carry what happens, fine ones how it looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ingest.errors import Invalid
from ingest.questions import Evidence
from ingest.records import Pixels
from models.parts.asking import Answering, rate, told, with_material
from models.parts.clip_vision import CLIP_KEYS, ClipTower, clip_config, clip_pixels
from models.parts.decoding import Codec, Manner, Step, speak, spell
from models.parts.exhibits import Shot
from models.parts.interleave import interleave
from models.parts.llama_tokens import BEGIN, END, LlamaTokens
from models.parts.llava import CURIOUS_HUMAN, CURIOUS_USER, LlavaModel, hashes, llama_config, vicuna
from models.parts.quantised import quantise
from models.parts.token_merging import Level, Noise, Tokens, seeded
from models.weights import CPU, Hollow, KeyMap, LoadReport, Place, load, read_config

FRAMES = 64
"""At most so many frames, in training and in the published evaluation."""

_STYLE = "v1"
_SEED = 0
_MANNER = Manner(frozenset({END}))

_KEYS = KeyMap(ignore=(r"^model\.vision_tower\.", r"rotary_emb\.inv_freq$"))
"""The tower is frozen: the authors too fill it from CLIP's own files, whatever a checkpoint holds of it."""

_ALONE = 2
"""Up to so many pictures side by side are pictures; more are a video."""

CONVERSATIONS = {
    "v1": vicuna(CURIOUS_USER),
    "simple": hashes(CURIOUS_HUMAN, ("Hi!", "Hi there! How can I help you today?")),
    "simpleqa": hashes(
        f"{CURIOUS_HUMAN}  If you don't know the answer to a question, please don't share false information.",
        (
            "Is there a snowboard in the image?",
            "Yes, there is a snowboard in the image, and the person is riding it down a snow-covered slope.",
        ),
    ),
}
"""The authors train and evaluate with the first and demonstrate with the second."""


@dataclass(frozen=True)
class Merging:
    """How many tokens each level of a frame keeps, and which share of the frames are events.

    Neighbours are the authors': 5 at the first level and over time, 3 at the others.
    """

    rates: tuple[float, float, float] = (64, 32, 16)
    events: float = 1 / 16

    @classmethod
    def of(cls, published: Mapping[str, float]) -> Merging:
        """From what config.json has under "config"."""
        first, second, third = (published[f"spatial_cluster_rate{level}"] for level in range(3))
        return cls((first, second, third), published["temporal_cluster_rate"])

    @property
    def levels(self) -> tuple[Level, Level, Level]:
        first, second, third = self.rates
        return Level(first, 5), Level(second, 3), Level(third, 3)

    def picture(self, features: Tensor, noise: Noise) -> Tensor:
        """Features [B, N, C] of B pictures -> [B, 64 + 32 + 16, C], finest first."""
        return torch.cat(self.scales(features, noise), dim=1)

    def video(self, features: Tensor, noise: Noise) -> Tensor:
        """Features [T, N, C] of a video -> [1, events * 112, C], events by their first frame."""
        events = self.segment(features, noise)
        scales = self.scales(features, noise)
        pieces = []
        for event in range(int(events.max()) + 1):
            for level, scale in zip(self.levels, scales, strict=True):
                of_event = scale[events == event].flatten(0, 1)[None]
                merged, _ = level(Tokens.original(of_event), noise)
                pieces.append(merged.x)
        return torch.cat(pieces, dim=1)

    def segment(self, features: Tensor, noise: Noise) -> Tensor:
        """int64 [T]: each frame's event, numbered in order of appearance. An event need not be contiguous."""
        means = features.mean(dim=1)[None]
        _, clusters = Level(self.events, 5)(Tokens.original(means), noise)
        member = clusters.member[0].tolist()
        order = list(dict.fromkeys(member))
        return torch.tensor([order.index(cluster) for cluster in member], device=features.device)

    def scales(self, features: Tensor, noise: Noise) -> list[Tensor]:
        """Each level merges what the one before it kept: [B, N, C] -> [B, 64, C], [B, 32, C], [B, 16, C]."""
        tokens, kept = Tokens.original(features), []
        for level in self.levels:
            tokens, _ = level(tokens, noise)
            kept.append(tokens.x)
        return kept


def one_per_second(
    total: int, rate: float, *, most: int = FRAMES, start: float | None = None, end: float | None = None
) -> list[int]:
    """The authors' sampling: a frame per second between two seconds, thinned out evenly to at most `most`."""
    stride = round(rate)
    if stride < 1:
        raise Invalid(f"A video of {rate:g} frames per second is too slow for this sampling.")
    first, last = _bounds(total, rate, start, end)
    indices = list(range(first, last + 1, stride))
    if len(indices) <= most:
        return indices
    return [indices[int(place)] for place in np.linspace(0, len(indices) - 1, most)]


def _bounds(total: int, rate: float, start: float | None, end: float | None) -> tuple[int, int]:
    """First and last frame of whole seconds, put in order and at least a second apart."""
    if start is None or end is None:
        return 0, total - 1
    early, late = sorted((max(int(start), 0), max(int(end), 0)))
    late = late + 1 if late == early else late
    return int(early * rate), int(min(late * rate, total - 1))


@dataclass(frozen=True)
class Prompt:
    """Ids before the first picture, the pictures side by side in each run, ids after the last."""

    head: tuple[int, ...]
    runs: tuple[int, ...]
    tail: tuple[int, ...]


def build_prompt(question: str, pictures: int, codec: Codec, *, style: str = _STYLE) -> Prompt:
    """The question about one run of pictures; none leaves the bare question."""
    form = CONVERSATIONS[style]
    if not pictures:
        return Prompt((BEGIN, *codec.encode(form.opening + question + form.closing)), (), ())
    asked = codec.encode(f"\n{question}{form.closing}")
    return Prompt((BEGIN, *codec.encode(form.opening)), (pictures,), tuple(asked))


def visual_tokens(features: Tensor, runs: Sequence[int], merging: Merging, noise: Noise) -> list[Tensor]:
    """Features [T, N, C] of all pictures of a prompt -> merged tokens [n, C] of each run."""
    tokens = []
    for run in torch.split(features, list(runs)):
        merged = merging.picture(run, noise) if len(run) <= _ALONE else merging.video(run, noise)
        tokens.append(merged.flatten(0, 1))
    return tokens


def embed(model: LlavaModel, prompt: Prompt, tokens: Sequence[Tensor]) -> Tensor:
    """[1, L, C]. As with the authors the head is repeated before every run, and text between runs is lost."""
    texts = [*[prompt.head] * len(tokens), prompt.tail] if tokens else [prompt.head + prompt.tail]
    return interleave(texts, [model.project(run) for run in tokens], model.model.embed_tokens)


class ChatUniViSystem:
    """Answers about up to 64 pictures, cut into events."""

    id = "chat-univi"
    report: LoadReport | None = None

    def __init__(
        self,
        model: LlavaModel,
        tower: ClipTower,
        words: LlamaTokens,
        merging: Merging,
        options: Answering | None = None,
    ) -> None:
        self.model, self.tower, self.words = model.eval(), tower.eval(), words
        self.merging, self.options = merging, options or Answering()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        place: Place = CPU,
        options: Answering | None = None,
    ) -> ChatUniViSystem:
        """From the published folder (Chat-UniVi, -13B, -v1.5) with the folder of the CLIP that it names inside.

        The authors serve in float16 and evaluate in bfloat16.
        """
        published = read_config(folder, "mm_vision_tower", "config")
        clip = folder / Path(published["mm_vision_tower"]).name
        vision = clip_config(clip)
        with Hollow():
            model, tower = LlavaModel(llama_config(folder), vision.hidden_size), ClipTower(vision)
        quantise(model.model.layers, place.language)
        report = load(tower, [clip], CLIP_KEYS, place)
        report += load(model, [folder], _KEYS, place)
        words = LlamaTokens(folder / "tokenizer.model", {})
        system = cls(model, tower, words, Merging.of(published["config"]), options)
        system.report = report
        return system

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        return told(partial(self._tell, with_material(question, evidence)), self._look(evidence))

    def _tell(self, question: str, shown: Sequence[Shot]) -> Iterator[str]:
        step = self._read(question, [shot.pixels for shot in shown])
        said = speak(step, _MANNER, longest=self.options.longest)
        return spell(said, self.words, stop=CONVERSATIONS[_STYLE].stop)

    def _look(self, evidence: Evidence) -> list[Shot]:
        seen = self.options.look(evidence, FRAMES)
        if self.options.sampling == "evidence":
            return seen
        return [seen[index] for index in one_per_second(len(seen), rate(seen))]

    @torch.inference_mode()
    def _read(self, question: str, pictures: Sequence[Pixels]) -> Step:
        features = self.tower(clip_pixels(pictures, self.tower.size))
        prompt = build_prompt(question, len(features), self.words)
        tokens = visual_tokens(features, prompt.runs, self.merging, seeded(_SEED))
        return self.model.start(embed(self.model, prompt, tokens))
