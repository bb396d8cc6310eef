"""Subtitles of real files, written by the ffmpeg binary: read as they are, in time, in order with what is heard."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest

from ingest.capture import CapturePlan, Ways
from ingest.limits import Limits
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


def film(folder: Path, codec: str, container: str, sound: str, times: int = 1, *, length_s: float = 14) -> Path:
    if which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: there is nothing to write subtitles with")
    plain = make(folder / "plain.mp4", Clip(seconds=length_s, sound=sound))
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
        assert (one.kind, one.language) == ("subtitle", "de")
    for record in made.of(Sound):
        for one in record.captions:
            assert one.pts < record.pts + max(1, record.span.duration)


VTT = "WEBVTT\n\n" + WRITTEN.replace(",000", ".000").replace(",500", ".500")


@pytest.mark.parametrize("sound", ["aac", ""], ids=["with sound", "silent"])
@pytest.mark.parametrize(
    ("name", "written", "language"),
    [
        ("film.srt", WRITTEN.encode(), "und"),
        ("film.de.srt", WRITTEN.encode("utf-8-sig"), "de"),
        ("film.pt-BR.forced.vtt", VTT.encode(), "pt-BR"),
        ("film.en.SRT", WRITTEN.encode("utf-16"), "en"),
    ],
)
def test_files_beside_a_film_are_read_as_its_tracks_are(
    name: str, written: bytes, language: str, sound: str, harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    path = make(tmp_path / "film.mp4", Clip(seconds=14, sound=sound))
    (tmp_path / name).write_bytes(written)
    (tmp_path / "film2.srt").write_text(WRITTEN.replace("Help", "Another film's"))
    (tmp_path / "film.part2.srt").write_text(WRITTEN.replace("Help", "Another film's"))
    made = harvest()
    made.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START))
    found = captions(made)
    assert [one.text for one in found] == [text for _, _, text in SAID]
    for one, (start, end, _) in zip(found, SAID, strict=True):
        assert (one.span.start - START) / MICROSECONDS == pytest.approx(start, abs=0.05)
        assert (one.span.end - START) / MICROSECONDS == pytest.approx(end, abs=0.05)
        assert (one.kind, one.language) == ("subtitle", language)


WEBVTT = """WEBVTT

1
00:01.000 --> 00:02.000 align:start
<v Bob>is [a &lt; b] &amp; c &gt; d?</v>
Tom&nbsp;&amp;&nbsp;Ann

00:03.000 --> 00:04.000
a &lt;b&gt; is <c.red>bold</c><00:03.500>, {this} &amp;lt; R&D caf&eacute; &#9834;

00:05.000 --> 00:06.000
one <b and="so">two</b> <3 is lost, by the standard
"""
WEBVTT_SAID = [
    "is [a < b] & c > d? Tom & Ann",
    "a <b> is bold, {this} &lt; R&D café ♪",
    "one two",
]
SUBRIP = r"""1
00:00:01,000 --> 00:00:02,000
{\an8}is [a < b] & c > d?
<font color="#ff0000">Tom</font> &amp;&nbsp;Ann<br>I <3 R&D ?a&copy=2 C:\Host

2
00:00:03,000 --> 00:00:04,000
a &lt;b&gt; is <B>bold</B>, {this}\N{y:i}&amp;lt; <i>[x<y]</i> 5<6>4
"""
SUBRIP_SAID = ["is [a < b] & c > d? Tom & Ann I <3 R&D ?a&copy=2 C:\\Host", "a <b> is bold, {this} &lt; [x<y] 5<6>4"]


@pytest.mark.parametrize("container", ["", "mkv"], ids=["beside the film", "in the film"])
@pytest.mark.parametrize(
    ("name", "written", "told"), [("film.vtt", WEBVTT, WEBVTT_SAID), ("film.srt", SUBRIP, SUBRIP_SAID)]
)
def test_brackets_that_are_meant_are_no_tags(
    container: str, name: str, written: str, told: list[str], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    """As browsers show WebVTT, and Android SubRip."""
    path = make(tmp_path / "film.mp4", Clip(seconds=8, sound=""))
    (tmp_path / name).write_text(written)
    if container:
        path = muxed(path, tmp_path / name, tmp_path / f"whole.{container}", "copy")
    made = harvest()
    made.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START))
    assert [one.text for one in captions(made)] == told


@pytest.mark.parametrize(("codec", "container"), [("ass", "mkv"), ("mov_text", "mp4")])
def test_brackets_and_braces_of_other_tracks_are_shown(
    codec: str, container: str, harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    plain = make(tmp_path / "film.mp4", Clip(seconds=8, sound=""))
    (tmp_path / "said.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\n<i>[a &lt; b]</i> {this} &gt; c\n")
    path = muxed(plain, tmp_path / "said.vtt", tmp_path / f"whole.{container}", codec)
    made = harvest()
    made.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START))
    assert [one.text for one in captions(made)] == ["[a < b] {this} > c"]


ASS = r"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
OVERRIDES = {
    r"{\i1{\b1}one{\b0}": "one",
    r"{{\an8}two {\pos(1,2){x} <i>three</i>": "two three",
    r"\{four\} {five{\i1}": "{four}",
    r"six {and {<b>seven</b>": "six {and {seven",
}
"""As libass shows them: from a brace to the next that closes, and what nothing closes is text."""


def test_a_brace_within_an_override_opens_nothing(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    lines = [f"Dialogue: 0,0:00:0{n}.00,0:00:0{n}.50,Default,,0,0,0,,{text}" for n, text in enumerate(OVERRIDES, 1)]
    (tmp_path / "said.ass").write_text(ASS + "\n".join(lines) + "\n")
    plain = make(tmp_path / "film.mp4", Clip(seconds=8, sound=""))
    made = harvest()
    whole = muxed(plain, tmp_path / "said.ass", tmp_path / "whole.mkv", "copy")
    made.finish(CapturePlan(STREAM, parse(str(whole)), starts_at=START))
    assert [one.text for one in captions(made)] == list(OVERRIDES.values())


def muxed(film: Path, subtitles: Path, path: Path, codec: str) -> Path:
    """Both in one file, by the ffmpeg binary."""
    if which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: there is nothing to write subtitles with")
    read = ["ffmpeg", "-v", "error", "-i", str(film), "-i", str(subtitles), "-map", "0", "-map", "1", "-c", "copy"]
    subprocess.run([*read, "-c:s", codec, str(path)], check=True)
    return path


def test_a_file_of_a_folder_that_is_watched_has_subtitles_too(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "film.srt").write_text(WRITTEN)
    make(tmp_path / "made.mp4", Clip(seconds=14, sound="aac")).rename(folder / "film.mp4")
    made = harvest(Limits(settle_s=0.1))
    made.fleet.start(CapturePlan(STREAM, parse(str(folder))))
    made.wait(lambda: len(captions(made)) == len(SAID))
    made.halt()


def test_subtitles_that_lead_elsewhere_are_broken_or_are_thousands(
    harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    path = make(tmp_path / "film.mp4", Clip(seconds=14, sound="aac"))
    (tmp_path / "secret").write_text(WRITTEN.replace("Help me!", "SECRET"))
    (tmp_path / "film.de.srt").symlink_to(tmp_path / "secret")
    (tmp_path / "film.fr.srt").write_bytes(bytes(range(256)) * 50)
    (tmp_path / "film.it.srt").mkdir()
    stamps = [f"00:00:{at // 1000:02},{at % 1000:03}" for at in range(0, 13_000, 5)]
    cues = [f"{number}\n{stamp} --> {stamp[:-3]}999\nword{number}\n" for number, stamp in enumerate(stamps)]
    (tmp_path / "film.en.srt").write_text("\n".join(cues))
    made = harvest()
    made.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START))
    found = captions(made)
    assert len([one for one in found if one.language == "en"]) == len(cues), "none is lost however many there are"
    assert not [one for one in found if "SECRET" in one.text or one.language not in ("en", "fr")]


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


def test_what_is_said_at_once_in_two_languages_is_kept_in_both(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    """Also where no sound holds them together: however they come in batches, no two have the same place."""
    path = make(tmp_path / "film.mp4", Clip(seconds=14, sound=""))
    for language in ("de", "fr"):
        (tmp_path / f"film.{language}.srt").write_text(WRITTEN)
    made = harvest()
    made.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START))
    hear = HearStage(FakeTranscriber(), FakeEncoder())
    told = [record for sound in made.of(Sound) for record in hear.handle([sound]) if record.key.endswith("/sound")]
    assert len(told) == 2 * len(SAID)
    assert len({record.pts for record in told}) == len(told)


def test_they_are_read_where_nobody_listens(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    """In a film that has sound, which is left alone; from its tracks and from the files beside it."""
    path = film(tmp_path, "srt", "mkv", "aac")
    (tmp_path / "film.fr.srt").write_text(WRITTEN)
    made = harvest()
    made.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START, ways=Ways(audio=False)))
    told = sorted((one.language, (one.span.start - START) / MICROSECONDS, one.text) for one in captions(made))
    assert told == [(one, pytest.approx(start, abs=0.1), text) for one in ("de", "fr") for start, _, text in SAID]
    assert [len(sound.samples) for sound in made.of(Sound)] == [0] * len(made.of(Sound))
    hear = HearStage(None, FakeEncoder())
    kept = [record for sound in made.of(Sound) for record in hear.handle([sound]) if record.key.endswith("/sound")]
    assert len(kept) == len(told)


def test_what_was_said_before_reading_was_cut_off_is_read_again(
    harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    """Pictures may be far ahead of what was kept of the subtitles, also where there is nothing to listen to."""
    path = film(tmp_path, "srt", "mkv", "", length_s=40)
    first = harvest()
    first.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START))
    assert len(captions(first)) == len(SAID)
    heard, pictures = first.of(Sound)[0].last, Mark(0, 38 * MICROSECONDS, Moment(START + 38 * MICROSECONDS))
    again = harvest()
    again.finish(CapturePlan(STREAM, parse(str(path)), starts_at=START, resume=pictures, heard=heard))
    assert [one.text for one in captions(again)] == [text for _, _, text in SAID[1:]]
