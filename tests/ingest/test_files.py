"""Files through the real child, fleet and bus, against what plain PyAV decodes."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest

from ingest.capture import CapturePlan
from ingest.errors import NotVideo
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.probe import probe
from ingest.records import (
    MICROSECONDS,
    SAMPLE_RATE,
    Coverage,
    Ended,
    Frame,
    Gap,
    Mark,
    Moment,
    Segment,
    Sound,
    Span,
    StateChange,
    seconds,
)  # fmt: skip
from ingest.sampling import Sampling, policy
from ingest.sources import parse
from tests.ingest.conftest import STREAM, Harvest, children, decoders
from tests.media import Clip, make, number_in
from tests.outside import runs

START = Moment(1_700_000_000_000_000)
EVERY = Sampling(floor_hz=5, ceiling_hz=5)


def plan(path: Path, **changes: object) -> CapturePlan:
    return CapturePlan(STREAM, parse(str(path)), starts_at=START, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "clip", "sampling"),
    [
        ("one.mp4", Clip(seconds=6, fps=1, gop=6, sound=""), EVERY),
        ("one.mkv", Clip(seconds=6, fps=1, gop=6, sound=""), EVERY),
        ("one.ts", Clip(seconds=6, fps=1, gop=2, b_frames=0, sound=""), EVERY),
        ("one.avi", Clip(seconds=6, fps=1, gop=2, b_frames=0, sound=""), EVERY),
        ("lapse.mp4", Clip(seconds=6, fps=1, gop=6, sound=""), EVERY),
        ("keys.mp4", Clip(seconds=16, gop=200), policy("keys", EVERY)),
        ("keys.ts", Clip(seconds=16, gop=200), policy("keys", EVERY)),
    ],
)
def test_a_file_ends_where_its_last_picture_is_shown_no_longer(
    name: str, clip: Clip, sampling: Sampling, tmp_path: Path, harvest: Callable[..., Harvest]
) -> None:
    """However far apart its pictures are, and however many of them nobody decodes: it is whole."""
    path, ends = make(tmp_path / name, clip), seconds(clip.seconds)
    if name == "lapse.mp4":
        path, ends = slowed(path, 5), 5 * ends
    made = harvest()
    made.finish(plan(path, sampling=sampling))
    told = [max(one.span.end for one in made.of(Coverage)), *(one.moment for one in made.of(Ended))]
    assert [end - START for end in told] == pytest.approx([ends] * 3, abs=2000)
    assert made.of(Gap) == []


def slowed(path: Path, times: int) -> Path:
    """The same pictures, each shown so many times as long."""
    import av

    out = path.with_name(f"slowed-{path.name}")
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        track = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.duration = (
                    times * at for at in (packet.pts, packet.dts, packet.duration or 0)
                )
                packet.stream = track
                target.mux(packet)
    return out


@pytest.mark.parametrize("name", ["ten.mp4", "ten.mkv", "ten.ts"])
def test_every_container_gives_the_same_pictures_at_the_same_moments(
    name: str, clips: Path, harvest: Callable[..., Harvest]
) -> None:
    made = harvest()
    made.finish(plan(clips / name, sampling=EVERY))
    frames = made.of(Frame)
    assert len(frames) == pytest.approx(50, abs=1)
    for frame in frames:
        assert frame.moment - START == pytest.approx(number_in(frame.pixels) * 40_000, abs=1000)
    (segment,) = made.of(Segment)
    assert not segment.owned
    assert segment.span.start == START
    assert segment.span.duration == pytest.approx(10 * MICROSECONDS, abs=150_000)
    assert made.of(Coverage)[-1].span == Span(START, Moment(START + 10 * MICROSECONDS))
    ended, silent = made.of(Ended)
    assert {ended.origin, silent.origin} == {"frame", "sound"}
    assert ended.moment == START + 10 * MICROSECONDS
    assert made.states() == ["reading"]  # finished is what is remembered


def test_ended_comes_behind_every_frame(clips: Path, harvest: Callable[..., Harvest]) -> None:
    made = harvest()
    made.finish(plan(clips / "ten.mp4"))
    for kind, origin in ((Frame, "frame"), (Sound, "sound")):
        [end] = [at for at, record in enumerate(made.records) if isinstance(record, Ended) and record.origin == origin]
        assert end > max(at for at, record in enumerate(made.records) if isinstance(record, kind))


def test_scene_cuts_and_movement_are_kept_with_their_reasons(clips: Path, harvest: Callable[..., Harvest]) -> None:
    made = harvest()
    made.finish(plan(clips / "long.mp4"))
    cuts = [frame.moment - START for frame in made.of(Frame) if frame.reason == "scene"]
    assert cuts == [pytest.approx(9 * MICROSECONDS, abs=250_000), pytest.approx(21 * MICROSECONDS, abs=250_000)]
    assert sum(frame.reason == "motion" for frame in made.of(Frame)) > 80


def test_sound_is_complete_and_in_time(clips: Path, harvest: Callable[..., Harvest]) -> None:
    made = harvest()
    made.finish(plan(clips / "long.mp4"))
    sounds = made.of(Sound)
    assert sum(len(sound.samples) for sound in sounds) == pytest.approx(32 * SAMPLE_RATE, abs=3000)
    for before, after in itertools.pairwise(sounds):
        assert abs(after.moment - before.span.end) <= 1000
        assert (before.span.end - START) % (3 * MICROSECONDS) > 2.6 * MICROSECONDS or (before.span.end - START) % (
            3 * MICROSECONDS
        ) < 0.1 * MICROSECONDS, "cut within the tone and not in its pause"


def test_a_file_with_sound_alone_is_a_stream(clips: Path, harvest: Callable[..., Harvest]) -> None:
    made = harvest()
    made.finish(plan(clips / "sound.flac"))
    assert made.of(Frame) == []
    assert sum(len(sound.samples) for sound in made.of(Sound)) == pytest.approx(23 * SAMPLE_RATE, abs=300)
    assert made.of(Ended)[0].moment == pytest.approx(START + 23 * MICROSECONDS, abs=200_000)


def test_pictures_have_square_pixels(tmp_path: Path, harvest: Callable[..., Harvest]) -> None:
    """What is looked at and remembered has the shape that people see, also of an anamorphic film."""
    film = make(tmp_path / "wide.mp4", Clip(width=360, height=288, seconds=2, sound="", pixel=Fraction(64, 45)))
    made = harvest()
    made.finish(plan(film, sampling=Sampling(max_side=320)))
    assert {frame.pixels.shape for frame in made.of(Frame)} == {(180, 320, 3)}


def test_pictures_are_upright_rgb_of_the_asked_size(clips: Path, harvest: Callable[..., Harvest]) -> None:
    made = harvest()
    made.finish(plan(clips / "ten.mp4", sampling=Sampling(max_side=160)))
    assert {frame.pixels.shape for frame in made.of(Frame)} == {(90, 160, 3)}


def test_key_frames_only(clips: Path, harvest: Callable[..., Harvest]) -> None:
    made = harvest()
    made.finish(plan(clips / "ten.mp4", sampling=Sampling(keyframes_only=True)))
    assert [number_in(frame.pixels) for frame in made.of(Frame)] == [0, 50, 100, 150, 200]
    assert {frame.reason for frame in made.of(Frame)} == {"key"}


@pytest.mark.parametrize("name", ["long.mp4", "ten.ts"])
@pytest.mark.parametrize("share", [0.3, 0.55, 0.9])
def test_resuming_misses_nothing_and_repeats_only_what_came_before(
    name: str, share: float, clips: Path, harvest: Callable[..., Harvest]
) -> None:
    """Same keys, same pixels, same reasons as reading in one go; duplicates only up to the mark."""
    whole, again = harvest(), harvest()
    whole.finish(plan(clips / name))
    frames = {frame.key: frame for frame in whole.of(Frame)}
    mark = whole.of(Frame)[int(len(frames) * share)]
    again.finish(plan(clips / name, resume=Mark(mark.epoch, mark.pts, mark.moment)))
    repeated = again.of(Frame)
    assert {f.key for f in repeated} >= {f.key for f in frames.values() if f.pts > mark.pts}
    assert repeated[0].pts <= mark.pts
    for frame in repeated:
        assert frame.moment == frames[frame.key].moment
        assert frame.reason == frames[frame.key].reason
        assert number_in(frame.pixels) == number_in(frames[frame.key].pixels)
    sounds = {sound.key for sound in whole.of(Sound)}
    assert {s.key for s in again.of(Sound)} <= sounds
    assert {s.key for s in whole.of(Sound) if s.span.end > mark.moment} <= {s.key for s in again.of(Sound)}


def test_a_slow_consumer_makes_a_file_wait_and_nothing_is_dropped(clips: Path, harvest: Callable[..., Harvest]) -> None:
    made = harvest(capacity=2, pace_s=0.02)
    made.finish(plan(clips / "ten.mp4"))
    counts = made.ledger.counts(STREAM)
    assert counts.dropped == {}
    assert counts.captured == counts.stored == len(made.of(Frame)) > 30


def test_a_file_is_read_faster_than_it_plays(tmp_path: Path, harvest: Callable[..., Harvest]) -> None:
    path = make(tmp_path / "minute.mp4", Clip(seconds=60, width=640, height=360))
    made, begun = harvest(), time.monotonic()
    made.finish(plan(path))
    assert time.monotonic() - begun < 60


def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path: Path, harvest: Callable[..., Harvest]) -> None:
    whole = make(tmp_path / "whole.mp4", Clip(options=(("movflags", "faststart"),), seconds=20))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    made = harvest()
    made.finish(plan(cut))
    assert len(made.of(Frame)) > 20
    (gap,) = made.of(Gap)
    assert gap.reason == "broken video"
    assert gap.span.end == pytest.approx(START + 20 * MICROSECONDS, abs=100_000)
    assert "missing" in made.of(Ended)[0].detail
    assert made.of(Coverage)[-1].span.end == gap.span.start == made.of(Ended)[0].moment


def joined(path: Path, first_start: float, second_start: float) -> Path:
    """Two recordings of five seconds in one MPEG-TS, the clock of the second beginning where it likes."""
    parts = [
        make(path.with_suffix(f".{n}.ts"), Clip(seconds=5, start_s=start, b_frames=0))
        for n, start in enumerate((first_start, second_start))
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize("second_start", [0.0, 100.0, 5000.0])
def test_a_clock_that_jumps_inside_a_file_begins_an_epoch_and_loses_nothing(
    second_start: float, tmp_path: Path, harvest: Callable[..., Harvest]
) -> None:
    path = joined(tmp_path / "joined.ts", 30.0, second_start)
    made = harvest()
    made.finish(plan(path, sampling=EVERY))
    frames = made.of(Frame)
    assert {frame.epoch for frame in frames} == {0, 1}
    assert len(frames) == pytest.approx(50, abs=3)
    for frame in frames:
        place = number_in(frame.pixels) + (125 if frame.epoch else 0)
        assert frame.moment - START == pytest.approx(place * 40_000, abs=100_000)
    moments = [frame.moment for frame in frames]
    assert moments == sorted(set(moments))
    later = [frame for frame in frames if frame.epoch == 1][10]
    again = harvest()
    again.finish(plan(path, sampling=EVERY, resume=Mark(1, later.pts, later.moment)))
    assert {f.key for f in again.of(Frame)} >= {f.key for f in frames if (f.epoch, f.pts) > (1, later.pts)}


def test_a_clock_that_wraps_inside_a_file_runs_on(tmp_path: Path, harvest: Callable[..., Harvest]) -> None:
    """33 bits at 90 kHz end after 26.5 hours: five seconds before that and five behind, in one file."""
    turn = (1 << 33) / 90_000
    path = joined(tmp_path / "wrap.ts", round(turn - 6.4), 0.0)
    made = harvest()
    made.finish(plan(path, sampling=EVERY))
    moments = [frame.moment for frame in made.of(Frame)]
    assert len(moments) == pytest.approx(50, abs=3)
    assert moments == sorted(set(moments))
    assert moments[-1] - moments[0] < 12 * MICROSECONDS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello, this is text\n" * 50, "not video"),
        (b"ffconcat version 1.0\nfile ten.mp4\n", "not video"),
        (b"#EXTM3U\n#EXTINF:1,\nten.ts\n#EXT-X-ENDLIST\n", "not video"),
    ],
)
def test_what_is_no_video_fails_with_its_reason(
    content: bytes, words: str, tmp_path: Path, harvest: Callable[..., Harvest]
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    made = harvest()
    made.finish(plan(path))
    assert made.states()[-1:] == ["failed"]
    assert words in made.of(StateChange)[-1].detail
    assert not made.of(Frame)
    assert not made.of(Ended)


@pytest.mark.parametrize("name", ["h264", "hevc"])
def test_pictures_without_a_container_have_no_times_and_are_told_so(name: str, tmp_path: Path) -> None:
    """As recorders export them: it was said that none of them could be decoded."""
    codec = {"h264": "libx264", "hevc": "libx265"}[name]
    path = make(tmp_path / f"film.{name}", Clip(seconds=1, codec=codec, sound="", container=name))
    with pytest.raises(NotVideo, match="without a container") as refused:
        probe(parse(str(path)), Guard([tmp_path]))
    assert "-c copy" in refused.value.advice


def test_a_child_killed_again_and_again_loses_nothing(clips: Path, harvest: Callable[..., Harvest]) -> None:
    """Killed from outside in the middle, the child is started again behind the last frame."""
    made = harvest(capacity=1, pace_s=0.01)
    made.fleet.start(plan(clips / "long.mp4"))
    killed = 0
    for wanted in (20, 70):
        made.wait(lambda wanted=wanted: len(made.of(Frame)) > wanted)
        for pid in decoders():
            os.kill(pid, signal.SIGKILL)
            killed += 1
    made.wait(lambda: made.of(Ended))
    assert killed == 2
    whole = harvest()
    whole.finish(plan(clips / "long.mp4"))
    assert {f.key for f in made.of(Frame)} == {f.key for f in whole.of(Frame)}
    assert made.of(Gap) == []


@pytest.mark.parametrize("heard_s", [None, 12.0])
def test_sound_that_was_not_listened_to_is_read_again(
    heard_s: float | None, clips: Path, harvest: Callable[..., Harvest]
) -> None:
    """Its pictures were all remembered, its sound in part: what was not heard comes again, in the same pieces."""
    whole = harvest()
    whole.finish(plan(clips / "long.mp4"))
    pieces = {sound.key: sound.samples for sound in whole.of(Sound)}
    last = whole.of(Frame)[-1]
    heard = next((s.last for s in whole.of(Sound) if heard_s and s.last.pts > heard_s * MICROSECONDS), None)
    resume = Mark(0, last.pts, last.moment)
    again = harvest()
    again.finish(plan(clips / "long.mp4", resume=resume, heard=heard))
    assert {frame.key for frame in again.of(Frame)} < {frame.key for frame in whole.of(Frame)}
    expected = [sound.key for sound in whole.of(Sound) if heard is None or sound.pts >= heard.pts]
    assert expected
    assert [sound.key for sound in again.of(Sound)] == expected
    for sound in again.of(Sound):
        assert len(sound.samples) == pytest.approx(len(pieces[sound.key]), abs=32)


def test_a_picture_that_always_kills_its_decoder_is_skipped(clips: Path, harvest: Callable[..., Harvest]) -> None:
    """Ten deaths near the same place: the stretch is told as a gap and the rest of the file is read."""
    made = harvest(capacity=1, pace_s=0.02)
    deadly = (START + 10 * MICROSECONDS, START + 11 * MICROSECONDS)
    made.fleet.start(plan(clips / "long.mp4"))
    killed = set[int]()
    while not made.of(Ended):
        status = made.fleet.status(STREAM)
        if status and status.last_frame and deadly[0] <= status.last_frame <= deadly[1] and (found := decoders()):
            with suppress(ProcessLookupError):  # it was ended meanwhile
                os.kill(found[0], signal.SIGKILL)
            killed.add(found[0])  # it may take a while to die
        time.sleep(0.002)
        assert len(killed) < 200
    gaps = made.of(Gap)
    assert gaps
    assert {gap.reason for gap in gaps} == {"broken video"}
    assert made.of(Frame)[-1].moment > START + 30 * MICROSECONDS
    made.wait(made.ended)


def test_stopping_is_quick_and_leaves_no_child(clips: Path, harvest: Callable[..., Harvest]) -> None:
    made = harvest(capacity=1)
    made.stop.set()
    time.sleep(0.1)
    made.fleet.start(plan(clips / "long.mp4"))
    made.wait(lambda: made.ledger.counts(STREAM).captured)
    begun = time.monotonic()
    made.fleet.stop(STREAM)
    assert time.monotonic() - begun < 14, "it does not wait for room until it is given up"
    assert children() == []
    made.stop.clear()
    collector = threading.Thread(target=made.collect)
    collector.start()
    made.wait(lambda: not any(made.bus.depth().values()))
    made.stop.set()
    collector.join()
    counts = made.ledger.counts(STREAM)
    assert 0 < counts.captured == counts.stored + sum(counts.dropped.values())
    assert set(counts.dropped) <= {"stopped"}


def test_a_hung_child_is_killed_from_outside(clips: Path, harvest: Callable[..., Harvest]) -> None:
    """SIGSTOP is the hardest hang there is; the clock outside ends it and reading goes on."""
    made = harvest(Limits(silence_s=3.0), capacity=1, pace_s=0.01)
    made.fleet.start(plan(clips / "long.mp4"))
    made.wait(lambda: len(made.of(Frame)) > 20)
    (pid,) = decoders()
    os.kill(pid, signal.SIGSTOP)
    made.wait(lambda: made.of(Ended))
    assert not Path(f"/proc/{pid}").exists()
    assert made.of(Gap) == []


def test_the_child_ends_with_its_parent(clips: Path) -> None:
    """kill -9 of the service leaves no decoder behind."""
    script = (
        "import sys, time\n"
        "from ingest.child import Decoder, source_details\n"
        "from ingest.guard import Guard\n"
        "from ingest.limits import Limits\n"
        "from ingest.sources import parse\n"
        "source = source_details(parse(sys.argv[1]), Guard([], ['127.0.0.0/8']))\n"
        "d = Decoder('probe', source, Limits(open_s=60, read_s=60))\n"
        "print(d.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        parent = subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(1)
        assert runs(pid, b"ingest.decode")
        parent.kill()
        parent.wait()
        parent.stdout.close()
        end = time.monotonic() + 30
        while runs(pid, b"ingest.decode"):  # a zombie that nobody waits for does not
            assert time.monotonic() < end
            time.sleep(0.05)
