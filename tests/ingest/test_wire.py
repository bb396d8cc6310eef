"""Records as bytes: what travels arrives whole, and bytes that are no message are refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ingest import wire
from ingest.records import Query


def test_a_query_arrives_with_all_it_asks_for() -> None:
    asked = Query(
        "two red cars for 3 s", np.arange(4, dtype=np.float32), slope=2.0, offset=-1.0, understood=("red car",),
        unknown=("zebra",), unsure=("dance",), lasting=3_000_000, kinds=("car", "bus"), colour="red", least=2,
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
    with pytest.raises(wire.WireError):
        wire.unpack(message[:-cut])
