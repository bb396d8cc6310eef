"""What must not pass: what was erased, what is blank, what is malformed, what is there already."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from api.playlist import iso
from api.settings import Settings, load
from api.streams import checked_name
from ingest.errors import Invalid
from ingest.records import Coverage, Moment, Segment, Span, StreamId, seconds
from memory.store import StreamRow
from tests.api.conftest import add, ask, running
from tests.media import Clip, make

RULE = {"name": "red", "text": "something red moves"}


def test_a_clip_never_shows_what_was_erased(http: httpx.Client, films: Path) -> None:
    """A stream-copied clip begins at the key frame before: here a second that was erased."""
    stream = add(http, "film", films / "two.mp4")["id"]
    http.post("/v1/erase", json={"stream": stream, "from": "00:00:00", "to": "00:00:05.5"}).raise_for_status()
    clip = http.get(f"/v1/streams/{stream}/clip", params={"from": "00:00:05.7", "to": "00:00:07"})
    assert clip.status_code == 200
    import av

    with av.open(io.BytesIO(clip.content)) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
        assert container.duration is not None
        assert container.duration < 1_600_000
    assert first[2] > 150, "blue from 5 to 6 s, not the green or red before"
    assert first[0] < 100


def colours_of(film: bytes) -> list[tuple[float, str]]:
    """When the colour changes, in seconds of the film, and to which."""
    import av

    found: list[tuple[float, str]] = []
    with av.open(io.BytesIO(film)) as container:
        for frame in container.decode(video=0):
            mean = frame.to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
            name = ("red", "green", "blue")[int(mean.argmax())]
            if not found or found[-1][1] != name:
                assert frame.time is not None
                found.append((round(frame.time, 1), name))
    return found


def test_a_clip_around_what_was_erased_is_what_remains(http: httpx.Client, films: Path) -> None:
    """Red at 2–4 and 8–10 s, blue at 5–6 s, of which 3.5 to 6.5 s are erased."""
    stream = add(http, "film", films / "two.mp4")["id"]
    clip = f"/v1/streams/{stream}/clip"
    before = http.get(clip, params={"from": "00:00:01", "to": "00:00:12"})
    assert "hindsight-gaps" not in before.headers
    assert "blue" in str(colours_of(before.content))
    http.post("/v1/erase", json={"stream": stream, "from": "00:00:03.5", "to": "00:00:06.5"}).raise_for_status()
    after = http.get(clip, params={"from": "00:00:01", "to": "00:00:12"})
    assert after.status_code == 200, after.text
    assert colours_of(after.content) == [(0.0, "green"), (1.0, "red"), (5.5, "green"), (7.0, "red"), (9.0, "green")]
    assert after.headers["hindsight-gaps"] == (
        '2026-07-14T10:00:03.500000+00:00/2026-07-14T10:00:06.500000+00:00;reason="erased"'
    )
    assert after.headers["hindsight-label"] == "00%3A00%3A01%E2%80%9300%3A00%3A12"
    beyond = http.get(clip, params={"from": "00:00:04", "to": "00:00:08"})
    assert colours_of(beyond.content) == [(0.0, "green")], "it begins behind what was erased"
    assert "hindsight-gaps" not in beyond.headers
    assert http.get(clip, params={"from": "00:00:04", "to": "00:00:06"}).status_code == 404


def test_an_exact_clip_of_a_file_begins_with_the_picture_that_stands_then(http: httpx.Client, films: Path) -> None:
    """A picture lasts a tenth of a second; 3 ms of one are a clip, too."""
    stream = add(http, "film", films / "two.mp4")["id"]
    asked = {"from": "00:00:05.012", "to": "00:00:05.015", "exact": "true"}
    short = http.get(f"/v1/streams/{stream}/clip", params=asked)
    assert short.status_code == 200, short.text
    assert colours_of(short.content) == [(0.0, "blue")]
    assert "T10:00:05.012" in short.headers["hindsight-span"]


def test_a_clip_tells_what_of_its_time_is_recorded_no_more(settings: Settings, tmp_path: Path) -> None:
    """Watched all along, and expired between two stretches that are kept: the last picture stands there."""
    cam, film = StreamId("cam"), make(tmp_path / "film.mp4", Clip(seconds=4, sound=""))

    def span(first_s: int, last_s: int) -> Span:
        return Span(*(Moment(1_773_510_120_000_000 + seconds(at)) for at in (first_s, last_s)))

    kept = [Segment(cam, 0, one, str(film), film.stat().st_size) for one in (span(0, 4), span(12, 16))]
    row = StreamRow(cam, "cam", "live", "rtsp://127.0.0.1:9/cam", "", "paused", "", span(0, 1).start, paused=True)
    with running(settings) as (service, http):
        service.store.streams.add(row)
        with service.store.database.write() as connection:
            service.store.timeline.record(connection, Coverage(cam, 0, span(0, 16)))
            for segment in kept:
                service.store.timeline.record(connection, segment)
        for first, last, gaps in (
            (1, 15, ['2026-03-14T17:42:04+00:00/2026-03-14T17:42:12+00:00;reason="no recording"']),
            (1, 3, []),
        ):
            asked = {"from": iso(span(first, last).start), "to": iso(span(first, last).end)}
            clip = http.get("/v1/streams/cam/clip", params=asked)
            assert clip.status_code == 200, clip.text
            assert clip.headers.get_list("hindsight-gaps") == gaps


def test_no_picture_is_shown_of_another_time(http: httpx.Client, films: Path) -> None:
    stream = add(http, "film", films / "plain.mp4")["id"]
    assert http.get(f"/v1/streams/{stream}/frame", params={"at": "00:00:02"}).status_code == 200
    assert http.get(f"/v1/streams/{stream}/frame", params={"at": "00:59:00"}).status_code == 404
    http.post("/v1/erase", json={"stream": stream, "from": "00:00:01", "to": "00:00:03"}).raise_for_status()
    assert http.get(f"/v1/streams/{stream}/frame", params={"at": "00:00:02"}).status_code == 404


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_time_erases_nothing(http: httpx.Client, films: Path, blank: str) -> None:
    stream = add(http, "film", films / "plain.mp4")
    answer = http.post("/v1/erase", json={"stream": stream["id"], "from": blank, "to": blank})
    assert answer.status_code == 400, answer.text
    assert http.get(f"/v1/streams/{stream['id']}").json()["span"] == stream["span"]


@pytest.mark.parametrize("blank", ["   ", "\u0000", "?!"])
def test_a_question_without_a_word_is_refused(http: httpx.Client, blank: str) -> None:
    assert http.post("/v1/ask", json={"question": blank}).status_code == 400
    assert http.post("/v1/find", json={"event": blank}).status_code == 400
    assert http.post("/v1/rules", json={**RULE, "text": blank}).status_code == 400


@pytest.mark.parametrize(
    "name", ["..", ".", "a/b", " ", "\u200d", "\u200da", "a\u200d", "a\u200d\u200db", "a \u200d b"]
)
def test_names_can_be_addressed(http: httpx.Client, films: Path, name: str) -> None:
    assert http.post("/v1/rules", json={**RULE, "name": name}).status_code == 400
    assert http.post("/v1/streams", json={"name": name, "source": str(films / "plain.mp4")}).status_code == 400


def test_a_name_of_joined_signs_is_one(http: httpx.Client, films: Path) -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f\u200d\U0001f525 yard"
    stream = add(http, family, films / "plain.mp4")
    assert http.get(f"/v1/streams/{family}").json()["id"] == stream["id"]
    hits = http.post("/v1/find", json={"event": "something moves", "streams": [family]})
    assert hits.status_code == 200, hits.text
    for unseen in ("\u200d", "\u200da", "a\u200d", "a\u200d\u200db", "a \u200d b"):
        with pytest.raises(Invalid):
            checked_name(unseen)


@pytest.mark.parametrize("seconds", ["1e400", "1e300", "-1"])
def test_a_rule_lasts_a_time_that_can_pass(http: httpx.Client, seconds: str) -> None:
    body = f'{{"name": "red", "text": "something red moves", "hold_s": {seconds}}}'
    answer = http.post("/v1/rules", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text


def test_a_setting_that_there_is_not_is_named(http: httpx.Client) -> None:
    """In words, for the command line passes them on: `--set colour=red`."""
    told = http.patch("/v1/streams/door", json={"colour": "red"}).json()
    assert (told["status"], told["detail"]) == (400, 'Nothing here is called "colour".')


@pytest.mark.parametrize("headers", [{"Host": "["}, {"Host": "[::1"}, {"Origin": "http://["}])
def test_malformed_addresses_are_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    answer = http.post("/v1/find", json={"event": "something moves"}, headers=headers)
    assert answer.status_code == 403, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_half_a_character_and_a_number_beyond_all_are_refused(http: httpx.Client) -> None:
    half = b'{"event": "something moves", "streams": ["\\ud800"]}'
    assert http.post("/v1/find", content=half, headers={"Content-Type": "application/json"}).status_code in (400, 404)
    assert http.get("/v1/alerts/events", params={"since": "99999999999999999999"}).status_code == 400


def test_an_upload_becomes_one_stream(http: httpx.Client, films: Path) -> None:
    film = (films / "plain.mp4").read_bytes()
    upload = http.post("/v1/uploads", json={"filename": "界" * 120 + ".mp4", "size": len(film)}).json()["id"]
    over = http.put(f"/v1/uploads/{upload}", params={"offset": 0}, content=film + b"more")
    assert over.status_code == 413
    assert http.get(f"/v1/uploads/{upload}").json()["received"] == 0, "nothing of what was refused is kept"
    http.put(f"/v1/uploads/{upload}", params={"offset": 0}, content=film).raise_for_status()
    assert http.post(f"/v1/uploads/{upload}/complete", json={"name": "one"}).status_code == 201
    assert http.post(f"/v1/uploads/{upload}/complete", json={"name": "two"}).status_code == 409


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROOTS", "/tmp"),
        ("NETWORKS", '["zzz"]'),
        ("PRIVATE", "never"),
        ("LOG_LEVEL", "bogus"),
        ("DATABASE", "garbage"),
        ("SAMPLE_FLOOR_HZ", "10"),
    ],
)
def test_a_bad_setting_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"HINDSIGHT_{name}", value)
    with pytest.raises(Invalid, match=name.lower() if name == "ROOTS" else name):
        load()


def test_saving_touches_nothing_beside(http: httpx.Client, films: Path, tmp_path: Path) -> None:
    stream = add(http, "film", films / "plain.mp4")["id"]
    neighbour, wanted = tmp_path / "a.jpg.part", tmp_path / "a.jpg"
    neighbour.write_text("keep")
    command = [sys.executable, "-P", "-m", "api.cli", "frame", stream, "00:00:02", "-o"]
    environment = {**os.environ, "HINDSIGHT_PORT": str(http.base_url.port)}
    saved = subprocess.run(
        [*command, str(wanted)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert saved.returncode == 0, saved.stderr
    assert wanted.read_bytes()[:2] == b"\xff\xd8"
    assert neighbour.read_text() == "keep"
    refused = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode == 3, refused.stderr
    assert sorted(path.name for path in tmp_path.glob("*a.jpg*")) == ["a.jpg", "a.jpg.part"]


def test_what_was_erased_is_told_as_a_gap(http: httpx.Client, films: Path) -> None:
    stream = add(http, "film", films / "red.mp4")["id"]
    http.post("/v1/erase", json={"stream": stream, "from": "00:00:02", "to": "00:00:08"}).raise_for_status()
    found = http.get(f"/v1/streams/{stream}/coverage").json()
    offsets = [(one["start_offset_s"], one["end_offset_s"]) for one in found["covered"]]
    assert offsets == [(0.0, 2.0), (8.0, pytest.approx(12.0, abs=0.3))]
    assert [(gap["reason"], gap["span"]["start_offset_s"]) for gap in found["gaps"]] == [("erased", 2.0)]
    answer = ask(http, "red?", streams=[stream], **{"from": "00:00:03", "to": "00:00:07"})
    assert not answer["found"]
    assert "There is no video" in answer["text"]
    assert "erased" in answer["text"]
