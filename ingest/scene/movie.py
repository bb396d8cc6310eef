"""Film to MP4: H.264 and AAC, written beside its place and moved there when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ingest.scene import voice
from ingest.scene.picture import Camera
from ingest.scene.script import Film

QUALITY = {"crf": "24", "preset": "veryfast", "threads": "1", "g": "50"}
"""One thread, so that a seed always gives the same bytes; a key frame at least every four seconds."""


def write(path: Path, film: Film, *, seed: int, progress: Callable[[float], None] | None) -> bool:
    """Write `film` to `path`; True when it speaks. A failure leaves nothing behind and `path` as it was."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    sound, spoken = voice.track(film.lines, film.duration)
    try:
        _encode(unfinished, film, Camera(film, seed), sound, progress or (lambda _: None))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return spoken


def _encode(
    path: Path, film: Film, camera: Camera, sound: NDArray[np.int16], progress: Callable[[float], None]
) -> None:
    created = datetime.fromtimestamp(film.starts_at / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["creation_time"] = created
        video: Any = container.add_stream("libx264", rate=Fraction(film.fps).limit_denominator(1000), options=QUALITY)
        video.width, video.height, video.pix_fmt = camera.width, camera.height, "yuv420p"
        audio: Any = container.add_stream("aac", rate=voice.RATE, layout="mono", bit_rate=48_000)
        pictures = round(film.duration * film.fps)
        per_picture = len(sound) / pictures
        spoken_to = 0
        for number in range(pictures):
            picture = av.VideoFrame.from_ndarray(camera.take(number), format="rgb24")
            container.mux(video.encode(picture))
            said_to = round((number + 1) * per_picture)
            container.mux(audio.encode(_sound(sound[spoken_to:said_to], spoken_to)))
            spoken_to = said_to
            if number % 25 == 0:
                progress(number / pictures)
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    progress(1.0)


def _sound(samples: NDArray[np.int16], first: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
    frame.sample_rate = voice.RATE
    frame.time_base = Fraction(1, voice.RATE)
    frame.pts = first
    return frame
