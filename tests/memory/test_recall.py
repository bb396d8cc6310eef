"""From a query to spans and evidence, on footage whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.questions import Hit, Query, Scope
from ingest.reasons import GapReason
from ingest.records import Gap, Moment, Span, StreamId, seconds
from memory import recall
from memory.memory import Memory
from memory.spans import best_apart, continuous, flapping, matches
from tests.memory.conftest import DOOR, START, OpenMemory, direction, ends, feature, query, seen, span, stream_row

pytestmark = pytest.mark.databases


def film(memory: Memory, events: dict[tuple[float, float], int], *, until: float, step: float = 1.0) -> None:
    """Footage of axis 0, with other axes shown during `events`."""
    batch = []
    for t in np.arange(0, until, step):
        axis = next((axis for (start, end), axis in events.items() if start <= t < end), 0)
        batch.append(feature(float(t), axis))
    memory.remember.handle(batch)


def test_an_event_is_found_where_it_was(memory: Memory) -> None:
    film(memory, {(30, 41): 3, (100, 103): 4}, until=200)
    hits = memory.recall.find(query(3), Scope(), threshold=0.5)
    assert [(hit.stream, hit.span, hit.level) for hit in hits] == [(DOOR, span(30, 41), "fine")]
    assert hits[0].peak in hits[0].span
    assert hits[0].score == pytest.approx(0.982, abs=0.01)
    assert [hit.span for hit in memory.recall.find(query(4), Scope(), threshold=0.5)] == [span(100, 103)]
    assert memory.recall.find(query(5), Scope(), threshold=0.5) == []


def test_an_event_over_the_seal_of_a_chapter_is_one(memory: Memory) -> None:
    film(memory, {(50, 70): 3}, until=200)
    assert [hit.span for hit in memory.recall.find(query(3), Scope(), threshold=0.5)] == [span(50, 70)]


def test_hits_stay_within_the_scope(memory: Memory) -> None:
    film(memory, {(50, 70): 3, (90, 95): 3}, until=200)
    hits = memory.recall.find(query(3), Scope((DOOR,), span(60, 92)), threshold=0.5)
    assert sorted(hit.span for hit in hits) == [span(60, 70), span(90, 92)]
    assert all(hit.peak in hit.span for hit in hits)
    assert memory.recall.find(query(3), Scope((StreamId("yard"),)), threshold=0.5) == []


def test_a_short_dip_does_not_end_an_event_and_a_gap_does(memory: Memory) -> None:
    memory.remember.handle([Gap(DOOR, span(60, 64), "offline")])
    film(memory, {(50, 53): 3, (54, 60): 3, (64, 70): 3}, until=60)
    memory.remember.handle([feature(t, 3, epoch=1) for t in range(64, 70)])
    memory.remember.handle([feature(t, 0, epoch=1) for t in range(70, 90)])
    hits = memory.recall.find(query(3), Scope(), threshold=0.5)
    assert sorted(hit.span for hit in hits) == [span(50, 60), span(64, 70)]


def test_irregular_sampling_lasts_until_the_next_frame(memory: Memory) -> None:
    times = [0, 2, 4, 6, 6.25, 6.5, 6.75, 7, 9, 11]
    memory.remember.handle([feature(t, 3 if 6 <= t < 9 else 0) for t in times])
    assert [hit.span for hit in memory.recall.find(query(3), Scope(), threshold=0.5)] == [span(6, 9)]


def test_what_was_said_is_found_at_its_own_time(memory: Memory) -> None:
    film(memory, {}, until=100)
    memory.remember.handle([feature(20, 5, origin="sound"), feature(90, 5, origin="sound")])
    hits = memory.recall.find(query(5), Scope(), threshold=0.5)
    assert sorted(hit.span for hit in hits) == [span(20, 21), span(90, 91)]


def test_many_chapters_are_searched_through_the_index(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "_SCAN_ALL", 4)
    monkeypatch.setattr(recall, "_BEST", 3)
    film(memory, {(605, 612): 3, (1500, 1501): 4}, until=2000)
    scanned: list[str] = []
    sealed = memory.recall._detail.sealed
    monkeypatch.setattr(memory.recall._detail, "sealed", lambda row: scanned.append(row.id) or sealed(row))
    assert [hit.span for hit in memory.recall.find(query(3), Scope(), threshold=0.5, limit=1)] == [span(605, 612)]
    assert len(scanned) <= 9
    assert [hit.span for hit in memory.recall.find(query(4), Scope(), threshold=0.5)] == [span(1500, 1501)]


def test_slots_answer_when_the_detail_is_gone(open_memory: OpenMemory) -> None:
    memory = open_memory()
    film(memory, {(30, 41): 3}, until=130)
    with memory.store.database.write() as connection:
        memory.store.chapters.drop_detail(connection, [row.id for row in memory.store.chapters.all()])
    memory = open_memory()
    (hit,) = memory.recall.find(query(3), Scope(), threshold=0.5)
    assert hit.level == "chapter"
    assert hit.span == span(30, 41)
    assert hit.peak in hit.span


def test_evidence_shows_and_names_what_was_found(memory: Memory) -> None:
    memory.store.streams.add(stream_row(StreamId("film"), kind="file", origin=Moment(START)))
    film(memory, {(30, 41): 3}, until=100)
    memory.remember.handle([feature(101, observations=(seen(31, 40), seen(80, 90, track="2")))])
    memory.remember.handle([Gap(DOOR, span(95, 96), "stalled")])
    question = Query("axis 3", direction(3), slope=8.0, offset=-4.0, unknown=("zebra",))
    hits = memory.recall.find(question, Scope(), threshold=0.5)
    evidence = memory.recall.evidence(hits, Scope(), question)
    (exhibit,) = evidence.exhibits
    assert exhibit.number == 1
    assert [o.track for o in exhibit.observations] == ["1"]
    assert {picture.moment for picture in exhibit.pictures} <= {START + seconds(t) for t in range(30, 41)}
    assert len(exhibit.pictures) >= 2
    assert all(picture.jpeg == f"jpeg {(picture.moment - START) / 1e6:g}".encode() for picture in exhibit.pictures)
    assert [o.track for o in evidence.observations] == ["1", "2"]
    assert evidence.searched == ((DOOR, span(0, 101)),)
    assert [gap.reason for gap in evidence.gaps] == ["stalled"]
    assert evidence.unknown == ("zebra",)
    assert evidence.origins == (("film", START),)


def test_the_nearest_thumbnail_is_shown(memory: Memory) -> None:
    film(memory, {(20, 25): 3, (40, 45): 4}, until=70)
    timeline = memory.store.timeline
    picture = timeline.thumbnail(DOOR, Moment(START + seconds(22)))
    assert picture is not None
    assert 20 <= (picture.moment - START) / 1e6 < 25
    latest = timeline.thumbnail(DOOR, Moment(START + seconds(999)))
    assert latest is not None
    assert latest.jpeg == b"jpeg 69"
    assert timeline.thumbnail(StreamId("yard"), Moment(START)) is None


def test_replay_gives_every_feature_in_order(memory: Memory) -> None:
    film(memory, {(30, 41): 3}, until=130)
    memory.remember.handle([feature(10, 5, origin="sound")])
    block = memory.recall.replay(DOOR, span(20.5, 75))
    assert [(start - START) // 1_000_000 for start in block.starts] == [20, *range(21, 75)]
    assert (block.ends - block.starts == seconds(1)).all()
    assert set(block.origins) == {"frame"}
    np.testing.assert_allclose(block.vectors[10], direction(3), atol=1e-6)
    everything = memory.recall.replay(DOOR)
    assert len(everything) == 131
    assert everything.origins.count("sound") == 1


def test_a_negative_match_needs_no_open_chapter(memory: Memory) -> None:
    assert memory.recall.find(query(1), Scope(), threshold=0.5) == []
    assert memory.recall.evidence([], Scope(), query(1)).searched == ()
    assert len(memory.recall.replay(DOOR)) == 0


@settings(max_examples=100)
@given(
    steps=st.lists(st.sampled_from([250_000, 500_000, 2_000_000, 30_000_000]), min_size=1, max_size=40),
    scores=st.data(),
)
def test_spans_hold_their_matches_and_do_not_overlap(steps: list[int], scores: st.DataObject) -> None:
    starts = np.cumsum(steps)
    values = scores.draw(st.lists(st.sampled_from([0.0, 0.3, 0.4, 0.6, 0.9]), min_size=len(steps), max_size=len(steps)))
    probability = np.array(values, np.float32)
    track = continuous(starts, starts, np.zeros_like(starts), [])
    found = matches(track, probability, 0.5)
    spans = [item[0] for item in found]
    assert all(a.end <= b.start for a, b in pairwise(spans))
    for start, value in zip(starts, values, strict=True):
        if value >= 0.5:
            assert any(start in s for s in spans)
    for held, score, peak in found:
        inside = (starts >= held.start) & (starts < held.end)
        assert score == probability[inside].max()
        assert probability[np.searchsorted(starts, peak)] == score
        assert probability[inside][0] >= 0.5
        assert (probability[inside] == 0).sum() <= inside.sum() // 2 + 1


def test_where_only_part_was_looked_at_that_part_is_continuous_and_the_rest_is_not() -> None:
    starts = np.array([0, 1, 2, 14, 15, 16, 40, 41]) * 1_000_000
    partly = Gap(DOOR, Span(Moment(2_500_000), Moment(39_000_000)), "overload")
    track = continuous(starts, starts, np.zeros_like(starts), [partly])
    assert track.broken.tolist() == [False, False, True, False, False, True, False, True]
    blind = continuous(starts, starts, np.zeros_like(starts), [replace(partly, reason="offline")])
    assert blind.broken.tolist() == [False, False, True, True, True, True, False, True]
    assert track.ends[2] == partly.span.start


def test_the_best_of_overlapping_hits_is_kept() -> None:
    spans = [(0, 10, 0.5), (5, 15, 0.9), (20, 30, 0.7)]
    hits = [Hit(DOOR, Span(Moment(a), Moment(b)), p, Moment(a)) for a, b, p in spans]
    other = Hit(StreamId("yard"), hits[0].span, 0.1, Moment(0))
    assert best_apart([*hits, other], 10) == [hits[1], hits[2], other]
    assert best_apart(hits, 1) == [hits[1]]


def test_the_end_of_a_file_is_covered(memory: Memory) -> None:
    film(memory, {(90, 100): 3}, until=100)
    memory.remember.handle(ends(100))
    assert [hit.span for hit in memory.recall.find(query(3), Scope(), threshold=0.5)] == [span(90, 100)]


@given(steps=st.lists(st.integers(1, 30), min_size=1, max_size=30), data=st.data())
def test_no_frame_lasts_into_a_gap_however_many_there_are(steps: list[int], data: st.DataObject) -> None:
    """Against the gaps one by one, which takes as long as there are gaps."""
    starts = np.cumsum(steps) * 500_000
    edges = st.tuples(st.integers(0, 400), st.integers(0, 40)).map(lambda pair: (pair[0], sum(pair)))
    reasons: st.SearchStrategy[GapReason] = st.sampled_from(["offline", "overload"])
    gaps = [
        Gap(DOOR, Span(Moment(start * 100_000), Moment(end * 100_000)), reason)
        for (start, end), reason in data.draw(st.lists(st.tuples(edges, reasons), max_size=12))
    ]
    track = continuous(starts, starts, np.zeros_like(starts), gaps)
    alone = continuous(starts, starts, np.zeros_like(starts), [])
    for at, start in enumerate(starts):
        after = starts[at + 1] if at + 1 < len(starts) else None
        between = after is not None and any(
            gap.span.start < after and gap.span.end > start
            for gap in gaps
            if gap.reason == "offline" or after - start > seconds(4)
        )
        assert track.broken[at] == (alone.broken[at] or between)
        cut = min((gap.span.start for gap in gaps if gap.span.start > start), default=track.ends[at])
        assert track.ends[at] <= max(cut, start) or not track.broken[at]


def test_a_camera_that_flaps_is_told_in_one_stretch() -> None:
    gaps = [Gap(DOOR, span(start, start + 2), "offline") for start in (0, 4, 8, 60)]
    frozen = Gap(DOOR, span(11, 12), "frozen")
    told = flapping(sorted([*gaps, frozen], key=lambda gap: gap.span))
    assert [(gap.span, gap.reason) for gap in told] == [
        (span(0, 10), "offline"), (span(11, 12), "frozen"), (span(60, 62), "offline")
    ]  # fmt: skip
