"""/v1/streams: add, list, look at, pause, resume, remove."""

from __future__ import annotations

from fastapi import APIRouter

from api.routes.parts import From, Parts, To
from api.schemas import EraseOut, StreamIn, StreamOut, StreamPatch, TimelineOut

router = APIRouter(prefix="/v1/streams", tags=["streams"])


@router.post("", status_code=201)
def add_stream(request: StreamIn, parts: Parts) -> StreamOut:
    """Add a camera, a device, a URL or a file of the service's machine. It is opened before anything is kept."""
    return parts.streams.add(request)


@router.get("")
def list_streams(parts: Parts) -> list[StreamOut]:
    """Every stream with its state and its counters."""
    return parts.streams.all()


@router.get("/{stream}")
def get_stream(stream: str, parts: Parts) -> StreamOut:
    """One stream, by id or by name."""
    return parts.streams.get(stream)


@router.patch("/{stream}")
def change_stream(stream: str, request: StreamPatch, parts: Parts) -> StreamOut:
    """Another name, address, login or settings. A new address is opened first; one that cannot be reached is taken
    where nothing is seen of the stream now."""
    return parts.streams.change(stream, request)


@router.delete("/{stream}")
def remove_stream(stream: str, parts: Parts, force: bool = False) -> EraseOut:
    """Remove a stream and everything remembered of it. Your own files stay. `force`: also what is held."""
    return parts.eraser.remove(stream, force=force)


@router.post("/{stream}/pause")
def pause_stream(stream: str, parts: Parts) -> StreamOut:
    """Stop watching until resumed; the time between is a gap."""
    return parts.streams.pause(stream)


@router.post("/{stream}/resume")
def resume_stream(stream: str, parts: Parts) -> StreamOut:
    """Watch again, a file from where it stopped."""
    return parts.streams.resume(stream)


@router.get("/{stream}/timeline")
def timeline(stream: str, parts: Parts, start: From = None, end: To = None) -> TimelineOut:
    """Coverage, gaps, what was seen and the alerts between two moments."""
    return parts.timelines.timeline(stream, start, end)


@router.get("/{stream}/coverage")
def coverage(stream: str, parts: Parts, start: From = None, end: To = None) -> TimelineOut:
    """When the stream was watched and when not, and why not; without what was seen."""
    return parts.timelines.coverage(stream, start, end)
