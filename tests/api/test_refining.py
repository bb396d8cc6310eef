"""Start and end asked of a system: narrower than the proposal, or the proposal; never anything outside it."""

from __future__ import annotations

import pytest

from api.refining import BUDGET_S, Refiner
from ingest.clock import FakeClock
from ingest.errors import Busy
from ingest.questions import Evidence, Exhibit, Hit
from ingest.records import Moment, Span, StreamId
from models.fake import FakeGrounder, FakeSystem

_DOOR = StreamId("door")


def span(start: int, end: int) -> Span:
    return Span(Moment(start), Moment(end))


def proposals(*spans: Span) -> Evidence:
    hits = [Hit(_DOOR, one, 0.8, Moment(one.end - 1)) for one in spans]
    return Evidence(tuple(Exhibit(number, hit) for number, hit in enumerate(hits, 1)))


class Says(FakeSystem):
    """A grounder with a script: spans, or an error."""

    def __init__(self, *said: Span, error: Exception | None = None, clock: FakeClock | None = None) -> None:
        super().__init__()
        self.said, self.error, self.clock, self.asked = list(said), error, clock, 0

    def ground(self, event: str, evidence: Evidence) -> list[Span]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        if self.clock is not None:
            self.clock.advance(BUDGET_S + 1)
        return self.said


def refined(system: FakeSystem, evidence: Evidence) -> list[Hit]:
    return [exhibit.hit for exhibit in Refiner(system, FakeClock()).evidence("a car", evidence).exhibits]


def test_a_proposal_is_narrowed_and_its_peak_stays_inside() -> None:
    [hit] = refined(FakeGrounder(), proposals(span(0, 90)))
    assert hit.span == span(30, 60)
    assert hit.peak == 59
    assert hit.score == 0.8


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([span(50, 700)], span(50, 100)),
        ([span(0, 20)], span(10, 20)),
        ([span(200, 300)], span(10, 100)),
        ([], span(10, 100)),
        ([span(20, 30), span(50, 60), span(400, 500)], span(20, 60)),
    ],
)
def test_nothing_outside_is_believed(said: list[Span], expected: Span) -> None:
    [hit] = refined(Says(*said), proposals(span(10, 100)))
    assert hit.span == expected


def test_a_system_that_fails_or_cannot_say_leaves_proposals_as_they_were() -> None:
    evidence = proposals(span(0, 90), span(100, 190))
    before = [exhibit.hit for exhibit in evidence.exhibits]
    failing = Says(error=Busy("It keeps ending."))
    assert refined(failing, evidence) == before
    assert failing.asked == 1
    assert refined(FakeSystem(), evidence) == before


def test_a_slow_system_is_asked_no_further() -> None:
    clock = FakeClock()
    slow = Says(span(0, 5), clock=clock)
    found = Refiner(slow, clock).evidence("a car", proposals(span(0, 90), span(0, 80))).exhibits
    assert [exhibit.hit.span for exhibit in found] == [span(0, 5), span(0, 80)]
    assert slow.asked == 1
