"""What moves, comes, goes and rests in front of one camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.records import MICROSECONDS, Moment, Pixels, Span
from models.embedded.background import Background
from models.embedded.blobs import Blob, Stillness, find_blobs
from models.embedded.colours import name_pixels, shares
from models.embedded.pictures import Image, Mask, brightness, shrink
from models.embedded.steadiness import LightMeter, Steadiness, camera_moved
from models.embedded.tracking import SLOWEST, WENT_SOMEWHERE, Passage, Track, Tracker, overlap

WIDTH = 256
"""Motion is judged in pictures of this width."""
_REST_S = 0.7
_STIRRING = 0.12
"""A thing that goes nowhere still moves when this share of it changes from picture to picture."""
_PARKED_US = 4 * MICROSECONDS
_REMEMBERED_US = 600 * MICROSECONDS
_MOST_RESTING = 16
_NEW_SCENE = 0.5
"""When more than this share of the picture differs, it is another scene, not a thing."""


@dataclass(frozen=True, eq=False)
class Resting:
    """A thing that came to rest and is part of the scene now."""

    id: str
    box: tuple[float, float, float, float]
    colours: NDArray[np.float32]
    first: Moment
    since: Moment


@dataclass(frozen=True, eq=False)
class Motion:
    """What one frame of a stream shows of movement. `judged` is False while the scene is not known well enough."""

    moment: Moment
    judged: bool = False
    cut: bool = False
    camera_moves: bool = False
    new_scene: bool = False
    tracks: tuple[Track, ...] = ()
    resting: tuple[Resting, ...] = ()
    passages: tuple[Passage, ...] = ()


class MotionReader:
    """The state of one stream: its scene, its tracks, its things at rest. All of bounded size."""

    def __init__(self) -> None:
        self._background = Background()
        self._stillness = Stillness()
        self._steadiness = Steadiness()
        self._light = LightMeter()
        self._light_changed: Moment | None = None
        self._tracker = Tracker()
        self._resting: list[Resting] = []
        self._started: Moment | None = None
        self._last: Moment | None = None
        self._left: list[tuple[Moment, tuple[float, float, float, float]]] = []
        self._settled: list[tuple[Moment, bool, tuple[float, float, float, float]]] = []

    def read(self, pixels: Pixels, moment: Moment, birth: str) -> Motion:
        """Take in the next frame; `birth` makes the ids of things that first show in it."""
        height = max(1, round(WIDTH * pixels.shape[0] / pixels.shape[1]))
        small = shrink(pixels, WIDTH, height)
        image = small.astype(np.float32)
        seconds = min((moment - self._last) / MICROSECONDS, 5.0) if self._last is not None else 0.0
        self._last = moment
        differing = self._background.differing(image)
        changed = float(differing.mean())
        cut = self._steadiness.is_cut(brightness(image), changed)
        camera_moves = not cut and camera_moved(self._background.mean, image)
        if self._started is None or cut or camera_moves or changed > _NEW_SCENE:
            return self._begin_scene(image, moment, cut, camera_moves)
        light_changes = self._light.changes(self._background.light, moment)
        self._light_changed = moment if light_changes else self._light_changed
        motion = self._follow(image, name_pixels(small), differing, seconds, (moment, birth))
        other_light = differing & ~self._covered(differing.shape) if light_changes else None
        self._background.learn(image, differing, other_light, seconds)
        return motion

    def _covered(self, shape: tuple[int, ...]) -> Mask:
        """Where the things that are known to move are."""
        covered = np.zeros(shape, dtype=bool)
        for track in self._tracker.tracks:
            if track.proven:
                left, top, right, bottom = track.box
                rows = slice(int(top * shape[0]), int(np.ceil(bottom * shape[0])))
                covered[rows, int(left * shape[1]) : int(np.ceil(right * shape[1]))] = True
        return covered

    def _begin_scene(self, image: Image, moment: Moment, cut: bool, camera_moves: bool) -> Motion:
        self._background.reset(image)
        self._stillness.reset()
        self._light.reset()
        self._tracker.forget()
        self._resting.clear()
        self._left.clear()
        self._started = moment
        return Motion(moment, cut=cut, camera_moves=camera_moves, new_scene=True)

    def _follow(
        self, image: Image, named: NDArray[np.uint8], differing: Mask, seconds: float, now: tuple[Moment, str]
    ) -> Motion:
        assert self._started is not None
        moment, birth = now
        at_rest = self._stillness.at_rest(image, differing, seconds, _REST_S)
        if not self._background.ready:
            return Motion(moment)
        still = find_blobs(at_rest, named)
        passages, parked = self._settle(still, image, moment, birth)
        moving = find_blobs(differing & ~at_rest, named)
        passages += self._vacated(moving, image, moment, birth)
        quiet = moment - self._started < MICROSECONDS
        sighting = self._tracker.follow([*moving, *parked], moment, birth, quiet)
        for track in sighting.seen:
            blob = next(one for one in (*moving, *parked) if one.box == track.box)
            track.stirs = track.pace > SLOWEST or self._stillness.changing(blob.mask) > _STIRRING
            if self._light_changed == moment:
                track.in_other_light = track.in_other_light or not track.proven
            elif track.stirs:
                track.stirred_us += round(seconds * MICROSECONDS)
        self._resume(moment)
        self._note_rest(parked, sighting.seen, moment, image)
        self._resting = [thing for thing in self._resting if moment - thing.since < _REMEMBERED_US][-_MOST_RESTING:]
        return Motion(
            moment,
            judged=True,
            tracks=tuple(track for track in sighting.seen if track.proven),
            resting=tuple(self._resting),
            passages=(*passages, *sighting.passages),
        )

    def _settle(
        self, still: Sequence[Blob], image: Image, moment: Moment, birth: str
    ) -> tuple[list[Passage], list[Blob]]:
        """Regions at rest: something was put there, something was taken, or a thing we follow has stopped."""
        passages: list[Passage] = []
        parked: list[Blob] = []
        for group in _stacked(still):
            if self._stillness.crept(group.mask):
                self._background.absorb(image, group.mask)
                continue
            owner = self._owner(group)
            removed = _is_hole(group.mask, image, self._background.mean)
            if owner is not None and not removed and not owner.covered_birth and owner.reach >= WENT_SOMEWHERE:
                parked.append(group)
                continue
            passages.append(self._put_or_taken(group, owner, removed, (moment, f"{birth}-r{len(passages)}")))
            if owner is not None:
                self._tracker.drop(owner)
            self._background.absorb(image, group.mask)
        return [passage for passage in passages if passage.what], parked

    def _vacated(self, moving: list[Blob], image: Image, moment: Moment, birth: str) -> list[Passage]:
        """The holes that things leave where they had rested; removes them from `moving`."""
        passages = []
        places = [(thing.box, None) for thing in self._resting] + [(box, "moved on") for box in self._moved_on(moment)]
        for box, why in places:
            hole = next((one for one in moving if _same_place(one.box, box)), None)
            if hole is None or not _is_hole(hole.mask, image, self._background.mean):
                continue
            moving.remove(hole)
            if why is None:
                passages.append(self._put_or_taken(hole, None, True, (moment, birth)))
            self._background.absorb(image, hole.mask)
        return [passage for passage in passages if passage.what]

    def _moved_on(self, moment: Moment) -> list[tuple[float, float, float, float]]:
        self._left = [(when, box) for when, box in self._left if moment - when < 3 * MICROSECONDS]
        return [box for _, box in self._left]

    def _put_or_taken(self, blob: Blob, owner: Track | None, removed: bool, now: tuple[Moment, str]) -> Passage:
        moment, birth = now
        begin = Moment(moment - round(self._stillness.differs_since(blob.mask) * MICROSECONDS))
        span = Span(begin, Moment(max(begin + 1, moment - round(_REST_S * MICROSECONDS))))
        self._settled = [one for one in self._settled if moment - one[0] < 2 * MICROSECONDS]
        rest_of_it = any(removed == hole and _belongs(blob.box, box) for _, hole, box in self._settled)
        self._settled.append((moment, removed, blob.box))
        other_light = self._light_changed is not None and begin <= self._light_changed
        if rest_of_it or other_light:
            return Passage("", birth, blob.colours, span, blob.box)
        if not removed:
            name = owner.id if owner is not None else birth
            self._resting.append(Resting(name, blob.box, blob.colours, begin, moment))
            return Passage("appears", name, blob.colours, span, blob.box)
        before = name_pixels(self._background.mean.astype(np.uint8))
        known = next((thing for thing in self._resting if overlap(thing.box, blob.box) > 0.5), None)
        if known is not None:
            self._resting.remove(known)
        walked_off = known is None and any(overlap(box, blob.box) > 0.5 for box in self._moved_on(moment))
        name = known.id if known is not None else birth
        return Passage("" if walked_off else "vanishes", name, shares(before, blob.mask), span, blob.box)

    def _owner(self, blob: Blob) -> Track | None:
        """The thing we follow that this region at rest is."""
        near = [track for track in self._tracker.tracks if overlap(track.box, blob.box) > 0.6]
        return next((track for track in near if track.sure and _alike(track.box, blob.box)), None)

    def _resume(self, moment: Moment) -> None:
        """A thing that had come to rest moves on: it keeps its name.

        At its first step it shows as two slivers, where it was and where it is. Both get the name; one soon is gone.
        """
        for thing in tuple(self._resting):
            left, top, right, bottom = thing.box
            reach = (left - 0.08, top - 0.08, right + 0.08, bottom + 0.08)
            parts = [
                track
                for track in self._tracker.tracks
                if track.first == moment and not track.born_at_edge and overlap(reach, track.box) > 0.8
            ]
            for track in parts:
                track.id, track.first, track.covered_birth = thing.id, thing.first, True
            if parts:
                self._resting.remove(thing)
                self._left.append((moment, thing.box))

    def _note_rest(self, parked: Sequence[Blob], seen: Sequence[Track], moment: Moment, image: Image) -> None:
        """A thing that has rested for long becomes part of the scene."""
        for blob in parked:
            track = next((one for one in seen if one.box == blob.box), None)
            if track is None:
                continue
            track.rests_since = track.rests_since or moment
            if moment - track.rests_since >= _PARKED_US:
                self._resting.append(Resting(track.id, blob.box, blob.colours, track.first, track.rests_since))
                self._background.absorb(image, blob.mask)
                self._tracker.drop(track)
        boxes = {blob.box for blob in parked}
        for track in seen:
            if track.box not in boxes and track.speed > SLOWEST:
                track.rests_since = None


def _alike(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """Boxes of about the same size."""
    area_a, area_b = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return 0.35 < area_a / max(area_b, 1e-9) < 3.0


def _same_place(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """Whether two boxes nearly coincide (intersection over union)."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return False
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / (areas - width * height) > 0.75


def _stacked(blobs: Sequence[Blob]) -> list[Blob]:
    """Regions above or beside one another, close together, are parts of one thing."""
    groups: list[Blob] = []
    for blob in blobs:
        for index, other in enumerate(groups):
            if _belongs(blob.box, other.box):
                groups[index] = _union(other, blob)
                break
        else:
            groups.append(blob)
    return groups


def _belongs(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    gap_x = max(a[0], b[0]) - min(a[2], b[2])
    gap_y = max(a[1], b[1]) - min(a[3], b[3])
    return (gap_x < 0 and gap_y < 0.3) or (gap_y < 0 and gap_x < 0.05)


def _union(a: Blob, b: Blob) -> Blob:
    box = (min(a.box[0], b.box[0]), min(a.box[1], b.box[1]), max(a.box[2], b.box[2]), max(a.box[3], b.box[3]))
    share = np.float32(a.area / (a.area + b.area))
    colours = share * a.colours + (1 - share) * b.colours
    return replace(a, box=box, area=a.area + b.area, colours=colours, mask=a.mask | b.mask)


def _is_hole(where: Mask, image: Image, scene: Image) -> bool:
    """Whether a thing was taken: the outline of `where` is an edge in the scene and not in the picture.

    (Connell and others, Detection and Tracking in the IBM PeopleVision System, 2004, tell ghosts from left objects so.)
    """
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    region = where.astype(np.uint8)
    ring = cv2.dilate(region, kernel, iterations=2).astype(bool) & ~cv2.erode(region, kernel, iterations=2).astype(bool)
    if not ring.any():
        return False
    strength = []
    for picture in (image, scene):
        luma = np.ascontiguousarray(brightness(picture))
        across, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
        strength.append(float(np.hypot(across, down)[ring].mean()))
    return strength[1] > strength[0]
