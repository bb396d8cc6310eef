"""Uploads in pieces: continued, refused, thrown away; no half-written state."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from api.settings import Settings
from api.streams import Streams
from api.uploads import Uploads, safe_filename
from ingest.clock import FakeClock
from ingest.errors import Invalid
from tests.api.conftest import FILMED, wait_for


def send(http: httpx.Client, file: Path, piece: int = 5000) -> str:
    data = file.read_bytes()
    upload: str = http.post("/v1/uploads", json={"filename": file.name, "size": len(data)}).json()["id"]
    for offset in range(0, len(data), piece):
        answer = http.put(f"/v1/uploads/{upload}", params={"offset": offset}, content=data[offset : offset + piece])
        assert answer.json()["received"] == min(offset + piece, len(data))
    return upload


def test_a_file_in_pieces_becomes_a_stream(http: httpx.Client, films: Path, tmp_path: Path) -> None:
    upload = send(http, films / "red.mp4")
    stored = tmp_path / "data" / "uploads" / upload / "red.mp4"
    assert stored.read_bytes() == (films / "red.mp4").read_bytes()
    done = http.post(f"/v1/uploads/{upload}/complete", json={"name": "sent", "starts_at": FILMED})
    assert done.status_code == 201, done.text
    wait_for(lambda: http.get("/v1/streams/sent").json()["state"] == "finished")
    assert len(http.post("/v1/find", json={"event": "red"}).json()["hits"]) == 1
    receipt = http.delete("/v1/streams/sent").json()
    assert receipt["removed"]["uploads"] == 1
    assert not stored.exists()


def test_an_interrupted_upload_continues_where_it_stopped(http: httpx.Client) -> None:
    upload = http.post("/v1/uploads", json={"filename": "a.mp4", "size": 10}).json()["id"]
    http.put(f"/v1/uploads/{upload}", params={"offset": 0}, content=b"01234")
    again = http.put(f"/v1/uploads/{upload}", params={"offset": 0}, content=b"01234")
    assert again.status_code == 409
    assert "offset 5" in again.json()["advice"]
    assert http.get(f"/v1/uploads/{upload}").json()["received"] == 5
    early = http.post(f"/v1/uploads/{upload}/complete", json={"name": "a"})
    assert (early.status_code, early.json()["type"]) == (409, "urn:hindsight:conflict")
    over = http.put(f"/v1/uploads/{upload}", params={"offset": 5}, content=b"56789x")
    assert over.status_code == 413
    assert http.get(f"/v1/uploads/{upload}").json()["received"] <= 10


@pytest.mark.parametrize("content", [b"this is text and no video at all" * 40, b"\0" * 5000])
def test_what_is_no_video_becomes_nothing(http: httpx.Client, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.mp4").write_bytes(content)
    upload = send(http, tmp_path / "fake.mp4")
    answer = http.post(f"/v1/uploads/{upload}/complete", json={"name": "fake"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:hindsight:not-video")
    assert answer.json()["advice"]
    assert http.get("/v1/streams").json() == []
    assert http.get(f"/v1/uploads/{upload}").status_code == 404
    assert list((tmp_path / "data" / "uploads").iterdir()) == []


def test_no_more_than_the_disk_holds_or_the_limit_allows(http: httpx.Client) -> None:
    assert http.post("/v1/uploads", json={"filename": "a.mp4", "size": 10**15}).status_code == 413
    assert http.post("/v1/uploads", json={"filename": "a.mp4", "size": 0}).status_code == 400


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a.mp4", "a.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\b.mkv", "b.mkv"),
        ("…/ünï cödé.mp4", "ünï cödé.mp4"),
        (".hidden", "hidden"),
        ("upload.json", "upload.mp4"),
        ("a\0b\n.mp4", "a_b_.mp4"),
    ],
)
def test_filenames_are_only_names(said: str, kept: str) -> None:
    assert safe_filename(said) == kept


def test_a_name_that_is_none() -> None:
    with pytest.raises(Invalid):
        safe_filename("../..")


def test_what_nobody_continued_is_swept_and_a_stream_s_film_stays(tmp_path: Path) -> None:
    """Also what a crash left without its note or without its file."""
    uploads = tmp_path / "uploads"
    for name, files in {"a": ["upload.json"], "b": ["film.mp4"], "c": ["upload.json", "film.mp4"], "d": []}.items():
        (uploads / f"u{name * 16}").mkdir(parents=True)
        for file in files:
            (uploads / f"u{name * 16}" / file).touch()
    kept = uploads / f"u{'c' * 16}" / "film.mp4"
    clock = FakeClock(time.time_ns() // 1000)
    sweeper = Uploads(cast(Streams, SimpleNamespace()), clock, Settings(data=tmp_path))
    sweeper.sweep({str(kept)})
    assert len(list(uploads.iterdir())) == 4, "all of them are new"
    clock.advance(2 * 86_400)
    sweeper.sweep({str(kept)})
    assert list(uploads.iterdir()) == [kept.parent]
