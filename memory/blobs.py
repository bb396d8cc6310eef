"""Where finished recordings may go: `Blobs`, over a folder (another disk, a mounted share) and over anything that
fsspec reaches (S3, SFTP, FTP, Azure, …).

A name is a path of plain words, "stream/file.mp4". Nothing is ever taken for stored because a call returned: what was
put is compared with what is there, by the MD5 that the store says it has (S3) or by reading it back.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ingest.errors import HindsightError, Invalid, NotFound, Transient
from ingest.recording import settle
from memory import durable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

T = TypeVar("T")


class BlobsUnavailable(Transient):
    """The store does not answer, or refuses: what was asked of it is asked again later."""

    code = "recordings-unavailable"


class Blobs(Protocol):
    """Files by name. Every verb raises `BlobsUnavailable` when the store cannot be asked, and may be called from any
    thread."""

    def put(self, name: str, source: Path) -> None:
        """Store the content of `source`, in the place of what had the name. Raises when what is there afterwards is
        something else."""

    def get(self, name: str, target: Path) -> None:
        """Write what is stored to `target`, a file of an existing folder. Raises `NotFound`."""

    def delete(self, name: str) -> bool:
        """Whether it was there."""

    def size(self, name: str) -> int | None:
        """Bytes that are really stored under the name, None where nothing is."""

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Name and size of all that is stored, below a folder if one is given."""


def opened(location: str) -> Blobs:
    """The blobs at a folder, or at a URL of fsspec. Nothing is asked of them yet. Raises `Invalid`."""
    scheme, apart, rest = location.partition("://")
    if not apart:
        return DiskBlobs(Path(location).expanduser().absolute())
    from fsspec.registry import get_filesystem_class

    try:
        get_filesystem_class(scheme)
    except (ValueError, ImportError) as error:
        raise Invalid(
            f"Recordings cannot be kept at {scheme}://: {error}.",
            advice="Install what fsspec needs for it (`pip install s3fs` for S3), or give a folder.",
        ) from error
    if not rest.strip("/"):
        raise Invalid(f"{scheme}:// lacks a place.", advice="Write it like s3://bucket/recordings.")
    return FsspecBlobs(location)


class DiskBlobs:
    """A folder. It is never made: a share that is not mounted would be taken for one that is empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, source: Path) -> None:
        with _asked(f"{self._folder}"):
            self._there()
            target = self._folder / _checked(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + durable.TEMPORARY)
            shutil.copyfile(source, part)
            settle(part, target)
            with source.open("rb") as sent, target.open("rb") as stored:
                os.posix_fadvise(stored.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # the disk is asked, not the memory
                _compare(name, _digest(sent), _digest(stored))

    def get(self, name: str, target: Path) -> None:
        with _asked(f"{self._folder}"):
            try:
                shutil.copyfile(self._folder / _checked(name), target)
            except FileNotFoundError as error:
                self._there()
                raise _missing(name) from error

    def delete(self, name: str) -> bool:
        with _asked(f"{self._folder}"):
            try:
                (self._folder / _checked(name)).unlink()
            except FileNotFoundError:
                self._there()
                return False
            return True

    def size(self, name: str) -> int | None:
        with _asked(f"{self._folder}"):
            try:
                return (self._folder / _checked(name)).stat().st_size
            except FileNotFoundError:
                self._there()
                return None

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        with _asked(f"{self._folder}"):
            self._there()
            paths = sorted((self._folder / prefix).rglob("*"))
            found = [(path, path.stat().st_size) for path in paths if path.is_file()]
        for path, size in found:
            if path.suffix != durable.TEMPORARY:
                yield path.relative_to(self._folder).as_posix(), size

    def _there(self) -> None:
        if not self._folder.is_dir():
            raise FileNotFoundError(f"{self._folder} is not there")


class FsspecBlobs:
    """A place that fsspec reaches. Every thread has a connection of its own, made anew after anything went wrong."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = f"{url.partition('://')[0]}://…"  # the rest may hold a password
        self._local = threading.local()

    def put(self, name: str, source: Path) -> None:
        def work(files: AbstractFileSystem, path: str) -> None:
            with suppress(Exception):  # another thread makes it just now; where there is none, putting says so
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
            files.put_file(str(source), path)
            with source.open("rb") as file:
                sent = _digest(file)
            if str(files.info(path).get("ETag", "")).strip('"') == sent:
                return
            with files.open(path, "rb") as file:
                _compare(name, sent, _digest(file))

        self._ask(name, work)

    def get(self, name: str, target: Path) -> None:
        def work(files: AbstractFileSystem, path: str) -> None:
            if _size(files, path) is None:
                raise _missing(name)
            files.get_file(path, str(target))

        self._ask(name, work)

    def delete(self, name: str) -> bool:
        def work(files: AbstractFileSystem, path: str) -> bool:
            if _size(files, path) is None:
                return False
            files.rm_file(path)
            return True

        return self._ask(name, work)

    def size(self, name: str) -> int | None:
        return self._ask(name, _size)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        def work(files: AbstractFileSystem, path: str) -> list[tuple[str, int]]:
            root = path.removesuffix(prefix).rstrip("/") if prefix else path
            found: dict[str, Any] = files.find(path, detail=True)
            return sorted((_below(root, name), int(entry["size"])) for name, entry in found.items())

        yield from self._ask(prefix or None, work)

    def _ask(self, name: str | None, work: Callable[[AbstractFileSystem, str], T]) -> T:
        try:
            if not hasattr(self._local, "files"):
                from fsspec.core import url_to_fs

                self._local.files = url_to_fs(self._url, skip_instance_cache=True, use_listings_cache=False)
            files, root = self._local.files
            files.invalidate_cache()
            return work(files, f"{root.rstrip('/')}/{_checked(name)}" if name is not None else root)
        except (NotFound, Invalid, BlobsUnavailable):
            raise
        except Exception as error:  # each of fsspec's many implementations raises what its own library raises
            self._local.__dict__.clear()
            raise _unavailable(self._name, error) from error


class _asked:  # noqa: N801  # reads as a verb: `with _asked(where)`
    """What an operating system says of a disk, as ours."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, HindsightError):
            raise _unavailable(self._where, error) from error


def _size(files: AbstractFileSystem, path: str) -> int | None:
    """Not `exists`, which takes a server that is down for one that lacks the file."""
    try:
        return int(files.info(path)["size"])
    except FileNotFoundError:
        return None


def _digest(file: BufferedReader) -> str:
    """MD5 as S3 tells it: against chance, not against anybody."""
    return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _compare(name: str, sent: str, stored: str) -> None:
    if sent != stored:
        raise BlobsUnavailable(
            f"What the store of recordings has of {name} is not what was sent.", advice="Sent again."
        )


def _unavailable(where: str, error: BaseException) -> BlobsUnavailable:
    said = str(error).strip().splitlines()
    return BlobsUnavailable(
        f"The store of recordings ({where}) cannot be used: {said[0] if said else type(error).__name__}.",
        advice="Nothing is lost: it is tried again. See whether it answers, and HINDSIGHT_RECORDINGS.",
    )


def _missing(name: str) -> NotFound:
    return NotFound(f"{name} is not in the store of recordings.", advice="Run `hindsight doctor`.")


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise Invalid(f'"{name}" is not the name of a recording.')
    return path


def _below(root: str, path: str) -> str:
    """The name of what fsspec calls `path`: implementations differ in whether that begins with a slash."""
    return path.strip("/").removeprefix(root.strip("/")).lstrip("/")
