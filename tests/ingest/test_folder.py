"""A watched folder: every file once, when it is finished, each where it belongs, also over a restart."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.capture import CapturePlan
from ingest.clock import FakeClock, SystemClock
from ingest.errors import NotVideo
from ingest.folders import Tree
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.probe import MediaInfo, probe
from ingest.records import Coverage, Frame, Gap, Mark, Moment, Segment, Span, StateChange, seconds
from ingest.sampling import Sampling
from ingest.sources import SourceSpec, parse
from tests.ingest.conftest import STREAM, Harvest
from tests.media import Clip, make, number_in

QUICK = Limits(settle_s=0.6)
EVERY = Sampling(floor_hz=5, ceiling_hz=5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "incoming"
    made.mkdir()
    return made


def put(source: Path, folder: Path, name: str, minutes_ago: float) -> Path:
    """A file that was finished so long ago."""
    path = folder / name
    shutil.copy(source, path)
    then = time.time() - 60 * minutes_ago
    os.utime(path, (then, then))
    return path


def plan(folder: Path, **more: object) -> CapturePlan:
    return CapturePlan(STREAM, parse(str(folder)), sampling=EVERY, **more)  # type: ignore[arg-type]


def read(made: Harvest, count: int) -> None:
    made.wait(lambda: [f"Files read: {count};" in change.detail for change in made.of(StateChange)[-1:]] == [True])


def test_files_become_footage_of_one_stream_each_where_it_was_filmed(
    clips: Path, folder: Path, harvest: Callable[..., Harvest]
) -> None:
    made = harvest(QUICK)
    put(clips / "ten.mkv", folder, "second.mkv", 10)
    put(clips / "ten.mp4", folder, "first.mp4", 20)
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_bytes(b"x")
    (folder / "unfinished.mp4.part").write_bytes(b"x")
    made.fleet.start(plan(folder))
    read(made, 2)
    put(clips / "ten.ts", folder, "third.ts", 0)
    read(made, 3)
    time.sleep(1.5)
    made.halt()
    frames = made.of(Frame)
    assert [sum(frame.epoch == epoch for frame in frames) for epoch in (0, 1, 2)] == [pytest.approx(50, abs=2)] * 3
    names = [Path(segment.path).name for segment in made.of(Segment)]
    assert names == ["first.mp4", "second.mkv", "third.ts"]
    for segment in made.of(Segment):
        assert segment.span.end == pytest.approx(seconds(Path(segment.path).stat().st_mtime), abs=seconds(1))
        assert not segment.owned
    for frame in frames:
        start = made.of(Segment)[frame.epoch].span.start
        assert frame.moment - start == pytest.approx(number_in(frame.pixels) * 40_000, abs=1000)
    assert {coverage.epoch for coverage in made.of(Coverage)} == {0, 1, 2}


def test_a_file_that_is_still_written_is_waited_for(clips: Path, folder: Path, harvest: Callable[..., Harvest]) -> None:
    """By a clock that stands while it is written and looked at: no pause of this machine is taken for the writer's."""
    clock, data = FakeClock(), (clips / "ten.mp4").read_bytes()
    made = harvest(Limits(settle_s=2.5), clock=clock)
    made.fleet.start(plan(folder))

    def looked() -> bool:
        supervisor: Any = made.fleet._running[STREAM]
        return bool(supervisor._there == clock.now())

    with (folder / "slow.mp4").open("wb", buffering=0) as file:
        for part in range(3):
            file.write(data[part * len(data) // 3 : (part + 1) * len(data) // 3])
            for _ in range(2):  # the second look has begun after the first
                clock.advance(1.2)
                made.wait(looked)
    assert not made.of(Frame)
    assert not any("slow.mp4" in change.detail for change in made.of(StateChange)), "nor was it tried"
    clock.advance(2.5)
    read(made, 1)
    made.wait(lambda: len(made.of(Frame)) >= 48)  # pictures come by a queue of their own
    assert len(made.of(Frame)) == pytest.approx(50, abs=2)


def test_a_file_of_no_use_is_named_and_read_once_it_is_whole(
    clips: Path, folder: Path, harvest: Callable[..., Harvest]
) -> None:
    """A copy that stopped half way looks finished; when it goes on it is read after all. Others are not held up."""
    made, data = harvest(QUICK), (clips / "ten.mp4").read_bytes()
    (folder / "half.mp4").write_bytes(data[: len(data) // 2])
    made.fleet.start(plan(folder))
    made.wait(lambda: any("half.mp4: " in change.detail for change in made.of(StateChange)))
    put(clips / "ten.mkv", folder, "whole.mkv", 0)
    read(made, 1)
    made.wait(lambda: "1 could not be read, the last half.mp4: " in made.of(StateChange)[-1].detail)
    (folder / "half.mp4").write_bytes(data)
    read(made, 2)
    made.wait(lambda: made.of(StateChange)[-1].detail == "Files read: 2; waiting for more.")
    assert {frame.epoch for frame in made.of(Frame)} == {0, 1}


def test_files_that_go_while_they_are_looked_at_and_links_to_nowhere_hold_nothing_up(
    clips: Path, folder: Path, harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone clears the folder just when a file is opened, or when it was found to be of no use."""
    made = harvest(QUICK)

    def probed(spec: SourceSpec, guard: Guard) -> MediaInfo:
        if spec.location.endswith("cleared.mp4"):
            Path(spec.location).unlink()
            raise NotVideo("There is no video in it.", advice="Check the file.")
        info = probe(spec, guard)
        if spec.location.endswith("moved.mp4"):
            Path(spec.location).unlink()
        return info

    monkeypatch.setattr("ingest.supervise_folder.probe", probed)
    (folder / "nowhere.mp4").symlink_to(folder / "gone")
    put(clips / "ten.mp4", folder, "cleared.mp4", 30)
    put(clips / "ten.mp4", folder, "moved.mp4", 20)
    put(clips / "ten.mkv", folder, "stays.mkv", 10)
    made.fleet.start(plan(folder))
    read(made, 1)
    made.wait(lambda: len(made.of(Frame)) >= 48)  # pictures come by a queue of their own
    assert len(made.of(Frame)) == pytest.approx(50, abs=2)
    assert "offline" not in made.states()
    made.wait(lambda: made.of(StateChange)[-1].detail == "Files read: 1; waiting for more.")


def test_a_file_from_before_what_is_remembered_stands_behind_it(
    clips: Path, folder: Path, harvest: Callable[..., Harvest]
) -> None:
    made = harvest(QUICK)
    put(clips / "ten.mp4", folder, "new.mp4", 1)
    made.fleet.start(plan(folder))
    read(made, 1)
    put(clips / "ten.mkv", folder, "old.mkv", 100)
    read(made, 2)
    new, old = made.of(Segment)
    assert old.span.start >= new.span.end
    assert any("stands behind it" in change.detail for change in made.of(StateChange))


def test_after_a_restart_only_what_is_not_remembered_is_read(
    clips: Path, folder: Path, harvest: Callable[..., Harvest]
) -> None:
    """Killed within the second of three files: the first is left alone, the second read on, the third read."""
    put(make(folder.parent / "long.mp4", Clip(seconds=32)), folder, "a.mp4", 30)
    put(clips / "long.mp4", folder, "b.mp4", 20)
    put(clips / "ten.mkv", folder, "c.mkv", 10)
    before = harvest(QUICK)
    before.fleet.start(plan(folder))
    read(before, 3)
    before.halt()
    whole = before.of(Frame)
    middle = next(frame for frame in whole if frame.epoch == 1 and number_in(frame.pixels) >= 600)
    mark = Mark(1, middle.pts, middle.moment)
    taken = tuple(before.of(Segment)[:2])
    after = harvest(QUICK)
    after.fleet.start(plan(folder, resume=mark, heard=mark, taken=taken))
    read(after, 3)
    after.halt()
    again = {frame.key for frame in after.of(Frame)}
    assert {frame.epoch for frame in after.of(Frame)} == {1, 2}
    assert again <= {frame.key for frame in whole}, "the same frames have the same keys"
    assert {frame.key for frame in whole if (frame.epoch, frame.pts) > (1, middle.pts)} <= again
    assert min(frame.pts for frame in after.of(Frame) if frame.epoch == 1) > middle.pts - seconds(6)


def test_a_file_that_takes_the_name_of_another_is_read_too(
    clips: Path, folder: Path, harvest: Callable[..., Harvest]
) -> None:
    """Cameras that begin again with the first name when they have used the last; also while nobody looked."""
    first = put(clips / "ten.mkv", folder, "a.mkv", 30)
    made = harvest(Limits(settle_s=0.2))
    made.fleet.start(plan(folder))
    read(made, 1)
    shutil.copy(clips / "long.mp4", folder / "next.part")
    (folder / "next.part").rename(first)
    made.wait(lambda: {one.epoch for one in made.of(Segment)} == {0, 1})
    read(made, 1)
    made.halt()
    told = made.of(Segment)
    assert [(one.path, one.size) for one in told[1:]] == [(str(first), (clips / "long.mp4").stat().st_size)]
    again = harvest(Limits(settle_s=0.2))
    mark = Mark(0, 0, told[0].span.end)
    again.fleet.start(plan(folder, resume=mark, heard=mark, taken=(told[0],)))
    again.wait(lambda: bool(again.of(Segment)))
    again.halt()
    assert (again.of(Segment)[0].epoch, again.of(Segment)[0].size) == (1, first.stat().st_size)


def test_folders_that_cameras_make_by_date_are_watched_too(
    clips: Path, folder: Path, harvest: Callable[..., Harvest]
) -> None:
    """Also one that comes later. What was read and is then moved, linked, or thrown into a bin is not read again."""
    made, day = harvest(QUICK), folder / "2026" / "11" / "26"
    day.mkdir(parents=True)
    put(clips / "ten.mp4", day, "first.mp4", 20)
    (folder / "@eaDir").mkdir()
    put(clips / "ten.mp4", folder / "@eaDir", "of-the-server.mp4", 20)
    (folder / "round").symlink_to(folder)
    made.fleet.start(plan(folder))
    read(made, 1)
    (day.parent / "27").mkdir()
    put(clips / "ten.mkv", day.parent / "27", "second.mkv", 10)
    read(made, 2)
    (folder / "kept").mkdir()
    (day / "first.mp4").rename(folder / "kept" / "renamed.mp4")
    (folder / "kept" / "again.mkv").symlink_to(day.parent / "27" / "second.mkv")
    put(clips / "ten.ts", folder, "third.ts", 0)
    read(made, 3)
    made.halt()
    segments = made.of(Segment)
    assert [Path(segment.path).name for segment in segments] == ["first.mp4", "second.mkv", "third.ts"]
    after = harvest(QUICK)
    newest = segments[-1]
    mark = Mark(newest.epoch, 0, newest.span.end)
    after.fleet.start(plan(folder, resume=mark, heard=mark, taken=tuple(segments)))
    put(clips / "ten.ts", day, "fourth.ts", 0)
    after.wait(lambda: any(Path(one.path).name == "fourth.ts" for one in after.of(Segment)))
    after.halt()
    again = {Path(one.path).name for one in after.of(Segment)}
    assert again <= {"third.ts", "fourth.ts", "renamed.mp4"}, "of what was moved before, only its old name is known"


def test_a_year_of_files_is_not_listed_again_and_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what changed is, and everything once a minute, where a disk does not say that something did."""
    clock, listed = FakeClock(), list[str]()
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path).rpartition("/")[2]) or scan(path))
    for day in ("one", "two"):
        (folder / day).mkdir()
        (folder / day / "a.mp4").write_bytes(b"x")
        os.utime(folder / day, (1, 1))
    os.utime(folder, (1, 1))
    tree = Tree(clock)
    assert {path.parent.name for path in tree.changed(folder)} == {"one", "two"}
    assert sorted(listed) == ["incoming", "one", "two"]
    assert tree.changed(folder) == []
    (folder / "two" / "b.mp4").write_bytes(b"x")
    assert {path.name for path in tree.changed(folder)} == {"a.mp4", "b.mp4"}
    assert listed[3:] == ["two"]
    (folder / "one" / "late.mp4").write_bytes(b"x")
    os.utime(folder / "one", (1, 1))
    assert tree.changed(folder) == []
    clock.advance(61)
    assert len(tree.changed(folder)) == 4
    shutil.rmtree(folder / "one")
    assert {path.parent.name for path in tree.changed(folder)} <= {"two"}
    shutil.rmtree(folder)
    with pytest.raises(OSError, match="No such file"):
        tree.changed(folder)


def test_a_disk_that_was_unmounted_is_offline_though_its_empty_folder_is_there(
    clips: Path, folder: Path, harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = [7]
    monkeypatch.setattr("ingest.supervise_folder._disk", lambda _: disk[0])
    made = harvest(QUICK)
    path = put(clips / "ten.mp4", folder, "a.mp4", 20)
    made.fleet.start(plan(folder))
    read(made, 1)
    path.rename(folder.parent / "a.mp4")
    disk[0] = 1
    made.wait(lambda: made.states()[-1] == "offline")
    assert "mounted" in made.of(StateChange)[-1].detail
    disk[0] = 7
    (folder.parent / "a.mp4").rename(path)
    read(made, 1)
    path.unlink()  # by whoever tidies up
    put(clips / "ten.ts", folder, "b.ts", 0)
    read(made, 2)
    made.halt()
    assert made.states().count("offline") == 1
    assert {gap.reason for gap in made.of(Gap)} == {"offline"}


@pytest.mark.parametrize("there", [True, False])
def test_a_disk_that_was_not_mounted_when_the_service_started_is_told_and_read_on_when_it_is(
    there: bool, clips: Path, folder: Path, harvest: Callable[..., Harvest]
) -> None:
    """Its folder is empty, or is not there; what was read of it is neither forgotten nor read anew."""
    path, start = folder / "a.mp4", Moment(seconds(1_700_000_000))
    size = (clips / "ten.mp4").stat().st_size
    taken = Segment(STREAM, 0, Span(start, Moment(start + seconds(10))), str(path), size, owned=False)
    mark = Mark(0, seconds(5), Moment(start + seconds(5)))
    source = parse(str(folder))
    if not there:
        folder.rmdir()
    made = harvest(QUICK)
    made.fleet.start(CapturePlan(STREAM, source, sampling=EVERY, resume=mark, heard=mark, taken=(taken,)))
    made.wait(lambda: made.states()[-1:] == ["offline"])
    assert str(folder) in made.of(StateChange)[-1].detail
    assert "mounted" in made.of(StateChange)[-1].detail or not there
    folder.mkdir(exist_ok=True)
    put(clips / "ten.mp4", folder, "a.mp4", 20)
    made.wait(lambda: made.states()[-1] == "live")
    made.halt()
    assert {frame.epoch for frame in made.of(Frame)} == {0}
    assert max(frame.pts for frame in made.of(Frame)) > seconds(9)
    assert min(frame.pts for frame in made.of(Frame)) > 0
    assert {gap.reason for gap in made.of(Gap)} == {"offline"}


def test_a_folder_that_is_gone_is_offline_until_it_is_back(
    clips: Path, folder: Path, harvest: Callable[..., Harvest]
) -> None:
    made = harvest(QUICK)
    made.fleet.start(plan(folder))
    made.wait(lambda: made.states()[-1:] == ["live"])
    there = SystemClock().now()
    folder.rename(folder.with_name("away"))
    made.wait(lambda: made.states()[-1:] == ["offline"])
    gone = SystemClock().now()
    made.wait(lambda: {gap.reason for gap in made.of(Gap)} == {"offline"})
    time.sleep(2)
    folder.with_name("away").rename(folder)
    back = SystemClock().now()
    put(clips / "ten.mp4", folder, "a.mp4", Moment(0))
    read(made, 1)
    assert len({gap.key for gap in made.of(Gap)}) == 1, "one gap, which grows"
    told = made.of(Gap)[-1]
    assert there - seconds(10) < told.span.start <= gone
    assert back <= told.span.end <= next(one.at for one in made.of(StateChange) if one.at >= back)
    assert str(folder) in told.detail
