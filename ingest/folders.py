"""What comes into a folder and the folders in it, and of what has not changed nothing is listed again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.clock import Clock
from ingest.sources import is_media

_UNFINISHED: Final = (".part", ".partial", ".tmp", ".crdownload")
_ASIDE: Final = (".", "@", "#", "$")
"""What is hidden, and what storage servers keep beside: their thumbnails, their bins."""
_RELIST_S: Final = 60.0
"""A folder is listed so often also where nothing says that it changed: some network disks are late to say so."""


@dataclass(frozen=True, slots=True)
class _Listed:
    changed: int
    at: float
    folders: tuple[Path, ...]


class Tree:
    """The media files of a folder, however deep."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listed: dict[Path, _Listed] = {}

    def changed(self, root: Path) -> list[Path]:
        """The files of those folders that changed since they were last listed: all new ones, and their neighbours.

        Raises OSError when `root` cannot be listed.
        """
        now, left, listed, found = self._clock.monotonic(), [root], dict[Path, _Listed](), list[Path]()
        while left:
            folder = left.pop()
            before = self._listed.get(folder)
            try:
                changed = folder.stat().st_mtime_ns
                if before is None or before.changed != changed or now - before.at >= _RELIST_S:
                    files, folders = _list(folder)
                    before, found = _Listed(changed, now, folders), found + files
            except OSError:  # it is gone again, or not ours to read
                if folder == root:
                    raise
                continue
            listed[folder] = before
            left += before.folders
        self._listed = listed
        return found


def _list(folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    """Its media files and its folders, by their names; links to folders lead elsewhere."""
    with os.scandir(folder) as entries:
        within = [(Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries if _wanted(entry.name)]
    folders = tuple(path for path, is_folder in within if is_folder)
    return [path for path, is_folder in within if not is_folder and is_media(path)], folders


def _wanted(name: str) -> bool:
    return not name.startswith(_ASIDE) and not name.lower().endswith(_UNFINISHED)
