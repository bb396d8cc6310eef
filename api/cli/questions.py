"""ask · find · search · summary"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import output
from api.cli.client import Client, where
from api.cli.options import From, Json, Streams, To
from ingest.errors import NotFound, SourceUnavailable


def ask(
    question: Annotated[str, typer.Argument(help='Like "what came in this morning on door-cam?"')],
    stream: Streams = None,
    start: From = None,
    end: To = None,
    json: Json = False,
) -> None:
    """Ask what happened. Exit code 1 when it is not in the footage."""
    body = {"question": question, **where(stream, start, end)}
    answer: dict[str, Any] = {}
    written = ""
    events = Client().events("POST", "/v1/ask", body)
    with output.working("Looking"):
        first = next(events, None)  # the service looks before it writes
    for event in chain([first] if first else [], events):
        if event.name == "token" and not json:
            written += event.data["text"]
            output.write(event.data["text"])
        elif event.name == "answer":
            answer = event.data
    if not answer:
        raise SourceUnavailable("The service stopped before it had answered.", advice="Ask again.")
    if json:
        output.as_json(answer)
    else:
        _rest_of(answer, written)
    raise typer.Exit(0 if answer.get("found") else 1)


def find(
    event: Annotated[str, typer.Argument(help='Like "something red enters".')],
    *,
    stream: Streams = None,
    start: From = None,
    end: To = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Least probability.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    json: Json = False,
) -> None:
    """Find when an event happened. Exit code 1 when nothing was found."""
    body = {"event": event, "threshold": threshold, "limit": limit, **where(stream, start, end)}
    with output.working("Searching"):
        found = Client().post("/v1/find", body)
    _shown(found, json)


def search(
    text: Annotated[str, typer.Argument(help='Words to look for, like "something red".')] = "",
    *,
    image: Annotated[Path | None, typer.Option("--image", help="A picture to look for instead.")] = None,
    stream: Streams = None,
    start: From = None,
    end: To = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    json: Json = False,
) -> None:
    """Find footage that fits words or looks like a picture. Exit code 1 when nothing was found."""
    if bool(text) == (image is not None):
        raise typer.BadParameter("Give words to look for, or a picture with --image.")
    if image is not None and not image.is_file():
        raise NotFound(f"There is no file {image}.", advice="Check the path.")
    fields = {"text": text, "limit": limit, **where(stream, start, end)}
    picture = image.read_bytes() if image is not None else None
    with output.working("Searching"):
        found = Client().send_form("/v1/search", fields, picture)
    _shown(found, json)


def summary(stream: Streams = None, start: From = None, end: To = None, json: Json = False) -> None:
    """What happened, in a few lines. Exit code 1 when there is no footage."""
    params = where(stream, start, end)
    with output.working("Summing up"):
        found = Client().get("/v1/summary", stream=params["streams"], **{"from": start, "to": end})
    if json:
        output.as_json(found)
    else:
        output.say(found["text"])
        output.gaps(found)
    raise typer.Exit(0 if found["highlights"] else 1)


def _rest_of(answer: dict[str, Any], written: str) -> None:
    """What follows the words: a correction where checking changed them, the evidence, the blind spots."""
    output.say()
    if answer["text"].strip() != written.strip():
        output.say(f"\nAfter checking its citations:\n{answer['text']}")
    for citation in answer["citations"]:
        output.say(f"  [{citation['number']}] {citation['stream_name']} {citation['span']['label']}")
    output.gaps(answer)


def _shown(found: dict[str, Any], json: bool) -> None:
    if json:
        output.as_json(found)
    else:
        if found["hits"]:
            output.hits(found["hits"])
        if found["note"]:
            output.say(found["note"])
        output.gaps(found)
    raise typer.Exit(0 if found["hits"] else 1)
