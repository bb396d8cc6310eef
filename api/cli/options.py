"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ingest.errors import Invalid

_TIME = 'Like "yesterday 14:00", "last hour" or, for a file, "00:12:31".'

Json = Annotated[bool, typer.Option("--json", help="Print exactly what the service says.")]
Streams = Annotated[list[str] | None, typer.Option("--stream", "-s", help="Only this stream; may be repeated.")]
From = Annotated[str | None, typer.Option("--from", help=f"Start. {_TIME}")]
To = Annotated[str | None, typer.Option("--to", help=f"End. {_TIME}")]
Force = Annotated[bool, typer.Option("--force", help="Also what is held as evidence.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Own = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Of this stream alone, in place of the service's: audio=off, record=off, language=de, "
        "keep_recordings_hours=24, keep_events_hours=…, keep_alerts_hours=…, recordings_budget_mb=5000; NAME= is as "
        "the service has it. May be repeated.",
    ),
]


def own(settings: Sequence[str] | None) -> dict[str, str | None]:
    """What `--set` says, as a request has it. Raises `Invalid`."""
    found: dict[str, str | None] = {}
    for said in settings or ():
        name, equals, value = said.partition("=")
        if not equals:
            raise Invalid(f'"{said}" sets nothing.', advice="Write --set NAME=VALUE, such as --set audio=off.")
        found[name.strip()] = value.strip() or None
    return found
