"""What is heard does not depend on what else is made of the same packets."""

from __future__ import annotations

from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest import reading
from ingest.child import source_details
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.orders import Orders, changed
from ingest.records import Heard, Segment, Sound
from ingest.sampling import Sampling
from ingest.sources import parse
from models.fake import FakeEncoder, FakeTranscriber
from models.hear import HearStage
from tests.media import Clip, make


def read(
    path: Path, folder: Path | None, monkeypatch: pytest.MonkeyPatch, quiet: tuple[int, int] = (0, 0)
) -> list[Any]:
    """Read a file as if it were live, recorded to `folder` if there is one; between two turns its sound is off."""
    turns = count()

    def end(orders: Orders) -> bool:
        orders.hear(changed(audio=next(turns) not in range(*quiet), record=True))
        return False

    task = {
        "stream": "cam", "live": True, "epoch": 0, "starts_at": 0, "sampling": asdict(Sampling(keyframes_only=True)),
        "audio": True, "resume": None, "heard": None, "skip": None,
        "folder": None if folder is None else str(folder), "segment_s": 3.0,
    }  # fmt: skip
    said: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(Orders, "end", end)
        reading.job({"source": source_details(parse(str(path)), Guard([])), "task": task}, Limits(), said.append)
    return said


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_what_is_recorded_is_heard_as_what_is_not(
    container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder gives packets other times: sound has to be decoded before it does."""
    path = make(tmp_path / "film", Clip(seconds=12, b_frames=0, container=container))
    recorded, other = (read(path, folder, monkeypatch) for folder in (tmp_path / "recorded", None))
    assert any(isinstance(one, Segment) for one in recorded)
    some, others = ([one for one in said if isinstance(one, Sound)] for said in (recorded, other))
    assert [one.pts for one in some] == [one.pts for one in others]
    assert sum(len(one.samples) for one in some) == pytest.approx(12 * 16_000, rel=0.02)
    assert all(np.array_equal(one.samples, two.samples) for one, two in zip(some, others, strict=True))


def test_sound_that_was_off_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From when it is on again: what comes first says that all before it is settled, before any of it is heard."""
    path = make(tmp_path / "film.mp4", Clip(seconds=24, b_frames=0))
    sounds = [one for one in read(path, None, monkeypatch, (200, 400)) if isinstance(one, Sound)]
    [on] = [at for at, one in enumerate(sounds) if not len(one.samples)]
    before, first, after = sounds[on - 1 : on + 2]
    assert before.span.end + 2_000_000 < first.moment == after.moment, "it was off for seconds"
    told = HearStage(FakeTranscriber(), FakeEncoder()).handle([before, first])
    assert [one.moment for one in told if isinstance(one, Heard)] == [first.moment - 1]
