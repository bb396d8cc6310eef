"""The segment that is being written: its whole fragments are shown, and what is still to come is said to be."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import av
import httpx
import pytest

from api.compose import Service
from api.playlist import iso
from api.settings import Settings
from api.times import utc
from api.views import Views
from ingest.clock import SystemClock
from ingest.recording import PART, being_written
from ingest.records import Moment, Segment, Span, StreamId, seconds
from memory.recordings import Recordings
from memory.store import StreamRow
from tests.api.conftest import running, wait_for
from tests.api.test_playlist import START, camera
from tests.ingest.conftest import RtspServer, rtsp
from tests.media import Clip, make, number_in

__all__ = ["rtsp"]

CAM = StreamId("cam")
BEGAN = Moment(START + seconds(60))
"""When the camera's second connection began: picture 0 of its film."""


def written(service: Service, kept: list[Segment]) -> Segment:
    """The longest segment of the second connection is not finished: the last of its fragments is cut off."""
    open_one = max((one for one in kept if one.epoch == 1), key=lambda one: one.span.duration)
    for one in kept:
        if one.epoch == 1:
            service.memory.recordings.remove([replace(one, path=one.path + ".kept")])
    source = Path(open_one.path)
    part = source.with_name(f"{open_one.epoch:05d}-{open_one.span.start}-{open_one.first_pts}.mp4{PART}")
    part.write_bytes(source.read_bytes()[:-2000])
    for one in kept:
        if one.epoch == 1:
            Path(one.path).unlink()
    return replace(open_one, path=str(part))


def clip(http: httpx.Client, start: int, end: int) -> httpx.Response:
    return http.get("/v1/streams/cam/clip", params={"from": iso(Moment(start)), "to": iso(Moment(end))})


def numbers(answer: httpx.Response) -> list[int]:
    with av.open(io.BytesIO(answer.content)) as container:
        return [number_in(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_the_newest_seconds_can_be_had_while_they_are_recorded(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        segment = written(service, camera(service, http, tmp_path, monkeypatch))
        known = service.memory.recordings.unfinished(segment.stream)
        assert known is not None
        assert known.span.start == segment.span.start
        assert segment.span.start + seconds(3.9) < known.span.end < segment.span.end, "all but the broken fragment"
        begin = segment.span.start
        first = round((begin - BEGAN) / 40_000)
        answer = clip(http, begin + seconds(2.5), begin + seconds(3.8))
        assert answer.status_code == 200, answer.text
        assert "Hindsight-Gaps" not in answer.headers
        assert numbers(answer)[:3] == [first + 50, first + 51, first + 52]
        assert set(numbers(answer)) >= set(range(first + 62, first + 95))
        answer = clip(http, begin + seconds(2.5), segment.span.end + seconds(5))
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        covered = answer.headers["Hindsight-Span"].split("/")[1]
        assert f"{covered}/" in answer.headers["Hindsight-Gaps"]
        assert answer.headers["Hindsight-Gaps"].endswith('reason="still being recorded"')
        later = clip(http, segment.span.end + seconds(5), segment.span.end + seconds(9))
        assert (later.status_code, later.headers["Retry-After"]) == (425, "10")
        assert later.json()["type"] == "urn:hindsight:still-recording"
        assert clip(http, segment.span.end + seconds(900), segment.span.end + seconds(909)).status_code == 404
        assert not list((settings.folder / "clips").glob(f"*/*{PART}"))
        Path(segment.path).write_bytes(b"")
        assert clip(http, begin - seconds(1), begin + seconds(3)).status_code == 425, "it has only just begun"


def test_an_alert_has_a_clip_from_the_first_moment_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        segment = written(service, camera(service, http, tmp_path, monkeypatch))
        views = Views(service.memory.recordings, service.clock, service.scopes, settings.usual)
        now = Span(Moment(segment.span.end - seconds(1)), segment.span.end)
        url = views.clip_url(segment.stream, now)
        assert url is not None
        assert http.get(url).status_code in (200, 425)
        never = Span(Moment(START - seconds(90)), Moment(START - seconds(80)))
        assert views.clip_url(segment.stream, never) is None


def test_what_is_in_a_segment_that_is_written_is_not_said_to_be_gone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        segment = written(service, camera(service, http, tmp_path, monkeypatch))
        begin = segment.span.start
        before = {"from": iso(START), "to": iso(Moment(START + seconds(2)))}
        receipt = http.post("/v1/erase", json={"stream": "cam", **before}).json()
        assert "recordings" in receipt["verified_gone"]
        assert receipt["note"] == ""
        within = {"from": iso(Moment(begin + seconds(1))), "to": iso(Moment(begin + seconds(2)))}
        receipt = http.post("/v1/erase", json={"stream": "cam", **within}).json()
        assert "recordings" not in receipt["verified_gone"]
        assert "still being written" in receipt["note"]
        assert clip(http, begin + seconds(1), begin + seconds(2)).status_code == 404
        final = Path(segment.path.removesuffix(PART))
        Path(segment.path).rename(final)
        service.memory.remember.handle([replace(segment, path=str(final))])
        assert not final.exists(), "it goes when it is finished"
        assert "recordings" in http.post("/v1/erase", json={"stream": "cam", **within}).json()["verified_gone"]


def test_with_a_stream_goes_what_was_being_written(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        segment = written(service, camera(service, http, tmp_path, monkeypatch))
        receipt = http.delete("/v1/streams/cam").json()
        assert "recordings" in receipt["verified_gone"]
        assert not Path(segment.path).exists()


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_a_camera_s_newest_seconds_can_be_had(
    settings: Settings,
    rtsp: Callable[..., RtspServer],  # the fixture
) -> None:
    """Over real RTSP, a key frame each second: of what was two seconds ago all is there nearly always."""
    camera = rtsp()
    with running(settings) as (service, http):
        assert http.post("/v1/streams", json={"name": "cam", "source": camera.url()}).status_code == 201
        wait_for(lambda: http.get("/v1/streams/cam").json()["counters"]["stored"] > 20)
        time.sleep(3)
        shown = deque[bool](maxlen=8)
        while sum(shown) < 6:
            time.sleep(1.3)
            now = service.clock.now()
            answer = clip(http, now - seconds(4), now - seconds(2.5))
            shown.append(answer.status_code != 425)
            if not shown[-1]:  # the segment was finished this moment, or the machine paused
                continue
            assert answer.status_code == 200, answer.text
            with av.open(io.BytesIO(answer.content)) as container:
                assert next(container.decode(video=0)).height == 180
            covered = datetime.fromisoformat(answer.headers["Hindsight-Span"].split("/")[1])
            assert covered >= utc(now - seconds(2.5)) or "still being recorded" in answer.headers["Hindsight-Gaps"]


def test_nothing_is_being_written_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "who.mp4.part").write_bytes(b"something else")
    assert being_written(tmp_path, Recordings.__name__) is None  # type: ignore[arg-type]


def test_what_is_whole_and_was_told_to_nobody_is_known_after_the_next_start(settings: Settings, tmp_path: Path) -> None:
    """As after a kill, or where a full disk kept it from being noted: no budget counted it, and no erasure found it."""
    began = Moment(SystemClock().now() - seconds(600))
    folder = settings.folder / "recordings" / CAM
    folder.mkdir(parents=True)
    film = make(tmp_path / "film.mp4", Clip(seconds=3, sound=""))
    told, untold = (folder / f"00001-{began + seconds(at)}-0.mp4" for at in (0, 10))
    for path in (told, untold, folder / "mine.mp4"):
        path.write_bytes(film.read_bytes())
    source = "rtsp://127.0.0.1:1/x"
    with running(settings) as (service, _):
        service.store.streams.add(StreamRow(CAM, "cam", "live", source, source, "offline", "", began))
        noted = Segment(CAM, 1, Span(began, Moment(began + seconds(3))), str(told), told.stat().st_size)
        service.memory.remember.handle([noted])
    with running(settings) as (service, _):
        kept = wait_for(lambda: len(found := service.store.timeline.segments(CAM)) == 2 and found)
    assert kept[0] == noted
    assert (kept[1].path, kept[1].span.start) == (str(untold), began + seconds(10))
    assert kept[1].span.duration == pytest.approx(seconds(3), abs=seconds(0.1))
    assert sorted(path.name for path in folder.iterdir()) == sorted([told.name, untold.name, "mine.mp4"])
