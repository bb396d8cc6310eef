"""Density-peak clustering against a plain transcription of its definition, and what merging must keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.parts.token_merging import Clusters, Level, Tokens, dpc_knn, merge, seeded


def plainly(x: NDArray[np.float64], clusters: int, neighbours: int) -> tuple[list[int], list[int]]:
    """(centres, members) by loops over the definition (Du et al. 2016, section 3), without noise."""
    N, C = x.shape
    distance = np.array([[np.linalg.norm(a - b) / C**0.5 for b in x] for a in x])
    density = [np.exp(-np.mean(np.sort(row)[:neighbours] ** 2)) for row in distance]
    separation = []
    for i in range(N):
        denser = [distance[i, j] for j in range(N) if density[j] > density[i]]
        separation.append(min(denser) if denser else distance.max())
    score = np.array(separation) * np.array(density)
    centres = sorted(range(N), key=lambda i: -score[i])[:clusters]
    members = [min(range(clusters), key=lambda c: distance[i, centres[c]]) for i in range(N)]
    for cluster, centre in enumerate(centres):
        members[centre] = cluster
    return centres, members


@pytest.mark.parametrize("seed", range(12))
def test_clusters_are_those_of_the_definition(seed: int) -> None:
    generator = np.random.default_rng(seed)
    spans = ((8, 40), (2, 9), (2, 6), (3, 6))  # of two neighbours a mutual pair would tie
    N, C, clusters, neighbours = (int(generator.integers(*span)) for span in spans)
    x = generator.normal(size=(N, C)) * 3
    found = dpc_knn(torch.tensor(x[None], dtype=torch.float32), clusters, neighbours, torch.zeros(1, N))
    centres, members = plainly(x, clusters, neighbours)
    assert found.centres[0].tolist() == centres
    assert found.member[0].tolist() == members


def test_a_merged_token_is_the_mean_of_its_own() -> None:
    x = torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(1))
    tokens, clusters = Level(7, 3)(Tokens.original(x), seeded(0))
    for row in range(2):
        for cluster in range(7):
            own = x[row, clusters.member[row] == cluster]
            torch.testing.assert_close(tokens.x[row, cluster], own.mean(dim=0), atol=1e-5, rtol=1e-5)


def test_bookkeeping_over_levels_explains_every_token() -> None:
    """Merging the original tokens by `origin` with weights `share` gives what three levels gave."""
    x = torch.randn(1, 64, 5, generator=torch.Generator().manual_seed(2))
    tokens, noise = Tokens.original(x), seeded(0)
    for level in (Level(16, 5), Level(8, 3), Level(4, 3)):
        tokens, _ = level(tokens, noise)
    rebuilt = torch.zeros(1, 4, 5).index_add_(1, tokens.origin[0], x * tokens.share)
    torch.testing.assert_close(rebuilt, tokens.x, atol=1e-4, rtol=1e-4)


def test_padding_is_no_centre_and_moves_nothing() -> None:
    x = torch.randn(1, 20, 4, generator=torch.Generator().manual_seed(3))
    padded = torch.cat([x, torch.full((1, 5, 4), 0.01)], dim=1)
    mask = torch.tensor([[1.0] * 20 + [0.0] * 5])
    alone = dpc_knn(x, 4, 3, torch.zeros(1, 20))
    beside = dpc_knn(padded, 4, 3, torch.zeros(1, 25), mask)
    assert set(beside.centres[0].tolist()) == set(alone.centres[0].tolist())


def test_weights_count() -> None:
    x = torch.tensor([[[0.0], [1.0], [10.0], [11.0]]])
    clusters = Clusters(torch.tensor([[0, 2]]), torch.tensor([[0, 0, 1, 1]]), torch.zeros(1, 4))
    merged = merge(Tokens.original(x), clusters, torch.tensor([[[3.0], [1.0], [1.0], [1.0]]]))
    assert merged.x.flatten().tolist() == pytest.approx([0.25, 10.5], abs=1e-4)


def test_sizes() -> None:
    assert Level(64, 5).sizes(256) == (64, 5)
    assert Level(1 / 16, 5).sizes(100) == (7, 5)
    assert Level(1 / 16, 5).sizes(40) == (3, 1)
    assert Level(1 / 16, 5).sizes(3) == (1, 1)


def test_the_same_noise_every_time() -> None:
    assert torch.equal(seeded(4)(2, 3), seeded(4)(2, 3))
    assert not torch.equal(seeded(4)(2, 3), seeded(5)(2, 3))
