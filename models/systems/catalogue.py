"""What each system is and what it needs on disk, as data: files, where they are published, licence, size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.errors import NotFound

WEIGHTS: Final = "*.safetensors|*.bin"
_LAVIS: Final = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models"


@dataclass(frozen=True)
class Part:
    """Something that belongs into a system's folder.

    needs     glob patterns below that folder; of "a|b" one is enough
    hub       repository on the model hub that has it; `take` are the files wanted of it, put into the folder `into`
    page      where a person gets it when no hub has it
    optional  the system answers without it
    """

    about: str
    needs: tuple[str, ...]
    hub: str = ""
    take: tuple[str, ...] = ("*.json", "*.model", "*.safetensors")
    into: str = ""
    page: str = ""
    optional: bool = False

    def missing(self, folder: Path) -> list[str]:
        """The patterns that nothing in `folder` matches."""
        return [need for need in self.needs if not any(any(folder.glob(one)) for one in _alternatives(need))]


@dataclass(frozen=True)
class Entry:
    """A system as it is published. `parameters` count everything that is loaded."""

    name: str
    about: str
    paper: str
    parameters: int
    licence: str
    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        """Of the weights in half precision; float32 takes twice as much."""
        return 2 * self.parameters

    @property
    def gpu(self) -> str:
        """The smallest common graphics card it should fit on, with room for pictures and an answer: an estimate."""
        wanted = self.bytes / 1e9 * 1.15 + 1.5
        return next((f"{size} GB" for size in (8, 12, 16, 24, 40, 48, 80) if wanted <= size), "several")

    def missing(self, folder: Path) -> list[str]:
        """What keeps `folder` from being complete."""
        return [lack for part in self.parts if not part.optional for lack in part.missing(folder)]


def _alternatives(need: str) -> Iterator[str]:
    """ "clip/*.safetensors|*.bin" is either kind of file in the folder "clip"."""
    folder, _, names = need.rpartition("/")
    yield from (f"{folder}/{name}" if folder else name for name in names.split("|"))


def _folder(about: str, name: str, hub: str, tokenizer: str) -> Part:
    """A language model's folder below the system's."""
    return Part(
        about, (f"{name}/{tokenizer}", f"{name}/{WEIGHTS}"), hub, into=name, take=("*.json", "*.model", "*.bin")
    )


def _clip(folder: str = "clip-vit-large-patch14") -> Part:
    """Which CLIP it is may be said by the model beside it: `folder` is then a pattern."""
    name = "clip-vit-large-patch14"
    return Part("CLIP, the eye", (f"{folder}/config.json", f"{folder}/{WEIGHTS}"), f"openai/{name}", into=name)


_EVA = Part("EVA-CLIP ViT-g, the eye", ("eva_vit_g.pth",), page=f"{_LAVIS}/BLIP2/eva_vit_g.pth")

CATALOGUE: Final[Mapping[str, Entry]] = {
    entry.name: entry
    for entry in (
        Entry(
            "qwen2-vl",
            "strongest on one consumer GPU, says when",
            "arXiv 2409.12191",
            2_208_985_600,
            "Apache-2.0 (2B, 7B)",
            (
                Part(
                    "the model",
                    ("config.json", "tokenizer.json", WEIGHTS),
                    "Qwen/Qwen2-VL-2B-Instruct",
                ),
            ),
        ),
        Entry(
            "cogvlm2-video",
            "finds when things happen",
            "arXiv 2408.16500",
            12_507_530_496,
            "CogVLM2 and Llama 3 licences",
            (
                Part(
                    "the model",
                    ("config.json", "tokenizer.json", WEIGHTS),
                    "zai-org/cogvlm2-video-llama3-chat",
                ),
            ),
        ),
        Entry(
            "chat-univi",
            "few tokens per event, long evidence",
            "arXiv 2311.08046",
            7_045_793_792,
            "research only (LLaMA)",
            (
                Part(
                    "the model",
                    ("config.json", "tokenizer.model", WEIGHTS),
                    "Chat-UniVi/Chat-UniVi",
                    take=("*.json", "*.model", "*.bin"),
                ),
                _clip("clip-vit-*"),
            ),
        ),
        Entry(
            "video-chatgpt",
            "describes, does not count",
            "arXiv 2306.05424",
            7_045_806_080,
            "CC BY-NC-SA 4.0, research only (LLaMA)",
            (
                _folder("LLaVA", "LLaVA-7B-Lightening-v1-1", "mmaaz60/LLaVA-7B-Lightening-v1-1", "tokenizer.model"),
                Part(
                    "what was trained on top",
                    ("video_chatgpt-7B.bin",),
                    "MBZUAI/Video-ChatGPT-7B",
                    take=("video_chatgpt-7B.bin",),
                ),
                _clip(),
            ),
        ),
        Entry(
            "ma-lmm",
            "watches for ever in constant memory, answers from what it kept",
            "arXiv 2404.05726",
            7_913_324_672,
            "MIT code, research only (Vicuna)",
            (
                _EVA,
                _folder("Vicuna 1.1", "llm/vicuna-7b", "lmsys/vicuna-7b-v1.1", "tokenizer.model"),
                Part(
                    "InstructBLIP's Q-Former",
                    ("instruct_blip_vicuna7b_trimmed.pth",),
                    page=f"{_LAVIS}/InstructBLIP/instruct_blip_vicuna7b_trimmed.pth",
                ),
                Part(
                    "BERT's words",
                    ("bert-base-uncased/vocab.txt",),
                    "google-bert/bert-base-uncased",
                    take=("vocab.txt",),
                    into="bert-base-uncased",
                ),
                Part(
                    "what MA-LMM trained, per data set",
                    ("checkpoint_best.pth",),
                    page="saved_model.tar, linked from the authors' repository boheumd/MA-LMM",
                    optional=True,
                ),
            ),
        ),
        Entry(
            "video-llama",
            "sees and hears",
            "arXiv 2306.02858",
            9_075_216_000,
            "research only (LLaMA 2; ImageBind CC BY-NC-SA 4.0)",
            (
                _EVA,
                Part(
                    "BLIP-2's Q-Former",
                    ("blip2_pretrained_flant5xxl.pth",),
                    page=f"{_LAVIS}/BLIP2/blip2_pretrained_flant5xxl.pth",
                ),
                Part(
                    "ImageBind, the ear",
                    ("imagebind_huge.pth",),
                    page="https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
                ),
                _folder("LLaMA 2 chat", "llm", "meta-llama/Llama-2-7b-chat-hf", "tokenizer.model"),
                Part(
                    "both branches",
                    ("VL_LLaMA_2_7B_Finetuned.pth", "AL_LLaMA_2_7B_Finetuned.pth"),
                    "DAMO-NLP-SG/Video-LLaMA-2-7B-Finetuned",
                    take=("VL_LLaMA_2_7B_Finetuned.pth", "AL_LLaMA_2_7B_Finetuned.pth"),
                ),
            ),
        ),
        Entry(
            "minigpt4-video",
            "pictures and speech in turn",
            "arXiv 2404.03413",
            7_780_940_160,
            "BSD-3 code, LLaMA 2 licence",
            (
                _EVA,
                _folder("LLaMA 2 chat", "llm", "meta-llama/Llama-2-7b-chat-hf", "tokenizer.model"),
                Part(
                    "what was trained on top",
                    ("video_*_checkpoint_best.pth",),
                    "Vision-CAIR/MiniGPT4-Video",
                    take=("checkpoints/video_llama_checkpoint_best.pth",),
                ),
            ),
        ),
    )
}
"""The seven systems. Names, sources and licences may move or change: the authors' pages decide."""


def entry(name: str) -> Entry:
    """What is known of a system. Raises `NotFound`."""
    if name not in CATALOGUE:
        raise NotFound(f"There is no system {name!r}.", advice=f"Choose one of {', '.join(CATALOGUE)}.")
    return CATALOGUE[name]
