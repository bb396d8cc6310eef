"""Stopping has one deadline, whoever is at work; and what was cut off and read again is no loss."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from api.compose import STOP_S
from api.settings import Settings
from ingest import capture, supervise_live
from ingest.limits import Limits
from ingest.records import Moment, StreamId
from memory.store import StreamRow
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


@pytest.mark.service
def test_a_camera_that_says_nothing_is_let_go_while_it_is_opened(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed, paused, removed, and the service ended: nobody waits for its answer."""
    monkeypatch.setattr(supervise_live, "_GIVE_UP_S", 600.0)
    monkeypatch.setattr(capture, "Limits", lambda: Limits(open_s=600.0, read_s=600.0))
    with ExitStack() as held, socket.create_server(("127.0.0.1", 0)) as peer, running(settings) as (service, http):
        peer.settimeout(60)

        def opened() -> None:
            held.enter_context(peer.accept()[0])

        source = f"rtsp://127.0.0.1:{peer.getsockname()[1]}/x"
        for name in ("gone", "left"):
            row = StreamRow(StreamId(name), name, "live", source, source, "paused", "", Moment(1), paused=True)
            service.store.streams.add(row)
            assert http.post(f"/v1/streams/{name}/resume").json()["state"] == "connecting"
            opened()
        assert http.patch("/v1/streams/gone", json={"sampling": "keys"}).status_code == 200
        opened()
        assert http.post("/v1/streams/gone/pause").json()["state"] == "paused"
        assert http.post("/v1/streams/gone/resume").json()["state"] == "connecting"
        opened()
        assert http.delete("/v1/streams/gone").status_code == 200
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("capture ")]
