"""A year of recordings, events, alerts, holds and changed settings, beside a simple account of what must be kept."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

from ingest.clock import FakeClock
from ingest.records import Alert, Moment, Record, Segment, Span, seconds
from memory.memory import Memory
from memory.store import StreamSettings
from memory.store.rows import Hold
from tests.memory.conftest import DOOR, START, OpenMemory, seen

DAY = seconds(86_400)
AROUND = seconds(30)


@dataclass
class Account:
    """What should be there, by looking at every pair of a recording and something that happened."""

    recordings: list[Segment] = field(default_factory=list)
    events: list[Span] = field(default_factory=list)
    alerts: list[Span] = field(default_factory=list)
    holds: dict[int, Span] = field(default_factory=dict)
    keep: int = 30 * DAY
    keep_events: int = 0
    keep_alerts: int = 0
    room: int = 10**9

    def worth(self, one: Segment) -> int:
        def near(spans: list[Span], margin: int) -> bool:
            return any(one.span.start < s.end + margin and s.start - margin < one.span.end for s in spans)

        if near(list(self.holds.values()), 0):
            return 3
        return 2 if near(self.alerts, AROUND) else 1 if near(self.events, AROUND) else 0

    def longest(self, worth: int) -> int:
        return [self.keep, max(self.keep, self.keep_events), max(self.keep, self.keep_events, self.keep_alerts)][worth]

    def tidied(self, now: int) -> None:
        """A fifth at most of what there is goes for its age, the oldest; then what is worth least for its size."""
        worth = {one.key: self.worth(one) for one in self.recordings}
        old = [o for o in self.recordings if worth[o.key] < 3 and now - o.span.end > self.longest(worth[o.key])]
        for one in old[: max(1, len(self.recordings) // 5)]:
            self.recordings.remove(one)
        for level in range(3):
            for one in list(self.recordings):
                if worth[one.key] == level and sum(each.size for each in self.recordings) > self.room:
                    self.recordings.remove(one)


def test_a_year_keeps_what_must_be_kept(open_memory: OpenMemory, clock: FakeClock, swift_path: Path) -> None:
    rng, account, happened = random.Random(1), Account(), set[str]()
    memory = open_memory(folder=swift_path / "data", keep_recordings_s=30 * 86_400.0)
    for day in range(0, 365, 2):
        film(memory, account, rng, swift_path, day)
        if day % 30 == 8:
            change(memory, account, rng)
        if rng.random() < 0.05:
            begin = Moment(START + rng.randrange((day + 1) * DAY))
            span = Span(begin, Moment(begin + rng.randrange(DAY * 5)))
            hold: Hold = memory.hold(DOOR, span, f"Case {day}")
            account.holds[hold.id] = span
        if account.holds and rng.random() < 0.04:
            gone = rng.choice(list(account.holds))
            memory.store.holds.release(gone)
            del account.holds[gone]
        clock.advance(2 * 86_400)
        before = list(account.recordings)
        account.tidied(clock.now())
        memory.enforce()
        assert memory.store.timeline.segments(DOOR) == tuple(account.recordings), f"on day {day}"
        happened |= {f"{account.worth(one)} went" for one in before if one not in account.recordings}
        old = [one for one in account.recordings if one.span.end < clock.now() - 30 * DAY]
        happened |= {f"{account.worth(one)} stayed" for one in old}
    there = {path.name for path in swift_path.glob("*.mp4")}
    assert there == {Path(one.path).name for one in account.recordings}
    assert happened == {"0 went", "1 went", "2 went", "0 stayed", "1 stayed", "2 stayed", "3 stayed"}


def film(memory: Memory, account: Account, rng: random.Random, folder: Path, day: int) -> None:
    """Two recordings of any size every other day, and what happened within them."""
    told_now: list[Record] = []
    for part in range(2):
        begin = Moment(START + day * DAY + part * DAY // 2)
        end = Moment(begin + rng.randrange(DAY // 4, DAY // 2))
        path = folder / f"{day}-{part}.mp4"
        path.write_bytes(b"")
        one = Segment(DOOR, day, Span(begin, end), str(path), rng.randrange(10_000, 400_000))
        account.recordings.append(one)
        told_now.append(one)
    for told, likely in ((account.events, 0.5), (account.alerts, 0.2)):
        if rng.random() < likely:
            start = Moment(START + day * DAY + rng.randrange(DAY))
            span = Span(start, Moment(start + rng.randrange(seconds(3600))))
            told.append(span)
            if told is account.alerts:
                memory.store.alerts.save(Alert("rule", DOOR, span, 0.9, start, "because"))
            else:
                at = (start - START) / 1e6
                note = seen(at, (span.end - START) / 1e6, f"{day}", kind="event", label="enters")
                told[-1] = note.span
                told_now.append(note)
    memory.remember.handle(told_now)


def change(memory: Memory, account: Account, rng: random.Random) -> None:
    """Other ages and another budget from now on."""
    days = [rng.choice([1, 5, 20, 60]), rng.choice([0, 10, 80]), rng.choice([0, 30, 150])]
    megabytes = rng.choice([0, 2, 5, 15])
    account.keep, account.keep_events, account.keep_alerts = (number * DAY for number in days)
    account.room = megabytes * 1_000_000 or 10**12
    own = StreamSettings(
        keep_recordings_hours=days[0] * 24,
        keep_events_hours=days[1] * 24,
        keep_alerts_hours=days[2] * 24,
        recordings_budget_mb=megabytes,
    )
    row = memory.store.streams.get(DOOR)
    memory.store.streams.change(replace(row, settings=own))
