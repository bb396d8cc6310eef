"""Overload against a camera and a decoder in simulated time: what a step is worth is known exactly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.load import CALM, LATE, SETTLE, STALE, Load
from ingest.records import seconds

FPS = 25
GOP = 50


class Machine:
    """A camera's packets come every 40 ms, or in bursts, and wait; each costs the decoder `cost_s`, and nothing when it
    is skipped."""

    def __init__(self, skew: int = 0, drift: float = 0.0, burst_s: int = 0) -> None:
        self.load, self.now, self.number = Load(seconds(burst_s)), 0, 0
        self.skew, self.drift, self.burst = skew, drift, burst_s * FPS
        self.worst = 0
        self.steps: list[int] = []
        self.decoded: list[int] = []

    def run(self, seconds_: float, cost_s: float) -> None:
        for _ in range(round(seconds_ * FPS)):
            made = self.number * seconds(1) // FPS
            whole = self.number // self.burst * self.burst + self.burst if self.burst else self.number
            came = whole * seconds(1) // FPS
            self.now = max(self.now, came)
            self.load.observe(self.skew + round(made * (1 + self.drift)), self.now)
            key = self.number % GOP == 0
            if self.load.shedding != "pictures" or (key and not self.load.stale):
                self.now += seconds(cost_s)
                self.decoded.append(self.number)
            self.steps.append(self.load.step)
            self.worst = max(self.worst, self.now - came)
            self.number += 1


def test_a_machine_that_keeps_up_sheds_nothing() -> None:
    machine = Machine()
    machine.run(600, cost_s=0.03)
    assert set(machine.steps) == {0}


@pytest.mark.parametrize("burst_s", [2, 6, 10])
def test_segments_that_come_at_once_are_no_overload_and_overload_is_one_all_the_same(burst_s: int) -> None:
    machine = Machine(burst_s=burst_s)
    machine.run(600, cost_s=0.002)
    assert set(machine.steps) == {0}
    machine.run(600, cost_s=0.1)
    assert machine.steps[-1] == 2
    assert machine.number - machine.decoded[-1] < 10 * GOP


@pytest.mark.parametrize("cost_s", [0.05, 0.08, 0.2, 0.9])
def test_pictures_are_late_by_seconds_and_not_ever_later(cost_s: float) -> None:
    """Queues are bounded: an hour of overload is no later than its first minute."""
    machine = Machine()
    machine.run(60, cost_s)
    first = machine.worst
    machine.run(3600, cost_s)
    assert machine.worst <= max(first, STALE + LATE + 2 * SETTLE * cost_s * FPS)
    assert machine.number - machine.decoded[-1] < 10 * GOP, "the newest is seen"


def test_shedding_goes_step_by_step_and_is_taken_back() -> None:
    machine = Machine()
    machine.run(5, cost_s=0.02)
    machine.run(20, cost_s=0.1)
    changes = [step for n, step in enumerate(machine.steps) if not n or step != machine.steps[n - 1]]
    assert changes[:3] == [0, 1, 2]
    machine.run(60, cost_s=0.02)
    assert machine.steps[-1] == 0
    assert machine.now - machine.number * seconds(1) // FPS < LATE


def test_a_relapse_is_waited_for_longer_each_time() -> None:
    """A machine that is fast enough for key frames only does not swing back and forth."""
    machine = Machine()
    machine.run(1800, cost_s=0.06)
    ups = [n for n in range(1, len(machine.steps)) if machine.steps[n] < machine.steps[n - 1]]
    assert len(ups) < 40
    assert sum(step == 2 for step in machine.steps[-20_000:]) > 0.8 * 20_000


@settings(max_examples=20)
@given(skew=st.integers(-(10**15), 10**15), drift=st.floats(-2e-4, 2e-4))
def test_a_clock_that_is_wrong_or_drifts_is_not_overload(skew: int, drift: float) -> None:
    """Two hundred parts in a million are seventeen seconds a day."""
    machine = Machine(skew, drift)
    machine.run(1800, cost_s=0.01)
    assert set(machine.steps) == {0}


def test_a_camera_that_starts_again_is_not_overload() -> None:
    machine = Machine()
    machine.run(30, cost_s=0.01)
    machine.skew = seconds(-86_400)
    machine.run(30, cost_s=0.01)
    machine.skew = seconds(86_400)
    machine.run(30, cost_s=0.01)
    assert set(machine.steps) == {0}
    assert CALM > SETTLE


class Encoder:
    """Takes `cost_s` for a picture, of which `rates[step]` a second are brought to a queue of 64."""

    def __init__(self, cost_s: float, rates: tuple[float, float, float]) -> None:
        self.load, self.now, self.cost, self.rates = Load(), 0, cost_s, rates
        self.queued = self.dropped = 0.0
        self.steps: list[int] = []

    def run(self, seconds_: float) -> None:
        for _ in range(round(seconds_ * FPS)):
            self.now += seconds(1) // FPS
            self.load.filled = min(1.0, self.queued / 64)
            self.load.observe(self.now, self.now)
            self.queued = max(0.0, self.queued + (self.rates[self.load.step] - 1 / self.cost) / FPS)
            self.dropped, self.queued = self.dropped + max(0.0, self.queued - 64), min(self.queued, 64.0)
            self.steps.append(self.load.step)


def test_an_encoder_that_is_too_slow_sheds_the_rate_first_and_then_all_but_key_frames() -> None:
    encoder = Encoder(1.0, (12, 12, 0.5))
    encoder.run(60)
    changes = [step for n, step in enumerate(encoder.steps) if not n or step != encoder.steps[n - 1]]
    assert changes[:3] == [0, 1, 2]
    assert encoder.dropped == 0, "the queue drops nothing where the policy is enough"


def test_where_the_lower_rate_is_enough_for_the_encoder_no_more_is_given_up() -> None:
    encoder = Encoder(1.0, (4, 0.5, 0.5))
    encoder.run(1800)
    assert set(encoder.steps) == {0, 1}
    assert encoder.dropped == 0
    encoder.rates = (0.4, 0.4, 0.4)
    encoder.run(300)
    assert encoder.steps[-1] == 0, "it is taken back"


def test_an_encoder_that_keeps_up_with_a_burst_in_its_queue_sheds_nothing() -> None:
    encoder = Encoder(0.1, (4, 0.5, 0.5))
    encoder.queued = 30
    encoder.run(60)
    assert set(encoder.steps) == {0}
