"""What one frame shows, as strengths of the concepts in the vector space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from ingest.records import MICROSECONDS, Moment
from models.embedded.colours import strengths
from models.embedded.faces import Face
from models.embedded.kinds import FACE, rows_of
from models.embedded.motion import Motion
from models.embedded.scene import Look
from models.embedded.space import (
    COUNTED,
    EVEN,
    SLOPE,
    doing_slot,
    dress_slot,
    motion_slot,
    number_slot,
    scene_slot,
    thing_slot,
)
from models.embedded.things import Arrival, Thing
from models.embedded.tracking import Passage, Track, leaving

_ECHO_US = 700_000
"""An arrival or departure holds in the frames this long after it was recognised."""
_LEFT_THERE_US = 10 * MICROSECONDS
"""A thing put down is present for this long, until it is just part of the scene."""
_LEAST = 0.15
"""Less probable things leave no trace in the vector: there are too many of them."""
_COUNTS = 0.3
"""Less probable things are not counted: many of them would make one."""
_BELOW = 0.97
"""How far a person is called by the colour of the trousers, where that is another than the jacket's."""
_STAYING_US = 60 * MICROSECONDS
_FILLS, _SPECK = 0.08, 0.015
"""Shares of the picture of a large and of a small thing."""


_What = TypeVar("_What", Passage, Arrival)


class LookBack(Generic[_What]):
    """The comings and goings of the last moments of a stream."""

    def __init__(self) -> None:
        self._recent: list[tuple[Moment, _What]] = []

    def recent(self, new: Sequence[_What], moment: Moment) -> tuple[_What, ...]:
        self._recent = [(when, one) for when, one in self._recent if moment - when <= _ECHO_US]
        self._recent += [(moment, one) for one in new]
        return tuple(one for _, one in self._recent)


@dataclass(frozen=True, slots=True)
class NamedThings:
    """The things in a frame that nano sees, the comings and goings of the last moments, and the faces in it."""

    present: Sequence[Thing]
    arrivals: Sequence[Arrival]
    faces: Sequence[Face] = ()


def strength(probability: float) -> float:
    """The strength, 0..1, that makes a sentence about one thing alone as probable as the thing is."""
    if probability < _LEAST:
        return 0.0
    odds = probability / max(1.0 - probability, 1e-6)
    return float(np.clip(EVEN + np.log(odds) / SLOPE, 0.0, 1.0))


def _things_with_names(found: dict[int, float], motion: Motion, things: NamedThings) -> None:
    found[scene_slot("things judged")] = 1.0
    numbers: dict[str, float] = {}
    for thing in things.present:
        doings, colours = _named_doings(thing, motion), dress(thing)
        for kind, chance in thing.chances.items():
            numbers[kind] = numbers.get(kind, 0.0) + (chance if chance >= _COUNTS else 0.0)
            _raise(found, thing_slot(kind), strength(chance))
        for row, chance in _row_chances(thing).items():
            for colour, share in colours.items():
                _raise(found, dress_slot(row, colour), share * strength(chance))
            for action, share in doings.items():
                _raise(found, doing_slot(row, action), share * strength(chance))
    for arrival in things.arrivals:
        if arrival.thing is None or (arrival.passage.what == "leaves" and arrival.passage.seen_leaving):
            continue
        for row, chance in _row_chances(arrival.thing).items():
            _raise(found, doing_slot(row, arrival.passage.what), strength(chance))
        for kind, chance in arrival.thing.chances.items():
            _raise(found, thing_slot(kind), strength(chance))
    for kind, number in numbers.items():
        _raise(found, number_slot(kind), min(number / COUNTED, 1.0))


def _named_doings(thing: Thing, motion: Motion) -> dict[str, float]:
    """What a thing does: by its movement when it moves, and it stays when the scene is known and it does not."""
    if thing.moving is not None:
        doings = _doings(thing.moving) if thing.moves_whole else {"moves": 1.0}
        return {action: share for action, share in doings.items() if action != "present"}
    return {"stays": 1.0} if motion.judged else {}


def _row_chances(thing: Thing) -> dict[str, float]:
    chances: dict[str, float] = {}
    for kind, chance in thing.names.items():
        for row in rows_of(kind):
            chances[row] = chances.get(row, 0.0) + chance
    return chances


def dress(thing: Thing) -> dict[str, float]:
    """How strongly a thing may be called each colour: a person by what is worn above and below."""
    upper = strengths(thing.shown)
    if thing.lower is None or not thing.lower.any():
        return upper
    below = {colour: _BELOW * share for colour, share in strengths(thing.lower).items()}
    return {colour: max(upper.get(colour, 0.0), below.get(colour, 0.0)) for colour in {**upper, **below}}


def _raise(found: dict[int, float], slot: int, value: float) -> None:
    if value > 0.0:
        found[slot] = max(found.get(slot, 0.0), value)


def concepts_of(
    motion: Motion, look: Look, text: bool, passages: Sequence[Passage], things: NamedThings
) -> dict[int, float]:
    """Strength 0..1 of every slot that holds in a frame."""
    found: dict[int, float] = {scene_slot("text judged"): 1.0, scene_slot("text"): float(text)}
    found |= {scene_slot("dark"): look.dark, scene_slot("bright"): look.bright}
    found |= {scene_slot(f"picture {colour}"): strength for colour, strength in look.colours.items()}
    found |= {scene_slot("cut"): float(motion.cut), scene_slot("camera moves"): float(motion.camera_moves)}
    if motion.judged:
        found[scene_slot("motion judged")] = 1.0
        _moving_things(found, motion, passages)
    _things_with_names(found, motion, things)
    _faces(found, things.faces)
    return {slot: strength for slot, strength in found.items() if strength > 0.0}


def _faces(found: dict[int, float], faces: Sequence[Face]) -> None:
    found[scene_slot("faces judged")] = 1.0
    for face in faces:
        _raise(found, thing_slot(FACE), strength(face.score))
    _raise(found, number_slot(FACE), min(sum(face.score for face in faces) / COUNTED, 1.0))


def _moving_things(found: dict[int, float], motion: Motion, passages: Sequence[Passage]) -> None:
    moving = [track for track in motion.tracks if track.rests_since is None and track.stirs]
    for track in motion.tracks:
        _bind(found, _doings(track), strengths(track.colours))
    for passage in passages:
        # A thing was seen on its way out: in the frames in which it is gone, it no longer leaves.
        if passage.what == "leaves" and passage.seen_leaving:
            continue
        _bind(found, {passage.what: 1.0, "present": 1.0}, strengths(passage.colours))
    for thing in motion.resting:
        rested = motion.moment - thing.since
        doings = {"stays": 1.0} if rested <= _STAYING_US else {}
        if rested <= _LEFT_THERE_US:
            doings["present"] = 1.0
        _bind(found, doings, strengths(thing.colours))
    if moving:
        found[scene_slot(("one", "two", "three", "many")[min(len(moving), 4) - 1])] = 1.0
    for track in moving:
        for fact in _whereabouts(track):
            found[scene_slot(fact)] = 1.0


def _doings(track: Track) -> dict[str, float]:
    if track.rests_since is not None or not track.stirs:
        return {"present": 1.0, "stays": 1.0}
    doings = {"present": 1.0, "moves": 1.0, **track.directions()}
    if leaving(track):
        doings["leaves"] = 1.0
    return doings


def _bind(found: dict[int, float], doings: dict[str, float], colours: dict[str, float]) -> None:
    """What is done, by anything and by a thing of each colour: bound, so that colours do not swap."""
    for action, strength in doings.items():
        slots = [(motion_slot(action), strength)]
        slots += [(motion_slot(action, colour), strength * share) for colour, share in colours.items()]
        for slot, value in slots:
            found[slot] = max(found.get(slot, 0.0), value)


def _whereabouts(track: Track) -> list[str]:
    left, top, right, bottom = track.box
    x, y, area = (left + right) / 2, (top + bottom) / 2, (right - left) * (bottom - top)
    facts = ["left" if x < 0.36 else "right" if x > 0.64 else "centre"]
    facts += ["top"] if y < 0.36 else ["bottom"] if y > 0.64 else []
    facts += ["large"] if area > _FILLS else ["small"] if area < _SPECK else []
    return facts
