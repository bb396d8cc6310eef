"""Sending a file to a service on another machine; one that was broken off goes on where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from api.cli.client import Client
from ingest.captions import LARGEST, neighbours
from ingest.errors import Conflict, HindsightError, Invalid, Poison, Transient

PIECE: Final = 8 << 20
_EDGE: Final = 1 << 20
"""Bytes at either end of a file by which, with its size and last change, it is known again."""

Progress = Callable[[int], None]
Refused = Callable[[Path, HindsightError], None]


def send(client: Client, file: Path, progress: Progress, refused: Refused) -> str:
    """Sends a file in pieces, before it the subtitle files beside it; the upload's id.

    What an earlier attempt has sent of the same file stays there, and is not sent again. `progress` hears the bytes
    that are there, `refused` of subtitles that are left out.
    """
    upload = _begun(client, file)
    _send_subtitles(client, file, upload, refused)
    path, there, size = f"/v1/uploads/{upload['id']}", int(upload["received"]), int(upload["size"])
    progress(there)
    try:
        with file.open("rb") as source:
            source.seek(there)
            while piece := source.read(PIECE):
                there = client.put(path, piece, offset=there)["received"]
                progress(there)
    except Transient as error:
        advice = f"{there} of {size} bytes are there: the same command, given again, goes on behind them."
        raise type(error)(error.message, advice=f"{error.advice} {advice}".lstrip()) from error
    return str(upload["id"])


def _begun(client: Client, file: Path) -> Any:
    """The upload that has most of this file already, else a new one."""
    mark = _mark(file)
    same = [one for one in client.get("/v1/uploads") if one["mark"] == mark]
    if same:
        return max(same, key=lambda one: one["received"])
    return client.post("/v1/uploads", {"filename": file.name, "size": file.stat().st_size, "mark": mark})


def _mark(file: Path) -> str:
    """The same as long as nobody changed the file."""
    status = file.stat()
    digest = hashlib.sha256(f"{file.name} {status.st_size} {status.st_mtime_ns} ".encode())
    with file.open("rb") as content:
        digest.update(content.read(_EDGE))
        content.seek(max(0, status.st_size - _EDGE))
        digest.update(content.read(_EDGE))
    return digest.hexdigest()


def _send_subtitles(client: Client, file: Path, upload: Any, refused: Refused) -> None:
    for path in neighbours(file):
        name = Path(upload["filename"]).stem + path.name.removeprefix(file.stem)
        try:
            with path.open("rb") as text:
                data = text.read(LARGEST + 1)
            client.put(f"/v1/uploads/{upload['id']}/subtitles", data, filename=name)
        except Transient:
            raise
        except OSError as error:
            refused(path, Invalid(f"It cannot be read ({error.strerror})."))
        except (Invalid, Poison, Conflict) as error:
            refused(path, error)
