"""serve"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(help="Folder for everything that is remembered.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on; beyond loopback only with HINDSIGHT_KEY.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.")]


def serve(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    profile: Annotated[str | None, typer.Option(help="Which models: embedded or standard.")] = None,
) -> None:
    """Run the service until Ctrl-C. Every setting is also a variable: HINDSIGHT_DATA, HINDSIGHT_KEY, …"""
    from api import server, settings
    from api.cli import output

    found = settings.load(data=data, host=host, port=port, profile=profile)
    server.serve(found, lambda address: output.say(f"Hindsight is at {address}  (Ctrl-C stops it)"))
