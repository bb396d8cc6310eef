"""What bounded memory costs: recall of short known moments against age, beside simple baselines of the same bytes.

    python -m benchmarks.forgetting [--plot docs/forgetting.svg]

A camera sees a few scenes that last and come back, drifting; short moments that occur once are planted at known times.
Every memory may keep the same number of vectors. A moment is recalled when one of the ten best entries of a memory for
its query covers the moment and no more than ten minutes around it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.records import Moment, Span
from memory.bank import JointBank

DIM = 128
DAY = 86_400
STEP = 15
CHAPTER = 40
"""Frames of a chapter: ten minutes."""
CLOSE = 600


@dataclass(frozen=True)
class Kept:
    """What a memory still has: vectors [N, DIM] and, per vector, the seconds [N] it covers."""

    vectors: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


Memory = Callable[[np.ndarray, int], Kept]


def film(days: int, moments: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames [F, DIM], and of the planted moments their first frames [M] and vectors [M, DIM]."""
    count = days * DAY // STEP
    scenes = _unit(rng.normal(size=(30, DIM)))
    which = np.repeat(rng.integers(0, 30, count // 60 + 1), 60)[:count]
    drift = np.cumsum(rng.normal(size=(count, DIM)).astype(np.float32), axis=0) * 0.002
    frames = scenes[which] + 0.3 * rng.normal(size=(count, DIM)) / np.sqrt(DIM) + drift
    planted = _unit(rng.normal(size=(moments, DIM)))
    at = np.sort(rng.choice(count - 2, moments, replace=False))
    for first, vector in zip(at, planted, strict=True):
        frames[first : first + 2] = 0.4 * frames[first : first + 2] + vector
    return _unit(frames).astype(np.float32), at, planted.astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def banked(
    vectors: np.ndarray, starts: np.ndarray, ends: np.ndarray, counts: np.ndarray, length: int
) -> list[np.ndarray]:
    """One run of entries through a bank: vectors, starts, ends, counts."""
    bank = JointBank(length)
    for vector, start, end, count in zip(vectors, starts, ends, counts, strict=True):
        bank.append(vector, Span(Moment(int(start)), Moment(int(end))), count=int(count))
    spans = np.array([(span.start, span.end) for span in bank.spans])
    return [np.asarray(bank.features()), spans[:, 0], spans[:, 1], np.array(bank.counts)]


def _times(count: int) -> tuple[np.ndarray, np.ndarray]:
    starts = np.arange(count) * STEP
    return starts, starts + STEP


def everything(frames: np.ndarray, _budget: int) -> Kept:
    return Kept(frames, *_times(len(frames)))


def subsampled(frames: np.ndarray, budget: int) -> Kept:
    """Every n-th frame, standing for those up to the next."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, budget).astype(int))
    starts = chosen * STEP
    return Kept(frames[chosen], starts, np.append(starts[1:], len(frames) * STEP))


def newest(frames: np.ndarray, budget: int) -> Kept:
    starts, ends = _times(len(frames))
    return Kept(frames[-budget:], starts[-budget:], ends[-budget:])


def first_in_first_out(frames: np.ndarray, budget: int) -> Kept:
    """Pairs of neighbours averaged, then the oldest dropped: twice the reach of keeping frames."""
    paired = frames[: len(frames) // 2 * 2].reshape(-1, 2, DIM).mean(axis=1)[-budget:]
    starts = (np.arange(len(frames) // 2) * 2 * STEP)[-budget:]
    return Kept(paired, starts, starts + 2 * STEP)


def flat_bank(frames: np.ndarray, budget: int) -> Kept:
    """MA-LMM's bank as it is: one, as long as the budget allows."""
    starts, ends = _times(len(frames))
    return Kept(*banked(frames, starts, ends, np.ones(len(frames)), budget)[:3])


def pyramid(frames: np.ndarray, budget: int) -> Kept:
    """Chapters, hours and days: newest in chapters, older in hours, oldest in days, each a third of the budget."""
    starts, ends = _times(len(frames))
    levels = {"chapter": (CHAPTER, 16), "hour": (3600 // STEP, 24), "day": (DAY // STEP, 0)}
    days = max(1, len(frames) // levels["day"][0])
    levels["day"] = (DAY // STEP, max(8, budget // 3 // days))
    chapters = [
        banked(*(part[at : at + CHAPTER] for part in (frames, starts, ends, np.ones(len(frames)))), 16)
        for at in range(0, len(frames), CHAPTER)
    ]
    hours = _folded(chapters, 6, 24)
    folded_days = _folded(hours, 24, levels["day"][1])
    recent = min(len(chapters), budget // 3 // 16) // 6 * 6
    middle = min(len(hours) - recent // 6, budget // 3 // 24) // 24 * 24
    border_hours = len(hours) - recent // 6
    border_days = (border_hours - middle) // 24
    kept = [*folded_days[:border_days], *hours[border_days * 24 : border_hours], *chapters[border_hours * 6 :]]
    return Kept(*(np.concatenate([part[column] for part in kept]) for column in range(3)))


def _folded(below: list[list[np.ndarray]], together: int, length: int) -> list[list[np.ndarray]]:
    groups = [below[at : at + together] for at in range(0, len(below), together)]
    return [banked(*(np.concatenate([part[c] for part in group]) for c in range(4)), length) for group in groups]


MEMORIES: dict[str, Memory] = {
    "keep every frame": everything,
    "pyramid (ours)": pyramid,
    "one flat MA-LMM bank": flat_bank,
    "uniform subsampling": subsampled,
    "first in, first out, pairs": first_in_first_out,
    "only the most recent": newest,
}


def recalled(kept: Kept, at: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Of every moment, whether it is among the ten best and placed closely enough."""
    best = np.argsort(-(queries @ kept.vectors.T), axis=1)[:, :10]
    seconds = at[:, None] * STEP
    covers = (kept.starts[best] <= seconds + STEP) & (kept.ends[best] > seconds)
    close = (kept.ends[best] - kept.starts[best]) <= 2 * CLOSE
    return (covers & close).any(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=16)
    parser.add_argument("--moments", type=int, default=400)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    frames, at, queries = film(options.days, options.moments, np.random.default_rng(1))
    age = options.days - at * STEP / DAY
    bins = [(0, 1), (1, 4), (4, 8), (8, options.days)]
    curves: dict[str, list[float]] = {}
    for share in (0.02, 0.08):
        budget = int(len(frames) * share)
        print(f"\n{options.days} days, a vector every {STEP} s; {budget} vectors kept ({share:.0%})\n")
        print("| memory | vectors | all |" + "".join(f" {a}–{b} days |" for a, b in bins))
        print("|---|---|---|" + "---|" * len(bins))
        for name, memory in MEMORIES.items():
            kept = memory(frames, budget)
            found = recalled(kept, at, queries)
            parts = [float(found[(age >= a) & (age < b)].mean()) for a, b in bins]
            curves[f"{name} {share}"] = parts
            print(f"| {name} | {len(kept.vectors)} | {found.mean():.2f} |" + "".join(f" {p:.2f} |" for p in parts))
    if options.plot:
        options.plot.write_text(plot({n[:-5]: c for n, c in curves.items() if n.endswith("0.08")}, bins))


def plot(curves: dict[str, list[float]], bins: list[tuple[int, int]]) -> str:
    """Recall against age as a small SVG."""
    colours = ["#888888", "#1f6feb", "#d29922", "#2da44e", "#8250df", "#cf222e"]
    lines, labels = [], []
    for number, ((name, values), colour) in enumerate(zip(curves.items(), colours, strict=True)):
        points = " ".join(f"{60 + 100 * at:.0f},{220 - 180 * value:.0f}" for at, value in enumerate(values))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        labels.append(f'<text x="400" y="{50 + 22 * number}" fill="{colour}">{name}</text>')
    ticks = [
        f'<text x="{60 + 100 * at}" y="240" text-anchor="middle">{a}–{b} d</text>' for at, (a, b) in enumerate(bins)
    ]
    scale = [f'<text x="40" y="{224 - 180 * v:.0f}" text-anchor="end">{v:g}</text>' for v in (0, 0.5, 1)]
    body = "\n".join([*lines, *labels, *ticks, *scale])
    style = 'font-family="sans-serif" font-size="13" fill="#555"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 260" {style}>\n{body}\n</svg>\n'


if __name__ == "__main__":
    main()
