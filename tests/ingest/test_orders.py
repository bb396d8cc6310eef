"""What a child hears from its parent while it works."""

from __future__ import annotations

import os

from ingest.clock import FakeClock
from ingest.orders import Orders, changed, pressed


def test_the_newest_word_on_the_queue_counts_and_a_closed_pipe_asks_for_the_end() -> None:
    reading, writing = os.pipe()
    clock = FakeClock()
    orders = Orders(clock, reading)
    assert not orders.end()
    assert orders.filled == 0
    os.write(writing, b"".join(map(pressed, (0.2, 0.45, 0.9))))
    assert not orders.end()
    assert orders.filled == 0  # it has just been asked
    clock.advance(0.1)
    assert not orders.end()
    assert orders.filled == 0.9
    os.write(writing, pressed(0.05) * 200)
    os.close(writing)
    clock.advance(0.1)
    assert orders.end()
    assert orders.filled == 0.05
    os.close(reading)


def test_sound_and_recording_are_turned_on_and_off_whatever_is_said_of_the_queue() -> None:
    reading, writing = os.pipe()
    clock = FakeClock()
    turns: list[tuple[bool, bool]] = []
    orders = Orders(clock, reading, audio=False, turn=lambda: turns.append((orders.audio, orders.record)))
    ways = [(True, True), (False, True), (True, False), (False, False)]
    for audio, record in [way for way in ways for _ in range(2)]:
        os.write(writing, pressed(1.0) + changed(audio=audio, record=record) + pressed(0.5))
        clock.advance(1)
        assert not orders.end()
        assert (orders.audio, orders.record, orders.filled) == (audio, record, 0.5)
    assert turns == ways, "told when it changes and not else"
    os.close(writing)
    os.close(reading)
