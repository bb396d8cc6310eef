"""The bus of a single process: a bounded queue for each topic, group and stream.

What waits for one group is bounded as a whole, too, in bytes: where that is used up, a stream keeps its equal share at
most, one record at least, however many there are. A stream that takes less than its share is not touched for another
that takes more (max-min fairness: Bertsekas, Gallager, Data Networks, 2nd ed., section 6.5.2). Who had more before its
share became less gives it up with its next record or, where nothing may be lost, as it is served.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ingest.bus import Delivery, Policy, Room
from ingest.clock import Clock, SystemClock
from ingest.errors import Busy
from ingest.ledger import Ledger
from ingest.records import Feature, Frame, Record, Sound, StreamId

PATIENCE_S: Final = 1.0
"""How long a publisher waits for room before it is told `Busy`, and may look whether it is still wanted."""

BUDGET: Final = 64_000_000

_PARKED: Final = 100


@dataclass(slots=True)
class _Queue:
    """What waits of one stream for one group."""

    records: deque[Record] = field(default_factory=deque)
    bytes: int = 0

    def append(self, record: Record) -> None:
        self.records.append(record)
        self.bytes += weight(record)

    def popleft(self) -> Record:
        gone = self.records.popleft()
        self.bytes -= weight(gone)
        return gone


class _Waiting:
    """What waits of all streams for one group."""

    def __init__(self, capacity: int, budget: int) -> None:
        self.streams: OrderedDict[StreamId, _Queue] = OrderedDict()
        self._capacity, self._budget = capacity, budget

    def full(self, record: Record) -> bool:
        """Whether there is no room for it unless others of its stream go."""
        queue = self.streams.get(record.stream)
        if queue is None or not queue.records:
            return False
        more = weight(record)
        spent = self._bytes + more > self._budget and (queue.bytes + more) * len(self.streams) > self._budget
        return spent or len(queue.records) >= self._capacity

    def put(self, record: Record) -> list[Record]:
        """What had to go for it. Its stream keeps its turn."""
        gone = []
        while self.full(record):
            gone.append(self.streams[record.stream].popleft())
        self.streams.setdefault(record.stream, _Queue()).append(record)
        return gone

    def take(self, stream: StreamId) -> Record:
        """The oldest."""
        queue = self.streams[stream]
        oldest = queue.popleft()
        if not queue.records:
            del self.streams[stream]
        return oldest

    def filled(self, stream: StreamId) -> float:
        """Of what a stream may have, 0..1: its records, or the bytes of all if its own are not less than its share. The
        newest is none of its own here: one that waits alone is served next."""
        queue = self.streams[stream]
        own = queue.bytes - weight(queue.records[-1])
        counted = min(self._bytes, own * len(self.streams))
        return min(1.0, max(len(queue.records) / self._capacity, counted / self._budget))

    @property
    def _bytes(self) -> int:
        return sum(queue.bytes for queue in self.streams.values())


def weight(record: Record) -> int:
    """Bytes of what is large in it."""
    match record:
        case Frame():
            return record.pixels.nbytes
        case Sound():
            return record.samples.nbytes
        case Feature():
            tokens = 0 if record.tokens is None else record.tokens.nbytes
            return record.vector.nbytes + tokens + len(record.thumbnail)
    return 0


class MemoryBus:
    """`groups` names the groups of each topic; `capacity` is records per stream and group, `budget` bytes per group.

    A slow stream cannot fill another's queue, and streams are served in turn. What was received and not acknowledged
    is lost with the process: the store's mark, not the bus, is what a restart goes by.
    """

    def __init__(
        self,
        groups: Mapping[str, tuple[str, ...]],
        capacity: int = 64,
        budget: int = BUDGET,
        *,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._waiting = {
            (topic, group): _Waiting(capacity, budget) for topic, names in groups.items() for group in names
        }
        self._groups = dict(groups)
        self._ledger = ledger
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._closed = False
        self._token = 0
        self._held: dict[int, Delivery] = {}
        self._parked: deque[tuple[Delivery, str]] = deque(maxlen=_PARKED)

    def publish(self, topic: str, record: Record, policy: Policy = Policy.BLOCK) -> Room:
        """See `Bus`. All groups get the record at once, or `Busy` is raised and none has."""
        end = self._clock.monotonic() + PATIENCE_S
        with self._changed:
            while policy is Policy.BLOCK and self._full(topic, record):
                left = end - self._clock.monotonic()
                if self._closed or left <= 0:
                    raise Busy(f"The queue of {topic} is full.", advice="It is tried again.")
                self._changed.wait(left)
            if self._closed:
                raise Busy("The bus is closed.", advice="The service is stopping.")
            room = self._put(topic, record)
            self._changed.notify_all()
            return room

    def receive(self, topics: tuple[str, ...], group: str, *, limit: int, wait_s: float) -> list[Delivery]:
        """See `Bus`: up to `limit` records, one of each stream in turn, each stream's in order."""
        end = self._clock.monotonic() + wait_s
        with self._changed:
            while True:
                taken = self._take(topics, group, limit)
                left = end - self._clock.monotonic()
                if taken or self._closed or left <= 0:
                    if taken:
                        self._changed.notify_all()
                    return taken
                self._changed.wait(left)

    def acknowledge(self, deliveries: list[Delivery]) -> None:
        """See `Bus`."""
        with self._changed:
            for delivery in deliveries:
                self._held.pop(delivery.token, None)

    def park(self, delivery: Delivery, reason: str) -> None:
        """See `Bus`. The newest hundred are kept to be looked at; who drives the stage counts them."""
        with self._changed:
            self._held.pop(delivery.token, None)
            self._parked.append((delivery, reason))

    def parked(self) -> list[tuple[Delivery, str]]:
        """What was set aside, oldest first, and why."""
        with self._changed:
            return list(self._parked)

    def depth(self) -> Mapping[str, int]:
        """Records waiting or being handled, by "topic/group"."""
        with self._changed:
            depths = {
                f"{topic}/{group}": sum(len(queue.records) for queue in waiting.streams.values())
                for (topic, group), waiting in self._waiting.items()
            }
            for delivery in self._held.values():
                depths[f"{delivery.topic}/{delivery.group}"] += 1
            return depths

    def close(self) -> None:
        """Wake everyone: publishers get `Busy`, receivers what is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _full(self, topic: str, record: Record) -> bool:
        return any(self._waiting[topic, group].full(record) for group in self._groups.get(topic, ()))

    def _put(self, topic: str, record: Record) -> Room:
        """On every group's queue, in the place of the oldest where there is no room; the first group of a topic keeps
        the account."""
        filled, dropped, oldest = 0.0, list[Record](), None
        for position, group in enumerate(self._groups.get(topic, ())):
            waiting = self._waiting[topic, group]
            gone = waiting.put(record)
            filled = max(filled, 1.0 if gone else waiting.filled(record.stream))
            if position == 0:
                dropped, oldest = gone, waiting.streams[record.stream].records[0]
        for one in dropped:
            self._account(one)
        return Room(filled, tuple(dropped), oldest)

    def _account(self, dropped: Record) -> None:
        if self._ledger is None:
            return
        if isinstance(dropped, Frame):
            self._ledger.dropped(dropped.stream, "overload", epoch=dropped.epoch)
        elif isinstance(dropped, Sound):
            self._ledger.unheard(dropped.stream, "overload", dropped.span.duration, epoch=dropped.epoch)

    def _take(self, topics: tuple[str, ...], group: str, limit: int) -> list[Delivery]:
        taken: list[Delivery] = []
        for topic in topics:
            waiting = self._waiting.get((topic, group))
            while waiting is not None and waiting.streams and len(taken) < limit:
                stream = next(iter(waiting.streams))
                waiting.streams.move_to_end(stream)
                self._token += 1
                delivery = Delivery(topic, group, waiting.take(stream), self._token)
                self._held[delivery.token] = delivery
                taken.append(delivery)
        return taken
