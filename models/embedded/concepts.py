"""What one frame shows, as strengths of the concepts in the vector space."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.records import MICROSECONDS, Moment
from models.embedded.colours import strengths
from models.embedded.motion import Motion
from models.embedded.scene import Look
from models.embedded.space import motion_slot, scene_slot
from models.embedded.tracking import Passage, Track, leaving

_ECHO_US = 700_000
"""An arrival or departure holds in the frames this long after it was recognised."""
_LEFT_THERE_US = 10 * MICROSECONDS
"""A thing put down is present for this long, until it is just part of the scene."""
_STAYING_US = 60 * MICROSECONDS
_FILLS, _SPECK = 0.08, 0.015
"""Shares of the picture of a large and of a small thing."""


class LookBack:
    """The passages of the last moments of a stream."""

    def __init__(self) -> None:
        self._recent: list[tuple[Moment, Passage]] = []

    def recent(self, new: Sequence[Passage], moment: Moment) -> tuple[Passage, ...]:
        self._recent = [(when, one) for when, one in self._recent if moment - when <= _ECHO_US]
        self._recent += [(moment, one) for one in new]
        return tuple(one for _, one in self._recent)


def concepts_of(motion: Motion, look: Look, text: bool, passages: Sequence[Passage]) -> dict[int, float]:
    """Strength 0..1 of every slot that holds in a frame."""
    found: dict[int, float] = {scene_slot("text judged"): 1.0, scene_slot("text"): float(text)}
    found |= {scene_slot("dark"): look.dark, scene_slot("bright"): look.bright}
    found |= {scene_slot(f"picture {colour}"): strength for colour, strength in look.colours.items()}
    found |= {scene_slot("cut"): float(motion.cut), scene_slot("camera moves"): float(motion.camera_moves)}
    if motion.judged:
        found[scene_slot("motion judged")] = 1.0
        _moving_things(found, motion, passages)
    return {slot: strength for slot, strength in found.items() if strength > 0.0}


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
