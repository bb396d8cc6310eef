"""A stream that is removed while others still ask something of it: it goes, and nothing of it runs on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.settings import Settings
from ingest import supervise
from ingest.errors import Busy
from ingest.records import Moment, StreamId
from ingest.supervise_live import LiveSupervisor
from memory.store import StreamRow
from tests.api.conftest import running, wait_for

pytestmark = pytest.mark.service

CAM = StreamId("cam")


class Held:
    """A call that waits, once it has begun, until it may go on."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, *details: Any, **more: Any) -> Any:
        self.begun.set()
        assert self.may_go_on.wait(60)
        return self._call(*details, **more)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def watching() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == f"capture {CAM}"]


def camera(*, paused: bool) -> StreamRow:
    """Nothing listens there."""
    source = "rtsp://127.0.0.1:1/x"
    return StreamRow(CAM, "cam", "live", source, source, "connecting", "", Moment(1), paused=paused)


def test_what_is_being_removed_is_not_started_again(
    settings: Settings, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        service.store.streams.add(camera(paused=True))
        erasing = Held(service.memory.erase)
        monkeypatch.setattr(service.memory, "erase", erasing)
        removed = pool.submit(http.delete, "/v1/streams/cam")
        assert erasing.begun.wait(60)
        answers = [http.post("/v1/streams/cam/resume"), http.post("/v1/streams/cam/pause")]
        answers += [http.patch("/v1/streams/cam", json={"sampling": "rate:1"})]
        erasing.may_go_on.set()
        assert removed.result().status_code == 200
        assert [answer.status_code for answer in answers] == [409] * 3, answers
        assert "being removed" in answers[0].text
        assert http.get("/v1/streams").json() == []
        wait_for(lambda: not watching())
        assert service.ledger.streams() == ()


def test_what_is_removed_while_it_is_added_does_not_run_on(
    settings: Settings, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        monkeypatch.setattr(service.streams, "_probe", lambda *_, **__: None)  # it said nothing
        starting = Held(service.streams._start)
        monkeypatch.setattr(service.streams, "_start", starting)
        added = pool.submit(http.post, "/v1/streams", json={"name": "cam", "source": "rtsp://127.0.0.1:1/x"})
        assert starting.begun.wait(60)
        removed = pool.submit(http.delete, "/v1/streams/cam")
        starting.may_go_on.set()
        added.result()
        assert removed.result().status_code == 200
        assert http.get("/v1/streams").json() == []
        wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("capture ")])


def test_what_cannot_be_removed_yet_is_captured_as_before(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody pauses it; and then it is removed after all."""
    saving, saved = threading.Event(), threading.Event()

    def save(_self: LiveSupervisor) -> None:
        saving.set()
        assert saved.wait(60)

    monkeypatch.setattr(LiveSupervisor, "_rescue", save)
    monkeypatch.setattr(supervise.Supervisor.stop, "__defaults__", (0.05,))
    with running(settings) as (service, http):
        service.store.streams.add(camera(paused=True))
        http.post("/v1/streams/cam/resume")
        assert saving.wait(60)
        refused = http.delete("/v1/streams/cam")
        saved.set()
        assert refused.status_code == 503
        assert "still being written" in refused.text
        wait_for(lambda: http.get("/v1/streams/cam").json()["state"] == "offline")
        assert watching()
        monkeypatch.undo()
        assert http.delete("/v1/streams/cam").status_code == 200
        wait_for(lambda: not watching())


@pytest.mark.parametrize("begun", [False, True])
def test_of_what_could_not_be_removed_is_captured_what_is_whole(
    *, begun: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure that was begun is finished at the next start: what came until then would go with it."""
    with running(settings) as (service, http):
        service.store.streams.add(camera(paused=True))
        http.post("/v1/streams/cam/resume")
        wait_for(watching)

        def locked(stream: StreamId, *_: Any, **__: Any) -> None:
            if begun:
                service.store.erasures.ask(stream, None, Moment(2))
            raise Busy("The database is locked by another program.")

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(service.memory, "erase", locked)
            assert http.delete("/v1/streams/cam").status_code == 503
        assert bool(watching()) is not begun
        assert ("remove it again" in http.get("/v1/streams/cam").json()["detail"]) is begun
        assert http.delete("/v1/streams/cam").status_code == 200
        wait_for(lambda: not watching())
