"""Pictures made small in two steps against libav's one, whatever the camera says about its colours."""

from __future__ import annotations

import av
import numpy as np
import pytest

from ingest import pictures

HEIGHT, WIDTH = 720, 1280


def painted(name: str, space: str, width: int = WIDTH) -> av.VideoFrame:
    """Smooth colours and sharp edges, as a camera would send them."""
    down, across = np.mgrid[0:HEIGHT, 0:width]
    rgb = np.stack([across * 255 / width, down * 255 / HEIGHT, 128 + 100 * np.sin(across / 60)], axis=-1)
    rgb[200:400, 300:500] = (220, 30, 30)
    rgb[450:600, 700:900] = (20, 30, 200)
    frame = av.VideoFrame.from_ndarray(rgb.astype(np.uint8), "rgb24")
    return frame.reformat(format=name, dst_colorspace=space, dst_color_range="MPEG")


@pytest.mark.parametrize("space", ["ITU709", "ITU601"])
@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p", "yuv422p", "nv12"])
@pytest.mark.parametrize("side", [640, 320, 333, 1280])
def test_small_pictures_are_what_libav_makes_at_once(name: str, space: str, side: int) -> None:
    frame = painted(name, space)
    mine = pictures.Scaler(side).pixels(frame)
    height, width = mine.shape[:2]
    assert max(height, width) == side
    whole = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
    difference = np.abs(mine.astype(int) - whole)
    assert difference.mean() < 2
    assert np.percentile(difference, 99) <= 12


def test_a_camera_may_change_its_pictures_while_it_is_watched() -> None:
    scaler = pictures.Scaler(320)
    for frame in (painted("yuv420p", "ITU709"), painted("yuvj420p", "ITU601", width=1000), painted("nv12", "ITU709")):
        assert np.array_equal(scaler.pixels(frame), pictures.Scaler(320).pixels(frame))
