"""One picture of a film: the painted place, the actors from far to near, light, grain and the camera's title."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from ingest.records import Moment, Pixels, seconds
from ingest.scene import light, overhead, people, room, street, things, vehicles
from ingest.scene.painting import Canvas, blank
from ingest.scene.script import Actor, Film, Kind, Place, Pose
from ingest.scene.view import VIEWS, WIDTH, View

Draw = Callable[[Canvas, View, Actor, Pose, float], None]

DRAW: dict[Kind, Draw] = {
    "person": people.person,
    "dog": people.dog,
    "car": vehicles.vehicle,
    "van": vehicles.vehicle,
    "bus": vehicles.vehicle,
    "bicycle": vehicles.bicycle,
    "box": things.box,
    "bag": things.bag,
}
PAINT: dict[Place, Callable[[Canvas, np.random.Generator], None]] = {
    "street": street.paint,
    "room": room.paint,
    "overhead": overhead.paint,
}


@lru_cache(maxsize=8)
def backdrop(place: Place, seed: int, width: int, height: int) -> Pixels:
    """The empty place by day, painted at twice the size and reduced: uint8 [height, width, 3]."""
    large = blank(width * 2, height * 2, (0, 0, 0))
    PAINT[place](Canvas(large, 2 * width / WIDTH), np.random.default_rng(seed))
    return np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class Camera:
    """Takes the pictures of one film."""

    def __init__(self, film: Film, seed: int) -> None:
        self._film, self._seed = film, seed
        self.width = film.width // 2 * 2
        self.height = round(film.width * 9 / 16) // 2 * 2
        self._grain = light.Grain(np.random.default_rng(seed), self.width, self.height)

    def take(self, number: int) -> Pixels:
        """Picture `number`, RGB uint8 [H, W, 3]."""
        t = number / self._film.fps
        shot = self._film.shot(t)
        view, day = VIEWS[shot.place], shot.light(t)
        scale = self.width / WIDTH
        canvas = Canvas(backdrop(shot.place, self._seed, self.width, self.height).copy(), scale)
        posed = [(actor, pose) for actor in shot.actors if (pose := actor.at(t)) is not None]
        for actor, pose in sorted(posed, key=lambda pair: -pair[1].y):
            draw = overhead.draw if view.flat else DRAW[actor.kind]
            draw(canvas, view, actor, pose, t)
        canvas.pixels = light.illuminate(canvas.pixels, shot.place, day)
        light.lamps(canvas, shot.place, 1.0 - day)
        if not view.flat:
            for actor, pose in posed:
                vehicles.headlights(canvas, view, actor, pose, 1.0 - day)
        canvas.pixels = self._grain.add(canvas.pixels, number)
        if self._film.clock:
            light.burn_in(canvas, shot.title, Moment(self._film.starts_at + seconds(t)))
        return canvas.pixels
