"""kill -9 at every named point: nothing acknowledged is lost, nothing is there twice, no hand is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.memory.killing import POINTS

KILLS = 10
"""Times that every point is hit, at different moments of the film."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", POINTS)
def test_nothing_acknowledged_is_lost(swift_path: Path, point: str) -> None:
    command = [sys.executable, "-m", "tests.memory.killing", str(swift_path), point, str(KILLS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=880,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert f"{KILLS} kills at {point}" in done.stdout
