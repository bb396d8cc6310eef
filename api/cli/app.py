"""The dispatcher: which command lives in which file, and what an error makes of the exit code.

0 done · 1 nothing found, where that was the question · 2 wrong usage · 3 refused or invalid · 4 not available now ·
5 the service or its data is broken.
"""

from __future__ import annotations

import sys

import typer

from api.cli import alerts, demo, footage, house, models, questions, rules, serve, streams
from ingest.errors import Fatal, HindsightError, Transient

_HELP = "Connect a camera. Ask what happened. Get told when it happens again."

app = typer.Typer(
    name="hindsight",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("add")(streams.add)
app.command("add-all")(streams.add_all)
app.command("cameras")(streams.cameras)
app.command("change")(streams.change)
app.command("streams")(streams.streams)
app.command("pause")(streams.pause)
app.command("resume")(streams.resume)
app.command("remove")(streams.remove)
app.command("uploads")(streams.uploads)
app.command("ask")(questions.ask)
app.command("find")(questions.find)
app.command("search")(questions.search)
app.command("summary")(questions.summary)
app.add_typer(rules.app, name="rule")
app.add_typer(models.app, name="models")
app.command("alerts")(alerts.alerts)
app.command("clip")(footage.clip)
app.command("frame")(footage.frame)
app.command("hold")(house.hold)
app.command("holds")(house.holds)
app.command("release")(house.release)
app.command("erase")(house.erase)
app.command("budget")(house.budget)
app.command("health")(house.health)
app.command("doctor")(house.doctor)


def run() -> int:
    """Runs one command; the exit code."""
    try:
        app()
    except HindsightError as error:
        from api.cli.output import fail

        fail(error, as_json="--json" in sys.argv)
        return exit_code(error)
    except KeyboardInterrupt:
        return 130
    return 0


def exit_code(error: HindsightError) -> int:
    if isinstance(error, Transient):
        return 4
    return 5 if isinstance(error, Fatal) or type(error) is HindsightError else 3
