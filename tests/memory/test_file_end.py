"""Nothing of a file lasts beyond the file."""

from __future__ import annotations

import pytest

from ingest.questions import Scope
from ingest.records import Feature, Moment, Span, StreamId, seconds
from memory.memory import Memory
from tests.memory.conftest import START, direction, ends, query, seen, span, stream_row

FILM = StreamId("film")
LENGTH = 30.2


def picture(at_s: float, **more: object) -> Feature:
    """A picture that says it is shown for two seconds."""
    return Feature(FILM, 0, seconds(at_s), span(at_s, at_s + 2), direction(0), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("sealed", [False, True])
def test_the_last_picture_of_a_file_lasts_until_its_end(memory: Memory, sealed: bool) -> None:
    origin, length = Moment(START), seconds(LENGTH)
    memory.store.streams.add(stream_row(FILM, kind="file", origin=origin, duration_us=length))
    going = seen(28, 32)
    observed = type(going)(**{name: getattr(going, name) for name in going.__slots__} | {"stream": FILM})
    memory.remember.handle([*(picture(at) for at in range(0, 30, 2)), picture(30, observations=(observed,))])
    if sealed:
        memory.remember.handle(ends(LENGTH, FILM))
    whole = Span(origin, Moment(START + length))
    assert memory.store.streams.extent(FILM) == whole
    [hit] = memory.recall.find(query(0), Scope((FILM,)), threshold=0.5)
    assert hit.span == whole
    assert memory.recall.replay(FILM).ends[-1] == whole.end
    [kept] = memory.store.timeline.observations(Scope((FILM,)))
    assert kept.span == Span(span(28, 30).start, whole.end)


def test_a_file_that_is_longer_than_it_said_is_kept_whole(memory: Memory) -> None:
    memory.store.streams.add(stream_row(FILM, kind="file", origin=Moment(START), duration_us=seconds(10)))
    memory.remember.handle([picture(at) for at in range(0, 20, 2)])
    [hit] = memory.recall.find(query(0), Scope((FILM,)), threshold=0.5)
    assert hit.span == span(0, 20)
