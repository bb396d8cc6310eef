"""rule add · change · list · test · remove"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli import output
from api.cli.client import Client, named, where
from api.cli.options import From, Json, Streams, To
from ingest.errors import Invalid

app = typer.Typer(help="Standing questions: be told when it happens again.", no_args_is_help=True)

Text = Annotated[str, typer.Argument(help='Like "something red enters".')]
Threshold = Annotated[float, typer.Option(min=0, max=1, help="Probability at which it fires.")]
Release = Annotated[float | None, typer.Option(min=0, max=1, help="Probability below which it ends.")]
Hold = Annotated[float, typer.Option(min=0, max=86_400, help="Seconds it must last before it fires.")]
Cooldown = Annotated[float, typer.Option(min=0, max=604_800, help="Seconds of rest after it ended.")]
During = Annotated[str | None, typer.Option(help='Times of day, like "22:00-06:00".')]
Days = Annotated[str | None, typer.Option(help='Weekdays, like "1-5" or "6,7"; 1 is Monday.')]
Zone = Annotated[str, typer.Option("--timezone", help="Time zone of --during, like Europe/Berlin.")]


@app.command("add")
def add(
    name: str,
    text: Text,
    *,
    stream: Streams = None,
    threshold: Threshold = 0.6,
    release: Release = None,
    hold: Hold = 0,
    cooldown: Cooldown = 60,
    during: During = None,
    days: Days = None,
    zone: Zone = "UTC",
    webhook: Annotated[str, typer.Option(help="Address that is called for each alert.")] = "",
    json: Json = False,
) -> None:
    """Be told from now on."""
    rule = {
        "name": name,
        "text": text,
        "streams": list(stream or ()),
        "threshold": threshold,
        "release": _release(threshold, release),
        "hold_s": hold,
        "cooldown_s": cooldown,
        "schedule": schedule(during, days, zone),
        "webhook": webhook,
    }
    _told(Client().post("/v1/rules", rule), json)


def _told(kept: dict[str, Any], json: bool) -> None:
    if json:
        output.as_json(kept)
        return
    output.say(f"Watching for “{kept['text']}”.")
    if kept["unknown"]:
        output.say(f"This profile cannot look for: {', '.join(kept['unknown'])}.")
    if kept["unsure"]:
        output.say(f"It cannot be sure of: {', '.join(kept['unsure'])}.")


@app.command("change")
def change(
    name: Annotated[str, typer.Argument(help="What it is called now.")],
    *,
    to: Annotated[str | None, typer.Option("--name", help="What to call it from now on.")] = None,
    text: Annotated[str | None, typer.Option(help="What to watch for from now on.")] = None,
    webhook: Annotated[str | None, typer.Option(help='Address that is called for each alert; "" for none.')] = None,
    json: Json = False,
) -> None:
    """Change the name, the words or the webhook of a rule; the rest of it stays."""
    wanted = {"name": to, "text": text, "webhook": webhook}
    patch = {field: value for field, value in wanted.items() if value is not None}
    if not patch:
        raise Invalid("Nothing was said to be changed.", advice="Give --name, --text or --webhook.")
    _told(Client().patch(f"/v1/rules/{named(name)}", patch), json)


@app.command("list")
def show(json: Json = False) -> None:
    """Every rule."""
    found = Client().get("/v1/rules")
    if json:
        output.as_json(found)
    elif not found:
        output.say('There is no rule yet. Add one: hindsight rule add NAME "something red enters"')
    else:
        output.table(("name", "watches for", "streams", "when", "threshold", "webhook"), [_row(rule) for rule in found])


@app.command("test")
def try_out(
    text: Text,
    *,
    stream: Streams = None,
    start: From = None,
    end: To = None,
    threshold: Threshold = 0.6,
    release: Release = None,
    hold: Hold = 0,
    cooldown: Cooldown = 60,
    during: During = None,
    days: Days = None,
    zone: Zone = "UTC",
    json: Json = False,
) -> None:
    """Try a rule on past footage. Exit code 1 when it would never have fired."""
    rule = {
        "name": "test",
        "text": text,
        "threshold": threshold,
        "release": _release(threshold, release),
        "hold_s": hold,
        "cooldown_s": cooldown,
        "schedule": schedule(during, days, zone),
    }
    with output.working("Trying it on the past"):
        found = Client(timeout_s=3600).post("/v1/rules/test", {"rule": rule, **where(stream, start, end)})
    if json:
        output.as_json(found)
    elif found:
        output.table(("stream", "when", "score", "why"), [_alert(alert) for alert in found])
    else:
        output.say("It would not have fired.")
    raise typer.Exit(0 if found else 1)


@app.command("remove")
def remove(name: str, json: Json = False) -> None:
    """Stop watching; the alerts it raised stay."""
    Client().delete(f"/v1/rules/{named(name)}")
    if json:
        output.as_json({"removed": name})
    else:
        output.say(f"{name} is no longer watched for.")


def schedule(during: str | None, days: str | None, zone: str) -> dict[str, object]:
    """ "22:00-06:00" and "1-5,7" as the service takes them."""
    start, _, end = (during or "00:00-24:00").replace("–", "-").partition("-")
    chosen: list[int] = []
    try:
        for part in (days or "1-7").split(","):
            first, _, last = part.partition("-")
            chosen += range(int(first), int(last or first) + 1)
    except ValueError:
        raise typer.BadParameter("Write days like 1-5 or 6,7.", param_hint="--days") from None
    return {"days": chosen, "start": start.strip(), "end": end.strip(), "timezone": zone}


def _release(threshold: float, release: float | None) -> float:
    return round(threshold * 2 / 3, 3) if release is None else release


def _row(rule: dict[str, Any]) -> tuple[object, ...]:
    schedule = rule["schedule"]
    always = schedule["start"] == "00:00" and schedule["end"] == "24:00" and len(schedule["days"]) == 7
    when = "always" if always else f"{schedule['start']}–{schedule['end']} {schedule['timezone']}"
    streams = ", ".join(rule["streams"]) or "all"
    return rule["name"], rule["text"], streams, when, rule["threshold"], rule["webhook"]


def _alert(alert: dict[str, Any]) -> tuple[object, ...]:
    return alert["stream_name"], alert["span"]["label"], f"{alert['score']:.2f}", alert["why"]
