"""Bounds on packets and on a child's time: files that are made to cost much and to show nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import av
import numpy as np
import pytest
from av import Packet

from ingest.capture import CapturePlan
from ingest.child import Decoder, DecoderDied, source_details
from ingest.clock import FakeClock
from ingest.errors import TooLarge
from ingest.guard import Guard
from ingest.in_band import parameter_sets
from ingest.limits import Limits
from ingest.opening import open_source
from ingest.packets import bounded
from ingest.probe import probe
from ingest.records import Ended, Frame, Sound, StateChange
from ingest.sources import parse
from tests.ingest.conftest import STREAM, Harvest
from tests.media import Clip, make

RATE = 48_000
MPEG = Fraction(1, 90_000)


def packet(dts: int | None, size: int = 100, base: Fraction = MPEG) -> Packet:
    return cast(Packet, SimpleNamespace(dts=dts, size=size, time_base=base))


def exhaust(packets: Iterable[Packet]) -> None:
    deque(packets, maxlen=0)


def sound_in_packets(path: Path, samples: int, count: int) -> None:
    """Raw sound in `count` packets of so many samples each."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for number in range(count):
            one = av.Packet(np.zeros(samples, np.int16).tobytes())
            one.stream, one.time_base, one.pts, one.dts = track, Fraction(1, RATE), number * samples, number * samples
            container.mux(one)


def test_a_flood_of_tiny_packets_ends_with_what_to_do(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    """Two and a half seconds of sound, a sample in each packet."""
    path, made = tmp_path / "flood.mkv", harvest()
    sound_in_packets(path, 1, 120_000)
    made.finish(CapturePlan(STREAM, parse(str(path))), 60)
    [end] = [one for one in made.of(Ended) if one.origin == "frame"] or made.of(StateChange)[-1:]
    assert "too many packets" in end.detail
    assert "Convert it" in end.detail


def test_a_packet_that_is_too_large_ends_with_what_to_do(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    path, made = tmp_path / "huge.mkv", harvest(Limits(packet_bytes=1 << 20))
    sound_in_packets(path, 1_000_000, 2)
    made.finish(CapturePlan(STREAM, parse(str(path))), 60)
    change = made.of(StateChange)[-1]
    assert change.state == "failed"
    assert change.detail.startswith("A packet of it has 2 MB; at most 1 are allowed.")
    assert made.of(Sound) == []


def test_an_ordinary_file_is_within_all_bounds(harvest: Callable[..., Harvest], clips: Path) -> None:
    made = harvest(Limits(packets_at_once=500, packets_per_s=200, packet_bytes=200_000))
    made.finish(CapturePlan(STREAM, parse(str(clips / "long.mp4"))))
    assert [one.detail for one in made.of(Ended)] == [""] * len(made.of(Ended))
    assert made.of(Frame)


def test_a_clock_that_wraps_or_jumps_back_is_no_flood() -> None:
    """A camera of 25 pictures a second for ten days over MPEG-TS, whose clock wraps nine times and is set back once."""
    limits = Limits(packets_at_once=1000, packets_per_s=50)
    times = [(number * 3600) % (1 << 33) for number in range(0, 25 * 86_400 * 10, 25)]
    times[len(times) // 2 :] = [one // 2 for one in times[len(times) // 2 :]]
    assert sum(1 for _ in bounded((packet(at) for at in times), limits, clock=None, most=None)) == len(times)


def test_a_file_that_claims_years_gains_nothing_by_it() -> None:
    times = [number * 10**15 for number in range(20_000)]
    limits = Limits(packets_at_once=1000, packets_per_s=1)
    with pytest.raises(TooLarge, match="too many packets"):
        exhaust(bounded(map(packet, [*times, *[times[-1]] * 200_000]), limits, clock=None, most=None))
    untimed = (packet(None) for _ in range(10**6))
    with pytest.raises(TooLarge, match=r"for 0 s\. Convert"):
        exhaust(bounded(untimed, Limits(), clock=None, most=None))


def test_what_is_live_is_measured_by_our_own_clock() -> None:
    clock, limits = FakeClock(), Limits(packets_at_once=1000, packets_per_s=100)
    taken = bounded((packet(number * 90_000) for number in range(10**6)), limits, clock=clock, most=None)
    for _ in range(5000):
        next(taken)
        clock.advance(0.02)
    with pytest.raises(TooLarge, match="too many packets"):
        exhaust(taken)


def test_the_total_is_bounded() -> None:
    taken = bounded((packet(number * 90_000) for number in range(10**6)), Limits(), clock=None, most=3000)
    with pytest.raises(TooLarge, match="more than 3000 packets"):
        exhaust(taken)


# --- a child's own time ----------------------------------------------------------------------------------------


def test_a_child_that_spins_is_ended_by_its_cpu_limit() -> None:
    spins = "from ingest import decode; from ingest.limits import Limits; decode._confine(Limits(cpu_s=1))\nwhile 1: 0"
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", spins], timeout=60, check=False)
    assert done.returncode == -signal.SIGXCPU
    assert time.monotonic() - begun < 60


def test_a_decoder_that_works_and_shows_nothing_is_ended_by_its_cpu_limit(tmp_path: Path) -> None:
    """A day of sound before the first picture: decoding it says nothing, and would go on for minutes."""
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25, width=64, height=64)
        track = container.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = RATE
        made = [one for _ in range(20) for one in track.encode(frame)]
        sound = bytes(made[-1])
        for number in range(24 * 3600 * RATE // 1024 // 8):
            one = av.Packet(sound)
            one.stream, one.time_base, one.is_keyframe = track, Fraction(1, RATE), True
            one.pts = one.dts = number * 1024
            container.mux(one)
        shown = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        for one in [*picture.encode(shown), *picture.encode(None)]:
            one.pts = one.dts = 3 * 3600 * 25
            container.mux(one)
    spec = parse(str(path))
    task = {
        "stream": STREAM, "live": False, "epoch": 0, "starts_at": 0, "audio": True, "resume": None, "heard": None,
        "skip": None, "folder": None, "segment_s": 0.0, "sampling": {},
    }  # fmt: skip
    assert probe(spec, Guard([tmp_path])).width == 64
    job = {"source": source_details(spec, Guard([])), "task": task}
    killed = pytest.raises(DecoderDied, match=f"signal {signal.SIGXCPU.value}")
    with Decoder("capture", job, Limits(cpu_s=2)) as decoder, killed:
        decoder.result(120)


def test_a_picture_whose_slices_each_say_how_they_are_decoded_is_one_packet(tmp_path: Path) -> None:
    """Libav takes each for a picture; of the first that is so, the first half has gone out by then."""
    film = make(tmp_path / "film.ts", Clip(seconds=4, gop=25, b_frames=0, sound="", encoder=(("slices", "2"),)))
    odd = tmp_path / "odd.ts"
    with av.open(str(film)) as source, av.open(str(odd), "w") as written:
        track = written.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if data := bytes(packet):
                sets, middle = parameter_sets("h264", data), data.rfind(b"\0\0\1")
                whole = av.Packet(data[:middle] + sets + data[middle:])
                whole.time_base, whole.pts, whole.dts = packet.time_base, packet.pts, packet.dts
                whole.is_keyframe, whole.stream = packet.is_keyframe, track
                written.mux(whole)
    with open_source({"scheme": "file", "location": str(odd)}, Limits()) as opened:
        shown = [frame.to_ndarray() for packet in opened.packets(opened.video) for frame in packet.decode()]
    with av.open(str(film)) as source:
        truth = [frame.to_ndarray() for frame in source.decode(video=0)]
    assert len(shown) == len(truth) + 1
    assert all(np.array_equal(*two) for two in zip(shown[26:], truth[25:], strict=True))
