"""What one appended frame costs the memory bank, beside recomputing everything as the official algorithm does.

    python -m benchmarks.bank

Both sides run in this process, one after the other, on the same random frames, with one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ingest.records import Moment, Span
from memory.bank import JointBank, TokenBank


class Plain:
    """The algorithm as the specification describes it: all similarities anew, every entry copied and rescaled."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.bank: torch.Tensor | None = None
        self.size = torch.empty(0)

    def append(self, frame: torch.Tensor) -> None:
        one = torch.ones(1, frame.shape[0])
        if self.bank is None:
            self.bank, self.size = frame[None], one
            return
        self.bank = torch.cat([self.bank, frame[None]])
        self.size = torch.cat([self.size, one])
        if len(self.bank) > self.length:
            self.bank, self.size = self.compressed(self.bank, self.size)

    @staticmethod
    def compressed(bank: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        length, tokens, width = bank.shape
        similarity = torch.nn.functional.cosine_similarity(bank[:-1], bank[1:], dim=-1)
        k = similarity.argmax(dim=0)
        steps = torch.arange(length)[:, None]
        kept = (steps != k + 1).T
        weighted = bank * size[..., None]
        source = torch.gather(weighted, 0, (k + 1)[None, :, None].expand(1, tokens, width))
        source_size = torch.gather(size, 0, (k + 1)[None])
        weighted.scatter_add_(0, k[None, :, None].expand(1, tokens, width), source)
        size = size.scatter_add(0, k[None], source_size)
        size = size.T[kept].reshape(tokens, length - 1).T
        weighted = weighted.transpose(0, 1)[kept].reshape(tokens, length - 1, width).transpose(0, 1)
        return weighted / size[..., None], size


@dataclass(frozen=True)
class Shape:
    length: int
    tokens: int
    width: int


def per_frame(append: Callable[[object], None], frames: list[object], warm: int, least_s: float) -> float:
    """Seconds of one append once the bank is full: the median of several runs of frames."""
    for at in range(warm):
        append(frames[at % len(frames)])
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < least_s:
        start = time.perf_counter()
        append(frames[len(times) % len(frames)])
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def moved(shape: Shape) -> float:
    """Bytes that one append must touch: the frame in, its row out; four rows read and one written for a merge."""
    return 7.0 * shape.tokens * shape.width * 4


def bandwidth() -> float:
    """Bytes per second of one thread copying what does not fit a cache."""
    source = np.ones(1 << 27, np.uint8)
    target = np.empty_like(source)
    best = min(_timed(lambda: np.copyto(target, source)) for _ in range(5))
    return 2 * source.nbytes / best


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="least time per measurement")
    least = parser.parse_args().seconds
    torch.set_num_threads(1)
    speed = bandwidth()
    print(f"copying: {speed / 1e9:.1f} GB/s, one thread\n")
    print("| length | tokens × channels | recomputing | incremental, NumPy | torch | faster | bytes/s of copying |")
    print("|---|---|---|---|---|---|---|")
    costs: dict[int, float] = {}
    for shape in (Shape(20, 257, 1408), Shape(400, 257, 1408), Shape(20, 32, 768), Shape(400, 32, 768)):
        rng = np.random.default_rng(0)
        frames = [rng.normal(size=(shape.tokens, shape.width)).astype(np.float32) for _ in range(8)]
        tensors = [torch.from_numpy(frame) for frame in frames]
        plain = per_frame(Plain(shape.length).append, tensors, shape.length + 1, least)
        ours = per_frame(TokenBank(shape.length).append, frames, shape.length + 8, least)
        ours_torch = per_frame(TokenBank(shape.length).append, tensors, shape.length + 8, least)
        best = min(ours, ours_torch)
        share = moved(shape) / best / speed
        if shape.tokens == 257:
            costs[shape.length] = best
        print(
            f"| {shape.length} | {shape.tokens} × {shape.width} | {plain * 1e3:.2f} ms | {ours * 1e3:.3f} ms | "
            f"{ours_torch * 1e3:.3f} ms | {plain / best:.0f} × | {share:.0%} |"
        )
    print(f"\nfrom length 20 to 400 the cost per frame grows by a factor of {costs[400] / costs[20]:.2f}")
    joint = JointBank(64)
    span = Span(Moment(0), Moment(1))
    vectors = [np.random.default_rng(t).normal(size=512).astype(np.float32) for t in range(64)]
    cost = per_frame(lambda frame: joint.append(frame, span), vectors, 65, least)  # type: ignore[arg-type, func-returns-value]
    print(f"one vector of 512 into a chapter's bank of 64 slots: {cost * 1e6:.0f} µs")


if __name__ == "__main__":
    main()
