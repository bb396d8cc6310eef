"""MA-LMM's memory bank compression, as written down and as fast as it can be.

He et al., "MA-LMM: Memory-Augmented Large Multimodal Model for Long-Term Video Understanding" (CVPR 2024), §3.2.2.
A bank holds one entry per frame until it is full. From then on each new frame makes, at every token position by
itself, the most similar neighbours in time become one: their mean, weighted by the frames that each already holds.
(The paper writes a plain average; the authors' code, which the published weights were trained with, weighs.)

`compress` is the definition. `Bank` is the same bank kept incrementally: only what a new frame changes is computed,
so that the time per frame does not depend on the bank's length. Since a projection W e + b of a weighted mean is the
weighted mean of the projections, a bank can carry projected copies of its entries and merge them alongside, and
nobody needs to project an old entry again.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ingest.errors import Invalid


def compress(bank: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """One merge per token position: bank [B, T, N, C], size [B, T, N] to [B, T-1, N, C], [B, T-1, N].

    Ties go to the earliest pair. The result has the wider of both dtypes. Every kept entry is multiplied and divided
    by its size, as the authors do, so that their rounding is reproduced.
    """
    batch, length, tokens, width = bank.shape
    similarity = F.cosine_similarity(bank[:, :-1], bank[:, 1:], dim=-1)  # [B, T-1, N]
    first = similarity.max(dim=1, keepdim=True).indices  # [B, 1, N]
    kept = torch.arange(length - 1, device=bank.device).view(1, -1, 1).expand(batch, -1, tokens)
    kept = kept + (kept > first)
    at = first.unsqueeze(-1).expand(-1, -1, -1, width)
    weighted = (bank * size.unsqueeze(-1)).to(bank.dtype)
    sums = weighted.gather(1, kept.unsqueeze(-1).expand(-1, -1, -1, width))
    sums = sums.scatter_add(1, at, weighted.gather(1, at + 1))
    sizes = size.gather(1, kept).scatter_add(1, first, size.gather(1, first + 1))
    return sums / sizes.unsqueeze(-1), sizes


class Bank:
    """A memory of at most `length` entries [B, N, C], and one more while the current frame is looked at.

    Entries lie in slots. A merge writes into the slot of the earlier of the pair and frees the slot of the later for
    the next frame, so that nothing moves; `order` says which slot holds which entry. Attention does not care.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.tracks: dict[str, Tensor] = {}
        """What an entry consists of, name -> [B, length + 1, N, C]: "entry" itself, and projected copies of it."""
        self.size = torch.empty(0)
        """Frames merged into each slot, [B, length + 1, N]."""
        self.order = torch.empty(0, dtype=torch.int64)
        """Slot of each entry, oldest first, [B, T, N]."""
        self.similarity = torch.empty(0)
        """Cosine of each entry with the next, [B, T-1, N]."""
        self.free = torch.empty(0, dtype=torch.int64)
        """Slot that the next entry goes to, [B, N]."""

    def __len__(self) -> int:
        """Entries held."""
        return self.order.shape[1] if self.tracks else 0

    def append(self, entry: Tensor) -> None:
        """Add the entry [B, N, C] of one more frame. The bank may now hold one too many until `merge`."""
        batch, tokens, _ = entry.shape
        if not self.tracks:
            self.tracks = {"entry": self._slots(entry)}
            self.size = entry.new_zeros(batch, self.length + 1, tokens, dtype=torch.float32)
            self.order = torch.empty(batch, 0, tokens, dtype=torch.int64, device=entry.device)
            self.similarity = entry.new_empty(batch, 0, tokens)
            self.free = torch.zeros(batch, tokens, dtype=torch.int64, device=entry.device)
        else:
            newest = self._read("entry", self.order[:, -1])
            self.similarity = torch.cat([self.similarity, _cosine(newest, entry).unsqueeze(1)], dim=1)
        self._write("entry", self.free, entry)
        self.size.scatter_(1, self.free.unsqueeze(1), 1.0)
        self.order = torch.cat([self.order, self.free.unsqueeze(1)], dim=1)
        self.free = torch.full_like(self.free, len(self))  # while the bank fills; a merge says otherwise

    def carry(self, name: str, projected: Tensor) -> Tensor:
        """Put the projected copy [B, N, D] of the newest entry beside it: all copies, slot by slot, [B, T*N, D]."""
        if name not in self.tracks:
            self.tracks[name] = self._slots(projected)
        self._write(name, self.order[:, -1], projected)
        return self.flat(name)

    def fill(self, name: str, projected: Tensor) -> None:
        """Put projected copies [B, T*N, D] of all entries, slot by slot, beside them."""
        tokens = self.size.shape[2]
        self.tracks[name] = self._slots(projected[:, :tokens])
        self.tracks[name][:, : len(self)] = projected.view(len(projected), -1, tokens, projected.shape[-1])

    def flat(self, name: str = "entry") -> Tensor:
        """[B, T*N, D]: what attention looks at. Slot by slot, which is not the order of time."""
        return self.tracks[name][:, : len(self)].flatten(1, 2)

    def merge(self) -> None:
        """Bring a bank that holds one entry too many back to its length; otherwise nothing."""
        if len(self) <= self.length:
            return
        first = self.similarity.max(dim=1).indices  # [B, N]
        keep = self.order.gather(1, first.unsqueeze(1)).squeeze(1)
        drop = self.order.gather(1, first.unsqueeze(1) + 1).squeeze(1)
        kept, dropped = (self.size.gather(1, slot.unsqueeze(1)).squeeze(1) for slot in (keep, drop))
        for name in self.tracks:
            ours, theirs = (self._read(name, slot) for slot in (keep, drop))
            both = ours * kept.unsqueeze(-1) + theirs * dropped.unsqueeze(-1)
            self._write(name, keep, (both / (kept + dropped).unsqueeze(-1)).to(ours.dtype))
        self.size.scatter_(1, keep.unsqueeze(1), (kept + dropped).unsqueeze(1))
        self.size.scatter_(1, drop.unsqueeze(1), 0.0)
        self.order = _without(self.order, first + 1)
        self.similarity = _without(self.similarity, first)
        self._compare(first)
        self.free = drop

    def _compare(self, merged: Tensor) -> None:
        """Renew the similarities of the entries at positions `merged` [B, N] with their neighbours."""
        last = self.similarity.shape[1] - 1
        if last < 0:
            return
        for left in (merged - 1, merged):
            at = left.clamp(0, last)  # at either end one neighbour is missing: an unchanged pair is compared again
            pair = (self._read("entry", self.order.gather(1, (at + i).unsqueeze(1)).squeeze(1)) for i in (0, 1))
            self.similarity.scatter_(1, at.unsqueeze(1), _cosine(*pair).unsqueeze(1))

    def entries(self) -> Tensor:
        """[B, T, N, C], oldest first."""
        width = self.tracks["entry"].shape[-1]
        return self.tracks["entry"].gather(1, self.order.unsqueeze(-1).expand(-1, -1, -1, width))

    def sizes(self) -> Tensor:
        """Frames in each entry, float32 [B, T, N], oldest first."""
        return self.size.gather(1, self.order)

    @property
    def nbytes(self) -> int:
        return sum(track.nbytes for track in self.tracks.values())

    def clear(self) -> None:
        """Forget everything, as before the first frame."""
        self.tracks = {}

    def state(self, *, projections: bool = True) -> dict[str, Tensor]:
        """Everything to continue from. Without its projected copies it is many times smaller (see `fill`)."""
        if not self.tracks:
            return {}
        tracks = self.tracks if projections else {"entry": self.tracks["entry"]}
        rest = {name: getattr(self, name) for name in ("size", "order", "similarity", "free")}
        return {
            name: tensor.clone() for name, tensor in ({f"track.{key}": t for key, t in tracks.items()} | rest).items()
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Become the bank that `state` was taken from. Raises `Invalid` for one of another length."""
        self.clear()
        if state and state["size"].shape[1] != self.length + 1:
            raise Invalid(
                f"This memory has a bank of {state['size'].shape[1] - 1} entries, not {self.length}.",
                advice="Continue it with the memory bank length it was recorded with.",
            )
        for name, tensor in state.items():
            if name.startswith("track."):
                self.tracks[name.removeprefix("track.")] = tensor.clone()
            else:
                setattr(self, name, tensor.clone())

    def _slots(self, entry: Tensor) -> Tensor:
        batch, tokens, width = entry.shape
        return entry.new_zeros(batch, self.length + 1, tokens, width)

    def _read(self, name: str, slot: Tensor) -> Tensor:
        """What lies in `slot` [B, N]: [B, N, C]."""
        track = self.tracks[name]
        return track.gather(1, slot[:, None, :, None].expand(-1, 1, -1, track.shape[-1])).squeeze(1)

    def _write(self, name: str, slot: Tensor, entry: Tensor) -> None:
        track = self.tracks[name]
        track.scatter_(1, slot[:, None, :, None].expand(-1, 1, -1, track.shape[-1]), entry.detach().unsqueeze(1))


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    return F.cosine_similarity(left, right, dim=-1)


def _without(rows: Tensor, position: Tensor) -> Tensor:
    """`rows` [B, T, N] less the one at `position` [B, N] of each column: [B, T-1, N]."""
    kept = torch.arange(rows.shape[1] - 1, device=rows.device).view(1, -1, 1)
    return rows.gather(1, kept + (kept >= position.unsqueeze(1)))
