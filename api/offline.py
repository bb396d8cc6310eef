"""Examining a memory while its service is stopped."""

from __future__ import annotations

from api import settings
from api.compose import open_memory
from api.profile import chosen
from api.schemas import CheckOut
from ingest.clock import SystemClock
from ingest.errors import NotFound
from ingest.guard import Guard
from ingest.ledger import Ledger


def examine(*, repair: bool) -> list[CheckOut]:
    """Raises `NotFound` when there is no memory yet, `Busy` when a service has it after all."""
    found = settings.load()
    if not found.database and not (found.folder / "hindsight.db").exists():
        raise NotFound(f"There is no memory in {found.folder}.", advice="Set HINDSIGHT_DATA to where it is.")
    # Nothing will be answered or heard: only the encoder says which memory this is.
    quiet = found.model_copy(update={"system": "extractive", "audio": False})
    models = chosen(quiet, Guard(found.readable, found.networks, private=found.private))
    try:
        memory = open_memory(found, models, Ledger(), SystemClock())
        try:
            findings = memory.examine(repair=repair)
        finally:
            memory.close()
    finally:
        models.close()
    return [CheckOut(name=finding.name, ok=finding.ok, detail=finding.detail) for finding in findings]
