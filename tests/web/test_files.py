"""The page's own files: small, complete, and without the ways in which text becomes code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

WEB = Path(__file__).parents[2] / "api" / "web"
MODULES = sorted((WEB / "static" / "js").glob("*.js"))
FORBIDDEN = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "javascript:")


def test_there_are_modules() -> None:
    assert len(MODULES) > 10


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_is_small_and_sets_text_only_as_text(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 500
    assert not [word for word in FORBIDDEN if word in text]
    assert "http://" not in re.sub(r'"http://www\.w3\.org/2000/svg"', "", text), "nothing comes from elsewhere"


def test_the_page_has_no_inline_code_and_all_it_refers_to() -> None:
    html = (WEB / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    for reference in re.findall(r'(?:href|src)="(/[^"#]+)', html):
        assert (WEB / reference.removeprefix("/")).is_file(), reference
    for path in MODULES:
        for reference in re.findall(r'from "\./([^"]+)"', path.read_text()):
            assert path.with_name(reference).is_file(), f"{path.name} imports {reference}"


def test_every_icon_that_is_drawn_exists() -> None:
    drawn = set(re.findall(r'<symbol id="([^"]+)"', (WEB / "static" / "icons.svg").read_text()))
    used: set[str] = set(re.findall(r"icons\.svg#([a-z]+)", (WEB / "index.html").read_text()))
    for path in MODULES:
        used |= set(re.findall(r'(?:icon|iconButton)\("([a-z]+)"', path.read_text()))
        used |= set(re.findall(r'icon: "([a-z]+)"', path.read_text()))
    assert used <= drawn


@pytest.fixture
def times(page: Any, address: str) -> Any:
    """Calls functions of the page's own module of times in the browser."""
    page.goto(address)

    def call(name: str, *arguments: Any) -> Any:
        script = "([name, args]) => import('/static/js/time.js').then((times) => times[name](...args))"
        return page.evaluate(script, [name, list(arguments)])

    return call


@pytest.mark.service
def test_offsets_are_written_as_people_write_them(times: Any) -> None:
    for whole in (0, 9, 59, 60, 61, 599, 3599, 3600, 3661, 36_000, 86_399):
        hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
        expected = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
        assert times("duration", whole * 1000) == expected
    assert times("duration", 61_250, True) == "01:01.2"


@pytest.mark.service
def test_an_axis_has_few_labels_at_even_steps(times: Any) -> None:
    zero = 1_773_510_120_000
    for length in (5_000, 61_000, 210_000, 3_600_000, 86_400_000, 900_000_000):
        found = times("ticks", zero, zero + length, 8, zero)
        assert 1 <= len(found["at"]) <= 9
        assert all(zero <= at <= zero + length and (at - zero) % found["step"] == 0 for at in found["at"])
