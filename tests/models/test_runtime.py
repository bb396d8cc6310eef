"""Models in child processes: real processes, real deaths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing
from unittest.mock import patch

import numpy as np
import pytest

from ingest.clock import FakeClock, SystemClock
from ingest.errors import Busy, DeadlineExceeded, Invalid, NotFound, Poison
from ingest.questions import Evidence, Exhibit, Hit
from ingest.records import SAMPLE_RATE, Frame, Moment, Sound, Span, StreamId
from models.fake import FakeEncoder, FakeGrounder, FakeSystem
from models.protocols import Grounder
from models.runtime import (
    ChildDied,
    ModelProcess,
    ModelSpec,
    RemoteEncoder,
    RemoteSystem,
    RemoteTranscriber,
    RuntimeOptions,
)


class Stopwatch(SystemClock):
    """Real time, plus what a test adds to it."""

    def __init__(self) -> None:
        self.added = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.added


def frame(pts: int) -> Frame:
    return Frame(StreamId("yard"), 0, pts, Moment(pts), np.full((8, 8, 3), pts % 200, np.uint8))


def fake(options: Mapping[str, object] | None = None, **limits: float) -> ModelProcess:
    return ModelProcess(ModelSpec("encoder", "fake", options or {}), RuntimeOptions(**limits), Stopwatch())  # type: ignore[arg-type] # numbers only


def within(process: ModelProcess, call_s: float) -> AbstractContextManager[object]:
    """Meanwhile a call has so much time, which a pause of the machine may take: for one that hangs."""
    return patch.object(process, "_options", RuntimeOptions(call_s=call_s))


@pytest.fixture
def process() -> Iterator[ModelProcess]:
    one = fake()
    yield one
    one.close()


def test_it_gives_what_the_model_gives(process: ModelProcess) -> None:
    remote, local = RemoteEncoder(process), FakeEncoder()
    given = [frame(pts) for pts in range(10)]
    for a, b in zip(remote.encode(given), local.encode(given), strict=True):
        assert (a.key, a.span) == (b.key, b.span)
        np.testing.assert_array_equal(a.vector, b.vector)
    assert (remote.id, remote.dim) == (local.id, local.dim)
    assert "64 numbers" in remote.check()
    assert process.pid != os.getpid()


def test_a_dead_child_is_replaced(process: ModelProcess) -> None:
    remote = RemoteEncoder(process)
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert len(remote.encode([frame(0), frame(1)])) == 2
    assert process.pid not in (first, None)


def test_a_frame_that_kills_the_model_is_poison_and_the_others_are_not() -> None:
    process = fake({"dies_at": [3]})
    try:
        remote = RemoteEncoder(process)
        with pytest.raises(Poison, match="yard/0/3"):
            remote.encode([frame(pts) for pts in range(6)])
        assert [one.pts for one in remote.encode([frame(4), frame(5)])] == [4, 5]
    finally:
        process.close()


def test_a_model_that_hangs_is_ended_at_its_deadline() -> None:
    process = fake({"hangs_at": [1]})
    try:
        remote = RemoteEncoder(process)
        begin = time.monotonic()
        with within(process, 3.0), pytest.raises(DeadlineExceeded):
            remote.encode([frame(1)])
        assert 2.9 < time.monotonic() - begin < 30
        assert len(remote.encode([frame(2)])) == 1
    finally:
        process.close()


def test_restarts_have_a_budget_that_recovers() -> None:
    clock = Stopwatch()
    process = ModelProcess(ModelSpec("encoder", "fake", {"dies_at": [1]}), RuntimeOptions(restarts=3), clock)
    try:
        for _ in range(3):
            with pytest.raises(ChildDied):
                process.call("encode", [frame(1)])
        assert process.degraded
        with pytest.raises(Busy, match="keeps ending"):
            process.call("encode", [frame(2)])
        with pytest.raises(Busy):
            process.check()
        clock.added += 61
        assert not process.degraded
        assert len(process.call("encode", [frame(2)])) == 1
    finally:
        process.close()


def test_an_exception_of_the_model_is_told_and_costs_no_restart() -> None:
    process = fake({"fails_at": [7]})
    try:
        remote = RemoteEncoder(process)
        before = process.pid
        with pytest.raises(Poison, match="ArithmeticError: a fault was asked for at 7"):
            remote.encode([frame(7)])
        assert process.pid == before
    finally:
        process.close()


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (ModelSpec("encoder", "no such"), NotFound),
        (ModelSpec("encoder", "fake", {"colour": 1}), Invalid),
        (ModelSpec("transcriber", "no such"), NotFound),
    ],
)
def test_a_model_that_cannot_be_made_says_why(spec: ModelSpec, error: type[Exception]) -> None:
    process = ModelProcess(spec)
    with pytest.raises(error):
        _ = process.about
    process.close()


def test_a_stranger_to_the_seam_is_refused(process: ModelProcess) -> None:
    with pytest.raises(Poison, match="has no __class__"):
        process.call("__class__", None)


def test_closing_ends_the_child_and_calls(process: ModelProcess) -> None:
    RemoteEncoder(process)
    pid = process.pid
    assert pid is not None
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(Busy, match="shut down"):
        process.call("encode", [])


def test_callers_take_turns(process: ModelProcess) -> None:
    remote = RemoteEncoder(process)
    results: list[int] = []

    def many(start: int) -> None:
        results.extend(one.pts for one in remote.encode([frame(pts) for pts in range(start, start + 20)]))

    threads = [threading.Thread(target=many, args=(100 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(start + pts for start in (0, 100, 200, 300) for pts in range(20))


def test_the_child_dies_with_its_parent() -> None:
    script = (
        "import time\n"
        "from models.runtime import ModelProcess, ModelSpec\n"
        "process = ModelProcess(ModelSpec('encoder', 'fake'))\n"
        "process.about\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _gone(child, within_s=60.0)


def test_a_transcriber_in_a_child() -> None:
    process = ModelProcess(ModelSpec("transcriber", "fake"))
    try:
        remote = RemoteTranscriber(process)
        loud = np.ones(SAMPLE_RATE, np.float32)
        sounds = [Sound(StreamId("a"), 0, at, Moment(at), loud * level) for at, level in ((0, 0.0), (1, 0.2), (2, 0.9))]
        assert [one.text for one in remote.transcribe(sounds)] == ["quiet", "loud"]
        assert remote.check()
    finally:
        process.close()


def test_a_fake_clock_is_enough_to_build_one() -> None:
    assert not ModelProcess(ModelSpec("encoder", "fake"), clock=FakeClock()).degraded


def _gone(pid: int, *, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - a process that ended but is not waited for
            if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        time.sleep(0.1)
    return False


def system(options: Mapping[str, object] | None = None, **limits: float) -> ModelProcess:
    return ModelProcess(ModelSpec("system", "fake", options or {}), RuntimeOptions(**limits), Stopwatch())  # type: ignore[arg-type] # numbers only


def two_exhibits() -> Evidence:
    span = Span(Moment(0), Moment(9))
    return Evidence(tuple(Exhibit(number, Hit(StreamId("yard"), span, 0.5, Moment(0))) for number in (1, 2)))


def test_a_system_answers_piece_by_piece() -> None:
    with closing(system()) as process:
        remote = RemoteSystem(process)
        assert remote.id == FakeSystem.id
        assert list(remote.answer("who?", two_exhibits())) == list(FakeSystem().answer("who?", two_exhibits()))
        assert "it saw a picture" in remote.check()


def test_an_answer_nobody_wants_any_more_is_ended() -> None:
    with closing(system()) as process:
        remote = RemoteSystem(process)
        answer = remote.answer("who?", two_exhibits())
        assert next(answer) == "You asked: who?"
        assert remote.check() == "it is answering a question"
        pid = process.pid
        answer.close()
        assert not process.telling()
        with pytest.raises(Poison, match="nothing is left"):
            process.call("next", None)
        assert "".join(remote.answer("again?", two_exhibits())) == "You asked: again? [1] [2]"
        assert process.pid == pid


def test_a_system_that_dies_hangs_or_fails_ends_one_answer_only() -> None:
    faults = {"dies_at": "die", "hangs_at": "hang", "fails_at": "fail"}
    with closing(system(faults)) as process:
        remote = RemoteSystem(process)
        for question, error in (("die", ChildDied), ("hang", DeadlineExceeded), ("fail", Poison)):
            answer = remote.answer(question, two_exhibits())
            assert next(answer) == f"You asked: {question}"
            with within(process, 2.0 if question == "hang" else 60.0), pytest.raises(error):
                list(answer)
            assert "".join(remote.answer("still there?", two_exhibits())) == "You asked: still there? [1] [2]"


def test_an_answer_has_so_much_time_and_the_next_one_waits_no_longer() -> None:
    process = system(answer_s=0.3)
    with closing(process):
        remote = RemoteSystem(process)
        first = remote.answer("who?", two_exhibits())
        next(first)
        with pytest.raises(Busy, match="another question"):
            next(remote.answer("and who else?", two_exhibits()))
        with pytest.raises(DeadlineExceeded, match="not finished"):
            next(first)
        assert not process.telling()


def exhibits() -> Evidence:
    spans = [Span(Moment(start), Moment(start + 90)) for start in (0, 300)]
    hits = [Hit(StreamId("yard"), span, 0.9, span.start) for span in spans]
    return Evidence(tuple(Exhibit(number, hit) for number, hit in enumerate(hits, 1)))


def test_a_grounder_says_when_across_the_border() -> None:
    with closing(RemoteSystem.of(ModelProcess(ModelSpec("system", "fake-grounder")))) as system:
        assert isinstance(system, Grounder)
        assert system.ground("a car", exhibits()) == FakeGrounder().ground("a car", exhibits())
        answer = system.answer("Who?", exhibits())
        next(answer)
        assert system.ground("a car", exhibits())[0] == Span(Moment(30), Moment(60)), "also in the middle of an answer"
        assert "".join(answer).endswith("[1] [2]")


def test_a_system_that_cannot_is_no_grounder() -> None:
    with closing(RemoteSystem.of(process := ModelProcess(ModelSpec("system", "fake")))) as system:
        assert not isinstance(system, Grounder)
        with pytest.raises(Poison):
            process.call("ground", ("a car", exhibits()))
