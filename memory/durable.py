"""Files that are either there whole or not at all: temp, fsync, rename, directory fsync, and a hash."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ingest.errors import Fatal, StorageFull, StoreCorrupt

TEMPORARY = ".partial"


def write(path: Path, data: bytes, probe: Callable[[str], None]) -> str:
    """Put `data` at `path`, durably and at once. Returns its SHA-256."""
    temporary = path.with_name(path.name + TEMPORARY)
    with _translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            probe("before blob")
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            probe("blob written")
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a full disk has no room for half of it either
            raise
        _sync_folder(path.parent)
    probe("blob renamed")
    return hashlib.sha256(data).hexdigest()


def read(path: Path, sha256: str) -> bytes:
    """The bytes of `path`. Raises `StoreCorrupt` when they are missing or not those that were written."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreCorrupt(f"{path.name} is missing.", advice="Run `hindsight doctor --repair`.") from error
    except OSError as error:
        raise StoreCorrupt(f"{path.name} cannot be read: {error.strerror}.", advice="Check the disk.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StoreCorrupt(f"{path.name} is damaged.", advice="Run `hindsight doctor --repair`.")
    return data


def delete(path: Path) -> bool:
    """Remove a file if it is there. True when it was."""
    with _translated(path):
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        _sync_folder(path.parent)
    return True


def delete_folder(folder: Path) -> None:
    """Remove a folder if nothing is in it."""
    with suppress(OSError):
        folder.rmdir()


def reserve(path: Path, size: int) -> None:
    """Keep `size` bytes at `path` for when there is no room any more; nothing where there is none now."""
    try:
        path.touch()
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> int:
    """Remove what an interrupted `write` left. How many there were."""
    leftovers = list(folder.rglob(f"*{TEMPORARY}"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StorageFull(
                f"No space is left to write {path.name}.", advice="Free space, or lower the budgets."
            ) from error
        raise Fatal(f"{path} cannot be written: {error.strerror}.", advice="Check the disk and its rights.") from error
