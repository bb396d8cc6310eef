"""What every `VideoSystem` keeps."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ingest.questions import Evidence, Exhibit, Hit
from ingest.records import Gap, Moment, Observation, Span, StreamId
from models.fake import FakeSystem
from models.language.extractive import ExtractiveSystem
from models.protocols import VideoSystem

YARD = StreamId("yard")
SECOND = 1_000_000


@pytest.fixture(params=[FakeSystem, ExtractiveSystem], ids=lambda kind: kind.__name__)
def system(request: pytest.FixtureRequest) -> VideoSystem:
    make: Callable[[], VideoSystem] = request.param
    return make()


def span(start: float, end: float) -> Span:
    return Span(Moment(round(start * SECOND)), Moment(round(end * SECOND)))


def evidence() -> Evidence:
    seen = Observation(YARD, 0, "1", "thing", "something", span(4, 9), 0.9, "red", ("moves left",))
    exhibit = Exhibit(1, Hit(YARD, span(4, 8), 0.9, Moment(5 * SECOND)), observations=(seen,))
    return Evidence(
        (exhibit,),
        observations=(seen,),
        searched=((YARD, span(0, 60)),),
        gaps=(Gap(YARD, span(20, 30), "offline"),),
        unknown=("dog",),
        origins=((YARD, Moment(0)),),
    )


QUESTIONS = (
    "What happened?", "How many things moved?", "When did something red move?", "Is there a dog?", "What was said?",
    "Which way did it go?", "", "???", "What text is shown?", "How long did something move?", "What colour was it?",
)  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_citations_name_exhibits_that_exist(system: VideoSystem, question: str) -> None:
    answer = "".join(system.answer(question, evidence()))
    assert answer
    assert {int(number) for number in re.findall(r"\[(\d+)\]", answer)} <= {1}


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_evidence_is_no_reason_to_fail_or_invent(system: VideoSystem, question: str) -> None:
    answer = "".join(system.answer(question, Evidence(())))
    assert answer
    assert not re.search(r"\[\d+\]", answer)


def test_an_answer_can_be_abandoned_and_asked_again(system: VideoSystem) -> None:
    pieces = system.answer("What happened?", evidence())
    next(iter(pieces))
    del pieces
    once = list(system.answer("What happened?", evidence()))
    assert once == list(system.answer("What happened?", evidence()))


def test_it_has_a_name(system: VideoSystem) -> None:
    assert system.id
