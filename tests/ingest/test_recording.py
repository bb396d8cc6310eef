"""What is recorded of packets, without a camera."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest import recording
from ingest.limits import Limits
from ingest.opening import open_source
from ingest.recording import Recorder
from ingest.records import Segment, seconds
from ingest.timeline import Timeline
from tests.ingest.conftest import STREAM
from tests.media import Clip, make


def test_without_a_key_frame_for_too_long_a_recording_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What never ends can never go; it begins again with the next key frame."""
    film = make(tmp_path / "rare.mkv", Clip(seconds=7, gop=125, b_frames=0, sound=""))
    monkeypatch.setattr(recording, "_LONGEST", seconds(3))
    with open_source({"scheme": "file", "location": str(film), "networks": []}, Limits()) as opened:
        recorder = Recorder(opened, str(tmp_path / "recorded"), STREAM, 1.0)
        line = Timeline(offset=0)
        packets = opened.packets(opened.video)
        said = [one for packet in packets for one in recorder.add(packet, line)] + [*recorder.close()]
    spans = [(one.span.start, one.span.end) for one in said if isinstance(one, Segment)]
    assert [type(one) for one in said] == [Segment, str, Segment]
    assert spans == [(0, seconds(3)), (seconds(5), seconds(7))]
