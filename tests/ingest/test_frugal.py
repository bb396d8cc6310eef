"""Resting against plain decoding of the same packets: what moves is seen, and while nothing does little is decoded."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import reading
from ingest.child import source_details
from ingest.errors import Invalid
from ingest.frugal import Frugal
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.load import Load
from ingest.orders import Orders
from ingest.records import Frame, seconds
from ingest.sampling import POLICIES, Sampling, policy
from ingest.sources import parse
from ingest.timeline import MPEGTS_WRAP
from tests.media import Clip, make, number_in

LAZY = Sampling(ceiling_hz=5.0, rests=True)


class Counted(reading.Reader):
    """A reader that counts what it decodes."""

    def _decode(self, packet: Any, track: Any = None) -> None:
        counts["video"] += track is not None and track.type == "video"
        super()._decode(packet, track)

    def _picture(self, frame: Any) -> None:
        counts["pictures"] += 1
        super()._picture(frame)


counts = {"video": 0, "pictures": 0}


def read(path: Path, sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Read a file as if it were live: everything that is said."""
    monkeypatch.setattr(Orders, "end", lambda _self: False)
    monkeypatch.setattr(reading, "Reader", Counted)
    said: list[Any] = []
    counts.update(video=0, pictures=0)
    task = {
        "stream": "cam", "live": True, "epoch": 0, "starts_at": 0, "sampling": asdict(sampling), "audio": True,
        "resume": None, "heard": None, "skip": None, "folder": None, "segment_s": 0.0,
    }  # fmt: skip
    reading.job({"source": source_details(parse(str(path)), Guard([])), "task": task}, Limits(), said.append)
    frames = [message for message in said if isinstance(message, Frame)]
    assert [frame.pts for frame in frames] == sorted({frame.pts for frame in frames})
    assert {frame.epoch for frame in frames} == {0}
    return said


def moments(path: Path, sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> set[float]:
    """Seconds into the film of the frames that are kept because something moves."""
    said = read(path, sampling, monkeypatch)
    return {m.pts / 1e6 for m in said if isinstance(m, Frame) and m.reason == "motion"}


def film(path: Path, *, start: float, stop: float, b_frames: int = 0, gop: int = 50) -> Path:
    """A minute in which the square moves from `start` to `stop` alone; the bar code of numbers is left out."""
    return make(path, Clip(seconds=60, gop=gop, b_frames=b_frames, moves=(start, stop), numbered=False))


def test_a_still_scene_costs_key_frames_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "still.mp4", start=0, stop=0)
    said = read(path, LAZY, monkeypatch)
    assert counts["video"] < 1500 * 0.25
    assert ("frugal", "nothing", 0, True) in said


@pytest.mark.parametrize(("start", "stop"), [(30.0, 34.0), (31.2, 31.8), (35.1, 50.0)])
def test_what_moves_is_seen_as_if_it_had_never_rested(
    start: float, stop: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every frame that full decoding keeps because of motion is kept."""
    path = film(tmp_path / "moves.mp4", start=start, stop=stop)
    eager = moments(path, Sampling(ceiling_hz=5.0), monkeypatch)
    full = counts["video"]
    lazy = moments(path, LAZY, monkeypatch)
    assert {at for at in eager if start <= at <= stop} <= lazy
    assert counts["video"] < full


def test_a_decoder_that_holds_pictures_back_does_not_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "b.mp4", start=0, stop=0, b_frames=2)
    read(path, LAZY, monkeypatch)
    assert counts["video"] == 1500


def test_pictures_that_no_other_is_made_from_are_decoded_for_a_candidate_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is seen is the same to the last pixel; what it takes is less."""
    path = make(tmp_path / "b.mp4", Clip(seconds=20, b_frames=2))
    sampling = Sampling(floor_hz=1.5, ceiling_hz=1.5)
    spared = [m for m in read(path, sampling, monkeypatch) if isinstance(m, Frame)]
    decoded = counts["pictures"]
    monkeypatch.setattr(Counted, "_spare", lambda *_: None)
    whole = [m for m in read(path, sampling, monkeypatch) if isinstance(m, Frame)]
    assert counts["pictures"] == 500
    assert decoded < 0.8 * 500
    assert [frame.pts for frame in spared] == [frame.pts for frame in whole]
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(spared, whole, strict=True))


def test_key_frames_alone_are_all_that_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "k.mp4", Clip(seconds=20, b_frames=0))
    said = read(path, Sampling(keyframes_only=True), monkeypatch)
    assert [number_in(m.pixels) for m in said if isinstance(m, Frame)] == list(range(0, 500, 50))
    assert counts["video"] == 10
    assert sum(isinstance(m, tuple) and m[0] == "beat" for m in said) >= 1


def test_of_key_frames_alone_only_they_are_counted_as_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def observe(load: Load, dts: int, _now: int) -> None:
        load.step, load.behind = (2, seconds(9)) if seconds(3) < dts < seconds(9) else (0, 0)

    monkeypatch.setattr(Load, "observe", observe)
    path = make(tmp_path / "k.mp4", Clip(seconds=20, b_frames=0))
    said = read(path, Sampling(keyframes_only=True), monkeypatch)
    assert [number_in(m.pixels) for m in said if isinstance(m, Frame)] == [0, 50, *range(250, 500, 50)]
    assert [message for message in said if isinstance(message, tuple) and message[0] == "frugal"][-1][2] == 3


@given(
    apart=st.lists(st.integers(0, 200_000) | st.sampled_from([-MPEGTS_WRAP, -90_000]), min_size=1, max_size=50),
    keys=st.sets(st.integers(0, 50)),
)
def test_among_packets_that_are_not_asked_one_is_every_fifth_of_a_second(apart: list[int], keys: set[int]) -> None:
    """Whatever their times: so the camera is known to deliver, however few pictures it sends, and how late it is."""
    frugal, at, asked = Frugal(Fraction(1, 90_000), keys=True), 0, None
    for number, step in enumerate(apart):
        at += step
        packet = av.Packet(1)
        packet.dts, packet.is_keyframe = at, number in keys
        if frugal.ignores(packet):
            assert not packet.is_keyframe
            assert asked is not None
            assert 0 < abs(at - asked) < 18_000
        elif not packet.is_keyframe:
            asked = at
        assert not Frugal(Fraction(1, 90_000)).ignores(packet), "other policies have to do with each"


def test_a_packet_without_a_time_is_asked() -> None:
    frugal = Frugal(Fraction(1, 90_000), keys=True)
    assert not any(frugal.ignores(av.Packet(1)) for _ in range(3))


def test_of_key_frames_that_come_more_often_than_wanted_the_rest_is_left_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "k.mp4", Clip(seconds=20, b_frames=0, gop=25))
    said = read(path, Sampling(keyframes_only=True, floor_hz=0.25, ceiling_hz=0.25), monkeypatch)
    assert [number_in(m.pixels) for m in said if isinstance(m, Frame)] == [0, 100, 200, 300, 400]
    assert counts["video"] == 5


def grainy(path: Path) -> Path:
    """Two seconds of slopes with a camera's noise, a key frame in every five, encoded coarsely."""
    random, slope = np.random.default_rng(1), np.add.outer(np.arange(180), np.arange(320))[..., None] / 2
    with av.open(str(path), "w") as film:
        track = film.add_stream("libx264", rate=25, options={"crf": "34", "g": "5", "bf": "0"})
        track.width, track.height = 320, 180
        for _ in range(50):
            noisy = (slope + random.normal(0, 5, slope.shape)).clip(0, 255).astype(np.uint8)
            film.mux(track.encode(av.VideoFrame.from_ndarray(noisy.repeat(3, axis=2), format="rgb24")))
        film.mux(track.encode(None))
    return path


def test_key_frames_alone_look_as_if_all_were_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = grainy(tmp_path / "grainy.mp4")

    def pixels() -> list[Any]:
        said = read(path, Sampling(keyframes_only=True), monkeypatch)
        return [message.pixels.astype(float) for message in said if isinstance(message, Frame)]

    quick = pixels()
    monkeypatch.setattr(reading, "unfiltered", lambda _: None)
    whole = pixels()
    errors = [np.square(one - other).mean() for one, other in zip(quick, whole, strict=True)]
    assert 0 < max(errors) < 255**2 / 10**4, "40 dB"


@pytest.mark.parametrize("b_frames", [0, 2])
def test_what_is_given_up_is_counted_before_the_picture_behind_it_comes(
    b_frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And up to the end: who is late takes what waited within a moment, and may then lose the connection."""

    def observe(load: Load, dts: int, _now: int) -> None:
        load.step = 2 if seconds(3.3) < dts < seconds(7.3) or dts > seconds(9) else 0

    monkeypatch.setattr(Load, "observe", observe)
    path = make(tmp_path / "late.mp4", Clip(seconds=10, b_frames=b_frames))
    told, met = 0, list[int]()
    for said in read(path, Sampling(floor_hz=60, ceiling_hz=60), monkeypatch):
        if isinstance(said, Frame):
            met.append(number_in(said.pixels))
            assert met[-1] + 1 - len(met) <= told
        elif isinstance(said, tuple) and said[0] == "frugal":
            told = said[2]
    assert met[0] == 0
    assert 250 - len(met) == told > 100


def test_policies_are_read_as_they_are_written() -> None:
    usual = Sampling(0.5, 4.0, max_side=320)
    assert policy("motion", usual) == usual
    assert policy("rate:2", usual).floor_hz == policy("rate:2", usual).ceiling_hz == 2
    assert policy("adaptive:0.2-3", usual).rests
    assert policy("adaptive:0.2-3", usual).ceiling_hz == 3
    assert policy("keys", usual).keyframes_only
    assert not policy("scene", usual).motion
    assert all(policy(name, usual).max_side == 320 for name in POLICIES)


@pytest.mark.parametrize("text", ["", "fast", "motion:", "motion:4-1", "rate:0", "rate:100", "motion:1-2-3", "keys:-1"])
def test_what_is_no_policy_is_refused_and_told_what_is(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        policy(text, Sampling())
    assert "motion" in caught.value.advice
