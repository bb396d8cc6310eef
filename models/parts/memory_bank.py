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
        """name -> [B, G, length + 1, N, D]: "entry" itself (G = 1), and projected copies of it (G heads)."""
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
        alone = entry.unsqueeze(1)
        if not self.tracks:
            self.tracks = {"entry": self._slots(alone)}
            self.size = entry.new_zeros(batch, self.length + 1, tokens, dtype=torch.float32)
            self.order = torch.empty(batch, 0, tokens, dtype=torch.int64, device=entry.device)
            self.similarity = entry.new_empty(batch, 0, tokens)
            self.free = torch.zeros(batch, tokens, dtype=torch.int64, device=entry.device)
        else:
            newest = self._read("entry", self.order[:, -1])
            self.similarity = torch.cat([self.similarity, _cosine(newest, alone)], dim=1)
        self._write("entry", self.free, alone)
        self.size.scatter_(1, self.free.unsqueeze(1), 1.0)
        self.order = torch.cat([self.order, self.free.unsqueeze(1)], dim=1)
        self.free = torch.full_like(self.free, len(self))  # while the bank fills; a merge says otherwise

    def carry(self, name: str, projected: Tensor) -> Tensor:
        """Put the projected copy [B, G, N, D] of the newest entry beside it: all copies, [B, G, T*N, D]."""
        if name not in self.tracks:
            self.tracks[name] = self._slots(projected)
        self._write(name, self.order[:, -1], projected)
        return self.flat(name)

    def fill(self, name: str, projected: Tensor) -> None:
        """Put projected copies [B, G, T*N, D] of all entries, slot by slot, beside them."""
        tokens = self.size.shape[2]
        self.tracks[name] = self._slots(projected[:, :, :tokens])
        self.tracks[name][:, :, : len(self)] = projected.unflatten(2, (-1, tokens))  # type: ignore[no-untyped-call]

    def flat(self, name: str = "entry") -> Tensor:
        """[B, G, T*N, D]: what attention looks at. Slot by slot, which is not the order of time."""
        return self.tracks[name][:, :, : len(self)].flatten(2, 3)

    def merge(self) -> None:
        """Bring a bank that holds one entry too many back to its length; otherwise nothing."""
        if len(self) <= self.length:
            return
        first = self.similarity.max(dim=1).indices  # [B, N]
        keep = self.order.gather(1, first.unsqueeze(1)).squeeze(1)
        drop = self.order.gather(1, first.unsqueeze(1) + 1).squeeze(1)
        kept, dropped = (self.size.gather(1, slot.unsqueeze(1)).squeeze(1) for slot in (keep, drop))
        ours, theirs = self._read("entry", keep), self._read("entry", drop)
        both = ours * kept[:, None, :, None] + theirs * dropped[:, None, :, None]
        self._write("entry", keep, (both / (kept + dropped)[:, None, :, None]).to(ours.dtype))
        self._merge_projected(keep, drop, (dropped / (kept + dropped))[:, None, :, None])
        self.size.scatter_(1, keep.unsqueeze(1), (kept + dropped).unsqueeze(1))
        self.size.scatter_(1, drop.unsqueeze(1), 0.0)
        self.order = _without(self.order, first + 1)
        self.similarity = _without(self.similarity, first)
        self._compare(first)
        self.free = drop

    def _merge_projected(self, keep: Tensor, drop: Tensor, share: Tensor) -> None:
        """The same for copies, where the last bit decides nothing: `share` [B, 1, N, 1] of the mean is `drop`'s."""
        rows: dict[int, tuple[Tensor, Tensor]] = {}
        for track in (track for name, track in self.tracks.items() if name != "entry"):
            groups, width = track.shape[1], track.shape[-1]
            if groups not in rows:
                rows[groups] = self._rows(groups, keep), self._rows(groups, drop)
            ours, theirs = (track.view(-1, width).index_select(0, some) for some in rows[groups])
            weight = share.to(track.dtype).expand(-1, groups, -1, -1).reshape(-1, 1)
            track.view(-1, width).index_copy_(0, rows[groups][0], ours.lerp_(theirs, weight))

    def _compare(self, merged: Tensor) -> None:
        """Renew the similarities of the entries at positions `merged` [B, N] with their neighbours."""
        last = self.similarity.shape[1] - 1
        if last < 0:
            return
        for left in (merged - 1, merged):
            at = left.clamp(0, last)  # at either end one neighbour is missing: an unchanged pair is compared again
            pair = (self._read("entry", self.order.gather(1, (at + i).unsqueeze(1)).squeeze(1)) for i in (0, 1))
            self.similarity.scatter_(1, at.unsqueeze(1), _cosine(*pair))

    def entries(self) -> Tensor:
        """[B, T, N, C], oldest first."""
        track = self.tracks["entry"].squeeze(1)
        return track.gather(1, self.order.unsqueeze(-1).expand(-1, -1, -1, track.shape[-1]))

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

    def _slots(self, alone: Tensor) -> Tensor:
        """Room for entries like this one, [B, G, N, D]."""
        return alone.new_zeros(*alone.shape[:2], self.length + 1, *alone.shape[2:])

    def _rows(self, groups: int, slot: Tensor) -> Tensor:
        """Where `slot` [B, N] of each token is when a track is seen as one long list of rows, [B * G * N]."""
        batch, tokens = slot.shape
        first = torch.arange(batch * groups, device=slot.device).view(batch, groups, 1) * (self.length + 1)
        return ((first + slot.unsqueeze(1)) * tokens + torch.arange(tokens, device=slot.device)).flatten()

    def _read(self, name: str, slot: Tensor) -> Tensor:
        """What lies in `slot` [B, N]: [B, G, N, D]."""
        track = self.tracks[name]
        rows = track.view(-1, track.shape[-1]).index_select(0, self._rows(track.shape[1], slot))
        return rows.view(len(slot), track.shape[1], -1, track.shape[-1])

    def _write(self, name: str, slot: Tensor, alone: Tensor) -> None:
        track = self.tracks[name]
        where = self._rows(track.shape[1], slot)
        track.view(-1, track.shape[-1]).index_copy_(0, where, alone.detach().reshape(-1, track.shape[-1]))


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    return F.cosine_similarity(left, right, dim=-1)


def _without(rows: Tensor, position: Tensor) -> Tensor:
    """`rows` [B, T, N] less the one at `position` [B, N] of each column: [B, T-1, N]."""
    kept = torch.arange(rows.shape[1] - 1, device=rows.device).view(1, -1, 1)
    return rows.gather(1, kept + (kept >= position.unsqueeze(1)))
