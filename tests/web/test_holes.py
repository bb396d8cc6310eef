"""Playing over what is missing, in a real browser on the real service: told, passed over, and played on behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.settings import Settings
from tests.api.conftest import FILMED, add, running, write_film

pytestmark = [pytest.mark.service, pytest.mark.slow]

HOLE = (20, 170)
"""Seconds of the film that are erased: more than the page asks for at once."""
LENGTH = 200


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A film whose middle was erased: green before it, red in it, blue behind it."""
    film = write_film(
        tmp_path / "film.mp4", [("green", HOLE[0]), ("red", HOLE[1] - HOLE[0]), ("blue", LENGTH - HOLE[1])]
    )
    settings = Settings(data=tmp_path / "data", port=0, roots=[tmp_path], sample_floor_hz=1, sample_ceiling_hz=1)
    with running(settings) as (_, http):
        add(http, "film", film)
        gone = {name: stamp(at) for name, at in zip(("from", "to"), HOLE, strict=True)}
        assert http.post("/v1/erase", json={"stream": "film", **gone}).status_code == 200
        yield str(http.base_url)


def stamp(offset_s: float) -> str:
    return (datetime.fromisoformat(FILMED) + timedelta(seconds=offset_s)).isoformat()


def play_from(page: Any, offset_s: float) -> None:
    script = """([at]) => document.dispatchEvent(new CustomEvent("jump", { detail: {
      stream: document.querySelector(".stream.chosen").dataset.stream, ms: Date.parse(at), play: true } }))"""
    page.evaluate(script, [stamp(offset_s)])


def colour(page: Any) -> str:
    """What is in the video element: the strongest of red, green, blue."""
    script = """() => {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 8;
      const context = canvas.getContext("2d");
      context.drawImage(document.querySelector("video"), 0, 0, 8, 8);
      const [red, green, blue] = context.getImageData(4, 4, 1, 1).data;
      return { [red]: "red", [blue]: "blue", [green]: "green" }[Math.max(red, green, blue)];
    }"""
    return str(page.evaluate(script))


def playhead(page: Any) -> float:
    return offset_s(page.evaluate("document.querySelector('.clock').textContent"))


def offset_s(clock: str) -> float:
    minutes, seconds = clock.split(":")
    return 60 * int(minutes) + float(seconds)


NOTED = """() => {
  const note = document.querySelector(".player-note"), clock = document.querySelector(".clock");
  window.noted = [];
  new MutationObserver(() => window.noted.push([clock.textContent, note.hidden ? "" : note.textContent]))
    .observe(note, { attributes: true, childList: true });
}"""
"""Keeps what is said over the picture, and where the player was then: it may be over before anybody looks."""


@pytest.mark.parametrize("start", [17.0, 60.0], ids=["into the hole", "within the hole"])
def test_a_hole_of_minutes_is_passed_over_and_told(page: Any, address: str, accepted: list[str], start: float) -> None:
    accepted.append("404")  # of a clip that lies in the hole altogether
    page.goto(address)
    page.wait_for_selector(".stream.chosen")
    page.wait_for_selector(".mark.covered")
    page.evaluate(NOTED)
    play_from(page, start)
    shown: list[tuple[float, str]] = []
    deadline = time.monotonic() + 40
    while not shown or shown[-1][0] < HOLE[1] + 2:
        assert time.monotonic() < deadline, f"it stopped: {shown[-5:]}"
        if page.evaluate("!document.querySelector('.showing-still') && document.querySelector('video').readyState > 1"):
            shown.append((playhead(page), colour(page)))
        page.wait_for_timeout(100)
    deadline = time.monotonic() + 20
    while not page.locator(".player-note").is_hidden():
        assert time.monotonic() < deadline, "it is said for a while"
        page.wait_for_timeout(100)
    noted = page.evaluate("window.noted")
    last = max(at for at, (_, text) in enumerate(noted) if text)
    (_, note), (clock, _) = noted[last : last + 2]
    assert "No video for 02:" in note or "No video for 01:" in note, note
    assert "erased" in note
    assert {what for _, what in shown} <= {"green", "blue"}, "nothing of what was erased"
    assert shown[-1][1] == "blue"
    assert HOLE[1] + 2 < offset_s(clock) < LENGTH - 10, "and was played on meanwhile, not to the end at once"
