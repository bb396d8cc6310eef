"""What bounded memory costs: recall of short known moments against age and budget, beside simple baselines.

    python -m benchmarks.forgetting [--days 4] [--takes 3] [--plots docs] [--product]

Short moments that occur once are planted at known times in three films:

* rooms: a few scenes that last a quarter of an hour and come back; a moment looks like nothing else
* street: the scene changes every two minutes; a moment looks like nothing else
* yard: one scene an hour; a moment is that scene and a little besides

Every memory may keep the same number of vectors. Ours is the product's own merging: hours of 128 slots, then days,
whose slots merge where the least is lost. With `--product` it is the whole product under as many bytes, fed frame by
frame through its database and files, which takes long. A moment is recalled when one of the ten best entries of a
memory for its query covers the moment and no more than ten minutes around it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.clock import FakeClock
from ingest.ledger import Ledger
from ingest.records import Feature, Moment, Span, StreamId, seconds
from memory.bank import JointBank
from memory.condense import EXACT, condensed, policy_for, shares
from memory.memory import Memory, MemoryOptions
from memory.shedding import PASS
from memory.store.rows import StreamRow
from memory.tables import SlotTable

DIM = 128
DAY = 86_400
STEP = 15
CLOSE = 600
START = 1_700_000_000 // DAY * DAY
SLOT_BYTES = 2 * (2 * DIM) + 72
"""Of a slot in the database and the index."""
BUDGETS = (0.01, 0.02, 0.04, 0.08)
CAMERA = StreamId("camera")


@dataclass(frozen=True)
class Film:
    """How many frames a scene lasts, how noisy it is, how much of it is left in a moment, how strong that is."""

    lasting: int
    noise: float
    scene: float
    moment: float


FILMS = {"rooms": Film(60, 0.3, 0.4, 1.0), "street": Film(8, 0.6, 0.4, 1.0), "yard": Film(240, 0.3, 1.0, 0.5)}


@dataclass(frozen=True)
class Kept:
    """What a memory still has: vectors [N, DIM] and, per vector, the seconds [N] it covers."""

    vectors: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def shot(film: Film, days: int, moments: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames [F, DIM], and of the planted moments their first frames [M] and vectors [M, DIM]."""
    count = days * DAY // STEP
    scenes = unit(rng.normal(size=(30, DIM)))
    which = np.repeat(rng.integers(0, 30, count // film.lasting + 1), film.lasting)[:count]
    drift = np.cumsum(rng.normal(size=(count, DIM)).astype(np.float32), axis=0) * 0.002
    frames = scenes[which] + film.noise * rng.normal(size=(count, DIM)) / np.sqrt(DIM) + drift
    planted = unit(rng.normal(size=(moments, DIM)))
    at = np.sort(rng.choice(count - 2, moments, replace=False))
    for first, vector in zip(at, planted, strict=True):
        frames[first : first + 2] = film.scene * frames[first : first + 2] + film.moment * vector
    return unit(frames).astype(np.float32), at, planted.astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


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
    bank = JointBank(budget)
    for number, vector in enumerate(frames):
        bank.append(vector, Span(Moment(number * STEP), Moment(number * STEP + STEP)))
    spans = np.array([(span.start, span.end) for span in bank.spans])
    return Kept(np.asarray(bank.features()), spans[:, 0], spans[:, 1])


def ours(frames: np.ndarray, budget: int, *, exact: bool = False) -> Kept:
    """Hours fold, days hold them, and the slots of all days merge until they are few enough."""
    starts, ends = _times(len(frames))
    times = np.stack([starts, ends, np.ones_like(starts), starts, np.zeros_like(starts)], axis=1).astype(np.int64)
    hours = [_folded(frames[at : at + 240], times[at : at + 240], exact) for at in range(0, len(frames), 240)]
    days = [SlotTable.joined(hours[at : at + 24]) for at in range(0, len(hours), 24)]
    while (excess := sum(map(len, days)) - budget) > 0:
        policy = EXACT if exact else policy_for(days, budget)
        gives = shares([policy.losses(day) for day in days], min(excess, max(1, sum(map(len, days)) // PASS)))
        days = [condensed(day, len(day) - give, policy) for day, give in zip(days, gives, strict=True)]
    whole = SlotTable.joined(days)
    return Kept(whole.vectors, whole.starts, whole.ends)


def _folded(frames: np.ndarray, times: np.ndarray, exact: bool) -> SlotTable:
    table = SlotTable(frames, times)
    return condensed(table, 128, EXACT if exact else policy_for([table], 128))


def product(frames: np.ndarray, budget: int) -> Kept:
    """The product's memory under as many bytes: chapters of ten minutes, hours, days, and whatever it sheds."""
    options = MemoryOptions(chapter_s=600.0, budget_bytes=budget * SLOT_BYTES)
    with tempfile.TemporaryDirectory(dir=_swift()) as folder:
        clock = FakeClock(START * 1_000_000)
        memory = Memory.open(Path(folder), encoder="benchmark", dim=DIM, ledger=Ledger(), clock=clock, options=options)
        memory.store.streams.add(StreamRow(CAMERA, "camera", "live", "", "", "live", "", Moment(clock.now())))
        for at in range(0, len(frames), 240):
            batch = []
            for number in range(at, min(at + 240, len(frames))):
                moment = Moment((START + number * STEP) * 1_000_000)
                batch.append(Feature(CAMERA, 0, seconds(number * STEP), Span(moment, moment), frames[number], "frame"))
            memory.remember.handle(batch)
        memory.enforce()
        report = memory.budget(CAMERA)
        assert report.memory <= budget * SLOT_BYTES, report
        kept = _content(memory)
        memory.close()
    return kept


def _content(memory: Memory) -> Kept:
    """Everything a search would look at: fine features where there are some, slots where not."""
    block = memory.recall.replay(CAMERA)
    coarse = [row.id for row in memory.store.chapters.all() if row.level != "chapter" or not row.path]
    tables = [slots for _, slots in memory.store.chapters.slots(coarse)]
    vectors = np.concatenate([block.vectors, *(slots.vectors for slots in tables)])
    starts = np.concatenate([block.starts, *(slots.starts for slots in tables)])
    ends = np.concatenate([block.ends, *(slots.ends for slots in tables)])
    return Kept(vectors, starts / 1e6 - START, ends / 1e6 - START)


def _swift() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


MEMORIES: dict[str, Callable[[np.ndarray, int], Kept]] = {
    "ours": ours,
    "ours, merging by cosine alone": lambda frames, budget: ours(frames, budget, exact=True),
    "one flat MA-LMM bank": flat_bank,
    "uniform subsampling": subsampled,
    "first in, first out, pairs": first_in_first_out,
    "only the most recent": newest,
    "keep every frame": everything,
}


def recalled(kept: Kept, at: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Of every moment, whether it is among the ten best and placed closely enough."""
    best = np.argsort(-(queries @ kept.vectors.T), axis=1)[:, :10]
    moments = at[:, None] * STEP
    covers = (kept.starts[best] <= moments + STEP) & (kept.ends[best] > moments)
    close = (kept.ends[best] - kept.starts[best]) <= 2 * CLOSE
    return (covers & close).any(axis=1)


def measured(film: Film, days: int, moments: int, takes: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Recall of every memory by budget, and at a budget of two in a hundred by age, over several takes of a film."""
    shots = [shot(film, days, moments, np.random.default_rng(1 + take)) for take in range(takes)]
    age = np.concatenate([days - at * STEP / DAY for _, at, _ in shots])
    by_budget: dict[str, list[float]] = {}
    by_age: dict[str, list[float]] = {}
    for name, memory in MEMORIES.items():
        by_budget[name] = []
        for share in BUDGETS:
            found = np.concatenate([recalled(memory(f, int(len(f) * share)), at, queries) for f, at, queries in shots])
            by_budget[name].append(float(found.mean()))
            if share == 0.02:
                by_age[name] = [float(found[(age >= a) & (age < b)].mean()) for a, b in ages(days)]
    return by_budget, by_age


def ages(days: int) -> list[tuple[float, float]]:
    return [(0, days / 8), (days / 8, days / 4), (days / 4, days / 2), (days / 2, days)]


def table(title: str, columns: list[str], rows: Mapping[str, list[float]]) -> None:
    print(f"\n{title}\n\n| memory | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")


def plot(panels: Mapping[str, Mapping[str, list[float]]], ticks: list[str]) -> str:
    """Recall per film, side by side, as a small SVG."""
    colours = ["#1f6feb", "#54aeff", "#d29922", "#2da44e", "#8250df", "#cf222e", "#888888"]
    body = []
    for panel, (title, curves) in enumerate(panels.items()):
        left = 50 + 270 * panel
        body.append(f'<text x="{left + 100}" y="22" text-anchor="middle" font-weight="bold">{title}</text>')
        for value in (0, 0.5, 1):
            y = 220 - 180 * value
            body.append(f'<line x1="{left}" x2="{left + 200}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
            body.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{value:g}</text>')
        step = 200 / (len(ticks) - 1)
        for at, tick in enumerate(ticks):
            body.append(f'<text x="{left + step * at:.0f}" y="240" text-anchor="middle">{tick}</text>')
        for values, colour in zip(curves.values(), colours, strict=True):
            points = " ".join(f"{left + step * at:.0f},{220 - 180 * value:.0f}" for at, value in enumerate(values))
            body.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for number, (name, colour) in enumerate(zip(MEMORIES, colours, strict=True)):
        x, y = 50 + 210 * (number % 4), 268 + 20 * (number // 4)
        body.append(f'<text x="{x}" y="{y}" fill="{colour}">{name}</text>')
    style = 'font-family="sans-serif" font-size="12" fill="#555"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 300" {style}>\n' + "\n".join(body) + "\n</svg>\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--takes", type=int, default=3, help="films of each kind, with other scenes and moments")
    parser.add_argument("--plots", type=Path, help="the folder for forgetting-budget.svg and forgetting-age.svg")
    parser.add_argument("--product", action="store_true", help="ours is the whole product, with database and files")
    options = parser.parse_args()
    if options.product:
        MEMORIES["ours"] = product
    budgets = [f"{share:.1%}" for share in BUDGETS]
    spans = [f"{a:g}–{b:g} d" for a, b in ages(options.days)]
    by_budget: dict[str, Mapping[str, list[float]]] = {}
    by_age: dict[str, Mapping[str, list[float]]] = {}
    print(f"{options.days} days, a vector every {STEP} s")
    print(f"{options.takes} takes of every film, each with {options.moments} moments of {2 * STEP} s")
    for name, film in FILMS.items():
        by_budget[name], by_age[name] = measured(film, options.days, options.moments, options.takes)
        table(f"{name}: recall by the part of the vectors that is kept", budgets, by_budget[name])
        table(f"{name}: recall by age at 2 %", spans, by_age[name])
    if options.plots:
        (options.plots / "forgetting-budget.svg").write_text(plot(by_budget, budgets))
        (options.plots / "forgetting-age.svg").write_text(plot(by_age, spans))


if __name__ == "__main__":
    main()
