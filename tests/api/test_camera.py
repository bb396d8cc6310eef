"""A camera over real RTSP through the whole service: watched, lost, found again, and honest about the time between."""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.profile import Models
from api.settings import Settings
from ingest.reasons import PARTLY, UNHEARD, UNSEEING
from models.fake import FakeEncoder, FakeSystem, FakeTranscriber
from tests.api.conftest import ask, running, wait_for
from tests.api.test_finishing import Slow, slow
from tests.ingest.conftest import RtspServer, Trap, rtsp, trap
from tests.ingest.test_protocols import Box, serving
from tests.media import Clip, make

__all__ = ["rtsp", "slow", "trap"]

pytestmark = [pytest.mark.service, pytest.mark.slow]


@pytest.mark.usefixtures("patient")
def test_a_camera_that_goes_and_comes_back(
    settings: Settings,
    rtsp: Callable[..., RtspServer],  # the fixture
) -> None:
    camera = rtsp()
    with running(settings) as (_, http):
        added = http.post("/v1/streams", json={"name": "door", "source": camera.url()})
        assert (added.status_code, added.json()["kind"]) == (201, "live"), added.text

        def state() -> dict[str, Any]:
            found: dict[str, Any] = http.get("/v1/streams/door").json()
            return found

        wait_for(lambda: state()["state"] == "live" and state()["counters"]["stored"] > 8)
        assert state()["last_frame_age_s"] < 10
        newest = http.get("/v1/streams/door/frame", params={"at": "now"})
        assert (
            newest.headers["content-type"] == "image/jpeg" or newest.status_code == 404
        )  # the fake keeps no thumbnail
        time.sleep(2)
        camera.kill()
        wait_for(lambda: state()["state"] == "offline")
        time.sleep(6)
        camera.start()
        wait_for(lambda: state()["state"] == "live")
        assert state()["reconnects"] >= 1
        assert re.search(r'hindsight_stream_reconnects_total\{stream="door"\} [1-9]', http.get("/metrics").text)
        [gap] = wait_for(lambda: http.get("/v1/streams/door/coverage").json()["gaps"])
        start, end = (datetime.fromisoformat(gap["span"][edge]) for edge in ("start", "end"))
        assert gap["reason"] in ("offline", "stalled")
        assert end - start >= timedelta(seconds=5)

        inside = {"from": (start + timedelta(seconds=1)).isoformat(), "to": (end - timedelta(seconds=1)).isoformat()}
        answer = ask(http, "what happened?", streams=["door"], **inside)
        assert "no video of door" in answer["text"]
        assert gap["reason"] in answer["text"]
        assert [one["reason"] for one in answer["gaps"]] == [gap["reason"]]

        assert http.post("/v1/streams/door/pause").json()["state"] == "paused"
        clip = http.get(
            "/v1/streams/door/clip",
            params={"from": (start - timedelta(seconds=2)).isoformat(), "to": start.isoformat()},
        )
        assert (clip.status_code, clip.headers["content-type"]) == (200, "video/mp4"), clip.text

        def paused() -> timedelta:
            """How long it has been paused, as far as that is told."""
            lasting = [one.end - one.start for one in told(http) if one.reason == "paused"]
            return lasting[0] if len(lasting) == 1 else timedelta()

        wait_for(lambda: paused() > timedelta(seconds=6))
        lately = {"from": "3 seconds ago", "to": "now"}
        answer = wait_for(lambda: (said := ask(http, "what happened?", streams=["door"], **lately))["gaps"] and said)
        assert "paused" in answer["text"], "a pause is a gap while it lasts"
        assert datetime.fromisoformat(state()["known_to"]) >= datetime.fromisoformat(state()["span"]["end"])
        assert not [one for one in told(http) if one.reason is None and one.end > told(http)[-1].start]
        http.post("/v1/streams/door/resume")
        wait_for(lambda: state()["state"] == "live")
        lasted = wait_for(paused)
        assert http.patch("/v1/streams/door", json={"sampling": "rate:1"}).status_code == 200
        wait_for(lambda: [one.reason for one in told(http)][-2:] == ["settings changed", None])
        assert paused() - lasted < timedelta(seconds=3), "what was told of the pause is all there was of it"
        counters = state()["counters"]
        lost = sum(counters["dropped"].values()) + sum(counters["parked"].values())
        assert counters["captured"] == counters["stored"] + lost + counters["in_flight"]


def test_an_endless_body_is_a_camera_whatever_its_address_ends_in(settings: Settings, tmp_path: Path) -> None:
    """As servers have it that make a video of a camera: `stream.ts`, `stream.mp4`. It stays one over a restart."""
    film = make(tmp_path / "film.ts", Clip(seconds=20)).read_bytes()
    with serving(type("Paced", (Box,), {"film": film, "seconds": 20.0})) as address:
        with running(settings) as (_, http):
            added = http.post("/v1/streams", json={"name": "door", "source": f"{address}/stream.ts"})
            assert (added.status_code, added.json()["kind"]) == (201, "live"), added.text
            wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "live")
        with running(settings) as (_, http):
            wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "live")
            gaps = wait_for(lambda: http.get("/v1/streams/door/coverage").json()["gaps"])
            assert gaps[0]["reason"] == "service stopped"


@pytest.mark.usefixtures("patient")
def test_every_moment_of_an_outage_has_one_reason_whatever_is_done_meanwhile(
    settings: Settings,
    rtsp: Callable[..., RtspServer],  # the fixture
) -> None:
    """Paused, resumed and restarted while the camera is away: what was watched and why not meet and do not overlap."""
    camera = rtsp()
    with running(settings) as (_, http):
        assert http.post("/v1/streams", json={"name": "door", "source": camera.url("silent")}).status_code == 201
        entered(http, "live")
        wait_for(lambda: http.get("/v1/streams/door").json()["counters"]["stored"] > 8)
        camera.kill()
        entered(http, "offline", "stalled")
        time.sleep(3)
        http.post("/v1/streams/door/pause")
        time.sleep(2)
        http.post("/v1/streams/door/resume")
        before = wait_for(lambda: (now := told(http))[-1].reason == "offline" and now[-2].reason == "paused" and now)
    time.sleep(1)
    with running(settings) as (_, http):
        entered(http, "offline")
        asked = ask(http, "what happened?", streams=["door"])
        for found in (asked, http.get("/v1/streams/door/coverage").json()):
            end = datetime.fromisoformat(found["gaps"][-1]["span"]["end"])
            assert end > before[-1].end, "without times, up to the newest that is known"
        camera.start()
        entered(http, "live")
        wait_for(lambda: len([one for one in told(http) if one.reason is None]) == 2)
        after = told(http)
    reasons = [one.reason for one in after]
    assert reasons[:4] == [None, before[1].reason, "paused", "offline"]
    assert reasons[4:] in (["service stopped", None], ["service stopped", "offline", None])
    assert after[:2] == before[:2], "what was told stays told"
    for earlier, later in itertools.pairwise(after):
        assert earlier.end <= later.start, (earlier, later)
        assert later.start - earlier.end < timedelta(seconds=1.5), (earlier, later)


@dataclass(frozen=True)
class Told:
    """A stretch of the timeline: watched, or not and why."""

    start: datetime
    end: datetime
    reason: str | None


def told(http: httpx.Client) -> list[Told]:
    found = http.get("/v1/streams/door/coverage", params={"from": "1 hour ago", "to": "now"}).json()
    unseen = [gap for gap in found["gaps"] if gap["reason"] not in UNSEEING | PARTLY | UNHEARD]
    spans = [(span, None) for span in found["covered"]] + [(gap["span"], gap["reason"]) for gap in unseen]
    edges = [(*(datetime.fromisoformat(span[edge]) for edge in ("start", "end")), why) for span, why in spans]
    return [Told(*one) for one in sorted(edges)]


def entered(http: httpx.Client, *states: str) -> None:
    wait_for(lambda: http.get("/v1/streams/door").json()["state"] in states)


@pytest.mark.usefixtures("patient")
def test_how_far_listening_lags_is_told(
    settings: Settings,
    rtsp: Callable[..., RtspServer],  # the fixture
) -> None:
    camera = rtsp()
    with running(settings, Models(FakeEncoder(), FakeSystem(), FakeTranscriber())) as (_, http):
        http.post("/v1/streams", json={"name": "door", "source": camera.url()})

        def lag() -> Any:
            return http.get("/v1/streams/door").json()["listening_lag_s"]

        assert lag() is None
        wait_for(lambda: lag() is not None)
        assert 0 <= lag() < 40
        assert 'hindsight_listening_lag_seconds{stream="door"}' in http.get("/metrics").text


def test_a_camera_that_says_nothing_is_added_and_what_refuses_is_not(
    settings: Settings,
    rtsp: Callable[..., RtspServer],  # the fixtures
    trap: Callable[..., Trap],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a machine that has too much to do no camera answers in time: it is one all the same."""
    camera, done = rtsp(), threading.Event()
    mute = trap(lambda visitor: (visitor.recv(1), done.wait(60)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    try:
        with running(settings) as (_, http):
            monkeypatch.setattr("api.streams.OPEN_S", 50.0)  # so that a slow machine does not cut short how it refuses
            for wrong in (f"rtsp://127.0.0.1:{closed}/cam", camera.url("no-such-path"), "rtsp://169.254.169.254/cam"):
                refused = http.post("/v1/streams", json={"name": "door", "source": wrong})
                assert (refused.status_code >= 400, bool(refused.json()["advice"])) == (True, True), refused.text
            assert http.get("/v1/streams").json() == []
            monkeypatch.setattr("api.streams.OPEN_S", 1.0)
            added = http.post("/v1/streams", json={"name": "door", "source": f"rtsp://127.0.0.1:{mute.port}/cam"})
            assert (added.status_code, added.json()["state"]) == (201, "connecting"), added.text
            entered(http, "offline")
            assert "did not answer" in http.get("/v1/streams/door").json()["detail"]
            monkeypatch.setattr("api.streams.OPEN_S", 10.0)
            moved = http.patch("/v1/streams/door", json={"source": camera.url()})
            assert moved.status_code == 200, moved.text
            entered(http, "live")
            monkeypatch.setattr("api.streams.OPEN_S", 1.0)
            lost = http.patch("/v1/streams/door", json={"source": f"rtsp://127.0.0.1:{mute.port}/cam"})
            assert lost.status_code == 424, "what is watched is not given up for an address that says nothing"
            entered(http, "live")
    finally:
        done.set()


@pytest.mark.usefixtures("patient")
def test_sound_that_was_under_way_when_the_service_ended_is_no_silence(
    settings: Settings,
    rtsp: Callable[..., RtspServer],  # the fixture
    slow: Slow,
) -> None:
    slow.go.set()
    with running(settings, Models(FakeEncoder(), FakeSystem(), slow)) as (service, http):
        http.post("/v1/streams", json={"name": "door", "source": rtsp().url()})

        def stream() -> dict[str, Any]:
            found: dict[str, Any] = http.get("/v1/streams/door").json()
            return found

        wait_for(lambda: stream()["listening_lag_s"] is not None)
        slow.go.clear()
        wait_for(lambda: stream()["listening_lag_s"] > 4)
        http.post("/v1/streams/door/pause")
        wait_for(lambda: stream()["counters"]["in_flight"] == 0)
        service.workers.stop.set()  # what is listened to from here on is not kept, as when it is killed
        slow.go.set()
    with running(settings, Models(FakeEncoder(), FakeSystem(), FakeTranscriber())) as (_, http):

        def unheard() -> list[dict[str, Any]]:
            found = http.get("/v1/streams/door/coverage").json()["gaps"]
            return [gap for gap in found if gap["reason"] == "unheard"]

        [gap] = wait_for(unheard)
        start, end = (datetime.fromisoformat(gap["span"][edge]) for edge in ("start", "end"))
        assert end - start > timedelta(seconds=4)
        watched = [one for one in told(http) if one.reason is None]
        assert watched[-1].start < start
        assert end == watched[-1].end
        assert "Not all that sounded was listened to" in ask(http, "zebra", streams=["door"])["text"]
        clip = http.get("/v1/streams/door/clip", params={"from": gap["span"]["start"], "to": gap["span"]["end"]})
        assert "unheard" not in str(clip.headers)
