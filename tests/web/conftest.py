"""A headless Chromium, and the page served over a rendered film."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn

from ingest.scene import Film, Line, Manner, Shot, Truth, crossing, render

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


def _load_stand_in() -> ModuleType:
    path = Path(__file__).with_name("stand_in.py")
    spec = importlib.util.spec_from_file_location("stand_in", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["stand_in"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def stand_in() -> ModuleType:
    return _load_stand_in()


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Half a minute of the street: a red car, a blue one, a walker and a bus with its name."""
    actors = (
        crossing("car", "red", 4.0, 9.0),
        crossing("person", "green", 11.0, 17.0, Manner("left")),
        crossing("car", "blue", 17.0, 22.0, Manner("left")),
        crossing("bus", "green", 22.5, 29.0, Manner("right", text="RIVERSIDE")),
    )
    path = tmp_path_factory.mktemp("film") / "street.mp4"
    shot = Shot("street", 0.0, 30.0, actors, title="STREET")
    return path, render(path, film=Film((shot,), lines=(Line(12.0, "A parcel has arrived."),), width=640))


@pytest.fixture
def world(stand_in: ModuleType, film: tuple[Path, Truth]) -> Any:
    return stand_in.World(film=film[0], truth=film[1], folder=film[0].parent)


@pytest.fixture
def address(stand_in: ModuleType, world: Any) -> Iterator[str]:
    with serving(stand_in.create(world)) as url:
        yield url


class serving:  # noqa: N801  # reads as a verb: `with serving(app) as url`
    """Runs an ASGI application on a free port of loopback."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1, ws="none"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=15)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Ended with its file: while Playwright is there, an event loop runs in this thread, and no other may."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def accepted() -> list[str]:
    """Parts of console errors that a test expects: browsers report every 4xx there."""
    return []


def told(message: Any) -> str:
    return f"{message.text} ({message.location['url']})"


WATCH = """addEventListener("securitypolicyviolation",
    (event) => console.error("CSP", event.violatedDirective, event.blockedURI))"""


@pytest.fixture
def page(chromium: Any, accepted: list[str], address: str) -> Iterator[Any]:
    """A page that fails its test when the console shows an error or the content-security policy was violated."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce", locale="en-GB")
    context.set_default_timeout(45_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(told(message)) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.add_init_script(WATCH)
    yield page
    pwned = page.evaluate("window.pwned")
    context.close()
    assert pwned is None, "a hostile string became code"
    assert not [text for text in wrong if not any(part in text for part in accepted)]
