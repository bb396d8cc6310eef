"""A rendered street and room with known truth: the demonstration stream, and short films for tests and benchmarks.

Everything is drawn by this package, so no media is shipped. `render` writes a film as MP4 and returns its truth.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ingest.scene.demonstration import DEMONSTRATION
from ingest.scene.script import Actor, Film, Line, Manner, Place, Shot, Told, Waypoint, crossing, crowd, film, standing
from ingest.scene.truth import Seen, TrueEvent, Truth, boxes, truth

__all__ = [
    "DEMONSTRATION", "Actor", "Film", "Line", "Manner", "Place", "Seen", "Shot", "Told", "TrueEvent", "Truth",
     "Waypoint",
    "boxes", "crossing", "crowd", "film", "render", "standing", "truth",
]  # fmt: skip


def render(
    path: Path,
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    film: Film = DEMONSTRATION,
) -> Truth:
    """Write `film` to `path` as MP4 (H.264, AAC) and return what is true in it. The same seed gives the same bytes.

    `progress` hears 0..1. Speech is left silent where espeak-ng is not installed. Nothing is left at `path` when it
    fails.
    """
    from ingest.scene.movie import write

    spoken = write(path, film, seed=seed, progress=progress)
    return truth(film, spoken=spoken)
