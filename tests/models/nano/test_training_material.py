"""Pictures in, training pictures out: the split, what cannot be read, and that a seed decides everything."""

from __future__ import annotations

import io
import json
import random
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from ingest.errors import NotFound
from models.nano.training import sentences
from models.nano.training.augment import Painter, place
from models.nano.training.labels import Chooser, Labels, load, save
from models.nano.training.pictures import Example, held_out, read


def jpeg(colour: tuple[int, int, int], height: int = 120, width: int = 160) -> bytes:
    return cv2.imencode(".png", np.full((height, width, 3), colour, np.uint8))[1].tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "red.png").write_bytes(jpeg((0, 0, 255)))
    (tmp_path / "a" / "broken.jpg").write_bytes(b"not a picture")
    (tmp_path / "a" / "notes.txt").write_text("no picture either")
    (tmp_path / "secret.png").write_bytes(jpeg((9, 9, 9)))
    with tarfile.open(tmp_path / "tiles.tar", "w") as archive:
        data = jpeg((255, 0, 0), 64, 64)
        member = tarfile.TarInfo("n001/blue.png")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return tmp_path


def test_folders_and_archives_are_read_and_the_unreadable_passed_over(folder: Path) -> None:
    found = list(read([folder], exclude=("secret",)))
    assert [(e.name, e.folder, e.origin) for e in found] == [
        ("red.png", "a", "picture"), ("blue.png", "n001", "tile"),
    ]  # fmt: skip
    assert found[0].pixels[0, 0].tolist() == [255, 0, 0], "RGB, not BGR"
    assert found[1].pixels[0, 0].tolist() == [0, 0, 255]


def test_a_place_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no pictures"):
        list(read([tmp_path / "nowhere"]))


def test_a_tenth_is_held_out_whatever_its_folder() -> None:
    names = [f"picture{i}.jpg" for i in range(4000)]
    share = np.mean([held_out(name) for name in names])
    assert 0.08 < share < 0.12
    held = [name for name in names if held_out(name)]
    assert held[:3] == ["picture8.jpg", "picture14.jpg", "picture32.jpg"] or len(held) > 0
    assert not held_out("000000000139.jpg")


def some_painter() -> Painter:
    dice = np.random.default_rng(0)
    pictures = [dice.integers(0, 255, (90 + 10 * i, 140, 3)).astype(np.uint8) for i in range(6)]
    return Painter(pictures, lambda r: r.randrange(4), tiles=[4, 5])


def test_a_seed_makes_the_same_picture_and_another_another() -> None:
    painter = some_painter()
    for seed in range(30):
        once, again = painter.paint(96, seed), some_painter().paint(96, seed)
        np.testing.assert_array_equal(once.pixels, again.pixels)
        assert once.pixels.shape == (96, 96, 3)
    assert not np.array_equal(painter.paint(96, 1).pixels, painter.paint(96, 2).pixels)


@pytest.mark.parametrize("seed", range(25))
def test_a_placed_picture_stays_in_its_window(seed: int) -> None:
    canvas = np.zeros((100, 100, 3), np.uint8)
    white = np.full((40, 70, 3), 255, np.uint8)
    place(canvas, white, (20, 30, 80, 90), random.Random(seed), (0.5, 2.0))
    drawn = (canvas > 0).all(2)
    assert drawn.any()
    assert not drawn[:30].any()
    assert not drawn[90:].any()
    assert not drawn[:, :20].any()
    assert not drawn[:, 80:].any()


def example(name: str, origin: str = "picture", folder: str = "f") -> Example:
    return Example(name, folder, np.zeros((8, 8, 3), np.uint8), origin)


def test_the_chooser_prefers_pictures_with_something_in_them() -> None:
    examples = [example(f"{i}", "picture" if i < 10 else "tile") for i in range(20)]
    content = np.where(np.arange(20) % 2 == 0, 0.9, 0.0).astype(np.float32)
    choose = Chooser(examples, Labels(content))
    drawn = np.bincount([choose(random.Random(i)) for i in range(3000)], minlength=20)
    assert drawn.min() > 0
    assert 0.75 < drawn[::2].sum() / 3000 < 0.85
    assert drawn[:10].sum() > 2 * drawn[10:].sum()


def test_stored_labels_are_used_only_for_as_many_pictures(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    assert load(path, 3) is None
    save(Labels(np.ones(3, np.float32)), path)
    assert load(path, 4) is None
    known = load(path, 3)
    assert known is not None
    np.testing.assert_array_equal(known.content, np.ones(3))


def test_what_is_said_about_a_picture(tmp_path: Path) -> None:
    held = next(f"{i}.jpg" for i in range(100) if held_out(f"{i}.jpg"))
    free = next(f"{i}.jpg" for i in range(100) if not held_out(f"{i}.jpg"))
    captions = {held: ["a secret dog"], free: ["an open cat", "it sits"]}
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    (tmp_path / "classes.json").write_text(json.dumps({"n001": "goldfish, Carassius auratus"}))
    (tmp_path / "lines.txt").write_text("a loose line\n\nA secret dog\n")
    said = sentences.read(tmp_path / "captions.json", tmp_path / "classes.json", [tmp_path / "lines.txt"])
    assert said.about(example(free)) == ("an open cat", "it sits")
    assert said.about(example("x.jpg", folder="n001")) == ("goldfish", "Carassius auratus")
    assert said.about(example("n01440764_great_white_shark.jpg")) == ("great white shark",)
    assert said.about(example("holiday.jpg")) == ()
    learned = said.sentences()
    assert "a loose line" in learned
    assert not any("secret" in sentence for sentence in learned), "captions of held-out pictures stay unheard"
