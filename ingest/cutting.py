"""Writing a clip, inside a decoder child: tracks copied where a browser can play them, encoded anew where not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ingest.clips import moment_of, open_segment, seek_before
from ingest.errors import NotFound
from ingest.pictures import SQUARE, Canvas, even, pixel_of, turns_of
from ingest.recording import copied_track, stamped
from ingest.records import MICROSECONDS, Moment, Segment, Span, seconds

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer

    from ingest.limits import Limits
    from ingest.opening import Opened

_MICRO: Final = Fraction(1, MICROSECONDS)
COPIED: Final = "h264"
"""Pictures that all browsers play."""
RATE: Final = 48_000
_HOLE: Final = RATE // 25
"""Samples: sound that is missing for longer is a hole, and not rounding."""
EARLIER: Final = seconds(0.25)
"""Sound that is to be decoded begins before the picture it goes with: packets are long, and need the one before."""
_QUALITY: Final = {"preset": "veryfast", "crf": "21", "bf": "0"}
_PROGRESS: Final = 250
"""Packets between two signs of progress."""
_ASTRAY: Final = seconds(10)
"""The tracks of a file lie side by side, at most this far apart: sound that ended long ago is not waited for."""
_Shape: TypeAlias = tuple[str, bytes, int, int, Fraction]
"""Of a track its codec, the header of it, width, height and the shape of a pixel."""


@dataclass(frozen=True, slots=True)
class _Shapes:
    indexed: bool
    video: _Shape | None
    audio: _Shape | None


class Cutting:
    """`pieces`: segments and what of each is wanted, in order of time. Few are open at once: there may be hundreds.

    `progress` is called every now and then.
    """

    def __init__(
        self, pieces: Sequence[tuple[Segment, Span]], exact: bool, limits: Limits, progress: Callable[[], None]
    ) -> None:
        self._pieces, self._limits, self._progress = pieces, limits, progress
        shapes = {segment: self._shapes(segment) for segment in dict.fromkeys(segment for segment, _ in pieces)}
        indexed = all(one.indexed for one in shapes.values())
        self._copies = not exact and indexed and _alike([one.video for one in shapes.values()], COPIED)
        self._copies_sound = _alike([one.audio for one in shapes.values() if one.audio is not None], "aac")
        self._seen = next((segment for segment, one in shapes.items() if one.video is not None), None)
        self._heard = next((segment for segment, one in shapes.items() if one.audio is not None), None)

    def write(self, out: str) -> Span:
        """The file at `out`; returns what it covers."""
        import av

        with av.open(out, "w", format="mp4", options={"movflags": "faststart"}) as container:
            video, audio = self._tracks(container)
            for segment, span in self._pieces:
                with open_segment(segment, self._limits) as opened:
                    self._copy_piece(segment, span, opened, (video, audio))
            for track in (video, audio):
                if track is not None:
                    track.finish()
        written = video or audio
        if written is None or written.covered is None:
            raise NotFound("There is no picture in that time.", advice="Look at the stream's coverage and gaps.")
        return written.covered

    def _shapes(self, segment: Segment) -> _Shapes:
        self._progress()
        with open_segment(segment, self._limits) as opened:
            return _Shapes(opened.one_timeline, _shape(opened.video), _shape(opened.audio))

    def _tracks(self, container: OutputContainer) -> tuple[Track | None, Track | None]:
        """Each as in the first piece that has it: sound may be switched on later."""
        segment, span = self._pieces[0]
        video: Track | None = None
        audio: Track | None = None
        shared = Zero(None if self._copies else max(span.start, segment.span.start))
        if self._seen is not None:
            with open_segment(self._seen, self._limits) as first:
                kind = _Copied if self._copies else EncodedVideo
                video = kind(container, first.video, span, shared)
        if self._heard is not None:
            with open_segment(self._heard, self._limits) as first:
                sound = _Copied if self._copies_sound else EncodedAudio
                audio = sound(container, first.audio, span, shared)
        return video, audio

    def _copy_piece(self, segment: Segment, span: Span, opened: Opened, tracks: Sequence[Track | None]) -> None:
        begin = max(span.start, segment.span.start)
        seek_before(opened, segment, begin if self._copies else Moment(begin - EARLIER))
        feed(opened.packets(opened.video, opened.audio), (segment, span), sinks(opened, tracks), self._progress)


class Zero:
    """The moment that is zero in the clip, and that it is said to begin at: the first key frame's when pictures are
    copied."""

    def __init__(self, moment: Moment | None) -> None:
        self.moment = moment
        self.exact = moment is not None
        """Nothing outside the spans is wanted, be it the sound of the pictures since the key frame before."""


class Track:
    """One track of the clip."""

    def __init__(self, container: OutputContainer, source: Any, span: Span, zero: Zero) -> None:
        self._container, self._span, self._zero = container, span, zero
        self._is_video = source.type == "video"
        self._highest: Moment | None = None
        self.covered: Span | None = None

    def begin(self, span: Span, source: Any) -> None:
        """Packets of the track `source` come, of which only what lies in `span` is wanted."""
        self._span, self._highest = span, None

    def is_past(self, packet: Packet, segment: Segment) -> bool:
        """Whether this packet, in decoding order, and so all behind it, are not needed.

        Pictures shown before one that is wanted may be sent behind it (B-frames): they belong to the clip too.
        """
        shown = moment_of(segment, packet.pts, packet.time_base)
        before, end = self._highest, self._span.end
        if not self._is_video:
            return shown >= end
        self._highest = shown if before is None else max(before, shown)
        return before is not None and before >= end and shown > before

    def add(self, packet: Packet, segment: Segment) -> None:
        raise NotImplementedError

    def piece_ends(self, segment: Segment, source: Any) -> None:
        """No more packets of this segment's track `source` come."""

    def finish(self) -> None:
        """No more packets come at all."""

    def _cover(self, start: Moment, end: Moment) -> None:
        span = Span(start, max(start, end))
        self.covered = span if self.covered is None else self.covered.hull(span)


class _Copied(Track):
    def __init__(self, container: OutputContainer, source: Any, span: Span, zero: Zero) -> None:
        super().__init__(container, source, span, zero)
        self._out = copied_track(container, source)
        self._dts: int | None = None

    def add(self, packet: Packet, segment: Segment) -> None:
        pts = moment_of(segment, packet.pts, packet.time_base)
        duration = round((packet.duration or 0) * packet.time_base * MICROSECONDS)
        if self._zero.exact and not self._span.start <= pts <= self._span.end - duration:
            return
        if self._zero.moment is None:
            if not self._is_video or not packet.is_keyframe:
                return
            self._zero.moment = pts
        at = self._decoded_at(packet, segment, pts, duration) - self._zero.moment
        if pts < self._zero.moment or (self._dts is not None and at <= self._dts):
            return
        self._dts = at
        stamped(packet, pts - self._zero.moment, at, duration)
        packet.stream = self._out
        self._container.mux(packet)
        self._cover(pts, Moment(pts + duration))

    def _decoded_at(self, packet: Packet, segment: Segment, pts: Moment, duration: int) -> Moment:
        """Matroska leaves the time of decoding out; it lies a few pictures before that of showing."""
        if packet.dts is not None:
            return moment_of(segment, packet.dts, packet.time_base)
        if self._zero.moment is None or self._dts is None:
            return Moment(pts - 4 * duration)
        return Moment(min(pts, self._zero.moment + self._dts + max(1, duration)))


class _Encoded(Track):
    """Decoded per segment, encoded in one go."""

    def _write(self, packets: Iterator[Packet] | list[Packet]) -> None:
        for packet in packets:
            self._container.mux(packet)

    def add(self, packet: Packet, segment: Segment) -> None:
        import av.error

        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            return
        self._take(frames, segment, packet.time_base)

    def piece_ends(self, segment: Segment, source: Any) -> None:
        """What the decoder still holds back."""
        self._take(source.decode(None), segment, source.time_base)

    def _take(self, frames: Any, segment: Segment, time_base: Any) -> None:
        for frame in frames:
            if frame.pts is not None:
                self._decoded(frame, moment_of(segment, frame.pts, frame.time_base or time_base), segment)

    def _decoded(self, frame: Any, moment: Moment, segment: Segment) -> None:
        """What was decoded begins at `moment`, in or out of the span."""
        raise NotImplementedError


class EncodedVideo(_Encoded):
    """Pictures, as H.264."""

    def __init__(self, container: OutputContainer, source: Any, span: Span, zero: Zero) -> None:
        super().__init__(container, source, span, zero)
        rate = source.average_rate or 25
        self._interval = max(1, round(MICROSECONDS / rate))
        self._out = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        self._canvas = _canvas(source)
        self._out.width, self._out.height = self._canvas.width, self._canvas.height
        self._out.codec_context.sample_aspect_ratio = self._canvas.pixel
        self._out.pix_fmt, self._out.options = "yuv420p", dict(_QUALITY)
        self._out.codec_context.time_base = _MICRO
        self._pixel, self._last = SQUARE, -1
        self._standing: Any = None
        """The last picture before the span, until another is shown: a slow camera's lasts for long."""

    def begin(self, span: Span, source: Any) -> None:
        super().begin(span, source)
        self._pixel, self._standing = pixel_of(source), None

    def _decoded(self, frame: Any, moment: Moment, segment: Segment) -> None:
        if moment < self._span.start:
            self._standing = frame if segment.intact else None  # it may have been erased
        elif moment < self._span.end:
            self._show_standing(moment)
            self._encode(frame, moment)

    def piece_ends(self, segment: Segment, source: Any) -> None:
        super().piece_ends(segment, source)
        if segment.span.end > self._span.start:
            self._show_standing(self._span.end)

    def _show_standing(self, until: Moment) -> None:
        frame, self._standing = self._standing, None
        if frame is not None and until > self._span.start:
            self._encode(frame, self._span.start)

    def _encode(self, frame: Any, moment: Moment) -> None:
        at = max(0, moment - self._zero.moment) if self._zero.moment is not None else 0
        if at <= self._last:
            return
        self._last = at
        picture = self._canvas.put(frame, self._pixel)
        picture.pts, picture.time_base = at, _MICRO
        picture.pict_type = 0
        self._write(self._out.encode(picture))
        self._cover(max(moment, self._span.start), min(Moment(moment + self._interval), self._span.end))

    def finish(self) -> None:
        self._write(self._out.encode(None))


class EncodedAudio(_Encoded):
    """Sound, as AAC."""

    def __init__(self, container: OutputContainer, source: Any, span: Span, zero: Zero) -> None:
        import av

        super().__init__(container, source, span, zero)
        self._out = container.add_stream("aac", rate=RATE, layout="mono")
        self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        self._next: int | None = None

    def _decoded(self, frame: Any, moment: Moment, segment: Segment) -> None:
        """Sound runs on by itself; only its start is placed, and where it goes on behind a hole."""
        end = Moment(moment + frame.samples * MICROSECONDS // frame.sample_rate)
        if moment >= self._span.end or end <= self._span.start:
            return
        at, (first, last) = self._samples(moment), self._wanted
        if self._next is None or at - self._next > _HOLE:
            self._next = at
        frame.pts = None
        for part in self._resampler.resample(frame):
            begin, self._next = self._next, self._next + part.samples
            low, high = max(0, first - begin), min(part.samples, last - begin)
            if low < high:
                self._add(part if high - low == part.samples else _trimmed(part, low, high), begin + low)
        self._cover(max(moment, self._span.start), min(end, self._span.end))

    def _add(self, part: Any, at: int) -> None:
        part.pts, part.time_base = at, Fraction(1, RATE)
        self._write(self._out.encode(part))

    @property
    def _wanted(self) -> tuple[int, int]:
        """From which sample on, and up to which."""
        return self._samples(self._span.start), self._samples(self._span.end)

    def _samples(self, moment: Moment) -> int:
        """In the clip."""
        zero = self._zero.moment if self._zero.moment is not None else self._span.start
        return (moment - zero) * RATE // MICROSECONDS

    def finish(self) -> None:
        self._write(self._out.encode(None))


def sinks(opened: Opened, tracks: Sequence[Track | None]) -> list[tuple[Any, Track]]:
    """The video and the sound of a source, each with the track of `tracks` that it goes to."""
    found = zip((opened.video, opened.audio), tracks, strict=True)
    return [(source, track) for source, track in found if source is not None and track is not None]


def feed(
    packets: Iterable[Packet],
    wanted: tuple[Segment, Span],
    pairs: Sequence[tuple[Any, Track]],
    progress: Callable[[], None],
) -> None:
    """What is wanted of a segment to the tracks that take it, until none of them needs more."""
    segment, span = wanted
    routes = {source.index: track for source, track in pairs}
    waiting = set(routes)
    for source, track in pairs:
        track.begin(span, source)
    for number, packet in enumerate(packets):
        if number % _PROGRESS == 0:
            progress()
        index = packet.stream.index
        if packet.pts is None or index not in routes:
            continue
        if index not in waiting:
            if moment_of(segment, packet.pts, packet.time_base) >= span.end + _ASTRAY:
                break
        elif not routes[index].is_past(packet, segment):
            routes[index].add(packet, segment)
        else:
            waiting.discard(index)
            if not waiting:
                break
    for source, track in pairs:
        track.piece_ends(segment, source)


def _trimmed(sound: Any, low: int, high: int) -> Any:
    """Its samples from `low` to `high`."""
    import numpy as np

    part = type(sound).from_ndarray(np.ascontiguousarray(sound.to_ndarray()[:, low:high]), "fltp", "mono")
    part.sample_rate = sound.sample_rate
    return part


def _canvas(track: Any) -> Canvas:
    """What its pictures fill."""
    width, height, pixel = even(track.width), even(track.height), pixel_of(track)
    return Canvas(height, width, 1 / pixel) if _lies(track) else Canvas(width, height, pixel)


def _lies(track: Any) -> bool:
    """Whether its pictures have to be turned by a right angle, as the first of them says: tracks do not."""
    import av.error

    for packet in track.container.demux(track):
        try:
            for frame in packet.decode():
                return turns_of(frame) % 2 == 1
        except av.error.InvalidDataError:
            continue
    return False


def _shape(track: Any) -> _Shape | None:
    if track is None:
        return None
    context = track.codec_context
    sides = (track.width, track.height, pixel_of(track)) if track.type == "video" else (0, 0, SQUARE)
    return context.name, bytes(context.extradata or b""), *sides


def _alike(shapes: Sequence[_Shape | None], codec: str) -> bool:
    """Whether all are of `codec` with the same parameters, so that one can run on into the next."""
    first = shapes[0] if shapes else None
    return first is not None and first[0] == codec and set(shapes) == {first}
