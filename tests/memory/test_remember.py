"""What is handled is kept, once, through restarts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ingest.capture import Known
from ingest.clock import FakeClock
from ingest.errors import Busy, Conflict
from ingest.ledger import Ledger
from ingest.questions import Scope
from ingest.records import (
    Coverage,
    Gap,
    Heard,
    Moment,
    Observation,
    Segment,
    Span,
    StateChange,
    StreamId,
    StreamState,
    seconds,
)
from memory.memory import Memory
from memory.store import StreamSettings
from tests.memory.conftest import DOOR, START, OpenMemory, ends, feature, frames_of, mark, seen, span, stream_row

pytestmark = pytest.mark.databases


def test_a_frame_is_acknowledged_once_its_row_is_written(memory: Memory, ledger: Ledger) -> None:
    assert memory.store.streams.mark(DOOR) is None
    memory.remember.handle([feature(1), feature(2)])
    assert memory.store.streams.mark(DOOR) == mark(2)
    assert memory.store.streams.frames(DOOR) == frames_of(memory) == 2
    assert memory.store.streams.extent(DOOR) == span(1, 2)
    assert ledger.counts(DOOR).stored == 2


def test_handling_a_batch_twice_has_the_effect_of_once(memory: Memory, ledger: Ledger) -> None:
    batch = [feature(t, observations=(seen(0, t),)) for t in range(200)]
    memory.remember.handle(batch)
    before = [(row.id, row.sha256) for row in memory.store.chapters.all()]
    memory.remember.handle(batch)
    memory.remember.handle(batch[:77])
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == 200
    assert [(row.id, row.sha256) for row in memory.store.chapters.all()] == before
    counts = ledger.counts(DOOR)
    assert counts.stored == 200
    assert counts.dropped == {"already remembered": 277}
    assert len(memory.store.timeline.observations(Scope())) == 1


def test_chapters_are_cut_by_length_hour_and_epoch(memory: Memory) -> None:
    memory.remember.handle([feature(t) for t in range(0, 150, 2)])
    memory.remember.handle([feature(t, epoch=1) for t in (152, 154, 3598, 3602)])
    rows = memory.store.chapters.all()
    assert [(row.span.start - START) // 1_000_000 for row in rows] == [0, 60, 120, 152, 3598]
    assert sum(row.frames for row in rows) == 78
    assert frames_of(memory) == 79


def test_slots_are_contiguous_and_count_every_frame(memory: Memory) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(61, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    memory.remember.handle([feature(t, vector=vector) for t, vector in enumerate(vectors)])
    ((row, slots),) = memory.store.chapters.slots([row.id for row in memory.store.chapters.all()])
    assert len(slots) == 8
    assert slots.counts.sum() == row.frames == 60
    assert (slots.ends[:-1] == slots.starts[1:]).all()
    first = int(slots.counts[0])
    np.testing.assert_allclose(slots.vectors[0], vectors[:first].mean(axis=0), atol=2e-3)


def test_an_open_chapter_survives_a_restart(open_memory: OpenMemory) -> None:
    memory = open_memory()
    memory.remember.handle([feature(t) for t in range(40)])
    memory = open_memory()
    assert memory.store.streams.mark(DOOR) == mark(39)
    memory.remember.handle([feature(t) for t in range(30, 80)])
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == 80
    assert [row.frames for row in memory.store.chapters.all()] == [60]


def test_the_end_of_a_file_seals_its_last_chapter(memory: Memory) -> None:
    memory.remember.handle([feature(1), *ends(2)])
    assert [row.frames for row in memory.store.chapters.all()] == [1]
    assert memory.store.streams.get("door").state == "finished"


def test_sounds_are_remembered_beside_frames(memory: Memory) -> None:
    memory.remember.handle([feature(10), feature(11), feature(4, 3, origin="sound"), feature(12)])
    memory.remember.handle([feature(4, 3, origin="sound"), *ends(13)])
    ((row, slots),) = memory.store.chapters.slots([row.id for row in memory.store.chapters.all()])
    assert row.frames == memory.store.streams.frames(DOOR) == 3
    assert slots.sounds.sum() == 1
    assert memory.store.streams.mark(DOOR, "sound") == mark(4)


def test_a_file_is_finished_once_its_sound_is_remembered_too(memory: Memory, clock: FakeClock) -> None:
    seen_to_its_end, heard_to_its_end = ends(13, detail="Cut off.")
    memory.remember.handle([StateChange(DOOR, "reading", Moment(clock.now() + 5)), feature(12), seen_to_its_end])
    assert memory.store.streams.get("door").state == "reading"
    clock.sleep(60)
    memory.remember.handle([feature(4, 3, origin="sound"), heard_to_its_end])
    row = memory.store.streams.get("door")
    assert (row.state, row.detail) == ("finished", "Cut off.")
    assert len(memory.store.chapters.all()) == 1
    memory.remember.handle([StateChange(DOOR, "reading", Moment(START + 6))])  # late on its way
    assert memory.store.streams.get("door").state == "finished"


def test_what_was_listened_to_is_marked_even_when_nobody_spoke(memory: Memory) -> None:
    memory.remember.handle([Heard(DOOR, 0, seconds(20), Moment(START + seconds(20))), feature(4, origin="sound")])
    assert memory.store.streams.mark(DOOR, "sound") == mark(20)
    memory.remember.handle([feature(4, origin="sound"), Heard(DOOR, 0, seconds(9), Moment(START + seconds(9)))])
    assert memory.store.streams.mark(DOOR, "sound") == mark(20)
    assert memory.store.features.log(DOOR).sounds.sum() == 1
    assert memory.store.streams.mark(DOOR) is None


def test_a_clock_that_is_put_back_keeps_no_stream_in_its_state(memory: Memory, clock: FakeClock) -> None:
    """What is late on its way is ignored all the same."""
    clock.sleep(7200)

    def hears(state: StreamState, ago_s: float) -> str:
        memory.remember.handle([StateChange(DOOR, state, Moment(clock.now() - seconds(ago_s)))])
        return memory.store.streams.get("door").state

    assert hears("live", 2) == "live"
    assert hears("paused", 3) == "live", "late"
    clock.jump(-3600)
    assert hears("offline", 1) == "offline"
    assert hears("live", 2) == "offline", "late"
    memory.store.streams.set_state(StateChange(DOOR, "paused", clock.now()))
    clock.jump(-1800)
    memory.store.streams.set_state(StateChange(DOOR, "connecting", clock.now()))
    assert hears("live", 0) == "live"


def test_the_journal_is_kept(memory: Memory, clock: FakeClock) -> None:
    clock.sleep(60)
    key = Segment(DOOR, 0, span(0, 10), "/r/1.mp4", 100)
    memory.remember.handle([
        Coverage(DOOR, 0, span(0, 5)), Coverage(DOOR, 0, span(5, 20)), Coverage(DOOR, 1, span(40, 50)),
        Gap(DOOR, span(20, 30), "offline"), Gap(DOOR, span(20, 40), "offline", "no answer"),
        key, StateChange(DOOR, "live", Moment(START + 5), "connected"), StateChange(DOOR, "offline", Moment(START + 1)),
    ])  # fmt: skip
    timeline = memory.store.timeline
    assert timeline.coverage(DOOR, span(10, 45)) == (span(10, 20), span(40, 45))
    assert timeline.gaps(DOOR, span(25, 26)) == (Gap(DOOR, span(20, 40), "offline", "no answer"),)
    assert timeline.gaps(DOOR, span(0, 20)) == ()
    assert timeline.segments(DOOR, span(9, 10)) == (key,)
    assert memory.store.streams.get("door").state == "live"


def test_a_gap_that_holds_an_earlier_one_of_its_reason_is_told_once(memory: Memory) -> None:
    """Paused: told when the stream stopped, and again, from the last picture remembered, when it went on."""
    other = Gap(DOOR, span(24, 25), "clock jump")
    whole = Gap(DOOR, span(19.8, 30), "paused")
    memory.remember.handle([Gap(DOOR, span(20, 20.1), "paused"), other, whole])
    assert memory.store.timeline.gaps(DOOR) == (whole, other)


def test_what_was_not_listened_to_lies_beside_what_was_not_seen(memory: Memory) -> None:
    """Near each other it is one stretch; it ends nothing that is shown and begins nothing that is followed."""
    away = Gap(DOOR, span(20, 30), "offline")
    memory.remember.handle([feature(10), away, *(Gap(DOOR, span(at, at + 10), "unheard") for at in (20, 60, 200))])
    told = (away, Gap(DOOR, span(20, 70), "unheard"), Gap(DOOR, span(200, 210), "unheard"))
    assert memory.store.timeline.gaps(DOOR) == told
    assert memory.store.timeline.known(DOOR) == Known(0, away.span.end, away)
    memory.remember.handle([Gap(DOOR, span(70, 190), "unheard", "again")])
    assert memory.store.timeline.gaps(DOOR) == (away, Gap(DOOR, span(20, 210), "unheard", "again"))
    memory.erase(DOOR, None)
    assert memory.store.timeline.gaps(DOOR) == ()


def test_what_is_not_listened_to_yet_is_no_silence(memory: Memory) -> None:
    """Of a camera whose recogniser lags; what was told already is not told again, and where no sound comes there is
    none to wait for."""

    def unheard(within: Span | None = None) -> list[tuple[Span, str]]:
        return [(gap.span, gap.detail) for gap in memory.store.timeline.gaps(DOOR, within) if gap.reason == "unheard"]

    memory.remember.handle([feature(1), Coverage(DOOR, 0, span(0, 100)), heard(75)])
    assert unheard() == []
    memory.remember.handle([Coverage(DOOR, 0, span(100, 300)), Gap(DOOR, span(100, 140), "unheard", "lost")])
    yet = "It is not listened to yet."
    assert unheard() == [(span(75, 100), yet), (span(100, 140), "lost"), (span(140, 300), yet)]
    assert unheard(span(200, 250)) == [(span(200, 250), yet)]
    assert unheard(span(10, 70)) == []
    memory.remember.handle([heard(290)])
    assert unheard() == [(span(100, 140), "lost")]
    memory.remember.handle([Coverage(DOOR, 0, span(300, 400))])
    assert unheard(span(200, 400)) == [(span(290, 400), yet)]
    camera = memory.store.streams.get(DOOR)
    memory.store.streams.change(replace(camera, source="folder:/srv/door"))
    assert unheard(span(200, 400)) == [], "the next of its files may have no sound"
    memory.store.streams.change(replace(camera, settings=StreamSettings(audio=False)))
    assert unheard(span(200, 400)) == [], "and nobody wants to"
    memory.store.streams.change(camera)
    memory.remember.handle([Coverage(DOOR, 0, span(400, 2000))])
    assert unheard(span(200, 2000)) == []


def heard(to_s: float) -> Heard:
    return Heard(DOOR, 0, seconds(to_s), Moment(START + seconds(to_s)))


def test_what_is_set_aside_over_and_over_is_one_stretch(memory: Memory) -> None:
    """And leaves alone what else was told."""
    away = Gap(DOOR, span(20, 30), "offline")
    pieces = [Gap(DOOR, span(at, at + 0.5), "set aside", "broken") for at in (31, 40, 50, 95)]
    memory.remember.handle([away, *pieces])
    told = (away, Gap(DOOR, span(31, 50.5), "set aside", "broken"), pieces[-1])
    assert memory.store.timeline.gaps(DOOR) == told


def test_what_was_filmed_while_a_folder_was_away_is_no_gap_any_more(memory: Memory) -> None:
    """Only what was away: a pause or a broken stretch stays what it was."""
    memory.remember.handle([Gap(DOOR, span(10, 40), "offline", "gone"), Gap(DOOR, span(50, 60), "broken video")])
    memory.remember.handle([Coverage(DOOR, 3, span(20, 22)), Coverage(DOOR, 3, span(20, 25))])
    memory.remember.handle([Coverage(DOOR, 4, span(35, 70))])
    away = [gap.span for gap in memory.store.timeline.gaps(DOOR) if gap.reason == "offline"]
    assert away == [span(10, 20), span(25, 35)]
    assert Gap(DOOR, span(50, 60), "broken video") in memory.store.timeline.gaps(DOOR)


def test_what_is_told_of_a_stream_is_more_than_is_remembered(memory: Memory) -> None:
    """A kill costs what lay between: the next epoch and the next gap begin behind all that anyone was told."""
    known = memory.store.timeline.known
    assert known(DOOR) == Known()
    memory.remember.handle([feature(1), Coverage(DOOR, 0, span(0, 5)), Coverage(DOOR, 1, span(40, 50))])
    assert known(DOOR) == Known(1, Moment(START + seconds(50)))
    memory.remember.handle([Segment(DOOR, 2, span(52, 53), "/r/2.mp4", 100), feature(55, epoch=1)])
    assert known(DOOR) == Known(2, Moment(START + seconds(55)))
    away = Gap(DOOR, span(55, 60), "offline", "no answer")
    memory.remember.handle([away, Gap(DOOR, span(5, 40), "paused")])
    assert known(DOOR) == Known(2, away.span.end, away)
    memory.remember.handle([Coverage(DOOR, 4, span(60, 70)), Gap(DOOR, span(61, 70), "frozen")])
    assert known(DOOR) == Known(4, Moment(START + seconds(70)))
    memory.remember.handle([Gap(DOOR, span(70, 80), "service stopped"), feature(80, epoch=5)])
    assert known(DOOR) == Known(5, Moment(START + seconds(80))), "a gap does not go on over a picture that was seen"


def test_a_later_version_of_an_observation_replaces_the_earlier(memory: Memory) -> None:
    memory.remember.handle([feature(1, observations=(seen(0, 1, text="a"), seen(0, 1, track="2")))])
    memory.remember.handle([feature(5, observations=(seen(0, 5, actions=("stays",)),))])
    found = memory.store.timeline.observations(Scope((DOOR,), span(3, 4)))
    assert [(o.track, o.span, o.actions, o.text) for o in found] == [("1", span(0, 5), ("stays",), "")]
    assert len(memory.store.timeline.observations(Scope(), kinds=["heard"])) == 0
    assert len(memory.store.timeline.observations(Scope(), limit=1)) == 1


def test_records_of_an_unknown_stream_are_dropped_and_counted(memory: Memory, ledger: Ledger) -> None:
    ghost = StreamId("ghost")
    memory.remember.handle([feature(1, stream=ghost), Gap(ghost, span(0, 1), "offline")])
    assert ledger.counts(ghost).dropped == {"stream removed": 1}
    assert memory.store.timeline.gaps(ghost, span(0, 9)) == ()


def test_streams_are_added_and_found(memory: Memory) -> None:
    with pytest.raises(Conflict, match="already a stream called 'door'"):
        memory.store.streams.add(stream_row())
    with pytest.raises(LookupError, match="no stream 'attic'"):
        memory.store.streams.get("attic")
    memory.store.streams.set_paused(DOOR, True)
    assert memory.store.streams.get("door").paused
    assert "secret" not in repr(memory.store.streams.get("door"))


@pytest.mark.sqlite
def test_a_memory_belongs_to_one_encoder(open_memory: OpenMemory) -> None:
    memory = open_memory()
    folder, ledger, clock = memory.folder, Ledger(), memory._clock
    memory.close()
    with pytest.raises(Conflict, match="made with the encoder test-1, not other-2"):
        Memory.open(folder, encoder="other-2", dim=16, ledger=ledger, clock=clock)
    open_memory()


@pytest.mark.sqlite
def test_a_memory_belongs_to_one_process(memory: Memory) -> None:
    another = """
import sys, pathlib
from ingest.clock import SystemClock
from ingest.errors import HindsightError
from ingest.ledger import Ledger
from memory.memory import Memory
try:
    Memory.open(pathlib.Path(sys.argv[1]), encoder="test-1", dim=16, ledger=Ledger(), clock=SystemClock())
except HindsightError as error:
    print(error.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", another, str(memory.folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == Busy.code


def test_what_was_told_is_rewritten_and_can_be_withdrawn(memory: Memory) -> None:
    def told() -> list[tuple[str, str]]:
        return [(one.track, one.label) for one in memory.store.timeline.observations(Scope())]

    def observe(*observations: Observation) -> None:
        with memory.store.database.write() as connection:
            memory.store.timeline.observe(connection, observations)

    observe(seen(0, 1, "a", label="something"), seen(0, 2, "b", label="something"))
    observe(seen(0, 3, "a", label="car"), seen(0, 3, "b", label="cat"), seen(0, 3, "b", label=""))
    assert told() == [("a", "car")]
    observe(seen(1, 2, "c", label=""), seen(0, 3, "a", label=""), seen(0, 4, "a", label="bus"))
    assert told() == [("a", "bus")]
