"""The page on the real service: from nothing to an alert, an answer and an empty memory, on a film of known truth."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.scene import Truth
from tests.conserved import assert_left_conserved

pytestmark = [pytest.mark.service, pytest.mark.slow]


@pytest.fixture
def address(tmp_path: Path, film: tuple[Path, Truth]) -> Iterator[str]:
    """`hindsight serve` in a process of its own, with nothing remembered yet."""
    settings = {
        "HINDSIGHT_DATA": str(tmp_path / "data"),
        "HINDSIGHT_PORT": "0",
        "HINDSIGHT_ROOTS": f'["{film[0].parent}"]',
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
    with (tmp_path / "log").open("w+") as log:
        command = [sys.executable, "-P", "-m", "api.cli", "serve"]
        process = subprocess.Popen(command, env=kept | settings, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _announced(process, tmp_path / "log")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    assert_left_conserved(tmp_path / "data")


def _announced(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        said = log.read_text()
        if found := re.search(r"http://127\.0\.0\.1:\d+", said):
            return found[0]
        assert process.poll() is None, said
        time.sleep(0.1)
    raise AssertionError(f"the service did not start: {log.read_text()}")


def until(page: Any, expression: str, *, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        page.wait_for_timeout(100)


def test_a_first_visit(page: Any, address: str, film: tuple[Path, Truth]) -> None:
    path, truth = film
    red = next(event for event in truth.events if event.text == "a red car").spans[0]
    page.set_default_timeout(60_000)
    page.goto(address)
    page.get_by_text("No streams yet").wait_for()
    _make_rule(page)
    _add_stream(page, path)
    page.get_by_role("tab", name="Alerts").click()
    page.locator(".alert .hit-seen").first.wait_for(timeout=120_000)
    assert page.locator(".alert .hit-time").first.inner_text() == "something-red-enters"
    page.locator(".badge.finished").wait_for(timeout=180_000)
    _ask_and_follow(page, red.start / 1e6, red.end / 1e6)
    _find(page, red.start / truth.duration, red.end / truth.duration)
    _erase(page)


def _make_rule(page: Any) -> None:
    page.get_by_role("tab", name="Alerts").click()
    page.get_by_role("button", name="New rule").click()
    page.get_by_label("Tell me when").fill("something red enters")
    page.get_by_label("Name", exact=True).focus()
    page.get_by_role("button", name="Save rule").click()
    page.locator(".rule-name", has_text="something-red-enters").wait_for()


def _add_stream(page: Any, path: Path) -> None:
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("radio", name="File").check()
    page.get_by_label("Path").fill(str(path))
    page.get_by_label("Name", exact=True).fill("street")
    page.get_by_role("button", name="Add stream").click()
    page.get_by_text("street was added.").wait_for()


def _ask_and_follow(page: Any, start: float, end: float) -> None:
    page.get_by_role("tab", name="Ask").click()
    page.get_by_label("Question").fill("Did something red pass?")
    page.get_by_label("Question").press("Enter")
    page.locator(".citation").first.wait_for()
    page.locator(".citation").first.click()
    until(page, "document.querySelector('video').currentTime > 0.5 && !document.querySelector('.showing-still')")
    page.evaluate("document.querySelector('video').pause()")
    minutes, seconds = page.locator(".clock").inner_text().split(":")
    assert start - 4 <= int(minutes) * 60 + int(seconds) <= end + 4


def _find(page: Any, start: float, end: float) -> None:
    """The span that is marked and the true one, as fractions of the timeline: their temporal IoU is 0.3 or more."""
    page.get_by_role("tab", name="Find").click()
    page.get_by_label("What to find").fill("something red")
    page.get_by_label("What to find").press("Enter")
    page.wait_for_selector(".mark.found", state="attached")
    lanes = page.locator(".lanes").bounding_box()
    marks = [mark.bounding_box() for mark in page.locator(".mark.found").all()]
    found = [
        ((m["x"] - lanes["x"]) / lanes["width"], (m["x"] + m["width"] - lanes["x"]) / lanes["width"]) for m in marks
    ]
    shared = max((min(end, b) - max(start, a)) / (max(end, b) - min(start, a)) for a, b in found)
    assert shared >= 0.3, f"the red car is at {start:.2f}–{end:.2f}, marked were {found}"


def _erase(page: Any) -> None:
    page.get_by_role("button", name="More about street").click()
    page.get_by_role("menuitem", name="Remove stream…").click()
    page.get_by_label("Type the stream's name to confirm").fill("street")
    page.get_by_role("button", name="Erase everything").click()
    page.get_by_text("street is erased.").wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_text("No streams yet").wait_for()
