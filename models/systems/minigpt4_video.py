"""MiniGPT4-video (Ataallah et al., CVPR workshops 2024, arXiv 2404.03413): pictures and speech in turn.

    frame t ── EVA-CLIP ViT-g ──▶ 256 tokens ── four neighbours of a row as one ─▶ 64 ── linear ─▶ ┐
    what was said since frame t-1 ──────────────────────────────────────────────▶ words ───────────┴▶ LLaMA-2 or Mistral

(section 3). Up to 45 pictures for LLaMA-2, 90 for Mistral, each followed by the speech that belongs to it; the language
model has low-rank adapters (Hu et al., ICLR 2022) in its queries and values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from ingest.questions import Evidence
from ingest.records import Observation
from models.parts import eva_vit
from models.parts.asking import Answering, told
from models.parts.decoding import spell
from models.parts.eva_vit import EvaConfig, EvaVit, seen
from models.parts.exhibits import Shot, said
from models.parts.generation import Decoding, answer_loss, generate
from models.parts.interleave import HERE, Slot, SlottedWords, interleave
from models.parts.pixels import IMAGENET_STATISTICS, normalise, squash
from models.parts.prompts import NOTICE, disarm
from models.parts.quantised import quantise
from models.parts.sampling import spaced
from models.weights import CPU, Hollow, KeyMap, LoadReport, Place, load

_NEIGHBOURS = 4

LLAMA2_7B = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "rms_norm_eps": 1e-5,
}
MISTRAL_7B = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "sliding_window": None,
}


@dataclass(frozen=True)
class MiniGpt4VideoConfig:
    """The defaults are the published model with LLaMA-2; `family` and `language` change together."""

    vit: EvaConfig = field(default_factory=EvaConfig)
    family: Literal["llama", "mistral"] = "llama"
    language: dict[str, Any] = field(default_factory=lambda: dict(LLAMA2_7B))
    rank: int = 64
    alpha: float = 16.0

    @property
    def frames(self) -> int:
        """Pictures the language model has room for."""
        return 45 if self.family == "llama" else 90

    @property
    def words(self) -> int:
        """Words of speech after which no more is printed."""
        return 400 if self.family == "llama" else 800

    @property
    def context(self) -> int:
        """Embeddings of a prompt that are kept, the last ones."""
        return 3700 if self.family == "llama" else 7500


_LLM = "llama_model.base_model.model."

KEYS = KeyMap(
    rules=(
        eva_vit.RULE,
        (r"^model\.", _LLM + "model."),  # a LLaMA-2 or Mistral folder
        (r"^lm_head\.", _LLM + "lm_head.0."),
    ),
    ignore=(
        *eva_vit.UNUSED,
        r"rotary_emb\.inv_freq$",
    ),
    optional=(r"^ln_vision\.",),  # published without: the norm then has weight one and bias zero
)
"""Official files, in this order: the ViT, the folder of the language model, the trained part."""


class LoraLinear(nn.Linear):
    """A frozen layer W and a low-rank change to it: x W + s (x A) B (Hu et al. 2022, section 4.1)."""

    def __init__(self, inward: int, outward: int, rank: int, scale: float) -> None:
        super().__init__(inward, outward, bias=False)
        self.scale = scale
        self.lora_A = nn.Linear(inward, rank, bias=False)
        self.lora_B = nn.Linear(rank, outward, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class names it so
        changed: Tensor = self.lora_B(self.lora_A(input)) * self.scale
        return super().forward(input) + changed


class _Adapted(nn.Module):
    """The language model under the names its adapters gave it."""

    def __init__(self, config: MiniGpt4VideoConfig) -> None:
        super().__init__()
        if config.family == "mistral":
            causal = MistralForCausalLM(MistralConfig(**config.language))
        else:
            causal = LlamaForCausalLM(LlamaConfig(**config.language))
        causal.lm_head = nn.Sequential(causal.lm_head)
        scale = config.alpha / config.rank
        for layer in causal.model.layers:
            attention = layer.self_attn
            for name in ("q_proj", "v_proj"):
                plain = getattr(attention, name)
                setattr(attention, name, LoraLinear(plain.in_features, plain.out_features, config.rank, scale))
        self.base_model = nn.Module()
        self.base_model.model = causal


class MiniGpt4Video(nn.Module):
    """The module tree under its official names, and the steps from pixels to logits."""

    def __init__(self, config: MiniGpt4VideoConfig) -> None:
        super().__init__()
        self.config = config
        self.visual_encoder = EvaVit(config.vit)
        self.ln_vision = nn.LayerNorm(config.vit.width)
        self.llama_proj = nn.Linear(_NEIGHBOURS * config.vit.width, config.language["hidden_size"])
        self.llama_model = _Adapted(config)

    @property
    def language(self) -> Any:
        """The causal language model."""
        return self.llama_model.base_model.model

    def encode(self, pictures: Tensor) -> Tensor:
        """Normalised pictures [T, 3, H, W] to tokens with the class token, [T, N, C]."""
        return seen(self.visual_encoder, self.ln_vision, pictures)

    def project(self, joined: Tensor) -> Tensor:
        """Joined tokens [T, n, 4C] to [T, n, D]."""
        told: Tensor = self.llama_proj(joined.to(self.llama_proj.weight.dtype))
        return told

    def see(self, pictures: Tensor) -> Tensor:
        """Normalised pictures [T, 3, H, W] to tokens for the language model, [T, 64, D]."""
        return self.project(join_neighbours(self.encode(pictures)[:, 1:]))

    def embed(self, ids: Sequence[Sequence[int]], told: Sequence[Tensor]) -> Tensor:
        """A prompt of segments with pictures [n, D] between them, [1, L, D], cut from the left to the context."""
        row = interleave(ids, told, self.language.get_input_embeddings())
        return row[:, -self.config.context :]

    def loss(self, embeddings: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of `labels` int64 [B, L] (-100: not asked for) for embeddings [B, L, D]."""
        logits = self.language(inputs_embeds=embeddings, attention_mask=mask, use_cache=False).logits
        return answer_loss(logits, labels)


def join_neighbours(tokens: Tensor) -> Tensor:
    """Each four tokens in a row of the picture as one: [T, N, C] to [T, N / 4, 4C] (section 3.2)."""
    frames, count, width = tokens.shape
    return tokens.reshape(frames, count // _NEIGHBOURS, _NEIGHBOURS * width)


def pad_left(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Prompts [1, L_i, D] as a batch [B, L, D] with zeros before the shorter ones, and its mask int64 [B, L]."""
    longest = max(row.shape[1] for row in rows)
    batch = torch.cat([F.pad(row, (0, 0, longest - row.shape[1], 0)) for row in rows])
    mask = torch.stack([F.pad(torch.ones_like(row[0, :, 0]), (longest - row.shape[1], 0)) for row in rows])
    return batch, mask.to(torch.int64)


# --- what it is told ------------------------------------------------------------------------------------------------

Parts = list[str | Slot]

_OPENINGS = {"demo": "<s>[INST] ", "benchmark": "<s>[INST]  ", "training": "[INST] "}
_CLOSINGS = {"demo": " [/INST]", "benchmark": " [/INST]", "training": "[/INST]"}


def prompt(captions: Sequence[str], question: str, path: Literal["demo", "benchmark", "training"] = "demo") -> Parts:
    """A picture for each caption, the caption behind it, then the question; blanks as in the authors' `path`."""
    parts: Parts = [_OPENINGS[path]]
    for caption in captions:
        parts += ["<Img>", HERE, f"<Cap>{caption}" if caption else ""]
    return [*parts, f"\n{question}", _CLOSINGS[path]]


def clean(answer: str) -> str:
    """The answer without what the authors cut off."""
    return answer.partition("</s>")[0].replace("<s>", "").rpartition("[/INST]")[2].strip()


def speech(shown: Sequence[Shot], heard: Sequence[Observation], *, words: int) -> list[str]:
    """What was read or heard up to each picture and not before, as data; no more once `words` are told."""
    waiting, told, captions = list(heard), 0, []
    for shot in shown:
        now = [one for one in waiting if one.stream == shot.stream and one.span.start <= shot.moment]
        waiting = [one for one in waiting if one not in now]
        caption = "".join(disarm(one.text) + " " for one in now) if told < words else ""
        told += len(caption.split())
        captions.append(caption)
    return captions


@dataclass(frozen=True)
class MiniGpt4VideoOptions:
    """How the system is used. Official sampling pads to the full number of pictures with copies of the last."""

    answering: Answering = field(default_factory=Answering)


FILES = (eva_vit.FILE, "llm", "video_llama_checkpoint_best.pth")
"""What is loaded, in this order; "llm" is the folder of the language model. Mistral's checkpoint has its own name."""


class MiniGpt4VideoSystem:
    """MiniGPT4-video behind the `VideoSystem` seam."""

    id = "minigpt4-video"

    def __init__(self, model: MiniGpt4Video, words: SlottedWords, options: MiniGpt4VideoOptions) -> None:
        self.model = model.eval()
        self.words = words
        self.options = options
        self.report: LoadReport | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        config: MiniGpt4VideoConfig | None = None,
        options: MiniGpt4VideoOptions | None = None,
        *,
        place: Place = CPU,
    ) -> MiniGpt4VideoSystem:
        """From a folder of the published files. Raises `NotFound` and `WrongWeights`."""
        config = config or MiniGpt4VideoConfig()
        with Hollow():
            model = MiniGpt4Video(config)
        quantise(model.language.model.layers, place.language)
        files = [folder / name.replace("llama", config.family) for name in FILES]
        report = load(model, files, KEYS, place)
        words = SlottedWords(folder / "llm" / "tokenizer.model")
        system = cls(model, words, options or MiniGpt4VideoOptions())
        system.report = report
        return system

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        """The pictures of the evidence in order of time, what was said and read between them."""
        shown = self.options.answering.look(evidence, self.model.config.frames)
        if self.options.answering.sampling == "official":
            shown = [shown[index] for index in spaced(len(shown), self.model.config.frames)]
            shown += shown[-1:] * (self.model.config.frames - len(shown))
        return told(partial(self._tell, question, said(evidence)), shown)

    def _tell(self, question: str, heard: Sequence[Observation], shown: Sequence[Shot]) -> Iterator[str]:
        official = self.options.answering.sampling == "official"
        captions = speech(shown, heard, words=self.model.config.words)
        asked = f"{NOTICE} text behind <Cap>.\n{question}" if any(captions) and not official else question
        side = self.model.config.vit.image_size
        with torch.no_grad():
            pictures = torch.stack([squash(shot.pixels, side) for shot in shown])
            told = self.model.see(normalise(pictures, IMAGENET_STATISTICS).to(self._device))
            row = self.model.embed(self.words.encode(prompt(captions, asked)), list(told))
        how = Decoding(max_length=self.options.answering.longest + 1, first=1, repetition_penalty=1.5)
        steps = generate(self.model.language, row, torch.ones_like(row[..., 0], dtype=torch.int64), how)
        yield from spell((int(step) for step in steps), self.words.llama)

    @property
    def _device(self) -> torch.device:
        return self.model.llama_proj.weight.device
