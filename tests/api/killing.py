"""The service as a process to be killed: run by test_killed.py, or many times by hand:

    python -m tests.api.killing FOLDER rtsp://127.0.0.1:8554/cam 200

A camera is watched; each picture that was captured is told on a pipe, so that another process knows how many there
were. After every kill the folder is opened, and what it says is compared with that and with what it said before.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.accounts import Accounts
from api.compose import Service, open_memory
from api.profile import Models
from api.schemas import StreamIn
from api.settings import Settings
from ingest.bus import FRAMES
from ingest.clock import SystemClock
from ingest.ledger import Counts, Ledger
from ingest.reasons import PARTLY, UNHEARD, UNSEEING
from ingest.records import Feature, Frame, Gap, Span, seconds
from memory.memory import Memory
from models.fake import FakeEncoder, FakeSystem

ROOT = Path(__file__).parents[2]
MEET = seconds(1.5)
"""What was watched and what was not follow on one another within this."""


class Slow(FakeEncoder):
    """Slower than the camera, so that there is always something under way."""

    def encode(self, frames: Sequence[Frame]) -> list[Feature]:
        time.sleep(0.15 * len(frames))
        return super().encode(frames)


def models() -> Models:
    return Models(Slow(), FakeSystem())


def settings(folder: Path) -> Settings:
    return Settings(data=folder, networks=["127.0.0.0/8"], sample_floor_hz=5, sample_ceiling_hz=5, timezone="UTC")


def watch(folder: Path, url: str) -> None:
    """Until killed; a dot for every picture that was captured."""
    service = Service(settings(folder), models())
    publish = service.bus.publish

    def told(topic: str, record: Any, *more: Any) -> Any:
        if topic == FRAMES and isinstance(record, Frame):
            os.write(1, b".")
        return publish(topic, record, *more)

    service.bus.publish = told  # type: ignore[method-assign]
    service.start()
    if not service.streams.all():
        service.streams.add(StreamIn(name="door", source=url))
    while True:
        signal.pause()


@dataclass
class Film:
    """What a folder said after the last kill, and how many pictures were captured altogether."""

    folder: Path
    captured: int = 0
    counts: Counts = field(default_factory=Counts)
    gaps: tuple[Gap, ...] = ()
    covered: tuple[Span, ...] = ()

    def kill(self, url: str, after: int, pause_s: float) -> None:
        """Let it watch, and kill it so long after as many pictures were captured."""
        command = [sys.executable, "-m", "tests.api.killing", "watch", str(self.folder), url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, cwd=ROOT) as victim:
            assert victim.stdout is not None
            seen = 0
            while seen < after:
                dot = victim.stdout.read(1)
                assert dot, "it ended by itself"
                seen += 1
            time.sleep(pause_s)
            os.kill(victim.pid, signal.SIGKILL)
            self.captured += seen + len(victim.stdout.read())

    def examine(self) -> None:
        """Open what is left as the next service does."""
        ledger = Ledger()
        memory = open_memory(settings(self.folder), models(), Ledger(), SystemClock())
        try:
            Accounts(self.folder / "accounts").restore(memory.store, ledger)
            (row,) = memory.store.streams.all()
            self._count(ledger.counts(row.id), memory)
            self._compare(memory)
            wrong = [finding for finding in memory.examine() if not finding.ok]
            assert not wrong, wrong
        finally:
            memory.close()

    def _count(self, counts: Counts, memory: Memory) -> None:
        (row,) = memory.store.streams.all()
        assert counts.in_flight == 0, counts
        assert self.captured <= counts.captured <= self.captured + 1, (counts, self.captured)
        self.captured = counts.captured  # a kill between the count and its dot is nobody's mistake
        assert counts.stored == memory.store.streams.frames(row.id), "stored is what is there"
        before = self.counts
        assert before.latest(counts) == counts, f"a count fell: {before}, then {counts}"
        fine = memory.store.features.log(row.id)
        at = list(zip(fine.epochs[~fine.sounds], fine.pts[~fine.sounds], strict=True))
        assert len(set(at)) == len(at), "a frame is there twice"
        self.counts = counts

    def _compare(self, memory: Memory) -> None:
        (row,) = memory.store.streams.all()
        gaps = tuple(gap for gap in memory.store.timeline.gaps(row.id) if gap.reason not in UNSEEING | PARTLY | UNHEARD)
        covered = memory.store.timeline.coverage(row.id)
        assert gaps[: len(self.gaps)] == self.gaps or gaps[: len(self.gaps) - 1] == self.gaps[:-1]
        for was, became in zip(self.gaps[-1:], gaps[len(self.gaps) - 1 :], strict=False):
            assert (was.span.start, was.reason) == (became.span.start, became.reason)
            assert became.span.end >= was.span.end, "the last one may have gone on"
        for seen, still in zip(self.covered, covered, strict=False):
            assert (seen.start, True) == (still.start, still.end >= seen.end)
        stretches = sorted([*covered, *(gap.span for gap in gaps)])
        for one, other in itertools.pairwise(stretches):
            assert one.end <= other.start <= one.end + MEET, (one, other)
        self.gaps, self.covered = gaps, covered


def main(folder: Path, url: str, kills: int, seed: str = "") -> Counts:
    """Kill `kills` times, at moments that are different with every seed."""
    rng, film = random.Random(seed), Film(folder)
    for _ in range(kills):
        film.kill(url, rng.randint(1, 12), rng.random())
        film.examine()
    return film.counts


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        watch(Path(sys.argv[2]), sys.argv[3])
    else:
        counts = main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
        sys.stdout.write(f"{sys.argv[3]} kills, and every picture accounted for: {counts}\n")
