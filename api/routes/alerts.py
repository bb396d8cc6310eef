"""/v1/alerts: what came true, as a list and live."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from api import events
from api.routes.parts import Parts, Place
from api.schemas import AlertOut

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])


@router.get("")
def list_alerts(
    parts: Parts, place: Place, rule: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[AlertOut]:
    """Newest first."""
    return parts.timelines.alerts(parts.scopes.resolve(place).scope, rule=rule, limit=limit)


@router.get("/events", response_class=StreamingResponse, responses=events.DOCUMENTED_ALERTS)
async def follow_alerts(
    parts: Parts,
    since: Annotated[
        int | None, Query(ge=0, le=2**62, description="Number of the last alert seen; only new ones if absent.")
    ] = None,
    last_event_id: Annotated[int | None, Header(ge=0, le=2**62)] = None,
) -> StreamingResponse:
    """Alerts as they happen and as they grow, as server-sent events."""
    start = last_event_id if last_event_id is not None else since
    start = parts.timelines.newest() if start is None else start
    return events.response(events.alerting(parts.timelines.changes, start, parts.stopping.is_set))
