"""One process: the service and its HTTP server, from start to a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from api.app import create
from api.compose import Service
from api.settings import Settings, disinherit
from ingest.errors import Conflict, Invalid

GRACE_S = 3
"""How long requests that are under way may take when the service stops; a part of its `STOP_S`."""
LAST_BREATH_S = 0.2
"""For requests that were cancelled to be gone."""


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Runs until it is told to stop (SIGTERM, Ctrl-C). `ready` hears the address once it answers."""
    disinherit()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("alembic", "faiss", "httpx", "uvicorn"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
    with _signals(), contextlib.closing(listen(settings)) as listening:
        address = settings.model_copy(update={"port": listening.getsockname()[1]}).address
        service = Service(settings)
        try:
            service.start()
            _Server(service, lambda: ready(address)).run(sockets=[listening])
        finally:
            service.close()


def leave() -> None:
    """Ends the process at once, everything being closed: Python would wait for every thread."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class _Server(uvicorn.Server):
    """Ends streams of events when asked to stop, which would otherwise keep their connections open."""

    def __init__(self, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                create(service),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=30,
            )
        )
        self._service = service
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What a thread of a request waits for cannot be interrupted: it is not waited for beyond the grace."""
        await super().shutdown(sockets)
        await asyncio.sleep(LAST_BREATH_S)
        if self.server_state.tasks:
            await asyncio.to_thread(self._service.close)
            leave()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.ask_to_stop()
        super().handle_exit(sig, frame)


def listen(settings: Settings) -> socket.socket:
    """Taken before anything else starts: a port that is in use is known at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(128)
    except socket.gaierror as error:
        listening.close()
        raise Invalid(f"{settings.host} is not an address of this machine.", advice="Check HINDSIGHT_HOST.") from error
    except OSError as error:
        listening.close()
        raise Conflict(
            f"{settings.address} cannot be used ({error.strerror}).",
            advice="Is a service running already? Choose another port with --port.",
        ) from error
    return listening


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """A signal outside the server's own time ends the process the same way: through every `finally`."""

    def leave(_sig: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    before = {sig: signal.signal(sig, leave) for sig in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)
