"""/v1/streams/{stream}/…: pictures and clips of any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, RedirectResponse, Response

from api.examples import PLAYLIST, TRACK
from api.playlist import ADVICE, iso, media
from api.ranges import Ranged
from api.routes.parts import At, From, Parts, To
from api.scope import extent
from api.sprite import MOST, track
from api.streams import slug
from api.times import label, utc
from ingest.errors import Invalid, NotFound
from ingest.questions import Picture
from ingest.records import Moment, Span
from memory.store import StreamRow

Answers = dict[int | str, dict[str, Any]]
router = APIRouter(prefix="/v1/streams/{stream}", tags=["footage"])
_JPEG: Answers = {200: {"content": {"image/jpeg": {}}, "description": "A JPEG."}}
_MP4: Answers = {
    200: {
        "content": {"video/mp4": {}},
        "description": "An MP4. `Hindsight-Span` says what it really covers, `Hindsight-Label` the same for people, "
        "percent-encoded, `Hindsight-Gaps` what is missing within it and why.",
    },
    206: {"content": {"video/mp4": {}}, "description": "The bytes asked for."},
    416: {"description": "It has none of the bytes asked for; `Content-Range` says how many it has."},
}
Count = Annotated[int, Query(ge=1, le=MOST, description="How many pictures.")]
Exact = Annotated[bool, Query(description="Encoded anew, although it might be copied.")]
Columns = Annotated[int, Query(ge=1, le=20)]
_VTT: Answers = {200: {"content": {"text/vtt": {"example": TRACK}}, "description": "A WebVTT thumbnails track."}}
_KEPT: Final = {"Cache-Control": "private, max-age=3600"}
_MOST_GAPS: Final = 50
_GONE: Final = "no recording"
_M3U8: Final = "application/vnd.apple.mpegurl"
_HLS: Answers = {
    200: {"content": {_M3U8: {"example": PLAYLIST}}, "description": "A playlist of fragmented MP4."},
    307: {"description": "To the same with its beginning in numbers, so that a live playlist only ever grows."},
}


@router.head("/frame", include_in_schema=False)
@router.get("/frame", response_class=Response, responses=_JPEG)
def frame(
    stream: str, parts: Parts, at: At = "now", max_side: Annotated[int, Query(ge=16, le=3840)] = 1280
) -> Response:
    """The picture shown at a moment."""
    row = parts.store.streams.get(stream)
    return _jpeg(parts.footage.still(row, _moment(at, row, parts), max_side=max_side), row, parts)


@router.head("/thumbnail", include_in_schema=False)
@router.get("/thumbnail", response_class=Response, responses=_JPEG)
def thumbnail(stream: str, parts: Parts, at: At = "now") -> Response:
    """The remembered picture nearest to a moment, also when the recording is gone."""
    row = parts.store.streams.get(stream)
    return _jpeg(parts.footage.thumbnail(row, _moment(at, row, parts)), row, parts)


@router.head("/clip", include_in_schema=False)
@router.get("/clip", response_class=FileResponse, responses=_MP4)
def clip(
    stream: str,
    parts: Parts,
    start: From = None,
    end: To = None,
    exact: bool = False,
    download: Annotated[bool, Query(description="To be saved under a name, instead of played.")] = False,
) -> Ranged:
    """A stretch as MP4, with range requests. It starts at a key frame unless `exact`. Of what is missing within it
    (erased, or never seen) the time passes, with the last picture before it."""
    row = parts.store.streams.get(stream)
    found = parts.footage.clip(row, _asked(row, start, end, parts), exact=exact)
    holes = sorted([*((gap.span, gap.reason) for gap in found.gaps), *((span, _GONE) for span in found.unrecorded)])
    missing = [f'{_interval(span)};reason="{reason}"' for span, reason in holes[:_MOST_GAPS]]
    missing += [f'{_interval(found.awaited)};reason="still being recorded"'] if found.awaited else []
    headers = {
        "Hindsight-Span": _interval(found.span),
        "Hindsight-Label": _label(found.span, row, parts),
        **({"Hindsight-Gaps": ", ".join(missing)} if missing else {}),
    }
    headers |= _KEPT if found.awaited is None else {"Cache-Control": "no-store"}
    name = f"{slug(row.name)}-{utc(found.span.start):%Y%m%dT%H%M%SZ}.mp4"
    return Ranged(found.path, headers, name=name, saved=download)


@router.head("/sprite.jpg", include_in_schema=False)
@router.get("/sprite.jpg", response_class=Response, responses=_JPEG)
def sprite(
    stream: str, parts: Parts, start: From = None, end: To = None, count: Count = 50, columns: Columns = 10
) -> Response:
    """Small pictures of equal stretches in one, row by row, for scrubbing; black where none is remembered."""
    row = parts.store.streams.get(stream)
    sheet = parts.sprites.sheet(row, _stretch(row, start, end, parts), count, columns)
    headers = {"Cache-Control": "private, max-age=60"}
    return Response(parts.sprites.jpeg(row, sheet), media_type="image/jpeg", headers=headers)


@router.head("/sprite.vtt", include_in_schema=False)
@router.get("/sprite.vtt", response_class=Response, responses=_VTT)
def sprite_track(
    stream: str, parts: Parts, start: From = None, end: To = None, count: Count = 50, columns: Columns = 10
) -> Response:
    """Which part of the sprite sheet of the same stretch shows when, from the stretch's beginning on."""
    row = parts.store.streams.get(stream)
    sheet = parts.sprites.sheet(row, _stretch(row, start, end, parts), count, columns)
    asked = {"from": iso(sheet.span.start), "to": iso(sheet.span.end), "count": count, "columns": columns}
    return Response(track(sheet, f"sprite.jpg?{urlencode(asked, safe=':')}"), media_type="text/vtt")


def _stretch(row: StreamRow, start: str | None, end: str | None, parts: Parts) -> Span:
    span = parts.scopes.span(start, end, row) or extent(parts.store, row)
    if span is None:
        raise NotFound(f"Nothing of {row.name} has been seen yet.", advice="Wait for its first picture.")
    return span


@router.head("/playlist.m3u8", include_in_schema=False)
@router.get("/playlist.m3u8", response_class=Response, responses=_HLS)
def playlist(stream: str, parts: Parts, start: From = None, end: To = None) -> Response:
    """HLS of any stretch of up to 24 hours. A camera's goes on where there is no `to`, and then has its last 24 hours;
    a folder's has the first 24. Where many players do not take what is recorded, `Hindsight-Advice` says so. A file's
    has all of it at once, or while the file is being read what was read so far; its pieces are made when they are asked
    for."""
    row = parts.store.streams.get(stream)
    span = parts.playlists.span(row, start, end)
    live = row.kind == "live" and end is None
    if live and start != iso(span.start):
        return RedirectResponse(f"playlist.m3u8?{urlencode({'from': iso(span.start)}, safe=':')}", 307)
    written = parts.playlists.write(row, span, live=live)
    advice = {"Hindsight-Advice": ADVICE} if ADVICE in written else {}
    return Response(written, media_type=_M3U8, headers={"Cache-Control": "no-cache"} | advice)


@router.head("/segments/{epoch}-{moment}.mp4", include_in_schema=False)
@router.get("/segments/{epoch}-{moment}.mp4", response_class=FileResponse, responses=_MP4)
def segment(stream: str, epoch: int, moment: int, parts: Parts) -> Ranged:
    """A recorded segment as it is stored, with range requests. Playlists name them."""
    found = parts.playlists.segment(parts.store.streams.get(stream), epoch, Moment(moment))
    return Ranged(Path(found.path), _KEPT)


@router.head("/segments/{epoch}-{moment}.m4s", include_in_schema=False)
@router.get("/segments/{epoch}-{moment}.m4s", response_class=Response, responses={200: _MP4[200]})
def part(stream: str, epoch: int, moment: int, parts: Parts) -> Response:
    """The pictures and sounds of a recorded segment, with times that go on from one segment to the next."""
    found = parts.playlists.segment(parts.store.streams.get(stream), epoch, Moment(moment))
    return Response(media(found), media_type="video/mp4", headers=_KEPT)


@router.head("/pieces/{epoch}-{moment}.mp4", include_in_schema=False)
@router.get("/pieces/{epoch}-{moment}.mp4", response_class=FileResponse, responses=_MP4)
def header(stream: str, epoch: int, moment: int, parts: Parts, exact: Exact = False) -> Ranged:
    """What all pieces of a file need before them. Playlists name it."""
    row = parts.store.streams.get(stream)
    return Ranged(parts.playlists.pieces.header(row, epoch, Moment(moment), exact=exact), _KEPT)


@router.head("/pieces/{epoch}-{begin}-{end}.m4s", include_in_schema=False)
@router.get("/pieces/{epoch}-{begin}-{end}.m4s", response_class=FileResponse, responses=_MP4)
def piece(stream: str, epoch: int, begin: int, end: int, parts: Parts, exact: Exact = False) -> Ranged:
    """A stretch of a file as fragmented MP4, made when it is asked for, with range requests. Playlists name them."""
    if end <= begin:
        raise Invalid("The piece would be empty.", advice="Take those that playlists name.")
    row, span = parts.store.streams.get(stream), Span(Moment(begin), Moment(end))
    return Ranged(parts.playlists.pieces.piece(row, epoch, span, exact=exact), _KEPT)


def _asked(row: StreamRow, start: str | None, end: str | None, parts: Parts) -> Span:
    span = parts.scopes.span(start, end, row)
    if span is None:
        raise Invalid("A clip needs a start and an end.", advice="Give `from` and `to`.")
    return span


def _label(span: Span, row: StreamRow, parts: Parts) -> str:
    """As a header can carry it: labels have dashes that ASCII lacks."""
    return quote(label(span, parts.scopes.calendar((row,))))


def _interval(span: Span) -> str:
    return f"{utc(span.start).isoformat()}/{utc(span.end).isoformat()}"


def _moment(at: str, row: StreamRow, parts: Parts) -> Moment | None:
    return None if at == "now" else parts.scopes.moment(at, row)


def _jpeg(picture: Picture, row: StreamRow, parts: Parts) -> Response:
    headers = {
        "Hindsight-Moment": utc(picture.moment).isoformat(),
        "Hindsight-Label": _label(Span(picture.moment, picture.moment), row, parts),
        "Cache-Control": "private, max-age=5",
    }
    return Response(picture.jpeg, media_type="image/jpeg", headers=headers)
