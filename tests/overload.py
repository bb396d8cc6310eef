"""More streams than the machine can decode, for as long as one likes, watched from outside:

    python -m tests.overload --minutes 10 --streams 16

The real service takes large pictures from a server on loopback that has them encoded already, so that it is the service
which is short of processor and not the camera. What it gives up is watched as any user can: per stream on the list of
streams, as a whole in processes and queues. In the end tables are printed: memory, what was given up and in which
order, how old the newest picture was, and the account of every frame. Exit status 0: load was shed as it is promised
(the lower rate first, then all but key frames, the newest kept, nothing growing, every frame accounted for). 2: the
machine kept up, and nothing was shown.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from api.compose import room
from api.settings import Settings
from ingest.limits import Limits
from ingest.load import STEPS
from tests.outside import (
    MEMORY_DRIFT,
    Camera,
    Sample,
    account,
    add,
    conserved,
    flatness,
    measured,
    paused,
    queues,
    service,
    streams,
    tree,
    warm,
)

EVERY_S = 0.5
MEASURED_EVERY_S = 5.0
WARM_SHARE = 0.5
"""Of the run, at its beginning, in which memory may still grow: models load, the queues of all streams fill."""
PICTURES = "pictures waiting"
WORKING = "memory of the models, MB"
"""Not judged by itself, but with all: no queue is in it, and what a model works with comes and goes by 25 MB at the
same load."""
IN_HAND = 16
"""Pictures that are being encoded, at most, beside those that wait (`drive`)."""
_GIVEN_UP = re.compile(r": (\S+) gives up: (\w+)$", re.MULTILINE)
DRAINED_S = 600
"""For full queues of all streams to be worked off."""
BLIND_SHARE = 0.05
"""Of the time, in which a stream may not be live: overload is no reason to begin anew."""
NEWEST_S = 10.0
"""Age of the newest picture of a stream that is too old in nineteen looks of twenty: what is 3 s old is not decoded."""


@dataclass
class Steps:
    """What one stream gave up over time."""

    looks: Counter[str] = field(default_factory=Counter)
    changes: list[tuple[float, str]] = field(default_factory=list)
    """Seconds since the beginning, and what it came to."""
    ages: list[float] = field(default_factory=list)
    skipped: int = 0

    def look(self, at: float, shown: dict[str, Any]) -> None:
        if not self.looks and shown["state"] != "live":
            return  # it was never live so far
        now = shown["shedding"]
        before = self.changes[-1][1] if self.changes else now if not self.looks else "nothing"
        if now != before:
            self.changes.append((at, now))
        self.looks[f"{now}" if shown["state"] == "live" else shown["state"]] += 1
        if shown["last_frame_age_s"] is not None and shown["state"] == "live":
            self.ages.append(shown["last_frame_age_s"])
        self.skipped = shown["pictures_skipped"]

    def first(self, what: str) -> str:
        return next((f"{at:.0f}" for at, now in self.changes if now == what), "–")


@dataclass
class Run:
    client: httpx.Client
    service: int
    log: Path
    most: int
    """Pictures that have room in the queue of all streams."""
    samples: list[Sample] = field(default_factory=list)
    steps: dict[str, Steps] = field(default_factory=dict)
    looks_s: list[float] = field(default_factory=list)
    """How long each look took."""


def watch(run: Run, minutes: float) -> None:
    begun = time.monotonic()
    measured_at = 0.0
    while (now := time.monotonic()) < begun + minutes * 60:
        for one in streams(run.client):
            run.steps.setdefault(one["name"], Steps()).look(now - begun, one)
        run.looks_s.append(time.monotonic() - now)
        if now - measured_at >= MEASURED_EVERY_S:
            values = measured(run.service, run.client) | {PICTURES: queues(run.client)["frames/encode"]}
            run.samples.append(Sample(now, True, values))
            measured_at = now
        time.sleep(EVERY_S)


def shed(run: Run) -> list[str]:
    """Prints what each stream gave up; what of it is not as promised, in words."""
    sys.stdout.write(
        "\n| stream | lower rate after, s | key frames alone after, s | of the time: nothing, rate, pictures given up; "
        "not live | changes | pictures skipped | newest picture, s old: median, 95 % | gaps |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    wrong = []
    for name, steps in run.steps.items():
        looks = sum(steps.looks.values())
        shares = [steps.looks[what] / looks for what in STEPS]
        spent = ", ".join(f"{share:.0%}" for share in shares) + f"; {1 - sum(shares):.0%}"
        median, most = np.percentile(steps.ages, (50, 95)) if steps.ages else (np.inf, np.inf)
        sys.stdout.write(
            f"| {name} | {steps.first('rate')} | {steps.first('pictures')} | {spent} | {len(steps.changes)} "
            f"| {steps.skipped} | {median:.1f}, {most:.1f} | {gaps(run, name)} |\n"
        )
        if most > NEWEST_S:
            wrong.append(f"{name} showed pictures that were {most:.0f} s old")
        if 1 - sum(shares) > BLIND_SHARE:
            wrong.append(f"{name} was not live for {1 - sum(shares):.0%} of the time")
    return wrong


def leaps(log: str) -> list[str]:
    """Which streams gave up pictures before the lower rate, as the service says itself, step by step: who looks from
    outside comes too seldom to see each."""
    last, wrong = dict[str, str](), []
    for stream, now in _GIVEN_UP.findall(log):
        if now == "pictures" and last.get(stream, "nothing") == "nothing":
            wrong.append(f"{stream} gave up pictures before it tried the lower rate")
        last[stream] = now
    return wrong


def untold(run: Run) -> list[str]:
    """Which were seen to give something up, and the log has nothing of it."""
    told = {stream for stream, _ in _GIVEN_UP.findall(run.log.read_text())}
    known = {one["name"] for one in streams(run.client) if one["id"] in told}
    unknown = [name for name, steps in run.steps.items() if steps.changes and name not in known]
    return [f"the log says nothing of what {name} gave up" for name in unknown]


def gaps(run: Run, name: str) -> str:
    """When the stream was blind, by reason."""
    found = run.client.get(f"/v1/streams/{name}/coverage").json()["gaps"]
    reasons = Counter(gap["reason"] for gap in found)
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"


def accounts(run: Run) -> list[str]:
    """Pauses everything and prints the account of each stream."""
    wrong = paused(run.client, DRAINED_S)
    sys.stdout.write(
        "\n| stream | captured | stored | dropped | parked | in flight | holds |\n|---|---|---|---|---|---|---|\n"
    )
    for one in streams(run.client):
        counts = one["counters"]
        lost = [
            ", ".join(f"{count} {why}" for why, count in counts[what].items()) or "0" for what in ("dropped", "parked")
        ]
        sys.stdout.write(
            f"| {one['name']} | {counts['captured']} | {counts['stored']} | {' | '.join(lost)} | {counts['in_flight']} "
            f"| {'yes' if conserved(counts) else '**no**'} |\n"
        )
    sys.stdout.write(f"\n{account(streams(run.client))}\n")
    return wrong


def report(run: Run) -> list[str]:
    minutes = (run.samples[-1].at - run.samples[0].at) / 60
    slow = np.percentile(run.looks_s, 95)
    sys.stdout.write(
        f"{len(run.steps)} streams, {minutes:.0f} minutes, {len(run.looks_s)} looks (one took "
        f"{np.median(run.looks_s):.2f} s, 95 %: {slow:.2f} s),"
        f" load {os.getloadavg()[1]:.0f} on {os.cpu_count()} cores.\n"
        f"Bounds: {Limits().memory_mb} MB of address space for a decoder, {run.most} pictures that wait to be encoded "
        f"and {IN_HAND} that are.\n\n"
    )
    grown = flatness(run.samples, warm(run.samples, WARM_SHARE), unjudged=("records waiting", PICTURES, WORKING))
    return grown + queued(run) + shed(run) + leaps(run.log.read_text()) + untold(run) + accounts(run)


def queued(run: Run) -> list[str]:
    """Queues come and go within their bound, so growth says nothing of them. Over it they are for a moment, where a
    stream has more than its share until its next picture comes."""
    most = max(one.values[PICTURES] for one in run.samples)
    far = most > (1 + MEMORY_DRIFT) * run.most + IN_HAND
    return [f"{most:.0f} pictures waited, of {run.most} that have room"] if far else []


def most(size: str) -> int:
    """How many pictures of a camera have room in the queue, as they are made smaller to be looked at."""
    width, height = map(int, size.split("x"))
    smaller = Settings().sample_side / max(width, height)
    return room(Settings()) // (round(width * smaller) * round(height * smaller) * 3)


def film(path: Path, size: str, minutes: float) -> Path:
    """Ten seconds that are encoded, again and again for as long as it takes."""
    made = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-t", "10", "-c:v", "libx264", "-preset", "veryfast"]
    once = path.with_name("once.mp4")
    times = ["-stream_loop", str(round(minutes * 6) + 60), "-i", str(once), "-c", "copy"]
    for command in ([*made, "-pix_fmt", "yuv420p", "-g", "25", "-b:v", "4M", str(once)], [*times, str(path)]):
        subprocess.run(["ffmpeg", "-v", "error", *command], check=True)
    return path


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--streams", type=int, default=16)
    arguments.add_argument("--size", default="1920x1080", help="of the pictures, 25 a second")
    arguments.add_argument("--rate", default="4", help="frames a second of each stream that reach the models, at most")
    options = arguments.parse_args()
    settings = {
        "SAMPLE_CEILING_HZ": options.rate,
        "MEMORY_BUDGET_MB": "1",  # full before it is judged: what is remembered has a bound of its own
        "RECORDINGS_BUDGET_MB": "20",
        "LOG_LEVEL": "debug",
    }
    with tempfile.TemporaryDirectory(prefix="overload-") as temporary:
        folder = Path(temporary)
        camera = Camera("--film", str(film(folder / "film.mp4", options.size, options.minutes)))
        (folder / "data").mkdir()
        camera.start()
        try:
            with service(folder / "data", settings) as (process, client), ThreadPoolExecutor(1) as adding:
                added = adding.submit(add, client, [camera.url("film")] * options.streams, tries=20)
                run = Run(client, process.pid, folder / "data" / "service.log", most(options.size))
                watch(run, options.minutes)
                added.result()
                wrong = report(run)
                family = tree(process.pid)
            wrong += [f"process {one} outlived the service" for one in family if Path(f"/proc/{one}/stat").exists()]
        finally:
            camera.stop()
        shedding = sum(steps.first("pictures") != "–" for steps in run.steps.values())
        if not shedding:
            wrong.append("the machine kept up: give it more streams, or larger ones")
        done = f"{shedding} of {len(run.steps)} streams came to key frames alone, as promised, and nothing grew"
        sys.stdout.write(f"\nVerdict: {'; '.join(wrong) if wrong else done}.\n")
        if wrong:
            sys.stdout.write(run.log.read_text()[-4000:])
    sys.exit((2 if not shedding else 1) if wrong else 0)


if __name__ == "__main__":
    main()
