"""The command line beside a service that stops: followed alerts go on when it is back, an answer is not half told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import IO

import pytest

from api.settings import Settings
from tests.api.conftest import add, running

RULE = {"name": "red", "text": "red", "threshold": 0.6, "release": 0.4, "cooldown_s": 0}


def started(port: int, *arguments: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
    command = [sys.executable, "-P", "-m", "api.cli", *arguments]
    environment = {**kept, "HINDSIGHT_PORT": str(port)}
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background hands that on to its children
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines_of(stream: IO[str] | None) -> Queue[str]:
    assert stream is not None
    lines: Queue[str] = Queue()

    def pass_on() -> None:
        for line in stream:
            lines.put(line)

    threading.Thread(target=pass_on, daemon=True).start()
    return lines


def test_following_goes_on_when_the_service_is_back(settings: Settings, films: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    settings = settings.model_copy(update={"port": port})
    with running(settings) as (_, http):
        http.post("/v1/rules", json=RULE)
        follower = started(port, "alerts", "--follow")
        told, noted = lines_of(follower.stdout), lines_of(follower.stderr)
        while http.get("/metrics").text.count('route="/v1/alerts/events"') == 0:
            pass
        add(http, "door", films / "red.mp4")
        assert "door" in told.get(timeout=60)
    assert "stopped" in noted.get(timeout=60)
    with running(settings) as (_, http):
        assert "back" in noted.get(timeout=60)
        add(http, "yard", films / "red.mp4")
        assert "yard" in told.get(timeout=60)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(60) == 130
    assert told.empty()
    for stream in (follower.stdout, follower.stderr):
        assert stream is not None
        stream.close()


def test_nobody_to_follow_is_told_at_once() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        follower = started(nobody.getsockname()[1], "alerts", "--follow", "--json")
        _, error = follower.communicate(timeout=60)
    assert follower.returncode == 4
    assert json.loads(error)["code"] == "source-unavailable"


@pytest.fixture
def half_an_answer(request: pytest.FixtureRequest) -> Iterator[int]:
    """A service that ends after a word; with `whole` it closes as one does that was told to stop."""
    ending = b"0\r\n\r\n" if request.param == "whole" else b""
    piece = b'event: token\ndata: {"text": "Something red"}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(head + b"%x\r\n" % len(piece) + piece + b"\r\n" + ending)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize("half_an_answer", ["whole", "broken off"], indirect=True)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_an_answer_that_was_cut_off_is_no_answer(half_an_answer: int, form: tuple[str, ...]) -> None:
    asked = started(half_an_answer, "ask", "What happened?", *form)
    out, error = asked.communicate(timeout=60)
    assert asked.returncode == 4
    assert error
    assert out.strip() == ("" if form else "Something red")
