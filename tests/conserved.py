"""The law of conservation, for whoever started a capture: captured = stored + dropped + parked, nothing under way."""

from __future__ import annotations

from pathlib import Path

from ingest.ledger import Counts, Ledger


def assert_conserved(ledger: Ledger) -> None:
    """Once all has ended: of each stream, and of each epoch of it."""
    for stream in ledger.streams():
        flying = {epoch: counts.in_flight for epoch, counts in ledger.epochs(stream).items() if counts.in_flight}
        assert (flying, ledger.counts(stream).in_flight) == ({}, 0), stream


def assert_left_conserved(data: Path, *, amid: bool = False) -> None:
    """Once a service in a process of its own has ended: of each stream, as it noted in its folder. `amid`: while some
    was under way, as it may when it is killed or stopped; of that, too, nothing was counted twice."""
    noted = {path.stem: Counts.read(path.read_text().partition("\n")[0]) for path in (data / "accounts").glob("*.json")}
    assert {
        stream: counts for stream, counts in noted.items() if counts.in_flight < 0 or (not amid and counts.in_flight)
    } == {}
