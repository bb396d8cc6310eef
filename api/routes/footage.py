"""/v1/streams/{stream}/…: pictures and clips of any moment."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from api.routes.parts import At, From, Parts, To
from api.streams import slug
from api.times import utc
from ingest.errors import Invalid
from ingest.records import Moment, Picture, Span
from memory.store import StreamRow

Answers = dict[int | str, dict[str, Any]]
router = APIRouter(prefix="/v1/streams/{stream}", tags=["footage"])
_JPEG: Answers = {200: {"content": {"image/jpeg": {}}, "description": "A JPEG."}}
_MP4: Answers = {
    200: {"content": {"video/mp4": {}}, "description": "An MP4. `Hindsight-Span` says what it really covers."},
    206: {"content": {"video/mp4": {}}, "description": "The bytes asked for."},
}


@router.head("/frame", include_in_schema=False)
@router.get("/frame", response_class=Response, responses=_JPEG)
def frame(
    stream: str, parts: Parts, at: At = "now", max_side: Annotated[int, Query(ge=16, le=3840)] = 1280
) -> Response:
    """The picture shown at a moment."""
    row = parts.store.streams.get(stream)
    return _jpeg(parts.footage.still(row, _moment(at, stream, parts), max_side=max_side))


@router.head("/thumbnail", include_in_schema=False)
@router.get("/thumbnail", response_class=Response, responses=_JPEG)
def thumbnail(stream: str, parts: Parts, at: At = "now") -> Response:
    """The remembered picture nearest to a moment, also when the recording is gone."""
    return _jpeg(parts.footage.thumbnail(parts.store.streams.get(stream), _moment(at, stream, parts)))


@router.head("/clip", include_in_schema=False)
@router.get("/clip", response_class=FileResponse, responses=_MP4)
def clip(
    stream: str,
    parts: Parts,
    start: From = None,
    end: To = None,
    exact: bool = False,
    download: Annotated[bool, Query(description="To be saved under a name, instead of played.")] = False,
) -> FileResponse:
    """A stretch as MP4, with range requests. It starts at a key frame unless `exact`."""
    row = parts.store.streams.get(stream)
    span = parts.scopes.span(start, end, row)
    if span is None:
        raise Invalid("A clip needs a start and an end.", advice="Give `from` and `to`.")
    found = parts.footage.clip(row, span, exact=exact)
    covered = f"{utc(found.span.start).isoformat()}/{utc(found.span.end).isoformat()}"
    headers = {"Hindsight-Span": covered, "Cache-Control": "private, max-age=3600"}
    return FileResponse(
        found.path,
        media_type="video/mp4",
        headers=headers,
        filename=_named(row, found.span),
        content_disposition_type="attachment" if download else "inline",
    )


def _named(row: StreamRow, span: Span) -> str:
    return f"{slug(row.name)}-{utc(span.start):%Y%m%dT%H%M%SZ}.mp4"


def _moment(at: str, stream: str, parts: Parts) -> Moment | None:
    return None if at == "now" else parts.scopes.moment(at, parts.store.streams.get(stream))


def _jpeg(picture: Picture) -> Response:
    headers = {"Hindsight-Moment": utc(picture.moment).isoformat(), "Cache-Control": "private, max-age=5"}
    return Response(picture.jpeg, media_type="image/jpeg", headers=headers)
