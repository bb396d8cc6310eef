"""kill -9 of the whole service while it watches a camera: every picture is accounted for, and every moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api import killing
from tests.ingest.conftest import RtspServer, rtsp

__all__ = ["rtsp"]

KILLS = 20


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_lose_no_count_and_rewrite_no_gap(
    rtsp: Callable[..., RtspServer],  # the fixture
    tmp_path: Path,
) -> None:
    counts = killing.main(tmp_path / "data", rtsp().url("silent"), KILLS)
    assert counts.stored > KILLS // 2
    assert counts.dropped["restart"] > KILLS // 2, "something was under way at most kills, or they tell nothing"
