"""What every `Blobs` keeps: a folder, fsspec's own file system and its memory, and a real FTP server."""

from __future__ import annotations

import hashlib
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.core import url_to_fs
from fsspec.implementations.memory import MemoryFileSystem

from ingest.errors import Invalid, NotFound
from memory.blobs import Blobs, BlobsUnavailable, DiskBlobs, FsspecBlobs, opened
from tests.ftp_server import FtpServer


@pytest.fixture(scope="module")
def ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FtpServer]:
    folder = tmp_path_factory.mktemp("ftp")
    (folder / "house").mkdir()
    with FtpServer(folder) as server:
        yield server


@pytest.fixture(params=["folder", "file", "memory", "ftp"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "folder":
        (tmp_path / "store").mkdir()
        yield opened(str(tmp_path / "store"))
    elif request.param == "file":
        yield opened(f"file://{tmp_path}/store")
    elif request.param == "memory":
        yield opened(f"memory://{uuid.uuid4()}")
    else:
        yield opened(f"{request.getfixturevalue('ftp').url}/{uuid.uuid4()}")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "source.mp4"
    path.write_bytes(content)
    return path


def test_what_was_put_is_there_whole(blobs: Blobs, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    blobs.put("door/00000-5-0.mp4", written(tmp_path, content))
    assert blobs.size("door/00000-5-0.mp4") == len(content)
    blobs.get("door/00000-5-0.mp4", tmp_path / "got.mp4")
    assert (tmp_path / "got.mp4").read_bytes() == content


def test_putting_again_replaces(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put("door/1.mp4", written(tmp_path, b"long, and first"))
    blobs.put("door/1.mp4", written(tmp_path, b"second"))
    assert blobs.size("door/1.mp4") == 6
    blobs.get("door/1.mp4", tmp_path / "got.mp4")
    assert (tmp_path / "got.mp4").read_bytes() == b"second"


def test_what_arrives_as_something_else_is_not_taken_for_stored(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it was, with one bit of it another. It is put right by putting it again."""
    source = written(tmp_path, bytes(100_000))
    with monkeypatch.context() as patched:
        for place, name in ((shutil, "copyfile"), (_implementation(blobs), "put_file")):
            patched.setattr(place, name, flipping(getattr(place, name)))
        with pytest.raises(BlobsUnavailable, match="not what was sent"):
            blobs.put("door/1.mp4", source)
    assert source.read_bytes() == bytes(100_000)
    blobs.put("door/1.mp4", source)
    blobs.get("door/1.mp4", tmp_path / "got.mp4")
    assert (tmp_path / "got.mp4").read_bytes() == bytes(100_000)


def _implementation(blobs: Blobs) -> Any:
    """The class of fsspec that does the work, any where there is none."""
    return type(url_to_fs(blobs._url)[0]) if isinstance(blobs, FsspecBlobs) else MemoryFileSystem


def flipping(put: Callable[..., Any]) -> Callable[..., Any]:
    """`put` of a file that was damaged on the way. Works for functions and for methods."""

    def damaged(*args: Any, **options: Any) -> Any:
        *before, source, target = args
        data = bytearray(Path(source).read_bytes())
        data[5000] = 1
        other = Path(source).with_suffix(".damaged")
        other.write_bytes(data)
        return put(*before, type(source)(other), target, **options)

    return damaged


def test_a_store_that_tells_the_hash_is_not_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As S3 does. Where what it tells is another (encrypted there, sent in parts) it is read back all the same."""
    blobs, source = opened(f"memory://{uuid.uuid4()}"), written(tmp_path, b"film")
    opens, info = MemoryFileSystem.open, MemoryFileSystem.info
    read: list[str] = []

    def watched(self: Any, path: str, mode: str = "rb", **options: Any) -> Any:
        read.append(mode)
        return opens(self, path, mode, **options)

    told = [f'"{hashlib.md5(b"film").hexdigest()}"', '"9b2cf535f27731c974343645a3985328"']
    monkeypatch.setattr(MemoryFileSystem, "open", watched)
    for number, etag in enumerate(told):
        monkeypatch.setattr(MemoryFileSystem, "info", lambda *a, etag=etag, **o: {**info(*a, **o), "ETag": etag})
        read.clear()
        blobs.put(f"door/{number}.mp4", source)
        assert ("rb" in read) == bool(number)


def test_what_is_not_there_is_told(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put("door/1.mp4", written(tmp_path, b"1"))
    for name in ("door/2.mp4", "yard/1.mp4"):
        assert blobs.size(name) is None
        assert not blobs.delete(name)
        with pytest.raises(NotFound):
            blobs.get(name, tmp_path / "got.mp4")


def test_what_was_deleted_is_gone(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put("door/1.mp4", written(tmp_path, b"1"))
    blobs.put("door/2.mp4", written(tmp_path, b"22"))
    assert blobs.delete("door/1.mp4")
    assert not blobs.delete("door/1.mp4")
    assert blobs.size("door/1.mp4") is None
    assert list(blobs.list()) == [("door/2.mp4", 2)]


def test_everything_is_listed_by_its_name(blobs: Blobs, tmp_path: Path) -> None:
    for stream, number in (("door", 1), ("door", 2), ("yard", 3)):
        blobs.put(f"{stream}/{number}.mp4", written(tmp_path, bytes(number)))
    assert list(blobs.list()) == [("door/1.mp4", 1), ("door/2.mp4", 2), ("yard/3.mp4", 3)]
    assert list(blobs.list("door")) == [("door/1.mp4", 1), ("door/2.mp4", 2)]


def test_threads_do_not_mix_what_they_send(blobs: Blobs, tmp_path: Path) -> None:
    def send(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        for part in range(3):
            blobs.put(f"door/{number}-{part}.mp4", written(folder, bytes([number]) * 10_000))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(blobs.list("door"))) == 12
    blobs.get("door/3-1.mp4", tmp_path / "got.mp4")
    assert (tmp_path / "got.mp4").read_bytes() == bytes([3]) * 10_000


@pytest.mark.parametrize("name", ["", "..", "../1.mp4", "door/../../1.mp4", "/etc/passwd"])
def test_a_name_leads_nowhere_else(blobs: Blobs, name: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        blobs.put(name, written(tmp_path, b"1"))


def test_a_server_that_is_down_is_told_without_its_password_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "served" / "house").mkdir(parents=True)
    server = FtpServer(tmp_path / "served")
    blobs = FsspecBlobs(server.url)
    with pytest.raises(BlobsUnavailable) as caught:
        blobs.size("door/1.mp4")
    assert "s3cret" not in str(caught.value)
    with server:
        blobs.put("door/1.mp4", written(tmp_path, b"1"))
        server.stop()
        for ask in (lambda: blobs.size("door/1.mp4"), lambda: list(blobs.list()), lambda: blobs.delete("door/1.mp4")):
            with pytest.raises(BlobsUnavailable):
                ask()
        server.start()
        assert blobs.size("door/1.mp4") == 1


def test_a_folder_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    """A share that is not mounted."""
    blobs = DiskBlobs(tmp_path / "share")
    for ask in (
        lambda: blobs.size("door/1.mp4"),
        lambda: blobs.delete("door/1.mp4"),
        lambda: list(blobs.list()),
        lambda: blobs.get("door/1.mp4", tmp_path / "got.mp4"),
        lambda: blobs.put("door/1.mp4", written(tmp_path, b"1")),
    ):
        with pytest.raises(BlobsUnavailable):
            ask()
    assert not (tmp_path / "share").exists()


@pytest.mark.parametrize("location", ["nosuch://bucket/house", "s3://", "ftp:///"])
def test_a_place_that_cannot_be_is_refused_at_once(location: str) -> None:
    with pytest.raises(Invalid) as caught:
        opened(location)
    assert caught.value.advice
