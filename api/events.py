"""Server-sent events: answers as they are written, alerts as they happen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

import anyio
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from api.problems import problem
from api.schemas import AlertOut, AnswerOut
from ingest.errors import HindsightError

MEDIA_TYPE = "text/event-stream"
POLL_S = 0.5
KEEP_ALIVE_S = 15.0

DOCUMENTED_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `token`, then `answer` or `problem`.",
        "content": {MEDIA_TYPE: {"example": 'event: token\ndata: {"text": "A red car enters [1]."}\n\n'}},
    }
}
DOCUMENTED_ALERTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `alert`, each with the id to continue from.",
        "content": {MEDIA_TYPE: {"example": 'id: 17\nevent: alert\ndata: {"id": "r1/s1/1700000000000000"}\n\n'}},
    }
}


def response(events: Iterable[str] | AsyncIterator[str]) -> StreamingResponse:
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type=MEDIA_TYPE, headers=headers)


def event(name: str, data: BaseModel | Mapping[str, object], identity: int | None = None) -> str:
    """One event on the wire; `data` is JSON on one line."""
    body = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data)
    number = f"id: {identity}\n" if identity is not None else ""
    return f"{number}event: {name}\ndata: {body}\n\n"


def answering(pieces: Iterator[str | AnswerOut], measured: Callable[[Mapping[str, float]], None]) -> Iterator[str]:
    """An answer's pieces as events. After the first byte an error can only be an event."""
    try:
        for piece in pieces:
            if isinstance(piece, AnswerOut):
                measured(piece.timings_ms)
                yield event("answer", piece)
            else:
                yield event("token", {"text": piece})
    except HindsightError as error:
        yield event("problem", problem(error))


async def alerting(
    changes: Callable[[int], list[tuple[int, AlertOut]]], since: int, stopping: Callable[[], bool]
) -> AsyncIterator[str]:
    """Alerts after `since`, for as long as the client listens and the service runs."""
    idle = 0.0
    yield f": listening\nid: {since}\n\n"
    while not stopping():
        found = await anyio.to_thread.run_sync(changes, since)
        for number, alert in found:
            since = number
            yield event("alert", alert, number)
        idle = 0.0 if found else idle + POLL_S
        if idle >= KEEP_ALIVE_S:
            idle = 0.0
            yield ": still here\n\n"
        await anyio.sleep(POLL_S)
