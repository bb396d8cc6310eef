"""The training command on a folder of somebody's own pictures, with the real teacher."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.nano.detector import Nano

TEACHERS = Path(__file__).parents[4] / "shared" / "real-models"
CLIP = Path(__file__).parents[4] / "shared" / "footage" / "nasa-cleanroom.mp4"


def command(pictures: Path, run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "models.nano.train", "--pictures", str(pictures), "--run", str(run), *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def test_a_missing_teacher_is_named_before_anything_is_read(tmp_path: Path) -> None:
    done = command(tmp_path, tmp_path / "run", "--teachers", str(tmp_path))
    assert done.returncode != 0
    assert "there is no yolox_nano.onnx" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_pictures_in_weights_out_and_the_same_command_goes_on(tmp_path: Path) -> None:
    if not CLIP.exists():
        pytest.skip("the teachers and clips are not beside the project")
    if importlib.util.find_spec("onnx") is None:
        pytest.skip("the package onnx, which only training needs, is not installed")
    import cv2

    from models.nano.training.pictures import clip_frames

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index, (_, pixels) in enumerate(clip_frames(CLIP, 2.0)):
        cv2.imwrite(str(pictures / f"{index}.png"), np.ascontiguousarray(pixels[:, :, ::-1]))
    (tmp_path / "teachers").mkdir()
    (tmp_path / "teachers" / "yolox_nano.onnx").symlink_to(TEACHERS / "yolox_nano.onnx")
    asked = (pictures, tmp_path / "run", "--teachers", str(tmp_path / "teachers"), "--images")
    first = command(*asked, "16")
    assert first.returncode == 0, first.stderr
    again = command(*asked, "32")
    assert again.returncode == 0, again.stderr
    assert "going on at step" in again.stderr
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"labels.npz", "latest.safetensors", "measured.jsonl", "weights.safetensors"} <= written
    (sight,) = Nano.load(tmp_path / "run").see([np.zeros((90, 160, 3), np.uint8)])
    assert sight.vector.shape == (128,)
