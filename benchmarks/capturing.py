"""Ingest: CPU-seconds per hour of video, beside bare decoding of the same file, OpenCV, and key frames alone.

    python -m benchmarks.capturing [--seconds 60] [--material FOLDER] [--only h264-720p]

The material is the rendered street at 25 pictures a second with a camera's noise, a key frame every two seconds and
AAC sound, at a camera's bitrates. Ours is the service's own decoder child on its live path (decode, motion gating,
listening, recording with every flush) plus what its parent spends on taking frames in; the file stands in for the
network. Each number is the least of `--rounds`; starting a process (a fifth of a second of ours, once per connection)
is not in it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ingest.child import Decoder, source_details
from ingest.limits import Limits
from ingest.records import Frame, Segment
from ingest.sampling import Sampling
from ingest.scene import DEMONSTRATION, render
from ingest.sources import parse

CODECS = {"h264": ("libx264", "veryfast"), "hevc": ("libx265", "superfast")}
SIZES = {"1080p": (1920, 1080, 4000), "720p": (1280, 720, 2000)}
"""Width, height, kilobits a second of H.264; HEVC gets half."""
HOUR = 3600.0
READ_ALL = """
import sys, cv2
cv2.setNumThreads(1)
film = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
while True:
    seen, picture = film.read()
    if not seen:
        break
    cv2.resize(picture, (640, 360))
"""
NOTHING = "import cv2"


@dataclass(frozen=True)
class Cost:
    """CPU-seconds of one run, and what it held: MB resident, MB of them its own; frames and segments it gave."""

    cpu: float
    resident: float = 0.0
    own: float = 0.0
    frames: int = 0
    segments: int = 0
    start: float = 0.0


POLICIES = {
    "1 frame/s, motion gated": Sampling(floor_hz=0.5, ceiling_hz=1.0),
    "1 frame/s, no gate": Sampling(floor_hz=1.0, ceiling_hz=1.0, motion=False, scene_cuts=False),
    "default: 0.5 to 4 frames/s": Sampling(),
    "key frames only": Sampling(keyframes_only=True),
}


def material(folder: Path, seconds: int, names: Iterable[str]) -> dict[str, Path]:
    """One film per codec and size, made once per folder."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = folder / f"scene-{seconds}.mp4"
    if not scene.exists():
        street = replace(DEMONSTRATION.shots[0], end=float(seconds))
        render(scene, film=replace(DEMONSTRATION, shots=(street,), fps=25.0))
    films = {}
    for name in names:
        codec, size = name.split("-")
        width, height, rate = SIZES[size]
        encoder, preset = CODECS[codec]
        films[name] = path = folder / f"{name}-{seconds}.mp4"
        if path.exists():
            continue
        rate = rate // 2 if codec == "hevc" else rate
        picture = f"scale={width}:{height}:flags=lanczos,noise=alls=7:allf=t+u,format=yuv420p"
        how = ["-c:v", encoder, "-preset", preset, "-g", "50", "-bf", "0", "-b:v", f"{rate}k"]
        how += ["-maxrate", f"{rate}k", "-bufsize", f"{2 * rate}k", "-tag:v", "hvc1" if codec == "hevc" else "avc1"]
        part = path.with_suffix(".part.mp4")
        quiet = ["ffmpeg", "-v", "error", "-y", "-i", str(scene), "-vf", picture, *how, "-c:a", "aac", str(part)]
        subprocess.run([*quiet[:-1], "-movflags", "+faststart", quiet[-1]], check=True)
        part.rename(path)
    return films


def spent() -> float:
    """CPU-seconds of this process and of the children that have ended."""
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in both)


def command(*line: str) -> float:
    before = spent()
    environment = {**os.environ, "OPENCV_FFMPEG_CAPTURE_OPTIONS": "threads;1"}
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return spent() - before


def bare(film: Path, *before: str) -> Cost:
    """The ffmpeg binary, one thread, every track decoded to nothing."""
    start = command("ffmpeg", "-threads", "1", "-i", str(film), "-t", "0.01", "-f", "null", "-")
    return Cost(command("ffmpeg", "-threads", "1", *before, "-i", str(film), "-f", "null", "-") - start)


def opencv(film: Path) -> Cost:
    return Cost(command(sys.executable, "-c", READ_ALL, str(film)) - command(sys.executable, "-c", NOTHING))


def ours(film: Path, sampling: Sampling) -> Cost:
    """One decoder child on its live path, and this process as its supervisor."""
    with tempfile.TemporaryDirectory() as folder:
        task = {
            "stream": "cam", "live": True, "epoch": 0, "starts_at": 0, "sampling": asdict(sampling), "audio": True,
            "resume": None, "heard": None, "skip": None, "folder": folder, "segment_s": 10.0,
        }  # fmt: skip
        details = {"source": source_details(parse(str(film)), ()), "task": task}
        before = spent()
        frames = segments = 0
        start, memory = 0.0, (0.0, 0.0)
        with Decoder("capture", details, Limits()) as decoder:
            while True:
                message = decoder.receive(60)
                frames += isinstance(message, Frame)
                if isinstance(message, Segment):
                    segments += 1
                    memory = held_by(decoder.pid) or memory
                if isinstance(message, tuple) and message[0] == "open":
                    start = used_by(decoder.pid)
                elif isinstance(message, tuple) and message[0] == "done":
                    break
        return Cost(spent() - before - start, *memory, frames, segments, start)


def used_by(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def held_by(pid: int) -> tuple[float, float] | None:
    """MB resident at most, and MB that are its own alone; None when it has ended."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    if "VmHWM" not in lines:
        return None
    return int(lines["VmHWM"].split()[0]) / 1024, int(lines["RssAnon"].split()[0]) / 1024


def least(run: Callable[[], Cost], rounds: int) -> Cost:
    return min((run() for _ in range(rounds)), key=lambda cost: cost.cpu)


def table(film: Path, seconds: int, rounds: int) -> None:
    scale = HOUR / seconds
    floor = least(lambda: bare(film), rounds)
    others = {
        "OpenCV, every picture read and resized": least(lambda: opencv(film), rounds),
        "ffmpeg, key frames only": least(lambda: bare(film, "-skip_frame", "nokey"), rounds),
    }
    print("| | CPU-s per hour | of bare decoding | cameras per core | MB resident (own) | frames/s |")
    print("|---|---|---|---|---|---|")
    print(f"| ffmpeg, 1 thread, to null | {floor.cpu * scale:.0f} | 1.00 | {HOUR / (floor.cpu * scale):.1f} | | |")
    for name, cost in others.items():
        print(f"| {name} | {cost.cpu * scale:.0f} | {cost.cpu / floor.cpu:.2f} | {seconds / cost.cpu:.1f} | | |")
    for name, sampling in POLICIES.items():
        cost = least(lambda sampling=sampling: ours(film, sampling), rounds)
        held = f"{cost.resident:.0f} ({cost.own:.0f})"
        print(
            f"| **ingest, {name}** | {cost.cpu * scale:.0f} | {cost.cpu / floor.cpu:.2f} "
            f"| {seconds / cost.cpu:.1f} | {held} | {cost.frames / seconds:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--material", type=Path, help="folder where the films are kept between runs")
    parser.add_argument("--only", action="append", help="codec-size, such as h264-1080p")
    options = parser.parse_args()
    names = options.only or [f"{codec}-{size}" for codec, size in itertools.product(CODECS, SIZES)]
    with tempfile.TemporaryDirectory() as temporary:
        films = material(options.material or Path(temporary), options.seconds, names)
        for name, film in films.items():
            rate = film.stat().st_size * 8 / options.seconds / 1e6
            print(f"\n### {name}, 25 pictures a second, {rate:.1f} Mbit/s\n")
            table(film, options.seconds, options.rounds)


if __name__ == "__main__":
    main()
