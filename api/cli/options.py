"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated

import typer

_TIME = 'Like "yesterday 14:00", "last hour" or, for a file, "00:12:31".'

Json = Annotated[bool, typer.Option("--json", help="Print exactly what the service says.")]
Streams = Annotated[list[str] | None, typer.Option("--stream", "-s", help="Only this stream; may be repeated.")]
From = Annotated[str | None, typer.Option("--from", help=f"Start. {_TIME}")]
To = Annotated[str | None, typer.Option("--to", help=f"End. {_TIME}")]
Force = Annotated[bool, typer.Option("--force", help="Also what is held as evidence.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
