"""HLS of what is stored: real recordings, played by ffmpeg over HTTP."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.compose import Service
from api.playlist import iso
from api.settings import Settings
from ingest import reading
from ingest.child import source_details
from ingest.limits import Limits
from ingest.orders import Orders
from ingest.records import Coverage, Moment, Segment, Span, StreamId, seconds
from ingest.sampling import Sampling
from ingest.sources import parse
from memory.store import StreamRow
from tests.api.conftest import add, running
from tests.media import Clip, make, numbers_of

START = Moment(1_773_510_120_000_000)
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs Debian's ffmpeg")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else the machine does: there is time for all of a list, where a test does not say otherwise."""
    monkeypatch.setattr("api.playlist.PATIENCE_S", 600.0)


def played(http: httpx.Client, where: str) -> dict[str, int]:
    """How many packets of pictures and of sound a player finds, all of them decoded without a word of complaint."""
    url = str(http.base_url.join(where))
    said = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_type,nb_read_frames", "-of",
         "csv=p=0", url], capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert said.stderr == ""
    found = re.findall(r"(video|audio),(\d+)", said.stdout)
    return {kind: int(count) for kind, count in found}


def packets(http: httpx.Client, where: str, track: str) -> list[float]:
    """When each packet of a track is shown, in order, seconds."""
    said = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", track, "-show_entries", "packet=pts_time", "-of", "csv=p=0",
         str(http.base_url.join(where))], capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return sorted(float(line.strip(",")) for line in said.stdout.split())


def record(film: Path, folder: Path, stream: str, start: Moment, monkeypatch: pytest.MonkeyPatch) -> list[Segment]:
    """What the recorder makes of a camera that sends `film`."""
    said: list[Any] = []
    task = {
        "stream": stream, "live": True, "epoch": 0, "starts_at": start, "sampling": asdict(Sampling()), "audio": True,
        "resume": None, "heard": None, "skip": None, "folder": str(folder), "segment_s": 10.0,
    }  # fmt: skip
    monkeypatch.setattr(Orders, "end", lambda _self: False)
    reading.job({"source": source_details(parse(str(film)), ()), "task": task}, Limits(), said.append)
    return [message for message in said if isinstance(message, Segment)]


def camera(
    service: Service, http: httpx.Client, folder: Path, monkeypatch: pytest.MonkeyPatch, *, again_s: float = 60
) -> list[Segment]:
    """A camera that is paused and left 26 seconds, and then, `again_s` after the first of them, 12 seconds."""
    stream = StreamId("s-cam")
    row = StreamRow(stream, "cam", "live", "rtsp://127.0.0.1:9/cam", "", "paused", "", START, paused=True)
    service.store.streams.add(row)
    kept: list[Segment] = []
    for epoch, (length, begin) in enumerate([(26.0, START), (12.0, Moment(START + seconds(again_s)))]):
        film = make(folder / f"{epoch}.mp4", Clip(seconds=length))
        found = record(film, service.settings.folder / "recordings" / stream, stream, begin, monkeypatch)
        shift = begin - found[0].span.start
        spans = [Span(Moment(one.span.start + shift), Moment(one.span.end + shift)) for one in found]
        pairs = zip(found, spans, strict=True)
        kept += [Segment(stream, epoch, span, one.path, one.size, one.first_pts) for one, span in pairs]
    with service.store.database.write() as connection:
        for segment in kept:
            service.store.timeline.record(connection, segment)
            service.store.timeline.record(connection, Coverage(stream, segment.epoch, segment.span))
    return kept


@needs_ffmpeg
def test_of_a_clock_that_was_put_back_both_epochs_are_played_one_behind_the_other(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins before the first, and ends in it. A list that goes on has what came last."""
    with running(settings) as (service, http):
        kept = camera(service, http, tmp_path, monkeypatch, again_s=-5)
        asked = f"from={iso(Moment(START - seconds(5)))}&to={iso(Moment(START + seconds(26)))}"
        text = http.get(f"/v1/streams/cam/playlist.m3u8?{asked}").text
        named = re.findall(r"segments/(\d+)-(\d+)\.m4s", text)
        assert named == [(str(one.epoch), str(one.span.start)) for one in kept]
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1
        frames = played(http, f"/v1/streams/cam/playlist.m3u8?{asked}")["video"]
        assert frames > 25 * 26, "ffmpeg heeds no discontinuity, and leaves out some of what goes back"
        clip = http.get(f"/v1/streams/cam/clip?{asked}")
        assert clip.status_code == 200
        (tmp_path / "clip.mp4").write_bytes(clip.content)
        numbers = numbers_of(tmp_path / "clip.mp4")
        assert numbers == [*range(25 * 12), *range(25 * 26)], "each from its first picture to its last"
        assert clip.headers["hindsight-span"].startswith(iso(Moment(START - seconds(5)))[:19])
        monkeypatch.setattr(service.clock, "now", lambda: Moment(START + seconds(8)))
        list_of_now = http.get(f"/v1/streams/cam/playlist.m3u8?from={iso(Moment(START - seconds(5)))}").text
        assert {epoch for epoch, _ in re.findall(r"segments/(\d+)-(\d+)\.m4s", list_of_now)} == {"1"}
        assert f"#EXT-X-MEDIA-SEQUENCE:{sum(one.epoch == 0 for one in kept)}\n" in list_of_now


@needs_ffmpeg
def test_a_camera_s_recordings_are_played_as_they_are_stored(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        kept = camera(service, http, tmp_path, monkeypatch)
        asked = f"from={iso(kept[0].span.start)}&to={iso(kept[-1].span.end)}"
        answer = http.get(f"/v1/streams/cam/playlist.m3u8?{asked}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.apple.mpegurl")
        text = answer.text
        assert text.endswith("#EXT-X-ENDLIST\n")
        assert text.count("#EXT-X-MAP:") == 2
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1
        lengths = [float(length) for length in re.findall(r"#EXTINF:([\d.]+)", text)]
        assert sum(lengths) == pytest.approx(sum(one.span.duration for one in kept) / 1e6, abs=1e-3)
        assert max(lengths) <= 10
        dates = [datetime.fromisoformat(date) for date in re.findall(r"DATE-TIME:(\S+)", text)]
        jumps = [
            later - date - timedelta(seconds=length)
            for date, later, length in zip(dates[:-1], dates[1:], lengths[:-1], strict=True)
        ]
        apart = next(s.span.start for s in kept if s.epoch == 1)
        before = max(s.span.end for s in kept if s.epoch == 0)
        assert [round(jump.total_seconds(), 2) for jump in jumps if abs(jump) > timedelta(milliseconds=5)] == [
            round((apart - before) / 1e6, 2)
        ]
        pictures = played(http, f"/v1/streams/cam/playlist.m3u8?{asked}")
        assert pictures["video"] == 38 * 25
        assert pictures["audio"] >= 38 * 16_000 // 1024
        part = kept[0]
        whole = http.get(f"/v1/streams/cam/segments/{part.epoch}-{part.span.start}.mp4")
        assert whole.content == Path(part.path).read_bytes()


def test_a_playlist_without_an_end_only_grows(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        kept = camera(service, http, tmp_path, monkeypatch)
        begin = iso(kept[0].span.start)
        assert http.get("/v1/streams/cam/playlist.m3u8").status_code == 404  # nothing was seen yet
        moved = http.get("/v1/streams/cam/playlist.m3u8?from=10 minutes ago")
        assert moved.status_code == 307
        assert moved.headers["location"].startswith("playlist.m3u8?from=20")
        span = Span(kept[0].span.start, kept[-1].span.end)
        row = service.store.streams.get("cam")
        first = service.playlists.write(row, span, live=True)
        later = Segment(row.id, 2, Span(Moment(span.end), Moment(span.end + seconds(10))), kept[0].path, kept[0].size)
        with service.store.database.write() as connection:
            service.store.timeline.record(connection, later)
            service.store.timeline.record(connection, Coverage(row.id, 2, later.span))
        grown = service.playlists.write(row, Span(span.start, later.span.end), live=True)
        assert "#EXT-X-PLAYLIST-TYPE" not in first
        assert "#EXT-X-MEDIA-SEQUENCE:0\n" in first
        assert "#EXT-X-TARGETDURATION:10\n" in first
        assert "ENDLIST" not in grown
        assert grown.startswith(first)
        assert len(grown) > len(first)
        too_long = http.get(f"/v1/streams/cam/playlist.m3u8?from={begin}&to=now")
        assert (too_long.status_code, too_long.json()["advice"]) == (413, "Ask for a shorter stretch.")


def test_a_playlist_that_is_kept_open_for_longer_than_a_day_slides(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        kept = camera(service, http, tmp_path, monkeypatch)
        row = service.store.streams.get("cam")
        begin = kept[0].span.start
        for number, hours in enumerate((20, 24.5, 40), start=2):
            at = Moment(begin + seconds(hours * 3600))
            later = Segment(row.id, number, Span(at, Moment(at + seconds(10))), kept[0].path, kept[0].size)
            with service.store.database.write() as connection:
                service.store.timeline.record(connection, later)
                service.store.timeline.record(connection, Coverage(row.id, number, later.span))
        whole, slid, further = (
            service.playlists.write(row, Span(begin, Moment(begin + seconds(hours * 3600))), live=True)
            for hours in (24, 24.6, 46)
        )
        names = [[line for line in text.splitlines() if line.endswith(".m4s")] for text in (whole, slid, further)]
        assert [len(one) for one in names] == [len(kept) + 1, 2, 2]
        assert names[0][-1] == names[1][0]
        assert names[1][-1] == names[2][0]
        sequences = [re.findall(r"SEQUENCE:(\d+)", text) for text in (whole, slid, further)]
        assert sequences == [["0", "0"], [str(len(kept)), "2"], [str(len(kept) + 1), "3"]]
        again = service.playlists.write(row, Span(begin, Moment(begin + seconds(24 * 3600))), live=True)
        assert again == whole, "another player that began then, or what has an end"


@needs_ffmpeg
def test_a_file_longer_than_a_clip_may_be_is_played_in_pieces(
    http: httpx.Client, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces begin at key frames, once a second: nothing is shown twice, and nothing is left out."""
    add(http, "door", films / "two.mp4")
    monkeypatch.setattr("api.footage.LONGEST_CLIP", seconds(6))
    monkeypatch.setattr("api.playlist.PIECE", seconds(2.5))
    clip = {"from": "00:00", "to": "00:12"}
    assert http.get("/v1/streams/door/clip", params=clip).status_code == 413
    text = http.get("/v1/streams/door/playlist.m3u8").text
    assert len(set(re.findall(r"^fragments.*", text, re.MULTILINE))) == 5
    assert sum(float(one) for one in re.findall(r"#EXTINF:([\d.]+)", text)) == pytest.approx(12, abs=0.1)
    assert played(http, "/v1/streams/door/playlist.m3u8")["video"] == 120


@needs_ffmpeg
@pytest.mark.parametrize(("codec", "sound"), [("mpeg4", "mp3"), ("libx265", "aac")])
def test_what_has_to_be_encoded_is_made_while_it_is_played(
    codec: str, sound: str, http: httpx.Client, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list has what there was time for, goes on when it is asked for again, and its pictures come once each."""
    monkeypatch.setattr("api.playlist.PATIENCE_S", 0.0)
    monkeypatch.setattr("api.playlist.PART_US", seconds(2))
    made = Clip(seconds=11, codec=codec, sound=sound, b_frames=0)
    add(http, "door", make(films / f"old.{'mkv' if codec == 'mpeg4' else 'mp4'}", made))
    lists = [http.get("/v1/streams/door/playlist.m3u8").text for _ in range(4)]
    assert [text.count("#EXTINF") for text in lists] == [1, 3, 6, 6]
    assert ["ENDLIST" in text for text in lists] == [False, False, True, True]
    assert all("#EXT-X-PLAYLIST-TYPE:EVENT" in text for text in lists)
    assert all(later.startswith(text.replace("#EXT-X-ENDLIST\n", "")) for text, later in pairwise(lists))
    assert lists[-1].count("#EXT-X-MAP") == 1
    found = played(http, "/v1/streams/door/playlist.m3u8")
    assert found["video"] == 11 * 25
    assert found["audio"] == pytest.approx(11 * 48_000 / 1024, abs=7)
    times = packets(http, "/v1/streams/door/playlist.m3u8", "v")
    assert [round((after - before) * 25) for before, after in pairwise(times)] == [1] * (11 * 25 - 1)


@needs_ffmpeg
def test_a_player_follows_a_list_that_is_being_made(
    http: httpx.Client, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.playlist.PATIENCE_S", 0.0)
    monkeypatch.setattr("api.playlist.PART_US", seconds(2))
    add(http, "door", make(films / "old.mkv", Clip(seconds=7, codec="mpeg4", sound="mp3", b_frames=0)))
    assert played(http, "/v1/streams/door/playlist.m3u8")["video"] == 7 * 25


def test_of_a_codec_that_many_players_do_not_take_it_is_said(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        for codec, advised in (("libx265", True), ("libx264", False)):
            stream = StreamId(codec)
            row = StreamRow(stream, codec, "live", "rtsp://127.0.0.1:9/cam", "", "paused", "", START, paused=True)
            service.store.streams.add(row)
            film = make(tmp_path / f"{codec}.mp4", Clip(seconds=3, codec=codec, gop=25))
            kept = record(film, settings.folder / "recordings" / stream, codec, START, monkeypatch)
            with service.store.database.write() as connection:
                for segment in kept:
                    service.store.timeline.record(connection, segment)
                    service.store.timeline.record(connection, Coverage(stream, segment.epoch, segment.span))
            asked = {"from": iso(kept[0].span.start), "to": iso(kept[-1].span.end)}
            answer = http.get(f"/v1/streams/{codec}/playlist.m3u8", params=asked)
            assert answer.status_code == 200, answer.text
            assert ("H.264" in answer.headers.get("Hindsight-Advice", "")) == advised


@needs_ffmpeg
def test_a_file_is_copied_for_its_playlist_once(http: httpx.Client, films: Path, tmp_path: Path) -> None:
    stream = add(http, "door", films / "two.mp4")
    for where, pictures in (("", [120]), ("?from=00:03&to=00:06", [30, 31])):
        assert http.get(f"/v1/streams/door/playlist.m3u8{where}").text.endswith("#EXT-X-ENDLIST\n")
        assert played(http, f"/v1/streams/door/playlist.m3u8{where}")["video"] in pictures
    assert len(list((tmp_path / "data" / "clips" / stream["id"]).iterdir())) == 2


def test_what_has_no_recording_has_no_playlist(
    settings: Settings, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        kept = camera(service, http, tmp_path, monkeypatch)
        add(http, "door", films / "two.mp4")
        for where, status in (
            ("nobody/playlist.m3u8", 404),
            ("door/playlist.m3u8?from=00:40&to=00:50", 404),
            ("door/playlist.m3u8?from=00:05&to=00:05", 400),
            ("door/fragments.mp4", 400),
            ("cam/segments/0-1.mp4", 404),
        ):
            answer = http.get(f"/v1/streams/{where}")
            assert (answer.status_code, bool(answer.json()["advice"])) == (status, True), (where, answer.text)
        first = kept[0]
        gone = {"from": iso(first.span.start), "to": iso(Moment(first.span.start + seconds(1)))}
        http.post("/v1/erase", json={"stream": "door", "from": "00:00", "to": "00:05"})
        assert http.post("/v1/erase", json={"stream": "cam", **gone}).status_code == 200
        assert http.get(f"/v1/streams/cam/segments/0-{first.span.start}.mp4").status_code == 404
        assert http.get("/v1/streams/cam/playlist.m3u8", params=gone).status_code == 404
        assert http.get("/v1/streams/door/playlist.m3u8?from=00:01&to=00:04").status_code == 404
        left = http.get("/v1/streams/door/playlist.m3u8").text
        assert left.count("#EXT-X-MAP") == 1
        assert f"from={FILMED_LATER}" in left


FILMED_LATER = "2026-07-14T10:00:05.000000Z"
