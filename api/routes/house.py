"""Keeping house: erasing, budgets, health, examination, metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from api import metrics
from api.routes.parts import Parts
from api.schemas import BudgetOut, CheckOut, EraseIn, EraseOut, HealthOut, HoldIn, HoldOut

router = APIRouter(tags=["house"])


@router.post("/v1/erase")
def erase(request: EraseIn, parts: Parts) -> EraseOut:
    """Erase a stretch of a stream, or all of it. The answer says what was looked for afterwards and not found."""
    return parts.eraser.erase(request)


@router.post("/v1/holds", status_code=201)
def hold(request: HoldIn, parts: Parts) -> HoldOut:
    """Hold a stretch of a stream, or all of it, as evidence: nothing of it goes until it is released."""
    return parts.holds.place(request)


@router.get("/v1/holds")
def holds(parts: Parts) -> list[HoldOut]:
    """What is held, and why."""
    return parts.holds.all()


@router.delete("/v1/holds/{hold}", status_code=204)
def release(hold: int, parts: Parts) -> None:
    """Hold it no longer: age and budget apply again."""
    parts.holds.release(hold)


@router.get("/v1/budget")
def budget(parts: Parts) -> list[BudgetOut]:
    """What each stream's memory takes, and what it may take."""
    return parts.housekeeping.budgets()


@router.get("/v1/health", response_model=HealthOut)
def health(parts: Parts) -> JSONResponse:
    """200 when every part has just done its work, 503 otherwise."""
    found = parts.health.examine()
    return JSONResponse(found.model_dump(mode="json"), status_code=200 if found.ok else 503)


@router.post("/v1/doctor")
def doctor(parts: Parts, repair: bool = False) -> list[CheckOut]:
    """Examine files, checksums and index against the database, and repair what can be repaired."""
    return parts.health.doctor(repair=repair)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"example": "…"}}}})
def prometheus(parts: Parts) -> Response:
    """Prometheus metrics."""
    return Response(parts.metrics.page(), media_type=metrics.MEDIA_TYPE)
