"""/v1/uploads: a file in pieces; an interrupted upload continues where it stopped."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.routes.parts import Parts
from api.schemas import StreamOut, UploadComplete, UploadIn, UploadOut

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
_TEXT = {"requestBody": {"required": True, "content": {"application/octet-stream": {"example": "(SubRip or WebVTT)"}}}}
_BYTES = {"requestBody": {"required": True, "content": {"application/octet-stream": {"example": "(raw bytes)"}}}}


@router.post("", status_code=201)
def begin_upload(request: UploadIn, parts: Parts) -> UploadOut:
    """Announce a file and its size."""
    return parts.uploads.begin(request)


@router.get("")
def unfinished_uploads(parts: Parts) -> list[UploadOut]:
    """Uploads that are no stream yet, oldest first. Each goes on at the offset that `received` says."""
    return parts.uploads.unfinished()


@router.delete("/{upload}", status_code=204)
def abandon_upload(upload: str, parts: Parts) -> None:
    """Throw away what has come of an upload that is no stream yet."""
    parts.uploads.abandon(upload)


@router.get("/{upload}")
def get_upload(upload: str, parts: Parts) -> UploadOut:
    """How much has arrived."""
    return parts.uploads.get(upload)


@router.put("/{upload}", openapi_extra=_BYTES)
async def send_piece(
    upload: str, request: Request, parts: Parts, offset: Annotated[int, Query(ge=0, examples=[0])]
) -> UploadOut:
    """Append a piece: raw bytes, at most 64 MB at a time, at the offset where the file ends."""
    return await parts.uploads.receive(upload, offset, request.stream())


@router.put("/{upload}/subtitles", openapi_extra=_TEXT)
async def send_subtitles(
    upload: str,
    request: Request,
    parts: Parts,
    filename: Annotated[str, Query(max_length=255, examples=["holiday.de.srt"])],
) -> UploadOut:
    """Put a subtitle file beside the film, before it becomes a stream: .srt or .vtt, named like the film, at most 8 MB.
    The language is what stands between the name and the suffix. The same name again replaces it."""
    return await parts.uploads.subtitles(upload, filename, request.stream())


@router.post("/{upload}/complete", status_code=201)
def complete_upload(upload: str, request: UploadComplete, parts: Parts) -> StreamOut:
    """Make a stream of the file."""
    return parts.uploads.complete(upload, request)
