"""Clips and still pictures out of segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.child import Decoder
from ingest.errors import NotFound
from ingest.limits import Limits
from ingest.questions import Picture
from ingest.records import MICROSECONDS, Moment, Segment, Span, seconds

if TYPE_CHECKING:
    from av import VideoFrame

    from ingest.decode import Emit
    from ingest.opening import Opened

_WIDE: Final = seconds(12)
"""How far before the target to seek where the container has no index of key frames."""
_TOUCHING: Final = seconds(0.5)
"""So far the last picture of an epoch may reach into the next."""


def cut(
    segments: Sequence[Segment],
    spans: Sequence[Span],
    out: Path,
    *,
    exact: bool = False,
    timeout_s: float = 60,
) -> Span:
    """Write an MP4 that browsers play, with sound, of `spans` in order; returns the span that it really covers.

    What lies between the spans is left out and its time stays: the last picture before it stands as long.
    H.264 is copied from the last key frame before a span; `exact`, and any other codec, is encoded anew.
    `timeout_s`: for every minute of it. Raises `NotFound` when no segment overlaps any of `spans`. Epochs that overlap,
    as where a clock was put back, are shown one behind the other.
    """
    found = [(segment, span) for span in spans for segment in _overlapping(segments, span)]
    if not found:
        raise _no_video()
    pieces = _one_by_one(found)
    part = out.with_name(out.name + ".part")
    details = {"pieces": pieces, "out": str(part), "exact": exact}
    try:
        with Decoder("cut", details, Limits()) as decoder:
            covered: Span = decoder.result(timeout_s * (1 + sum(span.duration for span in spans) // seconds(60)))
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    last = max(min(segment.span.end, span.end) for segment, span in found)
    return covered if pieces == found else Span(covered.start, max(covered.start, last))


def still(segments: Sequence[Segment], moment: Moment, *, max_side: int = 1280, timeout_s: float = 20) -> Picture:
    """The picture that was shown at `moment`, as JPEG. Raises `NotFound` when nothing was recorded then."""
    pieces = _overlapping(segments, Span(moment, Moment(moment + 1)))
    if not pieces:
        raise _no_video()
    details = {"segment": pieces[-1], "moment": moment, "max_side": max_side}
    with Decoder("still", details, Limits()) as decoder:
        picture: Picture = decoder.result(timeout_s)
    return picture


def _overlapping(segments: Sequence[Segment], span: Span) -> list[Segment]:
    return sorted((s for s in segments if s.span.overlaps(span)), key=lambda s: (s.epoch, s.span.start))


def _one_by_one(pieces: Sequence[tuple[Segment, Span]]) -> list[tuple[Segment, Span]]:
    """The pieces epoch by epoch, that which begins first first; one that begins before the one before it ended is
    moved behind that."""
    begun: dict[int, Moment] = {}
    for segment, span in pieces:
        start = max(segment.span.start, span.start)
        begun[segment.epoch] = min(begun.get(segment.epoch, start), start)
    placed: list[tuple[Segment, Span]] = []
    reached, later, epoch = Moment(0), 0, -1
    for segment, span in sorted(pieces, key=lambda piece: (begun[piece[0].epoch], piece[0].epoch)):
        if segment.epoch != epoch:
            epoch, over = segment.epoch, reached - begun[segment.epoch]
            later = over if over > _TOUCHING else 0
        placed.append((replace(segment, span=_moved(segment.span, later)), _moved(span, later)))
        reached = Moment(max(reached, min(placed[-1][0].span.end, placed[-1][1].end)))
    return placed


def _moved(span: Span, later: int) -> Span:
    return Span(Moment(span.start + later), Moment(span.end + later))


def _no_video() -> NotFound:
    return NotFound("There is no video of that time.", advice="Look at the stream's coverage and gaps.")


# --- the child's side ------------------------------------------------------------------------------------------


def still_job(details: Mapping[str, Any], limits: Limits, emit: Emit) -> Picture:
    """The child's side of `still`: the last picture that was shown at or before the moment."""
    from ingest import pictures

    segment, moment = details["segment"], details["moment"]
    with open_segment(segment, limits) as opened:
        shown: VideoFrame | None = None
        at = segment.span.start
        for frame, when in frames_from(opened, segment, moment):
            if shown is not None and when > moment:
                break
            shown, at = frame, when
        if shown is None:
            raise NotFound("There is no picture at that time.", advice="Look at the stream's coverage and gaps.")
        return Picture(at, pictures.jpeg(shown, details["max_side"], pictures.pixel_of(opened.video)))


def cut_job(details: Mapping[str, Any], limits: Limits, emit: Emit) -> Span:
    """The child's side of `cut`."""
    from ingest.cutting import Cutting

    cutting = Cutting(details["pieces"], details["exact"], limits, lambda: emit(("cutting",)))
    return cutting.write(details["out"])


def open_segment(segment: Segment, limits: Limits) -> Any:
    from ingest.opening import open_source

    return open_source({"scheme": "file", "location": segment.path}, limits)


def moment_of(segment: Segment, pts: int, time_base: Any) -> Moment:
    """When something at `pts` of the segment's container was."""
    return Moment(segment.span.start + round(pts * time_base * MICROSECONDS) - segment.first_pts)


def seek_before(opened: Opened, segment: Segment, moment: Moment) -> None:
    """Go to the last key frame at or before `moment`, or to the beginning where the container cannot."""
    import av.error

    target = segment.first_pts + moment - segment.span.start - (0 if opened.one_timeline else _WIDE)
    if target - segment.first_pts <= seconds(0.5):
        return
    try:
        opened.container.seek(target, backward=True)
    except av.error.FFmpegError:
        opened.container.seek(0, backward=True)


def frames_from(opened: Opened, segment: Segment, moment: Moment) -> Iterator[tuple[VideoFrame, Moment]]:
    """Decoded pictures with their moments, from a key frame at or before `moment`."""
    import av.error

    if opened.video is None:
        return
    seek_before(opened, segment, moment)
    for packet in opened.packets(opened.video):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if frame.pts is not None:
                yield frame, moment_of(segment, frame.pts, frame.time_base)
