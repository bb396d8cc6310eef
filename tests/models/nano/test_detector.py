"""The detector end to end on weights written by the exporter: a student taught scenes whose boxes are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ingest.errors import Invalid, NotFound
from models.nano.calibration import Calibration
from models.nano.coco import NAMES
from models.nano.detector import WEIGHTS, Judgement, Nano
from models.nano.model import Size, Student
from models.nano.text import PictureMap, TextTower
from models.nano.training.export import Finished, write

TINY = Size(widths=(8, 8, 16, 16, 16), depths=(1, 1, 1, 1), head=16)


def finished(seed: int = 0) -> Finished:
    torch.manual_seed(seed)
    student = Student(TINY).train()
    with torch.no_grad():
        for _ in range(3):
            student(torch.rand(4, 3, 64, 64) * 255)
        for head in student.heads:  # a newborn expects nothing: let it imagine things
            head.objectness.bias.fill_(0.5)
            head.category.bias.add_(4.0)
    dice = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return dice.normal(size=shape).astype(np.float32)

    return Finished(
        student=student.eval(), tower=TextTower(("a", "dog", "red"), some(3, 5)),
        picture=PictureMap(some(TINY.pooled, 5), some(5), np.eye(5, dtype=np.float32) / 5),
        boxes=Calibration(1.0, np.zeros(len(NAMES))), judgement=Judgement(2.0, -3.0, 0.4, floor=0.05), images=5000,
    )  # fmt: skip


@pytest.fixture
def nano(tmp_path: Path) -> Nano:
    torch.set_num_threads(1)
    write(finished(), tmp_path / WEIGHTS)
    return Nano.load(tmp_path)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(360, 640), (640, 360), (1, 1), (33, 1000), (416, 416)])
def test_a_sight_is_well_formed_for_any_picture(nano: Nano, height: int, width: int) -> None:
    (sight,) = nano.see([picture(height, width)])
    scores = [found.score for found in sight.detections]
    assert scores == sorted(scores, reverse=True)
    assert all(0.05 <= score <= 1 for score in scores)
    for found in sight.detections:
        assert found.label in NAMES
        assert 0 <= found.box.left <= found.box.right <= 1
        assert 0 <= found.box.top <= found.box.bottom <= 1
    assert sight.vector.shape == (nano.dim,)
    assert sight.vector.dtype == np.float32
    assert float(np.linalg.norm(sight.vector)) == pytest.approx(1.0, abs=1e-5)


def test_what_is_seen_does_not_depend_on_the_batch(nano: Nano) -> None:
    pictures = [picture(120, 200, 1), picture(200, 120, 2), picture(120, 200, 3)]
    together = nano.see(pictures)
    assert any(sight.detections for sight in together)
    for sight, alone in zip(together, pictures, strict=True):
        (again,) = nano.see([alone])
        assert again.detections == sight.detections
        np.testing.assert_array_equal(again.vector, sight.vector)
    assert nano.see([]) == []


def test_the_stored_student_is_the_student_up_to_half_precision(nano: Nano) -> None:
    made = finished()
    canvas = picture(96, 96)
    maps, summary = nano._forward(canvas)
    with torch.inference_mode():
        seen = made.student(torch.from_numpy(canvas).permute(2, 0, 1)[None].float())
    for ours, theirs in zip(maps, seen.maps, strict=True):
        np.testing.assert_allclose(ours, theirs[0].numpy(), atol=0.05)
    np.testing.assert_allclose(summary, seen.pooled.numpy(), atol=0.05)


def test_a_query_carries_its_own_calibration_and_what_it_did_not_understand(nano: Nano) -> None:
    query = nano.query("a red dog with a xylophone")
    assert query.understood == ("red", "dog")
    assert "xylophone" in query.unknown
    np.testing.assert_array_equal(query.vector, nano.embed(["a red dog with a xylophone"])[0])
    probabilities = query.probability(np.array([-1.0, 0.0, 1.0], np.float32))
    assert (np.diff(probabilities) > 0).all()
    expected = 1 / (1 + np.exp(-(2.0 * 0.3 / np.sqrt(1 / 5) - 3.0)))
    assert float(query.probability(np.float32(0.3))) == pytest.approx(expected, rel=1e-3)
    ordinary = 1 / (1 + np.exp(-(2.0 * 0.3 / 0.4 - 3.0)))
    assert float(nano.probability(np.float32(0.3))) == pytest.approx(ordinary, rel=1e-3)


def test_words_nobody_taught_match_nothing(nano: Nano) -> None:
    query = nano.query("xylophone")
    assert not query.vector.any()
    assert float(query.probability(np.float32(0.0))) < 0.1


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no weights") as caught:
        Nano.load(tmp_path)
    assert "models.nano.train" in caught.value.advice


@pytest.mark.parametrize("damage", ["text", "torn", "other tensors", "one missing"])
def test_what_is_not_nano_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / WEIGHTS
    write(finished(), path)
    if damage == "text":
        path.write_text("weights")
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "other tensors":
        save_file({"weight": torch.zeros(2)}, str(path))
    else:
        made = finished()
        state = {k: v for k, v in made.student.state_dict().items() if "stage8.0.conv" not in k}
        made.student.state_dict = lambda: state  # type: ignore[method-assign]  # as if written by another version
        write(made, path)
    with pytest.raises(Invalid, match="not nano's weights"):
        Nano.load(tmp_path)


def test_writing_again_replaces_and_names_what_it_was_trained_on(tmp_path: Path) -> None:
    write(finished(), tmp_path / WEIGHTS)
    assert Nano.load(tmp_path).id == "nano-5k"
    write(replace(finished(1), images=70_000), tmp_path / WEIGHTS)
    assert Nano.load(tmp_path).id == "nano-70k"
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS]
