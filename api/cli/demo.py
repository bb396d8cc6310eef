"""demo"""

from __future__ import annotations

import sys
import threading
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from api.cli import output
from api.cli.client import Client, named
from api.cli.serve import Port
from api.cli.streams import WAITING
from ingest.errors import HindsightError, NotFound
from ingest.guard import resolve
from ingest.sources import parse
from models.language.telling import a

if TYPE_CHECKING:
    from api.settings import Settings

FIRST_RESULTS = 40
"""Frames remembered before anything is suggested."""
PATIENCE_S = 120.0


def demo(
    video: Annotated[
        str | None, typer.Option(help="A file, rtsp://… or /dev/video0; a rendered scene if absent.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder for the demonstration.")] = Path("~/.local/share/hindsight-demo"),
    port: Port = None,
) -> None:
    """Start the service on a demonstration stream, or on your own video, and say what to try."""
    from api import server, settings

    found = settings.load(data=data.expanduser(), port=port)
    source = _own(video) if video else _rendered(found.folder)
    granted = {"roots": [*found.roots, *_folder_of(source)], "networks": [*found.networks, *addresses_of(source)]}
    found = found.model_copy(update=granted)
    server.serve(found, lambda address: _guide(found, address, "street" if video is None else "video", source))


def _own(video: str) -> str:
    path = Path(video).expanduser()
    if "://" not in video and not video.startswith("/dev/") and not path.is_file():
        raise NotFound(f"There is no file {video}.", advice="Check the path.")
    return str(path.absolute()) if path.is_file() else video


def _folder_of(source: str) -> list[Path]:
    """Who starts the demonstration on a file wants it read, wherever it lies."""
    return [Path(source).parent] if Path(source).is_file() else []


def addresses_of(source: str) -> list[str]:
    """Who starts the demonstration on a URL wants it watched, also on this machine: its host's addresses, no others."""
    host = urlsplit(source).hostname if "://" in source else None
    try:
        return [str(ip_network(address)) for address in resolve(host, 0)] if host else []
    except OSError:
        return []  # told when the source is opened


def _rendered(folder: Path) -> str:
    from ingest.scene import render

    film = folder / "street-and-room.mp4"
    if not film.exists():
        folder.mkdir(parents=True, exist_ok=True)
        output.say("Rendering a street and a room: three and a half minutes, drawn by this program …")
        with output.progress() as bar:
            task = bar.add_task("Rendering", total=1.0)
            render(film, progress=lambda done: bar.update(task, completed=done))
    return str(film)


def _guide(found: Settings, address: str, name: str, source: str) -> None:
    """In a thread of its own: the server needs this one."""
    threading.Thread(target=_show_around, args=(found, address, name, source), daemon=True).start()


def _show_around(found: Settings, address: str, name: str, source: str) -> None:
    output.say(f"Hindsight is at {address}  (Ctrl-C stops it)")
    try:
        client = Client(address=address, key=found.key.get_secret_value())
        stream = _watched(client, name, source)
        output.say(f"It is watching {stream['source']} …")
        stream = _first_results(client, stream)
        prefix = "" if found.port == 8765 else f"HINDSIGHT_PORT={found.port} "
        output.say("To try, in another terminal or on the page:")
        for command in suggestions(client, stream) or (f'ask "What happened?" --stream {stream["name"]}',):
            output.say(f"  {prefix}{sys.argv[0]} {command}")
        _until_read(client, stream)
    except HindsightError as error:
        output.fail(error, as_json=False)


def _watched(client: Client, name: str, source: str) -> dict[str, Any]:
    """The stream of this source; one of an earlier demonstration is used again."""
    streams: list[dict[str, Any]] = client.get("/v1/streams")
    for stream in streams:
        if stream["source"] == parse(source).masked:
            return stream
    taken = {stream["name"] for stream in streams}
    free = next(name for name in (name, *(f"{name}-{n}" for n in range(2, 1000))) if name not in taken)
    added: dict[str, Any] = client.post("/v1/streams", {"name": free, "source": source})
    return added


def _first_results(client: Client, stream: dict[str, Any]) -> dict[str, Any]:
    import time

    waited = 0.0
    while waited < PATIENCE_S:
        stream = client.get(f"/v1/streams/{named(stream['id'])}")
        ready = stream["counters"]["stored"] >= FIRST_RESULTS and len(suggestions(client, stream)) == 3
        if ready or stream["state"] not in (*WAITING, "live"):
            break
        time.sleep(1)
        waited += 1
    return stream


def suggestions(client: Client, stream: dict[str, Any]) -> list[str]:
    """Up to three commands that were tried just now and found something."""
    seen = client.get(f"/v1/streams/{named(stream['id'])}/timeline")["observations"]
    seen.sort(key=lambda one: ("something" in (one["label"], one["text"]), one["kind"] == "thing", -one["score"]))
    name = stream["name"]
    commands = [f'ask "What happened?" --stream {name}'] if seen else []
    for event in dict.fromkeys(_phrase(one) for one in seen):
        if event and client.post("/v1/find", {"event": event, "streams": [name], "limit": 1})["hits"]:
            commands.append(f'find "{event}" --stream {name}')
            break
    if any(one["kind"] in ("event", "heard", "read") for one in seen):
        commands.append(f"summary --stream {name}")
    return commands


def _phrase(one: dict[str, Any]) -> str:
    """What was seen, as a person would look for it; empty for what is better heard or read."""
    name = one["label"] if one["kind"] == "thing" else one["text"] or "something"
    what = f"something {one['colour']}" if name == "something" else a(f"{one['colour']} {name}".strip())
    if one["kind"] == "event" and one["label"] in ("enters", "leaves", "appears"):
        return f"{what} {one['label']}".replace("  ", " ")
    return what if one["kind"] == "thing" and one["colour"] else ""


def _until_read(client: Client, stream: dict[str, Any]) -> None:
    from api.cli.streams import follow

    if stream["kind"] == "file" and stream["state"] in WAITING:
        stream = follow(client, stream)
        output.say(f"{stream['name']} is {stream['state']}: {stream['counters']['stored']} frames remembered.")
