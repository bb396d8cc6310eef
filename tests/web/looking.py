"""What tests look at on the page."""

from __future__ import annotations

import time
from typing import Any


def until(page: Any, expression: str) -> None:
    """Waits until `expression` is true. Playwright's own way needs eval, which the page's policy forbids."""
    deadline = time.monotonic() + 45
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        page.wait_for_timeout(50)


def opened(page: Any, address: str) -> Any:
    page.goto(address)
    page.wait_for_selector(".stream.chosen")
    until(page, "document.querySelector('video').readyState >= 2")
    page.wait_for_selector(".mark.covered")
    return page
