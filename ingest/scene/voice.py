"""The film's voice: espeak-ng where it is installed, silence elsewhere."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.scene.script import Line

RATE = 22_050
"""Samples per second that espeak-ng speaks at, and of the film's sound."""


def track(lines: Sequence[Line], duration: float) -> tuple[NDArray[np.int16], bool]:
    """The whole film's sound, mono int16 [duration * RATE], and whether anything is said in it."""
    samples = np.zeros(round(duration * RATE), np.int16)
    program = shutil.which("espeak-ng")
    if program is None or not lines:
        return samples, False
    for line in lines:
        speech = _speak(program, line.text)
        first = round(line.start * RATE)
        room = samples[first : first + len(speech)]
        room[:] = speech[: len(room)]
    return samples, True


def _speak(program: str, text: str) -> NDArray[np.int16]:
    """`text` as mono int16 at RATE, its leading silence cut off."""
    done = subprocess.run(
        [program, "--stdout", "-v", "en-us", "-s", "120", "-g", "2", text], capture_output=True, check=True, timeout=30
    )
    with wave.open(io.BytesIO(done.stdout)) as sound:
        if sound.getframerate() != RATE or sound.getnchannels() != 1:
            raise RuntimeError("espeak-ng spoke in an unexpected format")
        speech = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
    loud = np.flatnonzero(np.abs(speech.astype(np.int32)) > 300)
    return speech[loud[0] : loud[-1] + RATE // 10] if len(loud) else speech[:0]
