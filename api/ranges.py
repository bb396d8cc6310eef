"""Files over HTTP, whole or the bytes of them that were asked for (RFC 9110, section 14)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from api.problems import respond
from api.schemas import Problem
from ingest.errors import Busy

_SPEC: Final = re.compile(r"([0-9]*)-([0-9]*)")
_FAR: Final = 18
"""No file has a number of bytes with more digits."""


class Ranged(FileResponse):
    """A file that never changes under its name, which is therefore its `ETag`, together with its size: what was asked
    for twice is the same for `If-Range`, also when it was made anew or fetched in between. All of it is sent, also when
    it loses its name before."""

    def __init__(self, path: Path, headers: Mapping[str, str], *, name: str | None = None, saved: bool = False) -> None:
        """`saved`: under its name, instead of played. Raises `Busy` where it went just now."""
        try:
            self._file = path.open("rb")
        except FileNotFoundError as error:
            raise Busy("It was removed just now.", advice="Ask for it again.") from error
        self.found = os.fstat(self._file.fileno())
        self.tag = f'"{path.stem}-{self.found.st_size:x}"'
        super().__init__(
            f"/dev/fd/{self._file.fileno()}",
            headers=headers,
            media_type="video/mp4",
            filename=name,
            stat_result=self.found,
            content_disposition_type="attachment" if saved else "inline",
        )

    def set_stat_headers(self, stat_result: os.stat_result) -> None:
        """No `Last-Modified`: the file's own time tells when it was last played."""
        self.headers.setdefault("content-length", str(stat_result.st_size))
        self.headers.setdefault("etag", self.tag)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The library answers to ranges that can be had; what cannot be understood is no reason to refuse the file."""
        with self._file:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, ranges = Headers(scope=scope), None
        if scope["method"] == "GET" and asked.get("if-range", self.tag) == self.tag:
            ranges = satisfiable(asked.getlist("range"), self.found.st_size)
        if ranges is not None and not ranges:
            refused = respond(_unsatisfiable(self.found.st_size))
            refused.headers["content-range"] = f"bytes */{self.found.st_size}"
            await refused(scope, receive, send)
            return
        kept = [(name, value) for name, value in scope["headers"] if name not in (b"range", b"if-range")]
        if ranges:
            kept.append((b"range", ("bytes=" + ",".join(f"{first}-{last}" for first, last in ranges)).encode()))
        await super().__call__({**scope, "headers": kept}, receive, send)


def satisfiable(fields: list[str], size: int) -> list[tuple[int, int]] | None:
    """First and last byte of what can be had of what a `Range` asks for, none where nothing can. None where there is
    no such field, or it is of another unit or not well-formed: then all is sent."""
    unit, _, asked = fields[0].partition("=") if len(fields) == 1 else ("", "", "")
    specs = [spec.strip(" \t") for spec in asked.split(",")]
    if unit.lower() != "bytes" or not any(specs):
        return None
    found = []
    for spec in filter(None, specs):
        said = _SPEC.fullmatch(spec)
        if said is None or spec == "-":
            return None
        first, last = map(_number, said.groups())
        if said[1] and said[2] and last < first:
            return None
        if not said[1]:
            first, last = max(size - last, 0), size - 1 if last else -1
        elif not said[2]:
            last = size - 1
        if first < size and first <= last:
            found.append((first, min(last, size - 1)))
    return found


def _number(text: str) -> int:
    digits = text.lstrip("0")
    return int(digits or 0) if len(digits) <= _FAR else 10**_FAR


def _unsatisfiable(size: int) -> Problem:
    said = f"It has {size} bytes, and none of those that were asked for."
    return Problem(type="urn:hindsight:range", title="No such bytes", status=416, detail=said, advice="Ask for fewer.")
