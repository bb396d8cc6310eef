"""Things with names joined with things that move: one thing has one name, one colour, one coming and one going.

What nano sees and what the motion tracker follows are found independently. A moving region that lies in the box of a
thing is that thing, or a part of it, and takes its name; what only one of the two finds stands for itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ingest.records import MICROSECONDS, Box, Moment, Pixels, Span
from models.embedded.colours import dominant, name_pixels, shares
from models.embedded.kinds import GROUPS, TRAVELLING, groups_of
from models.embedded.motion import Motion
from models.embedded.pictures import shrink
from models.embedded.rigid import driven
from models.embedded.sight import Seen
from models.embedded.tracking import Passage, Track, overlap
from models.nano.coco import NAMES, group
from models.nano.tracker import Visit

Corners: TypeAlias = tuple[float, float, float, float]
NAMED = 0.5
"""From this probability on a thing is told by its name."""
_LIES_IN = 0.6
"""Share of the smaller of two boxes that must lie in the other for them to be of one thing."""
_MUCH_LARGER = 2.5
"""A moving region this much larger than a thing is not that thing."""
_OWN_SHARE, _OWN_SIGHTINGS = 0.3, 2
"""A moving region of this share of a thing's box, seen in it this often, is the thing itself and not a limb."""
_SAME_PLACE = 0.4
"""Boxes that overlap so much (as intersection over union) are of what was in one place."""
_RECENT_US = 8 * MICROSECONDS
"""A coming or going is still given its name this long after it was seen."""
_AMISS_US = MICROSECONDS
"""How far the two ways of seeing may differ about when a thing came or went."""
_FAR = 0.2
"""What went this far, in fractions of the picture, travels."""
_BY_ITSELF = 0.25
"""How far a name is believed of a travelling thing that such things do not travel by themselves."""
_IT_TRAVELS = 3.0
"""How much its odds are raised of a name that such things have which travel."""
_STILL_US = 2 * MICROSECONDS
"""What has not moved for so long stays."""
_PATCH = 24
_COLOURS_KEPT = 0.2


@dataclass(eq=False)
class Thing:
    """Something nano sees, over time. `id` is that of the moving thing it was first told as, if it was."""

    id: str
    visit: Visit
    colours: NDArray[np.float32]
    lower: NDArray[np.float32] | None = None
    """Colours of the lower half of a person."""
    tracks: dict[str, int] = field(default_factory=dict)
    """Moving things that were seen to be this one or a part of it, and how often."""
    moving: Track | None = None
    """The moving thing that this is now."""
    outlined: NDArray[np.float32] | None = None
    """Colours of the moving thing that it came as, in which there is nothing of what is behind it."""
    best: dict[str, float] = field(default_factory=dict)
    """The highest probability of every kind so far."""
    told: bool = False
    crossing: bool = False
    """It went through the picture with nobody who carried it."""
    rigid: bool = False
    """It kept its shape as it did."""
    parted: Moment | None = None
    """Since when it is this thing that nano sees in a visit that was another's before."""
    moved: Moment | None = None
    did: tuple[str, ...] = ()
    """When it last moved, and which way."""
    since: Moment | None = None
    """When the moving thing that it is came."""
    last: Moment | None = None
    box: Corners = (0.0, 0.0, 0.0, 0.0)

    @property
    def first(self) -> Moment:
        """Since when it is here, as far as either way of seeing it tells."""
        seen = self.visit.span.start if self.parted is None else self.parted
        return seen if self.since is None else min(self.since, seen)

    @property
    def shown(self) -> NDArray[np.float32]:
        """The colours that it goes by; of a person, of what is worn above."""
        if self.lower is not None:
            return self.colours
        if self.moving is not None and self.moves_whole:
            return self.moving.colours
        return self.colours if self.outlined is None else self.outlined

    @property
    def colour(self) -> str:
        return dominant(self.shown) if self.colours.any() else ""

    def actions(self, moment: Moment, scene_known: bool) -> tuple[str, ...]:
        """What it does, or did a moment ago: nothing where the camera moves and no movement can be told."""
        if self.moving is not None and self.moving.rests_since is None:
            self.moved = moment
            self.did = (*self.moving.directions(),) if self.moves_whole else ()
            return self.did or ("moves",)
        if self.moved is not None and moment - self.moved < _STILL_US:
            return self.did or ("moves",)
        return ("stays",) if scene_known or self.moving is not None else ()

    def here(self, moment: Moment) -> bool:
        """Whether it is seen in the picture of `moment`, and not only thought to be there still."""
        return self.moving is not None or self.visit.span.end == moment

    @property
    def moves_whole(self) -> bool:
        """What moves is the thing itself and not a limb."""
        return self.moving is not None and _whole(self, self.moving)

    @property
    def names(self) -> Mapping[str, float]:
        """The probability of every category it may be.

        That something crosses the picture says that something is there, and that it is no telephone.
        """
        seen = self.visit.chances
        if not self.crossing:
            return seen
        travelling = sum(chance for label, chance in seen.items() if label in TRAVELLING)
        raised = 1.0 if self.visit.limb else _IT_TRAVELS  # arms travel as bodies do
        surer = 1.0 / (1.0 + (raised - 1.0) * travelling)  # the odds of all travelling names together are raised
        found = {
            label: chance * (raised * surer if label in TRAVELLING else _BY_ITSELF) for label, chance in seen.items()
        }
        return driven(found) if self.rigid else found

    @property
    def chances(self) -> Mapping[str, float]:
        """The probability of every kind it may be, groups included."""
        found = dict(self.names)
        for label, chance in self.names.items():
            for wider in groups_of(label):
                found[wider] = found.get(wider, 0.0) + chance
        return found

    @property
    def name(self) -> str:
        """What it is told as: its most probable name, or its group when no one name is likely; "" when nothing is."""
        certain = [(kind not in GROUPS, chance, kind) for kind, chance in self.best.items() if chance >= NAMED]
        return max(certain)[2] if certain else ""

    def see(self, visit: Visit, moment: Moment) -> None:
        """It is in the picture at `moment`, as nano sees it."""
        self.visit, self.last, self.box = visit, moment, _corners(visit.last)
        if visit.sightings >= _OWN_SIGHTINGS or visit.dwell_us >= MICROSECONDS:
            self.weigh()

    def weigh(self) -> None:
        """Take in how probable its names are now."""
        if self.crossing:
            self.best = {kind: best for kind, best in self.best.items() if kind in TRAVELLING or kind in GROUPS}
        for kind, chance in self.chances.items():
            self.best[kind] = max(self.best.get(kind, 0.0), chance)


@dataclass(frozen=True, eq=False)
class Arrival:
    """A coming or going, and the thing that did it when that has a name."""

    passage: Passage
    thing: Thing | None


class Joiner:
    """The things of one stream."""

    def __init__(self) -> None:
        self._things: dict[int, Thing] = {}
        """By the number of the visit they are seen in; below zero what a visit went on without."""
        self._parted = 0
        self._passages: deque[tuple[Moment, Passage, str]] = deque()
        self._told: set[str] = set()
        """Moving things that were told without a name."""
        self._withdrawn: list[str] = []
        self._glimpsed: dict[str, Moment] = {}
        """Moving things in which a vehicle was glimpsed, and when last."""

    def join(self, pixels: Pixels, seen: Seen, motion: Motion, birth: str) -> tuple[Thing, ...]:
        """The things in the next frame, with what is known of them so far."""
        for visit in seen.things:
            thing = self._things.get(visit.number)
            if thing is not None and _jumped(thing, visit, motion):
                self._parted += 1
                self._things[-self._parted] = self._things.pop(visit.number)
                thing = Thing(f"{birth}-n{visit.number}.{self._parted}", visit, _no_colours(), parted=motion.moment)
                self._things[visit.number] = thing
            if thing is None and visit.span.end < motion.moment:
                continue  # what was lost from sight in it goes on in another visit
            if thing is None:
                thing = self._again(visit, motion) or Thing(f"{birth}-n{visit.number}", visit, _no_colours())
                self._things[visit.number] = thing
            thing.see(visit, motion.moment)
            if seen.fresh and visit.span.end == motion.moment:
                _look(thing, pixels)
        self._forget(motion.moment)
        present = [self._things[visit.number] for visit in seen.things if visit.number in self._things]
        self._tie(present, motion)
        self._glimpse(seen, motion)
        self._drive(present, motion, birth)
        return (*present, *self._still_moving(present, motion))

    def _again(self, visit: Visit, motion: Motion) -> Thing | None:
        """The thing that was lost from sight here, or followed by its movement to here, and that this is again."""
        box = _corners(visit.last)
        inside = {track.id for track in motion.tracks if overlap(track.box, box) >= _LIES_IN}
        for number, thing in self._things.items():
            lost = thing.visit.span.end < visit.span.start
            if not lost or not _alike(thing.visit, visit):
                continue
            moved_here = any(_is_itself(thing, track) for track in motion.tracks if track.id in inside)
            went_out = thing.moved is not None and thing.visit.leaves
            if moved_here or (not went_out and _shared(thing.box, box) > _SAME_PLACE):
                thing.since = thing.first
                return self._things.pop(number)
        return None

    def _forget(self, moment: Moment) -> None:
        over = [number for number, thing in self._things.items() if moment - (thing.last or moment) > _RECENT_US]
        for number in over:
            del self._things[number]

    def _still_moving(self, present: Sequence[Thing], motion: Motion) -> Iterator[Thing]:
        """Things that nano has lost from sight, and that can be followed by their movement."""
        taken = {name for thing in present for name in thing.tracks}
        for thing in self._things.values():
            if thing.last == motion.moment:
                continue
            own = [track for track in motion.tracks if _is_itself(thing, track) and track.id not in taken]
            if own:
                thing.moving = max(own, key=lambda track: thing.tracks[track.id])
                thing.last, thing.box = motion.moment, thing.moving.box
                if thing.rigid:
                    thing.weigh()
                yield thing

    def _glimpse(self, seen: Seen, motion: Motion) -> None:
        recent = ((name, when) for name, when in self._glimpsed.items() if motion.moment - when <= _RECENT_US)
        self._glimpsed = dict(recent)
        vehicles = [_corners(one.box) for one in seen.glimpses if one.label in GROUPS["vehicle"]] if seen.fresh else []
        for track in motion.tracks:
            if any(_shared(track.box, box) > _SAME_PLACE for box in vehicles):
                self._glimpsed[track.id] = motion.moment

    def _drive(self, present: Sequence[Thing], motion: Motion, birth: str) -> None:
        """Make things of what keeps its shape as it crosses the picture by itself, and was glimpsed as a vehicle."""
        taken = {name for thing in self._things.values() for name in thing.tracks}
        people = [thing for thing in present if thing.visit.label == "person"]
        for track in motion.tracks:
            alone = track.id not in taken and not any(overlap(one.box, track.box) > 0.0 for one in people)
            if alone and track.id in self._glimpsed and track.rigid and track.travelled > _FAR:
                self._parted += 1
                span, box = Span(track.first, motion.moment), Box(*(min(max(side, 0.0), 1.0) for side in track.box))
                visit = Visit(-self._parted, "car", span, box, box, 0.0)
                thing = Thing(track.id if track.id in self._told else f"{birth}-d{self._parted}", visit, track.colours)
                thing.tracks[track.id], thing.box = _OWN_SIGHTINGS, track.box
                thing.crossing = thing.rigid = True
                self._things[-self._parted] = thing

    def _hand_over(self, present: Sequence[Thing]) -> None:
        """What was taken for something else, and named for keeping its shape, is the vehicle now seen there."""
        vehicles = [thing for thing in present if thing.visit.label in GROUPS["vehicle"] and not thing.tracks]
        for thing in vehicles:
            rigid = [other for other in self._things.values() if other.rigid and other is not thing]
            same = next((other for other in rigid if _shared(other.box, thing.box) > _SAME_PLACE), None)
            if same is None or same.visit.label in GROUPS["vehicle"]:
                continue
            thing.since, thing.crossing, thing.rigid = same.first, True, True
            thing.id, same.id = same.id, thing.id
            thing.tracks, same.tracks = same.tracks, {}
            thing.best, same.best = {**same.best, **thing.best}, {}
            same.rigid = same.told = False

    def _tie(self, present: Sequence[Thing], motion: Motion) -> None:
        self._hand_over(present)
        driven = {name for one in self._things.values() if one.visit.label in GROUPS["vehicle"] for name in one.tracks}
        for thing in present:
            thing.moving = None
        for track in motion.tracks:
            # What is known to be a vehicle stays one where looks take a part of it for a cup.
            vehicle = next((one for one in self._things.values() if one.rigid and track.id in one.tracks), None)
            owner = vehicle or _owner(track, present)
            if owner is None or owner not in present:
                continue
            self._take_over(owner, track)
            owner.tracks[track.id] = owner.tracks.get(track.id, 0) + 1
            if _is_itself(owner, track):
                if track.first <= owner.first + _AMISS_US:
                    owner.outlined = track.colours
                owner.since = track.first if owner.since is None else min(owner.since, track.first)
            owner.crossing = owner.crossing or _crosses(owner, track, present)
            mine = owner.visit.label in GROUPS["vehicle"] or track.id not in driven
            rigid = mine and track.rigid and track.id in self._glimpsed and _is_itself(owner, track)
            owner.rigid = owner.rigid or rigid
            larger = owner.moving is None or _area(track.box) > _area(owner.moving.box)
            owner.moving = track if larger else owner.moving
        for thing in present:
            # What came to rest was brought, or has parked: it is judged by its looks again.
            still = thing.moving is None or thing.moving.rests_since is not None
            if still and thing.visit.span.end == motion.moment:
                thing.crossing = thing.rigid = False

    def _take_over(self, owner: Thing, track: Track) -> None:
        """What was told without a name is told on as the thing it turned out to be, or no more: it is told already."""
        if track.id not in self._told or owner.id == track.id:
            return
        if not owner.told and owner.id not in self._told:
            owner.id = track.id
        elif owner.told and _is_itself(owner, track):
            self._told.discard(track.id)
            self._withdrawn.append(track.id)

    def withdrawn(self) -> list[str]:
        """Moving things that were told without a name, and are known now to be things that have been told by name."""
        over, self._withdrawn = self._withdrawn, []
        return over

    def unnamed(self, motion: Motion) -> Iterator[Track]:
        """The moving things that no thing with a name accounts for."""
        accounted = {name for thing in self._things.values() if thing.name or thing.told for name in thing.tracks}
        for track in motion.tracks:
            if track.id not in accounted:
                self._told.add(track.id)
                yield track

    def arrivals(self, motion: Motion) -> Iterator[Arrival]:
        """Comings and goings that are new, and those of the last moments whose thing has a new name since."""
        self._passages.extend((motion.moment, passage, "?") for passage in motion.passages)
        while self._passages and motion.moment - self._passages[0][0] > _RECENT_US:
            self._passages.popleft()
        for at, (when, passage, name) in enumerate(self._passages):
            thing = self._doer(passage)
            now = thing.name if thing is not None else ""
            if now != name and (now or name == "?"):
                self._passages[at] = (when, passage, now)
                yield Arrival(passage, thing if now else None)

    def _doer(self, passage: Passage) -> Thing | None:
        named = [thing for thing in self._things.values() if thing.name and _fits(passage, thing)]
        known = next((thing for thing in named if passage.track in thing.tracks), None)
        if known is not None:
            return known
        placed = [thing for thing in named if _shared(passage.box, thing.box) > _SAME_PLACE]
        return max(placed, key=lambda thing: _shared(passage.box, thing.box), default=None)


def _crosses(thing: Thing, track: Track, present: Sequence[Thing]) -> bool:
    people = [other for other in present if other is not thing and other.visit.label == "person"]
    carried = any(overlap(other.box, thing.box) > 0.0 for other in people)
    return _whole(thing, track) and track.travelled > _FAR and not carried


def _jumped(thing: Thing, visit: Visit, motion: Motion) -> bool:
    """Whether nano took another moving thing for this one, which is still seen to move elsewhere."""
    box = _corners(visit.last)
    own = [track for track in motion.tracks if _is_itself(thing, track)]
    elsewhere = own and all(overlap(track.box, box) < _LIES_IN for track in own)
    return bool(elsewhere) and any(
        overlap(track.box, box) >= _LIES_IN and _OWN_SHARE < _area(track.box) / _area(box) < 1 / _OWN_SHARE
        for track in motion.tracks
    )


def _fits(passage: Passage, thing: Thing) -> bool:
    """Whether a thing was seen only after it came, or only before it went."""
    if passage.what in ("enters", "appears"):
        return thing.first >= passage.span.start - _AMISS_US
    return thing.visit.span.end <= passage.span.end + _AMISS_US


def _owner(track: Track, things: Sequence[Thing]) -> Thing | None:
    """The thing whose box holds the moving region, the one known for it first, then the tightest."""
    fitting = []
    for thing in things:
        small_enough = _area(track.box) < _MUCH_LARGER * _area(thing.box)
        if small_enough and overlap(track.box, thing.box) >= _LIES_IN:
            fitting.append((-thing.tracks.get(track.id, 0), -_shared(track.box, thing.box), thing.visit.number, thing))
    return min(fitting, key=lambda item: item[:3])[3] if fitting else None


def _alike(a: Visit, b: Visit) -> bool:
    return group(NAMES.index(a.label)) == group(NAMES.index(b.label))


def _is_itself(thing: Thing, track: Track) -> bool:
    """Whether a moving thing was seen to be this one, and not only a part of it."""
    return thing.tracks.get(track.id, 0) >= _OWN_SIGHTINGS and _whole(thing, track)


def _whole(thing: Thing, track: Track) -> bool:
    return _OWN_SHARE < _area(track.box) / _area(thing.box) < 1 / _OWN_SHARE


def _look(thing: Thing, pixels: Pixels) -> None:
    """Take in the colours of a thing that is in the picture: of its middle, which is least of what is behind it."""
    box = thing.visit.last
    if thing.visit.label == "person":
        upper, lower = _patch(pixels, box, (0.18, 0.5)), _patch(pixels, box, (0.55, 0.9))
        before = thing.lower if thing.lower is not None else _no_colours()
        thing.colours, thing.lower = _mixed(thing.colours, upper), _mixed(before, lower)
    else:
        thing.colours = _mixed(thing.colours, _patch(pixels, box, (0.2, 0.8)))


def _patch(pixels: Pixels, box: Box, part: tuple[float, float]) -> NDArray[np.float32]:
    """Shares of colours in the middle of a box, between `part` of its height."""
    height, width = pixels.shape[:2]
    wide, high = box.right - box.left, box.bottom - box.top
    left, right = int((box.left + 0.25 * wide) * width), int((box.right - 0.25 * wide) * width)
    top, bottom = int((box.top + part[0] * high) * height), int((box.top + part[1] * high) * height)
    crop = pixels[top : max(top + 1, bottom), left : max(left + 1, right)]
    if crop.size == 0:
        return _no_colours()
    small = shrink(crop, min(_PATCH, crop.shape[1]), min(_PATCH, crop.shape[0]))
    return shares(name_pixels(small))


def _mixed(before: NDArray[np.float32], new: NDArray[np.float32]) -> NDArray[np.float32]:
    if not before.any():
        return new
    mixed: NDArray[np.float32] = before + np.float32(_COLOURS_KEPT) * (new - before)
    return mixed


def _no_colours() -> NDArray[np.float32]:
    return shares(np.zeros((0, 0), np.uint8))


def _corners(box: Box) -> Corners:
    return box.left, box.top, box.right, box.bottom


def _area(box: Corners) -> float:
    return max((box[2] - box[0]) * (box[3] - box[1]), 1e-9)


def _shared(a: Corners, b: Corners) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / (_area(a) + _area(b) - common)
