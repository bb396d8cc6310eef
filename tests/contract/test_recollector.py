"""What every `Recollector` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.questions import Evidence, Exhibit, Hit, Picture
from ingest.records import Frame, Moment, Span, StreamId
from models.fake import FakeRecollector
from models.protocols import Recollector, VideoSystem
from models.runtime import ModelProcess, ModelSpec, RemoteSystem
from tests.models.test_blip_family import SYSTEMS, jpeg, write_ma_lmm

DOOR, YARD = StreamId("door"), StreamId("yard")
SECOND = 1_000_000


@pytest.fixture(params=["fake", "fake in a child", "ma-lmm"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VideoSystem]:
    if request.param == "fake":
        yield FakeRecollector()
    elif request.param == "ma-lmm":
        yield SYSTEMS["ma_lmm"](write_ma_lmm(tmp_path))
    else:
        with closing(RemoteSystem.of(ModelProcess(ModelSpec("system", "fake-recollector")))) as remote:
            yield remote


def frame(stream: StreamId, second: int) -> Frame:
    pixels = np.random.default_rng(second).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return Frame(stream, 0, second * SECOND, Moment(second * SECOND), pixels)


def evidence() -> Evidence:
    span = Span(Moment(0), Moment(3 * SECOND))
    return Evidence((Exhibit(1, Hit(DOOR, span, 0.9, span.start), (Picture(span.start, jpeg(1)),)),))


def test_it_gives_what_it_watched_of_each_stream_and_begins_anew(system: VideoSystem) -> None:
    assert isinstance(system, Recollector)
    assert system.recollect(DOOR) is None
    system.watch([frame(DOOR, 0), frame(YARD, 5), frame(DOOR, 1)])
    system.watch([frame(DOOR, 2)])
    door, yard = system.recollect(DOOR), system.recollect(YARD)
    assert door is not None
    assert yard is not None
    assert (door.stream, door.frames, yard.stream, yard.frames) == (DOOR, 3, YARD, 1)
    assert door.span.start == 0
    assert 2 * SECOND < door.span.end <= 3 * SECOND
    assert system.recollect(DOOR) is None


def test_how_frames_are_batched_makes_no_difference(system: VideoSystem) -> None:
    assert isinstance(system, Recollector)
    system.watch([frame(DOOR, at) for at in range(5)])
    together = system.recollect(DOOR)
    for at in range(5):
        system.watch([frame(DOOR, at)])
    assert together == system.recollect(DOOR)


def test_an_answer_from_it_cites_what_lies_in_it_and_needs_no_picture(system: VideoSystem) -> None:
    assert isinstance(system, Recollector)
    system.watch([frame(DOOR, at) for at in range(3)])
    kept = system.recollect(DOOR)
    shown = evidence()
    blind = replace(shown, exhibits=(replace(shown.exhibits[0], pictures=()),), recollection=kept)
    answer = "".join(system.answer("Who came?", blind))
    assert answer.endswith(" [1]")
    assert answer == "".join(system.answer("Who came?", replace(shown, recollection=kept)))
