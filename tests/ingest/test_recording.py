"""What is recorded of packets, without a camera."""

from __future__ import annotations

import resource
import struct
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ingest import reading, recording
from ingest.child import source_details
from ingest.guard import Guard
from ingest.in_band import parameter_sets, shape_in
from ingest.limits import Limits
from ingest.opening import Opened, open_source
from ingest.orders import Orders
from ingest.recording import Recorder
from ingest.records import Moment, Segment, Span, seconds
from ingest.sampling import Sampling
from ingest.sources import parse
from ingest.timeline import Timeline
from tests.ingest.conftest import STREAM
from tests.media import Clip, make, numbers_of


def test_without_a_key_frame_for_too_long_a_recording_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What never ends can never go; it begins again with the next key frame."""
    film = make(tmp_path / "rare.mkv", Clip(seconds=7, gop=125, b_frames=0, sound=""))
    monkeypatch.setattr(recording, "_LONGEST", seconds(3))
    with open_source({"scheme": "file", "location": str(film)}, Limits()) as opened:
        recorder = Recorder(opened, str(tmp_path / "recorded"), STREAM, 1.0)
        line = Timeline(offset=0)
        packets = opened.packets(opened.video)
        said = [one for packet in packets for one in recorder.add(packet, line)] + [*recorder.close()]
    spans = [(one.span.start, one.span.end) for one in said if isinstance(one, Segment)]
    assert [type(one) for one in said] == [Segment, str, Segment]
    assert spans == [(0, seconds(3)), (seconds(5), seconds(7))]


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray() for frame in film.decode(video=0)]


def whole_pictures(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(packet.size > 0 and not packet.is_corrupt for packet in film.demux(video=0))


def torn(film: Path, path: Path) -> Path:
    """An MPEG transport stream up to the first packet of its last picture."""
    data = film.read_bytes()
    begins = [at for at in range(0, len(data), 188) if data[at + 1] == 0x41 and data[at + 2] == 0]
    assert len(data) - begins[-1] > 188
    path.write_bytes(data[: begins[-1] + 188])
    return path


def connected(monkeypatch: pytest.MonkeyPatch, *, asked_for: bool) -> None:
    """What is read comes as of a camera, whose connection ends, `asked_for` or not."""
    monkeypatch.setattr(Opened, "ends", False)
    monkeypatch.setattr(Orders, "end", lambda orders: setattr(orders, "over", asked_for))


def read(film: Path, folder: Path) -> list[Any]:
    """What a child says of a film that it takes for a camera, and records."""
    task: dict[str, Any] = {
        "stream": "cam", "live": True, "epoch": 0, "starts_at": 0, "sampling": asdict(Sampling()), "audio": True,
        "resume": None, "heard": None, "skip": None, "folder": str(folder), "segment_s": 1e6,
    }  # fmt: skip
    said: list[Any] = []
    reading.job({"source": source_details(parse(str(film)), Guard([])), "task": task}, Limits(), said.append)
    return said


@pytest.mark.parametrize("asked_for", [False, True])
def test_a_picture_that_the_end_of_the_connection_tore_is_not_recorded(
    asked_for: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libav hands out what there is of it; a decoder shows the rest of it grey, or takes none of it."""
    whole = make(tmp_path / "whole.ts", Clip(seconds=2, gop=25, b_frames=0, sound=""))
    film = whole if asked_for else torn(whole, tmp_path / "torn.ts")
    connected(monkeypatch, asked_for=asked_for)
    said = read(film, tmp_path / "recorded")
    recorded = [picture for one in said if isinstance(one, Segment) for picture in pictures(Path(one.path))]
    expected = pictures(whole)[: None if asked_for else -1]
    assert len(recorded) == len(expected) > 40
    assert all(np.array_equal(one, other) for one, other in zip(recorded, expected, strict=True))


@pytest.mark.parametrize("b_frames", [0, 3])
def test_what_a_killed_process_leaves_begins_when_its_first_picture_is_shown(b_frames: int, tmp_path: Path) -> None:
    """With B-frames that is later than when it is decoded, and where clips are cut."""
    film, folder = make(tmp_path / "film.mkv", Clip(seconds=5, b_frames=b_frames, sound="")), tmp_path / "recorded"
    with open_source({"scheme": "file", "location": str(film)}, Limits()) as opened:
        recorder = Recorder(opened, str(folder), STREAM, 60.0)
        for packet in opened.packets(opened.video):
            assert not [*recorder.add(packet, Timeline(offset=0))]
        said: list[Any] = []
        assert recording.rescue_job({"folder": str(folder), "stream": STREAM}, Limits(), said.append) == 1
    (segment,) = said
    with av.open(segment.path) as left:
        times = [frame.pts * frame.time_base * 1_000_000 for frame in left.decode(video=0)]
    assert segment.first_pts == pytest.approx(float(times[0]), abs=1)
    assert segment.begins_anew, "what lay before it is not looked for"
    assert segment.span.duration == pytest.approx(float(times[-1] - times[0]), abs=100_000)


def test_where_there_is_no_more_room_what_was_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of at once, and nobody who holds it as evidence has to fear for it."""
    film, folder = make(tmp_path / "film.mkv", Clip(seconds=8, gop=25, b_frames=0, sound="")), tmp_path / "recorded"
    connected(monkeypatch, asked_for=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (film.stat().st_size // 2, before[1]))
    try:
        said = read(film, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    segments = [one for one in said if isinstance(one, Segment)]
    assert [one[1] for one in said if isinstance(one, tuple) and one[0] == "unrecorded"]
    assert sorted(map(str, folder.iterdir())) == sorted(one.path for one in segments)
    shown = [whole_pictures(Path(one.path)) for one in segments]
    assert shown[0] >= 50
    assert sum(shown) > 120, "it goes on with the next key frame"
    assert [one.begins_anew for one in segments] == [True] + [False] * (len(segments) - 1), "with the same header"


def test_what_nothing_can_be_made_of_is_set_aside_and_what_is_empty_goes(tmp_path: Path) -> None:
    damaged, header = (tmp_path / f"00001-{at}-0.mp4.part" for at in (seconds(70), seconds(80)))
    damaged.write_bytes(bytes(100_000))
    header.write_bytes((8).to_bytes(4, "big") + b"moov")
    (tmp_path / f"00001-{seconds(90)}-0.mp4.part").touch()
    assert recording.rescue_job({"folder": str(tmp_path), "stream": STREAM}, Limits(), lambda _: None) == 0
    ((aside, hour),) = recording.unreadable(tmp_path)
    assert [*tmp_path.iterdir()] == [aside]
    assert (aside.read_bytes(), hour) == (bytes(100_000), Span(Moment(seconds(70)), Moment(seconds(3670))))


def anew(packet: av.Packet, data: bytes, shift: int, track: Any) -> av.Packet:
    """A packet with the times of another, `shift` ticks later."""
    made = av.Packet(data)
    made.time_base, made.pts, made.dts, made.duration = packet.time_base, packet.pts, packet.dts, packet.duration
    made.pts, made.dts, made.is_keyframe, made.stream = made.pts + shift, made.dts + shift, packet.is_keyframe, track
    return made


def sides_told(segment: Path) -> tuple[int, ...]:
    """Width and height as the header's sample entry has them (ISO/IEC 14496-12, 12.1.3), which libav overrules."""
    data = segment.read_bytes()
    entry, config = (b"avc1", b"avcC") if b"avcC" in data else (b"hev1", b"hvcC")
    return struct.unpack_from(">HH", data, data.rindex(entry, 0, data.index(config)) + 28)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_camera_that_changes_its_size_begins_a_segment_that_says_so(codec: str, tmp_path: Path) -> None:
    """Whoever plays it believes the header, whatever stands amid the pictures."""
    small, large = (
        make(
            tmp_path / f"{height}.ts",
            Clip(seconds=2, gop=25, b_frames=0, sound="", codec=codec, width=height * 16 // 9, height=height),
        )
        for height in (180, 360)
    )
    with (
        open_source({"scheme": "file", "location": str(small)}, Limits()) as opened,
        av.open(str(large)) as later,
    ):
        track = opened.video
        recorder = Recorder(opened, str(tmp_path / "recorded"), STREAM, 60.0)

        def packets() -> Iterator[av.Packet]:
            yield from opened.packets(track)
            yield from (anew(one, bytes(one), 180_000, track) for one in later.demux(video=0) if one.size)

        said = [one for packet in packets() for one in recorder.add(packet, Timeline(offset=0))] + [*recorder.close()]
    found = [one for one in said if isinstance(one, Segment)]
    assert [one.span.duration for one in found] == pytest.approx([seconds(2)] * 2, abs=50_000)
    for segment, film in zip(found, (small, large), strict=True):
        with av.open(segment.path) as held, av.open(str(film)) as source:
            header = bytes(held.streams.video[0].codec_context.extradata or b"")
            first = bytes(next(source.demux(video=0)))
        sets = parameter_sets("h264" if codec == "libx264" else "hevc", first).split(b"\0\0\0\1")[1:]
        assert len(sets) >= 2
        assert all(one in header for one in sets)
        assert numbers_of(Path(segment.path)) == numbers_of(film)
        height = int(film.stem)
        assert sides_told(Path(segment.path)) == (height * 16 // 9, height)


@pytest.mark.parametrize(("codec", "encoder"), [("h264", "libx264"), ("hevc", "libx265")])
def test_of_a_torn_key_frame_no_wrong_size_is_told(codec: str, encoder: str, tmp_path: Path) -> None:
    with av.open(str(make(tmp_path / "film.ts", Clip(seconds=0.2, sound="", codec=encoder)))) as film:
        key = bytes(next(film.demux(video=0)))
    whole = 320, 180, Fraction(1)
    assert shape_in(codec, key) == whole
    assert {shape_in(codec, key[:size]) for size in range(0, len(key), len(key) // 20)} <= {None, whole}
    assert shape_in(codec, bytes(range(256)) * 9) is None


def test_a_picture_that_comes_in_two_pieces_is_recorded_as_one(tmp_path: Path) -> None:
    """Servers that say before each slice how it is decoded make libav take each for a picture of its own."""
    film = make(tmp_path / "film.ts", Clip(seconds=4, gop=25, b_frames=0, sound="", encoder=(("slices", "2"),)))
    with open_source({"scheme": "file", "location": str(film)}, Limits()) as opened:
        recorder = Recorder(opened, str(tmp_path / "recorded"), STREAM, 60.0)

        def pieces() -> Iterator[av.Packet]:
            for packet in opened.packets(opened.video):
                data = bytes(packet)
                middle = data.rfind(b"\0\0\1") if data else 0
                yield packet if not data else anew(packet, data[:middle], 0, opened.video)
                if data:
                    yield anew(packet, data[middle:], 0, opened.video)

        said = [one for packet in pieces() for one in recorder.add(packet, Timeline(offset=0))] + [*recorder.close()]
    (segment,) = said
    assert isinstance(segment, Segment)
    assert all(np.array_equal(*two) for two in zip(pictures(Path(segment.path)), pictures(film), strict=True))


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video", "mpeg4"])
def test_a_camera_that_showed_nothing_while_it_was_opened_is_recorded(codec: str, tmp_path: Path) -> None:
    """As one that stalls just then: the size of its pictures is learnt as they are decoded."""
    film = make(tmp_path / "film.ts", Clip(seconds=4, gop=25, b_frames=0, codec=codec))
    with av.open(str(film), options={"analyzeduration": "1", "probesize": "32"}) as container:
        video = container.streams.video[0]
        assert not video.width
        opened, said = Opened(container, video, None, bounded=True, limits=Limits()), list[Any]()
        recorder = Recorder(opened, str(tmp_path / "recorded"), STREAM, 60.0)
        for packet in container.demux(video):
            packet.decode()
            said += recorder.add(packet, Timeline(offset=0))
        (segment,) = [*said, *recorder.close()]
    recorded = pictures(Path(segment.path))
    assert len(recorded) > 75, "of what comes before the first key frame nothing is recorded"
    assert all(np.array_equal(*two) for two in zip(recorded[::-1], pictures(film)[::-1], strict=False))


def test_what_becomes_another_codec_on_the_way_has_no_such_parameters() -> None:
    """A transport stream may do so: libav names its track anew amid the packets."""
    assert parameter_sets("mpeg2video", b"\0\0\1\xb3\x14\0\xf0\x13\0\0\1\0\0") == b""
