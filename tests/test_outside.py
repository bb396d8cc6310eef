"""What the long scripts would not let pass: they run seldom, and a judge that sees nothing is worse than none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.outside import Sample, conserved, entries, flatness, resident, runs, tree, warm
from tests.overload import Steps, leaps

COUNTS = {"captured": 10, "stored": 6, "dropped": {"overload": 2}, "parked": {"poison": 1}, "in_flight": 1}


def test_a_frame_that_is_missing_breaks_the_account() -> None:
    assert conserved(COUNTS)
    assert not conserved({**COUNTS, "stored": 5})
    assert not conserved({**COUNTS, "dropped": {}})


@pytest.mark.parametrize(("per_look", "grows"), [(0.0, False), (0.4, False), (1.0, True)])
def test_growth_of_more_than_a_twentieth_is_told(
    per_look: float, grows: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """From 100 MB over a hundred looks, of which the first half does not count."""
    samples = [
        Sample(float(at), True, {"MB": (50.0 if at < 50 else 100.0 + per_look * (at - 50) / 4)}) for at in range(100)
    ]
    assert bool(flatness(samples, warm(samples, 0.5))) == grows
    assert ("**grows**" in capsys.readouterr().out) == grows
    assert flatness(samples, warm(samples, 0.5), unjudged=("MB",)) == []


def shown(shedding: str, state: str = "live", age: float = 0.5) -> dict[str, object]:
    return {"shedding": shedding, "state": state, "last_frame_age_s": age, "pictures_skipped": 0}


def test_steps_are_seen_from_when_a_stream_is_live() -> None:
    good, bad = Steps(), Steps()
    for at, what in enumerate(("nothing", "rate", "rate", "pictures", "rate", "nothing")):
        good.look(at, shown(what))
    bad.look(0, shown("nothing", state="connecting"))
    for at, what in enumerate(("nothing", "pictures")):
        bad.look(at, shown(what))
    assert (good.first("rate"), good.first("pictures"), bad.first("rate")) == ("1", "3", "–")
    assert sum(bad.looks.values()) == 2, "before it was live nothing counts"


def test_steps_that_come_in_another_order_are_told() -> None:
    said = [
        ("cam", "rate"),
        ("door", "rate"),
        ("cam", "pictures"),
        ("cam", "rate"),
        ("cam", "nothing"),
        ("cam", "rate"),
    ]
    log = "\n".join(f"2026-11-27 04:42:13,379 DEBUG ingest.supervise: {one} gives up: {what}" for one, what in said)
    assert leaps(f"{log}\nan other line") == []
    assert leaps(log.replace("door gives up: rate", "door gives up: pictures")) == [
        "door gave up pictures before it tried the lower rate"
    ]


def test_a_process_and_what_it_started_are_found() -> None:
    grandchild = "print('up', flush=True); input()"
    command = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "up\n", "one that has only begun has no memory and no name yet"
            assert child.pid in tree(os.getpid())
            assert len(tree(child.pid)) == 2
            assert [one for one in tree(child.pid) if runs(one, b"subprocess.run")] == [child.pid]
            assert all(resident(one) > 1 for one in tree(child.pid))
            assert all(entries(one, "fd") >= 3 and entries(one, "task") == 1 for one in tree(child.pid))
        finally:
            child.communicate("\n")
    assert (resident(child.pid), entries(child.pid, "fd")) == (0.0, 0)
