"""A disk that is really full: told, answered on, gone on with when there is room, and nothing lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import FILMED, wait_for
from tests.api.test_service import Hindsight, kept_frames, write_crossing

pytestmark = [pytest.mark.service, pytest.mark.slow]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """40 MB of memory, mounted as the data folder; 16 of them are kept for erasing."""
    data = tmp_path / "data"
    data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(data)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield data
    subprocess.run(["umount", "-l", str(data)], check=True)


@pytest.fixture
def hindsight(tmp_path: Path, small_disk: Path) -> Iterator[Hindsight]:
    found = Hindsight(tmp_path)
    yield found
    found.close()


def fill(path: Path) -> None:
    """To the last byte."""
    with path.open("ab", buffering=0) as file:
        for size in (65536, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    assert os.statvfs(path).f_bavail == 0


def test_a_full_disk_stops_remembering_and_nothing_else(hindsight: Hindsight, small_disk: Path) -> None:
    film = write_crossing(hindsight.folder / "long.mp4", end=120)
    hindsight.start()
    hindsight.json("add", "long", str(film), "--starts-at", FILMED)

    def stream() -> dict[str, object]:
        found: dict[str, object] = hindsight.get("/v1/streams/long").json()
        return found

    wait_for(lambda: stream()["counters"]["stored"] > 40, within_s=90)  # type: ignore[index]
    ballast = small_disk / "ballast"
    fill(ballast)
    wait_for(lambda: "no space left" in str(stream()["detail"]), within_s=60)
    stood = stream()["counters"]["stored"]  # type: ignore[index]
    time.sleep(2)
    assert stream()["counters"]["stored"] == stood  # type: ignore[index]

    health = hindsight.run("health")
    assert health.returncode == 4
    assert "Only 0 MB are free. Free some space" in health.stdout
    assert "remember waits: The database has no space left" in health.stdout
    for arguments in (
        ("rule", "add", "red", "something red"),
        ("add", "again", str(film)),
        ("clip", "long", "00:01", "00:02", "-o", str(hindsight.folder / "no.mp4")),
    ):
        refused = hindsight.run(*arguments)
        assert (refused.returncode, "space" in refused.stderr) == (4, True), (arguments, refused.stderr)
    assert not (hindsight.folder / "no.mp4").exists()
    assert hindsight.json("find", "something red")["hits"]
    answer = hindsight.run("ask", "What happened?")
    assert (answer.returncode, "red" in answer.stdout) == (0, True)

    ballast.unlink()
    wait_for(lambda: stream()["state"] == "finished", within_s=120)
    assert stream()["detail"] == ""
    counters = stream()["counters"]
    assert counters["captured"] == counters["stored"]  # type: ignore[index]
    assert hindsight.run("rule", "add", "red", "something red").returncode == 0
    assert [one["name"] for one in hindsight.json("streams")] == ["long"]
    assert hindsight.run("doctor", "--json").stdout.count('"ok": false') == 1  # the disk is still a small one
    assert hindsight.end() == 0
    kept = kept_frames(small_disk)
    assert len(kept) == len(set(kept)) == counters["stored"]  # type: ignore[index]
    assert "Traceback" not in hindsight.log
    assert "remember goes on" in hindsight.log
