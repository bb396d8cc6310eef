"""The eighty COCO categories, in the order every COCO detector numbers them."""

from __future__ import annotations

from typing import Literal

NAMES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis",
    "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed",
    "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven",
    "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush",
)  # fmt: skip

Group = Literal["person", "vehicle", "animal", "object"]

_VEHICLES = frozenset(range(1, 9))
_ANIMALS = frozenset(range(14, 24))


def group(category: int) -> Group:
    """The coarse group of a category number."""
    if category == 0:
        return "person"
    if category in _VEHICLES:
        return "vehicle"
    return "animal" if category in _ANIMALS else "object"
