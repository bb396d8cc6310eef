"""A camera's address and login are changed before it is there: while it is away, not in place of one that sees."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from datetime import timedelta

import pytest

from api.settings import Settings
from ingest.backoff import Backoff
from ingest.reasons import UNSEEING
from tests.api.conftest import running, wait_for
from tests.api.test_camera import entered, told
from tests.api.test_credentials import leave_in_the_clear, whole
from tests.ingest.conftest import RtspServer, Trap, answer, rtsp, trap

__all__ = ["rtsp", "trap"]


@pytest.fixture
def nobody() -> str:
    """The host and port of one who does not listen."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_a_login_is_changed_while_the_camera_is_away_and_counts_when_it_is_back(
    settings: Settings,
    rtsp: Callable[..., RtspServer],  # the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.streams.OPEN_S", 50.0)  # so that a slow machine does not cut short how it refuses
    camera = rtsp("--login", "admin c4nary-first")
    with running(settings) as (service, http):
        login = {"username": "admin", "password": "c4nary-first"}
        added = http.post("/v1/streams", json={"name": "door", "source": camera.url("silent"), **login})
        assert added.status_code == 201, added.text
        entered(http, "live")
        wait_for(lambda: http.get("/v1/streams/door").json()["counters"]["stored"] > 8)
        camera.kill()
        entered(http, "offline", "stalled")

        taken = http.patch("/v1/streams/door", json={"password": "c4nary-second"})
        assert (taken.status_code, taken.json()["source"]) == (200, added.json()["source"]), taken.text
        entered(http, "offline")
        camera.arguments = ("--login", "admin c4nary-second")
        camera.start()
        entered(http, "live")
        before = service.store.streams.get("door").login
        refused = http.patch("/v1/streams/door", json={"password": "c4nary-third"})
        assert (refused.status_code, refused.json()["type"]) == (424, "urn:hindsight:unauthorised"), "it answers"
        assert http.get("/v1/streams/door").json()["state"] == "live"
        assert service.store.streams.get("door").login == before
        wait_for(lambda: [one.reason for one in told(http)][-1] is None)
        after = told(http)
    assert b"c4nary" not in whole(settings)
    assert {one.reason for one in after} <= {None, "offline", "stalled"} | UNSEEING
    for earlier, later in itertools.pairwise(after):
        assert earlier.end <= later.start, (earlier, later)
        assert earlier.reason is None or earlier.reason != later.reason, "one gap goes on over the change"
        assert later.start - earlier.end < timedelta(seconds=1.5), (earlier, later)


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_a_camera_that_sees_is_not_given_up_for_one_that_does_not_answer(
    settings: Settings,
    rtsp: Callable[..., RtspServer],  # the fixture
    nobody: str,
) -> None:
    camera = rtsp()
    with running(settings) as (service, http):
        assert http.post("/v1/streams", json={"name": "door", "source": camera.url("silent")}).status_code == 201
        entered(http, "live")
        before = service.store.streams.get("door")
        wrong = {"source": f"rtsp://{nobody}/silent"}
        refused = http.patch("/v1/streams/door", json=wrong)
        assert (refused.status_code, refused.json()["type"]) == (424, "urn:hindsight:unreachable")
        assert "Pause" in refused.json()["advice"]
        now = http.get("/v1/streams/door").json()
        assert (now["state"], now["source"], now["reconnects"]) == ("live", camera.url("silent"), 0)
        assert service.store.streams.get("door").source == before.source

        assert http.post("/v1/streams/door/pause").json()["state"] == "paused"
        moved = http.patch("/v1/streams/door", json=wrong)
        assert (moved.status_code, moved.json()["state"], moved.json()["source"]) == (200, "paused", wrong["source"])
        http.post("/v1/streams/door/resume")
        entered(http, "offline")
        assert http.patch("/v1/streams/door", json={"source": camera.url("silent")}).status_code == 200
        entered(http, "live")


def test_a_new_address_is_tried_at_once_whatever_the_old_one_was_waited_for(
    settings: Settings, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings):
        leave_in_the_clear(settings, "rtsp://127.0.0.1:1/x")
    monkeypatch.setattr(Backoff, "next", lambda _: 3600.0)
    with running(settings) as (service, http):
        entered(http, "offline")
        assert "127.0.0.1:1 " in http.get("/v1/streams/door").json()["detail"]
        moved = http.patch("/v1/streams/door", json={"source": f"rtsp://{nobody}/y", "password": "c4nary"})
        assert (moved.status_code, moved.json()["source"]) == (200, f"rtsp://:•••@{nobody}/y"), moved.text
        wait_for(lambda: nobody in http.get("/v1/streams/door").json()["detail"])
        assert http.get("/v1/streams/door").json()["state"] == "offline"
        row = service.store.streams.get("door")
        assert ("c4nary" in repr(row), row.login[:3]) == (False, "v1:")


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("rtsp://NOBODY/x", 200),
        ("http://NOBODY/channel", 200),
        ("https://NOBODY/live.m3u8", 200),
        ("http://NOBODY/stream.ts", 424),  # a file by its name: whether it has an end, it alone can tell
        ("http://SILENT/channel", 200),
        ("http://WANTS-A-LOGIN/channel", 424),
        ("http://KNOWS-NOTHING/channel", 404),
        ("http://NO-VIDEO/channel", 422),
        ("rtsp://169.254.169.254/x", 403),
        ("/dev/video99", 404),
        ("folder:FOLDERS/absent", 404),
        ("folder:/absent", 403),
        ("rtsp://NOBODY/x#what", 400),
    ],
)
def test_of_one_that_is_away_only_what_refuses_is_refused(
    source: str,
    status: int,
    settings: Settings,
    nobody: str,
    trap: Callable[..., Trap],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers = {
        "SILENT": lambda visitor: visitor.recv(1 << 16) and visitor.recv(1),
        "WANTS-A-LOGIN": answer(b"", "HTTP/1.1 401 Unauthorized"),
        "KNOWS-NOTHING": answer(b"", "HTTP/1.1 404 Not Found"),
        "NO-VIDEO": answer(b"nothing to be seen", kind="text/html"),
    }
    source = source.replace("NOBODY", nobody).replace("FOLDERS", str(settings.roots[0]))
    asked = []
    for name, talk in peers.items():
        if name in source:
            asked.append(trap(talk))
            source = source.replace(name, f"127.0.0.1:{asked[0].port}")
            monkeypatch.setattr("api.streams.OPEN_S", 2.0 if name == "SILENT" else 50.0)
    with running(settings):
        leave_in_the_clear(settings, "rtsp://127.0.0.1:1/x")
    with running(settings) as (service, http):
        entered(http, "offline")
        before = service.store.streams.get("door")
        changed = http.patch("/v1/streams/door", json={"source": source})
        assert changed.status_code == status, changed.text
        now = service.store.streams.get("door")
        assert (now.source, now.kind) == (source if status == 200 else before.source, "live")
        for peer in asked:
            peer.close()
