"""A real PostgreSQL server for tests, from the system's packages: in a folder of its own, at a socket alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_PATIENCE_S = 30.0
_NOBODY = "nobody"
"""Who runs it when root may not."""


def programs() -> Path | None:
    """The folder of the newest server's programs."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    found += [Path(on_path).resolve().parent] if on_path and shutil.which("initdb") else []
    return max(found, key=lambda folder: (len(folder.parent.name), folder.parent.name), default=None)


class Postgres:
    """A running server. `fresh` makes an empty database in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()

    def fresh(self) -> str:
        """The URL of a database that did not exist before."""
        name = f"test{next(self._numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://hindsight@/{name}?host={self._folder}"

    def connect(self, name: str) -> Any:
        import psycopg

        return psycopg.connect(host=str(self._folder), user="hindsight", dbname=name, autocommit=True)


@contextmanager
def served() -> Iterator[Postgres]:
    """A server, or the reason to skip what needs one."""
    binaries = programs()
    if binaries is None:
        pytest.skip("needs the programs of a PostgreSQL server (Debian: postgresql)")
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    with _running(binaries) as server:
        yield server


@contextmanager
def _running(binaries: Path) -> Iterator[Postgres]:
    """Start a server, and end it. Nothing is flushed to the disk: what it is asked here is what it answers."""
    user = _NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder, data = Path(name), Path(name) / "data"
        if user is not None:
            shutil.chown(folder, user)
        init = [str(binaries / "initdb"), "-D", str(data), "-U", "hindsight", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)
        line = [str(binaries / "postgres"), "-D", str(data), "-k", name, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(line, stdout=log, stderr=log, user=user, cwd=folder)
        try:
            yield _answering(Postgres(folder), process, folder / "log")
        finally:
            process.send_signal(signal.SIGINT)  # now, whoever is connected
            process.wait(_PATIENCE_S)


def _answering(server: Postgres, process: subprocess.Popen[bytes], log: Path) -> Postgres:
    import psycopg

    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            server.connect("postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.1)
        else:
            return server
