"""One database: a single writer, concurrent readers, errors of our family."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError

from ingest.errors import Busy, Conflict, Fatal, HindsightError, StorageFull, StoreCorrupt

Probe = Callable[[str], None]
"""Called with the name of a point where being killed must lose nothing."""


def no_probe(_point: str) -> None:
    """The probe of a running service: nothing happens."""


class Database:
    """SQLite in WAL mode with full synchronisation, or any URL that SQLAlchemy knows."""

    def __init__(self, url: str, probe: Probe = no_probe) -> None:
        self.url = make_url(url)
        self.probe = probe
        self._lock = threading.RLock()
        self.engine = _engine(url)
        if self.embedded:
            with _translated():
                _prepare(str(self.url.database))

    @property
    def embedded(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write: committed at the end of the block, rolled back when it raises."""
        with self._lock, _translated(), self.engine.connect().execution_options(writing=True) as connection:
            with connection.begin():
                yield connection
                self.probe("in transaction")
            self.probe("after commit")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view that never waits for the writer."""
        with _translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    def upsert(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, update: Sequence[str] = ()
    ) -> int:
        """Insert rows; of those that exist by primary key, replace the columns of `update` (none: leave them be).

        Returns how many rows were written.
        """
        if not rows:
            return 0
        dialect = sqlite if self.embedded else postgresql
        statement = dialect.insert(table)
        if update:
            keys = [column.name for column in table.primary_key]
            changes = {name: statement.excluded[name] for name in update}
            full = statement.on_conflict_do_update(index_elements=keys, set_=changes)
        else:
            full = statement.on_conflict_do_nothing()
        return sum(connection.execute(full, dict(row)).rowcount for row in rows)

    def scrub(self) -> None:
        """Give freed pages back and empty the write-ahead log, so that erased bytes leave the disk.

        Raises `Busy` when somebody kept reading what was there before: the old bytes are in the log still.
        """
        if not self.embedded:
            return
        with self._lock, _translated():
            raw = self.engine.raw_connection()
            try:
                raw.cursor().executescript("PRAGMA incremental_vacuum")  # `execute` steps once: one page
                kept, *_ = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                raw.close()
        if kept:
            raise Busy(
                "Erased bytes are still in the database's log: another program reads it.",
                advice="Close whatever else has the database open, and ask again; a restart does it as well.",
            )

    def check(self) -> list[str]:
        """What the database itself says is wrong with it; empty when sound."""
        if not self.embedded:
            return []
        with self.read() as connection:
            lines = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check")]
        return [] if lines == ["ok"] else lines

    def close(self) -> None:
        self.engine.dispose()


def _prepare(path: str) -> None:
    """What a database file remembers for all its connections."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the driver's own rules break DDL transactions
        for pragma in ("busy_timeout=5000", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except HindsightError:
        raise
    except DBAPIError as error:
        raise _ours(error, str(error.orig)) from error
    except sqlite3.Error as error:
        raise _ours(error, str(error)) from error


def _ours(error: DBAPIError | sqlite3.Error, text: str) -> HindsightError:
    lower = text.lower()
    if isinstance(error, IntegrityError):
        return Conflict(f"The database has that already, or misses what it belongs to: {text}.")
    if "disk is full" in lower or "no space" in lower:
        return StorageFull("The database has no space left to write.", advice="Free space, or lower the budgets.")
    if "locked" in lower or "busy" in lower:
        return Busy("The database is locked by another program.", advice="Close whatever else has it open.")
    if "readonly" in lower or "read-only" in lower:
        return Fatal("The database cannot be written: it is read-only.", advice="Make its folder writable.")
    if "malformed" in lower or "not a database" in lower or "corrupt" in lower:
        return StoreCorrupt("The database is damaged.", advice="Restore a backup, or move the file away to start anew.")
    if "unable to open" in lower:
        return Fatal("The database cannot be opened.", advice="Check that its folder exists and may be written.")
    if "connection is bad" in lower or "connection failed" in lower or "closed the connection" in lower:
        return Fatal(
            f"The database server cannot be reached: {text}.", advice="Check HINDSIGHT_DATABASE and the server."
        )
    return Fatal(f"The database refused: {text}.", advice="Run `hindsight doctor`.")
