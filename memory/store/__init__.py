"""The database: the only writer of SQL."""

from memory.store.database import Database, no_probe
from memory.store.rows import ChapterRow, OutboxItem, StreamRow, StreamSettings
from memory.store.store import Store

__all__ = ["ChapterRow", "Database", "OutboxItem", "Store", "StreamRow", "StreamSettings", "no_probe"]
