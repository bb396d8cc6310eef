"""/v1/ask, /find, /search, /summary: everything one may ask of the past."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import StreamingResponse

from api import events
from api.routes.parts import Parts, Place
from api.schemas import AskIn, FindIn, FindOut, SummaryOut, Where

router = APIRouter(prefix="/v1", tags=["questions"])


@router.post("/ask", response_class=StreamingResponse, responses=events.DOCUMENTED_ANSWER)
def ask(request: AskIn, parts: Parts) -> StreamingResponse:
    """Ask in words. Server-sent events: `token` {"text"} as the answer is written, then `answer` (AnswerOut), or
    `problem` (Problem). Times and stream names in the question count."""
    return events.response(events.answering(parts.asker.ask(request), parts.metrics.answer))


@router.post("/find")
def find(request: FindIn, parts: Parts) -> FindOut:
    """Spans in which an event, described in words, happens; best first."""
    return parts.finder.find(request)


@router.post("/search")
def search(
    parts: Parts,
    *,
    text: Annotated[str, Form(max_length=500, description="Words to look for.", examples=["something red"])] = "",
    image: Annotated[UploadFile | None, File(description="Or a picture: JPEG, PNG or WebP.")] = None,
    streams: Annotated[list[str], Form()] = [],  # noqa: B006  # read only
    start: Annotated[str | None, Form(alias="from")] = None,
    end: Annotated[str | None, Form(alias="to")] = None,
    limit: Annotated[int, Form(ge=1, le=200)] = 20,
) -> FindOut:
    """Spans that fit words or look like a picture, best first: a form with `text` or with a file `image`."""
    place = Where.model_validate({"streams": streams, "from": start, "to": end})
    return parts.finder.search(text, image.file.read() if image is not None else b"", place, limit=limit)


@router.get("/summary")
def summary(parts: Parts, place: Place, limit: Annotated[int, Query(ge=1, le=50)] = 8) -> SummaryOut:
    """What happened, with its highlights."""
    return parts.summariser.summarise(place, limit=limit)
