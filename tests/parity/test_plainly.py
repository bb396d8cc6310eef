"""The systems against their specification written down once more, plain and slow, at random sizes, lengths and seeds.

The golden tensors are the authors' own, but of a few sizes. These are loops over what is specified, in float64 where it
helps, without any part of ours; they hold for one frame and for many, for odd sizes and for a bank that is just full.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from models.parts.banked_context import Memory, ReprojectingMemory
from models.parts.clip_vision import ClipTower
from models.parts.cogvlm_decoder import cog_positions
from models.parts.eva2_clip import Eva2Clip, Eva2ClipConfig
from models.parts.eva_vit import EvaConfig, EvaVit
from models.parts.multimodal_rope import Grid, multimodal_positions
from models.parts.pixels import stack
from models.parts.qformer import QFormer, QFormerConfig, Text
from models.parts.qwen_pixels import PixelBudget, patches, picture_patches, resize_video
from models.parts.token_merging import Tokens
from models.systems.chat_univi import Merging
from models.systems.cogvlm2_video import cog_pixels, each_second
from models.systems.minigpt4_video import join_neighbours
from models.systems.video_chatgpt import pool, segment_middles

quick = settings(max_examples=40, derandomize=True)


def scrambled(module: torch.nn.Module, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Random weights, and the same as plain numbers by name."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.named_parameters():
            centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            value.copy_(centre + torch.randn(value.shape, generator=generator) * 0.2)
    module.eval()
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def normed(x: Any, w: Any, name: str, eps: float) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Any, w: Any, name: str) -> Any:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def gelu(x: Any) -> Any:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def attended(q: Any, k: Any, v: Any, heads: int, hidden: Any = None) -> Any:
    """Rows q [R, C] over k, v [S, C], head by head and row by row; `hidden` [S] is added to the scores."""
    out = np.zeros_like(q)
    width = q.shape[1] // heads
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        for row in range(len(q)):
            scores = k[:, own] @ q[row, own] / math.sqrt(width)
            scores = scores if hidden is None else scores + hidden
            shares = np.exp(scores - scores.max())
            out[row, own] = shares / shares.sum() @ v[:, own]
    return out


def close(actual: Tensor, expected: Any, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(actual.detach().double(), torch.as_tensor(expected), atol=tolerance, rtol=tolerance)


# --- eyes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "patch", "width", "heads", "depth"), [(28, 14, 12, 3, 1), (30, 6, 16, 2, 3)])
def test_eva_vit(side: int, patch: int, width: int, heads: int, depth: int) -> None:
    """MA-LMM's specification, 1.1: queries scaled before the product, keys without bias, no norm at the end."""
    vit = EvaVit(EvaConfig(side, patch, width, depth, heads))
    w = scrambled(vit, side)
    pictures = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    expected = []
    for picture in pictures.double().numpy():
        cuts = [
            picture[:, y : y + patch, x : x + patch].reshape(-1)
            for y in range(0, side, patch)
            for x in range(0, side, patch)
        ]
        kernel = w["patch_embed.proj.weight"].reshape(width, -1)
        rows = np.stack(cuts) @ kernel.T + w["patch_embed.proj.bias"]
        x = np.concatenate([w["cls_token"][0], rows]) + w["pos_embed"][0]
        for block in range(depth):
            at = f"blocks.{block}"
            y = normed(x, w, f"{at}.norm1", 1e-6)
            bias = np.concatenate([w[f"{at}.attn.q_bias"], np.zeros(width), w[f"{at}.attn.v_bias"]])
            q, k, v = np.split(y @ w[f"{at}.attn.qkv.weight"].T + bias, 3, axis=1)
            x = x + linear(attended(q, k, v, heads), w, f"{at}.attn.proj")
            y = gelu(linear(normed(x, w, f"{at}.norm2", 1e-6), w, f"{at}.mlp.fc1"))
            x = x + linear(y, w, f"{at}.mlp.fc2")
        expected.append(x)
    close(vit(pictures), np.stack(expected))


@pytest.mark.parametrize(("side", "heads"), [(56, 2), (84, 3)])
def test_eva2_clip(side: int, heads: int) -> None:
    """CogVLM2-Video's, 4: norms behind the branches, a 2 x 2 convolution, a gate, a vector before and after."""
    config = Eva2ClipConfig(12, 2, heads, 20, 8, 10, image_size=side)
    tower = Eva2Clip(config)
    w = scrambled(tower, side)
    pictures = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    expected, grid = [], side // 14
    for picture in pictures.double().numpy():
        cuts = [picture[:, y : y + 14, x : x + 14].reshape(-1) for y in range(0, side, 14) for x in range(0, side, 14)]
        kernel = w["patch_embedding.proj.weight"].reshape(12, -1)
        rows = np.stack(cuts) @ kernel.T + w["patch_embedding.proj.bias"]
        x = np.concatenate([w["patch_embedding.cls_embedding"], rows]) + w["patch_embedding.position_embedding.weight"]
        for layer in range(2):
            at = f"transformer.layers.{layer}"
            q, k, v = np.split(linear(x, w, f"{at}.attention.query_key_value"), 3, axis=1)
            branch = linear(attended(q, k, v, heads), w, f"{at}.attention.dense")
            x = x + normed(branch, w, f"{at}.input_layernorm", 1e-6)
            branch = linear(gelu(linear(x, w, f"{at}.mlp.fc1")), w, f"{at}.mlp.fc2")
            x = x + normed(branch, w, f"{at}.post_attention_layernorm", 1e-6)
        square = x[1:].reshape(grid, grid, 12)
        joined = []
        for row in range(0, grid - 1, 2):
            for column in range(0, grid - 1, 2):
                four = square[row : row + 2, column : column + 2]  # [2, 2, in]
                joined.append(np.einsum("oiyx,yxi->o", w["conv.weight"], four) + w["conv.bias"])
        y = gelu(normed(linear(np.stack(joined), w, "linear_proj.linear_proj"), w, "linear_proj.norm1", 1e-5))
        gate = linear(y, w, "linear_proj.gate_proj")
        y = gate / (1 + np.exp(-gate)) * linear(y, w, "linear_proj.dense_h_to_4h")
        expected.append(np.concatenate([w["boi"][0], linear(y, w, "linear_proj.dense_4h_to_h"), w["eoi"][0]]))
    close(tower(pictures), np.stack(expected))


@pytest.mark.parametrize(("side", "patch", "depth"), [(24, 8, 1), (30, 5, 4)])
def test_clip_s_last_block_but_one(side: int, patch: int, depth: int) -> None:
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=depth,
        num_attention_heads=4,
        image_size=side,
        patch_size=patch,
    )
    tower, theirs = ClipTower(config).eval(), CLIPVisionModel(config).eval()
    theirs.load_state_dict(tower.vision_model.state_dict())
    pictures = torch.randn(17, 3, side, side, generator=torch.Generator().manual_seed(3))  # one more than go at once
    with torch.no_grad():
        states = theirs(pictures, output_hidden_states=True).hidden_states
        torch.testing.assert_close(tower(pictures), states[-2][:, 1:], atol=1e-5, rtol=1e-5)


# --- MA-LMM's stream ---------------------------------------------------------------------------------------------


def merged(bank: list[Any], size: list[Any]) -> None:
    """The specification's 3.1: per token, the most similar neighbours in time, weighted; bank is a list of [N, C]."""
    entries, sizes = np.stack(bank), np.stack(size)
    kept, counts = np.zeros_like(entries[1:]), np.zeros_like(sizes[1:])
    for token in range(entries.shape[1]):
        row = entries[:, token]
        lengths = np.maximum(np.linalg.norm(row, axis=1), 1e-8)
        similar = [row[t] @ row[t + 1] / (lengths[t] * lengths[t + 1]) for t in range(len(row) - 1)]
        k = int(np.argmax(similar))
        a, b = sizes[k, token], sizes[k + 1, token]
        mean = (a * row[k] + b * row[k + 1]) / (a + b)
        kept[:, token] = np.concatenate([row[:k], [mean], row[k + 2 :]])
        counts[:, token] = np.concatenate([sizes[:k, token], [a + b], sizes[k + 2 :, token]])
    bank[:], size[:] = list(kept), list(counts)


class Plainly:
    """One row of a batch, frame by frame, from the specification's section 3 and 1.2."""

    def __init__(self, w: Any, layers: int, heads: int, length: int) -> None:
        self.w, self.layers, self.heads, self.length = w, layers, heads, length
        self.seen: list[Any] = []
        self.weight: list[Any] = []
        self.asked: list[list[Any]] = [[] for _ in range(layers)]
        self.counts: list[list[Any]] = [[] for _ in range(layers)]

    def look(self, queries: Any, frame: Any, words: Any, mask: Any) -> Any:
        w, asks = self.w, len(queries)
        text = w["bert.embeddings.word_embeddings.weight"][words]
        text = text + w["bert.embeddings.position_embeddings.weight"][: len(words)]
        x = normed(np.concatenate([queries, text]), w, "bert.embeddings.LayerNorm", 1e-12)
        sight = np.concatenate([*self.seen, frame])
        unreal = np.concatenate([np.zeros(asks), (1 - mask) * -10000.0])
        for layer in range(self.layers):
            at, entered = f"bert.encoder.layer.{layer}", x
            past = np.concatenate([*self.asked[layer], x])
            hidden = np.tile(unreal, len(self.asked[layer]) + 1)
            x = self._attend(f"{at}.attention", x, past, hidden)
            ask, told = x[:asks], x[asks:]
            if layer % 2 == 0:
                ask = self._attend(f"{at}.crossattention", ask, sight, None)
            ask = self._forward(at, "_query", ask)
            x = np.concatenate([ask, self._forward(at, "", told)])
            self._keep(self.asked[layer], self.counts[layer], entered)
        self._keep(self.seen, self.weight, frame)
        return x

    def _attend(self, at: str, x: Any, over: Any, hidden: Any) -> Any:
        w = self.w
        q, k, v = (
            linear(x, w, f"{at}.self.query"),
            linear(over, w, f"{at}.self.key"),
            linear(over, w, f"{at}.self.value"),
        )
        out = linear(attended(q, k, v, self.heads, hidden), w, f"{at}.output.dense")
        return normed(out + x, w, f"{at}.output.LayerNorm", 1e-12)

    def _forward(self, at: str, kind: str, x: Any) -> Any:
        inner = gelu(linear(x, self.w, f"{at}.intermediate{kind}.dense"))
        out = linear(inner, self.w, f"{at}.output{kind}.dense")
        return normed(out + x, self.w, f"{at}.output{kind}.LayerNorm", 1e-12)

    def _keep(self, bank: list[Any], counts: list[Any], entry: Any) -> None:
        bank.append(entry)
        counts.append(np.ones(len(entry)))
        if len(bank) > self.length:
            merged(bank, counts)


@pytest.mark.parametrize("way", [Memory, ReprojectingMemory, lambda length: Memory(length, cache_bytes=9_000)])
@pytest.mark.parametrize(("length", "frames", "rows"), [(1, 5, 1), (2, 2, 2), (3, 4, 1), (4, 11, 2)])
def test_ma_lmm_s_banks(way: Callable[[int], Any], length: int, frames: int, rows: int) -> None:
    """Batches with padded text, banks of one, of two that are just full, of more that merge often."""
    config = QFormerConfig(3, 12, 3, 20, 10, 2, 40, 16)
    former = QFormer(config)
    w = scrambled(former, length)
    random = np.random.default_rng(frames)
    queries = random.normal(size=(3, 12))
    words = random.integers(0, 40, (rows, 5))
    mask = np.array([[1] * 5, [1, 1, 1, 0, 0]])[:rows]
    clip = random.normal(size=(frames, rows, 4, 10))
    memory, plain = way(length), [Plainly(w, 3, 3, length) for _ in range(rows)]
    text = Text(torch.tensor(words), torch.tensor(mask))
    for frame in clip:
        visual = torch.tensor(frame, dtype=torch.float32)
        with torch.no_grad():
            memory.see(visual)
            asked = torch.tensor(queries, dtype=torch.float32).expand(rows, -1, -1)
            said = former(asked, visual, text, memory.past, memory.sight)
            memory.settle()
        expected = [one.look(queries, frame[row], words[row], mask[row]) for row, one in enumerate(plain)]
        close(said, np.stack(expected), 5e-4)  # rows of text that never change merge as rounding has it
    if isinstance(memory, Memory):
        close(memory.visual.entries(), np.stack([np.stack(one.seen) for one in plain]))
        assert memory.visual.sizes().tolist() == np.stack([np.stack(one.weight) for one in plain]).tolist()


# --- positions ---------------------------------------------------------------------------------------------------


@quick
@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=40))
def test_cogvlm_positions(kinds: list[int]) -> None:
    """6: vision beside text or at an end counts as text; padding is neither and takes no place."""
    ends = (0, len(kinds) - 1)
    turned = []
    for i, kind in enumerate(kinds):
        neighbours = [kinds[j] for j in (i - 1, i + 1) if 0 <= j < len(kinds)]
        turned.append(0 if kind == 1 and (0 in neighbours or i in ends) else kind)
    expected = [0]
    for before, kind in pairwise(turned):
        expected.append(expected[-1] + (kind == 0 or (kind == 1 and before == 0)))
    real = torch.tensor([[kind >= 0 for kind in kinds]])
    assert cog_positions(torch.tensor([kinds]).clamp(min=0), real).tolist() == [expected]


pieces = st.one_of(
    st.integers(1, 4),
    st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4)),  # words; a visual's grid
)


@quick
@given(st.lists(pieces, min_size=1, max_size=6))
def test_multimodal_positions(parts: list[Any]) -> None:
    """7: text after a visual continues at the largest of all three rows and one, however long a video was."""
    vision, grids, rows, here = [], [], ([], [], []), 0
    for part in parts:
        if isinstance(part, int):
            vision += [False] * part
            for row in rows:
                row.extend(range(here, here + part))
            here += part
            continue
        time, height, width = part
        grids.append(Grid(time, height, width))
        vision += [True] * (time * height * width)
        for t in range(time):
            for y in range(height):
                for x in range(width):
                    for row, at in zip(rows, (t, y, x), strict=True):
                        row.append(here + at)
        here = max(max(row) for row in rows) + 1
    assert multimodal_positions(vision, iter(grids)).tolist() == [list(row) for row in rows]


# --- pixels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (56, 28), (28, 112)])
def test_qwen_patches(frames: int, height: int, width: int) -> None:
    """4: the four patches of a merged token stand together; a patch is channel, time, row, column; the last repeats."""
    random = np.random.default_rng(frames)
    video = random.integers(0, 256, (frames, 3, height, width), dtype=np.uint8)
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    scaled = (video / 255 - mean[:, None, None]) / std[:, None, None]
    if frames % 2:
        scaled = np.concatenate([scaled, scaled[-1:]])
    expected = [
        scaled[t : t + 2, :, (r + dr) * 14 : (r + dr + 1) * 14, (c + dc) * 14 : (c + dc + 1) * 14]
        .transpose(1, 0, 2, 3)
        .reshape(-1)
        for t in range(0, len(scaled), 2)
        for r in range(0, height // 14, 2)
        for c in range(0, width // 14, 2)
        for dr in (0, 1)
        for dc in (0, 1)
    ]
    made = patches(torch.from_numpy(video))
    assert made.grid == (len(scaled) // 2, height // 14, width // 14)
    close(made.values, np.stack(expected), 1e-5)


@pytest.mark.parametrize(("height", "width"), [(333, 80), (41, 500), (29, 30), (700, 701), (57, 1000)])
def test_qwen_pictures_are_the_library_s(height: int, width: int) -> None:
    """Portrait and landscape, too small and too large, against the image processor of transformers."""
    picture = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 64}
    theirs = Qwen2VLImageProcessorPil(size=size)(images=[picture], return_tensors="pt")
    made = picture_patches(picture, PixelBudget(size["shortest_edge"], size["longest_edge"]))
    assert made.grid == tuple(theirs["image_grid_thw"][0].tolist())
    torch.testing.assert_close(made.values, theirs["pixel_values"], atol=1e-5, rtol=0)


def test_frames_are_resized_one_by_one_as_together() -> None:
    video = np.random.default_rng(4).integers(0, 256, (3, 50, 90, 3), dtype=np.uint8)
    together = resize_video(stack(list(video)), (56, 84))
    assert torch.equal(together, torch.cat([resize_video(stack([frame]), (56, 84)) for frame in video]))


@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90), (57, 56), (225, 301), (33, 400), (224, 224)])
def test_cog_pixels(height: int, width: int) -> None:
    """8: normalised, then bilinear without antialiasing on the short side, then the middle; by its formula."""
    size = 56
    frame = np.random.default_rng(width).integers(0, 256, (3, height, width), dtype=np.uint8)
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    x = (frame / 255 - mean[:, None, None]) / std[:, None, None]
    long = math.floor(max(height, width) / min(height, width) * size)
    rows, columns = (long, size) if width < height else (size, long)

    def blend(picture: Any, new: int, axis: int) -> Any:
        old = picture.shape[axis]
        at = np.maximum((np.arange(new) + 0.5) * old / new - 0.5, 0)
        low = np.floor(at).astype(int)
        high, share = np.minimum(low + 1, old - 1), at - low
        share = share.reshape([-1 if i == axis else 1 for i in range(3)])
        return picture.take(low, axis) * (1 - share) + picture.take(high, axis) * share

    resized = blend(blend(x, rows, 1), columns, 2)
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    expected = resized[:, top : top + size, left : left + size]
    close(cog_pixels(torch.from_numpy(frame)[None], size)[0], expected)


def test_four_in_a_row_become_one() -> None:
    tokens = np.random.default_rng(1).normal(size=(2, 12, 3))
    expected = [[np.concatenate(picture[at : at + 4]) for at in range(0, 12, 4)] for picture in tokens]
    close(join_neighbours(torch.from_numpy(tokens)), np.array(expected), 0.0)


# --- which frames ------------------------------------------------------------------------------------------------


@quick
@given(st.lists(st.floats(0, 40, allow_nan=False), min_size=1, max_size=60))
def test_cog_seconds(times: list[float]) -> None:
    """8, "chat": of every second from 0 the first of the nearest frames, at most 24 of them."""
    times = sorted(times)
    apart = [[abs(time - second) for time in times] for second in range(round(max(times)) + 1)]
    expected = [row.index(min(row)) for row in apart[:24]]
    assert each_second(times) == expected


@quick
@given(st.integers(1, 400), st.integers(1, 120))
def test_video_chatgpt_middles(total: int, most: int) -> None:
    count = min(total, most)
    size = (total - 1) / count
    expected = [int((np.round(size * i) + np.round(size * (i + 1))) // 2) for i in range(count)]
    assert segment_middles(total, most) == expected


@pytest.mark.parametrize("frames", [1, 7, 100, 103])
def test_video_chatgpt_means(frames: int) -> None:
    features = np.random.default_rng(frames).normal(size=(frames, 5, 4))
    rows = [frame.mean(0) for frame in features] + [np.zeros(4)] * (100 - frames)
    rows += [features[:, patch].mean(0) for patch in range(5)]
    close(pool(torch.from_numpy(features)), np.stack(rows), 1e-12)


# --- Chat-UniVi's events -----------------------------------------------------------------------------------------


def clustered(x: Any, clusters: int, neighbours: int, noise: Any) -> list[int]:
    """4, by loops, on distances that torch's own function gives."""
    D = (torch.cdist(x[None].float(), x[None].float())[0] / x.shape[1] ** 0.5).numpy()
    density = np.exp(-np.mean(np.sort(D, axis=1)[:, :neighbours] ** 2, axis=1, dtype=np.float32)) + noise * np.float32(
        1e-6
    )
    apart = [min([D[i, j] for j in range(len(D)) if density[j] > density[i]], default=D.max()) for i in range(len(D))]
    order = sorted(range(len(D)), key=lambda i: -(apart[i] * density[i]))[:clusters]
    members = [int(np.argmin([D[i, centre] for centre in order])) for i in range(len(D))]
    for cluster, centre in enumerate(order):
        members[centre] = cluster
    return members


def mean_of(x: Tensor, members: list[int], clusters: int) -> Tensor:
    own = [x[[i for i, member in enumerate(members) if member == cluster]] for cluster in range(clusters)]
    return torch.stack([some.sum(0) / (len(some) + 1e-6) for some in own])


@pytest.mark.parametrize("frames", [3, 4, 20, 23])
def test_chat_univi_videos(frames: int) -> None:
    """5: events by their first frame; every level of an event merged again; 4: noise in the order of the calls."""
    generator = torch.Generator().manual_seed(frames)
    scenes = torch.randn(3, 1, 6, generator=generator) * 4
    x = scenes[torch.arange(frames) % 3] + torch.randn(frames, 20, 6, generator=generator) * 0.3
    drawn = torch.Generator().manual_seed(5)
    merging = Merging((12, 8, 4), 1 / 4)
    said = merging.video(x, lambda rows, columns: torch.rand(rows, columns, generator=drawn))

    again = torch.Generator().manual_seed(5)
    clusters = max(math.ceil(frames / 4), 1)
    neighbours = 5 if clusters >= 5 else min(3, max(clusters // 2, 1))
    members = clustered(x.mean(1), clusters, neighbours, torch.rand(1, frames, generator=again)[0].numpy())
    order = list(dict.fromkeys(members))
    level, scales = x, []
    few = {12: 5, 8: 3, 4: 3}
    for keep in (12, 8, 4):
        noise = torch.rand(frames, level.shape[1], generator=again).numpy()
        each = [clustered(one, keep, few[keep], noise[i]) for i, one in enumerate(level)]
        level = torch.stack([mean_of(one, each[i], keep) for i, one in enumerate(level)])
        scales.append(level)
    expected = []
    for event in order:
        for keep, scale in zip((12, 8, 4), scales, strict=True):
            row = scale[[i for i, member in enumerate(members) if member == event]].flatten(0, 1)
            noise = torch.rand(1, len(row), generator=again)[0].numpy()
            of_level = mean_of(row, clustered(row, keep, few[keep], noise), keep)
            expected.append(of_level)
    torch.testing.assert_close(said[0], torch.cat(expected), atol=1e-4, rtol=1e-4)
    assert Tokens.original(x).x is x
