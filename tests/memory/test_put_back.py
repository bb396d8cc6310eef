"""Two epochs that overlap in time, since this machine's clock was an hour ahead and was put back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from api.watch import Watch
from ingest.ledger import Ledger
from ingest.plan import Known
from ingest.questions import Rule, Scope
from ingest.records import Coverage, Gap, Mark, Moment, Segment, seconds
from memory.memory import Memory
from tests.conserved import assert_conserved
from tests.memory.conftest import DOOR, START, feature, query, span

AHEAD, RIGHT = 3600, 0


def watched(memory: Memory, ledger: Ledger, *, restart: bool = False) -> None:
    """Epoch 0 is stamped an hour late, epoch 1 goes on behind it at the right time, and comes to where epoch 0 lies."""
    told = Gap(DOOR, span(AHEAD + 0.1, AHEAD + 10), "clock put back")
    memory.remember.handle([Coverage(DOOR, 0, span(AHEAD, AHEAD + 10)), told])
    memory.remember.handle([Coverage(DOOR, 1, span(10, AHEAD + 5))])
    frames = [feature(AHEAD + at, 1, epoch=0) for at in range(10)]
    frames += [feature(at, 2, epoch=1) for at in (*range(10, 20), *range(AHEAD - 5, AHEAD + 5))]
    for frame in frames:
        ledger.captured(DOOR, epoch=frame.epoch)
        memory.remember.handle([frame])


def test_both_are_remembered_found_and_counted(memory: Memory, ledger: Ledger) -> None:
    watched(memory, ledger)
    assert_conserved(ledger)
    assert ledger.counts(DOOR).stored == memory.store.streams.frames(DOOR) == 30
    assert memory.store.streams.mark(DOOR) == Mark(1, seconds(AHEAD + 4), Moment(START + seconds(AHEAD + 4)))
    for _ in range(2):  # while the last chapter is open, and sealed
        wrong = memory.recall.find(query(1), Scope((DOOR,)), threshold=0.5)
        right = memory.recall.find(query(2), Scope((DOOR,)), threshold=0.5)
        assert [hit.span.start for hit in wrong] == [START + seconds(AHEAD)]
        assert {hit.span.start for hit in right} == {START + seconds(10), START + seconds(AHEAD - 5)}
        assert sum(hit.span.duration for hit in wrong) >= seconds(9), "none is cut short by the other"
        assert sum(hit.span.duration for hit in right) >= seconds(18)
        block = memory.recall.replay(DOOR)
        assert block.epochs.tolist() == sorted(block.epochs.tolist())
        assert all(one < other for one, other in pairwise(zip(block.epochs, block.starts, strict=True)))
        memory._seal(DOOR)
    told = memory.recall.evidence(wrong, Scope((DOOR,)), query(1))
    assert [gap.reason for gap in told.gaps] == ["clock put back"]


def test_a_rule_judges_what_was_stored_at_an_earlier_time_than_it_had_come_to(memory: Memory, ledger: Ledger) -> None:
    """The service was stopped when the rule had come to the middle of the epoch that is stamped an hour late."""
    watched(memory, ledger)
    encoder: Any = SimpleNamespace(encode_queries=lambda texts: [query(2) for _ in texts])
    memory.store.rules.save(Rule("r", "two", "axis 2"))
    memory.store.alerts.save_progress("r", DOOR, Mark(0, seconds(AHEAD + 5), Moment(START + seconds(AHEAD + 5))))
    for _ in range(2):  # nothing is told twice
        watch = Watch(memory, encoder)
        watch.reload()
        watch.catch_up()
        alerts = memory.store.alerts.list(rule="r")
        assert sorted(alert.span.start - START for alert in alerts) == [seconds(10), seconds(AHEAD - 5)]


def test_what_both_epochs_found_at_a_time_is_one_and_whole(memory: Memory, ledger: Ledger) -> None:
    frames = [feature(at, 3, epoch=0) for at in range(100, 106)] + [feature(at, 3, epoch=1) for at in range(96, 104)]
    for frame in frames:
        ledger.captured(DOOR, epoch=frame.epoch)
    memory.remember.handle(frames)
    (hit,) = memory.recall.find(query(3), Scope((DOOR,)), threshold=0.5)
    assert hit.span.start == START + seconds(96)
    assert hit.span.end >= START + seconds(106)


def test_coverage_is_told_once_and_no_gap_is_lost_or_lies_over_what_was_watched(memory: Memory, ledger: Ledger) -> None:
    watched(memory, ledger)
    timeline = memory.store.timeline
    assert timeline.coverage(DOOR) == (span(10, AHEAD + 10),)
    ahead = Gap(DOOR, span(AHEAD + 10, AHEAD + 20), "offline", "told by the clock of before")
    away = Gap(DOOR, span(AHEAD + 5, AHEAD + 30), "offline", "and by that of now")
    memory.remember.handle([ahead, away])
    offline = [gap.span for gap in timeline.gaps(DOOR) if gap.reason == "offline"]
    assert offline == [span(AHEAD + 10, AHEAD + 30)], "an epoch saw something at the time of its beginning"
    assert timeline.gaps(DOOR, span(AHEAD + 5, AHEAD + 9)) == timeline.gaps(DOOR, span(AHEAD + 1, AHEAD + 2))


def test_what_is_known_is_of_the_newest_epoch(memory: Memory) -> None:
    """Though the last one, and a gap behind that, lie later: what is told next goes on from there."""
    memory.remember.handle([
        Coverage(DOOR, 3, span(AHEAD, AHEAD + 10)), Gap(DOOR, span(AHEAD + 10, AHEAD + 15), "offline"),
        Gap(DOOR, span(AHEAD, AHEAD + 10), "clock put back"),
        feature(AHEAD + 8, epoch=3), Coverage(DOOR, 4, span(15, 40)), feature(30, epoch=4),
    ])  # fmt: skip
    timeline = memory.store.timeline
    known = timeline.known(DOOR)
    assert (known, known.begun) == (Known(4, Moment(START + seconds(40))), START + seconds(15))
    assert timeline.watched_to(DOOR) == START + seconds(40)
    mark = Mark(3, seconds(AHEAD + 8), Moment(START + seconds(AHEAD + 8)))
    assert timeline.behind(DOOR, mark) == (span(AHEAD + 8, AHEAD + 10), span(15, 40))
    away = Gap(DOOR, span(40, 60), "offline")
    memory.remember.handle([away])
    assert timeline.known(DOOR) == Known(4, away.span.end, away)
    store = timeline.known(DOOR)
    assert Known(3, Moment(START + seconds(AHEAD + 10))).later(store) == store


def test_recordings_are_numbered_as_they_were_made(memory: Memory, open_memory: Callable[..., Memory]) -> None:
    made = [Segment(DOOR, 0, span(AHEAD + at, AHEAD + at + 10), f"/r/0-{at}.mp4", 1) for at in (0, 10)]
    made += [Segment(DOOR, 1, span(at, at + 10), f"/r/1-{at}.mp4", 1) for at in (20, 30, AHEAD + 5, AHEAD + 15)]
    memory.remember.handle(made)
    found = memory.store.timeline.numbered(DOOR, span(0, 2 * AHEAD))
    assert [one.segment.path for one in found] == [one.path for one in made]
    assert [one.number for one in found] == list(range(6))
    assert [one.breaks for one in found] == [0, 0, 1, 1, 2, 2]
    late = Segment(DOOR, 0, span(AHEAD + 20, AHEAD + 21), "/r/late.mp4", 1)
    memory.remember.handle([late])
    assert memory.store.timeline.numbered(DOOR, late.span)[0].number is None, "it came after a later one"
