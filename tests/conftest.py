"""For all tests: one thread each for what computes, here and in the processes that tests start; no deadline for an
example of a property, which may meet a moment in which its process is not scheduled; and what comes first.

As many workers as processors, each with as many threads again, wait for one another most of the time.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests that take long, then those that start services, then the rest: a worker that is given a long
    file last has the others wait for it. Within that, and within a file, the order stays."""
    marked = {mark: {item.path for item in items if item.get_closest_marker(mark)} for mark in ("slow", "service")}
    items.sort(key=lambda item: (item.path not in marked["slow"], item.path not in marked["service"]))
