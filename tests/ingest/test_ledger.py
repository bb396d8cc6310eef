from __future__ import annotations

import threading
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from ingest.ledger import Counts, Ledger
from ingest.records import StreamId

CAM = StreamId("cam")


@given(st.lists(st.tuples(st.sampled_from(["captured", "stored", "dropped", "parked"]), st.integers(1, 50))))
def test_the_account_is_the_sum_of_its_entries(entries: list[tuple[str, int]]) -> None:
    ledger, sums = Ledger(), {"captured": 0, "stored": 0, "dropped": 0, "parked": 0}
    for kind, count in entries:
        sums[kind] += count
        match kind:
            case "captured":
                ledger.captured(CAM, count)
            case "stored":
                ledger.stored(CAM, count)
            case "dropped":
                ledger.dropped(CAM, "overload", count)
            case _:
                ledger.parked(CAM, "not-video", count)
    counts = ledger.counts(CAM)
    assert counts.in_flight == sums["captured"] - sums["stored"] - sums["dropped"] - sums["parked"]
    assert sum(counts.dropped.values()) == sums["dropped"]


def test_many_threads_lose_no_count() -> None:
    ledger = Ledger()

    def work() -> None:
        for _ in range(2000):
            ledger.captured(CAM)
            ledger.stored(CAM)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = ledger.counts(CAM)
    assert (counts.captured, counts.stored, counts.in_flight) == (8000, 8000, 0)


def test_streams_have_accounts_of_their_own() -> None:
    ledger = Ledger()
    ledger.captured(CAM)
    assert ledger.counts(StreamId("door")).captured == 0


def test_what_comes_late_of_a_stream_that_was_removed_opens_no_account_and_is_not_remembered_for_ever() -> None:
    kept: dict[StreamId, Counts] = {}

    def keep(stream: StreamId, counts: Counts | None) -> None:
        kept.pop(stream, None) if counts is None else kept.update({stream: counts})

    ledger = Ledger(keep)
    tracemalloc.start()
    for number in range(5000):
        stream = StreamId(f"cam-{number}")
        ledger.captured(stream)
        ledger.forget(stream)
        ledger.stored(stream)
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (ledger.streams(), kept) == ((), {})
    assert left < 100_000, "bytes of streams that came and went"
