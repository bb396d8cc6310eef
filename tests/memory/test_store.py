"""Rules, alerts, the outbox, the schema, and what a database does when it cannot."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event

from ingest.clock import FakeClock
from ingest.errors import Busy, Conflict, HindsightError, NotFound, StorageFull, StoreCorrupt
from ingest.ledger import Ledger
from ingest.questions import Rule, Schedule, Scope
from ingest.records import Alert, Moment, StreamId, seconds
from memory import migrations
from memory.memory import Memory
from memory.store import Database, StreamSettings, schema
from memory.store import alerts as memory_alerts
from memory.store.rows import OutboxState
from tests.memory.conftest import DOOR, START, OpenMemory, feature, frames_of, mark, span

RULE = Rule("r1", "someone", "something enters", (DOOR,), schedule=Schedule((1, 5), 60, 120, "Europe/Berlin"))


def alert(at_s: float, to_s: float = 0, stream: StreamId = DOOR, rule: str = "r1") -> Alert:
    return Alert(rule, stream, span(at_s, max(to_s, at_s + 1)), 0.9, Moment(START + seconds(at_s)), "something enters")


def test_the_migrations_make_the_schema_the_code_uses(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    migrations.upgrade(database)
    migrations.upgrade(database)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    database.close()


def test_the_migrations_are_one_chain_in_the_order_of_their_numbers() -> None:
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    chain = [step.revision for step in script.walk_revisions()][::-1]
    numbers = sorted(file.name[:4] for file in Path(script.versions).glob("[0-9]*.py"))
    assert len(script.get_heads()) == 1
    assert chain == numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_a_sampling_policy_of_before_is_among_a_stream_s_settings(open_memory: OpenMemory) -> None:
    memory = open_memory()
    memory.store.streams.change(
        replace(memory.store.streams.get(DOOR), settings=StreamSettings(sampling="keys", audio=False))
    )
    memory.close()
    database = Database(f"sqlite:///{memory.folder / 'hindsight.db'}")
    migrations.upgrade(database, back_to="0008")
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT sampling FROM streams ORDER BY sampling DESC").scalars().all() == [
            "keys",
            "",
        ]
    database.close()
    assert open_memory().store.streams.get(DOOR).settings == StreamSettings(sampling="keys")


def test_summaries_that_only_waited_go_with_the_schema_that_needed_them(open_memory: OpenMemory) -> None:
    """Of a database of the schema before: what lay under a summary stays, the summary that waited above it goes."""
    memory = open_memory()
    memory.remember.handle([feature(t) for t in range(130)])
    before = memory.store.chapters.all()
    memory.close()
    database = Database(f"sqlite:///{memory.folder / 'hindsight.db'}")
    migrations.upgrade(database, back_to="0003")
    with database.write() as connection:
        names = [column.name for column in schema.chapters.columns]
        columns = ", ".join(f'"{name}"' for name in names)
        values = ", ".join("'door/hour/1'" if name == "id" else f'"{name}"' for name in names)
        copy = f"INSERT INTO chapters ({columns}, leaf) SELECT {values}, 0 FROM chapters LIMIT 1"
        assert connection.exec_driver_sql(copy).rowcount == 1
    database.close()
    memory = open_memory()
    assert memory.store.chapters.all() == before
    assert frames_of(memory) == 130
    assert all(finding.ok for finding in memory.examine())


def test_rules_are_kept(memory: Memory) -> None:
    rules = memory.store.rules
    rules.save(RULE)
    rules.save(Rule("r2", "another", "it is dark"))
    assert rules.get("someone") == rules.get("r1") == RULE
    assert [rule.id for rule in rules.all()] == ["r2", "r1"]
    with pytest.raises(Conflict, match="already a rule called 'someone'"):
        rules.save(Rule("r3", "someone", "x"))
    rules.delete("r2")
    with pytest.raises(NotFound):
        rules.get("r2")
    with pytest.raises(NotFound):
        rules.delete("r2")


def test_an_alert_is_new_once_and_grows(memory: Memory) -> None:
    alerts = memory.store.alerts
    assert alerts.save(alert(10), told=True)
    assert not alerts.save(alert(10, 15), told=True)
    assert alerts.save(alert(20, stream=StreamId("yard"), rule="r2"))
    assert [a.span.start for a in alerts.list()] == [span(20, 21).start, span(10, 11).start]
    assert alerts.list(scope=Scope((DOOR,))) == [alert(10, 15)]
    assert alerts.list(rule="r2", limit=1)[0].stream == "yard"
    assert alerts.list(scope=Scope((), span(0, 5))) == []
    assert alerts.get(alert(10).key) == alert(10, 15)
    with pytest.raises(NotFound):
        alerts.get("nothing")


def test_changes_of_alerts_are_numbered_for_ever(memory: Memory) -> None:
    alerts = memory.store.alerts
    alerts.save(alert(10))
    alerts.save(alert(20))
    alerts.save(alert(10, 15))
    changes = alerts.since(0, 10)
    assert [(number, a.span.start) for number, a in changes] == [(2, span(20, 21).start), (3, span(10, 11).start)]
    assert alerts.since(3) == []
    memory.erase(DOOR, span(0, 100))
    alerts.save(alert(200))
    assert [number for number, _ in alerts.since(3)] == [4]


def test_what_is_given_up_stays_to_be_seen_and_is_never_due(memory: Memory) -> None:
    memory.store.alerts.save(alert(1), told=True)
    (item,) = memory.store.outbox.due(Moment(START))
    assert memory.store.outbox.state() == OutboxState(1, 0)
    memory.store.outbox.give_up(item.id, "Nobody there.")
    assert memory.store.outbox.state() == OutboxState(0, 1, "Nobody there.")
    assert memory.store.outbox.due(Moment(START + seconds(10**9))) == []


def test_the_outbox_has_bounds(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_alerts, "MOST_WAITING", 3)
    for at in range(5):
        memory.store.alerts.save(alert(at), told=True)
    state = memory.store.outbox.state()
    assert (state.waiting, state.given_up, state.error) == (3, 2, "Too many deliveries were waiting.")
    kept = [item.alert_key for item in memory.store.outbox.due(Moment(START))]
    assert kept == [alert(at).key for at in (2, 3, 4)]


def test_the_outbox_delivers_until_it_is_told(memory: Memory) -> None:
    memory.store.alerts.save(alert(10), told=True)
    memory.store.alerts.save(alert(10, 12), told=True)
    outbox, now = memory.store.outbox, Moment(START)
    (item,) = outbox.due(now)
    assert (item.attempts, item.alert_key) == (0, alert(10).key)
    outbox.failed(item.id, "no answer", Moment(now + 10))
    assert outbox.due(now) == []
    (item,) = outbox.due(Moment(now + 10))
    assert item.attempts == 1
    outbox.delivered(item.id)
    assert outbox.due(Moment(now + 99)) == []


def test_a_rule_remembers_how_far_it_looked(memory: Memory) -> None:
    memory.store.rules.save(RULE)
    assert memory.store.alerts.watermark("r1", DOOR) is None
    memory.store.alerts.save_progress("r1", DOOR, mark(5))
    memory.store.alerts.save_progress("r1", DOOR, mark(9))
    assert memory.store.alerts.watermark("r1", DOOR) == mark(9)
    with pytest.raises(NotFound):
        memory.store.alerts.save_progress("gone", DOOR, mark(9))


def test_a_full_disk_is_said_and_nothing_is_torn(open_memory: OpenMemory) -> None:
    """SQLite is given only a few more pages than it has: the same error as a full disk, at the same place."""
    memory = open_memory()
    memory.remember.handle([feature(t) for t in range(10)])
    _allow_pages(memory.store.database, 40)
    with pytest.raises(StorageFull, match="no space left"):
        _fill(memory)
    memory = open_memory()
    assert frames_of(memory) == memory.store.streams.frames(DOOR)
    assert memory.store.streams.mark(DOOR) == mark(memory.store.streams.frames(DOOR) - 1)
    memory.remember.handle([feature(t) for t in range(200)])
    assert frames_of(memory) == 200


def _fill(memory: Memory) -> None:
    for t in range(10, 400):
        memory.remember.handle([feature(t, thumbnail=bytes(5000))])


def _allow_pages(database: Database, more: int) -> None:
    with database.read() as connection:
        most = connection.exec_driver_sql("PRAGMA page_count").scalar_one() + more
    database.engine.dispose()

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={most}")

    event.listen(database.engine, "connect", limit)


def test_a_disk_that_fills_up_while_sealing_is_said_and_recovers(tmp_path: Path) -> None:
    """A real limit on file sizes (RLIMIT_FSIZE) in a child process: the chapter file does not fit, the rows do."""
    code = textwrap.dedent(
        """
        import sys, pathlib, resource, signal
        from ingest.errors import HindsightError
        from tests.memory.test_store import small_memory
        from tests.memory.conftest import feature, frames_of, DOOR
        import numpy as np
        memory = small_memory(pathlib.Path(sys.argv[1]))
        noise = [np.random.default_rng(t).bytes(30_000) for t in range(200)]
        memory.remember.handle([feature(t, thumbnail=noise[t]) for t in range(50)])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
        try:
            memory.remember.handle([feature(60 + t, thumbnail=noise[t]) for t in range(3)])
        except HindsightError as error:
            print(error.code)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(frames_of(memory))
        memory.remember.handle([feature(60 + t, thumbnail=noise[t]) for t in range(3)])
        print(frames_of(memory), [f.ok for f in memory.examine()] == [True] * 6)
        """
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["storage-full", "50", "53", "True"]


def small_memory(folder: Path) -> Memory:
    from memory.memory import MemoryOptions
    from tests.memory.conftest import stream_row

    options = MemoryOptions(chapter_s=60.0, bank_length=8)
    memory = Memory.open(folder, encoder="test-1", dim=16, ledger=Ledger(), clock=FakeClock(START), options=options)
    memory.store.streams.add(stream_row())
    return memory


def test_a_locked_database_is_busy(memory: Memory) -> None:
    other = sqlite3.connect(memory.folder / "hindsight.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match="locked by another program"):
        memory.remember.handle([feature(1)])
    other.execute("ROLLBACK")
    other.close()
    memory.remember.handle([feature(1)])
    assert frames_of(memory) == 1


def test_a_damaged_database_is_refused(open_memory: OpenMemory, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "hindsight.db").write_bytes(b"This is not a database, however long you look at it." * 100)
    with pytest.raises(StoreCorrupt, match="damaged"):
        Memory.open(folder, encoder="test-1", dim=16, ledger=Ledger(), clock=FakeClock(START))
    memory = open_memory()
    memory.remember.handle([feature(t) for t in range(130)])
    memory.close()
    path = memory.folder / "hindsight.db"
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 20] = bytes(4096 * 17)
    path.write_bytes(content)
    with pytest.raises(HindsightError) as caught:
        Memory.open(memory.folder, encoder="test-1", dim=16, ledger=Ledger(), clock=FakeClock(START))
    assert caught.value.code == "store-corrupt"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HindsightError, match="cannot be written") as caught:
        Memory.open(tmp_path / "file", encoder="test-1", dim=16, ledger=Ledger(), clock=FakeClock(START))
    assert caught.value.advice
