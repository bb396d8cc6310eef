"""What nano sees in one stream: pictures are looked at where something changed, and what is in them is followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ingest.questions import Query
from ingest.records import MICROSECONDS, Box, Moment, Pixels, Vector
from models.embedded.closer import CloserLook, beyond, crop, is_doubtful, together
from models.embedded.faces import Face, FaceFollower
from models.embedded.pictures import Grey, grey, shrink
from models.nano.detector import Detection, Nano, Sight
from models.nano.tracker import Following, Near, Tracker, Visit

_FOLLOWING = Following(start=0.3, keep=0.1, confirm=1)
_TILES = (48, 27)
_CHANGED = 8.0
"""Grey levels by which a tile must differ for another look."""
_LONGEST_US = 10 * MICROSECONDS
"""Light creeps: what has not visibly changed for so long is looked at again."""
_HELD_US = 700_000
"""A thing missed for a moment is still there; at the edge of the picture it may have gone."""
_HELD_INSIDE_US = 1_400_000


class Seer(Protocol):
    """What looks at pictures: `Nano`, or what stands in for it in tests."""

    @property
    def id(self) -> str: ...

    def see(self, pictures: Sequence[Pixels], *, floor: float | None = None) -> list[Sight]: ...

    def query(self, text: str) -> Query: ...


class LazyNano:
    """Nano as it ships, loaded at the first picture or sentence."""

    def __init__(self) -> None:
        self._nano: Nano | None = None

    @property
    def _loaded(self) -> Nano:
        if self._nano is None:
            self._nano = Nano.load()
        return self._nano

    @property
    def id(self) -> str:
        return self._loaded.id

    def see(self, pictures: Sequence[Pixels], *, floor: float | None = None) -> list[Sight]:
        return self._loaded.see(pictures, floor=floor)

    def query(self, text: str) -> Query:
        return self._loaded.query(text)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one frame shows: the things in it, the faces, and the whole picture's vector.

    `fresh` says that the picture was looked at, and not only carried on from the one before. `glimpses` are all that
    was seen in it, however unlikely.
    """

    things: tuple[Visit, ...]
    vector: Vector
    fresh: bool
    glimpses: tuple[Detection, ...] = ()
    faces: tuple[Face, ...] = ()


class Watcher:
    """Looks at the frames of one stream. Depends on the stream's own frames and moments only."""

    def __init__(self, seer: Seer) -> None:
        self._seer = seer
        self._tracker = Tracker(_FOLLOWING)
        self._closer = CloserLook()
        self._faces = FaceFollower()
        self._tiles: Grey | None = None
        self._looked: Moment | None = None
        self._whole = Sight((), np.zeros(0, np.float32))

    def watch(self, pixels: Pixels, moment: Moment, *, cut: bool, new_scene: bool = False) -> Seen:
        """The next frame; at a `cut` everything that was followed is over, in a new scene what is not where it was."""
        if new_scene:
            self._tracker.change_scene()
        if cut:
            self._tracker.close()
            self._faces.close()
            self._closer = CloserLook()
        tiles = shrink(grey(pixels), *_TILES)
        fresh = cut or self._is_due(tiles, moment)
        if fresh:
            [sight] = self._seer.see([pixels], floor=_FOLLOWING.keep)
            self._tiles, self._looked, self._whole = tiles, moment, sight
        near = self._look_closer(pixels, tiles, moment)
        if fresh or near is not None:
            new, known = self._closer.found(tiles, moment)
            whole = self._whole.detections
            seen, still = (together(whole, new), known) if fresh else (beyond(whole, new), (*whole, *known))
            look = Near(near, frozenset(one.box for one in new), not fresh) if near is not None else None
            self._tracker.update(moment, seen, look, still)
        else:
            self._tracker.carry(moment)
        if fresh:
            people = [one for one in self._tracker.present() if one.label == "person" and one.span.end == moment]
            self._faces.look(pixels, people, moment)
        things = tuple(visit for visit in self._tracker.present() if moment - visit.span.end <= _held(visit))
        return Seen(things, self._whole.vector, fresh, self._whole.detections, self._faces.present())

    def _look_closer(self, pixels: Pixels, tiles: Grey, moment: Moment) -> Box | None:
        doubts = [visit.last for visit in self._tracker.present() if is_doubtful(visit)]
        where = self._closer.due(tiles, moment, doubts)
        if where is not None:
            [sight] = self._seer.see([crop(pixels, where)], floor=_FOLLOWING.keep)
            self._closer.take(where, sight.detections, tiles, moment)
        return where

    def _is_due(self, tiles: Grey, moment: Moment) -> bool:
        if self._looked is None or self._tiles is None or self._tiles.shape != tiles.shape:
            return True
        if moment - self._looked >= _LONGEST_US:
            return True
        return float(np.abs(tiles.astype(np.float32) - self._tiles).max()) > _CHANGED


def _held(visit: Visit) -> int:
    return _HELD_US if visit.leaves else _HELD_INSIDE_US
