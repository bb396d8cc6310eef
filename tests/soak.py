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
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np

SYSTEM_PYTHON = "/usr/bin/python3"
EVERY_S = 5.0
FAULT_EVERY_S = 75.0
WARM_SHARE = 0.25
"""Of the run, at its beginning, in which memory may still grow: models load, banks fill."""
MEMORY_DRIFT = 0.05
"""Most growth from the first fifth to the last, as a share, that still counts as flat."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """One look at the service; `calm`: every stream was live, so that counts may be compared."""

    at: float
    calm: bool
    values: dict[str, float]


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


class Camera:
    """The RTSP server, which can be killed, frozen and started again on its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        command = [SYSTEM_PYTHON, str(script), str(self.port), "--size", "192x108", "--rate", "6"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def service(folder: Path, rate: str = "1") -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """The service on a free port, with its own empty memory, in a process of its own."""
    port = free_port()
    environment = {
        **os.environ,
        "HINDSIGHT_DATA": str(folder),
        "HINDSIGHT_PORT": str(port),
        "HINDSIGHT_NETWORKS": '["127.0.0.0/8"]',
        "HINDSIGHT_SAMPLE_FLOOR_HZ": "0.1",
        "HINDSIGHT_SAMPLE_CEILING_HZ": rate,
        "HINDSIGHT_KEEP_RECORDINGS_HOURS": "0.1",
        "HINDSIGHT_MEMORY_BUDGET_MB": "8",
        "HINDSIGHT_RECORDINGS_BUDGET_MB": "6",
    }
    with (folder / "service.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "api.cli", "serve"], env=environment, stdout=log, stderr=log
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
    try:
        until(lambda: answers(client), 120)
        yield process, client
    finally:
        client.close()
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()


def answers(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/v1/streams").is_success
    return False


def until(true: Callable[[], Any], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.5)
    return False


# --- measuring -------------------------------------------------------------------------------------------------


def tree(root: int) -> list[int]:
    """The process and everything below it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(path.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found


def measured(run: Run) -> Sample:
    values: dict[str, float] = Counter()
    family = tree(run.service)
    values["children"] = len(family) - 1
    for process in family:
        with suppress(OSError, ValueError):
            resident = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE / 1e6
            values["memory of all, MB"] += resident
            if process == run.service:
                values["memory of the service, MB"] = resident
            values["descriptors"] += len(list(Path(f"/proc/{process}/fd").iterdir()))
            values["threads"] += len(list(Path(f"/proc/{process}/task").iterdir()))
    shown = run.client.get("/v1/streams").json()
    values["records waiting"] = sum(queues(run.client).values())
    values["disk, MB"] = sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file()) / 1e6
    return Sample(time.monotonic(), all(one["state"] == "live" for one in listed(shown)), dict(values))


def listed(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer if isinstance(answer, list) else answer["streams"]
    return found


def queues(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {
        line.split('"')[1]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("hindsight_queue_depth{")
    }


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
        with suppress(OSError):
            if what in Path(f"/proc/{process}/cmdline").read_bytes():
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


FAULTS = (camera_killed, asked, decoder_killed, paused_and_resumed, camera_frozen, model_killed)


# --- the run ---------------------------------------------------------------------------------------------------


def soak(run: Run, minutes: float) -> None:
    end = time.monotonic() + minutes * 60
    due = time.monotonic() + FAULT_EVERY_S
    turn = 0
    while time.monotonic() < end:
        time.sleep(EVERY_S)
        try:
            run.samples.append(measured(run))
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
    if not until(lambda: all(one["state"] == "live" for one in streams(run)), 90):
        wrong += [f"{one['name']} is {one['state']}: {one['detail']}" for one in streams(run) if one["state"] != "live"]
    for stream in run.streams:
        run.client.post(f"/v1/streams/{stream}/pause").raise_for_status()
    until(lambda: not any(one["counters"]["in_flight"] for one in streams(run)), 60)
    for one in streams(run):
        counts = one["counters"]
        known = (
            counts["stored"] + sum(counts["dropped"].values()) + sum(counts["parked"].values()) + counts["in_flight"]
        )
        if counts["captured"] != known or counts["in_flight"]:
            wrong.append(f"{one['name']}: the account does not hold: {counts}")
    return wrong


def streams(run: Run) -> list[dict[str, Any]]:
    return listed(run.client.get("/v1/streams").json())


def drift(samples: Sequence[Sample], name: str) -> tuple[float, float, float]:
    """Of the samples behind the warm-up: the median of the first fifth, of the last, and the slope per hour."""
    times = np.array([one.at for one in samples])
    values = np.array([one.values[name] for one in samples])
    fifth = max(1, len(values) // 5)
    slope = float(np.polyfit(times - times[0], values, 1)[0]) * 3600 if len(values) > 2 else 0.0
    return median(values[:fifth]), median(values[-fifth:]), slope


def report(run: Run) -> list[str]:
    """Prints the table; what did not stay flat, in words."""
    since = run.samples[0].at + WARM_SHARE * (run.samples[-1].at - run.samples[0].at)
    warm = [one for one in run.samples if one.at >= since]
    calm = [one for one in warm if one.calm]
    sys.stdout.write(
        f"{len(run.streams)} streams, {(run.samples[-1].at - run.samples[0].at) / 60:.0f} minutes, "
        f"{len(run.samples)} samples ({len(calm)} compared: warm, and every stream live); faults: "
        f"{', '.join(f'{name.replace(chr(95), chr(32))} {count}' for name, count in run.faults.items())}\n\n"
        "| | first fifth | last fifth | most | per hour | |\n|---|---|---|---|---|---|\n"
    )
    wrong = []
    for name in sorted(run.samples[0].values):
        first, last, slope = drift(calm, name)
        allowed = max(1.0, MEMORY_DRIFT * first)
        judged = name != "disk, MB"
        flat = last - first <= allowed
        if judged and not flat:
            wrong.append(f"{name} grew from {first:.0f} to {last:.0f}")
        verdict = "" if not judged else "flat" if flat else "**grows**"
        most = max(one.values[name] for one in run.samples)
        sys.stdout.write(f"| {name} | {first:.1f} | {last:.1f} | {most:.1f} | {slope:+.1f} | {verdict} |\n")
    return wrong


def account(run: Run) -> None:
    totals: Counter[str] = Counter()
    for one in streams(run):
        counts = one["counters"]
        totals += Counter(captured=counts["captured"], stored=counts["stored"])
        for what in ("dropped", "parked"):
            totals += Counter({f"{what} ({reason})": count for reason, count in counts[what].items()})
    sys.stdout.write(f"\nFrames: {', '.join(f'{name} {count}' for name, count in totals.items())}.\n")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=30)
    arguments.add_argument("--streams", type=int, default=8)
    arguments.add_argument("--rate", default="1", help="frames a second of each stream that reach the models, at most")
    arguments.add_argument("--json", type=Path, help="where every sample is written")
    options = arguments.parse_args()
    camera = Camera()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        camera.start()
        try:
            with service(Path(folder), options.rate) as (process, client):
                names = [f"camera {number}" for number in range(1, options.streams + 1)]
                for number, name in enumerate(names):
                    url = f"rtsp://127.0.0.1:{camera.port}/{'cam' if number % 2 else 'silent'}"
                    client.post("/v1/streams", json={"name": name, "source": url}).raise_for_status()
                run = Run(client, process.pid, camera, names, Path(folder))
                soak(run, options.minutes)
                wrong = settle(run)
                wrong += report(run)
                account(run)
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
