"""Subtitles of real files, written by the ffmpeg binary: read as they are, in time, in order with what is heard."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest

from ingest.capture import CapturePlan
from ingest.records import MICROSECONDS, Mark, Moment, Sound, Utterance
from ingest.sources import parse
from models.fake import FakeEncoder, FakeTranscriber
from models.hear import HearStage
from tests.ingest.conftest import STREAM, Harvest
from tests.media import Clip, make

WRITTEN = """1
00:00:01,000 --> 00:00:02,500
<i>Hello, there</i>
- you, too

2
00:00:04,000 --> 00:00:05,000
Help me!

3
00:00:11,500 --> 00:00:12,000
The end
"""
SAID = [(1.0, 2.5, "Hello, there - you, too"), (4.0, 5.0, "Help me!"), (11.5, 12.0, "The end")]
START = Moment(1_780_000_000_000_000)


def film(folder: Path, codec: str, container: str, sound: str, times: int = 1) -> Path:
    if which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: there is nothing to write subtitles with")
    plain = make(folder / "plain.mp4", Clip(seconds=14, sound=sound))
    (folder / "said.srt").write_text(WRITTEN)
    path = folder / f"film.{container}"
    command = ["ffmpeg", "-v", "error", "-i", str(plain), "-i", str(folder / "said.srt"), "-c", "copy", "-c:s", codec]
    tracks = ["-map", "0", *["-map", "1"] * times, "-metadata:s:s", "language=deu"]
    subprocess.run([*command, *tracks, str(path)], check=True)
    return path


def captions(harvest: Harvest) -> list[Utterance]:
    return [one for sound in harvest.of(Sound) for one in sound.captions]


@pytest.mark.parametrize("sound", ["aac", ""], ids=["with sound", "silent"])
@pytest.mark.parametrize(
    ("codec", "container"), [("srt", "mkv"), ("ass", "mkv"), ("webvtt", "mkv"), ("mov_text", "mp4")]
)
def test_subtitles_are_read_as_they_are(
    codec: str, container: str, sound: str, harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    made = harvest()
    path = film(tmp_path, codec, container, sound)
    made.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START))
    found = captions(made)
    assert [one.text for one in found] == [text for _, _, text in SAID]
    for one, (start, end, _) in zip(found, SAID, strict=True):
        assert (one.span.start - START) / MICROSECONDS == pytest.approx(start, abs=0.1)
        assert (one.span.end - START) / MICROSECONDS == pytest.approx(end, abs=0.1)
        assert (one.kind, one.language) == ("subtitle", "deu")
    for record in made.of(Sound):
        for one in record.captions:
            assert one.pts < record.pts + max(1, record.span.duration)


def test_a_track_that_is_there_twice_is_read_once(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    made = harvest()
    made.finish(CapturePlan(STREAM, parse(str(film(tmp_path, "mov_text", "mp4", "aac", times=2))), starts_at=START))
    assert [one.text for one in captions(made)] == [text for _, _, text in SAID]


def test_what_was_listened_to_is_not_read_again(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    path = film(tmp_path, "srt", "mkv", "aac")
    first = harvest()
    first.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START))
    heard = first.of(Sound)[0].last
    again = harvest()
    again.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START, resume=Mark(0, 0, START), heard=heard))
    assert [one.text for one in captions(again)] == ["The end"]


def test_the_stage_hands_on_both_in_order(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    made = harvest()
    made.finish(CapturePlan(STREAM, parse(str(film(tmp_path, "srt", "mkv", "aac"))), starts_at=START))
    told = HearStage(FakeTranscriber(), FakeEncoder()).handle(made.of(Sound))
    places = [record.pts for record in told if record.key.endswith("/sound")]
    assert len(places) >= len(SAID)
    assert places == sorted(set(places))
