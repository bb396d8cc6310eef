"""Moving things against scenes whose truth is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.records import Moment
from models.embedded.motion import MotionReader
from models.embedded.tracking import Tracker
from tests.models.embedded.yard import COLOURS, Mover, Scene, every, frame, seconds, watch

CROSSING = Mover("red", 5.0, 10.0, (-0.1, 0.5), (1.1, 0.5))
SEEN_FROM, SEEN_TO = 5.1, 9.9
"""When CROSSING shows at least a sliver of itself."""


def test_a_crossing_thing_is_timed_to_a_second() -> None:
    seen = watch(Scene([CROSSING]).frames(every(0.25, 16)))
    (thing,) = seen.observations("thing")
    assert seconds(thing.span) == pytest.approx((SEEN_FROM, SEEN_TO), abs=1.0)
    assert (thing.colour, thing.actions, thing.label) == ("red", ("moves right",), "something")
    (enters,) = seen.observations("event", "enters")
    (leaves,) = seen.observations("event", "leaves")
    assert seconds(enters.span)[0] == pytest.approx(SEEN_FROM, abs=1.0)
    assert seconds(leaves.span)[1] == pytest.approx(SEEN_TO, abs=1.0)
    ((start, end),) = seen.spans("something red moves")
    assert (start, end) == pytest.approx((SEEN_FROM, SEEN_TO), abs=1.0)


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
def test_the_rate_of_sampling_changes_little(step: float) -> None:
    seen = watch(Scene([CROSSING]).frames(every(step, 16)))
    ((start, end),) = seen.spans("something moves")
    assert (start, end) == pytest.approx((SEEN_FROM, SEEN_TO), abs=2 * step + 0.4)


def test_uneven_sampling_as_motion_gating_gives_it() -> None:
    times = [*every(2.0, 6.0), *(5.25 + t for t in every(0.25, 5.0)), *(11.0 + t for t in every(2.0, 10.0))]
    seen = watch(Scene([CROSSING]).frames(times))
    ((start, end),) = seen.spans("something moves")
    assert (start, end) == pytest.approx((SEEN_FROM, SEEN_TO), abs=1.2)


@pytest.mark.parametrize("colour", list(COLOURS))
def test_colours_of_moving_things_by_day_and_in_dim_light(colour: str) -> None:
    scene = Scene([Mover(colour, 3.0, 7.0, (-0.1, 0.5), (1.1, 0.5))])
    for light in (1.0, 0.7):
        (thing,) = watch(scene.frames(every(0.25, 9), lambda _, light=light: light)).observations("thing")
        expected = {colour, "grey"} if (colour, light) == ("white", 0.7) else {colour}
        expected |= {"brown"} if light < 1 and colour == "orange" else set()
        assert thing.colour in expected


@pytest.mark.parametrize(
    ("begin", "end", "direction"),
    [
        ((-0.1, 0.5), (1.1, 0.5), "moves right"),
        ((1.1, 0.5), (-0.1, 0.5), "moves left"),
        ((0.5, 1.1), (0.5, -0.1), "moves up"),
        ((0.5, -0.1), (0.5, 1.1), "moves down"),
    ],
)
def test_directions(begin: tuple[float, float], end: tuple[float, float], direction: str) -> None:
    seen = watch(Scene([Mover("blue", 3.0, 7.0, begin, end)]).frames(every(0.25, 9)))
    assert [one.actions for one in seen.observations("thing")] == [(direction,)]
    assert seen.spans(f"something {direction}")
    opposite = {"right": "left", "left": "right", "up": "down", "down": "up"}[direction.split()[1]]
    assert not seen.spans(f"something moves {opposite}")


def test_two_things_are_two_and_their_colours_do_not_swap() -> None:
    movers = [Mover("red", 4, 9, (-0.1, 0.3), (1.1, 0.3)), Mover("blue", 4, 9, (1.1, 0.75), (-0.1, 0.75))]
    seen = watch(Scene(movers).frames(every(0.25, 12)))
    assert sorted((one.colour, one.actions) for one in seen.observations("thing")) == [
        ("blue", ("moves left",)),
        ("red", ("moves right",)),
    ]
    assert seen.spans("two things move")
    assert seen.spans("something red moves right")
    assert seen.spans("something blue moves left")
    assert not seen.spans("something red moves left")
    assert not seen.spans("something blue moves right")
    assert not seen.spans("three things")


def test_a_thing_put_down_appears_and_taken_away_vanishes() -> None:
    seen = watch(Scene([Mover("black", 5.0, 15.0, (0.5, 0.5), (0.5, 0.5), (0.2, 0.3))]).frames(every(0.25, 22)))
    (appears,) = seen.observations("event", "appears")
    (vanishes,) = seen.observations("event", "vanishes")
    assert seconds(appears.span)[0] == pytest.approx(5.0, abs=1.0)
    assert seconds(vanishes.span)[0] == pytest.approx(15.0, abs=1.0)
    assert (appears.colour, vanishes.colour) == ("black", "black")
    ((start, _),) = seen.spans("something black appears")
    assert start == pytest.approx(5.0, abs=1.5)
    ((start, _),) = seen.spans("something is taken away")
    assert start == pytest.approx(15.0, abs=1.5)


def test_a_thing_that_stops_keeps_its_name() -> None:
    movers = [
        Mover("green", 3.0, 5.0, (-0.1, 0.5), (0.5, 0.5)),
        Mover("green", 5.0, 15.0, (0.5, 0.5), (0.5, 0.5)),
        Mover("green", 15.0, 17.0, (0.5, 0.5), (1.1, 0.5)),
    ]
    seen = watch(Scene(movers).frames(every(0.25, 20)))
    thing = max(seen.observations("thing"), key=lambda one: one.span.duration)
    assert seconds(thing.span) == pytest.approx((3.0, 17.0), abs=1.0)
    assert len(seen.observations("event", "enters")) == 1
    assert len(seen.observations("event", "leaves")) == 1
    assert any(start < 9 < end for start, end in seen.spans("something green stays"))


@pytest.mark.parametrize(
    "light",
    [
        pytest.param(lambda t: 1.0 if t < 6 else 0.6, id="a cloud"),
        pytest.param(lambda t: 1.0 - 0.04 * t, id="dusk"),
        pytest.param(lambda t: 1.0 + 0.04 * np.sin(9 * t), id="flicker"),
    ],
)
def test_light_is_no_thing(light: object) -> None:
    seen = watch(Scene([]).frames(every(0.25, 14), light))  # type: ignore[arg-type] # the three callables above
    assert seen.observations("thing") == []
    assert seen.observations("event") == []


def test_a_soft_shadow_is_no_thing() -> None:
    scene = Scene([])
    frames = []
    for t in every(0.25, 14):
        pixels = scene.at(t).astype(np.float32)
        x = np.linspace(0, 1, pixels.shape[1])
        pixels *= (1 - 0.3 * np.exp(-(((x - (t / 7 - 0.4)) / 0.15) ** 2)))[None, :, None]
        frames.append(frame(pixels.astype(np.uint8), t))
    assert watch(frames).observations("thing") == []


def test_a_moving_camera_makes_no_moving_things() -> None:
    wide = Scene([], size=(180, 1600)).ground
    frames = []
    for t in every(0.25, 12):
        left = int(max(0.0, t - 4) * 90) if t < 8 else 360
        frames.append(frame(np.clip(wide[:, left : left + 320], 0, 255).astype(np.uint8), t))
    seen = watch(frames)
    assert seen.observations("thing") == []
    assert any(4 <= start <= 5.5 for start, _ in seen.spans("the camera moves"))
    assert not any(4.5 < start < 7.5 for start, _ in seen.spans("nothing moves"))


def test_a_cut_is_a_cut() -> None:
    indoors = Scene([], seed=5)
    indoors.ground = indoors.ground[:, ::-1] * np.linspace(0.2, 1.5, 320)[None, :, None]
    frames = [*Scene([]).frames(every(0.25, 6)), *indoors.frames([6 + t for t in every(0.25, 6)])]
    seen = watch(frames)
    (cut,) = seen.observations("scene", "cut")
    assert seconds(cut.span)[0] == pytest.approx(6.0, abs=0.01)
    assert seen.observations("thing") == []
    assert seen.observations("event") == []


def test_emptiness_and_negation() -> None:
    seen = watch(Scene([CROSSING]).frames(every(0.25, 16)))
    for sentence in ("nothing moves", "the road is empty", "no movement"):
        (first, second) = seen.spans(sentence)
        assert first == pytest.approx((1.0, SEEN_FROM), abs=1.0)
        assert second[0] == pytest.approx(SEEN_TO, abs=1.6)


def test_memory_stays_bounded_over_a_long_stream() -> None:
    movers = [Mover("red", 4.0 * n, 4.0 * n + 3, (-0.1, 0.5), (1.1, 0.5)) for n in range(60)]
    scene, reader = Scene(movers, size=(100, 160)), MotionReader()
    most = 0
    for t in every(0.5, 240):
        reader.read(scene.at(t), Moment(round(t * 1e6)), str(t))
        most = max(most, len(reader._tracker.tracks) + len(reader._resting) + len(reader._settled))
    assert most <= 6


def test_an_empty_tracker_has_nothing_to_tell() -> None:
    sighting = Tracker().follow([], Moment(0), "0", quiet=False)
    assert (sighting.seen, sighting.passages) == ((), ())


def test_things_that_meet_at_the_edge_stay_two() -> None:
    """The red one goes out where the blue one comes in: one region for a while, and what is left of it is blue."""
    movers = [
        Mover("red", 3.0, 7.0, (-0.1, 0.5), (1.1, 0.5), (0.2, 0.3)),
        Mover("blue", 5.6, 14.0, (1.05, 0.55), (-0.05, 0.55), (0.06, 0.3)),
    ]
    seen = watch(Scene(movers).frames(every(0.25, 16)))
    assert sorted((one.colour, one.actions) for one in seen.observations("thing")) == [
        ("blue", ("moves left",)),
        ("red", ("moves right",)),
    ]
    ((start, end),) = seen.spans("something red moves")
    assert (start, end) == pytest.approx((3.2, 6.8), abs=1.0)


def test_lamps_that_light_up_at_dusk_are_no_things() -> None:
    """The light falls to a fifth within twenty seconds, while lamps light up around; sampled as nothing moves."""
    scene, frames = Scene([]), []
    down, across = np.mgrid[0:180, 0:320]
    for t in every(1.0, 40):
        dusk = min(max((t - 8) / 20, 0.0), 1.0)
        pixels = scene.at(t).astype(np.float32) * (1 - 0.8 * dusk)
        for at, (y, x) in enumerate(((60, 60), (70, 160), (60, 260))):
            glow = np.exp(-((down - y) ** 2 + (across - x) ** 2) / 500.0)[..., None]
            pixels += min(max(t - 14 - at, 0.0) / 3, 1.0) * glow * np.array((220.0, 170.0, 90.0))
        frames.append(frame(np.clip(pixels, 0, 255).astype(np.uint8), t))
    seen = watch(frames)
    assert seen.observations("thing") == []
    assert seen.observations("event") == []


def test_it_no_longer_leaves_when_it_is_gone() -> None:
    """Also where the next picture comes late, as it does when nothing moves."""
    seen = watch(Scene([CROSSING]).frames([*every(0.25, 10.25), 12.0, 14.0, 16.0]))
    ((_, end),) = seen.spans("something leaves")
    assert end == pytest.approx(SEEN_TO, abs=0.5)
