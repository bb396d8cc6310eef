"""The reference is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_reference_is_fresh() -> None:
    result = subprocess.run([sys.executable, ROOT / "docs" / "reference.py", "--check"], timeout=120, check=False)
    assert result.returncode == 0, "docs/reference.md is stale: run `make docs`"
