"""M-RoPE: positions of time, height and width (Wang et al. 2024, Qwen2-VL, section 2.1).

Computed here and not by transformers, which since 5.3 lets text after a video continue as if the video had no
duration, and so puts it at positions that the model never saw in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The patches of a picture or a video after merging: temporal steps, rows, columns.

    `steps` are the temporal positions, ascending from 0; None counts 0, 1, 2, … as in training, where a step is two
    frames at 2 per second: a step is a second.
    """

    time: int
    rows: int
    columns: int
    steps: tuple[int, ...] | None = None

    @property
    def tokens(self) -> int:
        return self.time * self.rows * self.columns

    def positions(self) -> Tensor:
        """int64 [3, tokens] from 0, time slowest."""
        steps = torch.arange(self.time) if self.steps is None else torch.tensor(self.steps)
        return torch.stack(
            torch.meshgrid(steps, torch.arange(self.rows), torch.arange(self.columns), indexing="ij")
        ).flatten(1)


def multimodal_positions(vision: Sequence[bool], grids: Iterator[Grid]) -> Tensor:
    """int64 [3, L] of a row of tokens without padding, of which `vision` says where the grids' tokens stand.

    Text counts on in all three rows; a grid starts where text would continue; text continues after the grid's
    largest position in any row.
    """
    pieces: list[Tensor] = []
    here = at = 0
    while at < len(vision):
        piece = next(grids).positions() if vision[at] else torch.zeros(3, 1, dtype=torch.long)
        pieces.append(here + piece)
        here += int(piece.max()) + 1
        at += piece.shape[1]
    return torch.cat(pieces, dim=1)
