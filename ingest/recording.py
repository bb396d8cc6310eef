"""Recording: what a camera sends, copied as it came into segments of fragmented MP4.

A segment is written under a temporary name, flushed to the disk and then renamed, so a name that ends in .mp4 is whole.
A fragment is closed at every key frame, and where these are far apart every few seconds: what a killed process leaves
behind is playable up to there and is rescued, and no more than that waits in memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.fragments import Fragment, header, is_empty, layout
from ingest.in_band import joined, parameter_sets, says_in_band, shape_in
from ingest.interleaving import Interleaving, SoundEncoder, Timed
from ingest.pictures import pixel_of
from ingest.records import MICROSECONDS, SAMPLE_RATE, Moment, Segment, Span, StreamId, seconds
from ingest.timeline import FORWARD, MPEGTS_WRAP, Ticks, Timeline, microseconds

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

    from ingest.decode import Emit
    from ingest.limits import Limits
    from ingest.opening import Opened

PART: Final = ".part"
_UNREADABLE: Final = ".unreadable"
_COPIED_VIDEO: Final = ("h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg", "mpeg2video")
_COPIED_AUDIO: Final = ("aac", "mp3", "opus", "flac", "ac3")
MUXING: Final = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+frag_discont",
    "use_editlist": "0",
    "avoid_negative_ts": "make_non_negative",
    "flush_packets": "1",
}
"""Times are written as they are: left to itself libav moves the first packet of a track to zero, where it is not."""
_WRITING: Final = {**MUXING, "frag_duration": str(seconds(5))}
_MICRO: Final = Fraction(1, MICROSECONDS)
_NAME = re.compile(r"(\d+)-(\d+)-(\d+)\.mp4\.\w+")
_TURN: Final = 64
"""Packets that are written at once: each turn from decoding to writing and back empties the processor's caches."""
_LONGEST: Final = seconds(3600)
"""A segment ends when it is so long, even without a key frame to begin the next one: what never ends can never go."""
_NO_KEY: Final = "No key frame has come for an hour; recordings begin with one. Set the camera to send more of them."


@dataclass(frozen=True, slots=True)
class Recording:
    """Where a live stream's segments go, and how long each is: they begin where UTC is a multiple of it."""

    folder: Path
    segment_s: float = 10.0


@dataclass(slots=True)
class _Open:
    """The segment being written. `base`: source time that is zero in it. `end`: source time behind its last picture."""

    container: OutputContainer
    tracks: tuple[Any, ...]
    path: Path
    epoch: int
    base: int
    first: int
    end: int
    offset: int
    sets: bytes
    """What its header says of how the pictures are to be decoded, where they say so themselves."""
    reached: list[int]
    """Of each track, the time of decoding of its last packet."""


class Recorder:
    """Packets of one connection -> segments."""

    def __init__(
        self,
        opened: Opened,
        folder: str,
        stream: StreamId,
        segment_s: float,
        *,
        before_writing: Callable[[], None] = lambda: None,
    ) -> None:
        """`before_writing`: called before the packets that were added are changed: who decodes them does so by then."""
        self._before_writing = before_writing
        self._opened, self._folder, self._stream = opened, Path(folder), stream
        self._length = seconds(segment_s)
        self._ticks: dict[int, Ticks] = {}
        self._open: _Open | None = None
        self._last = 0
        self._newest: Timed | None = None
        """The picture that came last: until the next has come it may be torn."""
        self._turn_of = 0
        self._key_waits = False
        video, audio = opened.video, opened.audio
        self._video = video if video is not None and video.codec_context.name in _COPIED_VIDEO else None
        self._audio = audio if audio is not None and is_copied_sound(audio) else None
        self._encoder = SoundEncoder() if audio is not None and self._audio is None else None
        self._in_band = self._video is not None and says_in_band(self._video)
        self._sets = self._said(self._video.codec_context.extradata) if self._video is not None else b""
        """What the pictures said last of how they are to be decoded: a camera may change their size as it goes on."""
        self._shape: tuple[int, int, Fraction] | None = None
        """How large they said to be then, where it is not as it was at first."""
        self._waiting = Interleaving(1 if audio is None else 2)
        self._on = self._audible = True
        self._header = b""
        """That of the segment that was told last."""

    @property
    def encodes_sound(self) -> bool:
        """Whether sound has to be told as it is decoded."""
        return self._on and self._audible and self._encoder is not None

    def turn(self, *, on: bool, audible: bool) -> Iterator[Segment | str]:
        """Record or not, with sound or not, from now on. Sound that is wanted begins with the next segment."""
        yield from self._write_all(self._rest(self._taken()))
        self._on, self._audible = on, audible
        if not on:
            yield from self._end()

    @property
    def refused(self) -> str:
        """Why nothing of this source is recorded, if so."""
        video = self._opened.video
        if video is None:
            return "It has no pictures, and sound alone is not recorded."
        return f"Its pictures are {video.codec_context.name}, which is not recorded." if self._video is None else ""

    def add(self, packet: Packet, line: Timeline) -> Iterable[Segment | str]:
        """Take a packet; gives the segments that it completes, and in words why what follows is not recorded.

        Packets are written some at a time, a key frame as soon as it can be: it is key frames that close fragments,
        so nothing comes to the disk later for it.
        """
        stream, video = packet.stream, self._video
        if video is None or line.offset is None:
            return ()
        if stream is video:
            if (one := self._timed(packet, 0, line)) is None:
                return ()
            before, self._newest = self._newest, one
            if before is None:
                return ()
            if _is_apart(before, one):
                if self._in_band and _is_rest(before, one):
                    self._newest = before._replace(packet=joined(before.packet, packet))
                    return ()
                return self._write_all(self._rest(before))
            if before.packet.is_keyframe:
                self._key_waits = True
            self._waiting.add(before)
        elif stream is self._audio and self._audible:
            if (one := self._timed(packet, 1, line)) is None:
                return ()
            self._waiting.add(one)
        else:
            return ()
        self._turn_of += 1
        return self._write_all(self._waiting.ready()) if self._key_waits or self._turn_of >= _TURN else ()

    def _timed(self, packet: Packet, track: int, line: Timeline) -> Timed | None:
        """None of a packet that has no times."""
        pts, dts = packet.pts, packet.dts
        if pts is None or dts is None:
            return None
        ticks = self._ticks.get(track)
        if ticks is None:
            ticks = Ticks.of(Fraction(packet.time_base), MPEGTS_WRAP if self._opened.wraps else 0)
        self._ticks[track], decoded = ticks.read(dts)
        later = ticks.lasting(pts - dts) if pts != dts else 0
        return Timed(packet, track, decoded + later, decoded, ticks.lasting(packet.duration or 0), line)

    def add_sound(self, frame: AudioFrame, pts: int) -> None:
        """Decoded sound, for a track that cannot be copied."""
        if self._encoder is not None and self._audible:
            for one in self._encoder.add(frame, pts):
                self._waiting.add(one)

    def close(self, *, torn: bool = False) -> Iterator[Segment | str]:
        """Write what waits, and end the open segment, if any. `torn`: the connection ended, amid a picture as likely as
        not, and what there is of it libav hands out as if it were whole."""
        newest = self._taken()
        yield from self._write_all(self._rest(None if torn else newest))
        yield from self._end()

    def _taken(self) -> Timed | None:
        newest, self._newest = self._newest, None
        return newest

    def _rest(self, newest: Timed | None) -> Iterator[Timed]:
        """All that waits, and behind it the `newest` picture."""
        if newest is not None:
            self._waiting.add(newest)
        if self._encoder is not None:
            for one in self._encoder.finish():
                self._waiting.add(one)
        yield from self._waiting.rest()

    def _write_all(self, ready: Iterable[Timed]) -> Iterator[Segment | str]:
        self._turn_of = 0
        self._before_writing()
        for one in ready:
            if one.track == 0:
                if is_key := one.packet.is_keyframe:
                    self._key_waits = False
                    self._heed(one.packet)
                if self._open is not None:
                    yield from self._ended(one, self._open, is_key=is_key)
                if self._open is None and is_key and self._on:
                    self._open = self._begin(one)
                self._last = one.dts
            held = self._open
            if held is None or one.track >= len(held.reached):  # its sound was not wanted when it began
                continue
            if one.dts >= held.base and one.dts > held.reached[one.track]:
                self._write(one, held)

    def _end(self) -> list[Segment]:
        held, self._open = self._open, None
        if held is None:
            return []
        held.container.close()
        span = Span(Moment(held.first + held.offset), Moment(max(held.end, held.first + 1) + held.offset))
        first_pts = held.first - held.base
        return [self._settle(Segment(self._stream, held.epoch, span, str(held.path), 0, first_pts=first_pts))]

    def _settle(self, written: Segment) -> Segment:
        """It gets its name. Its header is compared as it is: besides the sets of parameters and the tracks, it has what
        libav made of them, which it may not have known yet when they changed."""
        before, self._header = self._header, header(Path(written.path))
        return replace(_settled(written), begins_anew=self._header != before)

    def abandon(self) -> Iterator[Segment]:
        """End the open segment with what of it is on the disk, which is full, say; the next key frame begins anew."""
        import av.error

        self._waiting.clear()
        self._newest = None
        held, self._open = self._open, None
        if held is None:
            return
        with suppress(OSError, av.error.FFmpegError):  # it has no more room for its last words than for the others
            held.container.close()
        written = _as_far(held.path, self._stream)
        if written is not None and written.size:
            yield self._settle(written)
        elif is_empty(held.path):
            held.path.unlink(missing_ok=True)

    def _ended(self, one: Timed, held: _Open, *, is_key: bool) -> list[Segment | str]:
        """Close the open segment where a picture makes it possible or necessary."""
        assert one.line is not None
        if one.dts <= self._last or one.dts - self._last > FORWARD or one.line.epoch != held.epoch:
            return [*self._end()]
        if is_key and self._is_anew(one.pts, held):
            held.end = one.pts
            return [*self._end()]
        return [*self._end(), _NO_KEY] if one.pts - held.first >= _LONGEST else []

    def _is_anew(self, pts: int, held: _Open) -> bool:
        """Whether a key frame begins a segment: the first of a piece of UTC does, and one that is decoded otherwise."""
        piece, before = ((at + held.offset) // self._length for at in (pts, held.first))
        return self._sets != held.sets or piece != before

    def _heed(self, key: Packet) -> None:
        """What a key frame says of how it is to be decoded."""
        assert self._video is not None
        said = self._said(key)
        if said and said != self._sets:
            self._sets, self._shape = said, shape_in(self._video.codec_context.name, bytes(key))

    def _said(self, data: Any) -> bytes:
        assert self._video is not None
        return parameter_sets(self._video.codec_context.name, bytes(data or b"")) if self._in_band else b""

    def _begin(self, one: Timed) -> _Open:
        import av

        pts, dts, line = one.pts, one.dts, one.line
        assert line is not None
        assert line.offset is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{line.epoch:05d}-{pts + line.offset}-{pts - dts}.mp4{PART}"
        path = self._folder / name
        container = av.open(str(path), "w", format="mp4", options=_WRITING)
        for track in (self._video, self._audio if self._audible else None):
            if track is not None:
                copied = copied_track(container, track)
                if track is self._video:
                    self._describe(copied.codec_context)
        if self.encodes_sound:
            container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        tracks = tuple(container.streams)
        reached = [-1 << 62] * len(tracks)
        return _Open(
            container, tracks, path, line.epoch,
            base=dts, first=pts, end=pts, offset=line.offset, sets=self._sets, reached=reached,
        )  # fmt: skip

    def _describe(self, context: Any) -> None:
        """Tell in a header what the pictures themselves said last, if they did."""
        if self._sets:
            context.extradata = self._sets
        if self._shape is not None:
            context.width, context.height, context.sample_aspect_ratio = self._shape

    def _write(self, one: Timed, held: _Open) -> None:
        held.reached[one.track] = one.dts
        if one.track == 0:
            held.end = max(held.end, one.pts + (one.duration or 40_000))
        stamped(one.packet, one.pts - held.base, one.dts - held.base, one.duration)
        one.packet.stream = held.tracks[one.track]
        held.container.mux(one.packet)


def _is_apart(before: Timed, one: Timed) -> bool:
    """Whether a picture does not go on where the one `before` it was."""
    assert before.line is not None
    assert one.line is not None
    return not 0 < one.dts - before.dts <= FORWARD or one.line.epoch != before.line.epoch


def _is_rest(before: Timed, one: Timed) -> bool:
    """Whether it is of the same picture as the one `before` it, or at least of the same moment."""
    assert before.line is not None
    assert one.line is not None
    same = (before.pts, before.dts, before.line.epoch) == (one.pts, one.dts, one.line.epoch)
    return same and (before.packet.is_keyframe or not one.packet.is_keyframe)


def is_copied_sound(audio: AudioStream) -> bool:
    """AAC as MPEG-TS carries it (ADTS) has no header that could be written before it: it is encoded anew."""
    codec = audio.codec_context
    return codec.name in _COPIED_AUDIO and (codec.name != "aac" or bool(codec.extradata))


def copied_track(container: OutputContainer, source: Any) -> Any:
    """A track for the packets of `source`, with the shape of its pixels, which its file alone may tell, and with their
    size as its decoder has learnt it where nothing told it: a camera that stalls while it is opened has shown none."""
    track = container.add_stream_from_template(source)
    if source.type == "video":
        told, learnt = track.codec_context, source.codec_context
        told.sample_aspect_ratio = pixel_of(source)
        if not told.width:
            told.width, told.height = learnt.width, learnt.height
    return track


def stamped(packet: Packet, pts: int, dts: int, duration: int) -> None:
    """Give a packet its times in microseconds."""
    packet.time_base = _MICRO
    packet.pts, packet.dts, packet.duration = pts, dts, duration


def settle(part: Path, final: Path) -> None:
    """Flush a finished file to the disk and give it its name: from here on it is there, or it never was."""
    _flush(part, os.O_RDONLY)
    part.rename(final)
    _flush(final.parent, os.O_RDONLY | os.O_DIRECTORY)


def _flush(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def being_written(folder: Path, stream: StreamId) -> Segment | None:
    """The newest segment of `folder` that is not finished, and of it what can be played: its whole fragments are its
    first `size` bytes. Its span is empty while there is none."""
    for part in sorted(folder.glob(f"*{PART}"), reverse=True):
        with suppress(FileNotFoundError):  # it was finished just now
            written = _as_far(part, stream)
            if written is not None:
                return written
    return None


def _as_far(part: Path, stream: StreamId) -> Segment | None:
    """What is whole of an unfinished segment; None of a file that is called otherwise."""
    name, found = _NAME.fullmatch(part.name), layout(part).fragments
    if name is None:
        return None
    epoch, start, first_pts = (int(number) for number in name.groups())
    last = found[-1] if found else Fragment(0, 0, 0, 0)
    span = Span(Moment(start), Moment(start + last.end))
    return Segment(stream, epoch, span, str(part), last.offset + last.size, first_pts=first_pts)


def finished(part: Path) -> Path:
    """The name that an unfinished segment gets."""
    return part.with_name(part.name.removesuffix(PART))


def rescue_job(details: Mapping[str, Any], limits: Limits, emit: Emit) -> int:
    """The child's side of sweeping `folder` after a crash: unfinished segments become segments, those that cannot be
    read are set aside, for it is not known here whether anyone needs their bytes, and those with nothing in them go."""
    rescued = 0
    for part in sorted(Path(details["folder"]).glob(f"*{PART}")):
        segment = _rescued(part, StreamId(details["stream"]), limits)
        if segment is not None:
            emit(segment)
            rescued += 1
        elif is_empty(part):
            part.unlink(missing_ok=True)
        else:
            part.rename(part.with_suffix(_UNREADABLE))
    return rescued


def unreadable(folder: Path) -> list[tuple[Path, Span]]:
    """What was set aside in `folder`, and within which time each was recorded."""
    found = [(path, _NAME.fullmatch(path.name)) for path in sorted(folder.glob(f"*{_UNREADABLE}"))]
    starts = [(path, int(name[2]) if name is not None else 0) for path, name in found]
    return [(path, Span(Moment(start), Moment(start + _LONGEST))) for path, start in starts]


def _settled(written: Segment) -> Segment:
    """It gets its name, with what there is of it."""
    part = Path(written.path)
    final = finished(part)
    settle(part, final)
    return replace(written, path=str(final), size=final.stat().st_size)


def _rescued(part: Path, stream: StreamId, limits: Limits) -> Segment | None:
    from ingest.errors import HindsightError
    from ingest.opening import open_source

    name = _NAME.fullmatch(part.name)
    if name is None:
        return None
    source = {"scheme": "file", "location": str(part)}
    end = first = None
    try:
        with open_source(source, limits) as opened:
            for packet in opened.packets(opened.video):
                if packet.pts is not None and packet.time_base is not None:
                    at = microseconds(packet.pts + (packet.duration or 0), packet.time_base)
                    first, end = first or at, max(end or at, at)
    except HindsightError:
        if end is None:
            return None
    if first is None or end is None or end <= first:
        return None
    epoch, start, first_pts = (int(number) for number in name.groups())
    span = Span(Moment(start), Moment(start + end - first_pts))
    begins_anew = True  # the one before it may be anywhere by now
    return _settled(Segment(stream, epoch, span, str(part), 0, first_pts=first_pts, begins_anew=begins_anew))
