"""Frozen and dark: what counts, from when on, and what must not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import pictures
from ingest.backoff import Backoff, Turnstile
from ingest.capture import CapturePlan
from ingest.clock import FakeClock, SystemClock
from ingest.limits import Limits
from ingest.records import Coverage, Frame, Gap, Moment, seconds
from ingest.sampling import HEIGHT, WIDTH, Grey, Sampling
from ingest.sight import Look, Sight
from ingest.sources import parse
from tests.ingest.conftest import STREAM, Harvest, RtspServer

LIMITS = Limits(frozen_s=60, dark_s=10)
CLIPS = Path(__file__).parents[3] / "shared" / "footage"
rng = np.random.default_rng(5)


def scene(level: float = 100.0, noise: float = 0.0) -> Grey:
    """A picture with structure; `noise` is that of one cell."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    picture = level + 60 * np.sin(rows / 7) * np.cos(columns / 9) + rng.normal(0, noise, (HEIGHT, WIDTH))
    return np.asarray(picture, np.float32)


def watched(pictures: Iterable[Grey], every_s: float = 0.25) -> list[Look]:
    sight = Sight(LIMITS)
    looks = (sight.judge(Moment(seconds(n * every_s)), grey) for n, grey in enumerate(pictures))
    return [look for look in looks if look is not None]


def test_a_picture_that_stays_the_same_is_frozen_from_when_it_began_to() -> None:
    same = scene()
    looks = watched([scene(noise=1) for _ in range(40)] + [same] * 400 + [scene(noise=1) for _ in range(40)])
    assert [(look.blind, look.since) for look in looks] == [("frozen", seconds(10)), (None, seconds(110))]
    assert looks[0].detail


def test_a_clock_in_the_corner_is_enough_to_be_alive() -> None:
    def with_clock(second: int) -> Grey:
        picture = scene()
        picture[2, 80 + second % 10] = 255
        return picture

    assert watched(with_clock(n // 4) for n in range(800)) == []


@pytest.mark.parametrize(("level", "said"), [(17.0, "dark"), (140.0, "covers the lens")])
def test_a_picture_without_anything_in_it_is_dark(level: float, said: str) -> None:
    covered = [np.asarray(rng.normal(level, 1.2, (HEIGHT, WIDTH)), np.float32) for _ in range(80)]
    looks = watched([scene(noise=1) for _ in range(8)] + covered + [scene(noise=1)])
    assert [(look.blind, look.since) for look in looks] == [("dark", seconds(2)), (None, seconds(22))]
    assert said in looks[0].detail


def test_colours_that_are_equally_bright_are_something_to_be_seen() -> None:
    """A red door in a grey wall: of its luma nothing is left to see. A covered lens has one colour."""
    planes = np.full((3, 180, 320), 128, np.uint8)
    planes[0] = 110
    looks = {}
    for name, red in (("door", 190), ("covered", 128)):
        planes[2, 40:140, 120:200] = red
        picture = av.VideoFrame.from_ndarray(planes, "yuv444p").reformat(format="yuv420p")
        sight, grey = Sight(LIMITS), pictures.grey(picture)
        judged = [
            sight.judge(Moment(seconds(n)), grey, lambda picture=picture: pictures.tints(picture)) for n in range(20)
        ]
        looks[name] = [look.blind for look in judged if look is not None]
    assert looks == {"door": [], "covered": ["dark"]}


@given(st.lists(st.sampled_from(["alive", "same", "dark"]), max_size=120))
def test_looks_alternate_and_never_begin_in_the_future(kinds: list[str]) -> None:
    still = scene()
    made = {"alive": lambda: scene(noise=2), "same": lambda: still, "dark": lambda: np.full_like(still, 16)}
    sight, before = Sight(Limits(frozen_s=4, dark_s=2)), None
    for n, kind in enumerate(kinds):
        look = sight.judge(Moment(seconds(n)), made[kind]())
        if look is not None:
            assert look.blind != before
            assert look.since <= seconds(n)
            before = look.blind
        if kind == "alive":
            assert before is None


@pytest.mark.parametrize("name", ["bottle-detection", "car-detection", "nasa-cleanroom", "dog-fetch", "bedroom"])
def test_real_footage_is_neither(name: str) -> None:
    """With a tenth of the patience: what real cameras see in still and in dim rooms is not mistaken."""
    path = CLIPS / f"{name}.mp4"
    if not path.exists():
        pytest.skip("needs the shared footage")
    sight, at = Sight(Limits(frozen_s=6, dark_s=2)), 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time is None or frame.time < at:
                continue
            at = frame.time + 0.25
            assert sight.judge(Moment(seconds(frame.time)), pictures.grey(frame)) is None, frame.time
            if at > 60:
                break


# --- through the whole of capture ------------------------------------------------------------------------------


@pytest.mark.service
def test_a_frozen_and_a_dark_camera_are_told_and_not_restarted(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]
) -> None:
    """The server's picture freezes for eight seconds, then turns black, then lives again; the connection stays."""
    server, made = rtsp("--moods", "4,8,8"), harvest(Limits(frozen_s=3, dark_s=2, stall_s=10, read_s=10))
    begun = SystemClock().now()
    made.fleet.start(CapturePlan(STREAM, parse(server.url("moody")), sampling=Sampling(floor_hz=4, ceiling_hz=4)))
    made.wait(lambda: made.states() == ["connecting", "live", "frozen", "live", "dark", "live"], 90)
    made.halt()
    gaps = [gap for gap in made.of(Gap) if gap.reason in ("frozen", "dark")]
    last = {gap.span.start: gap for gap in gaps}
    assert [gap.reason for gap in last.values()] == ["frozen", "dark"]
    frozen, dark = last.values()
    assert frozen.span.duration == pytest.approx(seconds(8), abs=seconds(2.5))
    assert dark.span.duration == pytest.approx(seconds(8), abs=seconds(1.9))
    assert dark.span.start >= frozen.span.end - seconds(0.5)
    assert frozen.span.start > begun
    assert {coverage.epoch for coverage in made.of(Coverage)} == {0}, "it was not connected to again"
    assert any(frame.moment in frozen.span for frame in made.of(Frame)), "what little there is is remembered"


# --- going through the door in turn ----------------------------------------------------------------------------


def test_a_hundred_cameras_that_return_at_once_come_ten_a_second() -> None:
    """By the arithmetic alone: each waits as its own back-off and the turnstile of all say."""
    clock, limits = FakeClock(), Limits()
    turnstile = Turnstile(limits, clock)
    waits = sorted(Backoff(limits).next() for _ in range(100))
    begun = []
    for wait in waits:
        clock.advance(max(0.0, wait - clock.monotonic()))
        begun.append(clock.monotonic() + turnstile.turn())
    busiest = max(sum(start <= other < start + 1 for other in begun) for start in begun)
    assert busiest <= limits.connects_per_s + 1
    assert max(begun) < 15
