"""The error family as HTTP: the one place where a kind of error becomes a status and a problem+json body."""

from __future__ import annotations

import errno
import logging

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.schemas import Problem
from ingest.errors import (
    Busy,
    Conflict,
    Denied,
    HindsightError,
    Invalid,
    NotFound,
    Poison,
    SourceRefused,
    SourceUnavailable,
    StillRecording,
    StorageFull,
    TooLarge,
    Transient,
    Unauthorised,
)

MEDIA_TYPE = "application/problem+json"


class KeyWanted(Unauthorised):
    """A request to this service came without its key."""

    code = "key-wanted"


_STATUS: tuple[tuple[type[HindsightError], int, str], ...] = (
    (StorageFull, 507, "The disk is full"),
    (Busy, 503, "Busy"),
    (StillRecording, 425, "Still being recorded"),
    (SourceUnavailable, 424, "The source does not answer"),
    (Transient, 503, "Not available now"),
    (TooLarge, 413, "Too large"),
    (Poison, 422, "Unusable input"),
    (KeyWanted, 401, "The key is needed"),
    (Unauthorised, 424, "The source wants other credentials"),
    (SourceRefused, 403, "Source refused"),
    (Denied, 403, "Not allowed"),
    (Invalid, 400, "The request makes no sense"),
    (NotFound, 404, "Not found"),
    (Conflict, 409, "It does not fit what is there"),
    (HindsightError, 500, "The service failed"),
)
_RETRY_S = {503: "5", 425: "10"}
_BY_STATUS = {400: "invalid", 403: "denied", 404: "not-found", 405: "invalid", 413: "too-large", 422: "invalid"}


def problem(error: HindsightError) -> Problem:
    status, title = next((status, title) for kind, status, title in _STATUS if isinstance(error, kind))
    return Problem(
        type=f"urn:hindsight:{error.code}", title=title, status=status, detail=error.message, advice=error.advice
    )


def respond(found: Problem) -> JSONResponse:
    headers = {"Retry-After": _RETRY_S[found.status]} if found.status in _RETRY_S else {}
    headers |= {"WWW-Authenticate": "Bearer"} if found.status == 401 else {}
    return JSONResponse(found.model_dump(), status_code=found.status, media_type=MEDIA_TYPE, headers=headers)


async def on_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnicodeEncodeError):
        error = Invalid("The request holds half a character.", advice="Send well-formed Unicode.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        error = StorageFull("The disk of the service is full.", advice="Free some space; nothing stored was harmed.")
    if not isinstance(error, HindsightError):
        logging.getLogger("hindsight").error("A request failed.", exc_info=error)
        error = HindsightError("Something in the service failed.", advice="Its log says more.")
    return respond(problem(error))


async def on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    unknown = first["type"] == "extra_forbidden"
    wrong = f'Nothing here is called "{where}".' if unknown else f"{where}: {first['msg']}."
    return respond(problem(Invalid(wrong, advice="See /v1/openapi.json for what is expected.")))


async def on_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, HindsightError):  # raised while the body was read, and wrapped by the framework
        return respond(problem(error.__cause__))
    code = _BY_STATUS.get(error.status_code, "error")
    return respond(
        Problem(
            type=f"urn:hindsight:{code}", title=str(error.detail), status=error.status_code, detail=str(error.detail)
        )
    )
