"""What is not decoded, because no frame is made from it, against decoding everything of the same packets."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ingest import deferred, reading
from ingest.child import source_details
from ingest.deferred import Deferred
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.orders import Orders
from ingest.records import Frame
from ingest.sampling import Sampling
from ingest.sources import parse
from tests.media import Clip, make

ONE = Sampling(floor_hz=1.0, ceiling_hz=1.0)
CLIPS = {
    "a key frame between frames": Clip(seconds=12, b_frames=0, start_s=0.6),
    "with start codes": Clip(seconds=12, b_frames=0, gop=37, container="mpegts"),
    "key frames that are far apart": Clip(seconds=12, b_frames=0, gop=240),
    "hevc": Clip(seconds=12, codec="libx265", gop=40, encoder=(("x265-params", "bframes=0:keyint=40:log-level=none"),)),
    "mpeg4": Clip(seconds=12, codec="mpeg4", gop=40),
    "mjpeg": Clip(seconds=6, codec="mjpeg", pixel_format="yuvj420p", container="matroska"),
}
OUT_OF_ORDER = {
    "b-frames": Clip(seconds=12, b_frames=2, gop=40),
    "open groups": Clip(seconds=12, b_frames=2, gop=40, encoder=(("x264-params", "open-gop=1:bframes=2"),)),
    "key frames that are not whole": Clip(
        seconds=12, b_frames=0, gop=40, encoder=(("preset", "veryfast"), ("x264-params", "intra-refresh=1:bframes=0"))
    ),
}


class Counted(reading.Reader):
    """A reader that counts the pictures it decodes."""

    pictures = 0

    def _picture(self, frame: Any) -> None:
        Counted.pictures += 1
        super()._picture(frame)


def read(path: Path, sampling: Sampling, monkeypatch: pytest.MonkeyPatch, *, eager: bool = False) -> list[Frame]:
    """Read a file as if it were live."""
    with monkeypatch.context() as patch:
        patch.setattr(Orders, "end", lambda _self: False)
        patch.setattr(reading, "Reader", Counted)
        if eager:
            patch.setattr(Deferred, "take", lambda _self, packet, wanted: [packet])
        said: list[Any] = []
        Counted.pictures = 0
        task = {
            "stream": "cam", "live": True, "epoch": 0, "starts_at": 0, "sampling": asdict(sampling), "audio": True,
            "resume": None, "heard": None, "skip": None, "folder": None, "segment_s": 0.0,
        }  # fmt: skip
        reading.job({"source": source_details(parse(str(path)), Guard([])), "task": task}, Limits(), said.append)
    return [message for message in said if isinstance(message, Frame)]


def assert_same(some: list[Frame], others: list[Frame]) -> None:
    assert [(frame.pts, frame.reason) for frame in some] == [(frame.pts, frame.reason) for frame in others]
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("rate", [1.0, 4.0])
def test_frames_are_the_same_to_the_last_bit_and_cost_less(
    name: str, rate: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / ("f.ts" if CLIPS[name].container == "mpegts" else "f.mkv"), CLIPS[name])
    sampling = Sampling(floor_hz=rate, ceiling_hz=rate)
    eager = read(path, sampling, monkeypatch, eager=True)
    everything = Counted.pictures
    assert_same(read(path, sampling, monkeypatch), eager)
    assert len(eager) >= 6
    assert Counted.pictures < everything


@pytest.mark.parametrize("name", OUT_OF_ORDER)
def test_what_is_made_from_pictures_behind_a_key_frame_or_before_it_has_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "f.mp4", OUT_OF_ORDER[name])
    eager = read(path, ONE, monkeypatch, eager=True)
    assert_same(read(path, ONE, monkeypatch), eager)
    assert len(eager) >= 12


def test_without_a_look_at_the_key_frame_pictures_would_be_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case before, with the guard taken away: so it is the guard that makes it right."""
    path = make(tmp_path / "f.mp4", OUT_OF_ORDER["key frames that are not whole"])
    eager = read(path, ONE, monkeypatch, eager=True)
    monkeypatch.setattr(deferred, "begins_anew", lambda _key: True)
    careless = read(path, ONE, monkeypatch)
    assert not all(np.array_equal(one.pixels, other.pixels) for one, other in zip(careless, eager, strict=True))


def test_nothing_waits_in_a_group_once_its_pictures_come_in_another_order_than_they_are_shown(tmp_path: Path) -> None:
    """Of a picture that comes before those that are shown before it, nobody knows yet whether it is wanted."""
    path = make(tmp_path / "f.mp4", Clip(seconds=4, b_frames=2, gop=40))
    groups, newest, ordered = 0, -1, True
    with av.open(str(path)) as container:
        wait = Deferred(Fraction(container.streams.video[0].time_base or 0))
        for packet in container.demux(video=0):
            if packet.pts is None:
                continue
            if packet.is_keyframe:
                groups, ordered = groups + 1, True
            elif packet.pts < newest:
                ordered = False
            newest = packet.pts
            ready = wait.take(packet, wanted=False)
            assert ordered or packet in ready
    assert groups > 1
    assert not ordered


def test_what_waits_is_decoded_before_it_is_too_much_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "f.mkv", CLIPS["key frames that are far apart"])
    monkeypatch.setattr(Deferred, "took", lambda self, _spent, _packets: setattr(self, "_each", 0.1))
    lengths: list[int] = []
    take = Deferred.take

    def watched(self: Deferred, packet: Any, *, wanted: bool) -> list[Any]:
        lengths.append(len(ready := take(self, packet, wanted=wanted)))
        return ready

    monkeypatch.setattr(Deferred, "take", watched)
    read(path, ONE, monkeypatch)
    assert max(lengths) == 2


def test_with_few_frames_wanted_a_stream_is_looked_at_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A jump of its clock, and that it lives, are seen in pictures."""
    path = make(tmp_path / "f.mkv", Clip(seconds=30, b_frames=0, gop=750))
    waiting = 0
    most = 0
    take = Deferred.take

    def watched(self: Deferred, packet: Any, *, wanted: bool) -> list[Any]:
        nonlocal waiting, most
        ready = take(self, packet, wanted=wanted)
        waiting = 0 if ready else waiting + 1
        most = max(most, waiting)
        return ready

    monkeypatch.setattr(Deferred, "take", watched)
    monkeypatch.setattr(Deferred, "took", lambda *_: None)
    read(path, Sampling(floor_hz=0.05, ceiling_hz=0.05), monkeypatch)
    assert most == 4 * 25


def test_a_copy_of_a_packet_decodes_as_the_packet_does(tmp_path: Path) -> None:
    """Decoders read a little behind a packet's end: there have to be zeros, and not what happens to lie there."""
    path = make(tmp_path / "f.mkv", CLIPS["mpeg4"])
    with av.open(str(path)) as one, av.open(str(path)) as other:
        for packet, same in zip(one.demux(video=0), other.demux(video=0), strict=True):
            if packet.size:
                copy = deferred.copied(same, Fraction(same.time_base))
                [whole], [again] = packet.decode(), other.streams.video[0].codec_context.decode(copy)
                assert np.array_equal(whole.to_ndarray(), again.to_ndarray())
                assert (whole.pts, whole.key_frame) == (again.pts, again.key_frame)
