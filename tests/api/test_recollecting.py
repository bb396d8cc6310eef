"""Watching beside the memory: chapter by chapter, a frame a second, and never in the way."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from api.profile import Models
from api.recollecting import RecollectStage, recollecting, with_recollection
from api.settings import Settings
from ingest.clock import FakeClock
from ingest.errors import Busy
from ingest.ledger import Ledger
from ingest.questions import Evidence, Exhibit, Hit, Picture, Recollection
from ingest.records import Ended, Frame, Moment, Segment, Span, StreamId, seconds
from memory.memory import Memory, MemoryOptions
from models.fake import FakeEncoder, FakeRecollector, FakeSystem
from models.parts.banked_context import Memory as Banks
from models.parts.recollecting import Watched, packed, unpacked
from models.systems.ma_lmm import MaLmmSystem
from tests.api.conftest import add, ask, running, wait_for
from tests.memory.conftest import DOOR, START, span, stream_row
from tests.models.test_blip_family import MA_LMM, write_ma_lmm


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    options = MemoryOptions(chapter_s=60.0)
    memory = Memory.open(
        tmp_path / "data",
        encoder="fake-1",
        dim=FakeEncoder.dim,
        ledger=Ledger(),
        clock=FakeClock(START),
        options=options,
    )
    memory.store.streams.add(stream_row(DOOR))
    yield memory
    memory.close()


def frames(start_s: float, end_s: float, *, every_s: float = 0.5, epoch: int = 0) -> list[Frame]:
    picture = np.zeros((4, 4, 3), np.uint8)
    times = [START + seconds(at) for at in np.arange(start_s, end_s, every_s)]
    return [Frame(DOOR, epoch, at - START, Moment(at), picture) for at in times]


def end(at_s: float) -> Ended:
    return Ended(DOOR, 0, Moment(START + seconds(at_s)))


def kept(memory: Memory, start_s: float, end_s: float) -> tuple[Span, int] | None:
    found = memory.recollections.of(DOOR, span(start_s, end_s))
    return None if found is None else (found.span, found.frames)


def test_a_recollection_is_as_long_as_a_chapter_and_has_a_frame_a_second(memory: Memory) -> None:
    stage = RecollectStage(FakeRecollector(), memory)
    stage.handle([*frames(0, 150), end(150)])
    assert kept(memory, 0, 60) == (span(0, 60), 60)
    assert kept(memory, 60, 120) == (span(60, 120), 60)
    assert kept(memory, 120, 150) == (span(120, 150), 30)


def test_another_epoch_is_another_chapter(memory: Memory) -> None:
    stage = RecollectStage(FakeRecollector(), memory)
    stage.handle([*frames(0, 10), *frames(30, 40, epoch=1), end(40)])
    assert kept(memory, 0, 10) == (span(0, 10), 10)
    assert kept(memory, 30, 40) == (span(30, 40), 10)


class Stubborn(FakeRecollector):
    """Does not watch when it is told to twice, nor give away what it has."""

    def __init__(self, *refuses: int) -> None:
        super().__init__()
        self._refuses = set(refuses)
        self._calls = 0

    def watch(self, frames: Sequence[Frame]) -> None:
        self._calls += 1
        if self._calls in self._refuses:
            raise Busy("The model's process ended.")
        super().watch(frames)


def test_a_system_that_fails_stops_nothing_and_what_it_saw_is_kept(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    stage = RecollectStage(Stubborn(5), memory)
    with caplog.at_level(logging.WARNING):
        assert stage.handle([*frames(0, 20, every_s=1), end(20)]) == []
    assert "does not watch door" in caplog.text
    assert kept(memory, 0, 4) == (span(0, 4), 4)
    assert kept(memory, 5, 20) == (span(5, 20), 15)


def test_what_was_erased_while_it_was_watched_is_not_kept(memory: Memory) -> None:
    stage = RecollectStage(FakeRecollector(), memory)
    stage.handle(frames(0, 30))
    memory.erase(DOOR, span(10, 12))
    stage.handle([*frames(30, 70), end(70)])
    assert kept(memory, 0, 60) is None
    assert kept(memory, 60, 70) == (span(60, 70), 10)


def test_ma_lmm_goes_on_from_a_chapter_s_file_as_if_nothing_had_been(memory: Memory, tmp_path: Path) -> None:
    """Both kinds of banks: what is restored is equal, and so is what comes of it."""
    (tmp_path / "ma-lmm").mkdir()
    system = MaLmmSystem.load(write_ma_lmm(tmp_path / "ma-lmm"), MA_LMM)
    text = system.words.instruction(["Who came?"])
    random = np.random.default_rng(2)
    seen = [system._placed(random.integers(0, 256, (30, 40, 3), np.uint8), number) for number in range(14)]
    banks = Banks(4)
    with torch.no_grad():
        for visual in seen[:9]:
            system.model.look(banks, visual, text)
        given = packed(DOOR, Watched(banks, START, Moment(START + seconds(8))), system.report)
        assert memory.recollections.keep(given)
        found = memory.recollections.of(DOOR, given.span)
        assert found is not None
        restored = unpacked(found, system.report, torch.device("cpu"), None)
        assert restored is not None
        assert len(restored.queries) == MA_LMM.qformer.layers
        before, after = banks.state(projections=False), restored.state(projections=False)
        assert before.keys() == after.keys()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
        for visual in seen[9:]:
            expected = system.model.look(banks, visual, text)
            torch.testing.assert_close(system.model.look(restored, visual, text), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(restored.visual.entries(), banks.visual.entries())
    assert torch.equal(restored.visual.sizes(), banks.visual.sizes())
    assert restored.frames == banks.frames == len(seen)


def test_only_systems_that_remember_watch_and_only_if_they_may(memory: Memory) -> None:
    assert recollecting(FakeRecollector(), memory, 1)
    assert not recollecting(FakeRecollector(), memory, 0)
    assert not recollecting(FakeSystem(), memory, 1)


def test_it_is_asked_for_only_where_the_footage_or_every_picture_is_gone(memory: Memory, tmp_path: Path) -> None:
    hit = Hit(DOOR, span(10, 20), 0.9, Moment(START + seconds(15)))
    evidence = Evidence((Exhibit(1, hit, (Picture(hit.peak, b"jpeg"),)),))
    recollection = Recollection(DOOR, span(0, 60), 3, b"3")
    memory.recollections.keep(recollection)
    system = FakeRecollector()
    assert with_recollection(evidence, system, memory).recollection == recollection
    assert with_recollection(evidence, FakeSystem(), memory).recollection is None
    assert with_recollection(Evidence(()), system, memory).recollection is None
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    memory.remember.handle([Segment(DOOR, 0, span(0, 60), str(film), 4, 0, owned=False)])
    assert with_recollection(evidence, system, memory).recollection is None
    bare = Evidence((Exhibit(1, hit),))
    assert with_recollection(bare, system, memory).recollection == recollection
    film.unlink()
    assert with_recollection(evidence, system, memory).recollection == recollection


def test_the_service_watches_and_answers(settings: Settings, films: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes((films / "red.mp4").read_bytes())
    with running(settings, Models(FakeEncoder(), FakeRecollector())) as (service, http):
        stream = StreamId(add(http, "door", film)["id"])
        wait_for(lambda: service.memory.recollections.size(stream))
        film.unlink()
        assert ask(http, "red")["text"].startswith("I remember 12 frames.")
