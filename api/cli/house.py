"""hold · holds · release · erase · budget · health · doctor"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli import output
from api.cli.client import Client
from api.cli.options import Force, From, Json, To, Yes
from ingest.errors import SourceUnavailable


def hold(
    stream: str,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is shown to whoever wants to erase it.")],
    start: From = None,
    end: To = None,
    json: Json = False,
) -> None:
    """Hold a stretch of a stream as evidence; all of it, with what is to come, when no time is given."""
    held = Client().post("/v1/holds", {"stream": stream, "from": start, "to": end, "reason": reason})
    if json:
        output.as_json(held)
    else:
        output.say(f"Hold {held['id']}: {_stretch(held)} of {held['stream_name']} stays until it is released.")


def holds(json: Json = False) -> None:
    """What is held as evidence, and why."""
    found = Client().get("/v1/holds")
    if json:
        output.as_json(found)
    elif not found:
        output.say("Nothing is held.")
    else:
        rows = [(one["id"], one["stream_name"], _stretch(one), one["reason"]) for one in found]
        output.table(("hold", "stream", "stretch", "why"), rows)


def release(hold: int, json: Json = False) -> None:
    """Hold it no longer: it goes when its age or the budget says so."""
    Client().delete(f"/v1/holds/{hold}")
    if json:
        output.as_json({"released": hold})
    else:
        output.say(f"Hold {hold} is released.")


def _stretch(held: dict[str, Any]) -> str:
    return held["span"]["label"] if held["span"] else "all"


def erase(
    stream: str,
    start: From = None,
    end: To = None,
    force: Force = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Erase a stretch of a stream for ever; the whole stream when no time is given."""
    if not yes:
        typer.confirm(f"Erase {'all' if start is None and end is None else 'this stretch'} of {stream}?", abort=True)
    with output.working("Erasing"):
        receipt = Client(timeout_s=3600).post("/v1/erase", {"stream": stream, "from": start, "to": end, "force": force})
    if json:
        output.as_json(receipt)
        return
    removed = ", ".join(f"{count} {what}" for what, count in receipt["removed"].items() if count)
    output.say(f"Removed: {removed or 'nothing was there'}.")
    output.say(f"Looked for afterwards and gone: {', '.join(receipt['verified_gone'])}. {receipt['note']}".rstrip())


def budget(json: Json = False) -> None:
    """What each stream's memory takes of the disk, by kind, and how far back each level of detail reaches."""
    found = Client().get("/v1/budget")
    if json:
        output.as_json(found)
        return
    rows = []
    for stream in found:
        takes = _of(stream["used_bytes"], stream["limit_bytes"])
        recordings = _of(stream["recordings_bytes"], stream["recordings_limit_bytes"])
        detail = ", ".join(f"{what} {size / 1e6:.1f}" for what, size in stream["detail"].items())
        reach = ", ".join(
            f"{level} since {moment[:16].replace('T', ' ')}Z" for level, moment in stream["reach"].items()
        )
        rows.append((stream["stream"], takes, recordings, detail, reach or "nothing yet"))
    output.table(("stream", "memory", "recordings", "MB by kind", "reaches back"), rows)


def _of(used: int, limit: int | None) -> str:
    return f"{used / 1e6:.1f} MB of {f'{limit / 1e6:.0f}' if limit else 'any number'}"


def health(json: Json = False) -> None:
    """Whether the service really works. Exit code 4 when it does not."""
    with output.working("Trying every part"):
        found = Client().get("/v1/health")
    _checks(found["checks"], found, json)


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False, json: Json = False
) -> None:
    """Examine the service's memory, running or stopped. Exit code 4 when something is wrong."""
    try:
        client = Client(timeout_s=3600)
        with output.working("Examining"):
            found = [*_health(client), *client.post("/v1/doctor", repair=repair)]
    except SourceUnavailable:
        from api.offline import examine

        with output.working("Examining"):
            found = [finding.model_dump() for finding in examine(repair=repair)]
    _checks(found, found, json)


def _health(client: Client) -> list[dict[str, Any]]:
    checks: list[dict[str, Any]] = client.get("/v1/health")["checks"]
    return checks


def _checks(checks: list[dict[str, Any]], whole: object, json: bool) -> None:
    if json:
        output.as_json(whole)
    else:
        for check in checks:
            mark = "✗" if not check["ok"] else "!" if check.get("worth_a_look") else "✓"
            output.say(f"{mark} {check['name']}: {check['detail']}")
    raise typer.Exit(0 if all(check["ok"] for check in checks) else 4)
