"""Numbers of a live playlist, over random histories: cameras come and go, recordings expire, the service restarts."""

from __future__ import annotations

import os
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from api.footage import Footage
from api.playlist import LONGEST, STEP, Playlists
from api.settings import Settings
from ingest.clock import FakeClock
from ingest.errors import NotFound
from ingest.ledger import Ledger
from ingest.records import Coverage, Moment, Segment, Span, StreamId, seconds
from memory import migrations
from memory.memory import Memory
from memory.store import Database, StreamRow
from tests.api.test_playlist import START, record
from tests.media import Clip, make

CAM = StreamId("cam")


@dataclass
class Listed:
    """What a player makes of a playlist, by RFC 8216: each segment's number, its discontinuity number, its address."""

    sequence: int
    breaks: int
    segments: dict[int, tuple[int, str]] = field(default_factory=dict)
    gaps: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, text: str) -> Listed:
        sequence, start = (int(number) for number in re.findall(r"-SEQUENCE:(\d+)", text))
        found = cls(sequence, start)
        number, breaks, gap, longest = found.sequence, found.breaks, False, 0.0
        for line in text.splitlines():
            breaks += line == "#EXT-X-DISCONTINUITY"
            gap |= line == "#EXT-X-GAP"
            if line.startswith("#EXTINF:"):
                longest = max(longest, float(line[8:].rstrip(",")))
            if line and not line.startswith("#"):
                if gap:
                    found.gaps.add(number)
                else:
                    found.segments[number] = breaks, line
                number, gap = number + 1, False
        assert round(longest) <= int(re.findall(r"TARGETDURATION:(\d+)", text)[0])
        return found


class Camera:
    """What is recorded, and an account of its own of what each segment is."""

    def __init__(self, folder: Path, film: Path, rng: random.Random) -> None:
        self.folder, self.film, self.rng = folder, film, rng
        self.clock = FakeClock(START)
        self.epoch, self.breaks, self.at = 0, 0, START
        self.truth: dict[str, tuple[int, int]] = {}
        self.there: dict[str, Segment] = {}
        self.settings = Settings(data=folder)
        self.open()

    def open(self) -> None:
        self.memory = Memory.open(self.folder, encoder="e", dim=4, ledger=Ledger(), clock=self.clock)
        if not self.memory.store.streams.all():
            self.memory.store.streams.add(StreamRow(CAM, "cam", "live", "rtsp://c/1", "", "live", "", START))
        self.row = self.memory.store.streams.get(CAM)
        footage = Footage(self.memory.recordings, self.settings)
        self.playlists = Playlists(self.memory.recordings, footage, cast("Any", None), self.clock)

    def restart(self) -> None:
        self.memory.close()
        self.open()

    def append(self) -> None:
        """One segment more: usually it goes on, sometimes after an outage or with a new connection."""
        gone, anew = self.rng.random() < 0.15, self.rng.random() < 0.15
        self.at = Moment(self.at + seconds(self.rng.choice([1, 30, 4000]) if gone else 0))
        self.epoch += anew
        if self.truth:
            self.breaks += gone or anew
        path = self.folder / "recordings" / CAM / f"{self.epoch}-{self.at}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(self.film, path)
        span = Span(self.at, Moment(self.at + seconds(self.rng.uniform(2, 10))))
        segment = Segment(CAM, self.epoch, span, str(path), self.film.stat().st_size)
        name = f"segments/{self.epoch}-{span.start}.m4s"
        self.truth[name], self.there[name] = (len(self.truth), self.breaks), segment
        self.at = span.end
        self.tell(segment)
        if self.rng.random() < 0.2:
            self.tell(segment)  # at least once

    def tell(self, segment: Segment) -> None:
        self.memory.remember.handle([Coverage(CAM, segment.epoch, segment.span), segment])

    def expire(self, *, oldest: bool) -> None:
        names = list(self.there)
        going = names[: self.rng.randint(0, 3)] if oldest else self.rng.sample(names, min(len(names), 3))
        self.memory.recordings.remove([self.there.pop(name) for name in going])

    def listed(self, begin: Moment) -> Listed | None:
        try:
            return Listed.read(self.playlists.write(self.row, Span(begin, self.at), live=True))
        except NotFound:
            return None


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    with pytest.MonkeyPatch.context() as patched:
        (kept, *_) = record(make(folder / "f.mp4", Clip(seconds=1)), folder / "kept", "cam", START, patched)
    return Path(kept.path)


@pytest.mark.parametrize("seed", range(3))
def test_a_segment_s_number_never_changes_and_the_sequence_never_falls(seed: int, film: Path, tmp_path: Path) -> None:
    rng = random.Random(seed)
    camera = Camera(tmp_path / "data", film, rng)
    sequences: dict[Moment, tuple[int, int]] = {START: (0, 0)}
    for _ in range(40):
        step = rng.random()
        if step < 0.65:
            camera.append()
        elif step < 0.9:
            camera.expire(oldest=step < 0.8)
        else:
            camera.restart()
        if rng.random() < 0.05:
            sequences[camera.at] = 0, 0
        for begin, before in sequences.items():
            listed = camera.listed(begin)
            shown = Moment(begin + max(0, camera.at - begin - LONGEST + STEP - 1) // STEP * STEP)
            wanted = {
                camera.truth[name][0]: (camera.truth[name][1], name)
                for name, segment in camera.there.items()
                if segment.span.end > shown
            }
            if listed is None:
                assert not wanted
                continue
            assert listed.segments == wanted, "each has the number that it had from the first"
            assert set(range(min(wanted), max(wanted))) - set(wanted) == listed.gaps
            now = listed.sequence, listed.breaks
            assert now[0] >= before[0]
            assert now[1] >= before[1]
            sequences[begin] = now
    camera.memory.close()
    assert len(camera.truth) > 15


def test_what_comes_after_a_later_one_is_in_no_list_that_goes_on(film: Path, tmp_path: Path) -> None:
    """A list that was given to players has no room for it; one that has an end shows it where it belongs."""
    camera = Camera(tmp_path / "data", film, random.Random(0))
    late = Segment(CAM, 0, Span(START, Moment(START + seconds(5))), str(film.parent / "late.mp4"), film.stat().st_size)
    os.link(film, late.path)
    camera.at = late.span.end
    camera.append()
    before = camera.listed(START)
    camera.tell(late)
    camera.append()
    after = camera.listed(START)
    assert before is not None
    assert after is not None
    assert before.segments.items() <= after.segments.items()
    assert len(after.segments) == 2
    camera.clock.advance(10_000)
    ended = camera.playlists.write(camera.row, Span(START, camera.at), live=False)
    assert ended.endswith("#EXT-X-ENDLIST\n")
    assert re.findall(r"segments/\d+-(\d+).m4s", ended)[0] == str(START)
    assert len(re.findall(r"\.m4s", ended)) == 3
    camera.memory.close()


def test_recordings_of_before_are_numbered_as_if_they_had_always_been(film: Path, tmp_path: Path) -> None:
    camera = Camera(tmp_path / "data", film, random.Random(3))
    for _ in range(40):
        camera.append()
    before = camera.listed(START)
    camera.memory.close()
    database = Database(f"sqlite:///{tmp_path / 'data' / 'hindsight.db'}")
    migrations.upgrade(database, back_to="0009")
    database.close()
    camera.open()
    assert before is not None
    assert before == camera.listed(START)
    camera.append()
    after = camera.listed(START)
    assert after is not None
    assert before.segments.items() < after.segments.items()
    assert after.segments == {number: (breaks, name) for name, (number, breaks) in camera.truth.items()}
    camera.memory.close()
