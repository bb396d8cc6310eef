"""The index over slots: derived data, always rebuildable from the database."""

from memory.index.brute import BruteIndex
from memory.index.protocol import Entries, Match, VectorIndex

__all__ = ["BruteIndex", "Entries", "Match", "VectorIndex"]
