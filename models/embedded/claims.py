"""What sentences are made of in the encoder's space."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.records import Vector
from models.embedded.space import EVEN


@dataclass(frozen=True, eq=False)
class Clause:
    """One thing that a sentence claims: its words, and the vector whose product with a frame says how true it is."""

    phrase: str
    vector: Vector
    known: bool = True
    at: float = EVEN
    """From how much of it on it is more likely met than not."""
    weight: float = 1.0
    """How much it matters beside the others."""
