"""The seven systems with random weights on this machine: parameters, bytes, time per frame and per answer.

On the CPU small networks in float32 that see as many tokens per picture as the published ones; with --full, or where
there is a GPU, the published sizes in bfloat16. Evidence is 8 pictures of 640 x 360, an answer 32 tokens.

    python -m benchmarks.systems [--full] [--device cpu] [--only ma-lmm ...] [--threads 2] [--times 3]
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig, Qwen2VLConfig

from ingest.questions import Evidence, Exhibit, Hit, Picture
from ingest.records import MICROSECONDS, Moment, Span, StreamId
from models.parts.asking import Answering
from models.parts.clip_vision import ClipTower
from models.parts.decoding import Manner
from models.parts.eva_vit import EvaConfig
from models.parts.fast_tokens import FastTokens
from models.parts.imagebind import HUGE, ImageBindConfig, Tower
from models.parts.interleave import SlottedWords
from models.parts.llama_tokens import LlamaTokens
from models.parts.llava import LlavaModel
from models.parts.qformer import QFormerConfig
from models.systems.chat_univi import ChatUniViSystem, Merging
from models.systems.cogvlm2_video import CogVlm2Config, CogVlm2Model, CogVlm2VideoSystem
from models.systems.ma_lmm import MaLmm, MaLmmConfig, MaLmmOptions, MaLmmSystem, MaLmmWords
from models.systems.minigpt4_video import (
    MiniGpt4Video,
    MiniGpt4VideoConfig,
    MiniGpt4VideoOptions,
    MiniGpt4VideoSystem,
)
from models.systems.qwen2_vl import Qwen2VlModel, Qwen2VlSystem
from models.systems.video_chatgpt import VideoChatGptSystem
from models.systems.video_llama import (
    VideoLlama,
    VideoLlamaConfig,
    VideoLlamaOptions,
    VideoLlamaSystem,
)
from models.weights import Hollow

PICTURES, WORDS, BRIEF = 8, 32, 2
END = 2
VOCABULARY = 32_000

LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "rms_norm_eps": 1e-6,
}
SMALL = {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 6, "num_attention_heads": 8}
SMALL_VIT = EvaConfig(width=352, depth=6, heads=4)
SMALL_QFORMER = QFormerConfig(layers=4, hidden=256, heads=4, intermediate=1024, context_width=352)


@dataclass(frozen=True)
class Size:
    """Small or as published, and what it is built on."""

    full: bool
    device: str
    dtype: torch.dtype
    words: Path
    """Folder of made-up tokenizers: tokenizer.model, vocab.txt, tokenizer.json."""

    @property
    def llama(self) -> dict[str, Any]:
        return LLAMA if self.full else LLAMA | SMALL

    def built(self, make: Callable[[], nn.Module]) -> Any:
        """A network with random weights, whose head never says the end."""
        with Hollow():
            network = make()
        for module in network.modules():
            for name, parameter in module.named_parameters(recurse=False):
                weight = torch.empty(parameter.shape, dtype=self.dtype, device=self.device).normal_(std=0.02)
                setattr(module, name, nn.Parameter(weight, requires_grad=False))
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_meta:
                    setattr(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype))
        for name, parameter in network.named_parameters():
            if "lm_head" in name and parameter.ndim == 2 and parameter.shape[0] > END:
                parameter[END] = 0.0
        return network.to(self.device).eval()

    def clip(self) -> ClipTower:
        depth, width = (24, 1024) if self.full else (6, 256)
        config = CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=depth,
            num_attention_heads=width // 64,
            image_size=224,
            patch_size=14,
        )
        tower: ClipTower = self.built(lambda: ClipTower(config))
        return tower

    def llava(self, added: int = 0) -> LlavaModel:
        language = LlamaConfig(**self.llama | {"vocab_size": VOCABULARY + added})
        features = 1024 if self.full else 256
        model: LlavaModel = self.built(lambda: LlavaModel(language, features, spoken=VOCABULARY))
        return model


def chat_univi(size: Size, answering: Answering) -> Any:
    words = LlamaTokens(size.words / "tokenizer.model", {})
    return ChatUniViSystem(size.llava(), size.clip(), words, Merging(), answering)


def video_chatgpt(size: Size, answering: Answering) -> Any:
    return VideoChatGptSystem(size.llava(3), size.clip(), LlamaTokens(size.words / "tokenizer.model", {}), answering)


def qwen2_vl(size: Size, answering: Answering) -> Any:
    words = FastTokens(size.words / "tokenizer.json")
    names = ("vision_start", "vision_end", "image_pad", "video_pad")
    keys = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    width, depth = (1280, 32) if size.full else (256, 6)
    language = {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12}
    language = (language if size.full else SMALL) | {"num_key_value_heads": 2, "vocab_size": 151_936}
    config = Qwen2VLConfig(
        **language,
        tie_word_embeddings=True,
        rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24] if size.full else [8, 12, 12]},
        vision_config={
            "depth": depth,
            "embed_dim": width,
            "num_heads": width // 80 if size.full else 4,
            "mlp_ratio": 4,
            "hidden_size": language["hidden_size"],
        },
        **{key: words.special(f"<|{name}|>") for key, name in zip(keys, names, strict=True)},
    )
    return Qwen2VlSystem(size.built(lambda: Qwen2VlModel(config)), words, Manner(frozenset()), answering)


def cogvlm2_video(size: Size, answering: Answering) -> Any:
    width, depth, inner = (1792, 63, 15_360) if size.full else (256, 6, 1024)
    language = {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32}
    published = (language if size.full else SMALL) | {
        "num_multi_query_heads": 8 if size.full else 2,
        "vocab_size": 128_256,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 128_000,
        "eos_token_id": 128_001,
        "pad_token_id": 128_002,
        "vision_config": {
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_heads": width // 112 if size.full else 4,
            "intermediate_size": inner,
            "image_size": 224,
            "patch_size": 14,
            "layer_norm_eps": 1e-6,
        },
    }
    config = CogVlm2Config.of(published)
    words = FastTokens(size.words / "tokenizer.json")
    return CogVlm2VideoSystem(size.built(lambda: CogVlm2Model(config)), words, config, Manner(frozenset()), answering)


def ma_lmm(size: Size, answering: Answering) -> Any:
    config = MaLmmConfig(language=size.llama | {"vocab_size": VOCABULARY + 1})
    if not size.full:
        config = replace(config, vit=SMALL_VIT, qformer=SMALL_QFORMER)
    words = MaLmmWords(size.words / "vocab.txt", size.words / "tokenizer.model")
    return MaLmmSystem(size.built(lambda: MaLmm(config)), words, MaLmmOptions(answering=answering))


def video_llama(size: Size, answering: Answering) -> Any:
    config = VideoLlamaConfig(language=size.llama)
    if not size.full:
        towers = {name: Tower(64, 2, 2, HUGE[name].tokens, HUGE[name].patch) for name in HUGE}
        qformer = replace(SMALL_QFORMER, vocabulary=None)
        config = replace(config, vit=SMALL_VIT, qformer=qformer, imagebind=ImageBindConfig(128, towers))
    words = SlottedWords(size.words / "tokenizer.model")
    return VideoLlamaSystem(size.built(lambda: VideoLlama(config)), words, VideoLlamaOptions(answering=answering))


def minigpt4_video(size: Size, answering: Answering) -> Any:
    config = MiniGpt4VideoConfig(language=size.llama)
    if not size.full:
        config = replace(config, vit=SMALL_VIT)
    words = SlottedWords(size.words / "tokenizer.model")
    return MiniGpt4VideoSystem(
        size.built(lambda: MiniGpt4Video(config)), words, MiniGpt4VideoOptions(answering=answering)
    )


SYSTEMS: dict[str, Callable[[Size, Answering], Any]] = {
    "qwen2-vl": qwen2_vl,
    "cogvlm2-video": cogvlm2_video,
    "chat-univi": chat_univi,
    "video-chatgpt": video_chatgpt,
    "ma-lmm": ma_lmm,
    "video-llama": video_llama,
    "minigpt4-video": minigpt4_video,
}


def write_tokenizers(folder: Path) -> None:
    """Of letters, but with the special tokens that templates need."""
    text = folder / "text"
    text.write_text("What happens in the video? USER: ASSISTANT: Question: Short answer:\n" * 20)
    SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=300,
        byte_fallback=True,
        minloglevel=2,
    )
    letters = [chr(code) for code in range(33, 127)]
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*marks, *letters, *(f"##{letter}" for letter in letters)]))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = ["im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad"]
    tokenizer.add_special_tokens([f"<|{name}|>" for name in marks])
    tokenizer.save(str(folder / "tokenizer.json"))


def evidence(pictures: int) -> Evidence:
    """One exhibit, a picture per second."""
    random = np.random.default_rng(5)
    shown = []
    for second in range(pictures):
        pixels = random.integers(0, 256, (45, 80, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        shown.append(Picture(Moment(second * MICROSECONDS), file.getvalue()))
    span = Span(Moment(0), Moment(pictures * MICROSECONDS))
    return Evidence((Exhibit(1, Hit(StreamId("door"), span, 0.9, span.start), tuple(shown)),))


def seconds(system: Any, pictures: int, words: int, times: int) -> float:
    """The least of several answers."""
    answering = Answering(longest=words)
    system.options = replace(system.options, answering=answering) if hasattr(system.options, "answering") else answering
    asked, best = evidence(pictures), float("inf")
    for _ in range(times):
        began = time.perf_counter()
        for _ in system.answer("What happens in the video?", asked):
            pass
        best = min(best, time.perf_counter() - began)
    return best


def networks(system: Any) -> list[nn.Module]:
    return [part for part in (system.model, getattr(system, "tower", None)) if part is not None]


def measure(name: str, size: Size, times: int) -> str:
    """One row of the table."""
    system = SYSTEMS[name](size, Answering())
    weights = [weight for network in networks(system) for weight in network.parameters()]
    seconds(system, 1, BRIEF, 1)  # whatever is done once is done
    one, many = (seconds(system, pictures, BRIEF, times) for pictures in (1, PICTURES))
    answer = seconds(system, PICTURES, WORDS, times)
    frame = max(many - one, 0.0) / (PICTURES - 1)
    token = max(answer - many, 0.0) / (WORDS - BRIEF)
    billions, gigabytes = sum(w.numel() for w in weights) / 1e9, sum(w.nbytes for w in weights) / 1e9
    timed = f"{1000 * frame:.0f} ms | {1000 * token:.0f} ms | {answer:.2f} s"
    return f"| `{name}` | {billions:.3f} | {gigabytes:.2f} | {timed} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="published sizes, bfloat16; the default on a GPU")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    gpu = given.device == "cuda" or (given.device == "auto" and torch.cuda.is_available())
    full = given.full or gpu
    machine = torch.cuda.get_device_name() if gpu else f"CPU, {given.threads} threads"
    print(f"{machine}; {'published sizes, bfloat16' if full else 'small networks, float32'}\n")
    print("| system | 10⁹ parameters | GB | per frame | per token | answer |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizers(Path(folder))
        size = Size(full, "cuda" if gpu else "cpu", torch.bfloat16 if full else torch.float32, Path(folder))
        for name in given.only:
            print(measure(name, size, given.times), flush=True)


if __name__ == "__main__":
    main()
