"""clip · frame"""

from __future__ import annotations

import errno
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from api.cli import output
from api.cli.client import Client, named
from api.cli.options import Json
from ingest.errors import HindsightError, Invalid, StorageFull

Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write it.")]


def clip(
    stream: str,
    start: Annotated[str, typer.Argument(metavar="FROM")],
    end: Annotated[str, typer.Argument(metavar="TO")],
    out: Out,
    exact: Annotated[bool, typer.Option("--exact", help="Start at this very moment, not at a key frame.")] = False,
    json: Json = False,
) -> None:
    """Save a stretch of a stream as MP4."""
    params = {"from": start, "to": end, "exact": exact}
    headers = _saved(f"/v1/streams/{named(stream)}/clip", out, params)
    _told(out, headers, "hindsight-span", json)


def frame(
    stream: str,
    at: Annotated[str, typer.Argument(help='A time, or "now".')],
    out: Out,
    json: Json = False,
) -> None:
    """Save the picture shown at a moment as JPEG."""
    headers = _saved(f"/v1/streams/{named(stream)}/frame", out, {"at": at})
    _told(out, headers, "hindsight-moment", json)


def _saved(path: str, out: Path, params: dict[str, object]) -> dict[str, str]:
    """Under its name only when it is whole."""
    if out.is_dir():
        raise Invalid(f"{out} is a folder.", advice="Give the name of a file.")
    part: Path | None = None
    try:
        with (
            tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file,
            output.working(out.name) as progress,
        ):
            part = Path(file.name)
            headers = Client().download(path, file.file, progress, **params)
        part.chmod(0o666 & ~_umask())
        part.replace(out)
    except HindsightError:
        raise
    except OSError as error:
        kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else Invalid
        raise kind(f"{out} cannot be written ({error.strerror}).", advice="Choose another place.") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return headers


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _told(out: Path, headers: dict[str, str], covers: str, json: bool) -> None:
    gaps = headers.get("hindsight-gaps", "")
    missing = [gap.partition(';reason="') for gap in gaps.split(", ") if gap]
    if json:
        told = [{"covers": interval, "reason": reason.rstrip('"')} for interval, _, reason in missing]
        output.as_json({"file": str(out), "covers": headers.get(covers, ""), "bytes": out.stat().st_size, "gaps": told})
        return
    output.say(f"{out}: {unquote(headers.get('hindsight-label', ''))}")
    for reason, count in Counter(reason.rstrip('"') for _, _, reason in missing).items():
        output.say(f"Missing within it: {count} {'stretch' if count == 1 else 'stretches'} ({reason}).")
