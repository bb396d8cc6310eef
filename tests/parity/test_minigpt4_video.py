"""MiniGPT4-video against the authors' code, stage by stage, for both of its language models."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from models.parts.eva_vit import EvaConfig
from models.parts.generation import Decoding, collect
from models.parts.interleave import HERE, SlottedWords, interleave
from models.parts.pixels import IMAGENET_STATISTICS, normalise, squash
from models.parts.sampling import spaced, spacing
from models.parts.subtitles import (
    captions,
    listen_by_seconds,
    listen_once,
    listen_word_by_word,
    milliseconds,
    parse_vtt,
    timestamp,
)
from models.systems.minigpt4_video import (
    KEYS,
    LLAMA2_7B,
    MISTRAL_7B,
    MiniGpt4Video,
    MiniGpt4VideoConfig,
    clean,
    join_neighbours,
    pad_left,
    prompt,
)
from models.weights import Hollow, load

_PICTURE = "<Img><ImageHere>"


def build(golden: Any, family: str) -> MiniGpt4Video:
    """The model of a set, from its configuration and official file."""
    config = golden.manifest["config"]
    vit = config["vit"]
    full = LLAMA2_7B if family == "llama" else MISTRAL_7B
    with Hollow():
        model = MiniGpt4Video(
            MiniGpt4VideoConfig(
                vit=EvaConfig(config["img"], vit["patch_size"], vit["embed_dim"], vit["depth"], vit["num_heads"]),
                family=family,
                language=full | config[family] | {"vocab_size": config["vocab"]},
                rank=config["lora_r"],
            )
        )
    load(model, [golden.folder / f"weights_{family}.safetensors"], KEYS)
    return model.eval()


def words_of(golden: Any) -> SlottedWords:
    return SlottedWords(golden.folder / "tokenizer" / "tokenizer.model")


def parts_of(text: str) -> list[Any]:
    """A prompt as the golden files write it, with its slots."""
    first, *others = text.split("<ImageHere>")
    return [first, *(part for other in others for part in (HERE, other))]


def generated(
    model: MiniGpt4Video, row: torch.Tensor, mask: torch.Tensor, expected: torch.Tensor, penalty: float
) -> None:
    how = Decoding(max_length=expected.shape[1], first=1, repetition_penalty=penalty)
    assert collect(model.language, row, mask.long(), how).tolist() == expected.tolist()


@pytest.mark.golden("minigpt4_video", "e2e_*.safetensors")
@torch.no_grad()
def test_from_frames_to_answer(golden: Any) -> None:
    family = golden.name.removeprefix("e2e_").removesuffix(".safetensors")
    model, words, tensors = build(golden, family), words_of(golden), golden.tensors()
    run = next(run for run in golden.json("e2e_runs.json") if run["kind"] == family)
    frames, indices = tensors["frames_uint8"].numpy(), tensors["frame_indices"].tolist()
    assert spaced(len(frames), len(indices)) == indices
    side = model.config.vit.image_size
    pixels = normalise(torch.stack([squash(frames[index], side) for index in indices]), IMAGENET_STATISTICS)
    assert torch.equal(pixels, tensors["pixel_values"])
    some = pixels[: len(tensors["vit_output"])]
    golden.close(model.visual_encoder(some), tensors["vit_output"], "")
    tokens = model.encode(some)
    golden.close(tokens, tensors["ln_vision_output"], "")
    golden.close(join_neighbours(tokens[:, 1:]), tensors["concat4"], "")
    told = model.see(pixels)
    golden.close(told, tensors["projected"], "")

    ids = words.encode(parts_of(run["prompt"]))
    assert ids == run["segment_ids"]
    row = model.embed(ids, list(told))
    golden.close(row, tensors["inputs_embeds"], "")
    logits = model.language(inputs_embeds=row).logits
    golden.close(logits[:, ::3], tensors["logits_stride3"], "")
    golden.close(logits[:, -16:], tensors["logits_last16"], "")
    mask = torch.ones_like(row[..., 0])
    generated(model, row, mask, tensors["generated_official_ids"], run["repetition_penalty"])
    generated(model, row, mask, tensors["generated_plain_ids"], 1.0)
    assert clean(words.llama.decode(tensors["generated_official_ids"][0].tolist())) == run["answer"][0]

    second = parts_of(run["batch_prompt_2"])
    batch, mask = pad_left(
        [row, model.embed(words.encode(second), list(told.flip(0)[: second.count(HERE)]))]
    )  # theirs ran backwards
    golden.close(batch, tensors["batch2_inputs_embeds"], "")
    assert torch.equal(mask, tensors["batch2_attention_mask"].long())
    generated(model, batch, mask, tensors["batch2_generated_ids"], run["repetition_penalty"])
    answers = [clean(words.llama.decode(ids.tolist())) for ids in tensors["batch2_generated_ids"]]
    assert answers == run["batch_answers"]


@pytest.mark.golden("minigpt4_video", "e2e_*.safetensors")
@torch.no_grad()
def test_a_prompt_longer_than_the_context_loses_its_beginning(golden: Any) -> None:
    family = golden.name.removeprefix("e2e_").removesuffix(".safetensors")
    model, words, tensors = build(golden, family), words_of(golden), golden.tensors()
    run = next(run for run in golden.json("e2e_runs.json") if run["kind"] == family)
    pictures = int(run["trunc_prompt"].partition("*")[2].partition(" ")[0])
    told = model.project(tensors["trunc_feature"])[0]
    text = f"<s>[INST] {_PICTURE * pictures}\nWhat is it? [/INST]"
    row = model.embed(words.encode(parts_of(text)), [told] * pictures)
    assert row.shape[1] == run["trunc_len"] == model.config.context
    golden.close(row[:, :2], tensors["trunc_first2_embeds"], "")
    expected = tensors["trunc_generated_ids"]
    logits = model.language(inputs_embeds=row, logits_to_keep=4).logits
    golden.close(logits, tensors["trunc_logits_last4"], "")
    generated(model, row, torch.ones_like(row[..., 0]), expected, run["repetition_penalty"])


@pytest.mark.golden("minigpt4_video", "train_step_*.safetensors")
@torch.no_grad()
def test_training_has_the_authors_loss(golden: Any) -> None:
    family = golden.name.removeprefix("train_step_").removesuffix(".safetensors")
    model, words, tensors, lesson = (
        build(golden, family),
        words_of(golden),
        golden.tensors(),
        golden.json("train_step.json"),
    )
    embed = model.language.get_input_embeddings()
    rows = []
    for images, instruction, answer in zip(
        tensors["images_half"].float(), lesson["instruction_input"], lesson["answer"], strict=True
    ):
        segments = [words.llama.encode_template(text) for text in f"[INST] {instruction}[/INST]".split("<ImageHere>")]
        condition = interleave(segments, list(model.see(images)), embed)[0, : lesson["max_context_len"]]
        told = words.llama.encode_template(f"{answer}</s>")[: lesson["max_txt_len"]]
        rows.append((condition, told))
    longest = max(len(told) for _, told in rows)
    padding = embed(torch.tensor(0))
    batch, masks, labels = [], [], []
    for condition, told in rows:
        room = lesson["max_context_len"] - len(condition)
        more = longest - len(told)
        answer = embed(torch.tensor(told + [0] * more))
        batch.append(torch.cat([embed(torch.tensor([1])), condition, answer, padding.expand(room, -1)]))
        masks.append([1] * (1 + len(condition) + len(told)) + [0] * (more + room))
        labels.append([-100] * (1 + len(condition)) + told + [-100] * (more + room))
    assert masks == tensors["attention_mask"].tolist()
    assert labels == tensors["labels"].tolist()
    embeddings = torch.stack(batch)
    golden.close(embeddings[:, ::2], tensors["inputs_embeds_stride2"], "")
    golden.close(model.loss(embeddings, tensors["attention_mask"], tensors["labels"]), tensors["loss"], "")


@pytest.mark.golden("minigpt4_video", "concat_suite.safetensors")
def test_four_neighbours_become_one(golden: Any) -> None:
    tensors = golden.tensors()
    for case in {name.partition("/")[0] for name in tensors if name.endswith("/x")}:
        joined = join_neighbours(tensors[f"{case}/x"])
        assert torch.equal(joined, tensors[f"{case}/concat"])
        projected = torch.nn.functional.linear(joined, tensors[f"{case}/weight"], tensors[f"{case}/bias"])
        golden.close(projected, tensors[f"{case}/projected"], "")
    numbers = torch.arange(256.0).view(1, 256, 1)
    assert torch.equal(join_neighbours(numbers), tensors["order_16x16/concat"])


@pytest.mark.golden("minigpt4_video", "preprocess_224.safetensors")
def test_pixels_are_the_authors_to_the_bit(golden: Any) -> None:
    tensors = golden.tensors()
    pixels = normalise(squash(tensors["frame_uint8"].numpy(), 224), IMAGENET_STATISTICS)
    assert torch.equal(pixels[:, ::2], tensors["pixel_values_rows_stride2"])


@pytest.mark.golden("minigpt4_video", "frame_sampling.json")
def test_frames_taken(golden: Any) -> None:
    for case in golden.json():
        step = spacing(int(case["duration"] * case["fps"]), case["max_frames"])
        assert step == case["sampling_interval"]
        taken = list(range(0, case["total_frames"], step))[: case["max_frames"]]
        assert (len(taken), taken[-1]) == (case["n_images"], case["last_index"])


@pytest.mark.golden("minigpt4_video", "subtitle_interleaving.json")
def test_speech_between_pictures_by_all_three_rules(golden: Any) -> None:
    for case in golden.json():
        cues = parse_vtt(case["vtt"])
        parsed = [[cue.start, cue.end, cue.line.strip()] for cue in cues]
        assert parsed == case["parsed_subtitles_ms"]
        # a file whose length is misstated gives the interval of the length it states
        step = spacing(int(case["duration"] * case["fps"]), case["max_frames"])
        assert step == case["sampling_interval"]
        frames = list(range(0, case["total_frames"], step))[: case["max_frames"]]
        assert frames == case["frame_indices"]
        rules = {"": listen_once, "benchmark": listen_by_seconds, "training": listen_word_by_word}
        for rule, listen in rules.items():
            expected = case[rule] if rule else {"text": case["placeholder_text"], "length": len(frames)}
            behind = captions(cues, frames, case["fps"], listen, words=case["max_sub_words"])
            behind += [""] * (expected["length"] - len(frames))
            text = "".join(_PICTURE + (f"<Cap>{caption}" if caption else "") for caption in behind)
            assert f"{text}\n{case['instruction']}" == expected["text"], (case["name"], rule)


@pytest.mark.golden("minigpt4_video", "vtt_timestamps.json")
def test_times_of_subtitles(golden: Any) -> None:
    expected = dict(golden.json())
    for time, value in expected.pop("to_ms").items():
        assert milliseconds(time) == value
    for seconds, written in expected.items():
        assert timestamp(float(seconds)) == written


@pytest.mark.golden("minigpt4_video", "prompts.json")
def test_prompts_of_both_scripts(golden: Any) -> None:
    words = words_of(golden)
    for case in golden.json():
        question = case["prompt"].partition("\n")[2].removesuffix(" [/INST]")
        parts = prompt([""] * case["n_images"], question, case["path"])
        assert "".join("<ImageHere>" if part is HERE else str(part) for part in parts) == case["prompt"]
        assert words.encode(parts) == case["segment_ids"]


@pytest.mark.golden("minigpt4_video", "answer_cleaning.json")
def test_answers_are_cleaned_as_the_authors_do(golden: Any) -> None:
    for case in golden.json():
        assert clean(case["decoded"]) == case["answer"]


@pytest.mark.golden("minigpt4_video", "manifest.json")
def test_what_the_authors_trained_has_the_names_of_their_checkpoints(golden: Any) -> None:
    for family, names in golden.manifest["checkpoint_keys"].items():
        model = build(golden, family)
        ours = {name for name in model.state_dict() if "lora_" in name or name.startswith("llama_proj")}
        assert ours == set(names)


def test_full_size_trees_have_the_published_shapes() -> None:
    for family, language in (("llama", LLAMA2_7B), ("mistral", MISTRAL_7B)):
        with torch.device("meta"):
            shapes = {
                name: tuple(tensor.shape)
                for name, tensor in MiniGpt4Video(MiniGpt4VideoConfig(family=family, language=language))
                .state_dict()
                .items()
            }
        llm = "llama_model.base_model.model."
        values = 4096 if family == "llama" else 1024
        expected = {
            "visual_encoder.cls_token": (1, 1, 1408),
            "visual_encoder.pos_embed": (1, 257, 1408),
            "visual_encoder.patch_embed.proj.weight": (1408, 3, 14, 14),
            "visual_encoder.blocks.38.attn.qkv.weight": (4224, 1408),
            "visual_encoder.blocks.0.attn.q_bias": (1408,),
            "visual_encoder.blocks.0.mlp.fc1.weight": (6144, 1408),
            "ln_vision.weight": (1408,),
            "llama_proj.weight": (4096, 5632),
            f"{llm}model.embed_tokens.weight": (32000, 4096),
            f"{llm}model.norm.weight": (4096,),
            f"{llm}lm_head.0.weight": (32000, 4096),
            f"{llm}model.layers.31.self_attn.q_proj.weight": (4096, 4096),
            f"{llm}model.layers.31.self_attn.q_proj.lora_A.weight": (64, 4096),
            f"{llm}model.layers.31.self_attn.q_proj.lora_B.weight": (4096, 64),
            f"{llm}model.layers.31.self_attn.v_proj.lora_B.weight": (values, 64),
        }
        assert {name: shapes.get(name) for name in expected} == expected
        assert "visual_encoder.blocks.39.norm1.weight" not in shapes
        assert len([name for name in shapes if name.startswith("visual_encoder.")]) == 511
        assert len([name for name in shapes if ".lora_" in name]) == 32 * 4


def test_adapters_add_their_low_rank_product() -> None:
    from models.systems.minigpt4_video import LoraLinear

    torch.manual_seed(1)
    layer, x = LoraLinear(6, 5, rank=2, scale=0.25), torch.randn(3, 6)
    merged = layer.weight + 0.25 * layer.lora_B.weight @ layer.lora_A.weight
    torch.testing.assert_close(layer(x), x @ merged.T)


def test_interleaving_refuses_pictures_without_a_place() -> None:
    embed = torch.nn.Embedding(3, 2)
    with pytest.raises(ValueError, match="2 pictures need 3 texts"):
        interleave([[0], [1]], [torch.zeros(1, 2)] * 2, embed)


def test_pictures_are_taken_in_steady_steps() -> None:
    random = np.random.default_rng(0)
    for length, frames in random.integers(1, 500, (200, 2)).tolist():
        taken = spaced(length, frames)
        assert len({after - before for before, after in pairwise(taken)}) <= 1
        assert len(taken) == min(length, frames)
