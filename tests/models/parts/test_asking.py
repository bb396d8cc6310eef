"""What every answer shares: the ladder when memory runs out, and citations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ingest.errors import TooLarge
from ingest.records import Moment, StreamId, seconds
from models.parts.asking import cited, rate, told
from models.parts.exhibits import Shot


def shots(count: int, every: float = 1.0) -> list[Shot]:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    return [Shot(number + 1, StreamId("s"), Moment(seconds(number * every)), pixels) for number in range(count)]


class Small:
    """A model on a device with room for so many pictures; it fails as a GPU does, at once or at the first word."""

    def __init__(self, room: int, *, lazily: bool) -> None:
        self.room, self.lazily, self.tried = room, lazily, list[int]()

    def __call__(self, shown: list[Shot]) -> Iterator[str]:
        self.tried.append(len(shown))
        if not self.lazily:
            self._fit(shown)
        return self._speak(shown)

    def _speak(self, shown: list[Shot]) -> Iterator[str]:
        self._fit(shown)
        yield "A door"
        yield " opens."

    def _fit(self, shown: list[Shot]) -> None:
        if len(shown) > self.room:
            raise torch.OutOfMemoryError("out of memory")


@pytest.mark.parametrize("lazily", [True, False])
def test_fewer_pictures_when_memory_runs_out(lazily: bool) -> None:
    model = Small(3, lazily=lazily)
    assert list(told(model, shots(9))) == ["A door", " opens.", " [1] [5] [9]"]
    assert model.tried == [9, 5, 3]


def test_the_ladder_ends() -> None:
    model = Small(0, lazily=True)
    with pytest.raises(TooLarge, match="one picture"):
        list(told(model, shots(4)))
    assert model.tried == [4, 2, 1]


def test_other_errors_are_not_hidden() -> None:
    def broken(shown: list[Shot]) -> Iterator[str]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(told(broken, shots(4)))


def test_who_cites_needs_no_citations() -> None:
    assert "".join(cited(iter(["It opens [", "2]."]), shots(3))) == "It opens [2]."
    assert "".join(cited(iter(["It opens."]), shots(3))) == "It opens. [1] [2] [3]"


def test_rate() -> None:
    assert rate(shots(11, every=0.5)) == 2.0
    assert rate(shots(3, every=10.0)) == 1.0
    assert rate(shots(1)) == 1.0
