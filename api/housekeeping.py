"""What is tidied while the service runs: retention and budgets, cached clips, abandoned uploads."""

from __future__ import annotations

from api.footage import Footage
from api.schemas import BudgetOut
from api.times import utc
from api.uploads import Uploads
from memory.memory import Memory
from memory.store import StreamRow


class Housekeeping:
    """Everything that is bounded stays within its bounds."""

    def __init__(self, memory: Memory, footage: Footage, uploads: Uploads) -> None:
        self._memory = memory
        self._footage = footage
        self._uploads = uploads

    def tidy(self) -> None:
        trusted = self._memory.enforce()
        self._footage.trim()
        if trusted:
            self._uploads.sweep({row.source for row in self._memory.store.streams.all()})

    def budgets(self) -> list[BudgetOut]:
        """What each stream's memory takes of the disk."""
        return [self._shown(row) for row in self._memory.store.streams.all()]

    def _shown(self, row: StreamRow) -> BudgetOut:
        report = self._memory.budget(row.id)
        return BudgetOut(
            stream=row.name,
            used_bytes=report.memory,
            limit_bytes=report.limit,
            recordings_bytes=report.recordings,
            recordings_limit_bytes=report.recordings_limit,
            detail=dict(report.bytes),
            reach={level: utc(span.start) for level, span in report.reach.items()},
        )
