"""Being blind through the service: in coverage, in answers, in health, as an alert that goes out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from api.compose import Service
from api.lost import lost
from api.profile import Models
from api.settings import Settings
from api.streams import Streams
from ingest.bus import FEATURES, FRAMES, JOURNAL
from ingest.capture import CaptureStatus, Fleet
from ingest.questions import Evidence
from ingest.reasons import GapReason
from ingest.records import Coverage, Frame, Gap, Heard, Moment, Span, StateChange, StreamId, StreamState, seconds
from ingest.sampling import Sampling
from memory.store import StreamRow
from models.fake import FakeEncoder, FakeSystem, FakeTranscriber
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
        service.bus.publish(JOURNAL, blind(stream, "broken video", 3.5, 4.0))
        gaps = wait_for(lambda: len(found := http.get("/v1/streams/door/coverage").json()["gaps"]) == 2 and found)
        assert [gap["reason"] for gap in gaps] == ["frozen", "broken video"]
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
        assert received.wait(60), "it goes out like any other alert"


def test_an_outage_goes_on_until_the_camera_is_back(settings: Settings, films: Path) -> None:
    """However long it lasts; what was told of the time before it is over."""
    with running(settings.model_copy(update={"blind_alert_s": 2.0})) as (service, http):
        stream = add(http, "door", films / "plain.mp4")

        def going_on() -> dict[str, bool]:
            found = http.get("/v1/alerts").json()
            return {one["why"].partition(": ")[2].partition(".")[0]: one["open"] for one in found}

        def becomes(state: StreamState) -> None:
            service.bus.publish(JOURNAL, StateChange(StreamId(stream["id"]), state, Moment(2**60), ""))

        last = stream["span"]["end_offset_s"]
        service.bus.publish(JOURNAL, blind(stream, "service stopped", last, last + 20))
        for end in (25, 40, 100):
            service.bus.publish(JOURNAL, blind(stream, "offline", last + 20, last + end))
        becomes("offline")
        wait_for(lambda: going_on() == {"service stopped": False, "offline": True})
        becomes("live")
        wait_for(lambda: going_on() == {"service stopped": False, "offline": False})


def test_an_outage_is_over_where_the_camera_is_paused_or_the_folder_is_there(settings: Settings, films: Path) -> None:
    """Also where no picture has come since: the newest is then as near as when it began."""
    with running(settings.model_copy(update={"blind_alert_s": 2.0})) as (service, http):
        stream = add(http, "door", films / "plain.mp4")
        last, cam = stream["span"]["end_offset_s"], StreamId(stream["id"])

        def is_open() -> bool | None:
            found = http.get("/v1/alerts").json()
            return found[0]["open"] if found else None

        service.bus.publish(JOURNAL, blind(stream, "offline", last, last + 10))
        for state in ("offline", "paused", "offline", "live"):
            service.store.streams.set_state(StateChange(cam, state, Moment(2**60), ""))
            wait_for(lambda state=state: is_open() is (state != "paused"))
        service.store.streams.change(replace(service.store.streams.get("door"), source="folder:/watched"))
        assert is_open() is False


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
    settings: Settings,
) -> None:
    door = StreamId("door")
    with running(settings.model_copy(update={"blind_alert_s": 1.0})) as (service, http):
        now = service.clock.now()
        row = StreamRow(door, "door", "live", "rtsp://127.0.0.1:9/door", "", "offline", "", now, paused=True)
        service.store.streams.add(row)
        reasons: list[GapReason] = ["clock jump", "paused", "clock put back", "settings changed", "service stopped"]
        for number, reason in enumerate(reasons):
            start = Moment(now - seconds(60 - number))
            service.bus.publish(JOURNAL, Gap(door, Span(start, Moment(start + seconds(1))), reason))
        wait_for(lambda: {gap.reason for gap in service.store.timeline.gaps(door)} >= {*reasons})
        [alert] = wait_for(lambda: http.get("/v1/alerts").json())
        assert alert["why"].startswith("door sees nothing: service stopped.")


def test_a_camera_that_never_gave_a_picture_is_told_to_have_been_blind_all_along(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody says which time is meant: in coverage, in answers, and in how far it is known."""
    monkeypatch.setattr(Streams, "tell_absence", lambda _self: None)  # else it is told every 5 s to be paused
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
        service.streams.tell_absence()
        [first] = wait_for(lambda: gaps(cam))
        service.streams.tell_absence()
        wait_for(lambda: gaps(cam)[-1].span.end > first.span.end)
        [grown] = gaps(cam)
        assert (grown.reason, grown.span.start) == ("paused", watched.end)
        assert grown.span.end >= now
        assert gaps(folder) == ()


def test_a_camera_that_nobody_captures_is_a_gap_from_when_it_was_added(settings: Settings) -> None:
    """One that could not be started, and one that was paused before it was ever seen."""
    with running(settings) as (service, _):
        added = Moment(service.clock.now() - seconds(60))
        for name, paused in (("lost", False), ("new", True)):
            row = StreamRow(StreamId(name), name, "live", "rtsp://127.0.0.1:9/cam", "", "failed", "No login.", added)
            service.store.streams.add(replace(row, paused=paused))
        service.streams.tell_absence()
        [lost] = wait_for(lambda: service.store.timeline.gaps(StreamId("lost")))
        [new] = wait_for(lambda: service.store.timeline.gaps(StreamId("new")))
        assert (lost.span.start, lost.reason, lost.detail) == (added, "offline", "No login.")
        assert (new.span.start, new.reason) == (added, "paused")
        assert min(lost.span.end, new.span.end) >= added + seconds(60)


def test_what_was_under_way_when_the_service_was_killed_was_neither_looked_at_nor_listened_to(
    settings: Settings,
) -> None:
    """Where pictures were told to have come and none is remembered; what sampling explains is as it should be."""
    cam, well = StreamId("cam"), StreamId("well")

    def models() -> Models:
        return Models(FakeEncoder(), FakeSystem(), FakeTranscriber())

    def at(back_s: float) -> Moment:
        return Moment(now - seconds(back_s))

    with running(settings, models()) as (service, _):
        now = service.clock.now()
        for stream, seen, heard in ((cam, 200.0, 250.0), (well, 100.5, 101.0)):
            service.store.streams.add(
                StreamRow(stream, stream, "live", "rtsp://127.0.0.1:9/cam", "", "paused", "", at(300), paused=True)
            )
            picture = np.zeros((2, 2, 3), np.uint8)
            for moment in (at(300), at(seen)):
                service.bus.publish(FRAMES, Frame(stream, 0, moment, moment, picture))
            service.bus.publish(FEATURES, Heard(stream, 0, at(heard), at(heard)))
            service.bus.publish(JOURNAL, Coverage(stream, 0, Span(at(300), at(100))))
            wait_for(lambda stream=stream: service.store.timeline.watched_to(stream) == at(100))
        wait_for(lambda: service.store.streams.mark(well) is not None and not any(service.bus.depth().values()))
        service.ledger.captured(cam, 2)
        service.ledger.captured(well, 2)

    def told(service: Service, stream: StreamId) -> list[tuple[str, Span]]:
        gaps = service.store.timeline.gaps(stream)
        return [(gap.reason, gap.span) for gap in gaps if gap.reason != "paused"]

    for _ in range(2):
        with running(settings, models()) as (service, http):
            wait_for(lambda service=service: len(told(service, cam)) == 2)
            assert told(service, cam) == [
                ("unheard", Span(at(250), at(100))),
                ("cut short", Span(Moment(at(200) + 1), at(100))),
            ]
            assert told(service, well) == []
            text = ask(http, "zebra", streams=["cam"])["text"]
            assert "Only part could be looked at of" in text
            assert "Not all that sounded was listened to" in text


def test_a_picture_from_before_the_clock_was_put_back_has_no_age_below_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        now, cam = service.clock.now(), StreamId("cam")
        service.store.streams.add(StreamRow(cam, "cam", "live", "rtsp://127.0.0.1:9/cam", "", "live", "", now))
        status = CaptureStatus("live", "", now, Moment(now + seconds(3600)), None, 0)
        monkeypatch.setattr(Fleet, "status", lambda _self, _stream: status)
        assert http.get("/v1/streams/cam").json()["last_frame_age_s"] == 0


def test_sound_that_was_under_way_is_told_also_behind_an_outage_and_where_none_comes_any_more_it_is_not(
    settings: Settings,
) -> None:
    cam, mute = StreamId("cam"), StreamId("mute")
    with running(settings) as (service, _):
        now = service.clock.now()

        def ago(start_s: float, end_s: float) -> Span:
            return Span(Moment(now - seconds(start_s)), Moment(now - seconds(end_s)))

        for stream, epochs in ((cam, (ago(9000, 8000), ago(4000, 3900))), (mute, (ago(9000, 5000),))):
            row = StreamRow(stream, stream, "live", "rtsp://127.0.0.1:9/x", "", "paused", "", now, paused=True)
            service.store.streams.add(row)
            service.bus.publish(FEATURES, Heard(stream, 0, 1, Moment(now - seconds(8000.5))))
            for epoch, span in enumerate(epochs):
                service.bus.publish(JOURNAL, Coverage(stream, epoch, span))
        wait_for(lambda: not any(service.bus.depth().values()))
        found = {stream: lost(service.store, stream, Sampling(), listens=True) for stream in (cam, mute)}
        assert [(gap.reason, gap.span) for gap in found[cam]] == [("unheard", ago(4000, 3900))]
        assert found[mute] == []


def test_health_names_the_streams_of_which_more_comes_than_can_be_looked_at(
    settings: Settings, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        add(http, "door", films / "plain.mp4")
        status = CaptureStatus("live", "", service.clock.now(), None, None, 0, shedding="pictures")
        monkeypatch.setattr(Fleet, "status", lambda _self, _stream: status)
        checks = {check["name"]: check for check in http.get("/v1/health").json()["checks"]}
        told = "None is blind. More comes than can be looked at: door (key frames only)."
        assert checks["streams"] == {"name": "streams", "ok": True, "detail": told, "worth_a_look": True}


def test_health_tells_of_pictures_that_were_set_aside(settings: Settings, films: Path) -> None:
    with running(settings) as (service, http):
        door = StreamId(add(http, "door", films / "plain.mp4")["id"])
        service.ledger.captured(door, 3)
        service.ledger.parked(door, "EncoderError", 3)
        assert "could not be made sense of, the log says why: door (3)." in http.get("/v1/health").text


def test_health_tells_of_a_clock_that_nobody_keeps_right(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As advice, and nothing where the system does not say."""
    with running(settings) as (_, http):
        for kept, told in ((True, "is kept right"), (False, "set up NTP"), (None, "")):
            monkeypatch.setattr("api.health.synchronised", lambda kept=kept: kept)
            health = http.get("/v1/health").json()
            clock = [check for check in health["checks"] if check["name"] == "clock"]
            assert [told in check["detail"] and check["ok"] for check in clock] == ([True] if told else [])
            assert [check["worth_a_look"] for check in clock] == ([not kept] if told else [])
            assert health["ok"]


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
        assert checks["streams"] == {
            "name": "streams", "ok": True, "detail": "Blind: door (dark).", "worth_a_look": True,
        }  # fmt: skip
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
