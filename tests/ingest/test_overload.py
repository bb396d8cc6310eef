"""More than the machine can decode in time: streams of a real server, and children that are stopped again and again."""

from __future__ import annotations

import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ingest.capture import CapturePlan, CaptureStatus, Recording
from ingest.clock import SystemClock
from ingest.limits import Limits
from ingest.load import LATE, SETTLE
from ingest.records import Frame, Gap, Segment, StateChange, StreamId, seconds
from ingest.sampling import Sampling
from ingest.sources import parse
from ingest.supervise import Supervisor
from ingest.unlooked import LEAST, NOTE
from tests.ingest.conftest import STREAM, Harvest, RtspServer, decoders

STREAMS = (StreamId("one"), StreamId("two"))
STOPPED_S, RUNNING_S = 1.6, 0.6
"""After the one every machine is late whatever it does in the other: more than `LATE`, and once in each `SETTLE`."""
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6

pytestmark = pytest.mark.service


@contextmanager
def rationed(children: Callable[[], list[int]]) -> Iterator[None]:
    """Let the processes run for a moment at a time."""
    over = threading.Event()

    def ration() -> None:
        while not over.is_set():
            for step, pause in ((signal.SIGSTOP, STOPPED_S), (signal.SIGCONT, RUNNING_S)):
                for child in children():
                    with suppress(ProcessLookupError):
                        os.kill(child, step)
                over.wait(pause)

    thread = threading.Thread(target=ration)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for child in children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGCONT)


@pytest.fixture
def shed(monkeypatch: pytest.MonkeyPatch) -> dict[StreamId, list[str]]:
    """What each stream shed, step by step: each change, however soon the next one follows."""
    seen: dict[StreamId, list[str]] = defaultdict(list)
    change = Supervisor._set

    def noted(self: Supervisor, **changes: Any) -> None:
        change(self, **changes)
        steps, now = seen[self.plan.stream], self.status.shedding
        steps += [now] if steps[-1:] != [now] else []

    monkeypatch.setattr(Supervisor, "_set", noted)
    return seen


def resident(child: int) -> float:
    return int(Path(f"/proc/{child}/statm").read_text().split()[1]) * PAGE_MB


@pytest.mark.timeout(120)
def test_what_cannot_be_decoded_in_time_is_shed_step_by_step_and_told(
    rtsp: Callable[..., RtspServer],
    harvest: Callable[..., Harvest],
    shed: dict[StreamId, list[str]],
    tmp_path: Path,
) -> None:
    server, made = rtsp("--size", "960x540"), harvest(Limits(stall_s=20.0, read_s=20.0))
    for stream in STREAMS:
        recording = Recording(tmp_path / stream, 2.0)
        sampling = Sampling(floor_hz=2, ceiling_hz=5)
        made.fleet.start(CapturePlan(stream, parse(server.url()), sampling=sampling, recording=recording))

    def status(stream: StreamId) -> CaptureStatus:
        found = made.fleet.status(stream)
        assert found is not None
        return found

    def frames(stream: StreamId) -> list[Frame]:
        return [frame for frame in made.of(Frame) if frame.stream == stream]

    made.wait(lambda: all(len(frames(stream)) > 5 for stream in STREAMS))
    children = decoders()
    assert len(children) == len(STREAMS)
    assert seconds(STOPPED_S) > LATE
    assert seconds(STOPPED_S + RUNNING_S) > SETTLE
    with rationed(decoders):
        made.wait(lambda: all("pictures" in shed[stream] for stream in STREAMS), 60)
        assert all(steps.index("rate") < steps.index("pictures") for steps in shed.values()), "the lower rate first"
        made.wait(lambda: all(status(stream).skipped > 25 for stream in STREAMS), 60)
        before = [resident(child) for child in children]
        counted = {stream: len(frames(stream)) for stream in STREAMS}
        made.wait(lambda: all(len(frames(stream)) > counted[stream] + 3 for stream in STREAMS), 60)
        assert decoders() == children, "overload is no reason to begin anew"
        assert all(after < 1.05 * most + 2 for after, most in zip(map(resident, children), before, strict=True))
    for stream in STREAMS:
        made.wait(lambda stream=stream: SystemClock().now() - frames(stream)[-1].moment < seconds(3), 60)
    made.fleet.close()
    assert {segment.stream for segment in made.of(Segment)} == set(STREAMS), "recording goes on all the same"


@pytest.mark.timeout(120)
def test_what_cannot_be_encoded_is_shed_by_the_child_and_what_is_dropped_all_the_same_is_a_gap(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], shed: dict[StreamId, list[str]]
) -> None:
    """A model that takes a second and a half for a picture, and a camera of which twelve a second are wanted."""
    made = harvest(capacity=8, pace_s=1.5)
    sampling = Sampling(floor_hz=12, ceiling_hz=12, motion=False, scene_cuts=False)
    made.fleet.start(CapturePlan(STREAM, parse(rtsp().url()), sampling=sampling))
    made.wait(lambda: "pictures" in shed[STREAM])
    steps = shed[STREAM]
    assert steps[: steps.index("pictures") + 1][-3:] == ["nothing", "rate", "pictures"]
    made.wait(lambda: any(change.detail == NOTE for change in made.of(StateChange)))
    assert all(change.state == "live" for change in made.of(StateChange) if change.detail == NOTE)
    made.pace_s = 0.0
    made.halt()
    gaps = [gap for gap in made.of(Gap) if gap.reason == "overload"]
    dropped = made.ledger.counts(STREAM).dropped["overload"]
    assert dropped > 0
    assert gaps
    looked = [frame.moment for frame in made.of(Frame)]
    for gap in {gap.span.start: gap for gap in gaps}.values():
        assert gap.span.duration >= LEAST
        assert not any(gap.span.start <= moment < gap.span.start + seconds(1) for moment in looked)
    assert len(gaps) < 0.5 * dropped, "not a row for every picture"
