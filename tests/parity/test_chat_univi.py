"""Chat-UniVi against the authors' code: clustering, events, prompts, and answers token by token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPVisionConfig, LlamaConfig

from models.parts.clip_vision import ClipTower, clip_pixels
from models.parts.decoding import greedy
from models.parts.llama_tokens import BEGIN, END, LlamaTokens
from models.parts.llava import LlavaModel
from models.parts.token_merging import Clusters, Level, Noise, Tokens, dpc_knn, merge
from models.systems.chat_univi import (
    CONVERSATIONS,
    Merging,
    Prompt,
    build_prompt,
    embed,
    one_per_second,
    visual_tokens,
)

PLACE = -200
"""How the authors mark a picture among the ids."""

STYLES = {**CONVERSATIONS, "default": CONVERSATIONS["simple"]}


class Recorded:
    """The noise of the authors' run, call by call. All of it must be used."""

    def __init__(self, tensors: dict[str, Tensor], prefix: str) -> None:
        self.left = [tensors[name] for name in sorted(tensors) if name.startswith(f"{prefix}noise_")]

    def __call__(self, rows: int, columns: int) -> Tensor:
        noise = self.left.pop(0)
        assert noise.shape == (rows, columns)
        return noise


def cases(tensors: dict[str, Tensor]) -> Iterator[str]:
    yield from sorted({name.split("/")[0] for name in tensors})


def build(golden: Any, size: str) -> tuple[ClipTower, LlavaModel, Merging]:
    described = golden.manifest["models"][size]
    weights = golden.tensors(f"weights_{size}.safetensors")
    vision = CLIPVisionConfig(**described["vision"])
    language = LlamaConfig(vocab_size=described["vocab"], **described["llm"])
    tower, model = ClipTower(vision), LlavaModel(language, vision.hidden_size)
    prefix = "model.vision_tower.vision_tower."
    tower.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items() if prefix in name})
    model.load_state_dict({name: value for name, value in weights.items() if prefix not in name})
    return tower.eval(), model.eval(), Merging(tuple(described["rates"]), described["temporal_rate"])


def tokenizer(golden: Any) -> LlamaTokens:
    return LlamaTokens(golden.folder / "tokenizer" / "tokenizer.model", {})


def read_prompt(text: str, words: LlamaTokens) -> tuple[Prompt, list[int]]:
    """A prompt of the authors, cut at its pictures, and all its ids."""
    pieces = [words.encode(piece) for piece in text.split("<image>")]
    runs = [1]
    for between in pieces[1:-1]:
        runs = [*runs, 1] if between else [*runs[:-1], runs[-1] + 1]
    ids = [BEGIN, *pieces[0]]
    for piece in pieces[1:]:
        ids += [PLACE, *piece]
    return Prompt((BEGIN, *pieces[0]), tuple(runs), tuple(pieces[-1])), ids


@pytest.mark.golden("chat_univi", "dpc_knn_suite.safetensors")
def test_clustering(golden: Any) -> None:
    tensors, described = golden.tensors(), golden.manifest["tensors"][golden.name]
    for case in cases(tensors):
        at, x = described[f"{case}/x"], tensors[f"{case}/x"]
        noise, mask = tensors[f"{case}/noise"], tensors.get(f"{case}/token_mask")
        clusters = dpc_knn(x, at["cluster_num"], at["k"], noise, mask)
        merged = merge(Tokens.original(x), clusters, tensors.get(f"{case}/token_weight"))
        golden.expect(clusters.score, f"{case}/score")
        golden.expect(clusters.centres, f"{case}/index_down")
        golden.expect(clusters.member, f"{case}/idx_cluster")
        golden.expect(merged.x, f"{case}/x_merged")
        golden.expect(merged.share, f"{case}/agg_weight")


@pytest.mark.golden("chat_univi", "ctm_chain.safetensors")
def test_levels(golden: Any) -> None:
    tensors = golden.tensors()
    for case in cases(tensors):
        noise, tokens = Recorded(tensors, f"{case}/"), Tokens.original(tensors[f"{case}/x"])
        rates = [float(rate) for rate in case.split("rates")[1].split("_")]
        for index, level in enumerate(Merging(tuple(rates)).levels):
            tokens, clusters = level(tokens, noise)
            golden.expect(tokens.x, f"{case}/level{index}_x")
            golden.expect(tokens.origin, f"{case}/level{index}_idx_token")
            golden.expect(tokens.share, f"{case}/level{index}_agg_weight")
            golden.expect(clusters.member, f"{case}/level{index}_idx_cluster")
        assert not noise.left


def first_clusters(features: Tensor, merging: Merging, noise: Noise) -> Clusters:
    """What decides a video's events, before they are put in order."""
    _, clusters = Level(merging.events, 5)(Tokens.original(features.mean(dim=1)[None]), noise)
    return clusters


@pytest.mark.golden("chat_univi", "project_suite.safetensors")
def test_pictures_and_videos(golden: Any) -> None:
    tensors = golden.tensors()
    projector = torch.nn.Linear(*reversed(tensors["mm_projector.weight"].shape))
    projector.load_state_dict({"weight": tensors["mm_projector.weight"], "bias": tensors["mm_projector.bias"]})
    for described in golden.json("project_suite.json"):
        case, calls = described["case"], described["calls"]
        features, noise = tensors[f"{case}/features"].float(), Recorded(tensors, f"{case}/")
        rates = tuple(call["clusters"] for call in calls[-3:])
        merging = Merging(rates)
        if described["kind"] == "video":
            clusters = first_clusters(features, merging, Recorded(tensors, f"{case}/"))
            golden.expect(clusters.member, f"{case}/frame_event")
            merged = merging.video(features, noise)
        else:
            merged = merging.picture(features, noise)
        assert not noise.left
        golden.expect(merged, f"{case}/merged")
        golden.expect(projector(merged), f"{case}/projected")


@pytest.mark.golden("chat_univi", "frame_sampling.json")
def test_sampling(golden: Any) -> None:
    for case in golden.json():
        window = {"start": case["start"], "end": case["end"]}
        indices = one_per_second(case["total_frames"], case["fps"], most=case["max_frames"], **window)
        assert indices == (case["indices"] or []), case


@pytest.mark.golden("chat_univi", "prompts.json")
def test_prompts(golden: Any) -> None:
    words = tokenizer(golden)
    for case in golden.json():
        form = STYLES[case["mode"]]
        assert form.stop == case["stop"]
        text = case["prompt"].removeprefix(form.opening).removesuffix(form.closing)
        question = text.replace("<image>", "").lstrip("\n")
        prompt = build_prompt(question, case["n_images"], words, style=case["mode"].replace("default", "simple"))
        assert [*prompt.head, *[PLACE] * sum(prompt.runs), *prompt.tail] == case["ids_slow"]


@pytest.mark.golden("chat_univi", "preprocess_224.safetensors")
def test_pixels(golden: Any) -> None:
    pixels = clip_pixels([golden.tensors()["frame_uint8"].numpy()], 224)[0]
    assert torch.equal(pixels[:, ::2], golden.tensors()["pixel_values_rows_stride2"])


def model_of(golden: Any, tensors: dict[str, Tensor]) -> str:
    """Which of the set's models made a file: the one with as many patches and channels."""
    features = next(value for name, value in tensors.items() if name.startswith("vision_features"))
    sizes = {
        size: ((model["vision"]["image_size"] // model["vision"]["patch_size"]) ** 2, model["vision"]["hidden_size"])
        for size, model in golden.manifest["models"].items()
    }
    return next(size for size, shape in sizes.items() if shape == tuple(features.shape[1:]))


def look(golden: Any, tower: ClipTower, tensors: dict[str, Tensor]) -> Tensor:
    """Frames or pixels to features, checked on the way."""
    pixels = tensors.get("pixel_values")
    if pixels is None:
        pixels = clip_pixels(list(tensors["frames_sampled_uint8"].numpy()), tower.size)
    features = tower(pixels)
    for name, stage in (("pixel_values", pixels), ("vision_features", features)):
        kept = next(full for full in tensors if full.startswith(name))
        golden.expect(stage[: len(tensors[kept])], kept)
    return features


@pytest.mark.golden("chat_univi", "e2e_*.safetensors")
@torch.inference_mode()
def test_answers(golden: Any) -> None:
    tensors = golden.tensors()
    name = golden.name.removesuffix(".safetensors").removeprefix("e2e_")
    run = next(run for run in golden.json("e2e_runs.json") if run["name"] == name)
    tower, model, merging = build(golden, model_of(golden, tensors))
    prompt, ids = read_prompt(run["prompt"], tokenizer(golden))
    golden.expect(torch.tensor([ids]), "input_ids")
    features, noise = look(golden, tower, tensors), Recorded(tensors, "cluster/")
    if prompt.runs[0] > 2:
        clusters = first_clusters(features, merging, Recorded(tensors, "cluster/"))
        golden.expect(clusters.member, "cluster/first_call_idx_cluster")
    x = embed(model, prompt, visual_tokens(features, prompt.runs, merging, noise))
    assert not noise.left
    golden.expect(x, "inputs_embeds")
    golden.expect(torch.ones(x.shape[:2], dtype=torch.long), "attention_mask")
    logits = model(x)
    golden.expect(logits[:, ::3], "logits_stride3")
    golden.expect(logits[:, -16:], "logits_last16")
    length = tensors["greedy_ids"].shape[1] - len(ids)
    said = torch.cat(list(greedy(model.start(x), length)), dim=1)
    golden.expect(torch.cat([torch.tensor([ids]), said], dim=1), "greedy_ids")


@pytest.mark.golden("chat_univi", "train_step.safetensors")
def test_training_batch(golden: Any) -> None:
    """Conversations with their pictures in front; only answers are learnt."""
    tensors, sources = golden.tensors(), golden.json("train_step_sources.json")
    words = LlamaTokens(golden.folder / "tokenizer" / "tokenizer.model", {"</s>": END})
    ids, labels = torch.zeros_like(tensors["input_ids"]), torch.full_like(tensors["labels"], -100)
    for row, (turns, pictures) in enumerate(zip(sources["sources"], sources["image_counts"], strict=True)):
        asked, answered = (turn["value"] for turn in turns)
        bare = asked.replace("<video>", "").replace("<image>", "").strip()
        form = CONVERSATIONS["v1"]
        head = [BEGIN, *words.encode(form.opening), *[PLACE] * pictures] if pictures else [BEGIN]
        question = f"\n{bare}" if pictures else f"{form.opening}{bare}"
        instruction = [*head, *words.encode(f"{question}{form.closing} ")]
        written = [*head, *words.encode_template(f"{question}{form.closing} {answered}{form.stop}")]
        start = len(instruction) - 1  # the blank before the answer is part of its first word
        ids[row, : len(written)] = torch.tensor(written)
        labels[row, start : len(written)] = torch.tensor(written[start:])
    golden.expect(ids, "input_ids")
    golden.expect(ids != 0, "attention_mask")
    golden.expect(labels, "labels")


@pytest.mark.golden("chat_univi", "train_step.safetensors")
@torch.inference_mode()
def test_training_step(golden: Any) -> None:
    """A padded batch of a video, a picture and bare text: the loss the authors train on."""
    tensors = golden.tensors()
    tower, model, merging = build(golden, "small")
    noise, features = Recorded(tensors, "cluster/"), tower(tensors["images"])
    rows, labels, masks, used = [], [], [], 0
    for ids, label, mask in zip(tensors["input_ids"], tensors["labels"], tensors["attention_mask"], strict=True):
        places = torch.nonzero(ids == PLACE).flatten().tolist()
        start, end = (places[0], places[-1] + 1) if places else (0, 0)
        prompt = Prompt(tuple(ids[:start].tolist()), (len(places),) if places else (), tuple(ids[end:].tolist()))
        tokens = visual_tokens(features[used : used + len(places)], prompt.runs, merging, noise) if places else []
        used += len(places)
        seen = sum(map(len, tokens))
        rows.append(embed(model, prompt, tokens)[0])
        labels.append(torch.cat([label[:start], label.new_full((seen,), -100), label[end:]]))
        masks.append(F.pad(mask, (len(rows[-1]) - len(mask), 0), value=True))
    length = max(map(len, rows))
    x = torch.stack([F.pad(row, (0, 0, 0, length - len(row))) for row in rows])
    target = torch.stack([F.pad(label, (0, length - len(label)), value=-100) for label in labels])
    real = torch.stack([F.pad(mask, (0, length - len(mask))) for mask in masks])
    golden.expect(target, "expanded_labels")
    golden.expect(real, "expanded_attention_mask")
    logits = model(x, real)
    golden.expect(logits[:, ::4], "logits_stride4")
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), target[:, 1:].flatten(), ignore_index=-100)
    golden.expect(loss, "loss")


def test_full_size_names() -> None:
    """Chat-UniVi 7B on CLIP ViT-L/14: the tensors its specification lists, and no others."""
    language = LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
    )
    with torch.device("meta"):
        shapes = {name: list(value.shape) for name, value in LlavaModel(language, 1024).state_dict().items()}
    expected = {
        "model.embed_tokens.weight": [32000, 4096],
        "model.norm.weight": [4096],
        "lm_head.weight": [32000, 4096],
        "model.mm_projector.weight": [4096, 1024],
        "model.mm_projector.bias": [4096],
    }
    for layer in range(32):
        at = f"model.layers.{layer}."
        expected |= {f"{at}self_attn.{name}_proj.weight": [4096, 4096] for name in "qkvo"}
        expected |= {f"{at}mlp.{name}_proj.weight": [11008, 4096] for name in ("gate", "up")}
        expected |= {f"{at}{name}_layernorm.weight": [4096] for name in ("input", "post_attention")}
        expected[f"{at}mlp.down_proj.weight"] = [4096, 11008]
    assert shapes == expected
