"""Clips and stills against plain decoding: every picture carries its own number."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ingest.clips import cut, still
from ingest.errors import BrokenVideo, NotFound, NotVideo
from ingest.records import Moment, Segment, Span, StreamId, seconds
from tests.media import Clip, make, number_in, numbers_of, picture

START = Moment(1_700_000_000_000_000)


def segment(path: Path, start: float = 0.0, length: float = 10.0, first_pts: int = 0, epoch: int = 0) -> Segment:
    begin = Moment(START + seconds(start))
    span = Span(begin, Moment(begin + seconds(length)))
    return Segment(StreamId("cam"), epoch, span, str(path), path.stat().st_size, first_pts=first_pts)


def first_pts(path: Path) -> int:
    """Container time of a file's first picture, microseconds."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
        return round(first.pts * first.time_base * 1_000_000)


def span(start: float, end: float) -> Span:
    return Span(Moment(START + seconds(start)), Moment(START + seconds(end)))


def boxes(path: Path) -> list[bytes]:
    """The names of an MP4's outermost boxes, in order."""
    data, at, names = path.read_bytes(), 0, []
    while at + 8 <= len(data):
        names.append(data[at + 4 : at + 8])
        at += max(8, int.from_bytes(data[at : at + 4], "big"))
    return names


def test_a_copy_begins_at_the_key_frame_before(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "clip.mp4"
    covered = cut([segment(clips / "ten.mp4")], [span(3.3, 6.1)], out)
    numbers = numbers_of(out)
    assert covered.start == START + seconds(2.0)
    assert numbers[0] == 50
    assert numbers == list(range(50, 50 + len(numbers)))
    assert abs(covered.end - (START + seconds(numbers[-1] / 25 + 0.04))) < 1000
    assert covered.end >= START + seconds(6.1)
    assert boxes(out).index(b"moov") < boxes(out).index(b"mdat"), "a browser can begin before it has all"


@pytest.mark.parametrize("name", ["closed.mp4", "open.mp4", "closed.mkv"])
def test_what_a_copy_shows_is_told_by_its_beginning_and_the_time_in_it(name: str, tmp_path: Path) -> None:
    """Pictures are sent two before they are shown; of an open group, those before its key frame cannot be shown."""
    encoder = (("x264-params", f"open-gop={int(name.startswith('open'))}:b-adapt=0"),)
    source = make(tmp_path / name, Clip(seconds=6, encoder=encoder))
    begin = first_pts(source)
    out = tmp_path / "clip.mp4"
    covered = cut([segment(source, length=6, first_pts=begin)], [span(3.3, 4.6)], out)
    with av.open(str(out)) as container:
        shown = [(f.pts * f.time_base, number_in(f.to_ndarray(format="rgb24"))) for f in container.decode(video=0)]
    for at, number in shown:
        assert covered.start + at * 1_000_000 == pytest.approx(START + number * 40_000, abs=1000)
    assert shown[0] == (0, 50)
    assert shown[-1][1] >= 114
    assert covered.end == pytest.approx(START + (shown[-1][1] + 1) * 40_000, abs=1000)


@pytest.mark.parametrize("name", ["ten.mp4", "ten.mkv", "ten.ts"])
def test_an_exact_cut_has_exactly_the_pictures_of_the_span(name: str, clips: Path, tmp_path: Path) -> None:
    source = segment(clips / name, first_pts=first_pts(clips / name))
    out = tmp_path / "clip.mp4"
    covered = cut([source], [span(3.32, 6.12)], out, exact=True)
    numbers = numbers_of(out)
    assert numbers == list(range(83, 153)) or numbers == list(range(82, 153))
    assert covered.start >= START + seconds(3.32) - 1
    assert covered.end == pytest.approx(START + seconds(6.12), abs=1000)


def test_sound_goes_with_the_picture(clips: Path, tmp_path: Path) -> None:
    """The tone pauses from 2.7 to 3.0 and from 5.7 to 6.0 s; so it does in the clip."""
    out = tmp_path / "clip.mp4"
    cut([segment(clips / "ten.mp4")], [span(4.0, 8.0)], out)
    with av.open(str(out)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
        start, parts = None, []
        for frame in container.decode(audio=0):
            start = float(frame.pts * frame.time_base) if start is None else start
            parts += [part.to_ndarray().ravel() for part in resampler.resample(frame)]
    sound = np.concatenate(parts)
    assert start is not None
    loud = [np.abs(sound[int((at - start) * 16_000) :][:800]).max() > 0.1 for at in (1.5, 1.8, 1.92, 2.2)]
    assert loud == [True, False, False, True]


def test_other_codecs_are_made_playable(tmp_path: Path) -> None:
    source = make(tmp_path / "old.avi", Clip(codec="mpeg4", sound="mp3", seconds=6, b_frames=0))
    out = tmp_path / "clip.mp4"
    cut([segment(source, length=6, first_pts=first_pts(source))], [span(1, 3)], out)
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert container.streams.audio[0].codec_context.name == "aac"
    with av.open(str(source)) as container:
        shown = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    assert set(numbers_of(out)) >= {number_in(rgb) for at, rgb in shown if 1 <= at < 3}


def test_a_clip_over_the_border_of_segments_of_another_size_is_encoded(clips: Path, tmp_path: Path) -> None:
    """A camera whose resolution was changed."""
    other = make(tmp_path / "other.mp4", Clip(width=640, height=360))
    out = tmp_path / "clip.mp4"
    covered = cut([segment(clips / "ten.mp4"), segment(other, start=10, epoch=1)], [span(8, 12)], out)
    assert numbers_of(out) == [*range(200, 250), *range(50)]
    assert covered == span(8, 12)


def test_a_gap_between_segments_stays_as_long_as_it_was(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "clip.mp4"
    cut([segment(clips / "ten.mp4"), segment(clips / "ten.mp4", start=15, epoch=1)], [span(8, 17)], out)
    with av.open(str(out)) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert max(after - before for before, after in itertools.pairwise(times)) == pytest.approx(5.04, abs=0.05)


def sound_of(path: Path) -> tuple[float, np.ndarray]:
    """When the sound begins and its samples at 16 kHz, with silence where it has holes."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
        frames = [(float(f.pts * f.time_base), f) for f in container.decode(audio=0)]
        first = frames[0][0]
        whole = np.zeros(int((frames[-1][0] - first + 1) * 16_000), np.float32)
        for at, frame in frames:
            frame.pts = None
            for part in resampler.resample(frame):
                samples, begin = part.to_ndarray().ravel(), int((at - first) * 16_000)
                whole[begin : begin + len(samples)] = samples
    return first, whole


@pytest.mark.parametrize("sound", ["aac", "mp3"])
def test_an_encoded_clip_that_is_asked_for_from_before_the_recording_begins_with_it(sound: str, tmp_path: Path) -> None:
    """As it says itself: a player that began three seconds before would show every picture at a wrong time."""
    film = make(tmp_path / "film.mp4", Clip(seconds=4, sound=sound))
    out = tmp_path / "clip.mp4"
    assert cut([segment(film, start=10, length=4)], [span(7, 13)], out, exact=True) == span(10, 13)
    with av.open(str(out)) as container:
        times = [round(float(frame.pts * frame.time_base) * 25) for frame in container.decode(video=0)]
    assert times == [*range(75)]
    first, heard = sound_of(out)
    level = [float(np.abs(heard[int((at - first) * 16_000) :][:800]).max()) for at in (0.5, 2.6, 2.8, 2.9)]
    assert [one > 0.1 for one in level] == [True, True, False, False]


@pytest.mark.parametrize("sound", ["aac", "mp3"])
def test_what_lies_between_the_spans_is_left_out_and_its_time_stays(sound: str, tmp_path: Path) -> None:
    """Also of the sound, copied or encoded: the tone is heard outside the hole and nothing within it."""
    source = make(tmp_path / "ten.mp4", Clip(sound=sound))
    out = tmp_path / "clip.mp4"
    covered = cut([segment(source)], [span(1, 3), span(6.4, 8)], out, exact=True)
    assert covered == span(1, 8)
    assert numbers_of(out) == [*range(25, 75), *range(160, 200)]
    with av.open(str(out)) as container:
        times = [round(float(frame.pts * frame.time_base) * 25) for frame in container.decode(video=0)]
    assert times == [*range(50), *range(135, 175)]
    first, heard = sound_of(out)
    level = [float(np.abs(heard[int((at - first) * 16_000) :][:800]).max()) for at in (1.0, 3.0, 5.0, 5.6, 6.5)]
    assert [one > 0.1 for one in level] == [True, False, False, True, True]


def test_a_clip_of_hundreds_of_segments_needs_few_open_files(clips: Path, tmp_path: Path) -> None:
    """A decoder child may hold 64."""
    many = [segment(clips / "ten.mp4", start=10 * number) for number in range(100)]
    out = tmp_path / "clip.mp4"
    covered = cut(many, [span(0, 1000)], out)
    assert covered.duration == pytest.approx(seconds(1000), abs=seconds(0.1))
    with av.open(str(out)) as container:
        assert container.streams.video[0].frames == pytest.approx(25_000, abs=200)


@pytest.mark.parametrize(
    ("start", "end", "numbers"), [(3.2, 4.5, [24]), (3.2, 5.1, [24, 125, 126, 127]), (0.4, 0.48, [10, 11])]
)
def test_a_picture_that_stands_for_long_is_in_an_exact_clip_of_its_time(
    start: float, end: float, numbers: list[int], tmp_path: Path
) -> None:
    """A camera that sends a second of pictures every five: between them the last one stands."""
    film = tmp_path / "slow.mp4"
    with av.open(str(film), "w") as container:
        track = container.add_stream("libx264", rate=25)
        track.width, track.height, track.options = 320, 180, {"preset": "ultrafast", "bf": "0"}
        for number in range(250):
            if number % 125 < 25:
                frame = av.VideoFrame.from_ndarray(picture(number, Clip()), "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(track.encode(frame))
        container.mux(track.encode(None))
    out = tmp_path / "clip.mp4"
    covered = cut([segment(film)], [span(start, end)], out, exact=True)
    assert numbers_of(out) == numbers
    assert covered.start == span(start, end).start


def test_no_segment_no_clip_and_no_half_file(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "clip.mp4"
    with pytest.raises(NotFound):
        cut([segment(clips / "ten.mp4")], [span(20, 30)], out)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises((NotVideo, BrokenVideo)):
        cut([segment(tmp_path / "broken.mp4")], [span(1, 3)], out)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


@pytest.mark.parametrize("name", ["ten.mp4", "ten.mkv", "ten.ts"])
@pytest.mark.parametrize("at", [0.0, 0.039, 0.04, 1.98, 2.0, 5.013, 9.99])
def test_a_still_is_the_picture_that_was_shown(name: str, at: float, clips: Path) -> None:
    source = segment(clips / name, first_pts=first_pts(clips / name))
    moment = Moment(START + seconds(at))
    picture = still([source], moment)
    rgb = np.asarray(Image.open(io.BytesIO(picture.jpeg)))
    assert number_in(rgb) == int(round(at * 1000) // 40)
    assert picture.moment == pytest.approx(START + number_in(rgb) * 40_000, abs=1000)


def test_a_still_is_no_larger_than_asked(clips: Path) -> None:
    picture = still([segment(clips / "ten.mp4")], Moment(START + seconds(1)), max_side=100)
    assert Image.open(io.BytesIO(picture.jpeg)).size == (100, 56)


def test_no_picture_where_nothing_was_recorded(clips: Path) -> None:
    with pytest.raises(NotFound) as caught:
        still([segment(clips / "ten.mp4")], Moment(START + seconds(11)))
    assert caught.value.advice


def told_by_the_file_alone(source: Path, out: Path, pixel: Fraction) -> Path:
    """The same pictures, the shape of whose pixels the codec does not know."""
    with av.open(str(source)) as old, av.open(str(out), "w") as new:
        track = new.add_stream_from_template(old.streams.video[0])
        track.codec_context.sample_aspect_ratio = pixel
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                new.mux(packet)
    return out


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "container"])
def test_anamorphic_film_keeps_its_shape(codec: str, rotation: int, tmp_path: Path) -> None:
    """PAL in 16:9: 720 x 576 pixels, each wider than high, in clips of every kind and in stills."""
    pixel, plain = Fraction(64, 45), codec == "container"
    made = Clip(codec="libx264" if plain else codec, width=360, height=288, seconds=3, sound="", rotation=rotation)
    film = make(tmp_path / "film.mp4", made if plain else replace(made, pixel=pixel))
    if plain:
        film = told_by_the_file_alone(film, tmp_path / "told.mp4", pixel)
    wide, high = (288, 512) if rotation else (512, 288)
    shown = still([segment(film, length=3)], Moment(START + seconds(1)))
    assert Image.open(io.BytesIO(shown.jpeg)).size == (wide, high)
    for exact in (False, True):
        out = tmp_path / f"{exact}.mp4"
        cut([segment(film, length=3)], [span(0, 2)], out, exact=exact)
        with av.open(str(out)) as container:
            track = container.streams.video[0]
            stands = round(next(container.decode(video=0)).rotation) % 180 == 0
            shape = track.width * (track.sample_aspect_ratio or 1) / track.height
            assert (shape if stands else 1 / shape) == pytest.approx(wide / high, rel=0.01)


def test_a_picture_of_another_shape_is_not_squeezed_into_a_clip(clips: Path, tmp_path: Path) -> None:
    """A camera that is changed from 16:9 to 4:3: its pictures stand in the middle, with black beside them."""
    other = make(tmp_path / "other.mp4", Clip(width=240, height=180, seconds=4))
    out = tmp_path / "clip.mp4"
    cut([segment(clips / "ten.mp4"), segment(other, start=10, length=4, epoch=1)], [span(9, 12)], out)
    with av.open(str(out)) as container:
        *_, last = container.decode(video=0)
    rgb = last.to_ndarray(format="rgb24").astype(int)
    assert rgb.shape == (180, 320, 3)
    with av.open(str(other)) as container:
        wanted = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][49]
    assert np.abs(rgb[:, 40:280] - wanted).mean() < 4
    assert max(rgb[:, :38].max(), rgb[:, 282:].max()) < 12


@pytest.mark.parametrize("rotation", [90, 180, -90])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_turned_video_is_upright_in_stills_and_in_clips(codec: str, rotation: int, tmp_path: Path) -> None:
    """Of a phone held upright: copied with what turns it, or encoded with its sides changed."""
    options = (("movflags", "faststart"),)
    plain = make(tmp_path / "plain.mp4", Clip(codec=codec, seconds=3, sound="", numbered=False, options=options))
    phone = make(
        tmp_path / "phone.mp4",
        Clip(codec=codec, seconds=3, sound="", numbered=False, rotation=rotation, options=options),
    )
    with av.open(str(plain)) as container:
        lying = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][25]
    wanted = np.rot90(lying, rotation // 90).astype(int)
    shown = np.asarray(Image.open(io.BytesIO(still([segment(phone, length=3)], Moment(START + seconds(1))).jpeg)))
    assert shown.shape == wanted.shape
    assert np.abs(shown - wanted).mean() < 4
    for exact in (False, True):
        out = tmp_path / f"{exact}.mp4"
        covered = cut([segment(phone, length=3)], [span(0, 2)], out, exact=exact)
        copied = codec == "libx264" and not exact
        clip = segment(out, start=(covered.start - START) / 1e6, length=2)
        shown = np.asarray(Image.open(io.BytesIO(still([clip], Moment(START + seconds(1))).jpeg)))
        assert shown.shape == wanted.shape
        assert np.abs(shown - wanted).mean() < 6
        with av.open(str(out)) as container:
            frame = next(container.decode(video=0))
            assert (round(frame.rotation) % 180 == 0 and frame.height > frame.width) or copied or rotation == 180


@pytest.mark.parametrize(("sound", "exact"), [("aac", False), ("mp3", True)])
def test_sound_that_is_switched_on_later_is_heard_when_it_was(sound: str, exact: bool, tmp_path: Path) -> None:
    """The tone pauses from 2.7 to 3.0 s of the second piece, which begins at 4 s: 6.7 s into the clip."""
    mute = make(tmp_path / "mute.mp4", Clip(seconds=4, sound=""))
    loud = make(tmp_path / "loud.mp4", Clip(seconds=4, sound=sound))
    out = tmp_path / "clip.mp4"
    pieces = [segment(mute, length=4), segment(loud, start=4, length=4, epoch=1)]
    covered = cut(pieces, [span(0, 8)], out, exact=exact)
    assert covered.duration == pytest.approx(seconds(8), abs=seconds(0.1))
    assert numbers_of(out) == [*range(100), *range(100)]
    first, heard = sound_of(out)
    heard = np.concatenate([np.zeros(round(first * 16_000), np.float32), heard])
    loudly = [np.abs(heard[int(at * 16_000) :][:800]).max() > 0.1 for at in (0.5, 3.8, 4.5, 6.6, 6.8, 7.1)]
    assert loudly == [False, False, True, True, False, True]
