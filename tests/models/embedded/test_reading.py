"""Text in the picture: when it is read, how long it is known to be shown, and that it is read right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ingest.records import MICROSECONDS, Box, Moment, Pixels
from ingest.sampling import Sampler, Sampling, shrink
from models.embedded.pictures import grey
from models.embedded.reading import Line, RapidReader, TextFollower, words_of
from tests.models.embedded.yard import Scene, every, frame, seconds, watch


def written(pixels: Pixels, *lines: str, top: int = 40) -> Pixels:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    for index, line in enumerate(lines):
        draw.text((30, top + 50 * index), line, fill=(255, 255, 255), font=ImageFont.load_default(34))
    return np.asarray(picture).copy()


def dark() -> Pixels:
    return np.full((240, 426, 3), 30, np.uint8)


class Counting:
    """A reader that knows what is shown and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.lines: list[Line] = []

    def read(self, pixels: Pixels) -> list[Line]:
        self.asked += 1
        return self.lines


def follow(shots: Sequence[tuple[float, Pixels]], reader: Counting) -> list[tuple[str, ...]]:
    follower = TextFollower(reader)
    return [
        tuple(one.line.text for one in follower.follow(pixels, Moment(round(t * 1e6)), str(t), fresh=False))
        for t, pixels in shots
    ]


def test_words_are_read_right() -> None:
    lines = RapidReader().read(written(dark(), "CLOSED TODAY", "back at 9"))
    assert [line.text.lower() for line in lines] == ["closed today", "back at 9"]
    assert all(line.score > 0.8 for line in lines)
    assert lines[0].box.bottom < lines[1].box.top


def test_a_picture_without_text_is_not_read() -> None:
    reader = Counting()
    follow([(t, Scene([]).at(t)) for t in every(0.5, 10)], reader)
    assert reader.asked == 0


def test_a_title_that_stays_is_read_once() -> None:
    reader = Counting()
    reader.lines = [Line("CLOSED TODAY", 0.9, Box(0.06, 0.18, 0.75, 0.33))]
    card = written(dark(), "CLOSED TODAY")
    shown = follow([(t, card) for t in every(0.5, 30)], reader)
    assert reader.asked == 1
    assert set(shown) == {("CLOSED TODAY",)}


def test_endless_change_is_read_at_a_bounded_rate() -> None:
    """A busy picture with something like text in it: no more than one reading in several seconds."""
    reader = Counting()
    rng = np.random.default_rng(2)
    shots = []
    for t in every(0.25, 120):
        words = "".join(rng.choice(list("ABCDEFGH"), 9))
        shots.append((t, written(dark(), words, top=int(rng.integers(0, 180)))))
    follow(shots, reader)
    assert reader.asked <= 120 / 5


def test_what_was_shown_is_timed_to_a_second() -> None:
    plain, card = dark(), written(dark(), "CLOSED TODAY")
    noise = np.random.default_rng(0)

    def shot(t: float) -> Pixels:
        picture = (card if 4.0 <= t < 9.0 else plain).astype(np.int16) + noise.integers(-3, 4, plain.shape)
        return np.clip(picture, 0, 255).astype(np.uint8)

    seen = watch([frame(shot(t), t) for t in every(0.5, 14)])
    (read,) = seen.observations("read")
    assert read.text == "CLOSED TODAY"
    assert seconds(read.span) == pytest.approx((4.0, 9.0), abs=1.0)
    for sentence in ('the text "closed today"', "CLOSED", "written text"):
        ((start, end),) = seen.spans(sentence)
        assert (start, end) == pytest.approx((4.0, 9.0), abs=1.0)
    for absent in ('the text "open"', "a dog", "a car", "TAXI"):
        assert not seen.spans(absent)


@pytest.mark.parametrize("gone", [8.12, 9.0, 10.08])
def test_what_was_shown_is_not_told_beyond_the_first_picture_without_it(gone: float) -> None:
    """Where nothing moves pictures are seconds apart, and a change is seen at once."""
    plain, card = dark(), written(dark(), "CLOSED TODAY")
    sampler, frames = Sampler(Sampling(floor_hz=0.5, ceiling_hz=4.0)), []
    for t in every(0.04, 13):
        picture, pts = card if 4.0 <= t < gone else plain, round(t * MICROSECONDS)
        if sampler.wants(pts) and sampler.judge(pts, shrink(grey(picture))):
            frames.append(frame(picture, t))
    seen = watch(frames)
    without = min(at for at in (seconds(one.span)[0] for one in seen.features) if at >= gone)
    (read,) = seen.observations("read")
    start, end = seconds(read.span)
    assert start == 4.0
    assert gone - 1.0 <= end <= without <= gone + 0.25


def test_a_line_misread_once_stays_one_line() -> None:
    reader = Counting()
    follower = TextFollower(reader)
    names = []
    for index, text in enumerate(("CLOSED TODAY", "CL0SED TODAY", "CLOSED TODAY")):
        reader.lines = [Line(text, 0.9 - index / 100, Box(0.06, 0.18, 0.75, 0.33))]
        picture = np.roll(written(dark(), "CLOSED TODAY"), 60 * index, axis=0)
        (shown,) = follower.follow(picture, Moment(index * 2_000_000), str(index), fresh=True)
        names.append((shown.id, shown.line.text))
    assert names == [("0-t1", "CLOSED TODAY")] * 3


def test_words_keep_their_certainty() -> None:
    box = Box(0, 0, 1, 1)
    assert words_of([Line("Don't stop", 0.8, box), Line("stop!", 0.95, box)]) == {"don't": 0.8, "stop": 0.95}


def at_top(text: str, score: float = 0.9) -> Line:
    return Line(text, score, Box(0.06, 0.18, 0.75, 0.33))


def test_a_clock_in_the_picture_is_one_line_from_first_to_last() -> None:
    """A quarter of an hour of a burnt-in clock with its date: one row, read no oftener than anything that stays."""
    reader, follower = Counting(), TextFollower(Counting())
    follower._reader = reader
    names, texts = set(), []
    for second in range(900):
        told = f"2026-11-25 09:{second // 60:02}:{second % 60:02} CAM 1"
        reader.lines = [at_top(told, 0.85 + second % 7 / 100)]
        (shown,) = follower.follow(written(dark(), told), Moment(second * 1_000_000), str(second), fresh=False)
        names.add(shown.id)
        texts.append(shown.text)
    assert names == {"0-t1"}
    assert texts[0] == "2026-11-25 09:00:00 CAM 1"
    assert texts[-1].startswith("2026-11-25 09:00:00 CAM 1 … 2026-11-25 09:14:")
    assert reader.asked < 900 / 4


def test_a_clock_that_goes_is_gone_and_a_sign_that_changes_is_another() -> None:
    reader = Counting()
    follower = TextFollower(reader)

    def look(second: float, *lines: Line, shown: str = "") -> list[str]:
        reader.lines = list(lines)
        picture = written(dark(), shown) if shown else dark()
        now = follower.follow(picture, Moment(round(second * 1e6)), str(second), fresh=True)
        return [one.text for one in now]

    assert look(0, at_top("12:59:59"), shown="12:59:59") == ["12:59:59"]
    assert look(7, at_top("13:00:06"), shown="13:00:06") == ["12:59:59 … 13:00:06"]
    assert look(14) == []
    assert look(30, at_top("Gate 12"), shown="Gate 12") == ["Gate 12"]
    assert look(40, at_top("Gate 77 closed"), shown="Gate 77 closed") == ["Gate 77 closed"]


def test_words_that_run_by_make_a_bounded_number_of_rows() -> None:
    """A ticker: something new in every picture, for five minutes."""
    reader = Counting()
    follower = TextFollower(reader)
    rng = np.random.default_rng(5)
    ids = set()
    for second in range(300):
        told = "".join(rng.choice(list("ABCDEFGHIJKLMNOP"), 12))
        reader.lines = [at_top(told)]
        picture = written(dark(), told, top=int(rng.integers(20, 160)))
        ids |= {one.id for one in follower.follow(picture, Moment(second * 1_000_000), str(second), fresh=False)}
    assert len(ids) <= 300 / 5
