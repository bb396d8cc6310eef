"""A recording that was to go and is held: it stays, and what was erased of it is shown to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.footage import Footage
from api.settings import Settings
from ingest.clock import FakeClock
from ingest.errors import NotFound
from ingest.ledger import Ledger
from ingest.records import Coverage, Moment, Segment, Span, StreamId, seconds
from memory.memory import Memory
from memory.store import StreamRow
from tests.media import Clip, make, numbers_of

CAM = StreamId("cam")
START = Moment(1_700_000_000_000_000)


def span(start_s: float, end_s: float) -> Span:
    return Span(Moment(START + seconds(start_s)), Moment(START + seconds(end_s)))


def test_of_a_held_recording_nothing_that_was_erased_is_shown(tmp_path: Path) -> None:
    """Nor the picture that a slow camera's viewers would still see when the erased time is over."""
    film = make(tmp_path / "film.mp4", Clip(seconds=8, fps=1, gop=8, b_frames=0, sound=""))
    clock = FakeClock(START)
    memory = Memory.open(tmp_path / "data", encoder="e", dim=4, ledger=Ledger(), clock=clock)
    try:
        row = StreamRow(CAM, "cam", "live", "rtsp://c/1", "", "live", "", START)
        memory.store.streams.add(row)
        memory.erase(CAM, span(0, 2.5))
        clock.advance(1)
        memory.hold(CAM, span(4, 5), "Case 4711")
        segment = Segment(CAM, 0, span(0, 8), str(film), film.stat().st_size)
        memory.remember.handle([Coverage(CAM, 0, segment.span), segment])
        footage = Footage(memory.recordings, Settings(data=tmp_path / "data"))
        clip = footage.clip(row, span(2.6, 5))
        assert set(numbers_of(clip.path)) == {3, 4}
        with pytest.raises(NotFound):
            footage.still(row, span(2.6, 3).start)
        assert footage.still(row, span(3.1, 4).start).moment == span(3, 4).start
    finally:
        memory.close()
