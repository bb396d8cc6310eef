"""A file in pieces, against the file: whichever is made first, nothing is twice and nothing is missing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest import keyframes, pieces
from ingest.keyframes import Keys
from ingest.limits import Limits
from ingest.pieces import Piece, planned
from ingest.records import Moment, Segment, Span, StreamId, seconds
from tests.media import Clip, make_sound, number_in, picture
from tests.media import make as film_of

START = Moment(1_700_000_000_000_000)
SMALL = Clip(seconds=8, gop=30, b_frames=2, width=96, height=64)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small films have as many pieces as long ones."""
    monkeypatch.setattr(pieces, "LONGEST", seconds(2.5))
    monkeypatch.setattr(pieces, "ENCODED", seconds(2))


class Track(NamedTuple):
    """Of the packets of a track, in order: when each is decoded, how long it lasts, and when it is shown; seconds."""

    decoded: list[float]
    lasts: list[float]
    shown: list[float]


def segment_of(path: Path) -> Segment:
    """As ingesting tells of it: its first picture, or sound, is at `START`."""
    with av.open(str(path)) as container:
        track = (*container.streams.video, *container.streams.audio)[0]
        first = next(frame for frame in container.decode(track) if frame.pts is not None)
        first_pts = round(first.pts * first.time_base * 1_000_000)
        span = Span(START, Moment(START + (container.duration or 0)))
    return Segment(StreamId("film"), 0, span, str(path), path.stat().st_size, first_pts, owned=False)


def keys_of(segment: Segment) -> Keys | None:
    said: list[Any] = []
    keyframes.job({"segments": [segment]}, Limits(), said.append)
    found: Keys | None = next(message[1] for message in said if message[0] == "keys")
    return found


def plan(segment: Segment, covered: Span | None = None) -> list[tuple[Span, bool]]:
    covered = covered or segment.span
    erased = covered.end < segment.span.end
    return list(planned(segment.span, keys_of(segment), covered, covered, erased=erased, growing=False))


def made(piece: Piece, out: Path) -> bytes:
    """With its header."""
    details = {name: getattr(piece, name) for name in Piece.__slots__}
    pieces.job({**details, "out": str(out)}, Limits(), lambda _: None)
    return out.read_bytes()


def joined(segment: Segment, listed: Sequence[tuple[Span, bool]], folder: Path, covered: Span | None = None) -> Path:
    """As a player has them, which asked for them in any order."""
    covered = covered or segment.span
    erased = covered.end < segment.span.end
    begin, exact = listed[0][0].start, listed[0][1]
    header = made(Piece(segment, Span(begin, begin), Span(begin, begin), exact), folder / "header")
    bodies: dict[Span, bytes] = {}
    for span, exact in random.Random(0).sample(listed, len(listed)):
        whole = made(Piece.of(segment, span, covered, erased=erased, exact=exact), folder / "piece")
        assert whole.startswith(header), "one header for all of them"
        bodies[span] = whole.removeprefix(header)
    out = folder / "joined.mp4"
    out.write_bytes(header + b"".join(bodies[span] for span, _ in listed))
    return out


def track(path: Path, kind: str) -> Track:
    with av.open(str(path)) as container:
        source = next(one for one in container.streams if one.type == kind)
        found = [packet for packet in container.demux(source) if packet.pts is not None]
        base = float(found[0].time_base)
        times = [(packet.pts if packet.dts is None else packet.dts, packet.duration or 0) for packet in found]
        return Track(
            [decoded * base for decoded, _ in times],
            [lasts * base for _, lasts in times],
            [packet.pts * base for packet in found],
        )


def goes_on(found: Track) -> bool:
    """Each packet begins where the one before it ends."""
    ends = (begin + lasts for begin, lasts in zip(found.decoded, found.lasts, strict=True))
    return all(abs(end - begin) < 2e-4 for end, begin in zip(ends, found.decoded[1:], strict=False))


def numbers(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [number_in(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def varying(path: Path) -> Path:
    """Pictures last between a sixtieth and three quarters of a second, with B-frames, a key frame every twenty."""
    lasts = random.Random(1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.codec_context.gop_size = 96, 64, 20
        video.codec_context.time_base, video.options = Fraction(1, 1000), {"bf": "2", "sc_threshold": "0"}
        at = 0
        for number in range(100):
            frame = av.VideoFrame.from_ndarray(picture(number, SMALL), "rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            at += lasts.choice([16, 33, 40, 100, 750])
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def small(name: str, **how: Any) -> Callable[[Path], Path]:
    return lambda folder: film_of(folder / name, replace(SMALL, **how))


HOW: Final = {"erased": False, "growing": False}
FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"),)
FILMS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "mp4": (small("a.mp4"), 4),
    "begins late": (small("a.mp4", b_frames=3, start_s=7.3), 4),
    "matroska": (small("a.mkv"), 4),
    "open groups of pictures": (small("a.mkv", encoder=(("x264-params", "open-gop=1"),)), 4),
    "fragmented": (small("a.mp4", options=FRAGMENTED), 4),
    "one key frame": (small("a.mp4", gop=10_000), 1),
    "sound encoded": (small("a.mp4", sound="mp3"), 4),
    "all encoded": (small("a.mkv", codec="mpeg4", sound="mp3", b_frames=0), 4),
    "transport stream": (small("a.ts", fps=20), 4),
    "film rate": (small("a.mp4", codec="mpeg4", fps=16, b_frames=0), 4),
}


@pytest.mark.parametrize("name", FILMS)
def test_pieces_are_the_film(name: str, tmp_path: Path) -> None:
    make, count = FILMS[name]
    film = make(tmp_path)
    segment = segment_of(film)
    listed = plan(segment)
    assert [span.start for span, _ in listed] == [START, *(span.end for span, _ in listed[:-1])]
    assert listed[-1][0].end == segment.span.end
    assert len(listed) == count
    whole = joined(segment, listed, tmp_path)
    assert numbers(whole) == numbers(film)
    video, audio, source = track(whole, "video"), track(whole, "audio"), track(film, "audio")
    assert goes_on(video)
    assert goes_on(audio)
    begins = keyframes.LEAD / 1e6 - segment.first_pts / 1e6
    assert sorted(video.shown) == pytest.approx(sorted(at + begins for at in track(film, "video").shown), abs=2e-3)
    assert sum(audio.lasts) == pytest.approx(sum(source.lasts), abs=0.15), "but for what encoders add at the ends"
    assert audio.shown[0] == pytest.approx(source.shown[0] + begins, abs=0.065)


def test_pictures_that_last_as_long_as_they_like_are_each_in_one_piece(tmp_path: Path) -> None:
    """Copied; and encoded, where one that lasts for long is shown again at the beginning of a piece."""
    film = varying(tmp_path / "a.mp4")
    segment = segment_of(film)
    listed = plan(segment)
    assert len(listed) > 4
    whole = joined(segment, listed, tmp_path)
    assert numbers(whole) == list(range(100))
    assert goes_on(track(whole, "video"))
    shown = [at + keyframes.LEAD / 1e6 for at in track(film, "video").shown]
    assert sorted(track(whole, "video").shown) == pytest.approx(sorted(shown), abs=2e-3)
    encoded = [(span, True) for span, _ in planned(segment.span, None, segment.span, segment.span, **HOW)]
    whole = joined(segment, encoded, tmp_path)
    assert numbers(whole) == list(range(100))
    assert goes_on(track(whole, "video"))


def test_where_nothing_is_shown_for_long_the_last_picture_stands(tmp_path: Path) -> None:
    """A second of pictures, five seconds of nothing new, and sound for longer than pictures."""
    film = film_of(tmp_path / "a.mp4", SMALL, lambda packet: _later(packet, seconds(4.5)))
    segment = segment_of(film)
    encoded = [(span, True) for span, _ in planned(segment.span, None, segment.span, segment.span, **HOW)]
    whole = joined(segment, encoded, tmp_path)
    found = numbers(whole)
    assert list(dict.fromkeys(found)) == list(range(200))
    assert found.count(24) == 3, "at its time, and where two pieces begin while it stands"
    assert goes_on(track(whole, "video"))


def _later(packet: Any, by: int) -> None:
    """Pictures behind the first second, `by` microseconds later."""
    if packet.stream.type == "video" and packet.pts * packet.time_base >= 1:
        packet.pts += round(by / 1e6 / packet.time_base)
        packet.dts += round(by / 1e6 / packet.time_base)


def test_a_file_with_sound_alone_is_in_pieces_without_a_seam(tmp_path: Path) -> None:
    film = make_sound(tmp_path / "a.flac", 8.0)
    segment = segment_of(film)
    listed = plan(segment)
    assert len(listed) == 4
    audio = track(joined(segment, listed, tmp_path), "audio")
    assert goes_on(audio)
    assert audio.decoded[0] == pytest.approx(keyframes.LEAD / 1e6, abs=0.05)
    assert sum(audio.lasts) == pytest.approx(8.0, abs=0.05)


def sound(path: Path) -> np.ndarray:
    """Samples at 48 kHz from `LEAD` on."""
    with av.open(str(path)) as container:
        whole = np.zeros(48_000 * 12, np.float32)
        for frame in container.decode(audio=0):
            at = round(frame.pts * frame.time_base * 48_000) - keyframes.LEAD * 48_000 // 1_000_000
            if at >= 0:
                whole[at : at + frame.samples] = frame.to_ndarray().mean(axis=0)
    return whole


def test_sound_that_is_encoded_in_pieces_sounds_as_if_it_were_not(tmp_path: Path) -> None:
    """A tone that is 440 Hz throughout has no click where pieces meet."""
    film = make_sound(tmp_path / "a.flac", 2.6)
    segment = segment_of(film)
    listed = list(planned(segment.span, None, segment.span, segment.span, **HOW))
    many = [(Span(Moment(START + at), Moment(START + at + 500_000)), False) for at in range(0, 2_500_000, 500_000)]
    once, often = (sound(joined(segment, some, tmp_path)) for some in (listed, many))
    inside = slice(4_800, 110_000)
    assert np.abs(once[inside] - often[inside]).max() < 0.1, "a packet that knows nothing of the next clicks with 0.3"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_of_what_was_erased_nothing_is_shown(name: str, tmp_path: Path) -> None:
    """Not even to its nearest key frames: what is left up to these is encoded."""
    film = film_of(tmp_path / name, SMALL)
    segment = segment_of(film)
    begin, end = START + seconds(3), START + seconds(5)
    for covered, wanted in (
        (Span(START, Moment(begin)), range(75)),
        (Span(Moment(end), segment.span.end), range(125, 200)),
    ):
        listed = plan(segment, covered)
        assert sorted({exact for _, exact in listed}) == [False, True]
        found = []
        for span, exact in listed:
            found += numbers(joined(segment, [(span, exact)], tmp_path, covered))
        assert found == list(wanted)


def test_a_piece_is_the_same_bytes_whenever_it_is_made(tmp_path: Path) -> None:
    for film in (film_of(tmp_path / "a.mp4", SMALL), film_of(tmp_path / "a.ts", SMALL)):
        segment = segment_of(film)
        span, exact = plan(segment)[1]
        piece = Piece.of(segment, span, segment.span, erased=False, exact=exact)
        assert made(piece, tmp_path / "one") == made(piece, tmp_path / "two")


times = st.integers(0, 60_000_000)
ALONE = Span(Moment(31_000_001), Moment(34_999_999))
spans = st.tuples(times, times).map(lambda pair: Span(Moment(min(pair)), Moment(max(pair) + 1)))


@example(keys=None, covered=ALONE, wanted=ALONE, erased=False, more=0)
@given(st.none() | st.sets(times, max_size=30), spans, spans, st.booleans(), times)
def test_plans_keep_their_word(keys: set[int] | None, covered: Span, wanted: Span, erased: bool, more: int) -> None:
    file = Span(Moment(0), Moment(61_000_000))
    known = None if keys is None else tuple(Moment(key) for key in sorted(keys | {0}))
    found = list(planned(file, known, covered, wanted, erased=erased, growing=False))
    asked = covered.intersection(wanted)
    assert bool(found) == (asked is not None)
    whole = list(planned(file, known, covered, covered, erased=erased, growing=False))
    if asked is not None:
        assert covered.start <= found[0][0].start <= asked.start
        assert asked.end <= found[-1][0].end <= covered.end
        borders = {span.start for span, _ in whole}
        assert {span.start for span, _ in found[1:]} == {
            border for border in borders if found[0][0].start < border < found[-1][0].end
        }
    assert all(before.end == after.start for (before, _), (after, _) in pairwise(found))
    for span, exact in found:
        if known is None or exact:
            beside = known is None and len(whole) > 1
            assert span.duration <= pieces.ENCODED * 3 // 2 if beside else span.duration < pieces.ENCODED * 2
            continue
        assert span.start == 0 or span.start in known
        assert span.end in known or (span.end == covered.end and not erased)
        assert span.duration <= pieces.LONGEST or not any(span.start < key < span.end for key in known)
    if not erased:
        later = Span(covered.start, Moment(min(file.end, covered.end + more)))
        grows, grown, final = (
            list(planned(file, known, some, some, erased=False, growing=growing))
            for some, growing in ((covered, True), (later, True), (later, False))
        )
        assert grown[: len(grows)] == grows
        assert final[: len(grown)] == grown
