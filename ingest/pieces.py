"""A user's own file as players take it: in pieces, each made when it is asked for.

A piece is fragmented MP4 without its header, which all pieces of a file share. Every picture and every packet of sound
belongs to exactly one piece, whichever is made first, and times go on from one piece to the next. What browsers play is
copied from key frame to key frame, everything else is encoded anew.
"""

from __future__ import annotations

import shutil
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ingest.child import Decoder
from ingest.clips import moment_of, open_segment, seek_before
from ingest.cutting import EARLIER, RATE, EncodedAudio, EncodedVideo, Track, Zero, feed, sinks
from ingest.fragments import header
from ingest.keyframes import LEAD, REORDERED, Keys, Timing, is_copied
from ingest.limits import Limits
from ingest.recording import MUXING, copied_track, is_copied_sound, stamped
from ingest.records import MICROSECONDS, Moment, Segment, Span, seconds

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer

    from ingest.decode import Emit
    from ingest.opening import Opened

LONGEST: Final = seconds(10)
"""A piece that is copied is no longer, but where key frames are farther apart."""
ENCODED: Final = seconds(6)
"""So long is a piece that is encoded, half as long or half as long again where it has to be; one that has no other
beside it is shorter than two."""
_FAR: Final = seconds(30 * 24 * 3600)
"""Longer than any file: its last piece has whatever there is."""
_STANDS: Final = seconds(1)
"""A picture that is shown for longer is shown anew where a piece begins."""
_BACK: Final = (0, seconds(2), seconds(60), _FAR)
"""So long before a piece reading begins, where seeking to it is not exact."""
_FRAME: Final = 1024
"""Samples of a packet of AAC: pieces of sound that is encoded begin at a multiple of them."""
_MUXING: Final = {**MUXING, "movflags": f"{MUXING['movflags']}+skip_trailer", "frag_duration": str(seconds(5))}


@dataclass(frozen=True, slots=True)
class Piece:
    """`span` of a file, all that there is of it where it reaches its first or last moment; with no duration, the header
    of all its pieces. Nothing outside `within` is shown or heard: it was erased. `exact`: encoded in any case."""

    segment: Segment
    span: Span
    within: Span
    exact: bool = False

    @classmethod
    def of(cls, segment: Segment, span: Span, covered: Span, *, erased: bool, exact: bool = False) -> Piece:
        """`covered`: the stretch that it is part of. `erased`: what lies behind that."""
        file = segment.span
        low = Moment(file.start - LEAD) if covered.start <= file.start else covered.start
        high = covered.end if erased else Moment(file.end + _FAR)
        begin = low if span.start <= covered.start else span.start
        return cls(segment, Span(begin, high if span.end >= covered.end else span.end), Span(low, high), exact)


def make(piece: Piece, out: Path, *, timeout_s: float = 60) -> Span:
    """Write it; returns the span of what is in it. `timeout_s`: for every minute of it."""
    part = out.with_name(out.name + ".part")
    inside = piece.span.intersection(piece.segment.span)
    try:
        with Decoder(
            "piece", {**{name: getattr(piece, name) for name in Piece.__slots__}, "out": str(part)}, Limits()
        ) as decoder:
            minutes = 1 + (inside.duration if inside is not None else 0) // seconds(60)
            covered: Span = decoder.result(timeout_s * minutes)
        with part.open("rb") as whole, out.open("wb") as file:
            if piece.span.duration:
                whole.seek(len(header(part)))
            shutil.copyfileobj(whole, file)
    finally:
        part.unlink(missing_ok=True)
    return covered


def planned(
    file: Span, keys: Keys | None, covered: Span, wanted: Span, *, erased: bool, growing: bool
) -> Iterator[tuple[Span, bool]]:
    """Pieces of what is `wanted` of a stretch of a file that is `covered`, and whether each has to be encoded though
    others are copied: it begins or ends where something was erased, and not at a key frame.

    The stretch is cut at the same moments whatever is wanted of it, also while it is `growing`: then without its end.
    `erased`: what lies behind it.
    """
    start, end = covered.start, covered.end
    first = last = end
    """What is copied."""
    if keys is not None:
        first = start if start <= file.start else min([end, *(key for key in keys if key >= start)])
        last = Moment(next((key for key in reversed(keys) if first < key <= end), first)) if erased else end
    borders = {first, last, *_grid(file, Span(start, first)), *_grid(file, Span(last, end))}
    borders |= {key for key in _apart(keys or (), file.end) if first < key < last}
    inner = sorted(border for border in borders if start < border < end)
    if growing:
        end = Moment(inner.pop()) if inner else start
    low, high = max(start, wanted.start), min(end, wanted.end)
    if keys and first < low < last:
        low = max(first, keys[max(0, bisect_right(keys, low) - 1)])
    if keys and first < high < last:
        high = min(end, last, *keys[bisect_left(keys, high) :][:1])
    if low < high:
        for begin, until in pairwise([low, *(border for border in inner if low < border < high), high]):
            yield Span(Moment(begin), Moment(until)), keys is not None and not first <= begin < last


def _apart(keys: Keys, end: Moment) -> Iterator[Moment]:
    """Key frames that are as far apart as can be without being farther than `LONGEST`."""
    begin = keys[0] if keys else end
    for key, after in pairwise((*keys, end)):
        if after - begin > LONGEST and key > begin:
            begin = key
            yield key


def _grid(file: Span, span: Span) -> range:
    """Where to cut what is encoded: the same whatever is wanted of the file, and no piece is short."""
    half = ENCODED // 2
    return range(file.start - -(span.start + half - file.start) // ENCODED * ENCODED, span.end - half + 1, ENCODED)


# --- the child's side ------------------------------------------------------------------------------------------


def job(details: Mapping[str, Any], limits: Limits, emit: Emit) -> Span:
    """The child's side of `make`: a fragmented MP4 with its header."""
    import av

    piece = Piece(*(details[name] for name in Piece.__slots__))
    with av.open(details["out"], "w", format="mp4", options=dict(_MUXING)) as container:
        with open_segment(piece.segment, limits) as opened:
            copied = is_copied(opened) and not piece.exact
            timing = Timing(opened, piece.segment) if copied else None
            tracks = _tracks(container, opened, piece, timing)
        container.start_encoding()
        if piece.span.duration:
            with open_segment(piece.segment, limits) as opened:
                packets = _from(opened, piece, timing)
                feed(packets, (piece.segment, piece.span), sinks(opened, tracks), lambda: emit(("making",)))
            for track in tracks:
                if track is not None:
                    track.finish()
    spans = [track.covered for track in tracks if track is not None and track.covered is not None]
    return Span(min(span.start for span in spans), max(span.end for span in spans)) if spans else piece.span


def _tracks(
    container: OutputContainer, opened: Opened, piece: Piece, timing: Timing | None
) -> tuple[Track | None, Track | None]:
    zero = Zero(Moment(piece.segment.span.start - LEAD))
    video: Track | None = None
    audio: Track | None = None
    if opened.video is not None and timing is not None:
        video = _Pictures(container, opened.video, piece, zero, timing)
    elif opened.video is not None:
        video = _EncodedPictures(container, opened.video, piece, zero)
    if opened.audio is not None:
        aac = opened.one_timeline and opened.audio.codec_context.name == "aac" and is_copied_sound(opened.audio)
        audio = (_Sounds if aac else _EncodedSounds)(container, opened.audio, piece, zero)
    return video, audio


def _from(opened: Opened, piece: Piece, timing: Timing | None) -> Iterator[Packet]:
    """Packets from before the beginning of the piece on."""
    if timing is not None:  # in Matroska sound may lie before the pictures it goes with
        return _key_before(opened, piece, timing, _BACK[not timing.told :])
    seek_before(opened, piece.segment, Moment(max(piece.span.start, piece.segment.span.start) - EARLIER))
    return opened.packets(opened.video, opened.audio)


def _key_before(opened: Opened, piece: Piece, timing: Timing, tries: Sequence[int]) -> Iterator[Packet]:
    back, *others = tries
    if back <= _BACK[1]:
        seek_before(opened, piece.segment, Moment(piece.span.start - back))
    else:
        opened.container.seek(max(0, piece.segment.first_pts + piece.span.start - piece.segment.span.start - back))
    packets, head = opened.packets(opened.video, opened.audio), deque[Any]()
    for packet in packets:
        head.append(packet)
        tick = timing.tick(packet) if packet.stream is opened.video else None
        if tick is None:
            continue
        if others and timing.shown(tick, packet.time_base) > piece.span.start:
            return _key_before(opened, piece, timing, others)
        break
    return chain(head, packets)


class _Held:
    """Writes each packet when it is known when the next of its track is decoded: it lasts until then."""

    def __init__(self, container: OutputContainer, out: Any, lasts: int = 1) -> None:
        """`lasts`: how long the last one does that does not tell."""
        self._container, self._out, self._lasts = container, out, lasts
        self._held: tuple[Packet, int, int] | None = None

    def put(self, packet: Packet, pts: int, dts: int) -> None:
        """Times in microseconds."""
        if self._held is not None:
            dts = max(dts, self._held[-1] + 1)
            self.end(dts)
        self._held = packet, max(pts, dts), dts

    def end(self, at: int | None) -> None:
        """The next is decoded `at`, if there is one."""
        if self._held is None:
            return
        packet, pts, dts = self._held
        told = round((packet.duration or 0) * packet.time_base * MICROSECONDS) or self._lasts
        stamped(packet, pts, dts, max(1, told if at is None else at - dts))
        packet.stream = self._out
        self._container.mux(packet)
        self._held = None


class _Pictures(Track):
    """Copied, from the first key frame in the piece to the first one behind it, in the order of decoding."""

    def __init__(self, container: OutputContainer, source: Any, piece: Piece, zero: Zero, timing: Timing) -> None:
        super().__init__(container, source, piece.span, zero)
        self._within, self._timing, self._from = piece.within, timing, piece.segment.span.start - LEAD
        self._lasts = round(MICROSECONDS / (source.average_rate or 25))
        self._held = _Held(container, copied_track(container, source), self._lasts)
        self._begun = False
        self._waiting: deque[tuple[Packet, Moment]] = deque()
        self._shown: list[Moment] = []
        self._next: Moment | None = None
        self._behind = Moment(0)

    def is_past(self, packet: Packet, segment: Segment) -> bool:
        assert packet.pts is not None
        pts, tick = moment_of(segment, packet.pts, packet.time_base), self._timing.tick(packet)
        if self._next is not None:  # pictures behind a key frame may be shown before it
            self._next = min(self._next, Moment(pts - self._timing.delay))
            return pts >= self._behind
        if packet.is_keyframe and tick is not None:
            shown = self._timing.shown(tick, packet.time_base)
            self._begun |= shown >= self._span.start
            if shown >= self._span.end:
                self._next, self._behind = Moment(shown - self._timing.delay), pts
                return self._timing.told
        return False

    def add(self, packet: Packet, segment: Segment) -> None:
        assert packet.pts is not None
        pts = moment_of(segment, packet.pts, packet.time_base)
        if not self._begun or self._next is not None or pts not in self._within:
            return
        if self._timing.told:
            dts = packet.pts if packet.dts is None else packet.dts
            self._put(packet, pts, moment_of(segment, dts, packet.time_base))
            return
        heappush(self._shown, pts)
        self._waiting.append((packet, pts))
        if len(self._waiting) > REORDERED:
            self._put_first()

    def _put_first(self) -> None:
        """What is decoded as the n-th of the piece is so `delay` before the n-th picture of it is shown."""
        packet, pts = self._waiting.popleft()
        self._put(packet, pts, Moment(min(pts, heappop(self._shown) - self._timing.delay)))

    def _put(self, packet: Packet, pts: Moment, dts: Moment) -> None:
        self._held.put(packet, pts - self._from, dts - self._from)
        self._cover(pts, Moment(pts + self._lasts))

    def finish(self) -> None:
        while self._waiting:
            self._put_first()
        self._held.end(None if self._next is None else self._next - self._from)


class _Sounds(Track):
    """Copied."""

    def __init__(self, container: OutputContainer, source: Any, piece: Piece, zero: Zero) -> None:
        super().__init__(container, source, piece.span, zero)
        self._within, self._from = piece.within, piece.segment.span.start - LEAD
        self._held = _Held(container, copied_track(container, source))
        self._next: int | None = None

    def is_past(self, packet: Packet, segment: Segment) -> bool:
        past = super().is_past(packet, segment)
        if past and packet.pts is not None:
            self._next = moment_of(segment, packet.pts, packet.time_base) - self._from
        return past

    def add(self, packet: Packet, segment: Segment) -> None:
        assert packet.pts is not None
        pts = moment_of(segment, packet.pts, packet.time_base)
        end = Moment(pts + round((packet.duration or 0) * packet.time_base * MICROSECONDS))
        if self._span.start <= pts and self._within.start <= pts and end <= self._within.end:
            self._held.put(packet, pts - self._from, pts - self._from)
            self._cover(pts, end)

    def finish(self) -> None:
        self._held.end(self._next)


class _EncodedPictures(EncodedVideo):
    """Those that begin to be shown in the piece; where none does at its beginning, the one that stands there."""

    def __init__(self, container: OutputContainer, source: Any, piece: Piece, zero: Zero) -> None:
        super().__init__(container, source, piece.span, zero)
        self._within, self._from = piece.within, piece.segment.span.start - LEAD
        self._held, self._begun = _Held(container, self._out), False
        self._next: Moment | None = None

    def _decoded(self, frame: Any, moment: Moment, segment: Segment) -> None:
        if moment < self._span.start:
            self._standing = frame if moment in self._within else None
        elif moment < self._span.end:
            self._begin_at(moment)
            self._encode(frame, moment)
        elif self._next is None:
            self._next = moment

    def _begin_at(self, moment: Moment) -> None:
        if not self._begun and moment - self._span.start > _STANDS:
            self._show_standing(moment)
        self._begun = True

    def piece_ends(self, segment: Segment, source: Any) -> None:
        self._take(source.decode(None), segment, source.time_base)
        if not self._begun and self._span.start < segment.span.end:
            self._begin_at(self._span.end)
            if self.covered is None:  # nothing was shown yet
                self._pixel = self._canvas.pixel
                self._encode(_black(self._canvas.width, self._canvas.height), self._span.start)

    def _write(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            if packet.pts is not None:
                at = round(packet.pts * packet.time_base * MICROSECONDS)
                self._held.put(packet, at, at)

    def finish(self) -> None:
        super().finish()
        end = self._span.end if self._next is None or self._next - self._span.end > _STANDS else self._next
        self._held.end(end - self._from if end < self._within.end else self._last + self._interval)


class _EncodedSounds(EncodedAudio):
    """In packets that begin at a multiple of their length; an encoder needs to hear what is before and behind them."""

    def __init__(self, container: OutputContainer, source: Any, piece: Piece, zero: Zero) -> None:
        super().__init__(container, source, piece.span, zero)
        self._packets = range(*(-(-self._samples(at) // _FRAME) * _FRAME for at in (piece.span.start, piece.span.end)))
        low, high = self._samples(piece.within.start), self._samples(piece.within.end)
        self._bounds = max(low, self._packets.start - 2 * _FRAME), min(high, self._packets.stop + 2 * _FRAME)
        self._added: int | None = None

    def begin(self, span: Span, source: Any) -> None:
        longer = 3 * _FRAME * MICROSECONDS // RATE
        super().begin(Span(Moment(span.start - longer), Moment(span.end + longer)), source)

    @property
    def _wanted(self) -> tuple[int, int]:
        return self._bounds

    def _add(self, part: Any, at: int) -> None:
        """With silence before what does not begin where the last ended."""
        begin = at // _FRAME * _FRAME if self._added is None else self._added
        while begin < at:
            silence = type(part).from_ndarray(np.zeros((1, min(at - begin, RATE)), np.float32), "fltp", "mono")
            silence.sample_rate = RATE
            super()._add(silence, begin)
            begin += silence.samples
        super()._add(part, begin)
        self._added = begin + part.samples

    def _write(self, packets: Iterable[Packet]) -> None:
        super()._write(
            [one for one in packets if one.pts is not None and self._packets.start <= one.pts < self._packets.stop]
        )


def _black(width: int, height: int) -> Any:
    from av import VideoFrame

    return VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), "rgb24")
