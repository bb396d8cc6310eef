"""A file system that is full, and one that cannot be written: real ones, mounted where nobody else sees them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def may_mount(folder: Path) -> bool:
    """Whether this kernel lets us mount something for ourselves alone."""
    if shutil.which("unshare") is None:
        return False
    trial = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(folder)]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_nothing_is_torn_and_on_it_goes(tmp_path: Path, trouble: str) -> None:
    if not may_mount(tmp_path):
        pytest.skip("nothing can be mounted here (unshare -rm)")
    command = ["unshare", "-rm", sys.executable, "-m", "tests.memory.mounted", str(tmp_path), trouble]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "as promised\n"
