"""What a child hears from its parent while it works."""

from __future__ import annotations

import os

from ingest.clock import FakeClock
from ingest.orders import Orders


def test_the_newest_word_on_the_queue_counts_and_a_closed_pipe_asks_for_the_end() -> None:
    reading, writing = os.pipe()
    clock = FakeClock()
    orders = Orders(clock, reading)
    assert not orders.end()
    assert orders.filled == 0
    os.write(writing, bytes([20, 45, 90]))
    assert not orders.end()
    assert orders.filled == 0  # it has just been asked
    clock.advance(0.1)
    assert not orders.end()
    assert orders.filled == 0.9
    os.write(writing, bytes([5] * 200))
    os.close(writing)
    clock.advance(0.1)
    assert orders.end()
    assert orders.filled == 0.05
    os.close(reading)
