"""MA-LMM's Q-Former at full size, per frame, with both banks full: caching projections beside projecting again.

12 layers of 768, 32 queries and 12 tokens of text, 257 x 1408 visual tokens per frame, random weights, one process,
the ways in turn, the least of several frames.

again    the way of the authors' code: all entries of all banks are projected at every frame, attention is written
         out, banks are compressed whole
cached   projections are kept and merged with the banks
packed   the same with its weights packed: how the system runs on a CPU in float32

    python -m benchmarks.qformer [--length 20 100] [--threads 1] [--device cpu] [--cache-mib 300]
"""

from __future__ import annotations

import argparse
import copy
import time
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.parts.banked_context import Banks, Memory, ReprojectingMemory
from models.parts.memory_bank import Bank
from models.parts.packed import pack
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


@dataclass
class Way:
    """A way to look at a frame: a network and its memory; wall and processor seconds of each frame."""

    former: QFormer
    memory: Banks
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def look(self, queries: torch.Tensor, visual: torch.Tensor, text: Text) -> torch.Tensor:
        self.memory.see(visual)
        rows: torch.Tensor = self.former(queries, visual, text, self.memory.past, self.memory.sight)
        self.memory.settle()
        return rows

    def timed(self, queries: torch.Tensor, visual: torch.Tensor, text: Text) -> torch.Tensor:
        plainly = isinstance(self.memory, ReprojectingMemory)  # scores, softmax and sum one after the other
        with sdpa_kernel(SDPBackend.MATH) if plainly else nullcontext():
            _wait(visual)
            wall, cpu = time.perf_counter(), time.process_time()
            rows = self.look(queries, visual, text)
            _wait(visual)
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        return rows


def _wait(tensor: torch.Tensor) -> None:
    if tensor.device.type == "cuda":
        torch.cuda.synchronize()


def fill(plain: ReprojectingMemory, cached: list[Memory], layers: int, frames: Frames) -> None:
    """Make the same memories full, so that every further frame costs what it will cost for ever."""
    for memory in cached:
        memory.queries = {layer: Bank(memory.length) for layer in range(layers)}
    for _ in range(plain.length):
        visual = frames()
        for seeing in (plain, *cached):
            seeing.see(visual)
        for layer in range(layers):
            rows = frames.rows()
            plain.queries.setdefault(layer, type(plain.visual)()).append(rows)
            for memory in cached:
                memory.queries[layer].append(rows)


@torch.no_grad()
def compare(former: QFormer, length: int, options: argparse.Namespace) -> None:
    """The rows of a length: least times per frame of each way, interleaved, and how far their numbers are apart."""
    frames = Frames(options.device)
    queries = frames.rows()[:, :_QUERIES]
    words = torch.randint(0, 30522, (1, _WORDS), device=options.device)
    text = Text(words, torch.ones_like(words))
    bound = options.cache_mib and options.cache_mib * 2**20
    plain, cached, packed = ReprojectingMemory(length), *(Memory(length, cache_bytes=bound) for _ in range(2))
    fill(plain, [cached, packed], len(former.bert.encoder.layer), frames)
    smaller = copy.deepcopy(former)
    pack(smaller)
    ways = {"again": Way(former, plain), "cached": Way(former, cached), "packed": Way(smaller, packed)}
    apart = dict.fromkeys(ways, 0.0)
    for number in range(options.repeats + 1):
        visual = frames()
        if number == 0:  # fills the caches
            for way in ways.values():
                way.look(queries, visual, text)
            continue
        expected, *others = (way.timed(queries, visual, text) for way in ways.values())
        for name, rows in zip(list(ways)[1:], others, strict=True):
            apart[name] = max(apart[name], float((rows - expected).abs().max()))
    for name, way in ways.items():
        times = [min(ways["again"].wall) / min(way.wall), min(ways["again"].cpu) / min(way.cpu)]
        copies = way.memory.projected_bytes / 2**20 if isinstance(way.memory, Memory) else 0
        print(
            f"| {length} | {name} | {min(way.wall) * 1e3:.0f} | {times[0]:.1f} | {min(way.cpu) * 1e3:.0f} "
            f"| {times[1]:.1f} | {copies:.0f} | {apart[name]:.1e} |",
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
    print("| bank length | way | wall ms | times faster | CPU ms | times faster | projected copies MiB | apart |")
    print("|---|---|---|---|---|---|---|---|")
    for length in options.length:
        compare(former, length, options)


if __name__ == "__main__":
    main()
