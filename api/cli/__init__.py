"""The command line: thin commands over the service's HTTP interface."""

from __future__ import annotations


def main() -> None:
    from api.cli.app import run

    raise SystemExit(run())
