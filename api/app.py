"""The application: routes, errors, security and the page around one service."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import openapi, problems
from api.compose import Service
from api.routes import alerts, cameras, footage, house, questions, rules, streams, uploads
from api.security import Border, Guarded
from ingest.errors import HindsightError

WEB = Path(__file__).parent / "web"


def create(service: Service) -> FastAPI:
    """A running service over HTTP."""
    app = FastAPI(
        title="Hindsight",
        summary="Connect a camera. Ask what happened. Get told when it happens again.",
        version=version("hindsight"),
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    for room in (streams, cameras, footage, uploads, questions, rules, alerts, house):
        app.include_router(room.router)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(HTTPException, problems.on_http)
    app.add_exception_handler(HindsightError, problems.on_error)
    app.add_exception_handler(UnicodeEncodeError, problems.on_error)
    app.add_exception_handler(Exception, problems.on_error)
    _add_page(app)
    openapi.complete(app)
    settings = service.settings
    app.add_middleware(Measured, service=service)
    app.add_middleware(Guarded, border=Border(settings.key.get_secret_value(), settings.allowed_hosts))
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static", StaticFiles(directory=WEB / "static", check_dir=False), name="static")


class Measured:
    """ASGI middleware: the time to answer, by route."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._service.clock.monotonic()

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                took = self._service.clock.monotonic() - began
                self._service.metrics.request(scope["method"], route, message["status"], took)
            await send(message)

        await self._app(scope, receive, measured)
