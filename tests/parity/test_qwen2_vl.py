"""Qwen2-VL against the authors' code: sizes, patches, positions, every layer, and answers token by token."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen2VLConfig

from ingest.errors import Invalid
from models.parts.decoding import greedy
from models.parts.multimodal_rope import Grid, multimodal_positions
from models.parts.qwen_pixels import (
    FrameBudget,
    Patches,
    PixelBudget,
    VideoBudget,
    evenly,
    fitting_size,
    patches,
    picture_patches,
    resize_video,
    video_patches,
)
from models.systems.qwen2_vl import Prompt, Qwen2VlModel, Visual
from models.weights import Hollow, KeyMap, load


def build(golden: Any) -> Qwen2VlModel:
    with Hollow():
        model = Qwen2VlModel(Qwen2VLConfig(**golden.json("config.json")))
    load(model, [golden.folder / "model.safetensors"], KeyMap())
    return model.eval()


def cases(golden: Any, suffix: str) -> list[str]:
    return sorted(name.removesuffix(suffix) for name in golden.tensors() if name.endswith(suffix))


def budget(golden: Any) -> PixelBudget:
    published = golden.json("preprocessor_config.json")
    return PixelBudget(published["min_pixels"], published["max_pixels"])


@pytest.mark.golden("qwen2_vl", "manifest.json")
def test_sizes(golden: Any) -> None:
    for case in golden.manifest["smart_resize"]:
        size = partial(fitting_size, case["height"], case["width"], PixelBudget(case["min_pixels"], case["max_pixels"]))
        if isinstance(case["qwen_vl_utils"], str):
            with pytest.raises(Invalid):
                size()
        else:
            assert list(size()) == case["qwen_vl_utils"], case


@pytest.mark.golden("qwen2_vl", "manifest.json")
def test_frames(golden: Any) -> None:
    names = {"fps": "rate", "min_frames": "least", "max_frames": "most"}
    for case in golden.manifest["smart_nframes"]:
        total, wish = case["total_frames"], dict(case["ele"])
        if "nframes" in wish:
            indices = partial(evenly, total, round(wish["nframes"] / 2) * 2)
        else:
            frames = FrameBudget(**{names[name]: value for name, value in wish.items()})
            indices = partial(frames.indices, total, case["video_fps"])
        if "error" in case:
            with pytest.raises(Invalid):
                indices()
        else:
            assert len(indices()) == case["nframes"], case
            assert indices()[:12] + indices()[-12:] == case["indices_head_tail"], case


@pytest.mark.golden("qwen2_vl", "manifest.json")
def test_video_sizes(golden: Any) -> None:
    names = {"min_pixels": "least", "max_pixels": "most", "total_pixels": "total"}
    for case in golden.manifest["fetch_video_sizes"]:
        wish = dict(case["ele"])
        if "resized_height" in wish:
            size = fitting_size(wish["resized_height"], wish["resized_width"], PixelBudget())
        else:
            of_all = VideoBudget(**{names[name]: value for name, value in wish.items()})
            size = fitting_size(case["height"], case["width"], of_all.per_frame(case["nframes"]))
        assert list(size) == case["resized"], case


@pytest.mark.golden("qwen2_vl", "golden.safetensors")
def test_pictures_as_patches(golden: Any) -> None:
    tensors = golden.tensors()
    for case in cases(golden, "/uint8_HWC"):
        made = picture_patches(tensors[f"{case}/uint8_HWC"].numpy(), budget(golden))
        golden.expect(torch.tensor([made.grid]), f"{case}/image_grid_thw")
        kept = f"{case}/pixel_values" if f"{case}/pixel_values" in tensors else f"{case}/pixel_values_every7"
        torch.testing.assert_close(made.values[:, :: 7 if "every7" in kept else 1], tensors[kept], atol=1e-5, rtol=0)


@pytest.mark.golden("qwen2_vl", "golden.safetensors")
def test_videos_as_patches(golden: Any) -> None:
    tensors = golden.tensors()
    for case in cases(golden, "/selected_uint8_THWC"):
        wish = golden.manifest["cases"][case]
        indices = FrameBudget(rate=wish["target_fps"]).indices(wish["total_frames"], wish["fps"])
        golden.expect(torch.tensor(indices), f"{case}/frame_indices")
        frames, expected = tensors[f"{case}/selected_uint8_THWC"], tensors[f"{case}/resized_TCHW"]
        golden.expect(resize_video(frames.permute(0, 3, 1, 2), expected.shape[2:]), f"{case}/resized_TCHW")
        made = video_patches(list(frames.numpy()), VideoBudget(wish["min_pixels"], wish["max_pixels"]))
        golden.expect(torch.tensor([made.grid]), f"{case}/video_grid_thw")
        torch.testing.assert_close(made.values, tensors[f"{case}/pixel_values_videos"], atol=1e-5, rtol=0)
    for case in cases(golden, "/frames_uint8_TCHW"):
        made = patches(tensors[f"{case}/frames_uint8_TCHW"])
        torch.testing.assert_close(made.values, tensors[f"{case}/pixel_values_videos"], atol=1e-5, rtol=0)


def grids(ids: list[int], tensors: dict[str, Tensor], case: str, kinds: dict[int, str]) -> Iterator[tuple[str, Any]]:
    """Kind and patch grid of each visual of a row, in order; advances over the case's grids as rows are read."""
    at = 0
    while at < len(ids):
        if ids[at] not in kinds:
            at += 1
            continue
        kind = kinds[ids[at]]
        grid = next(tensors[f"{case}/{kind}_grid_thw"])
        yield kind, tuple(grid.tolist())
        at += int(grid.prod()) // 4


def row_by_row(golden: Any, case: str) -> list[tuple[Tensor, list[tuple[str, Any]]]]:
    """(mask, visuals) of each row of a case."""
    config, tensors = golden.json("config.json"), golden.tensors()
    kinds = {config["image_token_id"]: "image", config["video_token_id"]: "video"}
    left: dict[str, Any] = {name: iter(value) for name, value in tensors.items() if name.endswith("_grid_thw")}
    masks = tensors[f"{case}/attention_mask"].bool()
    rows = zip(tensors[f"{case}/input_ids"], masks, strict=True)
    return [(mask, list(grids(ids[mask].tolist(), left, case, kinds))) for ids, mask in rows]


@pytest.mark.golden("qwen2_vl", "golden.safetensors")
def test_positions(golden: Any) -> None:
    config, tensors = golden.json("config.json"), golden.tensors()
    marks = {config["image_token_id"], config["video_token_id"]}
    for case in cases(golden, "/position_ids"):
        ids, expected = tensors[f"{case}/input_ids"], tensors[f"{case}/position_ids"]
        for row, (mask, visuals) in enumerate(row_by_row(golden, case)):
            merged = iter([Grid(time, rows // 2, columns // 2) for _, (time, rows, columns) in visuals])
            positions = multimodal_positions([token in marks for token in ids[row][mask].tolist()], merged)
            assert torch.equal(positions, expected[:, row, mask].long()), case
            delta = int(positions.max()) + 1 - ids.shape[1]
            assert delta == int(tensors[f"{case}/rope_deltas"][row])


def prompt_of(golden: Any, case: str) -> Prompt:
    """The case's ids with its pictures, which the set stores once and tells apart by their grids."""
    tensors = golden.tensors()
    store = {}
    for kind, stage in (("image", "/pixel_values"), ("video", "/pixel_values_videos")):
        for name in cases(golden, stage):
            folder = name if f"{name}/{kind}_grid_thw" in tensors else "preprocess"
            grid = tuple(tensors[f"{folder}/{kind}_grid_thw"][0].tolist())
            store[kind, grid] = Patches(tensors[f"{name}{stage}"], grid)
    visuals = [Visual(store[visual]) for _, row in row_by_row(golden, case) for visual in row]
    return Prompt(tensors[f"{case}/input_ids"], tensors[f"{case}/attention_mask"].bool(), tuple(visuals))


@pytest.mark.golden("qwen2_vl", "golden.safetensors")
@torch.inference_mode()
def test_answers(golden: Any) -> None:
    model, tensors, allowed = build(golden), golden.tensors(), golden.manifest["tolerance"]
    for case in cases(golden, "/logits"):
        prompt = prompt_of(golden, case)
        logits, expected = model(prompt), tensors[f"{case}/logits"]
        close = partial(torch.testing.assert_close, atol=allowed["atol"], rtol=allowed["rtol"])
        close(logits[prompt.real], expected[prompt.real])
        step = model.start(prompt)
        scores: list[Tensor] = []

        def listen(said: Tensor | None, step: Any = step, scores: list[Tensor] = scores) -> Tensor:
            scores.append(step(said))
            return scores[-1]

        said = torch.cat(list(greedy(listen, tensors[f"{case}/generated_tokens"].shape[1])), dim=1)
        golden.expect(said, f"{case}/generated_tokens")
        golden.expect(torch.stack(scores, dim=1), f"{case}/generated_scores")


class Watch:
    """What the parts of a module give, by the set's names of the stages."""

    def __init__(self, parts: dict[str, torch.nn.Module]) -> None:
        self.seen: dict[str, Any] = {}
        for name, part in parts.items():
            part.register_forward_hook(partial(self._keep, name))

    def _keep(self, name: str, module: object, inputs: object, output: Any) -> None:
        self.seen[name] = output


@pytest.mark.golden("qwen2_vl", "golden.safetensors")
@torch.inference_mode()
def test_every_stage(golden: Any) -> None:
    model, tensors = build(golden), golden.tensors()
    watch = Watch(
        {
            "visual.patch_embed": model.visual.patch_embed,
            "visual.merger_out": model.visual.merger,
            "llm.norm": model.model.norm,
            "rotary": model.model.rotary_emb,
        }
        | {f"visual.block{index}": block for index, block in enumerate(model.visual.blocks)}
        | {f"llm.layer{index}": layer for index, layer in enumerate(model.model.layers)}
    )
    sections = golden.json("config.json")["rope_scaling"]["mrope_section"] * 2
    for case in cases(golden, "/llm.inputs_embeds"):
        watch.seen.clear()
        prompt = prompt_of(golden, case)
        model(prompt)
        stages = watch.seen | {"llm.inputs_embeds": model.embed(prompt)}
        for name, table in zip(("llm.cos", "llm.sin"), stages.pop("rotary"), strict=True):
            rows = tensors[f"{case}/{name}"].split(sections, dim=-1)  # theirs is mixed from the three rows later
            mixed = torch.cat([part[index % 3] for index, part in enumerate(rows)], dim=-1)
            torch.testing.assert_close(table, mixed, atol=2e-4, rtol=1e-4)
        for name in [name for name in tensors if name.startswith((f"{case}/visual.", f"{case}/llm."))]:
            stage = name.removeprefix(f"{case}/")
            if stage == "visual.rotary_table":
                positions = torch.arange(len(tensors[name]))
                golden.expect(torch.outer(positions, model.visual.rotary_pos_emb.inv_freq), name)
            elif stage not in {"llm.cos", "llm.sin"}:
                golden.expect(stages[stage], name)


PUBLISHED = {
    "2B": (1536, 8960, 28, 12, 2, 151936, True),
    "7B": (3584, 18944, 28, 28, 4, 152064, False),
    "72B": (8192, 29568, 80, 64, 8, 152064, False),
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_full_size_names(size: str, official_shapes: Any) -> None:
    hidden, inner, layers, heads, kv_heads, vocabulary, tied = PUBLISHED[size]
    config = Qwen2VLConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
        rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
        vision_config={"hidden_size": hidden, "in_chans": 3, "spatial_patch_size": 14},
    )
    with torch.device("meta"):
        shapes = {name: list(value.shape) for name, value in Qwen2VlModel(config).state_dict().items()}
    assert shapes == official_shapes("qwen2_vl", f"full_state_dict_{size}.json")
