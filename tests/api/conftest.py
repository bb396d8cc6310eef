"""The whole service with small fake models, over real HTTP; and films whose truth is their colour."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from api.app import create
from api.compose import Service
from api.profile import Models
from api.server import listen
from api.settings import Settings
from ingest.limits import Limits
from models.fake import FakeEncoder, FakeSystem
from tests.conserved import assert_conserved

COLOURS = {"red": (230, 10, 10), "blue": (10, 10, 230), "green": (10, 230, 10)}
FILMED = "2026-07-14T10:00:00Z"
RATE = 10


def write_film(path: Path, script: Sequence[tuple[str, float]], *, codec: str = "libx264") -> Path:
    """An MP4 of plain colours: ("red", 2.0) is two seconds of red; a key frame each second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.gop_size = RATE
        stream.codec_context.time_base = Fraction(1, RATE)
        at = 0
        for colour, length in script:
            picture = np.full((120, 160, 3), COLOURS[colour], np.uint8)
            for _ in range(round(length * RATE)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = at
                at += 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """red.mp4: red from 4 to 7 s of 12; plain.mp4: green; two.mp4: red at 2–4 and 8–10 s, blue at 5–6 s, of 12."""
    folder = tmp_path_factory.mktemp("films")
    write_film(folder / "red.mp4", [("green", 4), ("red", 3), ("green", 5)])
    write_film(folder / "plain.mp4", [("green", 4)])
    script = [("green", 2), ("red", 2), ("green", 1), ("blue", 1), ("green", 2), ("red", 2), ("green", 2)]
    write_film(folder / "two.mp4", [(str(colour), float(length)) for colour, length in script])
    return folder


@pytest.fixture
def settings(tmp_path: Path, films: Path) -> Settings:
    return Settings(
        data=tmp_path / "data",
        port=0,
        roots=[films, tmp_path],
        networks=["127.0.0.0/8"],
        sample_floor_hz=4,
        sample_ceiling_hz=4,
        keep_recordings_hours=400_000,  # some are of a fixed day, and it is tidied every minute
        timezone="UTC",
    )


def fake_models() -> Models:
    return Models(FakeEncoder(), FakeSystem())


@contextmanager
def running(settings: Settings, models: Models | None = None) -> Iterator[tuple[Service, httpx.Client]]:
    """The service and its HTTP server in this process, on a free port."""
    listening = listen(settings)
    service = Service(settings, models or fake_models()).start()
    server = uvicorn.Server(uvicorn.Config(create(service), log_config=None, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    try:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            wait_for(lambda: server.started)
            yield service, client
    finally:
        service.stopping.set()
        server.should_exit = True
        thread.join(60)
        service.close()
        listening.close()
        assert_conserved(service.ledger)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that sends has half a minute for a picture: a busy machine's pause of three seconds is no gap."""
    monkeypatch.setattr("ingest.capture.Limits", partial(Limits, stall_s=30.0, read_s=30.0))


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with running(settings) as (_, client):
        yield client


def wait_for(condition: Callable[[], Any], *, within_s: float = 60) -> Any:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not come true within {within_s} s")


def add(client: httpx.Client, name: str, source: Path | str, *, wait: bool = True) -> dict[str, Any]:
    """Adds a stream and waits until it is read to its end."""
    answer = client.post("/v1/streams", json={"name": name, "source": str(source), "starts_at": FILMED})
    assert answer.status_code == 201, answer.text
    stream = answer.json()["id"]

    def finished() -> Any:
        found = client.get(f"/v1/streams/{stream}").json()
        assert found["state"] != "failed", found
        return found if found["state"] == "finished" else None

    found: dict[str, Any] = wait_for(finished) if wait else answer.json()
    return found


def ask(client: httpx.Client, question: str, **where: Any) -> dict[str, Any]:
    """The structured answer, checked to be what was streamed before it unless citations were removed."""
    answer: dict[str, Any] = {}
    tokens, event = "", ""
    with client.stream("POST", "/v1/ask", json={"question": question, **where}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: "):
                data = httpx.Response(200, text=line[6:]).json()
                assert event in ("token", "answer"), data
                tokens += data["text"] if event == "token" else ""
                answer = data if event == "answer" else answer
    assert tokens.strip() == answer["text"] or answer["sentences_removed"], (tokens, answer)
    return answer
