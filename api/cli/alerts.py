"""alerts"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli import output
from api.cli.client import Client
from api.cli.options import From, Json, Streams, To


def alerts(
    *,
    stream: Streams = None,
    rule: Annotated[str, typer.Option(help="Only of this rule.")] = "",
    start: From = None,
    end: To = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay, and show alerts as they happen.")] = False,
    json: Json = False,
) -> None:
    """What came true. Exit code 1 when there is nothing."""
    client = Client()
    if follow:
        _follow(client, json)
        return
    params = {"stream": list(stream or ()), "rule": rule, "from": start, "to": end, "limit": limit}
    found = client.get("/v1/alerts", **params)
    if json:
        output.as_json(found)
    elif found:
        output.table(("rule", "stream", "when", "score", "why"), [_row(alert) for alert in found])
    else:
        output.say("No alert.")
    raise typer.Exit(0 if found else 1)


def _follow(client: Client, json: bool) -> None:
    """An alert is told once, when it begins; with --json each time it grows, a line each. Until Ctrl-C, also when the
    service stops and starts again."""
    import json as encoder

    told: set[str] = set()
    for event in client.follow("/v1/alerts/events", output.note):
        alert = event.data
        if json:
            output.write(encoder.dumps(alert, ensure_ascii=False) + "\n")
        elif alert["id"] not in told:
            told.add(alert["id"])
            output.say(f"{alert['span']['label']}  {alert['stream_name']}  {alert['rule_name']}: {alert['why']}")


def _row(alert: dict[str, Any]) -> tuple[object, ...]:
    when = alert["span"]["label"] + (" …" if alert["open"] else "")
    return alert["rule_name"], alert["stream_name"], when, f"{alert['score']:.2f}", alert["why"]
