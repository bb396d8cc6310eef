"""A beep and a flash that were together stay together, through the recorder and through every way of cutting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ingest import reading
from ingest.child import source_details
from ingest.clips import cut
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.opening import open_source
from ingest.orders import Orders
from ingest.recording import Recorder
from ingest.records import MICROSECONDS, Moment, Segment, Span, StreamId, seconds
from ingest.sampling import Sampling
from ingest.sources import parse
from ingest.timeline import Timeline
from tests.media import Clip, make

EVERY = 2.5
LASTS = 0.2
RATE = 48_000
LENGTH = 24


@dataclass(frozen=True)
class Film:
    """`left_out`: of these pictures in every ten there is none, as of a camera that slows down in the dark."""

    name: str
    rate: Fraction = Fraction(25)
    codec: str = "libx264"
    b_frames: int = 2
    sound: str = "aac"
    left_out: tuple[int, ...] = ()


FILMS = [
    Film("25.mp4"),
    Film("ntsc.mp4", rate=Fraction(30_000, 1001)),
    Film("variable.mp4", left_out=(2, 3, 6, 7, 8)),
    Film("hevc.mp4", codec="libx265"),
    Film("camera.mov", sound="pcm_mulaw", b_frames=0),
    Film("matroska.mkv", sound="mp3"),
    Film("programme.ts"),
]


def loud(at: Any) -> Any:
    return (at + 1e-6) % EVERY < LASTS


def made(folder: Path, film: Film) -> Path:
    """White pictures while it beeps, black ones else."""
    path, gop = folder / film.name, round(film.rate * 2)
    sound_rate = 8000 if film.sound == "pcm_mulaw" else RATE
    with av.open(str(path), "w") as container:
        video = container.add_stream(film.codec, rate=film.rate)
        video.width, video.height, video.pix_fmt, video.codec_context.gop_size = 160, 96, "yuv420p", gop
        video.options = (
            {"preset": "ultrafast", "bf": str(film.b_frames), "sc_threshold": "0"}
            if film.codec == "libx264"
            else {"preset": "ultrafast", "x265-params": f"log-level=error:keyint={gop}:min-keyint={gop}:bframes=3"}
        )
        audio = container.add_stream(film.sound, rate=sound_rate, layout="mono")
        heard = 0
        for number in range(round(LENGTH * film.rate)):
            at = number / film.rate
            if number % 10 not in film.left_out or number % gop == 0:
                picture = np.full((96, 160, 3), 235 if loud(float(at)) else 16, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = number, 1 / film.rate
                container.mux(video.encode(frame))
            while heard < (at + 1 / film.rate) * sound_rate:
                times = np.arange(heard, heard + 1024) / sound_rate
                samples = (22_000 * np.sin(2 * np.pi * 1000 * times) * loud(times)).astype(np.int16)[None]
                sound = av.AudioFrame.from_ndarray(samples, "s16", "mono")
                sound.sample_rate, sound.pts, sound.time_base = sound_rate, heard, Fraction(1, sound_rate)
                container.mux(audio.encode(sound))
                heard += 1024
        container.mux([*video.encode(None), *audio.encode(None)])
    return path


def recorded(film: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Segment]:
    """What the recorder makes of a camera that sends `film`."""
    said: list[Any] = []
    task = {
        "stream": "cam", "live": True, "epoch": 0, "starts_at": 0, "sampling": asdict(Sampling()), "audio": True,
        "resume": None, "heard": None, "skip": None, "folder": str(folder), "segment_s": 6.0,
    }  # fmt: skip
    monkeypatch.setattr(Orders, "end", lambda _self: False)
    reading.job({"source": source_details(parse(str(film)), Guard([])), "task": task}, Limits(), said.append)
    return [message for message in said if isinstance(message, Segment)]


def onsets(path: Path) -> tuple[list[float], list[float]]:
    """When it becomes white and when it begins to beep, seconds in the file."""
    with av.open(str(path)) as container:
        light = [
            (float(f.pts * f.time_base), f.to_ndarray(format="gray").mean() > 100) for f in container.decode(video=0)
        ]
    with av.open(str(path)) as container:
        noise: list[tuple[float, bool]] = []
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray()).max(axis=0)
            step = frame.sample_rate // 500
            begin = float(frame.pts * frame.time_base)
            noise += [
                (begin + at / frame.sample_rate, samples[at : at + step].max() > 0.2)
                for at in range(0, len(samples), step)
            ]
    return list(_rises(light, 0.0)), list(_rises(noise, 1.0))


def _rises(states: list[tuple[float, bool]], quiet_s: float) -> Iterator[float]:
    """When it is so after it was not, for `quiet_s` at least (a tone passes zero), but for what is there at first."""
    begin, last = states[0][0], -9.0
    for (_, before), (at, now) in pairwise(states):
        if now and not before and at - last > quiet_s and at - begin > 2 * LASTS:
            yield at
        last = at if now else last


@pytest.mark.parametrize("film", FILMS, ids=lambda film: film.name)
def test_a_beep_and_its_flash_stay_within_a_frame(film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over three borders of segments; and the flash is where its moment says."""
    segments = recorded(made(tmp_path, film), tmp_path / "recorded", monkeypatch)
    assert len(segments) >= 4
    start, frame_s = segments[0].span.start, float(1 / film.rate) * (1 + 2 * bool(film.left_out))
    asked = Span(Moment(start + seconds(3.3)), Moment(start + seconds(20.3)))
    for exact in (False, True):
        out = tmp_path / f"{exact}.mp4"
        covered = cut(segments, [asked], out, exact=exact)
        flashes, beeps = onsets(out)
        assert len(flashes) == len(beeps) >= 7, exact
        apart = [beep - flash for flash, beep in zip(flashes, beeps, strict=True)]
        assert max(map(abs, apart)) <= frame_s + 0.002, (exact, apart)
        with av.open(str(out)) as container:
            first = next(container.decode(video=0))
        moments = [(covered.start - start) / MICROSECONDS + at - float(first.pts * first.time_base) for at in flashes]
        late = [(moment + EVERY / 2) % EVERY - EVERY / 2 for moment in moments]
        assert max(map(abs, late)) <= frame_s + 0.002, (exact, late)


@pytest.mark.parametrize("gap_s", [0.0, 1.37], ids=["at once", "after a gap"])
def test_they_stay_together_over_the_border_of_two_connections(
    gap_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And over those of segments on either side, within one clip: less than 40 ms apart."""
    film = made(tmp_path, FILMS[0])
    first = recorded(film, tmp_path / "0", monkeypatch)
    border = Moment(first[-1].span.end + seconds(gap_s))
    told = recorded(film, tmp_path / "1", monkeypatch)
    shift = border - told[0].span.start
    spans = [Span(Moment(one.span.start + shift), Moment(one.span.end + shift)) for one in told]
    again = [replace(one, epoch=1, span=span) for one, span in zip(told, spans, strict=True)]
    asked = Span(Moment(border - seconds(9.3)), Moment(border + seconds(9.3)))
    assert sum(one.span.overlaps(asked) for one in [*first, *again]) >= 4
    for exact in (False, True):
        out = tmp_path / f"{exact}.mp4"
        covered = cut([*first, *again], [asked], out, exact=exact)
        flashes, beeps = onsets(out)
        assert len(flashes) == len(beeps) >= 6, exact
        apart = [beep - flash for flash, beep in zip(flashes, beeps, strict=True)]
        assert max(map(abs, apart)) < 0.04, (exact, apart)
        with av.open(str(out)) as container:
            frame = next(container.decode(video=0))
        zero = covered.start - float(frame.pts * frame.time_base) * MICROSECONDS
        for at in flashes:
            moment = zero + at * MICROSECONDS
            filmed = (moment - (border if moment > border - 1000 else first[0].span.start)) / MICROSECONDS
            assert abs((filmed + EVERY / 2) % EVERY - EVERY / 2) <= 0.042, (exact, filmed)


def test_sound_that_comes_late_is_in_the_segment_it_belongs_to(tmp_path: Path) -> None:
    """A camera sends sound when it has encoded it, behind pictures that are younger: none is lost at a border."""
    film = make(tmp_path / "film.mp4", Clip(seconds=12, gop=25))
    source = {"scheme": "file", "location": str(film)}
    with open_source(source, Limits()) as opened:
        recorder = Recorder(opened, str(tmp_path / "recorded"), StreamId("cam"), 3.0)
        packets = [packet for packet in opened.packets(opened.video, opened.audio) if packet.dts is not None]
        packets.sort(key=lambda one: one.dts * one.time_base + Fraction(4, 10) * (one.stream is opened.audio))
        begin = min(packet.dts * packet.time_base for packet in packets if packet.stream is opened.video)
        sent = sum(one.stream is opened.audio and one.dts * one.time_base >= begin for one in packets)
        line = Timeline(epoch=0, offset=1_700_000_000_000_000)
        kept = [segment for packet in packets for segment in recorder.add(packet, line)]
        kept += recorder.close()
    assert len(kept) >= 4
    heard = []
    for segment in kept:
        with av.open(segment.path) as container:
            heard.append([float(one.pts * one.time_base) for one in container.demux(audio=0) if one.pts is not None])
            assert heard[-1][0] < 0.064
    assert sum(map(len, heard)) == sent
