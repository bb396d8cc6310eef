"""HLS comes in segments, long after it was filmed: its times are of when it was filmed all the same."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.capture import CapturePlan, Recording
from ingest.limits import Limits
from ingest.records import Frame, Segment, Sound
from ingest.sampling import Sampling
from ingest.sources import parse
from tests.ingest.conftest import STREAM, Harvest
from tests.ingest.test_protocols import serving
from tests.media import Clip, make, number_in

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs Debian's ffmpeg"),
]
LAST_S = 2.0


class Channel:
    """A film that is being filmed since `begun`: a segment is there when it is over, and the playlist has five."""

    def __init__(self, folder: Path, *, clock_s: float | None) -> None:
        """`clock_s`: by how much the server's clock is wrong; None: it does not tell the time."""
        film = make(folder / "film.ts", Clip(seconds=60, gop=25, b_frames=0))
        cut = ["-c", "copy", "-f", "hls", "-hls_time", str(LAST_S), "-hls_list_size", "0"]
        names = ["-hls_segment_filename", str(folder / "%03d.ts"), str(folder / "all.m3u8")]
        command = ["ffmpeg", "-v", "error", "-i", str(film), *cut, *names]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        self._folder, self._clock_s, self.down = folder, clock_s, False
        self._lasts = [float(text) for text in re.findall(r"#EXTINF:([\d.]+)", (folder / "all.m3u8").read_text())]
        self.begun = time.time() - 9.0

    def playlist(self) -> str:
        ends = [sum(self._lasts[: number + 1]) for number in range(len(self._lasts))]
        there = sum(end <= time.time() - self.begun for end in ends)
        first = max(0, there - 5)
        lines = ["#EXTM3U", f"#EXT-X-TARGETDURATION:{LAST_S:.0f}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, there):
            if self._clock_s is not None:
                filmed = self.begun + ends[number] - self._lasts[number] + self._clock_s
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{datetime.fromtimestamp(filmed, UTC).isoformat()}")
            lines += [f"#EXTINF:{self._lasts[number]},", f"{number:03}.ts"]
        return "\n".join(lines)

    def handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        channel = self

        class Server(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listed = self.path.endswith(".m3u8")
                body = channel.playlist().encode() if listed else (channel._folder / self.path[1:]).read_bytes()
                with suppress(OSError):
                    self.send_response(503 if channel.down else 200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Server

    def wrong(self, frame: Frame) -> float:
        """Seconds that a picture's time is late."""
        return frame.moment / 1e6 - self.begun - number_in(frame.pixels) / 25


@pytest.mark.parametrize(("clock_s", "most_s"), [(0.0, 0.1), (86_400.0, 0.5), (None, 0.5)])
def test_a_picture_has_the_time_at_which_it_was_filmed(
    clock_s: float | None, most_s: float, harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    """Exactly, where the playlist tells it and that can be; by when segments appear otherwise."""
    channel, made = Channel(tmp_path, clock_s=clock_s), harvest()
    with serving(channel.handler()) as address:
        made.fleet.start(CapturePlan(STREAM, parse(f"{address}/live.m3u8"), sampling=Sampling(2, 2)))
        made.wait(lambda: len(made.of(Frame)) >= 12)
        made.halt()
    assert max(abs(channel.wrong(frame)) for frame in made.of(Frame)) < most_s


def test_what_a_playlist_begins_again_with_is_not_seen_twice(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    """Not in pictures, not in sound, not in recordings; and times stay right."""
    channel, made = Channel(tmp_path, clock_s=0.0), harvest(Limits(backoff_first_s=0.2, backoff_most_s=0.4))
    with serving(channel.handler()) as address:
        recording = Recording(tmp_path / "recorded", 2.0)
        url = parse(f"{address}/live.m3u8")
        made.fleet.start(CapturePlan(STREAM, url, sampling=Sampling(4, 4), recording=recording))
        made.wait(lambda: len(made.of(Frame)) >= 16)
        channel.down = True
        made.wait(lambda: made.states()[-1:] == ["offline"])
        channel.down = False
        made.wait(lambda: sum(frame.epoch > 0 for frame in made.of(Frame)) >= 12)
        made.halt()
    frames = made.of(Frame)
    numbers = [number_in(frame.pixels) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert max(abs(channel.wrong(frame)) for frame in frames) < 0.1
    for kind in (Segment, Sound):
        found: list[Any] = made.of(kind)
        starts = [one.span.start for one in found]
        ends = [one.span.end for one in found]
        assert all(start >= end - 1_000_000 for end, start in zip(ends, starts[1:], strict=False))
