"""Records as bytes: what travels arrives whole, and bytes that are no message are refused."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest

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
    pipe = io.BytesIO()
    wire.write(pipe, ("frame", array, b"raw"))
    assert pipe.getvalue() == wire.pack(("frame", array, b"raw"))
    pipe.seek(0)
    for tag, came, raw in (wire.read(pipe), wire.unpack(pipe.getvalue())):
        assert (tag, raw, came.shape, came.dtype) == ("frame", b"raw", array.shape, array.dtype)
        assert np.array_equal(came, array)


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


def test_what_has_no_place_on_the_wire_is_refused_before_a_byte_is_written() -> None:
    pipe = io.BytesIO()
    for value in (object(), np.zeros(2, np.complex64), {"inside": [object()]}):
        with pytest.raises(WireError):
            wire.write(pipe, value)
    assert pipe.getvalue() == b""
