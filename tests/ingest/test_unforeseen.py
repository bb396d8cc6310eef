"""What nobody thought of, in a supervisor's own thread: it is told and counted, and capturing goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ingest import reading, supervise
from ingest.audio import SoundCutter
from ingest.capture import CapturePlan, CaptureStatus
from ingest.child import Decoder, source_details
from ingest.decode import _told
from ingest.errors import SourceUnavailable
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.orders import Orders
from ingest.records import Frame, Gap
from ingest.sampling import Sampling
from ingest.sources import parse
from ingest.supervise_live import LiveSupervisor
from tests.ingest.conftest import STREAM, Harvest

QUICK = Limits(backoff_first_s=0.05, backoff_most_s=0.1)


def refusing(times: int) -> Callable[..., Decoder]:
    """As when the kernel has no more processes to give, so often."""
    left = [times]

    def start(*details: Any) -> Decoder:
        if left[0] > 0:
            left[0] -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return Decoder(*details)

    return start


def status(made: Harvest) -> CaptureStatus:
    found = made.fleet.status(STREAM)
    assert found is not None
    return found


def test_a_live_stream_that_cannot_start_its_child_says_so_and_goes_on_trying(
    harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervise, "Decoder", refusing(10**9))
    made = harvest(QUICK)
    with caplog.at_level(logging.ERROR, "ingest.supervise"):
        made.fleet.start(CapturePlan(STREAM, parse("rtsp://127.0.0.1:1/x")))
        made.wait(lambda: status(made).failures >= 3)
    made.wait(lambda: "failed" in made.states())
    assert "BlockingIOError" in caplog.text
    assert all(record.exc_info for record in caplog.records)
    made.wait(lambda: any(gap.reason == "offline" and "BlockingIOError" in gap.detail for gap in made.of(Gap)))
    made.halt()
    assert made.states()[-1:] == ["paused"]


def test_a_file_is_read_whole_all_the_same(
    clips: Path, harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "Decoder", refusing(2))
    made = harvest(QUICK)
    made.fleet.start(CapturePlan(STREAM, parse(str(clips / "ten.mp4"))))
    made.wait(made.ended, 60)
    assert status(made).failures == 2
    assert "failed" in made.states()
    assert len(made.of(Frame)) > 5


def test_last_words_that_cannot_be_said_do_not_keep_a_stream_from_stopping(
    harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = harvest(QUICK)

    def broken(_supervisor: object) -> None:
        raise RuntimeError("no words")

    monkeypatch.setattr(supervise, "Decoder", refusing(10**9))
    monkeypatch.setattr("ingest.supervise_live.LiveSupervisor._stopped", broken)
    made.fleet.start(CapturePlan(STREAM, parse("rtsp://127.0.0.1:1/x")))
    made.wait(lambda: status(made).failures >= 1)
    made.halt()
    assert made.fleet.status(STREAM) is None


def test_a_failure_is_told_though_the_last_sound_fails_too(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that was cut off is tried again; one of which was said that memory ran out would count as broken."""
    task = {
        "stream": "cam", "live": True, "epoch": 0, "starts_at": 0, "sampling": asdict(Sampling()), "audio": True,
        "resume": None, "heard": None, "skip": None, "folder": None, "segment_s": 6.0,
    }  # fmt: skip

    def cut_off(_: Orders) -> bool:
        raise ConnectionResetError(104, "Connection reset by peer")

    def without_memory(_: SoundCutter) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(Orders, "end", cut_off)
    monkeypatch.setattr(SoundCutter, "flush", without_memory)
    with pytest.raises(SourceUnavailable) as raised:
        reading.job(
            {"source": source_details(parse(str(clips / "ten.mp4")), Guard([])), "task": task}, Limits(), lambda _: None
        )
    told = (SourceUnavailable.code, "The connection was cut. Then: Decoding it takes more memory than is allowed.")
    assert _told(raised.value, Limits())[:2] == told


def test_one_that_takes_too_long_to_end_is_waited_for_before_there_is_another(
    harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of one stream would write into one folder, and each would finish what the other is writing."""
    at_work, most, saved = [0], [0], threading.Event()

    def save(_self: LiveSupervisor) -> None:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        assert saved.wait(60)
        at_work[0] -= 1

    monkeypatch.setattr(LiveSupervisor, "_rescue", save)
    monkeypatch.setattr(supervise.Supervisor.stop, "__defaults__", (0.05,))
    made = harvest(QUICK)
    plan = CapturePlan(STREAM, parse("rtsp://127.0.0.1:1/x"))
    made.fleet.start(plan)
    made.wait(lambda: at_work[0] == 1)
    made.fleet.stop(STREAM)
    assert made.fleet.ending(STREAM)
    for _ in range(3):  # changed, and changed again
        made.fleet.start(plan)
        made.fleet.stop(STREAM)
    made.fleet.start(plan)
    saved.set()
    made.wait(lambda: "offline" in made.states())
    assert not made.fleet.ending(STREAM)
    made.halt()
    assert most == [1]
