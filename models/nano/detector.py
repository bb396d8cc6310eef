"""Nano at work: pictures to detections and a vector, sentences to vectors of the same space.

Weights lie beside this file. Pictures are looked at one by one, so what is seen in one never depends on its neighbours
in the batch; on a processor a batch is no faster.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ingest.errors import Invalid, NotFound
from ingest.questions import Query
from ingest.records import Box, Pixels, Vector
from models.nano.boxes import Boxes, Floats, decode, letterbox, suppress
from models.nano.calibration import Calibration, sigmoid
from models.nano.coco import NAMES
from models.nano.text import PictureMap, TextTower

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "weights.safetensors"
SIDE = 416
"""Pixels of the longer side that pictures are looked at with."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing in a picture: its COCO name, the calibrated probability that it is there, and where."""

    label: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What is in one picture, most certain first, and its unit vector float32 [dim]."""

    detections: tuple[Detection, ...]
    vector: Vector


@dataclass(frozen=True, slots=True)
class Judgement:
    """How text scores become probabilities, and from where on a detection is mentioned.

    probability = sigmoid(slope * score / deviation + offset), where deviation is how much the query's scores vary over
    any pictures; `typical` is the deviation of an ordinary query.
    """

    slope: float
    offset: float
    typical: float
    floor: float = 0.1


class Nano:
    """The small model of our own. Make one with `Nano.load`."""

    def __init__(self, network: nn.Module, boxes: Calibration, space: tuple[TextTower, PictureMap], judge: Judgement,
                 id_: str) -> None:  # fmt: skip
        import torch

        self._torch, self._network, self._calibration = torch, network, boxes
        self.text, self._picture = space
        self._judge = judge
        self.id = id_
        assert self.text.dim == self._picture.weight.shape[1], "tower and map are of different spaces"

    @property
    def dim(self) -> int:
        return self.text.dim

    @classmethod
    def load(cls, folder: Path | None = None) -> Nano:
        """From a folder with `weights.safetensors`; without one, the weights that ship with the product.

        Raises NotFound when they are missing and Invalid when they are not nano's.
        """
        path = (folder or Path(__file__).parent) / WEIGHTS
        if not path.exists():
            raise NotFound(f"nano has no weights at {path}", advice="Train them with python -m models.nano.train.")
        return _assemble(path)

    def see(self, pictures: Sequence[Pixels], *, floor: float | None = None) -> list[Sight]:
        """What is in each RGB picture uint8 [H, W, 3] of any size, with a probability of `floor` or more."""
        return [self._look(pixels, self._judge.floor if floor is None else floor) for pixels in pictures]

    def _look(self, pixels: Pixels, floor: float) -> Sight:
        canvas, scale = letterbox(pixels, SIDE)
        maps, summary = self._forward(canvas)
        found = suppress(decode(maps, 0.02))
        scores = self._calibration(found.scores, found.categories)
        height, width = pixels.shape[:2]
        shares = np.asarray(found.corners / scale / np.array([width, height, width, height]), np.float32)
        boxes = Boxes(shares, scores, found.categories).where(scores >= floor)
        return Sight(_detections(boxes), self._picture(summary)[0])

    def _forward(self, canvas: Pixels) -> tuple[list[Floats], Floats]:
        """Maps per level and summary [1, F] of a canvas whose sides are multiples of 32."""
        torch = self._torch
        batch = torch.from_numpy(canvas).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            seen = self._network(batch.contiguous(memory_format=torch.channels_last))
        return [level[0].numpy() for level in seen.maps], seen.pooled.numpy()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [N, dim], unit length, comparable with `Sight.vector`; zeros for a text without a known word."""
        return self.text.embed(texts)

    def query(self, text: str) -> Query:
        """The text with its own calibration: some queries score high with any picture, and that is taken out."""
        reading, vector = self.text.read(text), self.embed([text])
        judge = self._judge
        deviation = float(self._picture.deviation(vector)[0]) if vector.any() else judge.typical
        return Query(text=text, vector=vector[0], slope=judge.slope / deviation, offset=judge.offset,
                     understood=reading.understood, unknown=reading.unknown)  # fmt: skip

    def probability(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated probability that an ordinary text matches a picture, from inner products of any shape."""
        scaled = np.asarray(scores, np.float64) / self._judge.typical
        return sigmoid(self._judge.slope * scaled + self._judge.offset).astype(np.float32)


def _detections(boxes: Boxes) -> tuple[Detection, ...]:
    order = np.argsort(-boxes.scores, kind="stable")
    corners = np.clip(boxes.corners, 0.0, 1.0)
    return tuple(
        Detection(NAMES[boxes.categories[i]], float(boxes.scores[i]), Box(*(float(v) for v in corners[i])))
        for i in order
    )


def _assemble(path: Path) -> Nano:
    """Everything from one file: the student's tensors by their own names, the others under `space` and `boxes`."""
    import torch
    from safetensors import SafetensorError, safe_open

    from models.nano.model import Size, Student, fuse

    try:
        with safe_open(str(path), "pt") as file:
            about = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118  # not a mapping
        shape: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about["size"].items()}
        size = Size(**shape)
        with torch.device("meta"):
            student = Student(size)
        weights = {key: value for key, value in tensors.items() if not key.startswith(("space.", "boxes."))}
        student.load_state_dict(_counters(student, weights), assign=True)
        numbers = {key: value.numpy() for key, value in tensors.items() if key not in weights}
    except (SafetensorError, KeyError, RuntimeError, TypeError) as wrong:
        raise Invalid(f"these are not nano's weights: {path} ({wrong})", advice="Train or fetch them again.") from wrong
    network = fuse(student.eval()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it
    tower = TextTower(about["words"], numbers["space.words"], frozenset(about["plain"]))
    picture = PictureMap(numbers["space.weight"], numbers["space.bias"], numbers["space.spread"])
    boxes = Calibration(about["slope"], numbers["boxes.offsets"].astype(np.float64))
    return Nano(network, boxes, (tower, picture), Judgement(**about["judgement"]), about["id"])


def _counters(student: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the batch counters that normalisation keeps while training, which are not stored."""
    import torch

    kept = [key for key in student.state_dict() if key.endswith("batches_tracked")]
    return weights | {key: torch.zeros((), dtype=torch.long) for key in kept}
