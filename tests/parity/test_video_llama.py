"""Video-LLaMA against the authors' code, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from models.parts.eva_vit import EvaConfig
from models.parts.generation import Decoding, collect
from models.parts.imagebind import HUGE, ImageBindConfig, Tower
from models.parts.interleave import HERE, SlottedWords, interleave, segments
from models.parts.mel import Clips, mel_clips, resample
from models.parts.pixels import normalise, squash
from models.parts.qformer import QFormerConfig
from models.parts.sampling import frames_message, strided
from models.systems.video_llama import (
    KEYS,
    SYSTEM,
    VideoLlama,
    VideoLlamaConfig,
    audio_video_message,
    image_message,
    llama2_prompt,
    vicuna_prompt,
    video_message,
)
from models.weights import Hollow, load, read_tensors

SIGHT, AUDIO = "vit/ln/qformer", "imagebind"


def build(golden: Any) -> VideoLlama:
    """The model of a set, from its configuration and official file."""
    with Hollow():
        model = VideoLlama(configured(golden.manifest, golden.folder))
    load(model, [golden.folder / "weights.safetensors"], KEYS)
    return model.eval()


def configured(manifest: Any, folder: Path) -> VideoLlamaConfig:
    config = manifest["config"]
    vit, qformer, bind = config["vit"], config["qformer"], config["imagebind"]
    shapes = {name: tensor.shape for name, tensor in read_tensors(folder / "weights.safetensors")}
    towers = {
        name: Tower(
            bind[f"{name}_embed_dim"],
            bind[f"{name}_num_blocks"],
            bind[f"{name}_num_heads"],
            HUGE[name].tokens,
            HUGE[name].patch,
        )
        for name in ("vision", "audio")
    }
    return VideoLlamaConfig(
        vit=EvaConfig(config["img_size"], vit.get("patch_size", 14), vit["embed_dim"], vit["depth"], vit["num_heads"]),
        qformer=QFormerConfig(
            layers=qformer["num_hidden_layers"],
            hidden=qformer["hidden_size"],
            heads=qformer["num_attention_heads"],
            intermediate=qformer["intermediate_size"],
            context_width=vit["embed_dim"],
            vocabulary=None,
            positions=qformer["max_position_embeddings"],
        ),
        imagebind=ImageBindConfig(bind["out_embed_dim"], towers),
        queries=config["num_query_token"],
        video_queries=config["num_video_query_token"],
        audio_queries=config["num_audio_query_token"],
        frames=config["max_frame_pos"],
        clips=shapes["audio_position_embedding.weight"][0],
        language=manifest["derived"]["llm_config"],
    )


def clip_of(frames: torch.Tensor) -> torch.Tensor:
    """uint8 [B, 3, T, H, W] as the model takes it."""
    return normalise(frames.transpose(1, 2)).transpose(1, 2)


@pytest.mark.golden("video_llama", "vision_*.safetensors")
@torch.no_grad()
def test_sight_equals_the_authors_stage_by_stage(golden: Any) -> None:
    model, tensors = build(golden), golden.tensors()
    clip = clip_of(tensors["image_uint8"])
    pictures = clip.transpose(1, 2).flatten(0, 1)
    if "visual_encoder.out" in tensors:
        golden.close(model.visual_encoder(pictures), tensors["visual_encoder.out"], SIGHT)
    visual = model.encode(pictures)
    golden.close(visual, tensors["ln_vision.out"], SIGHT)
    described = model.describe(visual)
    if "Qformer.out" in tensors:
        golden.close(described, tensors["Qformer.out"], SIGHT)
    row = model.along_time(described.view(len(clip), -1, *described.shape[1:]))
    golden.close(row, tensors["video_Qformer.encoder_hidden_states"], SIGHT)
    summary = model.video_Qformer(model.video_query_tokens.expand(len(row), -1, -1), row)
    golden.close(summary, tensors["video_Qformer.out"], SIGHT)
    golden.close(model.see(clip), tensors["inputs_llama"], SIGHT)


@pytest.mark.golden("video_llama", "audio_preprocess.safetensors")
def test_sound_is_made_into_the_authors_pictures(golden: Any) -> None:
    tensors, meta = golden.tensors(), golden.meta
    for name, told in meta.items():
        if f"{name}.wave_int16" not in tensors:
            continue
        wave, rate = tensors[f"{name}.wave_int16"].float() / 32768, told.get("sample_rate", 16000)
        clips = mel_clips(wave, rate, Clips(count=told["clips_per_video"]))[None]
        for stored in (key for key in tensors if key.startswith(f"{name}.mel_clips")):
            chosen = stored.rpartition(".mel_")[2].partition("_")[2]
            rows = {"": slice(None), "first": [0], "first_last": [0, -1]}[chosen]
            golden.close(clips[:, rows], tensors[stored], "mel")
        if f"{name}.after_resample_head2000" in tensors:
            head = resample(wave, rate, 16000)[:, :2000]
            torch.testing.assert_close(head, tensors[f"{name}.after_resample_head2000"], atol=1e-5, rtol=1e-4)
        for stored in (key for key in tensors if key.startswith(f"{name}.pytorchvideo_main_sampler.mel_clips")):
            clips = mel_clips(wave, rate, Clips(count=told["clips_per_video"], to_the_end=True))[None]
            golden.close(clips[:, -2:], tensors[stored], "mel")


def test_independent_clips_each_have_no_mean_of_others() -> None:
    """The quirk is a switch: two clips of the same sound are pictured alike only when each loses just its own mean."""
    sound = torch.sin(torch.arange(3 * 16000) / 20.0)[None] + 0.5
    clip = sound[:, int(0.5 * 16000) :]
    alone = mel_clips(clip, 16000, Clips(count=1, independent=True))[0]
    assert torch.equal(mel_clips(sound, 16000, Clips(count=2, independent=True))[1], alone)
    assert not torch.equal(mel_clips(sound, 16000, Clips(count=2))[1], alone)


@pytest.mark.golden("video_llama", "audio_branch.safetensors")
@torch.no_grad()
def test_hearing_equals_the_authors_stage_by_stage(golden: Any) -> None:
    model, tensors = build(golden), golden.tensors()
    if not (golden.folder / "audio_preprocess.safetensors").exists():
        pytest.skip("the sounds are in ../shared/parity, which is not here")
    clips = golden.tensors("audio_preprocess.safetensors")["main.mel_clips8"]
    two, bind = clips[0, :2], model.audio_encoder
    tokens = bind.modality_preprocessors["audio"](two)
    golden.close(tokens, tensors["imagebind.audio_preprocessor.out"], AUDIO)
    golden.close(bind.modality_trunks["audio"](tokens), tensors["imagebind.audio_trunk.out"], AUDIO)
    before, embeddings = bind.hear(clips[0])
    golden.close(before[None], tensors["imagebind.audio_feature_pre_proj"], AUDIO)
    golden.close(embeddings[None], tensors["imagebind.audio_final_x20"], AUDIO)
    placed = embeddings + model.audio_position_embedding.weight[: len(embeddings)]
    golden.close(placed[None], tensors["audio_Qformer.encoder_hidden_states"], AUDIO)
    golden.close(model.audio_Qformer(model.audio_query_tokens, placed[None]), tensors["audio_Qformer.out"], AUDIO)
    golden.close(model.hear(clips), tensors["inputs_llama"], AUDIO)


@pytest.mark.golden("video_llama", "audio_branch_training_vision.safetensors")
@torch.no_grad()
def test_pictures_in_the_place_of_sounds(golden: Any) -> None:
    model, tensors = build(golden), golden.tensors()
    small = tensors["image28_uint8"].transpose(1, 2)
    frames = normalise(F.interpolate(small.flatten(0, 1).float(), scale_factor=8, mode="nearest").to(torch.uint8))
    before, embeddings = model.audio_encoder.see(frames)
    golden.close(before[None], tensors["imagebind.vision_feature_pre_proj"], AUDIO)
    golden.close(embeddings[None], tensors["imagebind.vision_final"], AUDIO)
    golden.close(model.hear_pictures(frames[None]), tensors["inputs_llama"], AUDIO)


@pytest.mark.golden("video_llama", "unused_audiovideo_joint.safetensors")
@torch.no_grad()
def test_the_parts_make_up_the_authors_unused_joint_branch(golden: Any) -> None:
    """They append what is heard to the frames; nobody calls it, but our parts compose to it."""
    model, tensors = build(golden), golden.tensors()
    clip = clip_of(tensors["image_uint8"])
    clips = golden.tensors("audio_preprocess.safetensors")["main.mel_clips8"][0]
    described = model.describe(model.encode(clip[0].transpose(0, 1)))[None]
    before, _ = model.audio_encoder.hear(clips)
    heard = before + model.video_frame_position_embedding.weight[: len(before)]
    row = torch.cat([model.along_time(described), heard[None]], dim=1)
    golden.close(model.summarise(row), tensors["inputs_llama"], AUDIO)


@pytest.mark.golden("video_llama", "preprocess.safetensors")
def test_preprocessing_sampling_and_the_message_about_it(golden: Any) -> None:
    tensors = golden.tensors()
    assert torch.equal(clip_of(tensors["video.frames_uint8"][None])[0], tensors["video.transformed"])
    picture = tensors["image.pil_uint8_hwc"].numpy()
    assert torch.equal(normalise(squash(picture, 224))[:, ::4, ::4], tensors["image.blip2_eval_224"])
    tiny = tensors["image.blip2_eval_tiny"]
    assert torch.equal(normalise(squash(picture, tiny.shape[-1])), tiny)
    for case in golden.meta["load_video"]:
        indices = strided(case["video_len"], case["n_frms"])
        assert [index % 251 for index in indices] == case["frame_values_mod251"]
        assert frames_message(indices, case["fps"]) == case["msg"]


def test_more_frames_than_a_float_step_allows_are_never_out_of_range() -> None:
    for length in range(1, 400):
        for frames in range(1, 33):
            indices = strided(length, frames)
            assert len(indices) == min(length, frames)
            assert indices == sorted(set(indices))
            assert indices[-1] < length


def prompts(meta: Any) -> dict[str, list[Any]]:
    """Every prompt of the golden file, built by us from what it was about."""
    built = {}
    for name, told in meta.items():
        if name.startswith("_"):
            continue
        template = vicuna_prompt if name.startswith("vicuna") else llama2_prompt
        closing = "###Assistant:" if name.startswith("vicuna") else " [/INST]"
        about = told["prompt"]
        if "audio" in told["img_list_order"]:
            message, before = audio_video_message(), "seen and heard."
        elif "image" in told["img_list_order"]:
            message, before = image_message(), "</Image> "
        else:
            frames = about.partition("</Video> ")[2].partition(" seconds. ")[0] + " seconds. "
            message, before = video_message(frames), frames
        rest = about.partition(before)[2]
        turns = rest.removesuffix(closing).split(closing)
        first, answers = turns[0].removeprefix(" "), []
        questions = [first]
        for turn in turns[1:]:
            answer, _, question = turn.partition("###Human: " if name.startswith("vicuna") else "</s><s>[INST] ")
            answers.append(answer.strip())
            questions.append(question)
        messages = [[*message, f" {first}"], *([question] for question in questions[1:])]
        built[name] = template(told["system"], list(zip(messages, [*answers, None], strict=True)))
    return built


@pytest.mark.golden("video_llama", "prompt.safetensors")
@torch.no_grad()
def test_prompts_and_answers_equal_the_authors_chat(golden: Any) -> None:
    model, tensors = build(golden), golden.tensors()
    words = SlottedWords(golden.folder / "tokenizer" / "llama_tokenizer.model")
    built = prompts(golden.meta)
    assert any(told["system"] == SYSTEM for name, told in golden.meta.items() if not name.startswith("_"))
    for name, prompt in built.items():
        told = golden.meta[name]
        assert segments(prompt) == told["segments"], name
        ids = words.encode(prompt)
        for number, segment in enumerate(ids):
            assert segment == tensors[f"{name}.seg{number}.input_ids"][0].tolist(), (name, number)
        inserted = [tensors[f"{name}.img_list{number}"][0] for number in range(prompt.count(HERE))]
        row = interleave(ids, inserted, model.llama_model.get_input_embeddings())
        golden.close(row, tensors[f"{name}.context_emb"], SIGHT)
        logits = model.llama_model(inputs_embeds=row).logits
        golden.close(logits[:, -8:], tensors[f"{name}.logits_last8"], "logits")
        golden.close(logits[:, :4], tensors[f"{name}.logits_first4"], "logits")
        expected = tensors[f"{name}.greedy_ids_raw"]
        mask = torch.ones(1, row.shape[1], dtype=torch.int64)
        how = Decoding(max_length=9, first=1)
        assert torch.equal(collect(model.llama_model, row, mask, how), expected), name
        for cut, stored in ((0, "sampled_ids_seed0"), (7, "sampled_ids_seed0_context_cut7")):
            drawn = tensors[f"{name}.{stored}"]
            torch.manual_seed(0)
            how = Decoding(max_length=13, first=1, sample=True, top_p=0.9, min_length=1)
            assert collect(model.llama_model, row[:, cut:], mask[:, cut:], how)[0, 1:].tolist() == drawn.tolist(), name


@pytest.mark.golden("video_llama", "prompt.safetensors")
@torch.no_grad()
def test_what_is_inserted_is_what_the_model_sees(golden: Any) -> None:
    model, tensors = build(golden), golden.tensors()
    clip = normalise(tensors["vid.frames_uint8_sampled"].transpose(0, 1)).transpose(0, 1)[None]
    golden.close(model.see(clip), tensors["vicuna_video.img_list0"], SIGHT)
    picture = normalise(squash(tensors["image.pil_uint8_hwc"].numpy(), model.config.vit.image_size))
    golden.close(model.see(picture[None, :, None]), tensors["vicuna_image.img_list0"], SIGHT)


@pytest.mark.golden("video_llama", "train_forward.safetensors")
def test_training_has_the_authors_loss_and_gradients(golden: Any) -> None:
    model, tensors = build(golden), golden.tensors()
    words = SlottedWords(golden.folder / "tokenizer" / "llama_tokenizer.model")
    embed = model.llama_model.get_input_embeddings()
    for name in ("caption", "image_prompt"):
        frames = tensors[f"{name}.image_uint8"]
        told = model.see(clip_of(frames if frames.dim() == 5 else frames.unsqueeze(2)))
        around = golden.meta[name].get("prompt", "<ImageHere>").split("<ImageHere>")
        before, after = (words.llama.encode_template(text) for text in around)
        assert_loss(
            golden, model, name, torch.stack([interleave([[1, *before], after], [row], embed)[0] for row in told])
        )
    for name in ("instruct_vicuna", "instruct_llama_v2"):
        ids = tensors[f"{name}.input_ids"]
        slots = ids >= words.llama.size
        told = model.see(clip_of(tensors[golden.meta[name]["image"]]))
        rows = embed(ids.masked_fill(slots, 0)).masked_scatter(slots[..., None], told)
        golden.close(rows, tensors[f"{name}.inputs_embeds"], SIGHT)
        loss = model.loss(rows, tensors[f"{name}.attention_mask"], tensors[f"{name}.labels"])
        golden.close(loss, tensors[f"{name}.loss"], "logits")
        assert_gradients(golden, model, name, loss)


def assert_loss(golden: Any, model: VideoLlama, name: str, prompt: torch.Tensor) -> None:
    """Prompt and golden text in one row: embeddings, logits, loss and gradients."""
    tensors = golden.tensors()
    labels, mask = tensors[f"{name}.labels"], tensors[f"{name}.attention_mask"]
    text = labels[:, prompt.shape[1] :].clamp(min=0)
    rows = torch.cat([prompt, model.llama_model.get_input_embeddings()(text)], dim=1)
    real = mask.bool()[..., None]
    golden.close(rows * real, tensors[f"{name}.inputs_embeds"] * real, SIGHT)
    logits = model.llama_model(inputs_embeds=rows, attention_mask=mask).logits
    golden.close(logits * real, tensors[f"{name}.logits"] * real, "logits")
    loss = model.loss(rows, mask, labels)
    golden.close(loss, tensors[f"{name}.loss"], "logits")
    assert_gradients(golden, model, name, loss)


def assert_gradients(golden: Any, model: VideoLlama, name: str, loss: torch.Tensor) -> None:
    tensors = golden.tensors()
    model.zero_grad()
    loss.backward()
    gradients = {key: value for key, value in tensors.items() if key.startswith((f"{name}.grad.", f"{name}.gradnorm."))}
    for key, expected in gradients.items():
        _, kind, parameter = key.split(".", 2)
        actual = model.get_parameter(parameter).grad
        assert actual is not None
        golden.close(actual if kind == "grad" else actual.norm(), expected, "grads")


def test_every_official_tensor_has_its_place(official_shapes: Any) -> None:
    official = official_shapes("video_llama")
    with torch.device("meta"):
        ours = {name: list(tensor.shape) for name, tensor in VideoLlama(VideoLlamaConfig()).state_dict().items()}
    computed = {name for name in official if KEYS.ours(name) is None}
    assert all(name.endswith("rotary_emb.inv_freq") for name in computed)  # newer libraries do not save them
    assert ours == {name: shape for name, shape in official.items() if name not in computed}
