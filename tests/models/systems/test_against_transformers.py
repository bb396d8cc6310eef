"""Networks of other sizes than the golden ones, against transformers' own where it has one and is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from models.parts.cogvlm_decoder import CogDecoderConfig
from models.parts.decoding import greedy
from models.parts.eva2_clip import Eva2ClipConfig
from models.parts.qwen_pixels import PixelBudget, VideoBudget, picture_patches, video_patches
from models.systems.cogvlm2_video import CogVlm2Config, CogVlm2Model
from models.systems.cogvlm2_video import Prompt as CogPrompt
from models.systems.qwen2_vl import Prompt, Qwen2VlModel, Visual


def randomise(module: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            value.copy_(centre + torch.randn(value.shape, generator=generator) * 0.15)


@pytest.mark.parametrize(("heads", "kv_heads", "tied", "seed"), [(4, 4, True, 1), (6, 2, False, 2), (2, 1, True, 3)])
def test_qwen2_vl(heads: int, kv_heads: int, tied: bool, seed: int) -> None:
    """Videos short enough that transformers positions the text after them right (time no longer than the grid)."""
    hidden = heads * 16
    config = Qwen2VLConfig(
        vocab_size=120,
        hidden_size=hidden,
        intermediate_size=72,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=tied,
        rope_scaling={"type": "mrope", "mrope_section": [2, 3, 3]},
        vision_config={"depth": 2, "embed_dim": 40, "num_heads": 5, "mlp_ratio": 3, "hidden_size": hidden},
        vision_start_token_id=100,
        vision_end_token_id=101,
        image_token_id=102,
        video_token_id=103,
    )
    theirs, ours = Qwen2VLForConditionalGeneration(config).eval(), Qwen2VlModel(config).eval()
    randomise(ours, seed)
    names = {"visual": "model.visual", "model": "model.language_model", "lm_head": "lm_head"}
    parts = ((*name.split(".", 1), value) for name, value in ours.state_dict().items())
    state = {f"{names[owner]}.{rest}": value for owner, rest, value in parts}
    theirs.load_state_dict(state, strict=False)
    theirs.tie_weights()

    pixels = np.random.default_rng(seed)
    frames = [pixels.integers(0, 256, (84, 112, 3), dtype=np.uint8) for _ in range(4)]
    image = picture_patches(pixels.integers(0, 256, (60, 90, 3), dtype=np.uint8), PixelBudget(3136, 12544))
    video = video_patches(frames, VideoBudget(3136, 12544))
    visuals = (Visual(image, still=True), Visual(video))
    ids = [5, 100, *[102] * visuals[0].grid.tokens, 101, 6, 7, 100, *[103] * visuals[1].grid.tokens, 101, 8, 9]
    prompt = Prompt(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool), visuals)
    inputs = {
        "pixel_values": image.values,
        "image_grid_thw": torch.tensor([image.grid]),
        "pixel_values_videos": video.values,
        "video_grid_thw": torch.tensor([video.grid]),
        "mm_token_type_ids": torch.tensor([[{102: 1, 103: 2}.get(token, 0) for token in ids]]),
    }
    with torch.inference_mode():
        torch.testing.assert_close(ours(prompt), theirs(input_ids=prompt.ids, **inputs).logits, atol=1e-4, rtol=1e-4)
        generated = theirs.generate(prompt.ids, **inputs, max_new_tokens=6, do_sample=False, eos_token_id=-1)
    said = torch.cat(list(greedy(ours.start(prompt), 6)), dim=1)
    assert torch.equal(said, generated[:, len(ids) :])


@pytest.mark.parametrize(("heads", "kv_heads", "seed"), [(8, 2, 1), (3, 3, 2), (6, 1, 3)])
def test_cogvlm_without_pictures_is_llama(heads: int, kv_heads: int, seed: int) -> None:
    """With text alone and frequencies of the formula, its decoder is Llama 3's under other names."""
    C, inner, layers, vocabulary = heads * 16, 80, 3, 90
    language = CogDecoderConfig(vocabulary, C, inner, layers, heads, kv_heads)
    tower = Eva2ClipConfig(16, 1, 2, 24, C, inner, image_size=28)
    ours = CogVlm2Model(CogVlm2Config(language, tower, bos=0, eos=1, pad=2)).eval()
    randomise(ours, seed)
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=C,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        )
    ).eval()
    for layer in ours.model.layers:
        layer.self_attn.rotary_emb.inv_freq = 500000.0 ** (-torch.arange(0, 16, 2) / 16)
    state: dict[str, torch.Tensor] = {}
    for name, value in ours.state_dict().items():
        if "vision" in name or "inv_freq" in name:
            continue
        renamed = name.replace("mlp.language_mlp", "mlp").replace("language_expert_dense", "o_proj")
        if "query_key_value" in name:
            parts = value.split([C, kv_heads * 16, kv_heads * 16])
            whole = "language_expert_query_key_value"
            state |= {renamed.replace(whole, f"{x}_proj"): part for x, part in zip("qkv", parts, strict=True)}
        else:
            state[renamed] = value
    theirs.load_state_dict(state)
    ids = torch.randint(0, vocabulary, (2, 11), generator=torch.Generator().manual_seed(seed))
    prompt = CogPrompt(ids, torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool))
    with torch.inference_mode():
        torch.testing.assert_close(ours(prompt), theirs(ids).logits, atol=1e-4, rtol=1e-4)
