"""The kinds of things that have names: the detector's categories, the groups that people speak of, and faces."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from models.nano.coco import NAMES

GROUPS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "vehicle": frozenset(NAMES[1:9]),
        "animal": frozenset(NAMES[14:24]),
        "bag": frozenset({"backpack", "handbag", "suitcase"}),
        "food": frozenset(NAMES[46:56]),
        "furniture": frozenset({"bench", "chair", "couch", "bed", "dining table"}),
    }
)
"""Names for several categories at once."""
FACE: Final = "face"
"""A face turned to the camera; nobody's colour and doings are told of it."""
KINDS: Final = (*NAMES, *GROUPS, FACE)

ROWS: Final = (
    "person", "vehicle", "car", "truck", "bus", "bicycle", "motorcycle", "animal", "dog", "cat", "bird", "object",
)  # fmt: skip
"""Kinds whose colour and doings are told apart; the others share the row of their group, or "object"."""

TRAVELLING: Final = frozenset({"person"}) | GROUPS["vehicle"] | GROUPS["animal"] | frozenset(NAMES[29:39])
"""What crosses a picture without being carried: the living, vehicles, and what is thrown or ridden in sport."""


def groups_of(kind: str) -> tuple[str, ...]:
    """The groups that a category belongs to, widest last."""
    return tuple(group for group, members in GROUPS.items() if kind in members)


def rows_of(kind: str) -> tuple[str, ...]:
    """The rows that a thing of this kind fills."""
    rows = tuple(row for row in (kind, *groups_of(kind)) if row in ROWS)
    return rows or ("object",)


def row_of(kind: str) -> str:
    """The most particular row to ask about this kind."""
    return rows_of(kind)[0]
