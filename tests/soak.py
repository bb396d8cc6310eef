"""Live streams for as long as one likes, with faults, watched from outside:

    python -m tests.soak --minutes 30 --streams 8

The real service (its own process, the `embedded` profile) takes several RTSP streams from a server on loopback. Every
few seconds the whole tree of processes is measured: resident memory, descriptors, threads, children, waiting records.
Meanwhile cameras are killed, frozen and started again, decoders and models are killed, streams are paused, questions
are asked. In the end a table with slopes is printed, the account of every frame is checked, and so is that the service
leaves no process behind. Exit status 0: everything stayed flat.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.outside import (
    Camera,
    Sample,
    account,
    add,
    flatness,
    measured,
    paused,
    runs,
    service,
    streams,
    tree,
    until,
)
from tests.outside import warm as behind_warming

EVERY_S = 5.0
FAULT_EVERY_S = 75.0
ASKED_EVERY_S = 30.0
"""Questions read what was remembered, and fill the cache of it."""
WARM_SHARE = 0.35
"""Of the run, at its beginning, in which memory may still grow: models load, banks and the budgets below fill."""


@dataclass
class Run:
    """What happened so far."""

    client: httpx.Client
    service: int
    camera: Camera
    streams: list[str]
    folder: Path
    samples: list[Sample] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


# --- measuring -------------------------------------------------------------------------------------------------


def look(run: Run) -> Sample:
    disk = sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file()) / 1e6
    values = measured(run.service, run.client) | {"disk, MB": disk}
    return Sample(time.monotonic(), all(one["state"] == "live" for one in streams(run.client)), values)


# --- faults ----------------------------------------------------------------------------------------------------


def camera_killed(run: Run) -> None:
    run.camera.stop()
    time.sleep(8)
    run.camera.start()


def camera_frozen(run: Run) -> None:
    run.camera.signal(signal.SIGSTOP)
    time.sleep(8)
    run.camera.signal(signal.SIGCONT)


def decoder_killed(run: Run) -> None:
    kill_one(run, b"ingest.decode")


def model_killed(run: Run) -> None:
    kill_one(run, b"models.worker")


def kill_one(run: Run, what: bytes) -> None:
    for process in tree(run.service)[1:]:
        if runs(process, what):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
            return


def paused_and_resumed(run: Run) -> None:
    for step in ("pause", "resume"):
        run.client.post(f"/v1/streams/{run.streams[0]}/{step}").raise_for_status()
        time.sleep(3)


def asked(run: Run) -> None:
    run.client.post("/v1/find", json={"event": "something moves"}).raise_for_status()
    run.client.post("/v1/ask", json={"question": "What moved in the last five minutes?"}).raise_for_status()
    run.client.get(f"/v1/streams/{run.streams[-1]}/timeline").raise_for_status()


FAULTS = (camera_killed, decoder_killed, paused_and_resumed, camera_frozen, model_killed)


# --- the run ---------------------------------------------------------------------------------------------------


def soak(run: Run, minutes: float) -> None:
    end = time.monotonic() + minutes * 60
    due, ask = time.monotonic() + FAULT_EVERY_S, time.monotonic() + ASKED_EVERY_S
    turn = 0
    while time.monotonic() < end:
        time.sleep(EVERY_S)
        try:
            run.samples.append(look(run))
            if time.monotonic() >= ask:
                run.faults["asked"] += 1
                asked(run)
                ask += ASKED_EVERY_S
        except httpx.TimeoutException:
            run.faults["a minute without an answer"] += 1
        if time.monotonic() >= due and end - time.monotonic() > 60:
            fault = FAULTS[turn % len(FAULTS)]
            run.faults[fault.__name__] += 1
            fault(run)
            turn, due = turn + 1, due + FAULT_EVERY_S


def settle(run: Run) -> list[str]:
    """Every stream is live again and every frame accounted for; what is wrong, in words."""
    wrong = list(run.failures)
    if not until(lambda: all(one["state"] == "live" for one in streams(run.client)), 90):
        blind = [one for one in streams(run.client) if one["state"] != "live"]
        wrong += [f"{one['name']} is {one['state']}: {one['detail']}" for one in blind]
    return wrong + paused(run.client, 60)


def report(run: Run) -> list[str]:
    """Prints the table; what did not stay flat, in words."""
    calm = [one for one in behind_warming(run.samples, WARM_SHARE) if one.calm]
    sys.stdout.write(
        f"{len(run.streams)} streams, {(run.samples[-1].at - run.samples[0].at) / 60:.0f} minutes, "
        f"{len(run.samples)} samples ({len(calm)} compared: warm, and every stream live); faults: "
        f"{', '.join(f'{name.replace(chr(95), chr(32))} {count}' for name, count in run.faults.items())}\n\n"
    )
    return flatness(run.samples, calm, unjudged=("disk, MB",))


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=30)
    arguments.add_argument("--streams", type=int, default=8)
    arguments.add_argument("--rate", default="1", help="frames a second of each stream that reach the models, at most")
    arguments.add_argument("--json", type=Path, help="where every sample is written")
    options = arguments.parse_args()
    settings = {
        "SAMPLE_FLOOR_HZ": "0.1",
        "SAMPLE_CEILING_HZ": options.rate,
        "KEEP_RECORDINGS_HOURS": "0.1",
        "MEMORY_BUDGET_MB": "1",  # so little that it is full, and must make room, while it is still warming up
        "RECORDINGS_BUDGET_MB": "4",
    }
    camera = Camera("--size", "192x108", "--rate", "6")
    urls = [camera.url("cam" if number % 2 else "silent") for number in range(options.streams)]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        camera.start()
        try:
            with service(Path(folder), settings) as (process, client):
                run = Run(client, process.pid, camera, add(client, urls), Path(folder))
                soak(run, options.minutes)
                wrong = settle(run)
                wrong += report(run)
                sys.stdout.write(f"\n{account(streams(client))}\n")
                family = tree(process.pid)
            wrong += [f"process {one} outlived the service" for one in family if Path(f"/proc/{one}/stat").exists()]
        finally:
            camera.stop()
        if options.json:
            options.json.write_text(json.dumps([{"at": one.at, "calm": one.calm, **one.values} for one in run.samples]))
        sys.stdout.write(f"\nVerdict: {'; '.join(wrong) if wrong else 'everything stayed flat, nothing was lost'}.\n")
        if wrong:
            sys.stdout.write((Path(folder) / "service.log").read_text()[-4000:])
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
