"""Writes docs/reference.md from the code: commands, routes, settings, metrics, errors. `--check` only compares."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr

from api.app import create
from api.cli.app import app as commands
from api.compose import Service
from api.profile import Models
from api.settings import Settings
from ingest.errors import HindsightError
from models.fake import FakeEncoder, FakeSystem

HERE = Path(__file__).with_name("reference.md")
HEAD = """# Reference

Written from the code by `make docs`; a test fails when it is stale. Times are read as people write them:
`2026-11-23T14:00`, `yesterday 14:00`, `last hour`, `10 minutes ago`, `monday 9am`, and `00:12:31` for an offset into a
file.
"""


def cell(text: object) -> str:
    """Text that cannot break out of a table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").strip()


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command below, with its full name."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        if not child.hidden:
            yield from leaves(child, f"{path} {name}")


def command_lines() -> Iterator[str]:
    yield "\n## Commands\n"
    yield (
        "Exit codes: 0 done, 1 nothing found where that was the question, 2 wrong usage, 3 refused or invalid, "
        "4 not available now, 5 broken.\n"
    )
    for name, command in leaves(typer.main.get_command(commands), "hindsight"):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join(
            [name, *(str(p.name).upper() if p.required else f"[{str(p.name).upper()}]" for p in arguments)]
        )
        yield f"\n### `{usage}`\n\n{cell(command.help or '')}\n"
        rows = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
        if rows:
            yield "| option | |\n|---|---|"
            for option in rows:
                names = ", ".join([*option.opts, *option.secondary_opts])
                yield f"| `{names}` | {cell(getattr(option, 'help', '') or '')} |"


def route_lines(description: dict[str, Any]) -> Iterator[str]:
    yield "\n## Routes\n"
    yield (
        "Schemas and examples: `/v1/openapi.json`. Every error is `application/problem+json` with `detail` "
        "and `advice`.\n"
    )
    yield "| | | |\n|---|---|---|"
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            about = operation.get("description") or operation.get("summary", "")
            yield f"| `{method.upper()}` | `{path}` | {cell(about)} |"


def setting_lines() -> Iterator[str]:
    yield "\n## Settings\n\nEnvironment variables, read once at start. Lists are written as JSON.\n"
    yield "| variable | default | |\n|---|---|---|"
    for name, knob in Settings.model_fields.items():
        default = "" if isinstance(knob.default, SecretStr) else knob.default
        if isinstance(default, list):
            default = [str(item) for item in default]
        yield f"| `HINDSIGHT_{name.upper()}` | `{cell(default)}` | {cell(knob.description)} |"


def metric_lines(page: str) -> Iterator[str]:
    yield "\n## Metrics\n\nAt `/metrics`, for Prometheus.\n\n| metric | type | |\n|---|---|---|"
    types = dict(re.findall(r"^# TYPE (hindsight_\S+) (\S+)$", page, re.MULTILINE))
    for name, about in re.findall(r"^# HELP (hindsight_\S+) (.*)$", page, re.MULTILINE):
        if not name.endswith("_created"):
            yield f"| `{name}` | {types[name]} | {cell(about)} |"


def error_lines() -> Iterator[str]:
    yield "\n## Errors\n\nThe last part of a problem's `type`.\n\n| code | |\n|---|---|"
    tree = (sys.modules[HindsightError.__module__].__doc__ or "").splitlines()
    meanings = {
        match[1]: match[2]
        for line in tree
        if (match := re.match(r"[\s│├└─]*(\w+)\s{2,}(?:\(\w+\)\s+)?(.*)$", line)) is not None
    }
    for kind in family(HindsightError):
        if kind.__module__ == HindsightError.__module__ and kind.__name__ in meanings:
            yield f"| `{kind.code}` | {cell(meanings[kind.__name__])} |"


def family(kind: type[HindsightError]) -> Iterator[type[HindsightError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def reference() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Settings(data=Path(folder)), Models(FakeEncoder(), FakeSystem()))
        try:
            app = create(service)
            description, page = app.openapi(), service.metrics.page().decode()
        finally:
            service.close()
    parts = [command_lines(), route_lines(description), setting_lines(), metric_lines(page), error_lines()]
    return HEAD + "\n".join(line for part in parts for line in part) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the page is stale")
    if parser.parse_args().check:
        return 0 if HERE.exists() and HERE.read_text() == reference() else 1
    HERE.write_text(reference())
    return 0


if __name__ == "__main__":
    sys.exit(main())
