"""Live streams against a real RTSP server that is killed, frozen, locked and lied about."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from ingest import supervise_live
from ingest.capture import CapturePlan, Recording
from ingest.clips import cut, still
from ingest.clock import SystemClock
from ingest.errors import DeadlineExceeded, SourceUnavailable, Unauthorised
from ingest.guard import Guard
from ingest.interleaving import LATE
from ingest.limits import Limits
from ingest.probe import probe
from ingest.recording import being_written
from ingest.records import Coverage, Frame, Gap, Moment, Segment, Sound, Span, StateChange, seconds
from ingest.sources import parse
from tests.ingest.conftest import LOOPBACK, QUICK, SAMPLED, STREAM, Harvest, RtspServer, Trap, decoders, plan

pytestmark = pytest.mark.service


def test_a_camera_that_goes_and_comes_back(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    """Killed and started again: noticed, reconnected by itself, the gap exact, its two sides in different epochs."""
    server, made = rtsp(), harvest(QUICK)
    made.fleet.start(plan(server.url(), tmp_path / "recorded"))
    made.wait(lambda: len(made.of(Frame)) >= 12)
    made.wait(lambda: abs(SystemClock().now() - made.of(Frame)[-1].moment) < seconds(1.5))  # that is when it was seen
    server.kill()
    killed = SystemClock().now()
    made.wait(lambda: made.states()[-1:] == ["offline"])
    newest = made.of(Frame)[-1].moment
    time.sleep(2)
    back, before = SystemClock().now(), len(made.of(Frame))
    server.start()
    made.wait(lambda: len(made.of(Frame)) > before + 4)
    frames = made.of(Frame)
    made.halt()
    gap = made.of(Gap)[-2 if made.of(Gap)[-1].reason == "paused" else -1]
    assert gap.reason == "offline"
    assert gap.detail
    assert newest <= gap.span.start < killed + seconds(0.7)
    assert back < gap.span.end == min(frame.moment for frame in frames if frame.epoch > 0)
    assert {f.epoch for f in frames if f.moment < gap.span.start} == {0}
    assert all(f.epoch > 0 for f in frames if f.moment >= gap.span.end)
    assert not [f for f in frames if f.moment in Span(Moment(gap.span.start + 1), gap.span.end)]
    assert {(c.epoch) for c in made.of(Coverage)} == {f.epoch for f in frames}
    for coverage in made.of(Coverage):
        assert not coverage.span.overlaps(Span(Moment(gap.span.start + 1), Moment(gap.span.end - 1)))
    status_states = made.states()
    assert status_states[:2] == ["connecting", "live"]
    assert status_states[-1] == "paused"
    check_recording(made, tmp_path / "recorded")


def check_recording(made: Harvest, folder: Path) -> None:
    """Segments are whole, playable, where they say they are, and follow one another."""
    segments = made.of(Segment)
    assert len(segments) >= 3
    assert list(folder.glob("*.part")) == []
    assert {str(path) for path in folder.glob("*.mp4")} == {segment.path for segment in segments}
    for segment in segments:
        with av.open(segment.path) as container:
            times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
        assert times[0] * 1e6 == pytest.approx(segment.first_pts, abs=1000)
        assert (times[-1] - times[0] + 0.04) * 1e6 == pytest.approx(segment.span.duration, abs=50_000)
        assert segment.size == Path(segment.path).stat().st_size
        assert segment.owned
    for before, after in itertools.pairwise(segments):
        if before.epoch == after.epoch:
            assert after.span.start == before.span.end


def test_a_camera_with_rare_key_frames_is_recorded_whole(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    """A segment is as long as it must be, and what there is of it comes to the disk meanwhile."""
    server, made, folder = rtsp("--keys", "225"), harvest(QUICK), tmp_path / "recorded"
    made.fleet.start(plan(server.url(), folder))
    made.wait(lambda: (part := being_written(folder, STREAM)) is not None and part.span.duration > seconds(4))
    assert made.of(Segment) == []
    made.wait(lambda: len(made.of(Segment)) >= 2)
    made.halt()
    whole = made.of(Segment)[:2]
    assert [segment.span.duration for segment in whole] == pytest.approx([seconds(9)] * 2, abs=seconds(0.3))
    check_recording(made, folder)


def moments_of(segment: Segment) -> list[int]:
    """When each picture of a segment was, by plain decoding."""
    with av.open(segment.path) as container:
        times = [round(f.pts * f.time_base * 1_000_000) for f in container.decode(video=0)]
    return [segment.span.start + at - segment.first_pts for at in times]


def test_a_clip_and_a_still_across_segments(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    server, made = rtsp(), harvest(QUICK)
    made.fleet.start(plan(server.url(), tmp_path / "recorded"))
    made.wait(lambda: len(made.of(Segment)) >= 4)
    made.halt()
    segments = made.of(Segment)
    wanted = Span(Moment(segments[0].span.start + seconds(0.5)), Moment(segments[2].span.start + seconds(0.5)))
    covered = cut(segments, [wanted], tmp_path / "clip.mp4")
    recorded = [moment for segment in segments for moment in moments_of(segment)]
    expected = [moment for moment in recorded if moment < wanted.end]
    assert covered.start == segments[0].span.start == expected[0]
    assert covered.end >= wanted.end
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert (container.streams.video[0].codec_context.name, container.streams.audio[0].codec_context.name) == (
            "h264",
            "aac",
        )
        shown = [round(f.pts * f.time_base * 1_000_000) + covered.start for f in container.decode(video=0)]
    assert shown[: len(expected)] == pytest.approx(expected, abs=1000), "nothing is lost at the borders of segments"
    assert len(shown) <= len(expected) + 1
    picture = still(segments, wanted.end)
    assert picture.moment == pytest.approx(max(m for m in recorded if m <= wanted.end), abs=1000)
    assert picture.jpeg[:2] == b"\xff\xd8"


def test_a_camera_with_telephone_sound_is_recorded_with_sound(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    server, made = rtsp(), harvest(QUICK)
    made.fleet.start(plan(server.url("mulaw"), tmp_path / "recorded"))
    made.wait(lambda: len(made.of(Segment)) >= 2)
    made.halt()
    assert made.of(Sound), "what was heard is told when the stream is stopped"
    with av.open(made.of(Segment)[1].path) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert samples / 16_000 == pytest.approx(1.0, abs=0.3)


def test_a_frozen_camera_is_stalled_and_comes_back(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]
) -> None:
    """The connection stays open and nothing comes: no error from anyone but our clock."""
    server, made = rtsp(), harvest(QUICK)
    made.fleet.start(plan(server.url("silent")))
    made.wait(lambda: len(made.of(Frame)) >= 6)
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    made.wait(lambda: made.states()[-1:] == ["stalled"])
    server.kill()
    server.start()
    made.wait(lambda: made.states()[-1:] == ["live"])
    assert "stalled" in {gap.reason for gap in made.of(Gap)}


def test_a_live_child_that_does_not_keep_its_own_time_is_given_up_within_ten_seconds(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]
) -> None:
    """Stopped while it opens, and stopped in the middle: whatever its own limits are, which it does not keep."""
    made = harvest(Limits(open_s=60.0, read_s=60.0))
    made.fleet.start(CapturePlan(STREAM, parse(rtsp().url())))
    made.wait(decoders)
    [first] = decoders()
    os.kill(first, signal.SIGSTOP)
    begun = time.monotonic()
    made.wait(lambda: made.states()[-1:] == ["offline"])
    assert time.monotonic() - begun < 40, "ten, and what a busy machine adds"
    assert first not in decoders()
    made.wait(lambda: made.states()[-1:] == ["live"], 60)
    [second] = decoders()
    os.kill(second, signal.SIGSTOP)
    begun = time.monotonic()
    made.wait(lambda: made.states()[-1:] == ["stalled"])
    assert time.monotonic() - begun < 40
    assert second not in decoders()
    made.wait(lambda: made.states()[-1:] == ["live"], 60)


def test_a_camera_whose_sound_alone_goes_on_is_stalled(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]
) -> None:
    """Packets keep coming, and none of them is a picture."""
    server, made = rtsp("--moods", "5,9,9"), harvest(QUICK)
    made.fleet.start(plan(server.url("sound")))
    made.wait(lambda: made.states()[-1:] == ["stalled"])
    gap = next(gap for gap in made.of(Gap) if gap.reason == "stalled")
    assert made.of(Frame)[-1].moment <= gap.span.start, "all that was seen was watched"
    assert gap.span.duration > seconds(QUICK.stall_s)


def test_a_wrong_password_fails_and_says_so(rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]) -> None:
    server, made = rtsp("--login", "admin:secret-word"), harvest(QUICK)
    guard = Guard([], LOOPBACK)
    wrong = parse(server.url("silent").replace("//", "//admin:other-word@"))
    with pytest.raises(Unauthorised) as caught:
        probe(wrong, guard)
    assert "password" in caught.value.advice
    assert "other-word" not in str(caught.value)
    right = parse(server.url("silent").replace("//", "//admin:secret-word@"))
    assert probe(right, guard).video_codec == "h264"
    made.fleet.start(CapturePlan(STREAM, wrong))
    made.wait(lambda: made.states()[-1:] == ["failed"])
    made.wait(lambda: (status := made.fleet.status(STREAM)) is not None and status.reconnects >= 2)
    assert len(made.states()) <= 3, "the same trouble is told once"


def test_recordings_left_by_a_killed_process_are_rescued(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    server, made, folder = rtsp(), harvest(QUICK), tmp_path / "recorded"
    long = CapturePlan(STREAM, parse(server.url()), recording=Recording(folder, 60.0))
    made.fleet.start(long)
    made.wait(lambda: written_to(folder) > seconds(3))
    (part,) = folder.glob("*.part")
    copy = tmp_path / "left"
    copy.mkdir()
    shutil.copy(part, copy / part.name)
    (copy / "00000-5-0.mp4.part").write_bytes(b"nothing of use")
    made.halt()
    again = harvest(QUICK)
    again.fleet.start(plan("rtsp://127.0.0.1:1/x", copy))
    again.wait(lambda: again.of(Segment))
    (segment,) = again.of(Segment)
    assert segment.span.start == int(part.name.split("-")[1])
    assert segment.span.duration > seconds(3)
    with av.open(segment.path) as container:
        assert sum(1 for _ in container.decode(video=0)) * 40_000 == pytest.approx(segment.span.duration, abs=100_000)
    again.wait(lambda: list(copy.glob("*.part")) == [])


def written_to(folder: Path) -> int:
    """Microseconds that can be played of the segment being written."""
    written = being_written(folder, STREAM)
    return written.span.duration if written is not None else 0


def whole_fragments(folder: Path, copy: Path) -> Path:
    """What can be played of the segment being written: the next fragment may be half there."""
    written = being_written(folder, STREAM)
    assert written is not None
    copy.write_bytes(Path(written.path).read_bytes()[: written.size])
    return copy


def pictures_in(path: Path) -> int:
    """Decoded by av and, where there is one, by ffprobe, which must not complain."""
    with av.open(str(path)) as container:
        found = sum(1 for _ in container.decode(video=0))
    if shutil.which("ffprobe"):
        said = subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries",
             "stream=nb_read_frames", "-of", "csv=p=0", "-f", "mp4", str(path)],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert said.stderr == ""
        assert int(said.stdout.split(",")[0]) >= found
    return found


def test_a_recording_plays_while_it_is_written_and_a_kill_costs_the_open_fragment(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    """The camera's key frames are a second apart, and so are fragments."""
    server, made, folder = rtsp(), harvest(QUICK), tmp_path / "recorded"
    made.fleet.start(CapturePlan(STREAM, parse(server.url()), sampling=SAMPLED, recording=Recording(folder, 60.0)))
    made.wait(lambda: written_to(folder) > seconds(2))
    played = pictures_in(whole_fragments(folder, tmp_path / "then.mp4"))
    assert played >= 50
    made.wait(lambda: pictures_in(whole_fragments(folder, tmp_path / "later.mp4")) > played)
    (child,) = decoders()
    newest = made.of(Frame)[-1].moment
    os.kill(child, signal.SIGKILL)
    made.wait(lambda: made.of(Segment))
    segment = made.of(Segment)[0]
    waits = LATE + 2 * 40_000  # for its sound, and for the picture that shows the last one to be whole
    assert segment.span.end > newest - seconds(1) - waits, "at most the open fragment is lost"
    whole = moments_of(segment)
    apart = [after - before for before, after in itertools.pairwise(whole)]
    assert max(apart) < seconds(0.5), "nothing is missing within it"
    assert segment.span.duration == pytest.approx(whole[-1] + 40_000 - whole[0], abs=100_000)
    made.wait(lambda: made.of(Frame)[-1].epoch > segment.epoch)


def test_where_nothing_can_be_written_the_camera_is_still_seen(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    """A recording that fails costs the recording and not the picture, says so, and goes on when it can."""
    server, made, folder = rtsp(), harvest(QUICK), tmp_path / "recorded"
    folder.write_bytes(b"a file where the folder should be")
    made.fleet.start(plan(server.url(), folder))
    made.wait(lambda: len(made.of(Frame)) > 6)
    made.wait(lambda: "Not being recorded" in made.of(StateChange)[-1].detail)
    assert made.states() == ["connecting", "live", "live"]
    folder.unlink()
    made.wait(lambda: made.of(Segment))
    made.wait(lambda: made.of(StateChange)[-1].detail == "")


def test_a_codec_that_is_not_recorded_is_told_once_for_as_long_as_it_is_watched(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    server, made = rtsp(), harvest(QUICK)
    made.fleet.start(plan(server.url("vp8"), tmp_path / "recorded"))
    made.wait(lambda: len(made.of(Frame)) > 6)
    made.halt()
    told = [(one.state, one.detail) for one in made.of(StateChange)]
    assert told[:2] == [
        ("connecting", ""),
        ("live", "Not being recorded: Its pictures are vp8, which is not recorded."),
    ]
    assert [state for state, _ in told] == ["connecting", "live", "paused"]
    assert made.of(Segment) == []


def test_a_live_consumer_that_sleeps_costs_frames_and_each_is_counted(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]
) -> None:
    server, made = rtsp(), harvest(QUICK, capacity=2, pace_s=0.5)
    made.fleet.start(plan(server.url("silent")))
    made.wait(lambda: made.of(Frame) and made.ledger.counts(STREAM).dropped.get("overload", 0) > 4)
    made.pace_s = 0
    made.wait(lambda: SystemClock().now() - made.of(Frame)[-1].moment < seconds(2))


# --- peers that say nothing ------------------------------------------------------------------------------------


def silence(visitor: socket.socket) -> None:
    while visitor.recv(4096):
        pass


def after_options(visitor: socket.socket) -> None:
    """Speaks RTSP until it is asked to describe."""
    request = visitor.recv(4096)
    number = request.partition(b"CSeq: ")[2].partition(b"\r\n")[0]
    visitor.sendall(b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n")
    silence(visitor)


def http_header_only(visitor: socket.socket) -> None:
    visitor.recv(4096)
    visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n")
    silence(visitor)


def drip(visitor: socket.socket) -> None:
    visitor.recv(4096)
    visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n")
    while True:
        visitor.sendall(b"x")
        time.sleep(0.3)


@pytest.mark.parametrize(
    ("scheme", "talk"),
    [
        ("rtsp", silence),
        ("rtsp", after_options),
        ("rtmp", silence),
        ("http", silence),
        ("http", http_header_only),
        ("http", drip),
    ],
)
def test_a_silent_peer_is_a_deadline_and_not_for_ever(
    scheme: str, talk: Callable[[socket.socket], None], trap: Callable[..., Trap]
) -> None:
    """Without a timeout nearly all of these block for ever, and libav names them "invalid data" or "exit"."""
    peer, begun = trap(talk), time.monotonic()
    with pytest.raises((DeadlineExceeded, SourceUnavailable)) as caught:
        probe(parse(f"{scheme}://127.0.0.1:{peer.port}/x"), Guard([], LOOPBACK), timeout_s=3)
    assert time.monotonic() - begun < 3 + 6, "and what a busy machine adds"
    assert caught.value.advice
    assert isinstance(caught.value, DeadlineExceeded) or talk is drip
    assert decoders() == []


def hangs_up(visitor: socket.socket) -> None:
    visitor.recv(4096)
    visitor.close()


def resets(visitor: socket.socket) -> None:
    visitor.recv(1)
    visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    visitor.close()


@pytest.mark.parametrize("talk", [socket.socket.close, hangs_up, resets])
@pytest.mark.parametrize("scheme", ["rtsp", "rtmp"])
def test_a_camera_that_hangs_up_is_away_and_no_bad_file(
    scheme: str, talk: Callable[[socket.socket], None], trap: Callable[..., Trap]
) -> None:
    """As while it starts: to libav that is "invalid data", which nobody but a person could put right."""
    with pytest.raises(SourceUnavailable) as caught:
        probe(parse(f"{scheme}://127.0.0.1:{trap(talk).port}/x"), Guard([], LOOPBACK))
    assert str(caught.value).startswith(("It ended the connection.", "The connection was cut.")), "as sending meets it"
    assert "MP4" not in caught.value.advice


@pytest.mark.parametrize(
    ("scheme", "talk"), [("rtsp", silence), ("rtsp", after_options), ("http", http_header_only), ("rtmp", silence)]
)
def test_a_camera_that_says_nothing_is_stopped_while_it_is_opened(
    scheme: str,
    talk: Callable[[socket.socket], None],
    trap: Callable[..., Trap],
    harvest: Callable[..., Harvest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its child hears nobody while it waits for an answer, and holds nothing that an orderly end would save."""
    monkeypatch.setattr(supervise_live, "_GIVE_UP_S", 600.0)
    peer, made = trap(talk), harvest(Limits(open_s=600.0, read_s=600.0))
    made.fleet.start(CapturePlan(STREAM, parse(f"{scheme}://127.0.0.1:{peer.port}/x")))
    made.wait(lambda: peer.hits)
    made.halt()
    assert not made.fleet.ending(STREAM)
    assert made.states() == ["connecting", "paused"]
    assert decoders() == []


def test_a_hundred_failures_leave_no_child_and_wait_longer_each_time(harvest: Callable[..., Harvest]) -> None:
    """A dead address: attempts grow apart up to the limit and never stop."""
    made = harvest(Limits(backoff_first_s=0.05, backoff_most_s=0.4))
    made.fleet.start(plan("rtsp://127.0.0.1:1/x"))
    made.wait(lambda: (status := made.fleet.status(STREAM)) is not None and status.reconnects >= 5)
    assert made.states() == ["connecting", "offline"]
    assert len(decoders()) <= 1
    assert sum(thread.name == f"capture {STREAM}" for thread in threading.enumerate()) == 1
    gaps = made.of(Gap)
    assert {gap.key for gap in gaps} == {gaps[0].key}
    assert gaps[-1].span.end > gaps[0].span.end
