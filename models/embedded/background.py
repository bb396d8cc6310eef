"""What differs from the scene as it usually looks: a background model that lives on seconds, not on frames.

A running mean and mean deviation of every pixel, updated by elapsed time, with an exposure gain per channel, and
shadows told from things as pixels that keep their chromaticity and texture (Horprasert, Harwood, Davis, A Statistical
Approach for Real-time Robust Background Subtraction and Shadow Detection, 1999; Elgammal et al., 2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.embedded.pictures import Image, Mask, Plane, brightness, strongest


@dataclass(frozen=True)
class BackgroundOptions:
    """How the background is learned and what stands out from it."""

    learn_s: float = 8.0
    """Time constant of pixels that show the scene."""
    relearn_s: float = 1.0
    """The same of pixels in another light."""
    settle_s: float = 1.0
    """Everything is learnt quickly at first: whatever stands still for this long is the scene."""
    darkest_shadow: float = 0.5
    """A cast shadow leaves at least this share of the light."""
    chroma: float = 0.033
    """Smallest difference of chromaticity (shares of R, G, B) that is a thing's."""
    texture: float = 0.11
    """Smallest difference of local contrast that is a thing's."""
    level: float = 14.0
    """Smallest difference of a channel, of 255, worth looking at."""


class Background:
    """The scene of one stream as it looks without moving things. Pictures keep one size between resets."""

    def __init__(self, options: BackgroundOptions = BackgroundOptions()) -> None:
        self._options = options
        self._mean: Image | None = None
        self._deviation: Plane | None = None
        self._gain = np.ones(3, dtype=np.float32)
        self._age_s = 0.0

    @property
    def ready(self) -> bool:
        """Old enough for what differs from it to be called a thing."""
        return self._mean is not None and self._age_s >= 0.5 * self._options.settle_s

    @property
    def mean(self) -> Image:
        """The scene in the present light."""
        assert self._mean is not None
        lit: Image = np.clip(self._mean * self._gain, 0, 255)
        return lit

    @property
    def light(self) -> float:
        """Logarithm of the present light relative to the light the scene was learnt in."""
        return float(np.log(self._gain.mean()))

    def reset(self, image: Image) -> None:
        """Forget everything; `image` is the scene."""
        self._mean = image.copy()
        self._deviation = np.full(image.shape[:2], 3.0, dtype=np.float32)
        self._gain = np.ones(3, dtype=np.float32)
        self._age_s = 0.0

    def differing(self, image: Image) -> Mask:
        """Where `image` shows something that is not the scene, its shadow or a change of light; bool [H, W]."""
        if self._mean is None or self._mean.shape != image.shape:
            self.reset(image)
        assert self._deviation is not None
        self._follow_exposure(image)
        scene, options = self.mean, self._options
        luma, scene_luma = brightness(image), brightness(scene)
        changed = strongest(np.abs(image - scene)) > np.maximum(options.level, 4.0 * self._deviation)
        ratio = (luma + 8.0) / (scene_luma + 8.0)
        lit = (luma + scene_luma) / (luma + scene_luma + 60.0)
        other_colour = strongest(np.abs(_chromaticity(image) - _chromaticity(scene))) * lit > options.chroma
        other_light = (ratio < options.darkest_shadow) | ((ratio > 1.3) & (luma - scene_luma > 25.0))
        other_texture = np.abs(_contrast(luma) - _contrast(scene_luma)) * lit > options.texture
        return _tidy(changed & (other_colour | other_light | other_texture))

    def learn(self, image: Image, things: Mask, other_light: Mask | None, seconds: float) -> None:
        """Take `image` in, except where `things` are; early on, everywhere. `other_light` is learnt faster."""
        assert self._mean is not None
        assert self._deviation is not None
        rate = 1.0 - float(np.exp(-seconds / self._options.learn_s))
        self._age_s += seconds
        weight = np.where(things, 0.0, rate).astype(np.float32)
        if other_light is not None:
            weight[other_light] = 1.0 - float(np.exp(-seconds / self._options.relearn_s))
        if self._age_s <= self._options.settle_s:
            weight = np.maximum(weight, np.float32(0.3))
        inverse = image / self._gain
        deviation = strongest(np.abs(image - self.mean))
        self._deviation += weight * (np.minimum(deviation, 40.0) - self._deviation)
        self._mean += weight[..., None] * (inverse - self._mean)

    def absorb(self, image: Image, where: Mask) -> None:
        """What `image` shows at `where` belongs to the scene from now on."""
        assert self._mean is not None
        assert self._deviation is not None
        self._mean[where] = (image / self._gain)[where]
        self._deviation[where] = 3.0

    def _follow_exposure(self, image: Image) -> None:
        """Cameras adapt to what is in front of them: the median change of every channel is theirs, not a thing's."""
        assert self._mean is not None
        bright = -strongest(-self._mean) > 8.0
        if int(bright.sum()) < bright.size // 20:
            return
        ratios = image[::2, ::2][bright[::2, ::2]] / self._mean[::2, ::2][bright[::2, ::2]]
        if len(ratios):
            self._gain = np.clip(np.median(ratios, axis=0), 0.1, 8.0).astype(np.float32)


def _chromaticity(image: Image) -> Image:
    shares: Image = (image + 6.0) / (3.0 * brightness(image)[..., None] + 18.0)
    return shares


def _contrast(luma: Plane) -> Plane:
    """Brightness relative to the neighbourhood's: the same in light and in shadow."""
    import cv2

    return (luma + 8.0) / (cv2.blur(luma, (15, 15)) + 8.0)


def _tidy(mask: Mask) -> Mask:
    """Without specks, with holes filled."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    clean = cv2.medianBlur(mask.astype(np.uint8), 5)
    clean = cv2.morphologyEx(clean, cv2.MORPH_CLOSE, kernel)
    outlines, _ = cv2.findContours(clean, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(clean, outlines, -1, 1, cv2.FILLED)
    return clean.astype(bool)
