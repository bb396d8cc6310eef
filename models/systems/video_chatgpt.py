"""Video-ChatGPT (Maaz et al. 2023, arXiv 2306.05424): a video as its mean over time and its mean over space.

    100 frames ── CLIP ViT-L/14 ──▶ [T, 256, 1024] ─┬─ mean over patches ─▶ 100 temporal tokens ─┐
                                                    └─ mean over frames  ─▶ 256 spatial tokens  ─┴─ linear ─▶ LLaMA

(section 3.1). What moves is averaged, so it is good at describing and poor at counting and at order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ingest.questions import Evidence
from ingest.records import Pixels
from models.parts.asking import Answering, told, with_material
from models.parts.clip_vision import CLIP_KEYS, ClipTower, clip_config, clip_pixels
from models.parts.decoding import Codec, Manner, Step, speak, spell
from models.parts.exhibits import Shot
from models.parts.llama_tokens import BEGIN, END, LlamaTokens
from models.parts.llava import CURIOUS_HUMAN, CURIOUS_USER, LlavaModel, hashes, llama_config, vicuna
from models.parts.pixels import stack
from models.parts.quantised import quantise
from models.weights import CPU, Hollow, KeyMap, LoadReport, Place, load

FRAMES = 100
"""Frames taken of a video, and temporal tokens whatever its length."""

_SIDE = 224
_MANNER = Manner(frozenset({END}))

_ADDED = ("<vid_patch>", "<vid_start>", "<vid_end>")

FILES = ("LLaVA-7B-Lightening-v1-1", "video_chatgpt-7B.bin", "clip-vit-large-patch14")
"""LLaVA's folder, what was trained on top of it, and CLIP's folder, under the names they are published with."""

_BASE = KeyMap(
    ignore=(r"^model\.embed_tokens\.", r"^model\.mm_projector\.", r"rotary_emb\.inv_freq$"),
    optional=(r"^model\.embed_tokens\.", r"^model\.mm_projector\."),
)
_TRAINED = KeyMap(optional=(r"^(?!model\.(embed_tokens|mm_projector)\.)",))
"""What Video-ChatGPT trained: the projector and the table of words with its three new rows. The rest is LLaVA's."""

CONVERSATIONS = {
    "video-chatgpt_v1": vicuna(
        "You are Video-ChatGPT, a large vision-language assistant. "
        "You are able to understand the video content that the user provides, "
        "and assist the user with a variety of tasks using natural language."
        "Follow the instructions carefully and explain your answers in detail based on the provided video."
    ),
    "vicuna_v1_1": vicuna(CURIOUS_USER),
    "default": hashes(
        CURIOUS_HUMAN,
        (
            "What are the key differences between renewable and non-renewable energy sources?",
            "Renewable energy sources are those that can be replenished naturally.\n",
        ),
    ),
}
"""The authors ask with the first; they trained with the second."""


def segment_middles(total: int, most: int = FRAMES) -> list[int]:
    """The authors' sampling: the middle of each of up to `most` equal segments. Short videos repeat frames."""
    count = min(total, most)
    edges = [round((total - 1) / count * index) for index in range(count + 1)]
    return [(start + end) // 2 for start, end in pairwise(edges)]


def squashed(frame: Pixels) -> Pixels:
    """uint8 [H, W, 3] -> uint8 [224, 224, 3], to the nearest pixel and without regard to the aspect ratio."""
    if frame.shape[:2] == (_SIDE, _SIDE):
        return frame
    resized = F.interpolate(stack([frame]).float(), size=(_SIDE, _SIDE))
    return resized[0].to(torch.uint8).permute(1, 2, 0).numpy()


def pool(features: Tensor) -> Tensor:
    """[T, N, C] -> [100 + N, C]: temporal tokens, zeros up to 100 of them, spatial tokens.

    The zeros are not masked: the projector's bias stands for the time after a short video's end.
    """
    temporal, spatial = features.mean(dim=1), features.mean(dim=0)
    missing = max(FRAMES - len(temporal), 0)
    return torch.cat([F.pad(temporal, (0, 0, 0, missing)), spatial])


def build_prompt(question: str, tokens: int, codec: Codec, *, rows: int, style: str = "video-chatgpt_v1") -> Tensor:
    """ids int64 [L]: the question, then places for `tokens` visual tokens, in the form of `style`.

    The last `rows` of the table of embeddings are the added tokens.
    """
    patch, start, end = range(rows - len(_ADDED), rows)
    form = CONVERSATIONS[style]
    asked = codec.encode(f"{form.opening}{question}\n")
    return torch.tensor([BEGIN, *asked, start, *[patch] * tokens, end, *codec.encode(form.closing)])


def embed(model: LlavaModel, ids: Tensor, pooled: Tensor) -> Tensor:
    """[1, L, C]: words, and the projected tokens [N, features] in the places kept for them."""
    x = model.words(ids)
    places = ids == model.model.embed_tokens.num_embeddings - len(_ADDED)
    return x.masked_scatter(places[:, None], model.project(pooled).to(x.dtype))[None]


class VideoChatGptSystem:
    """Answers about up to 100 pictures, seen as one video."""

    id = "video-chatgpt"
    report: LoadReport | None = None

    def __init__(
        self, model: LlavaModel, tower: ClipTower, words: LlamaTokens, options: Answering | None = None
    ) -> None:
        self.model, self.tower, self.words = model.eval(), tower.eval(), words
        self.options = options or Answering()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        place: Place = CPU,
        options: Answering | None = None,
    ) -> VideoChatGptSystem:
        """From a folder of the published `FILES`. The authors serve in float16."""
        base, trained, clip = (folder / name for name in FILES)
        vision, language = clip_config(clip), llama_config(base)
        spoken = language.vocab_size
        language.vocab_size = spoken + len(_ADDED)
        with Hollow():
            model, tower = LlavaModel(language, vision.hidden_size, spoken=spoken), ClipTower(vision)
        quantise(model.model.layers, place.language)
        report = load(tower, [clip], CLIP_KEYS, place)
        report += load(model, [base], _BASE, place)
        report += load(model, [trained], _TRAINED, place)
        system = cls(model, tower, LlamaTokens(base / "tokenizer.model", {}), options)
        system.report = report
        return system

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        return told(partial(self._tell, with_material(question, evidence)), self._look(evidence))

    def _tell(self, question: str, shown: Sequence[Shot]) -> Iterator[str]:
        step = self._read(question, [shot.pixels for shot in shown])
        return spell(speak(step, _MANNER, longest=self.options.longest), self.words)

    def _look(self, evidence: Evidence) -> list[Shot]:
        seen = self.options.look(evidence, FRAMES)
        if self.options.sampling == "evidence":
            return seen
        return [seen[index] for index in segment_middles(len(seen))]

    @torch.inference_mode()
    def _read(self, question: str, pictures: Sequence[Pixels]) -> Step:
        pixels = clip_pixels([squashed(picture) for picture in pictures], self.tower.size)
        pooled = pool(self.tower(pixels))
        ids = build_prompt(question, len(pooled), self.words, rows=self.model.model.embed_tokens.num_embeddings)
        return self.model.start(embed(self.model, ids.to(pooled.device), pooled))
