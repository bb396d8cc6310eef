"""ask · find · search · summary"""

from __future__ import annotations

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
    for name, data in Client().events("POST", "/v1/ask", body):
        if name == "token" and not json:
            written += data["text"]
            output.write(data["text"])
        elif name == "answer":
            answer = data
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
    _shown(Client().post("/v1/find", body), json)


def search(
    image: Annotated[Path, typer.Option("--image", help="A picture to look for.")],
    stream: Streams = None,
    start: From = None,
    end: To = None,
    json: Json = False,
) -> None:
    """Find footage that looks like a picture. Exit code 1 when nothing was found."""
    if not image.is_file():
        raise NotFound(f"There is no file {image}.", advice="Check the path.")
    _shown(Client().send_picture("/v1/search", image.read_bytes(), where(stream, start, end)), json)


def summary(stream: Streams = None, start: From = None, end: To = None, json: Json = False) -> None:
    """What happened, in a few lines. Exit code 1 when there is no footage."""
    params = where(stream, start, end)
    found = Client().get("/v1/summary", stream=params["streams"], **{"from": start, "to": end})
    if json:
        output.as_json(found)
    else:
        output.say(found["text"])
        output.gaps(found["gaps"])
    raise typer.Exit(0 if found["highlights"] else 1)


def _rest_of(answer: dict[str, Any], written: str) -> None:
    """What follows the words: a correction where checking changed them, the evidence, the blind spots."""
    output.say()
    if answer["text"].strip() != written.strip():
        output.say(f"\nAfter checking its citations:\n{answer['text']}")
    for citation in answer["citations"]:
        output.say(f"  [{citation['number']}] {citation['stream_name']} {citation['span']['label']}")
    output.gaps(answer["gaps"])


def _shown(found: dict[str, Any], json: bool) -> None:
    if json:
        output.as_json(found)
    else:
        if found["hits"]:
            output.hits(found["hits"])
        if found["note"]:
            output.say(found["note"])
        output.gaps(found["gaps"])
    raise typer.Exit(0 if found["hits"] else 1)
