"""Sprite sheets of a film whose truth is its colour."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from PIL import Image

from api.profile import Models
from api.settings import Settings
from ingest.records import Feature, Frame
from models.fake import FakeEncoder, FakeSystem
from tests.api.conftest import add, running


class Keeping(FakeEncoder):
    """An encoder that keeps a picture of every frame."""

    def encode(self, frames: Sequence[Frame]) -> list[Feature]:
        return [
            replace(feature, thumbnail=jpeg(frame))
            for feature, frame in zip(super().encode(frames), frames, strict=True)
        ]


def jpeg(frame: Frame) -> bytes:
    held = io.BytesIO()
    Image.fromarray(frame.pixels).save(held, "JPEG")
    return held.getvalue()


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with running(settings, Models(Keeping(), FakeSystem())) as (_, client):
        yield client


def colours(jpeg: bytes, track: str) -> list[str]:
    """What the middle of each place shows that the track names."""
    names = []
    with Image.open(io.BytesIO(jpeg)) as opened:
        sheet = opened.convert("RGB")
    for left, top, width, height in re.findall(r"#xywh=(\d+),(\d+),(\d+),(\d+)", track):
        pixel = sheet.getpixel((int(left) + int(width) // 2, int(top) + int(height) // 2))
        assert isinstance(pixel, tuple)
        most = max(range(3), key=lambda at, pixel=pixel: pixel[at])  # type: ignore[misc]
        names.append(("red", "green", "blue")[most] if max(pixel) > 100 else "black")
    return names


def test_each_place_shows_its_time(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "red.mp4")  # red from 4 to 7 s of 12
    track = http.get("/v1/streams/door/sprite.vtt?count=3&columns=2")
    assert track.headers["content-type"].startswith("text/vtt")
    [url] = {line.partition("#")[0] for line in track.text.splitlines() if line.startswith("sprite.jpg")}
    answer = http.get(f"/v1/streams/door/{url}")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as sheet:
        assert sheet.size == (2 * 160, 2 * 90)
    assert colours(answer.content, track.text) == ["green", "red", "green"]
    assert "00:00:08.000 --> 00:00:12.000" in track.text


def test_what_was_erased_is_black(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "red.mp4")
    http.post("/v1/erase", json={"stream": "door", "from": "00:04", "to": "00:08"})
    asked = "from=00:00&to=00:12&count=3"
    sheet = http.get(f"/v1/streams/door/sprite.jpg?{asked}").content
    shown = colours(sheet, http.get(f"/v1/streams/door/sprite.vtt?{asked}").text)
    assert shown == ["green", "black", "green"]
    assert http.get("/v1/streams/door/sprite.jpg?from=00:04&to=00:08").status_code == 404


def test_sheets_are_bounded(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "plain.mp4")
    for where, status in (
        ("door/sprite.jpg?count=101", 400),
        ("door/sprite.jpg?columns=21", 400),
        ("door/sprite.vtt?from=00:02&to=00:02", 400),
        ("door/sprite.jpg?from=00:40&to=00:50", 404),
        ("nobody/sprite.jpg", 404),
    ):
        answer = http.get(f"/v1/streams/{where}")
        assert (answer.status_code, bool(answer.json()["advice"])) == (status, True), where
