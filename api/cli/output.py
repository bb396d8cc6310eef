"""What people and programs see: tables and sentences, or with --json exactly what the service said."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ingest.errors import HindsightError

if TYPE_CHECKING:
    from rich.progress import Progress

_BLINDNESS = {
    "frozen": "Nothing to be seen of",
    "dark": "Nothing to be seen of",
    "overload": "Only partly looked at:",
    "cut short": "Only partly looked at:",
    "set aside": "Only partly looked at:",
    "unheard": "Not all listened to:",
    "clock put back": "May have been earlier than told:",
}
"""What a gap is told as, by its reason; without one of these, that no pictures came."""


def say(text: str = "") -> None:
    from rich.console import Console

    Console(highlight=False, soft_wrap=True, markup=False).print(text)


def note(text: str) -> None:
    """Beside what was asked for: on stderr, so that --json stays clean."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """Without a line's end: an answer as it comes."""
    sys.stdout.write(text)
    sys.stdout.flush()


def as_json(data: object) -> None:
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(drawn)


def fail(error: HindsightError, *, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(json.dumps({"code": error.code, "detail": error.message, "advice": error.advice}) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text(error.message, style="bold red"))
    if error.advice:
        console.print(Text(error.advice))


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar on stderr, so that --json stays clean; nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        yield bar


@contextmanager
def working(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for what takes a while: one that moves, and once it is told (done, of how many) one that grows."""
    with progress() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def hits(found: Sequence[dict[str, Any]]) -> None:
    """Spans with their scores and what was seen in them."""
    rows = []
    for hit in found:
        seen = "; ".join(dict.fromkeys(o["description"] for o in hit["observations"][:3]))
        rows.append((hit["stream_name"], hit["span"]["label"], f"{hit['score']:.2f}", seen))
    table(("stream", "when", "score", "seen"), rows)


def gaps(answer: dict[str, Any]) -> None:
    found, more = answer["gaps"], answer["more_gaps"]
    for gap in found[:5]:
        what = _BLINDNESS.get(gap["reason"], "No video of")
        say(f"{what} {gap['stream']} {gap['span']['label']} ({gap['reason']}).")
    if len(found) + more > 5:
        say(f"… and {len(found) + more - 5} more gaps.")
