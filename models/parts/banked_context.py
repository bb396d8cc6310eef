"""What MA-LMM's Q-Former sees: the current frame and, through memory banks, all frames before it.

He et al. (CVPR 2024), §3.2.1: the visual memory bank is concatenated to the current frame for cross-attention, and
each self-attention layer has a query memory bank of the rows that entered it, concatenated to the current rows.

`Memory` keeps keys and values of everything in the banks and merges them with the banks. `ReprojectingMemory` is the
straightforward way: it projects the whole bank again at every frame. Same numbers; it is what training needs, where
the projections change, and what the other is measured against.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from models.parts.memory_bank import Bank, compress
from models.parts.qformer import Context, Project


class Banks(Protocol):
    """What a streaming system asks of its memory, once per frame and in this order."""

    @property
    def past(self) -> Context:
        """For self-attention."""

    @property
    def sight(self) -> Context:
        """For cross-attention."""

    def see(self, visual: Tensor) -> None:
        """The current frame's tokens [B, N, C]."""

    def settle(self, *, last: bool = False) -> None:
        """The frame is over: bring the banks back to their length. Nothing is compressed behind the `last` frame."""


class Memory:
    """Banks of at most `length` frames, in constant memory however long the stream.

    cache_bytes bounds what the projected copies may take; layers for which there is no room project their bank anew.
    clear_after reproduces the authors' demonstration: query banks are dropped after so many frames.
    """

    def __init__(self, length: int, *, cache_bytes: int | None = None, clear_after: int | None = None) -> None:
        self.length = length
        self.cache_bytes = cache_bytes
        self.clear_after = clear_after
        self.visual = Bank(length)
        self.queries: dict[int, Bank] = {}
        self.frames = 0
        self._since_clear = 0

    @property
    def past(self) -> Context:
        return _Past(self)

    @property
    def sight(self) -> Context:
        return _Sight(self)

    def see(self, visual: Tensor) -> None:
        self.visual.append(visual)

    def settle(self, *, last: bool = False) -> None:
        self.frames += 1
        self._since_clear += 1
        if self._since_clear == self.clear_after:
            self.forget_queries()
        for bank in self.queries.values():
            bank.merge()
        if last:
            self.visual.clear()
        else:
            self.visual.merge()

    def forget_queries(self) -> None:
        """Drop what was asked so far; what was seen stays."""
        self.queries = {}
        self._since_clear = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all banks, projected copies included."""
        return sum(bank.nbytes for bank in [self.visual, *self.queries.values()])

    @property
    def projected_bytes(self) -> int:
        """Bytes of the projected copies: what caching costs."""
        banks = [self.visual, *self.queries.values()]
        return sum(track.nbytes for bank in banks for name, track in bank.tracks.items() if name != "entry")

    def state(self, *, projections: bool = True) -> dict[str, Tensor]:
        """Everything, to be written with safetensors. Restored, it continues exactly as this would have.

        Without projections it is many times smaller and continues within rounding.
        """
        banks = {"visual": self.visual} | {f"queries.{layer}": bank for layer, bank in self.queries.items()}
        state = {
            f"{name}.{key}": tensor
            for name, bank in banks.items()
            for key, tensor in bank.state(projections=projections).items()
        }
        return state | {"frames": torch.tensor([self.frames, self._since_clear])}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Become the memory that `state` was taken from. Raises `Invalid` for one of another length."""
        self.visual.restore(_under("visual.", state))
        layers = {int(name.split(".")[1]) for name in state if name.startswith("queries.")}
        self.queries = {layer: Bank(self.length) for layer in sorted(layers)}
        for layer, bank in self.queries.items():
            bank.restore(_under(f"queries.{layer}.", state))
        self.frames, self._since_clear = state["frames"].tolist()

    def look(self, bank: Bank, layer: int, current: Tensor, project: Project) -> tuple[Tensor, Tensor]:
        """Keys and values of everything in `bank`, whose newest entry is `current`, for one layer."""
        name = f"projected.{layer}"  # keys and values side by side
        if name in bank.tracks:
            keys, values = bank.carry(name, torch.cat(project(current), dim=-1)).chunk(2, dim=-1)
            return keys, values
        keys, values = project(bank.flat().squeeze(1))
        if self._affordable(keys, bank):
            bank.fill(name, torch.cat([keys, values], dim=-1))
        return keys, values

    def _affordable(self, keys: Tensor, bank: Bank) -> bool:
        cost = 2 * keys.nbytes // len(bank) * (self.length + 1)
        return self.cache_bytes is None or self.projected_bytes + cost <= self.cache_bytes


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


class _Past:
    """Self-attention: every layer has a bank of the rows that entered it."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def look(self, layer: int, rows: Tensor, project: Project) -> tuple[Tensor, Tensor]:
        bank = self.memory.queries.setdefault(layer, Bank(self.memory.length))
        bank.append(rows)
        return self.memory.look(bank, layer, rows, project)


class _Sight:
    """Cross-attention: all layers share the visual bank, each with projected copies of its own."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def look(self, layer: int, rows: Tensor, project: Project) -> tuple[Tensor, Tensor]:
        return self.memory.look(self.memory.visual, layer, rows, project)


class ReprojectingMemory:
    """The same memory as the paper writes it down: banks are projected anew at every frame and compressed whole."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.visual = _Plain()
        self.queries: dict[int, _Plain] = {}

    @property
    def past(self) -> Context:
        return _PlainPast(self)

    @property
    def sight(self) -> Context:
        return _PlainSight(self)

    def see(self, visual: Tensor) -> None:
        self.visual.append(visual)

    def settle(self, *, last: bool = False) -> None:
        for bank in [self.visual, *self.queries.values()]:
            bank.settle(self.length if not last else len(bank.entries[0]))


class _Plain:
    """Entries [B, T, N, C], oldest first, and their sizes [B, T, N]."""

    def __init__(self) -> None:
        self.entries = self.sizes = torch.empty(0)

    def append(self, entry: Tensor) -> None:
        one = entry.unsqueeze(1)
        size = torch.ones(one.shape[:3], device=entry.device)
        self.entries = torch.cat([self.entries, one], dim=1) if len(self.entries) else one
        self.sizes = torch.cat([self.sizes, size], dim=1) if len(self.sizes) else size

    def settle(self, length: int) -> None:
        """Past frames are memories: no gradient flows into them."""
        self.entries = self.entries.detach()
        if self.entries.shape[1] > length:
            self.entries, self.sizes = compress(self.entries, self.sizes)


class _PlainPast:
    def __init__(self, memory: ReprojectingMemory) -> None:
        self.memory = memory

    def look(self, layer: int, rows: Tensor, project: Project) -> tuple[Tensor, Tensor]:
        bank = self.memory.queries.setdefault(layer, _Plain())
        bank.append(rows)
        return project(bank.entries.flatten(1, 2))


class _PlainSight:
    def __init__(self, memory: ReprojectingMemory) -> None:
        self.memory = memory

    def look(self, layer: int, rows: Tensor, project: Project) -> tuple[Tensor, Tensor]:  # the bank ends with `rows`
        return project(self.memory.visual.entries.flatten(1, 2))
