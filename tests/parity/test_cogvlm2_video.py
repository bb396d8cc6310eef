"""CogVLM2-Video against the authors' code: sampling, pixels, prompts, every layer, and answers token by token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.parts.cogvlm_decoder import Rotary, cog_positions
from models.parts.decoding import greedy
from models.systems.cogvlm2_video import (
    CogVlm2Config,
    CogVlm2Model,
    Prompt,
    build_prompt,
    cog_pixels,
    each_second,
    first_minute,
)
from models.weights import Hollow, KeyMap, load


class StubTokens:
    """The tokenizer of the sets: a byte is a token, and in mode "digits" so are up to three digits, as in Llama 3."""

    def __init__(self, mode: str) -> None:
        self.pieces = re.compile(r"\d{1,3}|.", re.DOTALL) if mode == "digits" else re.compile(r".", re.DOTALL)
        self.digits = mode == "digits"

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in self.pieces.findall(text):
            ids += [260 + int(piece) % 100] if self.digits and piece.isascii() and piece.isdigit() else piece.encode()
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token for token in ids if token < 256).decode(errors="replace")


def config_of(golden: Any) -> CogVlm2Config:
    return CogVlm2Config.of(golden.manifest["config"])


def build(golden: Any) -> CogVlm2Model:
    with Hollow():
        model = CogVlm2Model(config_of(golden))
    load(model, [golden.folder / "model.safetensors"], KeyMap())
    return model.eval()


def cases(golden: Any, suffix: str) -> list[str]:
    return sorted(name.removesuffix(suffix) for name in golden.tensors() if name.endswith(suffix))


def prompt_of(golden: Any, case: str) -> Prompt:
    tensors = golden.tensors()
    ids = tensors[f"{case}/input_ids"]
    kinds = tensors.get(f"{case}/token_type_ids", torch.zeros_like(ids))
    return Prompt(ids, kinds, tensors[f"{case}/attention_mask"].bool())


def pictures_of(golden: Any, case: str) -> Tensor | None:
    """The case's frames as pixels; cases without their own use those of the video case of their kind."""
    if not golden.manifest["cases"][case].get("T"):
        return None
    tensors = golden.tensors()
    borrowed = {"chat_history": "chat_video", "answer_labels": "chat_video"}.get(case, "base_video")
    owner = case if f"{case}/video_uint8_CTHW" in tensors else borrowed
    return cog_pixels(tensors[f"{owner}/video_uint8_CTHW"].transpose(0, 1))


@pytest.mark.golden("cogvlm2_video", "manifest.json")
def test_sampling(golden: Any) -> None:
    for case in golden.manifest["frame_sampling"]:
        timestamps = case["frame_start_timestamps"]
        assert each_second(timestamps) == case["chat"], case["name"]
        assert first_minute(len(timestamps), case["avg_fps"]) == case["base"], case["name"]


@pytest.mark.golden("cogvlm2_video", "golden.safetensors")
def test_pixels(golden: Any) -> None:
    tensors = golden.tensors()
    for case in cases(golden, "/images_TCHW_every4"):
        pixels = cog_pixels(tensors[f"{case}/video_uint8_CTHW"].transpose(0, 1))
        golden.expect(pixels[..., ::4, ::4], f"{case}/images_TCHW_every4")
        deviation, mean = torch.std_mean(pixels, dim=(2, 3))
        torch.testing.assert_close(torch.stack([mean, deviation]), tensors[f"{case}/mean_std"], atol=2e-4, rtol=1e-4)
    for case in cases(golden, "/images_TCHW"):
        golden.expect(cog_pixels(tensors[f"{case}/video_uint8_CTHW"].transpose(0, 1)), f"{case}/images_TCHW")


@pytest.mark.golden("cogvlm2_video", "golden.safetensors")
def test_prompts(golden: Any) -> None:
    tensors = golden.tensors()
    for case, described in golden.manifest["cases"].items():
        if "query" not in described:
            continue
        words = StubTokens(described["tokenizer"])
        style, history = described["template_version"], described.get("history", [])
        seconds = range(described["T"] or 0)
        prompt = build_prompt(described["query"], seconds, words, config_of(golden), style=style, history=history)
        ids, kinds = prompt.ids.view(-1), prompt.kinds.view(-1)
        expected = [tensors[f"{case}/{name}"].view(-1) for name in ("input_ids", "token_type_ids")]
        assert torch.equal(ids, expected[0][: len(ids)]), case
        assert torch.equal(kinds, expected[1][: len(kinds)]), case
        answer = words.encode(described.get("answer") or "")
        learnt = answer and [*answer, golden.manifest["special"]["eos"]]
        assert expected[0][len(ids) :].tolist() == learnt
        if learnt:
            assert tensors[f"{case}/labels"].view(-1).tolist() == [-100] * len(ids) + learnt


@pytest.mark.golden("cogvlm2_video", "golden.safetensors")
def test_positions(golden: Any) -> None:
    tensors = golden.tensors()
    for suffix in ("/position_ids", "/llm.position_ids", "/position_ids_no_mask"):
        for case in cases(golden, suffix):
            expected = torch.atleast_2d(tensors[f"{case}{suffix}"])
            kinds = torch.atleast_2d(tensors.get(f"{case}/token_type_ids", torch.zeros_like(expected)))
            mask = tensors.get(f"{case}/attention_mask") if "no_mask" not in suffix else None
            real = torch.ones_like(kinds, dtype=torch.bool) if mask is None else mask.bool()
            assert torch.equal(cog_positions(kinds, real), expected), case


@pytest.mark.golden("cogvlm2_video", "golden.safetensors")
def test_rotary_tables(golden: Any) -> None:
    """In float32, and in bfloat16 where positions and angles are as coarse as the model was served with."""
    tensors = golden.tensors()
    inv_freq = golden.tensors("model.safetensors")["model.layers.0.self_attn.rotary_emb.inv_freq"]
    rotary = Rotary(2 * len(inv_freq))
    for case, dtype in (("rotary_f32", torch.float32), ("rotary_bf16", torch.bfloat16)):
        rotary.inv_freq = inv_freq.to(dtype)
        for name, table in zip(("cos", "sin"), rotary.table(torch.arange(len(tensors[f"{case}/cos"]))), strict=True):
            golden.expect(table, f"{case}/{name}")
    exact = tensors["rotary_fullsize/inv_freq_f32"]
    assert torch.equal(exact.bfloat16().float(), tensors["rotary_fullsize/inv_freq_bf16"])


@pytest.mark.golden("cogvlm2_video", "golden.safetensors")
@torch.inference_mode()
def test_answers(golden: Any) -> None:
    model, tensors, allowed = build(golden), golden.tensors(), golden.manifest["tolerance"]
    close = partial(torch.testing.assert_close, atol=allowed["atol"], rtol=allowed["rtol"])
    for case in cases(golden, "/logits"):
        if case.endswith("_bf16"):
            continue
        prompt, pictures = prompt_of(golden, case), pictures_of(golden, case)
        logits, expected = model(prompt, pictures), tensors[f"{case}/logits"]
        kept = prompt.real[:, -expected.shape[1] :]
        close(logits[:, -expected.shape[1] :][kept], expected[kept], msg=lambda text, case=case: f"{case}: {text}")
        if f"{case}/labels" in tensors:
            labels = tensors[f"{case}/labels"]
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
            golden.expect(loss[None], f"{case}/loss")
        if f"{case}/generated_tokens" in tensors:
            assert_said(golden, case, model.start(prompt, pictures))


def assert_said(golden: Any, case: str, step: Any) -> None:
    """Greedy tokens equal, and the scores they were chosen by close."""
    tensors, scores = golden.tensors(), []

    def listen(said: Tensor | None) -> Tensor:
        scores.append(step(said))
        return scores[-1]

    said = torch.cat(list(greedy(listen, tensors[f"{case}/generated_tokens"].shape[1])), dim=1)
    golden.expect(said, f"{case}/generated_tokens")
    if f"{case}/generated_scores" in tensors:
        golden.expect(torch.stack(scores, dim=1), f"{case}/generated_scores")


@pytest.mark.golden("cogvlm2_video", "golden.safetensors")
@torch.inference_mode()
def test_every_stage(golden: Any) -> None:
    model, tensors, seen = build(golden), golden.tensors(), {}
    vision = model.model.vision
    parts = {
        "vision.patch_embedding": vision.patch_embedding,
        "vision.transformer": vision.transformer,
        "vision.conv": vision.conv,
        "vision.linear_proj": vision.linear_proj,
        "vision.features": vision,
        "llm.layer0.attn": model.model.layers[0].self_attn,
        "llm.norm": model.model.norm,
    }
    parts |= {f"vision.layer{index}": layer for index, layer in enumerate(vision.transformer.layers)}
    parts |= {f"llm.layer{index}": layer for index, layer in enumerate(model.model.layers)}
    for name, part in parts.items():
        part.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output}))
    for case in cases(golden, "/llm.inputs_embeds"):
        prompt, pictures = prompt_of(golden, case), pictures_of(golden, case)
        model(prompt, pictures)
        seen |= {
            "llm.inputs_embeds": model.embed(prompt, pictures),
            "llm.position_ids": cog_positions(prompt.kinds, prompt.real),
        }
        for name in [name for name in tensors if name.startswith((f"{case}/vision.", f"{case}/llm."))]:
            golden.expect(seen[name.removeprefix(f"{case}/")], name)


def test_full_size_names(official_shapes: Any) -> None:
    """All 1029 tensors of the published 12.5 billion parameters."""
    published = {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_multi_query_heads": 8,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
        "pad_token_id": 128002,
        "vision_config": {
            "hidden_size": 1792,
            "num_hidden_layers": 63,
            "num_heads": 16,
            "intermediate_size": 15360,
            "image_size": 224,
            "patch_size": 14,
            "layer_norm_eps": 1e-6,
        },
    }
    with torch.device("meta"):
        model = CogVlm2Model(CogVlm2Config.of(published))
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert shapes == official_shapes("cogvlm2_video", "full_state_dict*.json")
    assert sum(value.numel() for value in model.parameters()) > 12.5e9
