"""Whether a live picture still shows anything: a camera whose pictures are frozen or dark is blind all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from ingest.limits import Limits
from ingest.records import Moment, seconds
from ingest.sampling import Grey

Blindness = Literal["frozen", "dark"]

SAME: Final = 1.5
"""Grey levels up to which a cell counts as unchanged. A frozen picture that is encoded anew stays within this; where
nothing moves in a real scene, the noise of one of five thousand cells does not."""
FLAT: Final = 12.0
"""Grey levels between the darkest and the brightest fiftieth of a picture in which there is nothing to be seen."""
DIM: Final = 50.0
"""Mean grey level below which such a picture is dark, and not covered."""


@dataclass(frozen=True, slots=True)
class Look:
    """`blind` throughout since `since`; None: the picture shows something."""

    blind: Blindness | None
    since: Moment
    detail: str = ""


class Sight:
    """Told each picture that was looked at, in order; answers when its opinion has changed."""

    def __init__(self, limits: Limits) -> None:
        self._frozen_us, self._dark_us = seconds(limits.frozen_s), seconds(limits.dark_s)
        self._look: Blindness | None = None
        self.forget()

    def forget(self) -> None:
        """A new epoch: nothing before it is comparable."""
        self._before: Grey | None = None
        self._same_since: Moment | None = None
        self._flat_since: Moment | None = None

    def judge(self, moment: Moment, grey: Grey, tints: Callable[[], Sequence[Grey]] = tuple) -> Look | None:
        """The look that is known with this picture, None when it is as before. `grey` as `sampling.shrink` makes it;
        `tints` makes the same of its colours, and is asked where all of it is equally bright."""
        if self._before is None or _differs(self._before, grey):
            self._before, self._same_since = grey, moment
        if not (_flat(grey) and all(map(_flat, tints()))):
            self._flat_since = None
        elif self._flat_since is None:
            self._flat_since = moment
        look = self._now(moment, float(grey.mean()))
        if look.blind == self._look:
            return None
        self._look = look.blind
        return look

    def _now(self, moment: Moment, mean: float) -> Look:
        flat, same = self._flat_since, self._same_since
        if flat is not None and moment - flat >= self._dark_us:
            dark = "The picture is dark." if mean < DIM else "Nothing can be seen: something covers the lens."
            return Look("dark", flat, dark)
        if same is not None and moment - same >= self._frozen_us:
            return Look("frozen", same, "Pictures come, and do not change.")
        return Look(None, moment)


def _differs(before: Grey, grey: Grey) -> bool:
    return before.shape != grey.shape or float(np.abs(grey - before).max()) > SAME


def _flat(plane: Grey) -> bool:
    """Whether there is nothing to be seen between the levels that a fiftieth of the cells lies below and above."""
    last = plane.size - 1
    ranks = round(0.02 * last), round(0.98 * last)
    low, high = np.partition(plane, ranks, axis=None)[list(ranks)]
    return bool(high - low < FLAT)
