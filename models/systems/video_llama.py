"""Video-LLaMA (Zhang et al., EMNLP 2023 demonstrations, arXiv 2306.02858): what is seen and what is heard.

    frame t ── EVA-CLIP ViT-g ──▶ Q-Former ──▶ 32 tokens + frame position t ─▶ video Q-Former ── linear ─▶ 32 ─┐
    2 s of sound ── ImageBind ──▶ 1 token + clip position ───────────────────▶ audio Q-Former ── linear ─▶  8 ─┴▶ LLaMA

(sections 2.1.1 and 2.1.2). It never heard a sound in training: ImageBind's pictures stood in, whose embeddings have
norm 1 where those of sounds have norm 20.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from ingest.questions import Evidence
from ingest.records import SAMPLE_RATE, Sound
from models.parts import eva_vit
from models.parts.asking import Answering, rate, told, with_material
from models.parts.decoding import spell
from models.parts.eva_vit import EvaConfig, EvaVit, seen
from models.parts.exhibits import Shot, clock
from models.parts.generation import Decoding, answer_loss, generate
from models.parts.imagebind import ImageBind, ImageBindConfig
from models.parts.interleave import HERE, Slot, SlottedWords, interleave
from models.parts.mel import Clips, mel_clips
from models.parts.pixels import normalise, squash
from models.parts.qformer import QFormer, QFormerConfig
from models.parts.quantised import quantise
from models.parts.sampling import frames_message, strided
from models.weights import CPU, Hollow, KeyMap, LoadReport, Place, load

LLAMA2_7B = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "rms_norm_eps": 1e-6,
}


@dataclass(frozen=True)
class VideoLlamaConfig:
    """The defaults are the published 7B model."""

    vit: EvaConfig = field(default_factory=EvaConfig)
    qformer: QFormerConfig = field(default_factory=lambda: QFormerConfig(vocabulary=None))
    imagebind: ImageBindConfig = field(default_factory=ImageBindConfig)
    queries: int = 32
    video_queries: int = 32
    audio_queries: int = 8
    frames: int = 32
    clips: int = 8
    language: dict[str, Any] = field(default_factory=lambda: dict(LLAMA2_7B))

    def over_time(self, width: int) -> QFormerConfig:
        """Of the two Q-Formers that look along time: two layers, both with cross-attention."""
        small = self.qformer
        return QFormerConfig(2, small.hidden, small.heads, small.intermediate, width, 1, None, small.positions)


KEYS = KeyMap(
    rules=(
        eva_vit.RULE,
        (r"^(modality_\w+\.)", r"audio_encoder.\1"),  # imagebind_huge.pth
        (r"^(model\.|lm_head\.)", r"llama_model.\1"),  # a LLaMA folder
    ),
    ignore=(
        *eva_vit.UNUSED,
        r"rotary_emb\.inv_freq$",
        # BLIP-2's Q-Former also read and wrote; this one only looks
        r"^Qformer\.(cls\.|bert\.embeddings\.(word|position)_embeddings\.|bert\.encoder\.layer\.\d+\.(intermediate|output)\.)",
        r"^(t5_proj|t5_model|vision_proj|text_proj|itm_head|temp$)",
    ),
    optional=(r"position_ids$",),
)
"""Official files, in this order: the ViT, BLIP-2's, ImageBind's, the LLaMA folder, the visual and the audio branch."""


class VideoLlama(nn.Module):
    """The module tree under its official names, and the steps from pixels and sound to tokens."""

    def __init__(self, config: VideoLlamaConfig) -> None:
        super().__init__()
        self.config = config
        hidden, width = config.qformer.hidden, config.imagebind.width
        language = LlamaConfig(**config.language)
        self.visual_encoder = EvaVit(config.vit)
        self.ln_vision = nn.LayerNorm(config.vit.width)
        self.query_tokens = nn.Parameter(torch.empty(1, config.queries, hidden))
        self.Qformer = QFormer(config.qformer)
        self.video_frame_position_embedding = nn.Embedding(config.frames, hidden)
        self.video_query_tokens = nn.Parameter(torch.empty(1, config.video_queries, hidden))
        self.video_Qformer = QFormer(config.over_time(hidden))
        self.llama_proj = nn.Linear(hidden, language.hidden_size)
        self.audio_encoder = ImageBind(config.imagebind)
        self.audio_position_embedding = nn.Embedding(config.clips, width)
        self.audio_query_tokens = nn.Parameter(torch.empty(1, config.audio_queries, hidden))
        self.audio_Qformer = QFormer(config.over_time(width))
        self.audio_llama_proj = nn.Linear(hidden, language.hidden_size)
        self.llama_model = LlamaForCausalLM(language)

    def encode(self, pictures: Tensor) -> Tensor:
        """Normalised pictures [N, 3, H, W] to visual tokens [N, n, C]."""
        return seen(self.visual_encoder, self.ln_vision, pictures)

    def describe(self, visual: Tensor) -> Tensor:
        """Visual tokens [N, n, C] to what the image Q-Former says of each picture, [N, Q, hidden]."""
        rows: Tensor = self.Qformer(self.query_tokens.expand(len(visual), -1, -1), visual)
        return rows

    def along_time(self, described: Tensor) -> Tensor:
        """[B, T, Q, hidden] to a row with positions of frames, [B, T * Q, hidden]."""
        frames = self.video_frame_position_embedding.weight[: described.shape[1]]
        placed: Tensor = described + frames[None, :, None]
        return placed.flatten(1, 2)

    def summarise(self, row: Tensor) -> Tensor:
        """A row of any length [B, n, hidden] to tokens for the language model, [B, Qv, D]."""
        told: Tensor = self.llama_proj(self.video_Qformer(self.video_query_tokens.expand(len(row), -1, -1), row))
        return told

    def see(self, clip: Tensor) -> Tensor:
        """A clip [B, 3, T, H, W], T at most the frames it has positions for, to [B, Qv, D]. A picture is T = 1."""
        pictures = clip.transpose(1, 2).flatten(0, 1)
        described = self.describe(self.encode(pictures))
        return self.summarise(self.along_time(described.view(len(clip), -1, *described.shape[1:])))

    def hear(self, clips: Tensor) -> Tensor:
        """Log-mel pictures [B, S, 1, 128, 204] to [B, Qa, D]."""
        _, embeddings = self.audio_encoder.hear(clips.flatten(0, 1))
        return self.listen(embeddings.view(*clips.shape[:2], -1))

    def hear_pictures(self, frames: Tensor) -> Tensor:
        """Frames [B, S, 3, 224, 224] in the place of sounds, as in training, to [B, Qa, D]."""
        _, embeddings = self.audio_encoder.see(frames.flatten(0, 1))
        return self.listen(embeddings.view(*frames.shape[:2], -1))

    def listen(self, embeddings: Tensor) -> Tensor:
        """ImageBind's embeddings [B, S, width] to [B, Qa, D]."""
        placed = embeddings + self.audio_position_embedding.weight[: embeddings.shape[1]]
        heard = self.audio_Qformer(self.audio_query_tokens.expand(len(placed), -1, -1), placed)
        told: Tensor = self.audio_llama_proj(heard)
        return told

    def loss(self, embeddings: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of `labels` int64 [B, L] (-100: not asked for) for embeddings [B, L, D]."""
        logits = self.llama_model(inputs_embeds=embeddings, attention_mask=mask, use_cache=False).logits
        return answer_loss(logits, labels)


# --- what it is told ------------------------------------------------------------------------------------------------

Parts = list[str | Slot]
"""A message: text, and places for what is seen and heard."""

SYSTEM = (
    "You are able to understand the visual content that the user provides. "
    "Follow the instructions carefully and explain your answers in detail."
)


def video_message(frames: str) -> Parts:
    """A video, and in words when its frames were taken."""
    return ["<Video>", HERE, f"</Video> {frames}"]


def image_message() -> Parts:
    return ["<Image>", HERE, "</Image> "]


def audio_video_message() -> Parts:
    """A sound and a video, with the blanks that the authors' line breaks left in it; they are part of the prompt."""
    return [
        "Close your eyes, open your ears and you imagine only based on the sound that: ",
        HERE,
        "." + " " * 17 + "Close your ears, open your eyes and you see that <Video>",
        HERE,
        "</Video>." + " " * 18 + "Now answer my question based on what you have just seen and heard.",
    ]


def vicuna_prompt(system: str, turns: Sequence[tuple[Parts, str | None]]) -> Parts:
    """Turns of message and answer, the last not yet answered, as Vicuna v0 was trained."""
    prompt: Parts = [f"{system}###"]
    for message, answer in turns:
        prompt += ["Human: ", *message, "###Assistant:"]
        if answer is not None:
            prompt.append(f" {answer}###")
    return prompt


def llama2_prompt(system: str, turns: Sequence[tuple[Parts, str | None]]) -> Parts:
    """The same as LLaMA-2-chat was trained."""
    prompt: Parts = []
    for number, (message, answer) in enumerate(turns):
        opening = f"[INST] <<SYS>>\n{system}\n<</SYS>>\n\n" if number == 0 else "<s>[INST] "
        prompt += [opening, *message, " [/INST]"]
        if answer is not None:
            prompt.append(f" {answer} </s>")
    return prompt


@dataclass(frozen=True)
class VideoLlamaOptions:
    """How the system is used.

    template goes with the language model: the first series has Vicuna, the second LLaMA-2
    frames   pictures of an answer, at most 32
    context  embeddings of prompt and answer; a longer prompt loses its beginning
    """

    template: Literal["vicuna", "llama2"] = "llama2"
    frames: int = 8
    context: int = 2000
    answering: Answering = field(default_factory=lambda: Answering(longest=300))


FILES = (
    eva_vit.FILE,
    "blip2_pretrained_flant5xxl.pth",
    "imagebind_huge.pth",
    "llm",
    "VL_LLaMA_2_7B_Finetuned.pth",
    "AL_LLaMA_2_7B_Finetuned.pth",
)
"""What is loaded, in this order; "llm" is the LLaMA folder."""


class VideoLlamaSystem:
    """Video-LLaMA behind the `VideoSystem` seam."""

    id = "video-llama"

    def __init__(self, model: VideoLlama, words: SlottedWords, options: VideoLlamaOptions) -> None:
        self.model = model.eval()
        self.words = words
        self.options = options
        self.report: LoadReport | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        config: VideoLlamaConfig | None = None,
        options: VideoLlamaOptions | None = None,
        *,
        place: Place = CPU,
    ) -> VideoLlamaSystem:
        """From a folder of the published files. Raises `NotFound` and `WrongWeights`."""
        with Hollow():
            model = VideoLlama(config or VideoLlamaConfig())
        quantise(model.llama_model.model.layers, place.language)
        report = load(model, [folder / name for name in FILES], KEYS, place)
        words = SlottedWords(folder / "llm" / "tokenizer.model")
        system = cls(model, words, options or VideoLlamaOptions())
        system.report = report
        return system

    def answer(self, question: str, evidence: Evidence, sound: Sound | None = None) -> Iterator[str]:
        """What is seen in the pictures of the evidence and, if given, heard in `sound`."""
        asked, seen = (
            f" {with_material(question, evidence)}",
            self.options.answering.look(evidence, self.options.frames),
        )
        shown = [seen[index] for index in strided(len(seen), self.options.frames)] if self._official else seen

        def tell(some: list[Shot]) -> Iterator[str]:
            if sound is not None:
                return self._tell([*audio_video_message(), asked], "", some, sound)
            if self._official:
                when = frames_message([seen.index(shot) for shot in some], rate(seen))
            else:
                times = ", ".join(clock(evidence, shot.stream, shot.moment) for shot in some)
                when = f"The video contains {len(some)} frames sampled at {times}. "
            return self._tell([*video_message(when), asked], SYSTEM, some, None)

        return told(tell, shown)

    def _tell(self, message: Parts, system: str, shown: Sequence[Shot], sound: Sound | None) -> Iterator[str]:
        side = self.model.config.vit.image_size
        clip = normalise(torch.stack([squash(shot.pixels, side) for shot in shown])).transpose(0, 1).unsqueeze(0)
        with torch.no_grad():
            tokens = [self.model.see(clip.to(self._device))[0]]
            if sound is not None:
                how = Clips(count=self.model.config.clips)
                clips = mel_clips(torch.from_numpy(sound.samples)[None], SAMPLE_RATE, how)
                tokens.insert(0, self.model.hear(clips[None].to(self._device))[0])
        yield from self._speak(message, system, tokens)

    def _speak(self, message: Parts, system: str, told: Sequence[Tensor]) -> Iterator[str]:
        template = vicuna_prompt if self.options.template == "vicuna" else llama2_prompt
        longest = self.options.answering.longest
        with torch.no_grad():
            ids = self.words.encode(template(system, [(message, None)]))
            prompt = interleave(ids, told, self.model.llama_model.get_input_embeddings())
        prompt = prompt[:, max(prompt.shape[1] + longest - self.options.context, 0) :]
        how = Decoding(max_length=longest + 1, first=1, sample=self._official, top_p=0.9)
        steps = generate(self.model.llama_model, prompt, torch.ones_like(prompt[..., 0], dtype=torch.int64), how)
        yield from spell((int(step) for step in steps), self.words.llama, stop="###")

    @property
    def _official(self) -> bool:
        return self.options.answering.sampling == "official"

    @property
    def _device(self) -> torch.device:
        return self.model.query_tokens.device
