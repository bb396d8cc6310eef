"""Ingest: CPU-seconds per hour of video, beside bare decoding of the same file, OpenCV, and key frames alone.

    python -m benchmarks.ingest [--seconds 60] [--material FOLDER] [--only h264-720p] [--goals | --profile]

The material is the rendered street at 25 pictures a second with a camera's noise, a key frame every two seconds and
AAC sound, at a camera's bitrates: a minute of it, three times over. It begins half a second into its own time, so that
frames fall half-way between key frames and not on them. Ours is the service's own decoder child on its live path
(decode, motion gating, listening, recording with every flush) plus what its parent spends on taking frames in; the file
stands in for the network. Of each contender, the cost of the film's first 20 seconds is subtracted from that of the
whole: what a process costs to start and to end (a fifth of a second of ours, once per connection) is in neither. Every
contender runs in turns with bare decoding, `--rounds` times, and is compared with the run just before its own; told are
the median, the least and the most of these ratios, and the ratio of the least costs: what else a machine does only adds
to a cost. `--goals` measures, of every film, what is aimed at. `-b` has three B-frames between others, as encoders that
are no cameras make them; `-still` is one picture with a camera's noise, for what rest saves.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ingest.child import Decoder, source_details
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.records import Frame, Segment
from ingest.sampling import Sampling
from ingest.scene import DEMONSTRATION, render
from ingest.sources import parse

CODECS = {"h264": ("libx264", "veryfast"), "hevc": ("libx265", "superfast")}
SIZES = {"1080p": (1920, 1080, 4000), "720p": (1280, 720, 2000)}
"""Width, height, kilobits a second of H.264; HEVC gets half."""
KINDS = ("h264-1080p", "h264-720p", "hevc-1080p", "hevc-720p", "h264-720p-b", "h264-720p-still")
APART = ("-output_ts_offset", "0.5")
SCENE = 60
LENGTH = 180
"""Seconds of the scene, and of every film: the same some times over. Of shorter ones, what a process costs to start,
never twice the same, is too much of what is compared."""
BEGINNING = 20
"""Seconds of the film that are subtracted: a stream rests after ten without movement, and a segment ends after ten."""
HOUR = 3600.0
_TRIES = 3
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
DECODE_ALL = """
import sys, av
with av.open(sys.argv[1]) as film:
    film.streams.video[0].codec_context.thread_count = 1
    for packet in film.demux(film.streams.video[0], film.streams.audio[0]):
        packet.decode()
"""


class Shed(Exception):
    """Ours has given up pictures because it was kept from running: what it then costs is not what is asked."""


@dataclass(frozen=True)
class Cost:
    """CPU-seconds of one run, and what it held: MB resident, MB of them its own; frames and segments it gave."""

    cpu: float
    resident: float = 0.0
    own: float = 0.0
    frames: float = 0
    segments: int = 0


POLICIES = {
    "1 frame/s, motion gated": Sampling(floor_hz=0.5, ceiling_hz=1.0),
    "1 frame/s, no gate": Sampling(floor_hz=1.0, ceiling_hz=1.0, motion=False, scene_cuts=False),
    "default: 0.5 to 4 frames/s": Sampling(),
    "adaptive, 0.5 to 4 frames/s": Sampling(rests=True),
    "scene cuts, 0.5 frame/s": Sampling(motion=False),
    "key frames only": Sampling(keyframes_only=True),
}
AIMED = ("1 frame/s, motion gated", "key frames only")
AIMED_AT_REST = ("1 frame/s, motion gated", "adaptive, 0.5 to 4 frames/s")
HEAD = """
| | CPU-s per hour | of bare decoding (least to most) | by the least costs | cameras per core | MB (own) | frames/s |
|---|---|---|---|---|---|---|"""


def material(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """One film per codec and size, made once per folder."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = folder / f"scene-{SCENE}.mp4"
    if not scene.exists():
        street = replace(DEMONSTRATION.shots[0], end=float(SCENE))
        render(scene, film=replace(DEMONSTRATION, shots=(street,), fps=25.0))
    films = {}
    for name in names:
        films[name] = path = folder / f"{name}-{LENGTH}.mp4"
        if not path.exists():
            once, part = path.with_suffix(".once.mp4"), path.with_suffix(".part.mp4")
            encode(scene, once, *name.split("-"))
            copy(once, part, "-stream_loop", str(LENGTH // SCENE - 1))
            once.unlink()
            part.rename(path)
    return films


def encode(scene: Path, film: Path, codec: str, size: str, kind: str = "") -> None:
    """What a camera would send of the scene."""
    width, height, rate = SIZES[size]
    encoder, preset = CODECS[codec]
    rate = rate // 2 if codec == "hevc" else rate
    picture = f"scale={width}:{height}:flags=lanczos,noise=alls=7:allf=t+u,format=yuv420p"
    picture = f"loop=loop=-1:size=1,trim=duration={SCENE},{picture}" if kind == "still" else picture
    how = ["-c:v", encoder, "-preset", preset, "-g", "50", "-bf", "3" if kind == "b" else "0", "-b:v", f"{rate}k"]
    how += ["-maxrate", f"{rate}k", "-bufsize", f"{2 * rate}k", "-tag:v", "hvc1" if codec == "hevc" else "avc1"]
    how += ["-c:a", "aac", *APART]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(scene), "-vf", picture, *how, str(film)], check=True)


def beginning(film: Path, seconds: int) -> Path:
    """The first seconds of a film, as they are."""
    if seconds >= LENGTH:
        return film
    path = film.with_name(f"{film.stem}-first-{seconds}.mp4")
    if not path.exists():
        copy(film, path, "-t", str(seconds))
    return path


def copy(film: Path, to: Path, *before: str) -> None:
    """The packets as they are."""
    how = ["-c", "copy", "-movflags", "+faststart", *APART]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *before, "-i", str(film), *how, str(to)], check=True)


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
    return Cost(command("ffmpeg", "-threads", "1", *before, "-i", str(film), "-f", "null", "-"))


def keys_alone(film: Path) -> Cost:
    return bare(film, "-skip_frame", "nokey")


def opencv(film: Path) -> Cost:
    return Cost(command(sys.executable, "-c", READ_ALL, str(film)))


def pyav(film: Path) -> Cost:
    return Cost(command(sys.executable, "-c", DECODE_ALL, str(film)))


def job(film: Path, sampling: Sampling, folder: str) -> dict[str, Any]:
    """What the supervisor of a live stream asks its child for."""
    task = {
        "stream": "cam", "live": True, "epoch": 0, "starts_at": 0, "sampling": asdict(sampling), "audio": True,
        "resume": None, "heard": None, "skip": None, "folder": folder, "segment_s": 10.0,
    }  # fmt: skip
    return {"source": source_details(parse(str(film)), Guard([])), "task": task}


def ours(film: Path, sampling: Sampling) -> Cost:
    """One decoder child on its live path, and this process as its supervisor."""
    with tempfile.TemporaryDirectory() as folder:
        details = job(film, sampling, folder)
        before = spent()
        frames = segments = 0
        memory, looking = (0.0, 0.0), 0.0
        with Decoder("capture", details, Limits()) as decoder:
            while True:
                message = decoder.receive(60)
                frames += isinstance(message, Frame)
                if isinstance(message, tuple) and message[0] == "frugal" and message[1] != "nothing":
                    raise Shed
                if isinstance(message, Segment):
                    segments += 1
                    began = spent()
                    memory = held_by(decoder.pid) or memory
                    looking += spent() - began
                if isinstance(message, tuple) and message[0] == "done":
                    break
    return Cost(spent() - before - looking, *memory, frames, segments)


def held_by(pid: int) -> tuple[float, float] | None:
    """MB resident at most, and MB that are its own alone; None when it has ended."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    if "VmHWM" not in lines:
        return None
    return int(lines["VmHWM"].split()[0]) / 1024, int(lines["RssAnon"].split()[0]) / 1024


def net(film: Path, seconds: int, run: Callable[[Path], Cost]) -> Cost:
    """Of so much of the film, without its beginning; for one second."""
    whole, less = run(beginning(film, seconds)), run(beginning(film, BEGINNING))
    rest = seconds - BEGINNING
    return replace(whole, cpu=(whole.cpu - less.cpu) / rest, frames=round((whole.frames - less.frames) / rest, 2))


@dataclass(frozen=True)
class Row:
    """The median cost for one second of video, and of bare decoding: its shares, one a round, the lowest first; and the
    share of its least cost in the least."""

    cost: Cost
    shares: list[float]
    least: float = 1.0


class Beside:
    """Contenders on one film, each in turns with bare decoding: what else the machine does falls on both alike."""

    def __init__(self, film: Path, seconds: int, rounds: int) -> None:
        self._film, self._seconds, self._rounds = film, seconds, rounds
        self.bare: list[float] = []

    def row(self, run: Callable[[Path], Cost]) -> Row:
        """What it costs, in turns with bare decoding."""
        pairs = []
        for _ in range(self._rounds):
            self.bare.append(net(self._film, self._seconds, bare).cpu)
            pairs.append((self._undisturbed(run), self.bare[-1]))
        costs = [cost.cpu for cost, _ in pairs]
        shares = sorted(cost.cpu / beside for cost, beside in pairs)
        least = min(costs) / min(beside for _, beside in pairs)
        return Row(replace(pairs[-1][0], cpu=statistics.median(costs)), shares, least)

    def _undisturbed(self, run: Callable[[Path], Cost]) -> Cost:
        for _ in range(_TRIES):
            with suppress(Shed):
                return net(self._film, self._seconds, run)
        raise SystemExit("The machine is so busy that ours gives up pictures: measure when it is quiet.")


def table(film: Path, seconds: int, rounds: int) -> None:
    contenders: dict[str, Callable[[Path], Cost]] = {
        "PyAV's own libav, everything decoded": pyav,
        "OpenCV, every picture read and resized": opencv,
        "ffmpeg, key frames only": keys_alone,
    }
    contenders |= {f"**ingest, {name}**": partial(ours, sampling=sampling) for name, sampling in POLICIES.items()}
    print(HEAD)
    beside = Beside(film, seconds, rounds)
    for name, run in contenders.items():
        print(line(name, beside.row(run)), flush=True)
    print(line("ffmpeg, 1 thread, to null", Row(Cost(statistics.median(beside.bare)), [])))


def goals(films: dict[str, Path], seconds: int, rounds: int) -> None:
    """What is aimed at, of every film: at most 1.15 of bare decoding, a fifth of it for key frames, little at rest."""
    print(HEAD)
    for name, film in films.items():
        beside = Beside(film, seconds, rounds)
        for policy in AIMED_AT_REST if kind_of(film) == "still" else AIMED:
            row = beside.row(partial(ours, sampling=POLICIES[policy]))
            print(line(f"{name}: {policy}", row), flush=True)
        print(line(f"{name}: bare", Row(Cost(statistics.median(beside.bare)), [])), flush=True)


def line(name: str, row: Row) -> str:
    cost, shares = row.cost, row.shares
    spread = f"{statistics.median(shares):.2f} ({shares[0]:.2f} to {shares[-1]:.2f})" if shares else "1"
    held = f"{cost.resident:.0f} ({cost.own:.0f}) | {cost.frames:.2f}" if cost.resident else "|"
    return f"| {name} | {cost.cpu * HOUR:.0f} | {spread} | {row.least:.2f} | {1 / cost.cpu:.1f} | {held} |"


def kind_of(film: Path) -> str:
    """`still` of h264-720p-still-60."""
    return film.stem.split("-")[-2]


def profile(film: Path) -> None:
    """Where the time of one child goes, function by function."""
    import cProfile
    import pstats

    from ingest import reading

    os.dup2(os.pipe()[0], 0)  # a standard input at which nobody asks to end
    with tempfile.TemporaryDirectory() as folder, cProfile.Profile() as watched:
        reading.job(job(film, POLICIES["1 frame/s, motion gated"], folder), Limits(), lambda _message: None)
    pstats.Stats(watched).sort_stats("tottime").print_stats(16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=LENGTH, help=f"of the film that are measured, at most {LENGTH}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--material", type=Path, help="folder where the films are kept between runs")
    parser.add_argument("--only", action="append", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("--goals", action="store_true", help="one table of what is aimed at, instead of one a film")
    parser.add_argument("--profile", action="store_true", help="where the time goes, instead of the tables")
    options = parser.parse_args()
    if not 2 * BEGINNING <= options.seconds <= LENGTH or options.rounds < 1:
        parser.error(f"--seconds lies between {2 * BEGINNING} and {LENGTH}, and --rounds is at least 1.")
    with tempfile.TemporaryDirectory() as temporary:
        films = material(options.material or Path(temporary), options.only or KINDS)
        if options.goals:
            goals(films, options.seconds, options.rounds)
            return
        for name, film in films.items():
            rate = film.stat().st_size * 8 / LENGTH / 1e6
            print(f"\n### {name}, 25 pictures a second, {rate:.1f} Mbit/s\n")
            profile(film) if options.profile else table(film, options.seconds, options.rounds)


if __name__ == "__main__":
    main()
