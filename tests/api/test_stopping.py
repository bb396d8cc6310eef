"""Stopping has one deadline, whoever is at work; and what was cut off and read again is no loss."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.compose import STOP_S
from api.settings import Settings
from tests.api.conftest import FILMED, add, running, wait_for
from tests.api.test_service import Hindsight, write_crossing
from tests.conserved import assert_left_conserved


@pytest.fixture
def silent() -> Iterator[int]:
    """A language model that takes every question and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


@pytest.mark.service
@pytest.mark.slow
def test_stopping_has_a_deadline_whoever_is_at_work(tmp_path: Path, silent: int) -> None:
    film = write_crossing(tmp_path / "long.mp4", end=200)
    extra = {"HINDSIGHT_LLM_URL": f"http://127.0.0.1:{silent}/v1", "HINDSIGHT_LLM_MODEL": "x"}
    hindsight = Hindsight(tmp_path, extra).start()
    try:
        hindsight.json("add", "long", str(film), "--starts-at", FILMED)
        wait_for(lambda: hindsight.get("/v1/streams/long").json()["counters"]["stored"] > 30, within_s=90)
        left: list[str] = []

        def listen(method: str, path: str, body: dict[str, str] | None) -> None:
            client = httpx.Client(base_url=f"http://127.0.0.1:{hindsight.port}", timeout=60, trust_env=False)
            try:
                with client, client.stream(method, path, json=body) as answer:
                    left.append(path)
                    answer.read()
            except httpx.TransportError:
                return

        calls = (("GET", "/v1/alerts/events", None), ("POST", "/v1/ask", {"question": "something red"}))
        threads = [threading.Thread(target=listen, args=call) for call in calls]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(left) == 2)
        assert hindsight.process is not None
        hindsight.process.send_signal(signal.SIGTERM)
        assert hindsight.process.wait(STOP_S + 5) == 0
        assert_left_conserved(tmp_path / "data", amid=True)
        for thread in threads:
            thread.join(60)
        assert "Traceback" not in hindsight.log
    finally:
        hindsight.close()


def test_what_is_read_again_is_no_loss(settings: Settings, films: Path) -> None:
    with running(settings) as (service, http):
        stream = add(http, "door", films / "two.mp4")["id"]
        before = http.get("/v1/streams/door").json()["counters"]
        service.ledger.captured(stream, 7)  # as many were under way when it was killed
        service.ledger.dropped(stream, "restart", 4)
        service.ledger.dropped(stream, "already remembered", 3)
        counters = http.get("/v1/streams/door").json()["counters"]
        assert counters == {**before, "captured": before["captured"] + 7, "repeated": 7}
        assert 'hindsight_frames_repeated_total{stream="door"} 7.0' in http.get("/metrics").text
