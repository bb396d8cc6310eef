"""Counters go on after a restart, and the account of every frame balances whatever ended the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st

from api.accounts import Accounts
from api.compose import open_memory
from api.settings import Settings
from ingest.clock import SystemClock
from ingest.ledger import Counts, Ledger
from ingest.records import StreamId
from tests.api.conftest import add, fake_models, running

CAM = StreamId("cam")


def counters(http: Any) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/v1/streams/door").json()["counters"]
    return found


def test_counters_go_on_after_a_restart(settings: Settings, films: Path) -> None:
    with running(settings) as (_, http):
        add(http, "door", films / "plain.mp4")
        before = counters(http)
        assert before["captured"] == before["stored"] > 10
    with running(settings) as (_, http):
        assert counters(http) == before
        http.delete("/v1/streams/door")
        add(http, "door", films / "plain.mp4")
        assert counters(http) == before, "a stream that is new begins at nothing"


def test_what_was_under_way_when_the_process_was_killed_is_counted_and_of_a_file_read_again(
    settings: Settings, films: Path
) -> None:
    with running(settings) as (_, http):
        stream = add(http, "door", films / "plain.mp4")
        before = counters(http)
        torn = Ledger()
        torn.captured(StreamId(stream["id"]), 7)
        torn.stored(StreamId(stream["id"]), 4)
    note_last(settings, torn)
    with running(settings) as (_, http):
        assert counters(http) == {
            "captured": 7, "stored": 4, "repeated": 3, "dropped": {}, "parked": {}, "in_flight": 0, "unheard_s": {}
        }  # fmt: skip
    assert before["captured"] > 7


def note_last(settings: Settings, ledger: Ledger) -> None:
    """What a process that is killed now would have noted last, in the database and beside it."""
    models = fake_models()
    memory = open_memory(settings, models, ledger, SystemClock())
    with memory.store.database.write() as connection:
        for stream in ledger.streams():
            memory.store.streams.note_counters(connection, stream, ledger.counts(stream).text())
            (settings.folder / "accounts" / f"{stream}.json").write_text("torn")
    memory.close()
    models.close()


def test_the_later_of_two_notes_holds_and_a_removed_stream_has_none(tmp_path: Path) -> None:
    """A kill between the rows and the count that follows, and one between two counts: neither loses anything."""
    store = Mock(**{"streams.counters.return_value": {CAM: Counts(captured=5, stored=4).text()}})
    accounts, folder = Accounts(tmp_path), tmp_path
    ledger = Ledger(accounts.keep)
    ledger.captured(CAM, 7)
    ledger.stored(CAM, 3)
    ledger.dropped(CAM, "overload", 1)
    again = Ledger(accounts.keep)
    accounts.restore(store, again)
    assert again.counts(CAM) == Counts(7, 4, {"overload": 1, "restart": 2})
    once_more = Ledger()
    accounts.restore(store, once_more)
    assert once_more.counts(CAM) == again.counts(CAM), "what was lost is counted once"
    (folder / "removed.json").write_text(again.counts(CAM).text())
    accounts.restore(store, Ledger())
    assert [path.name for path in folder.iterdir()] == ["cam.json"]
    again.forget(CAM)
    again.stored(CAM)
    assert (list(folder.iterdir()), again.streams()) == ([], ())


_KINDS = st.sampled_from(["captured", "stored", "dropped", "parked"])


@given(st.lists(st.tuples(_KINDS, st.integers(0, 40), st.integers(1, 9))))
def test_epochs_that_are_folded_change_no_sum(entries: list[tuple[str, int, int]]) -> None:
    """However many epochs there were: the sum of all is the sum of all, and what is not balanced is kept apart."""
    ledger, plain = Ledger(), dict.fromkeys(("captured", "stored", "dropped", "parked"), 0)
    flying: dict[int, int] = {}
    for kind, epoch, count in entries:
        plain[kind] += count
        flying[epoch] = flying.get(epoch, 0) + (count if kind == "captured" else -count)
        match kind:
            case "captured":
                ledger.captured(CAM, count, epoch=epoch)
            case "stored":
                ledger.stored(CAM, count, epoch=epoch)
            case "dropped":
                ledger.dropped(CAM, "overload", count, epoch=epoch)
            case _:
                ledger.parked(CAM, "poison", count, epoch=epoch)
    counts = ledger.counts(CAM)
    assert (counts.captured, counts.stored) == (plain["captured"], plain["stored"])
    assert (sum(counts.dropped.values()), sum(counts.parked.values())) == (plain["dropped"], plain["parked"])
    assert sum(one.in_flight for one in ledger.epochs(CAM).values()) == sum(flying.values())
    again = Ledger()
    again.restore(CAM, counts)
    assert again.counts(CAM).in_flight == min(0, counts.in_flight)
    assert Counts(1, 0, {}, {}).in_flight == 1
