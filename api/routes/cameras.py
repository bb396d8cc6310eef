"""/v1/cameras: cameras that speak ONVIF."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.routes.parts import Parts
from api.schemas import CameraIn, CameraOut, CameraStreamOut

router = APIRouter(prefix="/v1/cameras", tags=["cameras"])


@router.get("")
def discover_cameras(parts: Parts, wait_s: Annotated[float, Query(ge=0.5, le=30)] = 3.0) -> list[CameraOut]:
    """The cameras that answer on this network within so many seconds."""
    return parts.cameras.discover(wait_s)


@router.post("/streams")
def camera_streams(request: CameraIn, parts: Parts) -> list[CameraStreamOut]:
    """The streams that a camera says it has."""
    return parts.cameras.streams(request)
