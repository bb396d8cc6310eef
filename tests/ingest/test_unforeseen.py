"""What nobody thought of, in a supervisor's own thread: it is told and counted, and capturing goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest import supervise
from ingest.capture import CapturePlan, CaptureStatus
from ingest.child import Decoder
from ingest.limits import Limits
from ingest.records import Frame, Gap
from ingest.sources import parse
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
