"""The scene against its own pixels: what the truth says is there changes the picture where it says, and only there."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.records import Box, Moment, Span
from ingest.scene import (
    DEMONSTRATION,
    Actor,
    Film,
    Line,
    Manner,
    Shot,
    Waypoint,
    boxes,
    crossing,
    crowd,
    film,
    render,
    standing,
    truth,
)  # fmt: skip
from ingest.scene.picture import Camera, backdrop
from ingest.scene.script import VEHICLES
from ingest.scene.truth import union

Picture = NDArray[np.uint8]


def changed(picture: Picture, place: str = "street") -> NDArray[np.bool_]:
    """Pixels that differ from the empty place by more than grain."""
    height, width = picture.shape[:2]
    empty = backdrop(place, 0, width, height)  # type: ignore[arg-type]  # every place is a literal
    return np.abs(picture.astype(int) - empty.astype(int)).max(axis=2) > 40


def inside(mask: NDArray[np.bool_], box: Box, margin: float = 0.02) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    x, y = columns / mask.shape[1], rows / mask.shape[0]
    return (x >= box.left - margin) & (x <= box.right + margin) & (y >= box.top - margin) & (y <= box.bottom + margin)


@pytest.mark.parametrize("kind", ["person", "car", "van", "bus", "bicycle", "dog"])
@pytest.mark.parametrize("way", ["left", "right"])
def test_a_box_holds_the_pixels_of_its_actor(kind: str, way: str) -> None:
    actor = crossing(kind, "red", 0.0, 8.0, Manner(way))  # type: ignore[arg-type]  # parametrised literals
    short = film((actor,), 8.0)
    picture = Camera(short, 0).take(50)
    (seen,) = boxes(4.0, short)
    mask = changed(picture)
    where = inside(mask, seen.box)
    rows, columns = np.nonzero(mask & where)
    height, width = mask.shape
    assert np.ptp(rows) > 0.8 * (seen.box.bottom - seen.box.top) * height, "the box is too tall"
    assert np.ptp(columns) > 0.6 * (seen.box.right - seen.box.left) * width, "the box is too wide"
    shadow_allowed = 0.15
    assert mask[~where].sum() <= shadow_allowed * mask.sum(), "pixels of the actor lie outside its box"


def test_nothing_moves_where_the_truth_says_still() -> None:
    camera = Camera(DEMONSTRATION, 0)
    whole = truth()
    assert len(whole.still) >= 5
    for span in whole.still:
        first, last = camera.take(round(span.start * 12.5e-6) + 4), camera.take(round(span.end * 12.5e-6) - 4)
        difference = np.abs(first[60:].astype(int) - last[60:].astype(int)).mean()
        assert difference < 2.5, f"something changed during {span}"


def test_something_moves_everywhere_else() -> None:
    camera = Camera(DEMONSTRATION, 0)
    blind = truth().still
    for number in range(10, 2600, 83):
        moment = Moment(number * 80_000)
        dusk = 114_000_000 < moment < 136_000_000
        near_still = any(span.start - 500_000 < moment < span.end + 500_000 for span in blind)
        if not near_still and not dusk:
            one, other = camera.take(number)[60:], camera.take(number + 6)[60:]
            assert (np.abs(one.astype(int) - other.astype(int)).max(axis=2) > 14).sum() > 60, f"still at {moment}"


def test_someone_behind_a_van_is_not_seen() -> None:
    assert "courier" not in {seen.name for seen in boxes(45.2)}
    assert "courier" in {seen.name for seen in boxes(48.0)}


def test_the_red_car_is_red_when_and_where_the_truth_says() -> None:
    (event,) = [event for event in truth().events if event.text == "a red car"]
    (span,) = event.spans
    camera = Camera(DEMONSTRATION, 0)
    for t in (span.start / 1e6 + 0.5, (span.start + span.end) / 2e6, span.end / 1e6 - 0.5):
        picture = camera.take(round(t * 12.5))
        car = next(seen for seen in boxes(t) if seen.name == "red car")
        red = (picture[..., 0] > 120) & (picture[..., 1] < 70) & (picture[..., 2] < 70) & changed(picture)
        assert red[inside(red, car.box)].mean() > 0.25
    assert not any(seen.name == "red car" for seen in boxes(span.end / 1e6 + 0.2))


def test_speech_text_and_absent_things_are_told() -> None:
    whole = truth()
    kinds = {event.kind for event in whole.events}
    assert {"thing", "event", "read", "heard", "scene"} <= kinds
    assert len(whole.absent) >= 10
    assert {event.text for event in whole.events}.isdisjoint(whole.absent)
    assert not [event for event in truth(spoken=False).events if event.kind == "heard"]
    for event in whole.events:
        assert event.spans, event.text
        assert all(0 <= span.start < span.end <= whole.duration for span in event.spans)


def test_spans_move_to_a_stream_timeline() -> None:
    event = truth().events[0]
    moved = event.since(DEMONSTRATION.starts_at)
    assert moved.spans[0].start - event.spans[0].start == DEMONSTRATION.starts_at
    assert moved.spans[0].duration == event.spans[0].duration


@pytest.fixture(scope="module")
def short() -> Film:
    actors = (crossing("car", "red", 0.2, 2.8), standing("box", "brown", 1.0, 2.0, x=2.0), *crowd(3, 0.0, 3.0, seed=4))
    made = film(actors, 3.0)
    return Film(made.shots, lines=(Line(0.5, "A red car."),), clock=False, width=640)


def test_a_film_is_a_file_with_its_pictures_sound_and_creation_time(short: Film, tmp_path: Path) -> None:
    heard: list[float] = []
    render(tmp_path / "short.mp4", film=short, progress=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    with av.open(str(tmp_path / "short.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.codec_context.name) == (640, 360, "h264")
        assert audio.codec_context.name == "aac"
        assert container.metadata["creation_time"].startswith("2026-03-14T17:42:00")
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
    assert len(pictures) == round(3.0 * short.fps)
    drawn = Camera(short, 0).take(20)
    assert np.abs(pictures[20].astype(int) - drawn.astype(int)).mean() < 6.0


def test_a_seed_gives_the_same_bytes_and_another_seed_other_ones(short: Film, tmp_path: Path) -> None:
    digests = []
    for number, seed in enumerate((3, 3, 4)):
        path = tmp_path / f"{number}.mp4"
        render(path, film=short, seed=seed)
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_speech_is_loud_where_it_is_told_and_silent_elsewhere(short: Film, tmp_path: Path) -> None:
    result = render(tmp_path / "spoken.mp4", film=short)
    (line,) = [event for event in result.events if event.kind == "heard"]
    with av.open(str(tmp_path / "spoken.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        rate = container.streams.audio[0].rate
    level = np.abs(sound)
    spoken = level[int(line.spans[0].start * rate / 1e6) : int(line.spans[0].end * rate / 1e6)]
    assert spoken.max() > 0.1
    assert level[: int(0.3 * rate)].max() < 0.01
    assert level[int((line.spans[0].end / 1e6 + 0.6) * rate) :].max() < 0.01


def test_without_a_voice_the_film_is_silent(short: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = render(tmp_path / "mute.mp4", film=short)
    assert not [event for event in result.events if event.kind == "heard"]


def test_a_failed_render_leaves_nothing_behind(short: Film, tmp_path: Path) -> None:
    def give_up(done: float) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    before = b"something the user had"
    (tmp_path / "kept.mp4").write_bytes(before)
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path / "kept.mp4", film=short, progress=give_up)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.mp4"]
    assert (tmp_path / "kept.mp4").read_bytes() == before


@pytest.mark.parametrize("place", ["street", "room", "overhead"])
@pytest.mark.parametrize("night", [False, True])
def test_every_place_shows_a_crowd_by_day_and_by_night(place: str, night: bool) -> None:
    people = crowd(8, 0.0, 4.0, place=place, seed=1)  # type: ignore[arg-type]  # parametrised literals
    made = film(people, 4.0, place=place, night=night)  # type: ignore[arg-type]  # parametrised literals
    picture = Camera(made, 0).take(25)
    empty = Camera(film((), 4.0, place=place, night=night), 0).take(25)  # type: ignore[arg-type]  # the same
    assert np.abs(picture.astype(int) - empty.astype(int)).max() > 25
    assert len(boxes(2.0, made)) >= 3
    if night and place != "overhead":
        assert picture.mean() < 0.6 * Camera(film(people, 4.0, place=place), 0).take(25).mean()  # type: ignore[arg-type]  # the same


def test_an_actor_crosses_the_whole_picture_in_its_direction() -> None:
    for kind in ("car", "person", "bicycle"):
        actor = crossing(kind, "blue", 1.0, 5.0, Manner("left"))  # type: ignore[arg-type]  # literals
        made = film((actor,), 6.0)
        seen = [box[0].box.left + box[0].box.right for n in range(75) if (box := boxes(n / 12.5, made))]
        assert seen[0] > 1.6
        assert seen[-1] < 0.4
        assert seen == sorted(seen, reverse=True)
        assert (kind in VEHICLES) == (kind != "person")


def test_importing_the_scene_is_quick() -> None:
    code = "import sys, ingest.scene; print(sorted({'cv2', 'av', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_module_writes_the_truth_and_refuses_a_missing_folder(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "ingest.scene", "x", "--truth"], capture_output=True, text=True, check=True
    )
    assert '"a red car"' in told.stdout
    missing = tmp_path / "no" / "out.mp4"
    done = subprocess.run(
        [sys.executable, "-m", "ingest.scene", str(missing)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "does not exist" in done.stderr


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=12)


@given(spans)
def test_union_covers_exactly_the_same_instants(pairs: list[tuple[int, int]]) -> None:
    given_spans = [Span(Moment(start), Moment(start + length)) for start, length in pairs]
    joined = union(given_spans)
    for instant in range(80):
        assert any(instant in span for span in given_spans) == any(instant in span for span in joined)
    assert all(one.end < other.start for one, other in itertools.pairwise(joined))


def test_an_actor_waits_turns_and_is_gone() -> None:
    path = (Waypoint(1, 0, 5), Waypoint(2, 2, 5), Waypoint(3, 2, 5), Waypoint(4, 0, 5))
    actor = Actor("a", "person", "red", path)
    assert actor.at(0.9) is None
    assert actor.at(4.1) is None
    middle, waiting, back = actor.at(1.5), actor.at(2.5), actor.at(3.5)
    assert middle
    assert waiting
    assert back
    assert (middle.x, middle.facing, middle.moving) == (1.0, 1, True)
    assert (waiting.x, waiting.facing, waiting.moving) == (2.0, 1, False)
    assert (back.x, back.facing, back.travelled) == (1.0, -1, 3.0)


def test_daylight_follows_straight_lines() -> None:
    shot = Shot("street", 0.0, 10.0, daylight=((0.0, 1.0), (4.0, 1.0), (8.0, 0.0)))
    assert [shot.light(t) for t in (0.0, 4.0, 6.0, 8.0, 9.0)] == [1.0, 1.0, 0.5, 0.0, 0.0]
