"""What a film is made of: shots of places, actors that move through them along known paths, and spoken lines.

Distances are metres, times are seconds since the film's first picture.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

from ingest.records import Moment, ObservationKind

Place = Literal["street", "room", "overhead"]
Kind = Literal["person", "car", "van", "bus", "bicycle", "dog", "bag", "box"]
Direction = Literal["left", "right"]

FIRST_PICTURE = Moment(1_773_510_120_000_000)
"""2026-03-14 17:42:00 UTC."""

VEHICLES: frozenset[Kind] = frozenset({"car", "van", "bus", "bicycle"})

SIZES: dict[Kind, tuple[float, float, float]] = {
    "person": (0.6, 0.35, 1.74),
    "car": (4.3, 1.75, 1.46),
    "van": (5.3, 1.95, 2.35),
    "bus": (10.6, 2.4, 3.05),
    "bicycle": (1.85, 0.5, 1.72),
    "dog": (0.95, 0.3, 0.66),
    "bag": (0.56, 0.28, 0.44),
    "box": (0.55, 0.45, 0.42),
}
"""Length along its path, width, height in metres."""

EDGE: dict[Place, float] = {"street": 17.0, "room": 5.2, "overhead": 13.5}
"""How far from the middle something is surely out of the picture, in metres."""

LANE: dict[Place, dict[Direction, float]] = {
    "street": {"right": 11.0, "left": 14.1},
    "room": {"right": 5.0, "left": 5.0},
    "overhead": {"right": 1.7, "left": -1.7},
}
"""Where traffic in each direction keeps: the depth of its near side; from above, the distance down from the middle."""

PAVEMENT: dict[Place, float] = {"street": 18.4, "room": 5.0, "overhead": 4.3}


@dataclass(frozen=True, slots=True)
class Waypoint:
    """At `t` the actor's middle is at `x` metres right of the middle, `y` away (from above: down), `z` above ground."""

    t: float
    x: float
    y: float
    z: float = 0.0


@dataclass(frozen=True, slots=True)
class Pose:
    """Where an actor is at one time. `travelled` is metres since its first waypoint, `heading` radians, 0 = right."""

    x: float
    y: float
    z: float
    travelled: float
    heading: float
    moving: bool

    @property
    def facing(self) -> int:
        """1 when it looks right, -1 when it looks left."""
        return 1 if math.cos(self.heading) >= -1e-9 else -1


@dataclass(frozen=True, slots=True)
class Actor:
    """Someone or something on the scene from its first waypoint to its last, in straight lines between them."""

    name: str
    kind: Kind
    colour: str
    path: tuple[Waypoint, ...]
    tells: tuple[str, ...] = ()
    """Descriptions that are true whenever it is in the picture."""
    text: str = ""
    """Painted on its side."""
    carries: tuple[tuple[float, float], ...] = ()
    """Times at which a person's arms are held out."""

    def at(self, t: float) -> Pose | None:
        """None before the first waypoint and after the last."""
        if not self.path[0].t <= t <= self.path[-1].t:
            return None
        travelled, heading = 0.0, 0.0
        for here, there in zip(self.path, self.path[1:], strict=False):
            dx, dy = there.x - here.x, there.y - here.y
            length = math.hypot(dx, dy)
            if length > 1e-6:
                heading = math.atan2(dy, dx)
            if t <= there.t:
                part = 0.0 if there.t == here.t else (t - here.t) / (there.t - here.t)
                z = here.z + (there.z - here.z) * part
                moving = length > 1e-6
                return Pose(here.x + dx * part, here.y + dy * part, z, travelled + length * part, heading, moving)
            travelled += length
        last = self.path[-1]
        return Pose(last.x, last.y, last.z, travelled, heading, moving=False)


@dataclass(frozen=True, slots=True)
class Shot:
    """One place seen by one camera from `start` to `end`. `daylight` are (time, 0..1), straight lines between them."""

    place: Place
    start: float
    end: float
    actors: tuple[Actor, ...] = ()
    title: str = ""
    daylight: tuple[tuple[float, float], ...] = ((0.0, 1.0),)

    def light(self, t: float) -> float:
        previous = self.daylight[0]
        for point in self.daylight:
            if t < point[0]:
                span = point[0] - previous[0]
                return previous[1] + (point[1] - previous[1]) * max(0.0, t - previous[0]) / span if span else point[1]
            previous = point
        return previous[1]


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence spoken from `start` on."""

    start: float
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """Something true at stated times that no single actor tells."""

    text: str
    spans: tuple[tuple[float, float], ...]
    kind: ObservationKind = "event"
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Film:
    """Shots one after the other, what is said, and what should be answered about it."""

    shots: tuple[Shot, ...]
    lines: tuple[Line, ...] = ()
    told: tuple[Told, ...] = ()
    absent: tuple[str, ...] = ()
    questions: tuple[tuple[str, str], ...] = ()
    starts_at: Moment = FIRST_PICTURE
    """Shown by the burnt-in clock and written as the file's creation time."""
    clock: bool = True
    """Whether the camera burns its title and clock into the picture."""
    width: int = 960
    """Pixels; the height is 9/16 of it."""
    fps: float = 12.5

    @property
    def duration(self) -> float:
        return self.shots[-1].end

    def shot(self, t: float) -> Shot:
        return next((shot for shot in self.shots if t < shot.end), self.shots[-1])


@dataclass(frozen=True, slots=True)
class Manner:
    """How `crossing` goes."""

    direction: Direction = "right"
    place: Place = "street"
    lane: float | None = None
    text: str = ""


def crossing(kind: Kind, colour: str, start: float, end: float, manner: Manner | None = None) -> Actor:
    """An actor that crosses the whole picture; it is in it a little less than from `start` to `end`."""
    manner = manner or Manner()
    vehicle = kind in VEHICLES
    side = 1 if manner.direction == "right" else -1
    edge = EDGE[manner.place] if vehicle or manner.place != "street" else EDGE["street"] - 3.0
    y = LANE[manner.place][manner.direction] if vehicle else PAVEMENT[manner.place]
    y = y if manner.lane is None else manner.lane
    what = f"a {colour} {kind}" if kind in VEHICLES or kind in {"bag", "box"} else f"a {kind}"
    tells = (what, f"{what} moves {manner.direction}")
    path = (Waypoint(start, -side * edge, y), Waypoint(end, side * edge, y))
    return Actor(f"{kind}-{start:g}", kind, colour, path, tells, manner.text)


def standing(kind: Kind, colour: str, start: float, end: float, x: float = 0.0, y: float = 18.4) -> Actor:
    """Something that is there from `start` to `end` and does not move: it appears and vanishes at once."""
    return Actor(f"{kind}-{start:g}-{x:g}", kind, colour, (Waypoint(start, x, y), Waypoint(end, x, y)), (f"a {kind}",))


def crowd(people: int, start: float, end: float, *, place: Place = "street", seed: int = 0) -> tuple[Actor, ...]:
    """People who cross in both directions at their own pace, each wholly within `start` and `end`."""
    chance = random.Random(seed)
    coats = ("blue", "red", "green", "grey", "yellow", "brown", "white", "purple")
    walkers: list[Actor] = []
    for number in range(people):
        length = (end - start) * chance.uniform(0.5, 0.9)
        first = start + chance.uniform(0.0, end - start - length)
        lane = PAVEMENT[place] + chance.uniform(-0.9, 0.9)
        way: Direction = "right" if chance.random() < 0.5 else "left"
        walker = crossing("person", coats[number % len(coats)], first, first + length, Manner(way, place, lane))
        walkers.append(Actor(f"walker-{number}", walker.kind, walker.colour, walker.path, ("a person",)))
    return tuple(walkers)


def film(actors: tuple[Actor, ...], end: float, *, place: Place = "street", night: bool = False) -> Film:
    """A small film of one shot without clock and title, for tests and benchmarks."""
    daylight = ((0.0, 0.0 if night else 1.0),)
    return Film((Shot(place, 0.0, end, actors, daylight=daylight),), clock=False, width=640)
