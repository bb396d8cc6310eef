"""Records as bytes: what travels arrives whole, and bytes that are no message are refused."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import wire
from ingest.questions import Query
from ingest.records import Frame, Moment, StreamId
from ingest.wire import WireError

ARRAYS = [
    np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
    np.arange(12, dtype=np.float64).reshape(3, 4).T,
    np.arange(20, dtype=np.int32)[::-2],
    np.zeros((0, 3), np.float32),
    np.array(7, np.int64),
    np.array([[True, False]]),
]


def through_pipe(value: Any) -> bytes:
    """What comes of `value` at the other end of a pipe."""
    came, gone = os.pipe()
    with ThreadPoolExecutor(1) as reader, os.fdopen(came, "rb") as source:
        try:
            bytes_read = reader.submit(source.read)
            wire.write(gone, value)
        finally:
            os.close(gone)
        return bytes_read.result()


def test_a_query_arrives_with_all_it_asks_for() -> None:
    asked = Query(
        "two red cars for 3 s", np.arange(4, dtype=np.float32), slope=2.0, offset=-1.0, understood=("red car",),
        unknown=("zebra",), unsure=("dance",), lasting=3_000_000, kinds=("car", "bus"), colour="red", least=2,
        doing="enters",
    )  # fmt: skip
    blank = Query("", np.zeros(1, np.float32))
    arrived = wire.unpack(wire.pack(asked))
    assert isinstance(arrived, Query)
    for field in dataclasses.fields(Query):
        sent, got = getattr(asked, field.name), getattr(arrived, field.name)
        np.testing.assert_array_equal(got, sent)
        assert type(got) is type(sent)
        assert not np.array_equal(sent, getattr(blank, field.name)), f"{field.name} is not tried"


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_a_query_that_is_cut_off_is_refused(cut: int) -> None:
    message = wire.pack(Query("a car", np.zeros(4, np.float32)))
    with pytest.raises(WireError):
        wire.unpack(message[:-cut])


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype} {array.shape}")
def test_arrays_arrive_by_both_ways(array: Any) -> None:
    message = wire.pack(("frame", array, b"raw"))
    assert through_pipe(("frame", array, b"raw")) == message
    for tag, came, raw in (wire.read(io.BytesIO(message)), wire.unpack(message)):
        assert (tag, raw, came.shape, came.dtype) == ("frame", b"raw", array.shape, array.dtype)
        assert np.array_equal(came, array)


@pytest.mark.parametrize(
    "large",
    [
        np.arange(3 << 20, dtype=np.uint8),
        [np.arange(70_000, dtype=np.uint8), b"", np.zeros((0, 2), np.int8), np.arange(9)],
        [np.full(100, number % 256, np.uint8) for number in range(3000)],
    ],
    ids=["one", "with empty ones", "many"],
)
def test_what_a_pipe_does_not_hold_arrives_whole(large: Any) -> None:
    assert through_pipe(large) == wire.pack(large)


def test_a_message_is_apart_from_what_it_was_made_of() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    message = wire.pack(Frame(StreamId("cam"), 0, 0, Moment(0), pixels, "rate"))
    pixels[:] = 9
    assert not wire.unpack(message).pixels.any()


@pytest.mark.parametrize(
    "change", [lambda m: m[:3], lambda m: m[:-1], lambda m: m + b"x", lambda m: m[:4] + b"\xff" * 4 + m[8:]]
)
def test_what_is_cut_or_longer_is_refused(change: Any) -> None:
    with pytest.raises(WireError):
        wire.unpack(change(wire.pack(("frame", ARRAYS[0]))))


def test_a_pipe_that_ends_within_a_message_has_ended() -> None:
    message = wire.pack(("frame", ARRAYS[0]))
    for size in (0, 5, len(message) - 1):
        with pytest.raises(EOFError):
            wire.read(io.BytesIO(message[:size]))


@given(st.lists(st.tuples(st.integers(1, 400_000), st.sampled_from(["let go", "kept", "its part kept"])), max_size=30))
def test_what_is_held_of_messages_stays_as_it_came(messages: list[tuple[int, str]]) -> None:
    """Whatever of them is let go, and read into again."""
    memory, kept = wire.Memory(), []
    for number, (size, fate) in enumerate(messages):
        sent = np.full(size, number, np.uint8)
        came = wire.read(io.BytesIO(wire.pack(("frame", sent))), memory)[1]
        np.testing.assert_array_equal(came, sent)
        if fate != "let go":
            kept.append((came if fate == "kept" else came[size // 2 :].reshape(-1, 1), number))
    for part, number in kept:
        assert (part == number).all()


def test_memory_of_pictures_that_were_let_go_is_taken_again() -> None:
    memory, places, others = wire.Memory(), set(), []
    for number in range(20):
        others.append(np.empty(300_000, np.uint8))  # in the place of what was let go, were it free
        came = wire.read(io.BytesIO(wire.pack(("frame", 10**number, np.zeros(300_000, np.uint8)))), memory)[2]
        places.add(came.ctypes.data // 4096)
    assert len(places) <= 3, places


def place(piece: memoryview) -> int:
    return np.frombuffer(piece, np.uint8).ctypes.data


def test_what_was_held_at_once_is_all_that_is_ever_taken() -> None:
    """Queues that fill and run empty, over and over, cost no more than the first time."""
    memory = wire.Memory()
    held = [memory.take(300_000) for _ in range(40)]
    places = {place(piece) for piece in held}
    assert len(places) == 40
    for _ in range(3):
        del held[:]
        held += [memory.take(300_000 - number) for number in range(40)]
        assert {place(piece) for piece in held} == places


def test_memory_is_kept_within_its_bound_and_for_sizes_that_still_come() -> None:
    memory = wire.Memory(most=2_000_000)
    small = [memory.take(100_000) for _ in range(30)]
    kept = {place(piece) for piece in small[:12]}
    assert len({place(piece) for piece in small}) == 30, "what is beyond the bound is given, and not kept"
    del small[:]
    assert {place(piece) for piece in [memory.take(100_000) for _ in range(12)]} == kept
    large = memory.take(180_000)
    where = place(large)
    del large
    assert place(memory.take(180_000)) == where, "what is free and too small made room"


def test_what_is_free_and_too_large_makes_room_too() -> None:
    memory = wire.Memory(most=1_600_000)
    places = {place(piece) for piece in [memory.take(130_000) for _ in range(8)]}
    assert len(places) == 8
    held = [memory.take(70_000) for _ in range(12)]
    kept = {place(piece) for piece in held}
    del held[:]
    assert {place(piece) for piece in [memory.take(70_000) for _ in range(11)]} <= kept


def test_of_a_message_that_is_an_exception_nothing_is_kept() -> None:
    memory = wire.Memory(most=4_000_000)
    places = {place(piece) for piece in [memory.take(100_000) for _ in range(20)]}
    memory.take(3_900_000)
    assert {place(piece) for piece in [memory.take(100_000) for _ in range(20)]} == places


def test_threads_never_share_a_piece() -> None:
    memory, wrong, before = wire.Memory(), [], sys.getswitchinterval()

    def work(number: int) -> None:
        for _ in range(1000):
            piece = np.frombuffer(memory.take(70_000), np.uint8)
            piece[::4096] = number
            time.sleep(0)
            wrong.extend([number] * bool((piece[::4096] != number).any()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong


@pytest.mark.parametrize(
    "value", [object(), np.zeros(2, np.complex64), {"inside": [object()]}], ids=["object", "complex", "inside"]
)
def test_what_has_no_place_on_the_wire_is_refused_before_a_byte_is_written(value: Any) -> None:
    came, gone = os.pipe()
    with pytest.raises(WireError):
        wire.write(gone, value)
    os.close(gone)
    assert os.read(came, 1) == b""
    os.close(came)
