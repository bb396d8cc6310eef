"""Cameras that speak ONVIF: found on this network, and asked for their streams."""

from __future__ import annotations

from dataclasses import asdict

from api.schemas import CameraIn, CameraOut, CameraStreamOut
from ingest.guard import Guard
from ingest.onvif import Login, discover, streams
from ingest.sources import Secret


class Cameras:
    """Nothing is kept of what is found: a stream is added by its source like any other."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def discover(self, wait_s: float) -> list[CameraOut]:
        return [CameraOut(**asdict(found)) for found in discover(self._guard, wait_s)]

    def streams(self, request: CameraIn) -> list[CameraStreamOut]:
        login = Login(request.username, Secret(request.password.get_secret_value()))
        return [CameraStreamOut(**asdict(found)) for found in streams(request.address, login, self._guard)]
