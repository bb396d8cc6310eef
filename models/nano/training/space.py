"""Fit the shared space: a word table that imitates the sentence teacher, and a linear map from the
student's summaries of pictures into its space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from models.nano.boxes import Floats
from models.nano.text import PictureMap, TextTower, lookup, unit, words_of


@dataclass(frozen=True, slots=True)
class SpaceRecipe:
    """How the space is fitted. `ridge` is in pictures."""

    dim: int = 128
    rarest: int = 2
    epochs: int = 12
    batch: int = 512
    rate: float = 0.02
    ridge: float = 3000.0
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """The way from the sentence teacher's vectors [N, D] into our space [N, dim]."""

    mean: Floats
    directions: Floats

    def __call__(self, vectors: Floats) -> Floats:
        return np.asarray((vectors - self.mean) @ self.directions, np.float32)


def principal(vectors: Floats, dim: int) -> Reduction:
    """Keep the first `dim` principal directions of unit vectors [N, D]."""
    mean = vectors.mean(0)
    _, directions = np.linalg.eigh((vectors - mean).T @ (vectors - mean))
    return Reduction(mean, np.ascontiguousarray(directions[:, ::-1][:, :dim]).astype(np.float32))


def vocabulary(sentences: Sequence[str], names: Sequence[str], rarest: int) -> list[str]:
    """Every word of the names, and every word at least `rarest` sentences use; most frequent first."""
    counts = Counter(word for sentence in sentences for word in set(words_of(sentence)))
    wanted = {word for word, count in counts.items() if count >= rarest} | {w for n in names for w in words_of(n)}
    return sorted(wanted, key=lambda word: (-counts[word], word))


def fit_tower(
    sentences: Sequence[str], targets: Floats, words: Sequence[str], alone: Floats, recipe: SpaceRecipe
) -> TextTower:
    """Word vectors whose sum points where the sentence teacher's vector does.

    targets float32 [N, dim]: the teacher's vectors of the sentences in the reduced space; alone [V, dim]: those of the
    words on their own, where every word starts.
    """
    torch.manual_seed(recipe.seed)
    rows = {word: row for row, word in enumerate(words)}
    bags = [[row for word in words_of(sentence) for row in lookup(word, rows)] for sentence in sentences]
    full = [i for i, bag in enumerate(bags) if bag]
    aim = torch.from_numpy(unit(targets))
    table = torch.nn.EmbeddingBag.from_pretrained(torch.from_numpy(unit(alone)), freeze=False, mode="sum")
    optimiser = torch.optim.Adam(table.parameters(), lr=recipe.rate)
    steps = recipe.epochs * (len(full) // recipe.batch + 1)
    order = np.random.default_rng(recipe.seed)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * (1 - step / steps)
        chosen = [full[i] for i in order.integers(0, len(full), recipe.batch)]
        flat = torch.tensor([row for i in chosen for row in bags[i]])
        starts = torch.tensor(np.cumsum([0, *(len(bags[i]) for i in chosen[:-1])]))
        loss = (1 - F.cosine_similarity(table(flat, starts), aim[chosen])).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
    return TextTower(words, table.weight.detach().numpy().copy())


def fit_map(features: Floats, texts: Floats, weights: Floats, recipe: SpaceRecipe) -> PictureMap:
    """Ridge regression from features [N, F] to unit text vectors [N, dim], each picture counting `weights` [N]."""
    share = weights / weights.sum()
    centre, target = share @ features, share @ texts
    scale = np.sqrt(share @ (features - centre) ** 2) + 1e-3
    x, y = (features - centre) / scale, texts - target
    moment = (x * weights[:, None]).T @ x + recipe.ridge * np.eye(x.shape[1])
    weight = np.linalg.solve(moment, (x * weights[:, None]).T @ y) / scale[:, None]
    weight = weight.astype(np.float32)
    bias = (-(centre @ weight)).astype(np.float32)
    vectors = unit(features @ weight + bias)
    return PictureMap(weight, bias, ((vectors * share[:, None]).T @ vectors).astype(np.float32))
