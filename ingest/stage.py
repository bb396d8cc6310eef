"""The seam `Stage` and the one loop that owns delivery for every stage and both buses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ingest.records import Record


class Stage(Protocol):
    """A step of the pipeline: records in, records out.

    It never acknowledges, retries or sleeps: `drive` does. Handling the same batch twice has the effect of once.
    Raises `Transient` to be given the batch again, `Poison` to have the record set aside, `Fatal` to stop.
    """

    @property
    def name(self) -> str:
        """Also the name of its group on the bus."""

    @property
    def consumes(self) -> tuple[str, ...]:
        """Topics it receives from."""

    @property
    def produces(self) -> str | None:
        """Topic that what it returns is published to; None when it returns nothing."""

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        """Process records of one or more streams, in each stream's order."""
