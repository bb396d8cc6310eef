"""The seam `Bus`: topics of records between stages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from ingest.records import Record

FRAMES: Final = "frames"
"""`Frame` and `Ended`, from capture to the encode stage."""
SOUNDS: Final = "sounds"
"""`Sound` and `Ended`, from capture to the hear stage."""
JOURNAL: Final = "journal"
"""`Segment`, `Coverage`, `Gap`, `StateChange`: what capture did, for the record stage."""
FEATURES: Final = "features"
"""`Feature`, `Heard` and `Ended`, from the encode and hear stages to the remember and watch stages."""


class Policy(Enum):
    """What happens when a stream's queue is full."""

    BLOCK = "block"
    """The publisher waits: nothing of a file is lost."""
    DROP_OLDEST = "drop_oldest"
    """The oldest record makes room and is counted: a live picture stays fresh."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record handed to a group, to be acknowledged or parked."""

    topic: str
    group: str
    record: Record
    token: int
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Room:
    """How it stands with a stream's queue once a record was put on it."""

    filled: float = 0.0
    """Of the fullest group's queue, 0..1."""
    dropped: tuple[Record, ...] = ()
    """What had to make room for it, oldest first."""
    oldest: Record | None = None
    """The oldest that waits still."""


class Bus(Protocol):
    """Topics of records. Every group of a topic gets every record; within a stream, in order. At least once."""

    def publish(self, topic: str, record: Record, policy: Policy = Policy.BLOCK) -> Room:
        """Put a record on `topic` for every group, or raise `Busy`: no room for a while, or the bus is closed.

        After `Busy` no group has the record; the publisher may see whether it should go on, and try again.
        """

    def receive(self, topics: tuple[str, ...], group: str, *, limit: int, wait_s: float) -> list[Delivery]:
        """Up to `limit` records, waiting at most `wait_s` for the first."""

    def acknowledge(self, deliveries: list[Delivery]) -> None:
        """Done with these: they will not be delivered to this group again."""

    def park(self, delivery: Delivery, reason: str) -> None:
        """Set a record aside that cannot be processed; it counts as parked under `reason`."""
