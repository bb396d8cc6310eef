"""Video-ChatGPT against the authors' code: sampling, pixels, pooling, prompts, and answers token by token."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPVisionConfig, LlamaConfig

from models.parts.clip_vision import ClipTower, clip_pixels
from models.parts.decoding import greedy
from models.parts.llama_tokens import BEGIN, END, LlamaTokens
from models.parts.llava import LlavaModel
from models.systems.video_chatgpt import CONVERSATIONS, build_prompt, embed, pool, segment_middles, squashed


def build_tower(golden: Any) -> ClipTower:
    tower = ClipTower(CLIPVisionConfig(**golden.manifest["config"]["vis"]))
    tower.load_state_dict(golden.tensors("clip_weights.safetensors"))
    return tower.eval()


def build_model(golden: Any, weights: str) -> LlavaModel:
    tensors = golden.tensors(weights)
    rows, features = len(tensors["model.embed_tokens.weight"]), tensors["model.mm_projector.weight"].shape[1]
    model = LlavaModel(LlamaConfig(vocab_size=rows, **golden.manifest["config"]["llm"]), features)
    model.load_state_dict(tensors)
    return model.eval()


def tokenizer(golden: Any) -> LlamaTokens:
    return LlamaTokens(golden.folder / "tokenizer" / "tokenizer.model", {})


@pytest.mark.golden("video_chatgpt", "frame_sampling.json")
def test_sampling(golden: Any) -> None:
    for case in golden.json():
        assert segment_middles(case["total_frames"], case["num_frm"]) == case["indices"]


@pytest.mark.golden("video_chatgpt", "preprocess_224.safetensors")
def test_pixels(golden: Any) -> None:
    tensors = golden.tensors()
    squares = [squashed(frame) for frame in tensors["frames_uint8"].numpy()]
    golden.expect(torch.tensor(squares[0]), "frame0_224_uint8")
    pixels = clip_pixels(squares, 224)
    golden.expect(pixels[0, :, ::2], "pixel_values_frame0_rows_stride2")


@pytest.mark.golden("video_chatgpt", "pooling_suite.safetensors")
def test_pooling(golden: Any) -> None:
    tensors = golden.tensors()
    for case in sorted({name.split("/")[0] for name in tensors if name.endswith("/np16")}):
        features = tensors[f"{case}/x"]
        golden.expect(pool(features), f"{case}/np32")
        golden.expect(pool(features), f"{case}/torch_half")
        golden.expect(pool(features.half()), f"{case}/np16")
    for name in tensors:
        if name.startswith("num_temporal") and name.endswith("/np32"):  # more frames than temporal tokens: all stay
            golden.expect(pool(tensors["num_temporal/x"]), name)


@pytest.mark.golden("video_chatgpt", "prompts.json")
def test_prompts(golden: Any) -> None:
    """Ids as the authors' fast tokenizer gives them at inference, and as their slow one does in training."""
    rows = golden.manifest["special_token_ids"]["vocab_len"]
    words = tokenizer(golden)
    names = {"<vid_patch>": rows - 3, "<vid_start>": rows - 2, "<vid_end>": rows - 1}
    path = golden.folder / "tokenizer" / "tokenizer.model"
    slow = LlamaTokens(path, names, stripping=frozenset(names))
    for case in golden.json():
        form = CONVERSATIONS[case["mode"]]
        assert form.stop == case["stop"]
        ids = build_prompt(case["question"], case["video_token_len"], words, rows=rows, style=case["mode"])
        assert ids.tolist() == case["ids_fast"]
        video = f"<vid_start>{'<vid_patch>' * case['video_token_len']}<vid_end>"
        text = f"{form.opening}{case['question']}\n{video}{form.closing}"
        assert text == case.get("prompt", text)
        assert [BEGIN, *slow.encode_template(text)] == case["ids_slow"]


@pytest.mark.golden("video_chatgpt", "e2e_*.safetensors")
@torch.inference_mode()
def test_answers(golden: Any) -> None:
    tensors = golden.tensors()
    name = golden.name.removesuffix(".safetensors").removeprefix("e2e_")
    run = next(run for run in golden.json("e2e_runs.json") if run["name"] == name)
    tower, model, words = build_tower(golden), build_model(golden, "llm_weights.safetensors"), tokenizer(golden)
    frames = tensors["frames_uint8"].numpy()
    indices = segment_middles(len(frames))
    golden.expect(torch.tensor(indices), "sampled_indices")
    squares = [squashed(frames[index]) for index in indices]
    pixels = clip_pixels(squares, tower.size)
    features = tower(pixels)
    for stage in [stage for stage in tensors if "_first" in stage]:
        actual = pixels if stage.startswith("pixel") else features
        expected = tensors[stage] if stage.startswith("pixel") else tensors[stage][:, 1:]
        torch.testing.assert_close(actual[: len(expected)], expected, rtol=1e-4, atol=1e-5)
    if "frame0_224_uint8" in tensors:
        golden.expect(torch.tensor(squares[0]), "frame0_224_uint8")
    pooled = pool(features)
    golden.expect(pooled, "pooled")
    golden.expect(pooled, "pooled_half")
    golden.expect(model.project(pooled), "projected")
    rows = golden.manifest["special_token_ids"]["vocab_len"]
    ids = build_prompt(run["question"], len(pooled), words, rows=rows, style=run["conv_mode"])
    golden.expect(ids[None], "input_ids")
    x = embed(model, ids, pooled)
    golden.expect(x, "inputs_embeds")
    logits = model(x)
    golden.expect(logits[:, ::4], "logits_stride4")
    golden.expect(logits[:, -24:], "logits_last24")
    said = torch.cat(list(greedy(model.start(x), tensors["greedy_ids"].shape[1] - len(ids))), dim=1)
    golden.expect(torch.cat([ids[None], said], dim=1), "greedy_ids")
    assert words.decode([token for token in said[0].tolist() if token != END]) == run["decoded"].strip()


@pytest.mark.golden("video_chatgpt", "llm_1024.safetensors")
@torch.inference_mode()
def test_stored_features(golden: Any) -> None:
    tensors = golden.tensors()
    model = build_model(golden, "llm_1024_weights.safetensors")
    features = tensors["features_half"][0].float()
    golden.expect(model.project(features), "projected")
    logits = model(embed(model, tensors["input_ids"][0], features))
    golden.expect(logits[:, -64:], "logits_last64")


@pytest.mark.golden("video_chatgpt", "train_step.safetensors")
def test_training_batch(golden: Any) -> None:
    """Conversations as the authors' slow tokenizer writes them; only answers are learnt."""
    tensors, rows = golden.tensors(), golden.manifest["special_token_ids"]["vocab_len"]
    names = {"<vid_patch>": rows - 3, "<vid_start>": rows - 2, "<vid_end>": rows - 1, "</s>": END}
    path = golden.folder / "tokenizer" / "tokenizer.model"
    slow, form = LlamaTokens(path, names, stripping=frozenset(names)), CONVERSATIONS["vicuna_v1_1"]
    video = f"<vid_start>{'<vid_patch>' * tensors['video_spatio_temporal_features'].shape[1]}<vid_end>"
    ids, labels = torch.zeros_like(tensors["input_ids"]), torch.full_like(tensors["labels"], -100)
    for row, (asked, answered) in enumerate(golden.json("train_step_sources.json")):
        instruction = f"{form.opening}{asked['value'].replace('<video>', video)}{form.closing} "
        written = [BEGIN, *slow.encode_template(f"{instruction}{answered['value']}{form.stop}")]
        start = len(slow.encode_template(instruction))
        ids[row, : len(written)] = torch.tensor(written)
        labels[row, start : len(written)] = torch.tensor(written[start:])
    golden.expect(ids, "input_ids")
    golden.expect(ids != 0, "attention_mask")
    golden.expect(labels, "labels")


@pytest.mark.golden("video_chatgpt", "train_step.safetensors")
@torch.inference_mode()
def test_training_step(golden: Any) -> None:
    tensors = golden.tensors()
    model = build_model(golden, "llm_weights.safetensors")
    batch = zip(tensors["input_ids"], tensors["video_spatio_temporal_features"], strict=True)
    x = torch.cat([embed(model, ids, features.float()) for ids, features in batch])
    logits = model(x, tensors["attention_mask"])
    golden.expect(logits[:, ::8], "logits")
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tensors["labels"][:, 1:].flatten(), ignore_index=-100)
    golden.expect(loss, "loss")


def test_full_size_names() -> None:
    """CLIP ViT-L/14, LLaVA-7B and what was trained on top: the tensors the specification lists, and no others."""
    with torch.device("meta"):
        tower = ClipTower(
            CLIPVisionConfig(
                hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14
            )
        )
        language = LlamaConfig(
            vocab_size=32006, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
        )
        model = LlavaModel(language, 1024, spoken=32003)
    shapes = {name: list(value.shape) for name, value in tower.state_dict().items()}
    norms = [f"encoder.layers.{layer}.layer_norm{norm}" for layer in range(24) for norm in (1, 2)]
    expected = {
        "embeddings.class_embedding": [1024],
        "embeddings.patch_embedding.weight": [1024, 3, 14, 14],
        "embeddings.position_embedding.weight": [257, 1024],
    }
    for norm in ("pre_layrnorm", "post_layernorm", *norms):
        expected |= {f"{norm}.weight": [1024], f"{norm}.bias": [1024]}
    for layer in range(24):
        at = f"encoder.layers.{layer}."
        for name in ("q", "k", "v", "out"):
            expected |= {f"{at}self_attn.{name}_proj.weight": [1024, 1024], f"{at}self_attn.{name}_proj.bias": [1024]}
        expected |= {f"{at}mlp.fc1.weight": [4096, 1024], f"{at}mlp.fc1.bias": [4096]}
        expected |= {f"{at}mlp.fc2.weight": [1024, 4096], f"{at}mlp.fc2.bias": [1024]}
    assert shapes == {f"vision_model.{name}": shape for name, shape in expected.items()}
    trained = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert trained["model.mm_projector.weight"] == [4096, 1024]
    assert trained["model.mm_projector.bias"] == [4096]
    assert trained["model.embed_tokens.weight"] == [32006, 4096]
    assert trained["lm_head.weight"] == [32003, 4096]
    assert len(trained) == 5 + 32 * 9


@pytest.fixture(scope="module")
def protocol() -> Any:
    """The benchmark script, which is no package."""
    path = Path(__file__).parents[2] / "benchmarks" / "judged_answers.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.golden("video_chatgpt", "answer_cleaning.json")
def test_cleaning(golden: Any, protocol: Any) -> None:
    for case in golden.json():
        assert protocol.clean(case["decoded"]) == case["answer"]


@pytest.mark.golden("video_chatgpt", "judge_aggregation.json")
def test_judging(golden: Any, protocol: Any) -> None:
    """The authors' scripts with canned replies: the same keys, the same numbers printed."""
    for case in golden.json():
        assert protocol.keys(case["video_names_in_order"]) == case["result_keys"]
        judged = [protocol.read(reply) for reply in case["judge_responses_in_order"]]
        printed = [float(line.rsplit(" ", 1)[1]) for line in case["printed"]]
        counted = [*protocol.accuracy(judged)] if case["aspect"] == "zero_shot_qa" else []
        assert [*counted, protocol.average(judged)] == pytest.approx(printed)


def test_a_reply_that_is_no_dictionary_is_asked_for_again(protocol: Any) -> None:
    assert protocol.read("Score: 4") is None
    assert protocol.read("__import__('os').getcwd()") is None
