"""A camera changes the size of its picture, or its sound is turned on, amid a recording: a player is told of both."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import av
import pytest

from api.footage import Footage
from api.playlist import Playlists, media
from api.settings import Settings
from ingest import reading
from ingest.child import source_details
from ingest.clock import FakeClock
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.limits import Limits
from ingest.orders import Orders, changed
from ingest.records import Coverage, Moment, Segment, Span, StreamId, seconds
from ingest.sampling import Sampling
from ingest.sources import parse
from memory.blobs import DiskBlobs
from memory.memory import Memory, MemoryOptions
from memory.store import StreamRow
from tests.api.test_numbers import Listed
from tests.media import Clip, make, numbers_of

CAM = StreamId("cam")
SMALL, LARGE = 96, 192


def of_two_sizes(folder: Path) -> Path:
    """Three seconds of small pictures, then two of large ones, in one stream that is never interrupted."""
    films = [
        make(folder / f"{height}.ts", Clip(seconds=length, gop=25, b_frames=0, width=2 * height, height=height))
        for height, length in ((SMALL // 2, 3), (LARGE // 2, 2))
    ]
    joined = folder / "joined.ts"
    with av.open(str(joined), "w") as container, av.open(str(films[0])) as small, av.open(str(films[1])) as large:
        tracks = {track.type: container.add_stream_from_template(track) for track in small.streams}
        reached = dict.fromkeys(tracks, 0)
        for film, later in ((small, 0), (large, 3 * 90_000)):
            for packet in film.demux():
                kind, dts = packet.stream.type, (packet.dts or 0) + later
                if packet.pts is not None and dts > reached[kind]:  # the sound of the first outlasts its pictures
                    packet.pts, packet.dts, packet.stream = packet.pts + later, dts, tracks[kind]
                    container.mux(packet)
                    reached[kind] = dts
    return joined


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Segment]:
    """What is recorded of it in segments of a second, where its sound is turned on in the second of them."""
    folder, said, asked = tmp_path_factory.mktemp("recorded"), list[Any](), list[int]()
    task = {
        "stream": CAM, "live": True, "epoch": 0, "starts_at": 0, "sampling": asdict(Sampling()), "audio": False,
        "resume": None, "heard": None, "skip": None, "folder": str(folder / "cam"), "segment_s": 1.0,
    }  # fmt: skip

    def end(orders: Orders) -> bool:
        asked.append(0)
        orders.hear(changed(audio=len(asked) > 45, record=True))
        return False

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Orders, "end", end)
        source = source_details(parse(str(of_two_sizes(folder))), Guard([]))
        reading.job({"source": source, "task": task}, Limits(), said.append)
    return [one for one in said if isinstance(one, Segment)]


@pytest.fixture(params=["here", "in the store"])
def memory(request: pytest.FixtureRequest, recorded: list[Segment], tmp_path: Path) -> Iterator[Memory]:
    """Where the recordings lie."""
    (tmp_path / "store").mkdir()
    blobs = DiskBlobs(tmp_path / "store") if request.param == "in the store" else None
    clock = FakeClock(Moment(recorded[-1].span.end + seconds(1000)))
    options = MemoryOptions(blobs=blobs, fetched_bytes=0)
    held = Memory.open(tmp_path / "data", encoder="e", dim=4, ledger=Ledger(), clock=clock, options=options)
    held.store.streams.add(StreamRow(CAM, "cam", "live", "rtsp://c/1", "", "live", "", recorded[0].span.start))
    shutil.copytree(Path(recorded[0].path).parent, tmp_path / "data" / "recordings" / CAM)
    for one in recorded:
        mine = replace(one, path=str(tmp_path / "data" / "recordings" / CAM / Path(one.path).name))
        for _ in range(2):  # at least once
            held.remember.handle([Coverage(CAM, 0, mine.span), mine])
    assert held.recordings.carry() == (len(recorded) if blobs is not None else 0)
    yield held
    held.close()


class Player:
    """What is played of a list between two headers: each as one file, as a player puts it together."""

    def __init__(self, memory: Memory, folder: Path) -> None:
        self.footage = Footage(memory.recordings, Settings(data=folder / "data"))
        self.playlists = Playlists(memory.recordings, self.footage, cast("Any", None), FakeClock(Moment(1 << 60)))
        self.row, self.folder = memory.store.streams.get(CAM), folder

    def text(self, span: Span, *, goes_on: bool) -> str:
        text = self.playlists.write(self.row, span, live=goes_on)
        assert text.endswith("#EXT-X-ENDLIST\n") is not goes_on
        return text

    def play(self, text: str) -> list[tuple[int, bool, list[int]]]:
        """How wide the pictures are, whether there is sound, and which they are."""
        files = list[bytes]()
        for line in text.splitlines():
            if line.startswith("#EXT-X-MAP"):
                name, size = re.findall(r'URI="(\S+)",BYTERANGE="(\d+)@0"', line)[0]
                files.append(Path(self.segment(name).path).read_bytes()[: int(size)])
            elif re.fullmatch(r"segments/\d.*\.m4s", line):
                files[-1] += media(self.segment(line))
        return [self.shown(data) for data in files]

    def cut(self, span: Span) -> tuple[int, bool, list[int]]:
        """The same of a clip."""
        return self.shown(self.footage.clip(self.row, span).path.read_bytes())

    def segment(self, name: str) -> Segment:
        epoch, start = map(int, re.findall(r"\d+", name)[:2])
        return self.playlists.segment(self.row, epoch, Moment(start))

    def shown(self, data: bytes) -> tuple[int, bool, list[int]]:
        path = self.folder / "played.mp4"
        path.write_bytes(data)
        with av.open(str(path)) as played:
            widths = {frame.width for frame in played.decode(video=0)}
        with av.open(str(path)) as played:
            heard = sum(frame.samples for frame in played.decode(audio=0)) if played.streams.audio else 0
        (width,) = widths
        return width, heard > 8_000, numbers_of(path)


SILENT, HEARD, ENLARGED = (SMALL, False, [*range(50)]), (SMALL, True, [*range(50, 75)]), (LARGE, True, [*range(50)])
"""Each begins with another header."""


def test_what_is_recorded_says_where_its_header_changes(recorded: list[Segment]) -> None:
    assert [one.begins_anew for one in recorded] == [True, False, True, True, False]
    assert {one.epoch for one in recorded} == {0}


@pytest.mark.parametrize("goes_on", [False, True])
def test_each_picture_is_played_with_its_own_header(
    goes_on: bool, memory: Memory, recorded: list[Segment], tmp_path: Path
) -> None:
    player = Player(memory, tmp_path)
    text = player.text(Span(recorded[0].span.start, recorded[-1].span.end), goes_on=goes_on)
    assert [breaks for breaks, _ in Listed.read(text).segments.values()] == [0, 0, 1, 2, 2]
    assert player.play(text) == [SILENT, HEARD, ENLARGED]


def test_a_list_that_goes_on_tells_of_a_change_whose_own_segment_is_gone(
    memory: Memory, recorded: list[Segment], tmp_path: Path
) -> None:
    """What is left has the numbers that it had, and the header that goes with it."""
    player, (first, *_, enlarged, _) = Player(memory, tmp_path), memory.store.timeline.segments(CAM)
    span = Span(recorded[0].span.start, recorded[-1].span.end)
    before = Listed.read(player.text(span, goes_on=True))
    memory.recordings.remove([first, enlarged])
    text = player.text(span, goes_on=True)
    after = Listed.read(text)
    assert (after.sequence, after.gaps) == (1, {3})
    assert after.segments.items() < before.segments.items()
    assert player.play(text) == [(SMALL, False, [*range(25, 50)]), HEARD, (LARGE, True, [*range(25, 50)])]
    later = Listed.read(player.text(Span(recorded[-1].span.start, span.end), goes_on=True))
    assert (later.sequence, later.breaks) == (4, 2)


def test_a_clip_over_such_a_border_has_all_pictures_in_the_size_of_the_first(
    memory: Memory, recorded: list[Segment], tmp_path: Path
) -> None:
    player, end = Player(memory, tmp_path), recorded[-1].span.end
    assert player.cut(Span(recorded[0].span.start, end)) == (SMALL, True, [*range(75), *range(50)])
    assert player.cut(Span(recorded[3].span.start, end)) == ENLARGED
