"""HLS of what is stored: real recordings, played by ffmpeg over HTTP."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from api.compose import Service
from api.playlist import iso, media
from api.scope import extent
from api.settings import Settings
from ingest import reading
from ingest.child import source_details
from ingest.errors import Busy, StillRecording
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.orders import Orders
from ingest.records import Coverage, Moment, Segment, Span, StreamId, seconds
from ingest.sampling import Sampling
from ingest.sources import parse
from memory.store import StreamRow, schema
from tests.api.conftest import add, running
from tests.media import Clip, make, numbers_of

START = Moment(1_773_510_120_000_000)
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs Debian's ffmpeg")


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
    reading.job({"source": source_details(parse(str(film)), Guard([])), "task": task}, Limits(), said.append)
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


def listed(text: str) -> tuple[list[float], list[str]]:
    """How long its pieces are, and what they are called."""
    return [float(one) for one in re.findall(r"#EXTINF:([\d.]+)", text)], re.findall(r"^pieces.*", text, re.MULTILINE)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("film.mp4", Clip(gop=30)),
        ("film.mkv", Clip(gop=30)),
        ("film.ts", Clip(gop=30)),
        ("old.mkv", Clip(codec="mpeg4", sound="mp3", b_frames=0)),
    ],
)
def test_all_of_a_file_is_listed_before_any_of_it_is_made(
    name: str, how: Clip, http: httpx.Client, films: Path
) -> None:
    """Its end can be played first; and each piece is the same bytes whenever it is asked for, or a part of it."""
    made = replace(how, seconds=25, width=96, height=64)
    stream = add(http, "door", make(films / name, made))
    where = f"/v1/streams/{stream['id']}/"
    text = http.get(f"{where}playlist.m3u8").text
    assert text.endswith("#EXT-X-ENDLIST\n")
    assert "#EXT-X-PLAYLIST-TYPE:VOD" in text
    assert text.count("#EXT-X-MAP") == 1
    lengths, pieces = listed(text)
    assert len(pieces) >= 3
    assert sum(lengths) == pytest.approx(25, abs=0.15)
    assert max(lengths) <= 10
    last = http.get(where + pieces[-1])
    assert last.status_code == 200
    found = played(http, f"{where}playlist.m3u8")
    assert found["video"] == 25 * 25
    assert found["audio"] == pytest.approx(25 * (16_000 if "film.ts" != name != "old.mkv" else 48_000) / 1024, abs=9)
    shown = packets(http, f"{where}playlist.m3u8", "v")
    assert [round((after - before) * 25) for before, after in pairwise(shown)] == [1] * (25 * 25 - 1)
    again = http.get(where + pieces[-1], headers={"Range": "bytes=100-199", "If-Range": last.headers["etag"]})
    assert (again.status_code, again.content) == (206, last.content[100:200])


def test_a_file_is_sought_in_before_anything_else_of_it_is_made(
    http: httpx.Client, films: Path, tmp_path: Path
) -> None:
    stream = add(http, "door", make(films / "film.mp4", Clip(seconds=45, sound="")))
    where = f"/v1/streams/{stream['id']}/"
    text = http.get(f"{where}playlist.m3u8").text
    header = re.findall(r'#EXT-X-MAP:URI="(.*)"', text)[0]
    end = tmp_path / "end.mp4"
    end.write_bytes(http.get(where + header).content + http.get(where + listed(text)[1][-1]).content)
    assert numbers_of(end) == list(range(40 * 25, 45 * 25))
    assert len(list((tmp_path / "data" / "clips" / stream["id"]).iterdir())) == 2, "the header and the last piece"


def test_a_list_of_a_file_that_is_being_read_only_grows(settings: Settings, films: Path) -> None:
    with running(settings) as (service, http):
        stream = add(http, "door", make(films / "film.mp4", Clip(seconds=40, width=96, height=64)))
        row = service.store.streams.get("door")
        span = extent(service.store, row)
        assert span is not None
        with service.store.database.write() as connection:
            connection.execute(delete(schema.coverage).where(schema.coverage.c.stream == row.id))
        reading, texts = replace(row, state="reading"), []
        for to in (5, 22, 33, 39):
            with service.store.database.write() as connection:
                seen = Span(span.start, Moment(span.start + seconds(to)))
                service.store.timeline.record(connection, Coverage(StreamId(stream["id"]), 0, seen))
            try:
                texts.append(service.playlists.write(reading, span, live=False))
            except StillRecording:
                assert to == 5
        assert [len(listed(text)[1]) for text in texts] == [2, 3, 3]
        assert all("PLAYLIST-TYPE:EVENT" in text and "ENDLIST" not in text for text in texts)
        whole = service.playlists.write(row, span, live=False)
        assert all(listed(later)[1][: len(listed(text)[1])] == listed(text)[1] for text, later in pairwise(texts))
        assert listed(whole)[1][:3] == listed(texts[-1])[1]
        assert whole.endswith("#EXT-X-ENDLIST\n")


def test_what_is_erased_is_in_no_list_and_in_no_piece(http: httpx.Client, films: Path, tmp_path: Path) -> None:
    """Nor is what was listed before it was; up to the nearest key frames it is encoded, which is another header."""
    stream = add(http, "door", make(films / "film.mp4", Clip(seconds=40, width=96, height=64, gop=50)))
    before = listed(http.get("/v1/streams/door/playlist.m3u8").text)[1]
    assert all(http.get(f"/v1/streams/door/{piece}").status_code == 200 for piece in before[:2])
    http.post("/v1/erase", json={"stream": "door", "from": "00:13", "to": "00:15"})
    gone = [http.get(f"/v1/streams/door/{piece}").status_code for piece in before]
    assert gone == [200, 404, 200, 200]
    text = http.get("/v1/streams/door/playlist.m3u8").text
    assert text.count("#EXT-X-MAP") == 4, "copied, encoded on either side of what was erased, copied"
    assert sum(listed(text)[0]) == pytest.approx(38, abs=0.1)
    shown = []
    for run in text.split("#EXT-X-MAP:URI=")[1:]:
        names = [run.split('"')[1], *listed(run)[1]]
        part = tmp_path / "part.mp4"
        part.write_bytes(b"".join(http.get(f"/v1/streams/{stream['id']}/{name}").content for name in names))
        shown += numbers_of(part)
    assert shown == [*range(13 * 25), *range(15 * 25, 40 * 25)]


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
def test_of_a_file_a_stretch_is_listed_from_key_frame_to_key_frame(
    http: httpx.Client, films: Path, tmp_path: Path
) -> None:
    stream = add(http, "door", films / "two.mp4")
    for where, pictures in (("", 120), ("?from=00:03&to=00:06", 30), ("?from=00:03.5&to=00:05.5", 30)):
        for _ in range(2):
            assert http.get(f"/v1/streams/door/playlist.m3u8{where}").text.endswith("#EXT-X-ENDLIST\n")
            assert played(http, f"/v1/streams/door/playlist.m3u8{where}")["video"] == pictures
    assert len(list((tmp_path / "data" / "clips" / stream["id"]).iterdir())) == 3, "a header, all and a part"


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
            ("door/pieces/0-2-1.m4s", 400),
            ("door/pieces/0-x-1.m4s", 400),
            ("door/pieces/0-1-2.m4s", 404),
            ("door/pieces/0-1.mp4", 404),
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
        assert f"pieces/0-{FILMED_LATER}-" in left
        film = Path(service.store.streams.get("door").source)
        film.rename(film.with_suffix(".moved"))
        try:
            assert http.get("/v1/streams/door/playlist.m3u8").status_code == 404
            assert http.get(f"/v1/streams/door/{listed(left)[1][0]}").status_code == 404
        finally:
            film.with_suffix(".moved").rename(film)


FILMED_LATER = round(datetime.fromisoformat("2026-07-14T10:00:05Z").timestamp()) * 1_000_000


def test_a_segment_that_went_before_it_was_read_is_to_be_asked_for_again(tmp_path: Path) -> None:
    gone = Segment(StreamId("cam"), 0, Span(START, Moment(START + seconds(10))), str(tmp_path / "gone.mp4"), 1000)
    with pytest.raises(Busy, match="removed just now"):
        media(gone)
