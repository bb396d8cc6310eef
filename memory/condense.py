"""Fewer slots for the same time: neighbours merge where the least is lost.

MA-LMM merges the two neighbours whose cosine is highest. Of slots that stand for different numbers of frames that has
two faults, measured by `benchmarks/forgetting.py`. Averages are less noisy than single frames, so that a short moment
looks more like the long scene around it than two frames of that scene look like each other, and is swallowed first.
And nothing keeps a slot from growing over hours, until it says no longer when. So what is lost by a merge is

    (1 - cosine - noise / 2 · (1 / n + 1 / m)) · (1 + length / lasting)

with `n` and `m` the frames the two stand for, `noise` how unlike frames of one scene are, `length` of the merged slot
and `lasting` a few times the length that slots of this memory have on average. `EXACT` is MA-LMM's rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.tables import SlotTable

Floats = NDArray[np.float32]

_LASTING: Final = 3.0
"""A slot of so many times the average length loses twice as much by growing as its vectors say."""
_TYPICAL: Final = 0.1
"""The noise is that of the quietest tenth of the slots: the others hold more than one scene."""
_MOST_AT_ONCE: Final = 4
"""No pass merges more than one slot in so many: what a merge changes is looked at again before the next."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a merge is taken to lose: see above. `noise` 0 and `lasting` infinite is MA-LMM's cosine."""

    noise: float = 0.0
    lasting: float = np.inf

    def losses(self, table: SlotTable) -> Floats:
        """What merging each slot with the next would lose: float32 [S - 1], infinite between frames and speech."""
        left, right = unit(table.vectors[:-1]), unit(table.vectors[1:])
        loss = 1.0 - np.einsum("sd,sd->s", left, right)
        counts = table.counts.astype(np.float32)
        loss -= self.noise / 2 * (1 / counts[:-1] + 1 / counts[1:])
        length = np.maximum(table.ends[1:], table.ends[:-1]) - table.starts[:-1]
        loss = np.where(loss > 0, loss * (1 + length / self.lasting), loss)
        return np.where(table.sounds[:-1] != table.sounds[1:], np.inf, loss).astype(np.float32)


EXACT: Final = Policy()


def policy_for(tables: Iterable[SlotTable], slots: int) -> Policy:
    """The policy for a memory of these slots that is to have `slots` of them."""
    noises, length = [np.empty(0, np.float32)], 0
    for table in tables:
        noises.append(_noises(table))
        length += int((table.ends - table.starts).sum())
    known = np.concatenate(noises)
    known = known[np.isfinite(known)]
    return Policy(
        noise=float(np.quantile(known, _TYPICAL)) if len(known) else 0.0,
        lasting=_LASTING * max(length, 1) / max(slots, 1),
    )


def condensed(table: SlotTable, most: int, policy: Policy) -> SlotTable:
    """The table with at most `most` slots, or one of frames and one of speech. NaN is merged first, like equals."""
    table = by_kind(table)
    while (excess := len(table) - most) > 0:
        losses = np.nan_to_num(policy.losses(table), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        chosen = _cheapest(losses, min(excess, max(1, len(table) // _MOST_AT_ONCE)))
        if not len(chosen):
            break
        table = _merged(table, chosen)
    return SlotTable.joined([table])


def shares(losses: Sequence[Floats], fewer: int) -> list[int]:
    """How many slots each of several tables gives, so that together they have `fewer` less and lose least."""
    everything = np.concatenate([np.empty(0, np.float32), *losses])
    fewer = min(fewer, len(everything))
    if fewer == 0:
        return [0] * len(losses)
    chosen = np.zeros(len(everything), np.bool_)
    chosen[np.argpartition(everything, fewer - 1)[:fewer]] = True
    chosen &= np.isfinite(everything)
    bounds = np.cumsum([0, *(len(some) for some in losses)])
    return [int(chosen[a:b].sum()) for a, b in pairwise(bounds.tolist())]


def unit(vectors: Floats) -> Floats:
    """Vectors [S, D] over their norms; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = vectors / np.maximum(norms, 1e-8)
    return scaled


def _noises(table: SlotTable) -> Floats:
    """How unlike frames of one scene are: 1 - cosine of single ones that follow each other, and the same within slots
    that stand for several. Features are unit vectors, so their mean is shorter by what they differ."""
    frames = table.where(~table.sounds)
    several = frames.counts > 1
    counts = frames.counts[several].astype(np.float32)
    within = (1 - (frames.vectors[several] ** 2).sum(axis=1)) * counts / (counts - 1)
    lone = ~several[:-1] & ~several[1:]
    apart = 1 - np.einsum("sd,sd->s", unit(frames.vectors[:-1][lone]), unit(frames.vectors[1:][lone]))
    noises: Floats = np.clip(np.concatenate([within, apart]), 0, 1).astype(np.float32)
    return noises


def by_kind(table: SlotTable) -> SlotTable:
    """Frames first, then speech, each in order of time: neighbours are what may merge."""
    order = np.lexsort((table.starts, table.sounds))
    return SlotTable(table.vectors[order], table.times[order])


def _cheapest(losses: Floats, most: int) -> NDArray[np.int64]:
    """Up to so many of the pairs that lose least, none next to another: the first of equals."""
    order = np.argsort(losses, kind="stable")[:most]
    rank = np.full(len(losses) + 2, len(losses), np.int64)
    rank[order + 1] = np.arange(len(order))
    best = (rank[order + 1] < rank[order]) & (rank[order + 1] < rank[order + 2])
    chosen: NDArray[np.int64] = np.sort(order[best & (losses[order] < np.inf)])
    return chosen


def _merged(table: SlotTable, pairs: NDArray[np.int64]) -> SlotTable:
    """Each slot of `pairs` with its successor as one: mean by count, hull of the spans, peak of the larger side."""
    vectors, times = table.vectors.copy(), table.times.copy()
    left, right = times[pairs], times[pairs + 1]
    counts = np.stack([left[:, 2], right[:, 2]]).astype(np.float32)
    total = counts.sum(axis=0)
    vectors[pairs] = (vectors[pairs] * counts[0, :, None] + vectors[pairs + 1] * counts[1, :, None]) / total[:, None]
    times[pairs, 1] = np.maximum(left[:, 1], right[:, 1])
    times[pairs, 2] = left[:, 2] + right[:, 2]
    times[pairs, 3] = np.where(right[:, 2] > left[:, 2], right[:, 3], left[:, 3])
    keep = np.ones(len(table), np.bool_)
    keep[pairs + 1] = False
    return SlotTable(vectors[keep], times[keep])
