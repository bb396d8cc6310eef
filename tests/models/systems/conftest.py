"""Small models in their published layouts, with random weights, and evidence to ask them about."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from ingest.questions import Evidence, Exhibit, Hit, Picture
from ingest.records import Moment, Observation, Span, StreamId, seconds
from models.parts.asking import Answering

START = Moment(1_760_000_000_000_000)
"""2025-10-09 08:53:20 UTC."""


def picture(at: float, height: int = 60, width: int = 80) -> Picture:
    """A bright square that moves from left to right."""
    pixels = np.full((height, width, 3), 40, dtype=np.uint8)
    left = int(at * 4) % (width - 20)
    pixels[20:40, left : left + 20] = (230, 60, 20)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return Picture(Moment(START + seconds(at)), file.getvalue())


def exhibit(number: int, start: float, end: float, *, rate: float = 1.0, heard: str = "") -> Exhibit:
    span = Span(Moment(START + seconds(start)), Moment(START + seconds(end)))
    pictures = tuple(picture(float(at)) for at in np.arange(start, end, 1 / rate))
    spoken = Observation(StreamId("door"), 0, f"{number}", "heard", "speech", span, 0.9, text=heard)
    hit = Hit(StreamId("door"), span, 0.8, span.start)
    return Exhibit(number, hit, pictures, (spoken,) if heard else ())


@pytest.fixture
def evidence() -> Evidence:
    return Evidence((exhibit(1, 0, 6), exhibit(2, 20, 24, rate=2.0, heard="The parcel is at the door.")))


@pytest.fixture
def blind() -> Evidence:
    return Evidence(())


def llama_tokenizer(folder: Path) -> None:
    """tokenizer.model as LLaMA's: byte pairs, byte fallback, nothing normalised away."""
    text = folder / "text"
    text.write_text("\n".join(["USER: what is in the video? ASSISTANT: a person at the door with a parcel"] * 20))
    SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=330,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )


def byte_tokenizer(folder: Path, specials: list[str]) -> int:
    """tokenizer.json in which every byte is a token; returns how many tokens there are."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def write(folder: Path, config: dict[str, Any], module: torch.nn.Module) -> None:
    """config.json and model.safetensors, with weights drawn once and for all."""
    generator = torch.Generator().manual_seed(11)
    state = {}
    for name, value in module.state_dict().items():
        spread = 2 / value.shape[-1] ** 0.5 if value.ndim > 1 else 0.1
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        if value.is_floating_point():
            state[name] = centre + torch.randn(value.shape, generator=generator) * spread
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "model.safetensors")


VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LANGUAGE = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def write_clip(folder: Path) -> None:
    """CLIP's folder: both towers and what joins them, as published."""
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config={**LANGUAGE, "vocab_size": 50, "max_position_embeddings": 8},
        vision_config={**VISION, "image_size": 32, "patch_size": 4},
        projection_dim=8,
    )
    write(folder, config.to_dict(), CLIPModel(config))


@dataclass(frozen=True)
class Made:
    """A system that was written to disk and loaded, and how to load it once more another way."""

    system: Any
    load: Callable[..., Any]


def make_video_chatgpt(folder: Path) -> type[Any]:
    from transformers import LlamaConfig

    from models.parts.llava import LlavaModel
    from models.systems.video_chatgpt import FILES, VideoChatGptSystem

    base, trained, clip = (folder / name for name in FILES)
    write_clip(clip)
    write(base, {"vocab_size": 333, **LANGUAGE}, LlavaModel(LlamaConfig(vocab_size=333, **LANGUAGE), 16))
    llama_tokenizer(base)
    shapes = {"embed_tokens.weight": (336, 24), "mm_projector.weight": (24, 16), "mm_projector.bias": (24,)}
    generator = torch.Generator().manual_seed(5)
    torch.save({f"model.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}, trained)
    return VideoChatGptSystem


def make_chat_univi(folder: Path) -> type[Any]:
    from transformers import LlamaConfig

    from models.parts.llava import LlavaModel
    from models.systems.chat_univi import ChatUniViSystem

    merging = {f"spatial_cluster_rate{level}": 16 // 2**level for level in range(3)} | {"temporal_cluster_rate": 1 / 4}
    config = {
        "model_type": "ChatUniVi",
        "vocab_size": 330,
        **LANGUAGE,
        "config": {"use_cluster": True, **merging},
    }
    config["mm_vision_tower"] = "openai/clip-vit-tiny"
    write(folder, config, LlavaModel(LlamaConfig(vocab_size=330, **LANGUAGE), 16))
    write_clip(folder / "clip-vit-tiny")
    llama_tokenizer(folder)
    return ChatUniViSystem


def make_qwen2_vl(folder: Path) -> type[Any]:
    from transformers import Qwen2VLConfig

    from models.systems.qwen2_vl import Qwen2VlModel, Qwen2VlSystem

    marks = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    size = byte_tokenizer(folder, marks)
    ids = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    config = {
        **LANGUAGE,
        "hidden_size": 32,
        "num_key_value_heads": 1,
        "vocab_size": size,
        "eos_token_id": size - 5,
        "tie_word_embeddings": True,
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "vision_config": {"depth": 2, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 2, "hidden_size": 32},
    } | {name: size - 4 + index for index, name in enumerate(ids)}
    write(folder, config, Qwen2VlModel(Qwen2VLConfig(**config)))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [size - 5, size - 6]}))
    return Qwen2VlSystem


def make_cogvlm2_video(folder: Path) -> type[Any]:
    from models.systems.cogvlm2_video import CogVlm2Config, CogVlm2Model, CogVlm2VideoSystem

    size = byte_tokenizer(folder, ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>"])
    config = {
        **LANGUAGE,
        "num_multi_query_heads": 1,
        "vocab_size": size,
        "rms_norm_eps": 1e-5,
        "bos_token_id": size - 3,
        "eos_token_id": size - 2,
        "pad_token_id": size - 1,
        "vision_config": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_heads": 2,
            "intermediate_size": 32,
            "image_size": 56,
            "patch_size": 14,
            "layer_norm_eps": 1e-6,
        },
    }
    write(folder, config, CogVlm2Model(CogVlm2Config.of(config)))
    return CogVlm2VideoSystem


MAKERS = {
    "video-chatgpt": make_video_chatgpt,
    "chat-univi": make_chat_univi,
    "qwen2-vl": make_qwen2_vl,
    "cogvlm2-video": make_cogvlm2_video,
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Made]:
    """`make(name, answering)`: that system, small, from files."""

    def made(name: str, how: Answering | None = None) -> Made:
        load = partial(MAKERS[name](tmp_path).load, tmp_path)
        return Made(load(options=how or Answering(longest=12)), load)

    return made
