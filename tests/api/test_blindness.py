"""Being blind through the service: in coverage, in answers, in health, as an alert that goes out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from api.settings import Settings
from ingest.bus import JOURNAL
from ingest.capture import CaptureStatus, Fleet
from ingest.records import Coverage, Evidence, Gap, GapReason, Moment, Span, StateChange, StreamId, seconds
from memory.store import StreamRow
from models.language.extractive import ExtractiveSystem
from tests.api.conftest import add, ask, running, wait_for
from tests.ingest.conftest import Trap, answer, trap

__all__ = ["trap"]


def blind(stream: dict[str, Any], reason: GapReason, start_s: float, end_s: float) -> Gap:
    origin = round(datetime.fromisoformat(stream["span"]["start"]).timestamp() * 1_000_000)
    span = Span(Moment(origin + seconds(start_s)), Moment(origin + seconds(end_s)))
    return Gap(StreamId(stream["id"]), span, reason, "Pictures come, and do not change.")


def test_a_frozen_picture_is_told_in_coverage_and_in_answers_and_raises_one_alert(
    settings: Settings, films: Path, trap: Callable[..., Trap]
) -> None:
    received, heard = threading.Event(), answer(b"{}")

    def receiver(visitor: Any) -> None:
        received.set()
        heard(visitor)

    webhook = f"http://127.0.0.1:{trap(receiver).port}/hook"
    with running(settings.model_copy(update={"blind_alert_s": 2.0, "blind_webhook": SecretStr(webhook)})) as (
        service,
        http,
    ):
        stream = add(http, "door", films / "plain.mp4")
        for end in (2.0, 3.0, 3.5):
            service.bus.publish(JOURNAL, blind(stream, "frozen", 0.5, end))
        service.bus.publish(JOURNAL, blind(stream, "offline", 3.5, 4.0))
        gaps = wait_for(lambda: len(found := http.get("/v1/streams/door/coverage").json()["gaps"]) == 2 and found)
        assert [gap["reason"] for gap in gaps] == ["frozen", "offline"]
        assert gaps[0]["span"]["label"] == "00:00:00.5–00:00:03.5"
        said = ask(http, "was there a red car?", streams=["door"])["text"]
        assert "no video" in said
        assert "frozen" in said

        def alerts() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = http.get("/v1/alerts").json()
            return found

        [alert] = wait_for(alerts)
        assert alert["rule_name"] == "blindness"
        assert alert["why"] == "door sees nothing: frozen. Pictures come, and do not change."
        wait_for(lambda: alerts()[0]["span"]["label"] == "00:00:00.5–00:00:03.5")
        assert received.wait(10), "it goes out like any other alert"


def test_what_was_only_partly_looked_at_is_told_so_and_is_no_hole_in_the_recording(
    settings: Settings, films: Path
) -> None:
    with running(settings.model_copy(update={"blind_alert_s": 2.0})) as (service, http):
        stream = add(http, "door", films / "plain.mp4")
        service.bus.publish(JOURNAL, blind(stream, "overload", 0.5, 3.5))
        [gap] = wait_for(lambda: http.get("/v1/streams/door/coverage").json()["gaps"])
        assert gap["reason"] == "overload"
        assert http.get("/v1/streams/door/timeline").json()["gaps"] == [gap]
        said = ask(http, "was there a red car?", streams=["door"])
        assert "Only part could be looked at of 00:00:00.5–00:00:03.5" in said["text"]
        assert "no video" not in said["text"]
        assert said["gaps"] == [gap]
        [alert] = wait_for(lambda: http.get("/v1/alerts").json())
        assert alert["why"].startswith("door is only partly looked at: overload.")
        clip = http.get("/v1/streams/door/clip", params={"from": "00:00", "to": "00:04"})
        assert clip.status_code == 200
        assert "overload" not in str(clip.headers)


def test_a_service_that_was_stopped_is_told_when_it_is_back_and_a_clock_that_jumped_is_not(
    settings: Settings, films: Path
) -> None:
    with running(settings.model_copy(update={"blind_alert_s": 1.0})) as (service, http):
        stream = add(http, "door", films / "plain.mp4")
        for reason, start in (
            ("clock jump", 0.0),
            ("paused", 1.0),
            ("settings changed", 2.0),
            ("service stopped", 3.0),
        ):
            service.bus.publish(JOURNAL, blind(stream, reason, start, start + 1))
        wait_for(lambda: len(http.get("/v1/streams/door/coverage").json()["gaps"]) == 4)
        [alert] = wait_for(lambda: http.get("/v1/alerts").json())
        assert alert["why"].startswith("door sees nothing: service stopped.")


def test_a_camera_that_never_gave_a_picture_is_told_to_have_been_blind_all_along(settings: Settings) -> None:
    """Also where nobody says which time is meant: in coverage, in answers, and in how far it is known."""
    cam = StreamId("cam")
    with running(settings) as (service, http):
        now = service.clock.now()
        row = StreamRow(cam, "cam", "live", "rtsp://127.0.0.1:9/cam", "", "offline", "", now, paused=True)
        service.store.streams.add(row)
        gaps = [
            Gap(cam, Span(Moment(now - seconds(90 - n)), Moment(now - seconds(60 - n))), "offline") for n in (0, 30)
        ]
        for gap in gaps:
            service.bus.publish(JOURNAL, gap)
        told = wait_for(lambda: len(found := http.get("/v1/streams/cam/coverage").json()["gaps"]) == 2 and found)
        assert {gap["reason"] for gap in told} == {"offline"}
        assert "offline" in ask(http, "what happened?", streams=["cam"])["text"]
        known = datetime.fromisoformat(http.get("/v1/streams/cam").json()["known_to"])
        assert round(known.timestamp() * 1_000_000) == gaps[-1].span.end


def test_a_pause_grows_while_it_lasts_and_a_folder_has_none(settings: Settings, tmp_path: Path) -> None:
    """Also a pause from before the service was started: from where anything was told of, as one gap."""
    cam, folder = StreamId("cam"), StreamId("folder")
    with running(settings) as (service, _):
        now = service.clock.now()
        watched = Span(Moment(now - seconds(60)), Moment(now - seconds(30)))
        for stream, source in ((cam, "rtsp://127.0.0.1:9/cam"), (folder, f"folder:{tmp_path}")):
            service.store.streams.add(StreamRow(stream, stream, "live", source, "", "paused", "", now, paused=True))
            service.bus.publish(JOURNAL, Coverage(stream, 0, watched))
        gaps = service.store.timeline.gaps
        wait_for(lambda: service.store.timeline.coverage(folder))
        service.streams.tell_pauses()
        [first] = wait_for(lambda: gaps(cam))
        service.streams.tell_pauses()
        wait_for(lambda: gaps(cam)[-1].span.end > first.span.end)
        [grown] = gaps(cam)
        assert (grown.reason, grown.span.start) == ("paused", watched.end)
        assert grown.span.end >= now
        assert gaps(folder) == ()


def test_health_names_the_streams_of_which_more_comes_than_can_be_looked_at(
    settings: Settings, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        add(http, "door", films / "plain.mp4")
        status = CaptureStatus("live", "", service.clock.now(), None, None, 0, shedding="pictures")
        monkeypatch.setattr(Fleet, "status", lambda _self, _stream: status)
        checks = {check["name"]: check for check in http.get("/v1/health").json()["checks"]}
        told = "None is blind. More comes than can be looked at: door (key frames only)."
        assert checks["streams"] == {"name": "streams", "ok": True, "detail": told}


def test_blind_streams_are_named_in_health_and_in_metrics(settings: Settings, films: Path) -> None:
    with running(settings) as (service, http):
        stream = add(http, "door", films / "plain.mp4")
        assert "None is blind" in http.get("/v1/health").text
        row = service.store.streams.get(stream["id"])
        service.store.streams.set_state(
            StateChange(row.id, "frozen", Moment(service.clock.now()), "It does not change.")
        )
        service.streams.pause("door")  # what capture would say now is out of the way
        service.store.streams.set_state(
            StateChange(row.id, "dark", Moment(service.clock.now()), "The picture is dark.")
        )
        checks = {check["name"]: check for check in http.get("/v1/health").json()["checks"]}
        assert checks["streams"] == {"name": "streams", "ok": True, "detail": "Blind: door (dark)."}
        assert 'hindsight_stream_state{state="dark",stream="door"} 1.0' in http.get("/metrics").text


def test_without_a_model_the_answer_says_when_the_picture_was_frozen() -> None:
    cam = StreamId("cam")
    start = Moment(seconds(50_400))
    gaps = (
        Gap(cam, Span(start, Moment(start + seconds(600))), "frozen"),
        Gap(cam, Span(Moment(start + seconds(900)), Moment(start + seconds(960))), "offline"),
        Gap(cam, Span(Moment(start + seconds(1200)), Moment(start + seconds(1260))), "overload"),
    )
    searched = ((cam, Span(start, Moment(start + seconds(3600)))),)
    said = "".join(ExtractiveSystem().answer("what happened?", Evidence((), searched=searched, gaps=gaps)))
    assert "The picture was frozen 1970-01-01 14:00:00–14:10:00 UTC." in said
    assert "There was no video 1970-01-01 14:15:00–14:16:00 UTC (offline)." in said
    assert "Only part could be looked at of 1970-01-01 14:20:00–14:21:00 UTC (overload)." in said
