"""MA-LMM's Q-Former at full size, per frame, with both banks full: caching projections beside projecting again.

12 layers of 768, 32 queries and 12 tokens of text, 257 x 1408 visual tokens per frame, random weights, one process,
the two ways in turn, the least of several frames. "Again" is the way of the authors' code: all entries of all banks
are projected at every frame, attention is written out, banks are compressed whole.

    python benchmarks/qformer.py [--length 20 100] [--threads 1] [--device cpu] [--cache-mib 300]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.parts.banked_context import Memory, Recollection, ReprojectingMemory
from models.parts.memory_bank import Bank
from models.parts.qformer import QFormer, QFormerConfig, Text

_QUERIES, _WORDS, _TOKENS, _WIDTH, _HIDDEN = 32, 12, 257, 1408, 768


class Frames:
    """A made-up stream: scenes that last a while, with noise, as the encoder would give them."""

    def __init__(self, device: str) -> None:
        self.random = torch.Generator(device).manual_seed(7)
        self.device = device
        self.scene = self._noise(_TOKENS, _WIDTH)

    def __call__(self) -> torch.Tensor:
        self.scene = 0.9 * self.scene + 0.4 * self._noise(_TOKENS, _WIDTH)
        return self.scene.unsqueeze(0)

    def rows(self) -> torch.Tensor:
        return self._noise(1, _QUERIES + _WORDS, _HIDDEN)

    def _noise(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.random, device=self.device)


def full_banks(length: int, layers: int, frames: Frames, cache: int | None) -> tuple[ReprojectingMemory, Memory]:
    """The same two memories, full, so that every further frame costs what it will cost for ever."""
    plain, cached = ReprojectingMemory(length), Memory(length, cache_bytes=cache)
    cached.queries = {layer: Bank(length) for layer in range(layers)}
    for _ in range(length):
        visual = frames()
        for memory in (plain, cached):
            memory.see(visual)
        for layer, bank in cached.queries.items():
            rows = frames.rows()
            bank.append(rows)
            plain.queries.setdefault(layer, type(plain.visual)()).append(rows)
    return plain, cached


def timed(work: Callable[[], torch.Tensor], device: str) -> tuple[float, float, torch.Tensor]:
    """Wall seconds, CPU seconds and the result."""
    if device == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu, result


@torch.no_grad()
def compare(former: QFormer, length: int, options: argparse.Namespace) -> None:
    """One row of the table: least CPU and wall time per frame of both ways, interleaved, and how far they differ."""
    device: str = options.device
    frames = Frames(device)
    queries = frames.rows()[:, :_QUERIES]
    words = torch.randint(0, 30522, (1, _WORDS), device=device)
    text = Text(words, torch.ones_like(words))

    def again(memory: Recollection, visual: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.MATH):  # scores, softmax and sum one after the other, as the authors write it
            return look(memory, visual)

    def look(memory: Recollection, visual: torch.Tensor) -> torch.Tensor:
        memory.see(visual)
        rows: torch.Tensor = former(queries, visual, text, memory.past, memory.sight)
        memory.settle()
        return rows

    plain, cached = full_banks(
        length, len(former.bert.encoder.layer), frames, options.cache_mib and options.cache_mib * 2**20
    )
    visual = frames()
    again(plain, visual)
    look(cached, visual)  # fills the cache
    plain_times, cached_times, apart = [], [], 0.0
    for _ in range(options.repeats):
        visual = frames()
        *plain_time, expected = timed(lambda: again(plain, visual), device)  # noqa: B023  # called at once
        *cached_time, rows = timed(lambda: look(cached, visual), device)  # noqa: B023
        plain_times.append(plain_time)
        cached_times.append(cached_time)
        apart = max(apart, float((rows - expected).abs().max()))
    plain_wall, cached_wall = min(wall for wall, _ in plain_times), min(wall for wall, _ in cached_times)
    plain_cpu, cached_cpu = min(cpu for _, cpu in plain_times), min(cpu for _, cpu in cached_times)
    print(
        f"| {length} | {plain_wall * 1e3:.0f} | {cached_wall * 1e3:.0f} | {plain_wall / cached_wall:.1f} "
        f"| {plain_cpu * 1e3:.0f} | {cached_cpu * 1e3:.0f} | {plain_cpu / cached_cpu:.1f} "
        f"| {cached.projected_bytes / 2**20:.0f} of {cached.nbytes / 2**20:.0f} MiB | {apart:.1e} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, nargs="+", default=[20, 100], help="bank lengths")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache-mib", type=int, help="bound of the projected copies; all when not given")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with torch.device(options.device):
        former = QFormer(QFormerConfig()).eval()
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{options.threads} CPU thread(s)"
    print(f"MA-LMM Q-Former per frame, both banks full, float32, {where}, torch {torch.__version__}\n")
    print("| bank length | again: wall ms | cached: wall ms | times | again: CPU ms | cached: CPU ms | times "
          "| projected copies | apart |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for length in options.length:
        compare(former, length, options)


if __name__ == "__main__":
    main()
