"""The real service in a process of its own, and what can be known of it from outside: for the long scripts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np

SYSTEM_PYTHON = "/usr/bin/python3"
MEMORY_DRIFT = 0.05
"""Most growth from the first fifth to the last, as a share, that still counts as flat."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """One look at the service; `calm`: nothing was out of the ordinary, so that counts may be compared."""

    at: float
    calm: bool
    values: dict[str, float]


class Camera:
    """The RTSP server, which can be killed, frozen and started again on its port."""

    def __init__(self, *pictures: str) -> None:
        """`pictures`: what the server is told of them."""
        self.port = free_port()
        self._pictures = pictures
        self._process: subprocess.Popen[str] | None = None

    def url(self, path: str) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        command = [SYSTEM_PYTHON, str(script), str(self.port), *self._pictures]
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
def service(folder: Path, settings: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """The service on a free port, with an empty memory, in a process of its own. `settings` without their prefix."""
    port = free_port()
    given = {f"HINDSIGHT_{name}": value for name, value in settings.items()}
    place = {"HINDSIGHT_DATA": str(folder), "HINDSIGHT_PORT": str(port), "HINDSIGHT_NETWORKS": '["127.0.0.0/8"]'}
    with (folder / "service.log").open("w") as log:
        command = [sys.executable, "-P", "-m", "api.cli", "serve"]
        process = subprocess.Popen(command, env={**os.environ, **place, **given}, stdout=log, stderr=log)
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


def resident(process: int) -> float:
    """MB; 0 when it is gone."""
    with suppress(OSError, ValueError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE / 1e6
    return 0.0


def runs(process: int, what: bytes) -> bool:
    """Whether this is what the process was started with."""
    with suppress(OSError):
        return what in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def measured(service: int, client: httpx.Client) -> dict[str, float]:
    """What the service and everything below it take: its processes, and the records that wait between them."""
    family = tree(service)
    memory = {one: resident(one) for one in family}
    decoders = [memory[one] for one in family if runs(one, b"ingest.decode")]
    return {
        "children": len(family) - 1,
        "descriptors": sum(entries(one, "fd") for one in family),
        "threads": sum(entries(one, "task") for one in family),
        "memory of all, MB": sum(memory.values()),
        "memory of the service, MB": memory[service],
        "memory of the decoders, MB": sum(decoders),
        "memory of the largest decoder, MB": max(decoders, default=0.0),
        "memory of the models, MB": sum(memory[one] for one in family if runs(one, b"models.worker")),
        "records waiting": sum(queues(client).values()),
    }


def entries(process: int, what: str) -> int:
    """How many descriptors ("fd") or threads ("task") it has; 0 when it is gone."""
    with suppress(OSError):
        return len(list(Path(f"/proc/{process}/{what}").iterdir()))
    return 0


def streams(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/v1/streams").json()
    return found


def queues(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {
        line.split('"')[1]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("hindsight_queue_depth{")
    }


def add(client: httpx.Client, urls: Sequence[str], *, tries: int = 1) -> list[str]:
    """Streams, all at once; their names. What cannot be opened in time may be tried again."""
    names = [f"camera {number}" for number in range(1, len(urls) + 1)]

    def one(name: str, url: str) -> None:
        for _ in range(tries):
            answer = client.post("/v1/streams", json={"name": name, "source": url})
            if answer.status_code != 424:
                break
        answer.raise_for_status()

    with ThreadPoolExecutor(len(urls)) as pool:
        list(pool.map(one, names, urls))
    return names


def paused(client: httpx.Client, within_s: float) -> list[str]:
    """Pauses every stream and waits until nothing of them is under way; of whose frames the account does not hold."""
    for one in streams(client):
        client.post(f"/v1/streams/{one['id']}/pause").raise_for_status()
    until(lambda: not any(one["counters"]["in_flight"] for one in streams(client)), within_s)
    return [
        f"{one['name']}: the account does not hold: {one['counters']}"
        for one in streams(client)
        if one["counters"]["in_flight"] or not conserved(one["counters"])
    ]


def conserved(counts: dict[str, Any]) -> bool:
    """captured = stored + dropped + parked + in flight."""
    lost = sum(counts["dropped"].values()) + sum(counts["parked"].values())
    held: bool = counts["captured"] == counts["stored"] + lost + counts["in_flight"]
    return held


def account(found: Sequence[dict[str, Any]]) -> str:
    """What became of all frames, and why."""
    totals: Counter[str] = Counter()
    for one in found:
        counts = one["counters"]
        totals += Counter(captured=counts["captured"], stored=counts["stored"])
        for what in ("dropped", "parked"):
            totals += Counter({f"{what} ({reason})": count for reason, count in counts[what].items()})
        unheard = {f"seconds of sound unheard ({reason})": round(s) for reason, s in counts["unheard_s"].items()}
        totals += Counter(unheard)
    return f"Frames: {', '.join(f'{name} {count}' for name, count in totals.items())}."


def warm(samples: Sequence[Sample], share: float) -> list[Sample]:
    """Those behind the first `share` of the time, in which memory may grow: models load, banks and queues fill."""
    since = samples[0].at + share * (samples[-1].at - samples[0].at)
    return [one for one in samples if one.at >= since]


def drift(samples: Sequence[Sample], name: str) -> tuple[float, float, float]:
    """The median of the first fifth, of the last, and the slope per hour."""
    times = np.array([one.at for one in samples])
    values = np.array([one.values[name] for one in samples])
    fifth = max(1, len(values) // 5)
    slope = float(np.polyfit(times - times[0], values, 1)[0]) * 3600 if len(values) > 2 else 0.0
    return median(values[:fifth]), median(values[-fifth:]), slope


def flatness(samples: Sequence[Sample], compared: Sequence[Sample], unjudged: Sequence[str] = ()) -> list[str]:
    """Prints how each value went; what of `compared` did not stay flat, in words."""
    sys.stdout.write("| | first fifth | last fifth | most | per hour | |\n|---|---|---|---|---|---|\n")
    wrong = []
    for name in sorted(samples[0].values):
        first, last, slope = drift(compared, name)
        flat = last - first <= max(1.0, MEMORY_DRIFT * first)
        judged = name not in unjudged
        if judged and not flat:
            wrong.append(f"{name} grew from {first:.0f} to {last:.0f}")
        verdict = "" if not judged else "flat" if flat else "**grows**"
        most = max(one.values[name] for one in samples)
        sys.stdout.write(f"| {name} | {first:.1f} | {last:.1f} | {most:.1f} | {slope:+.1f} | {verdict} |\n")
    return wrong
