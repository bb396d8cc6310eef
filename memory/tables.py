"""Columns of features and of slots: what chapters are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.records import Moment, Span


@dataclass(frozen=True, slots=True, eq=False)
class FineLog:
    """Features in the order in which they came: `vectors` float32 [F, D] and, per feature, int64 [F] start, end, epoch
    and pts; `sounds` bool [F]; `thumbnails` JPEG bytes, empty where there is none."""

    vectors: NDArray[np.float32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    epochs: NDArray[np.int64]
    pts: NDArray[np.int64]
    sounds: NDArray[np.bool_]
    thumbnails: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def size(self) -> int:
        """Bytes of its vectors and pictures."""
        return self.vectors.nbytes + sum(map(len, self.thumbnails))

    @property
    def span(self) -> Span:
        return Span(Moment(int(self.starts.min())), Moment(int(self.ends.max())))

    def where(self, chosen: NDArray[np.bool_]) -> FineLog:
        kept = tuple(jpeg for jpeg, keep in zip(self.thumbnails, chosen, strict=True) if keep)
        return FineLog(
            self.vectors[chosen], self.starts[chosen], self.ends[chosen], self.epochs[chosen], self.pts[chosen],
            self.sounds[chosen], kept,
        )  # fmt: skip

    @classmethod
    def joined(cls, logs: Sequence[FineLog]) -> FineLog:
        """All features of several logs, epoch by epoch, in order of their starts."""
        arrays = [
            np.concatenate([getattr(log, name) for log in logs])
            for name in ("vectors", "starts", "ends", "epochs", "pts", "sounds")
        ]
        order = np.lexsort((arrays[1], arrays[3]))
        thumbnails = [jpeg for log in logs for jpeg in log.thumbnails]
        vectors, starts, ends, epochs, pts, sounds = (array[order] for array in arrays)
        return cls(vectors, starts, ends, epochs, pts, sounds, tuple(thumbnails[i] for i in order))

    @classmethod
    def empty(cls, dim: int) -> FineLog:
        times = np.empty(0, np.int64)
        return cls(np.empty((0, dim), np.float32), times, times, times, times, np.empty(0, np.bool_), ())


@dataclass(frozen=True, slots=True, eq=False)
class SlotTable:
    """Slots in time order: `vectors` float32 [S, D]; `times` int64 [S, 5] as start, end, count, peak, sound.

    `count` is how many frames (or utterances) a slot stands for, `peak` the moment of its most typical one, `sound`
    1 for slots of speech. Kept as float16 vectors: 2 bytes per dimension.
    """

    vectors: NDArray[np.float32]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def starts(self) -> NDArray[np.int64]:
        return self.times[:, 0]

    @property
    def ends(self) -> NDArray[np.int64]:
        return self.times[:, 1]

    @property
    def counts(self) -> NDArray[np.int64]:
        return self.times[:, 2]

    @property
    def sounds(self) -> NDArray[np.bool_]:
        return np.equal(self.times[:, 4], 1)

    @property
    def frames(self) -> int:
        """Frames these slots stand for."""
        return int(self.counts[~self.sounds].sum())

    def where(self, chosen: NDArray[np.bool_]) -> SlotTable:
        return SlotTable(self.vectors[chosen], self.times[chosen])

    def blobs(self) -> tuple[bytes, bytes]:
        return self.vectors.astype("<f2").tobytes(), self.times.astype("<i8").tobytes()

    @classmethod
    def of(cls, vectors: bytes, times: bytes) -> SlotTable:
        table = np.frombuffer(times, dtype="<i8").reshape(-1, 5)
        flat = np.frombuffer(vectors, dtype="<f2").astype(np.float32)
        return cls(flat.reshape(len(table), -1), table)

    @classmethod
    def joined(cls, tables: list[SlotTable]) -> SlotTable:
        """All slots of several tables in order of their starts."""
        vectors = np.concatenate([table.vectors for table in tables])
        times = np.concatenate([table.times for table in tables])
        order = np.argsort(times[:, 0], kind="stable")
        return cls(vectors[order], times[order])
