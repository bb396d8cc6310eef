"""cameras · add · add-all · change · streams · pause · resume · remove · uploads"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import output
from api.cli.client import Client, named
from api.cli.options import Force, Json, Own, Yes, own
from api.cli.sending import send
from ingest.errors import BrokenVideo, Conflict, HindsightError, Invalid, NotFound

_SAMPLING = "Which pictures are looked at: motion, adaptive, scene, rate, keys, or with rates like motion:0.5-4."
WAITING = {"connecting", "reading"}


def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    source: Annotated[str, typer.Argument(help="A file, /dev/video0, rtsp://…, http://… .")],
    *,
    starts_at: Annotated[str | None, typer.Option(help="When a file was filmed, if it does not say so itself.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until a file is read, or a camera gave its first picture.")
    ] = False,
    sampling: Annotated[str, typer.Option(help=_SAMPLING)] = "",
    settings: Own = None,
    upload: Annotated[
        bool,
        typer.Option(
            "--upload",
            help="Send the file, and its .srt and .vtt; for a service on another machine. One that was broken off goes "
            "on where it stopped.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Add a stream: a camera, a device, a URL or a file."""
    client = Client()
    wanted = {"name": name, "starts_at": starts_at} | ({"sampling": sampling} if sampling else {}) | own(settings)
    if upload:
        stream = _uploaded(client, Path(source), wanted)
    else:
        path = Path(source).expanduser()
        with suppress(OSError):  # where nobody may look the service says so
            source = str(path.absolute()) if "://" not in source and path.exists() else source
        with output.working("Opening"):
            stream = client.post("/v1/streams", {**wanted, "source": source})
    if wait:
        stream = follow(client, stream)
    if json:
        output.as_json(stream)
    else:
        output.say(f"{stream['name']} is {stream['state']}{_progress(stream)}.")


def add_all(
    file: Annotated[
        Path,
        typer.Argument(help="CSV: a line of names (name, source, username, password, audio, …), then a stream a line."),
    ],
    json: Json = False,
) -> None:
    """Add every stream of a list. What is there already is left alone, so the same list can be given again."""
    client = Client()
    there = {stream["name"] for stream in client.get("/v1/streams")}
    added, refused = [], 0
    for wanted in _listed(file):
        name = str(wanted.get("name", ""))
        if name in there:
            continue
        try:
            with output.working(f"Opening {name}"):
                added.append(client.post("/v1/streams", wanted))
        except HindsightError as error:
            refused += 1
            output.note(f"{name or 'A line without a name'}: {error}")
    if json:
        output.as_json(added)
    else:
        output.say(f"{len(added)} added: {', '.join(stream['name'] for stream in added) or 'none'}.")
    if refused:
        raise Invalid(f"{refused} were not added.", advice="Put right what is said of them, and give the list again.")


def _listed(file: Path) -> Iterator[dict[str, str]]:
    """What each line says; what a line leaves empty is as the service has it."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read.", advice="Give a CSV file in UTF-8.") from error
    rows = csv.DictReader(text.splitlines(), strict=True, restkey="behind the last column", restval="")
    if not {"name", "source"} <= set(rows.fieldnames or ()):
        raise Invalid(f"{file} has no columns called name and source.", advice="Its first line names the columns.")
    try:
        for row in rows:
            yield {column: value for column, value in row.items() if "".join(value)}
    except csv.Error as error:
        raise Invalid(f"{file}, line {rows.reader.line_num}: {error}.", advice="Put the line right.") from error


def cameras(
    address: Annotated[str | None, typer.Argument(help="A camera: its streams, not the list of cameras.")] = None,
    username: Annotated[str, typer.Option(help="Its ONVIF user; the password is asked for.")] = "",
    json: Json = False,
) -> None:
    """The cameras on this network that speak ONVIF, or the streams of one."""
    client = Client()
    titles: tuple[str, ...]
    if address is None:
        found = client.get("/v1/cameras")
        titles, rows = ("address", "name", "hardware"), [tuple(one.values()) for one in found]
    else:
        password = typer.prompt("Password", hide_input=True) if username else ""
        asked = {"address": address, "username": username, "password": password}
        found = client.post("/v1/cameras/streams", asked)
        titles = ("name", "source", "codec", "width", "height", "fps")
        rows = [tuple(one[title] for title in titles) for one in found]
    if json:
        output.as_json(found)
    elif not found:
        output.say("No camera answered. Is ONVIF switched on, and is the camera in this network?")
    else:
        output.table(titles, rows)


def change(
    name: Annotated[str, typer.Argument(help="What it is called now.")],
    *,
    to: Annotated[str | None, typer.Option("--name", help="What to call it from now on.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the same camera is to be found now.")] = None,
    username: Annotated[str | None, typer.Option(help="In place of the one that it has.")] = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for a new password.")] = False,
    sampling: Annotated[str | None, typer.Option(help=_SAMPLING)] = None,
    settings: Own = None,
    json: Json = False,
) -> None:
    """Change the name, address, login or settings of a stream while it is watched."""
    secret = typer.prompt("Password", hide_input=True) if password else None
    wanted = {"name": to, "source": source, "username": username, "password": secret, "sampling": sampling}
    patch = {field: value for field, value in wanted.items() if value is not None} | own(settings)
    if not patch:
        raise Invalid("Nothing was said to be changed.", advice="Give --name, --source, --sampling, --set …")
    _told(Client().patch(f"/v1/streams/{named(name)}", patch), json)


def streams(json: Json = False) -> None:
    """Every stream with its state."""
    found = Client().get("/v1/streams")
    if json:
        output.as_json(found)
    elif not found:
        output.say("There is no stream yet. Add one: hindsight add NAME SOURCE")
    else:
        output.table(("name", "state", "remembered", "frames", "source", ""), [_row(stream) for stream in found])


def pause(name: str, json: Json = False) -> None:
    """Stop watching a stream until it is resumed."""
    _told(Client().post(f"/v1/streams/{named(name)}/pause"), json)


def resume(name: str, json: Json = False) -> None:
    """Watch a paused stream again."""
    _told(Client().post(f"/v1/streams/{named(name)}/resume"), json)


def remove(name: str, force: Force = False, yes: Yes = False, json: Json = False) -> None:
    """Remove a stream and everything remembered of it. Your own files stay."""
    client = Client(timeout_s=3600)
    client.get(f"/v1/streams/{named(name)}")
    if not yes:
        typer.confirm(f"Forget everything about {name}?", abort=True)
    with output.working("Forgetting"):
        receipt = client.delete(f"/v1/streams/{named(name)}?force={str(force).lower()}")
    if json:
        output.as_json(receipt)
    else:
        output.say(f"{name} is forgotten. Verified gone: {', '.join(receipt['verified_gone'])}.")


def follow(client: Client, stream: dict[str, Any]) -> dict[str, Any]:
    """Waits with a bar until a file is read or a camera gave pictures. Raises when it failed."""
    import time

    with output.progress() as bar:
        task = bar.add_task(stream["name"], total=1.0)
        while stream["state"] in WAITING:
            time.sleep(0.3)
            stream = client.get(f"/v1/streams/{stream['id']}")
            bar.update(task, completed=stream["progress"] or 0.0)
    if stream["state"] == "failed":
        raise BrokenVideo(f"{stream['name']}: {stream['detail']}", advice="What was read until then is remembered.")
    return stream


def uploads(
    discard: Annotated[str, typer.Option("--discard", help="Throw away what has come of this one.")] = "",
    json: Json = False,
) -> None:
    """Uploads that were begun and are no stream yet."""
    client = Client()
    if discard:
        client.delete(f"/v1/uploads/{named(discard)}")
    found = client.get("/v1/uploads")
    if json:
        output.as_json(found)
    elif not found:
        output.say("No upload is unfinished.")
    else:
        rows = [(one["id"], one["filename"], f"{one['received']} of {one['size']} bytes") for one in found]
        output.table(("upload", "file", "received"), rows)


def _uploaded(client: Client, file: Path, wanted: dict[str, Any]) -> Any:
    if not file.is_file():
        raise NotFound(f"There is no file {file}.", advice="Check the path.")
    with suppress(NotFound):  # said before hours of video are sent
        client.get(f"/v1/streams/{named(wanted['name'])}")
        raise Conflict(f'There is already a stream called "{wanted["name"]}".', advice="Choose another name.")
    with output.progress() as bar:
        task = bar.add_task(f"Sending {file.name}", total=file.stat().st_size)
        upload = send(client, file, lambda there: bar.update(task, completed=there), _left_out)
    return client.post(f"/v1/uploads/{upload}/complete", wanted)


def _left_out(subtitles: Path, error: HindsightError) -> None:
    output.note(f"{subtitles.name} was left out. {error.message} {error.advice}".rstrip())


def _told(stream: dict[str, Any], json: bool) -> None:
    if json:
        output.as_json(stream)
    else:
        output.say(f"{stream['name']} is {stream['state']}.")


def _progress(stream: dict[str, Any]) -> str:
    return f", {stream['progress']:.0%} read" if stream["state"] in WAITING and stream["progress"] is not None else ""


def _row(stream: dict[str, Any]) -> tuple[object, ...]:
    remembered = stream["span"]["label"] if stream["span"] else ""
    less = {"rate": ", overloaded: lower rate", "pictures": ", overloaded: key frames only"}.get(stream["shedding"], "")
    state = f"{stream['state']}{_progress(stream)}{', resting' if stream['resting'] else less}"
    return stream["name"], state, remembered, stream["counters"]["stored"], stream["source"], stream["detail"]
