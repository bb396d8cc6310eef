"""Webcams: libav's own video4linux reader on a stand-in for the driver, and what is told when there is no camera."""

from __future__ import annotations

import errno
import io
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from ingest import child
from ingest.errors import HindsightError, NotFound, SourceRefused, SourceUnavailable
from ingest.guard import Guard
from ingest.plan import CapturePlan
from ingest.probe import probe
from ingest.recording import Recording
from ingest.records import MICROSECONDS, Coverage, Frame, Segment
from ingest.sources import parse
from tests.ingest.conftest import STREAM, Harvest

WIDTH, HEIGHT = 320, 240
Plug = Callable[..., str]


def write_pictures(path: Path) -> None:
    """Two seconds in which a red square crosses a grey wall."""
    from PIL import Image

    with path.open("wb") as file:
        for number in range(50):
            picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
            picture[80:160, number * 5 : number * 5 + 60] = (220, 20, 20)
            jpeg = io.BytesIO()
            Image.fromarray(picture).save(jpeg, "JPEG", quality=90)
            file.write(struct.pack("I", len(jpeg.getvalue())) + jpeg.getvalue())


@pytest.fixture
def device() -> Iterator[Path]:
    """A character device with a camera's name; what answers for it is the stand-in."""
    path = next(path for n in range(90, 999) if not (path := Path(f"/dev/video{n}")).exists())
    try:
        os.mknod(path, 0o666 | 0o020000, os.makedev(1, 3))
    except OSError as error:
        pytest.skip(f"no device can be made here: {error.strerror}")
    yield path
    path.unlink()


@pytest.fixture
def plug(device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Builds the stand-in and has decoder children load it; the camera's path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed (Debian: gcc and libc6-dev)")
    frames = tmp_path / "pictures"
    write_pictures(frames)

    def build(**faults: int) -> str:
        library = tmp_path / "webcam.so"
        defined = {"DEVICE": f'"{device}"', "FRAMES": f'"{frames}"', "WIDTH": WIDTH, "HEIGHT": HEIGHT, **faults}
        flags = [f"-D{name}={value}" for name, value in defined.items()]
        source = Path(__file__).with_name("webcam.c")
        subprocess.run([compiler, "-shared", "-fPIC", *flags, "-o", library, source, "-ldl"], check=True)
        monkeypatch.setitem(child._ENVIRONMENT, "LD_PRELOAD", str(library))
        return str(device)

    return build


def refusal(path: str) -> HindsightError:
    with pytest.raises(HindsightError) as caught:
        probe(parse(path), Guard([]))
    return caught.value


def test_a_webcam_is_asked_what_it_is(plug: Plug) -> None:
    about = probe(parse(plug()), Guard([]))
    assert (about.width, about.height, about.fps, about.video_codec) == (WIDTH, HEIGHT, 25, "mjpeg")
    assert about.duration_us is None


def test_a_webcam_is_watched_and_recorded(plug: Plug, harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    made: Harvest = harvest()
    recording = Recording(tmp_path / "recordings", segment_s=1.0)
    made.fleet.start(CapturePlan(stream=STREAM, source=parse(plug()), recording=recording))
    made.wait(lambda: len(made.of(Frame)) >= 8 and len(made.of(Segment)) >= 3)
    assert made.states()[:2] == ["connecting", "live"]
    made.halt()
    frames = made.of(Frame)
    assert frames[0].pixels.shape == (HEIGHT, WIDTH, 3)
    reddest = [int((one.pixels[120, :, 0].astype(int) - one.pixels[120, :, 1] > 100).sum()) for one in frames]
    assert min(reddest) >= 40  # the square is in every picture
    assert [one.moment for one in frames] == sorted({one.moment for one in frames})
    segments = made.of(Segment)
    assert all(Path(segment.path).read_bytes()[4:8] == b"ftyp" for segment in segments)
    for segment in segments:
        with av.open(segment.path) as container:
            times = [frame.time for frame in container.decode(video=0)]
        assert times[-1] - times[0] < 1.1, "the first picture of another second begins another, however late it comes"
    pieces = [segment.span.start // MICROSECONDS for segment in segments]
    assert pieces == sorted(set(pieces)), "and none before"
    assert made.of(Coverage)


def test_a_webcam_that_is_pulled_out_is_offline_and_waited_for(
    plug: Plug, device: Path, harvest: Callable[..., Harvest]
) -> None:
    made: Harvest = harvest()
    path = plug()
    made.fleet.start(CapturePlan(stream=STREAM, source=parse(path)))
    made.wait(lambda: made.of(Frame))
    device.rename(device.parent / f"{device.name}-gone")
    try:
        made.fleet._running[STREAM]._decoder.kill()  # type: ignore[union-attr]  # as the driver ends a reader
        made.wait(lambda: made.fleet.status(STREAM).state in ("offline", "failed"))  # type: ignore[union-attr]
    finally:
        (device.parent / f"{device.name}-gone").rename(device)
    before = len(made.of(Frame))
    made.wait(lambda: len(made.of(Frame)) > before)
    made.wait(lambda: made.states()[-1:] == ["live"])  # said with the first beat, which follows the first frame


@pytest.mark.parametrize(
    ("faults", "kind", "said", "advice"),
    [
        ({"STARTING": errno.EBUSY}, SourceUnavailable, "in use", "Close the other program"),
        ({"OPENING": errno.EBUSY}, SourceUnavailable, "in use", "Close the other program"),
        ({"OPENING": errno.EACCES}, SourceRefused, "may not use", "group video"),
        ({"OPENING": errno.ENODEV}, SourceUnavailable, "does not answer", "Plug it in again"),
        ({"STARTING": errno.EIO}, SourceUnavailable, "does not answer", "Plug it in again"),
    ],
)
def test_a_webcam_that_cannot_be_used_says_why(
    plug: Plug, faults: dict[str, int], kind: type[HindsightError], said: str, advice: str
) -> None:
    path = plug(**faults)
    error = refusal(path)
    assert type(error) is kind
    assert said in error.message
    assert path in error.message
    assert advice in error.advice


def test_a_device_that_is_no_camera_says_so(device: Path) -> None:
    error = refusal(str(device))
    assert (type(error), "no camera" in error.message) == (SourceRefused, True)


def test_a_camera_that_is_not_there(tmp_path: Path) -> None:
    error = refusal("/dev/video989")
    assert (type(error), "plugged in" in error.advice) == (NotFound, True)
