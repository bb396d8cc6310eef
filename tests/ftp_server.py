"""A real FTP server (pyftpdlib) over a folder, in a process of its own: it can be stopped and started again."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

USER, PASSWORD = "camera", "s3cret"  # of this test's own server


class FtpServer:
    """Serves `folder` on a free port of loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            self._port: int = held.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ftp://{USER}:{PASSWORD}@127.0.0.1:{self._port}/house"

    def start(self) -> None:
        where = ["-i", "127.0.0.1", "-p", str(self._port), "-d", str(self._folder)]
        command = [sys.executable, "-W", "ignore", "-m", "pyftpdlib", "-w", "-u", USER, "-P", PASSWORD, *where]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the FTP server did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
