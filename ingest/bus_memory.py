"""The bus of a single process: a bounded queue for each topic, group and stream."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final

from ingest.bus import Delivery, Policy, Room
from ingest.clock import Clock, SystemClock
from ingest.errors import Busy
from ingest.ledger import Ledger
from ingest.records import Frame, Record, Sound, StreamId

PATIENCE_S: Final = 1.0
"""How long a publisher waits for room before it is told `Busy`, and may look whether it is still wanted."""

_PARKED: Final = 100
_Queue = deque[Record]


class MemoryBus:
    """`groups` names the groups of each topic; `capacity` is records per stream and group.

    A slow stream cannot fill another's queue, and streams are served in turn. What was received and not acknowledged
    is lost with the process: the store's mark, not the bus, is what a restart goes by.
    """

    def __init__(
        self,
        groups: Mapping[str, tuple[str, ...]],
        capacity: int = 64,
        *,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._queues: dict[tuple[str, str], OrderedDict[StreamId, _Queue]] = {
            (topic, group): OrderedDict() for topic, names in groups.items() for group in names
        }
        self._groups = dict(groups)
        self._capacity = capacity
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
            while policy is Policy.BLOCK and self._full(topic, record.stream):
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
        """See `Bus`: up to `limit` records, streams in turn, each stream's in order."""
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
            waiting = {
                f"{topic}/{group}": sum(map(len, queues.values())) for (topic, group), queues in self._queues.items()
            }
            for delivery in self._held.values():
                waiting[f"{delivery.topic}/{delivery.group}"] += 1
            return waiting

    def close(self) -> None:
        """Wake everyone: publishers get `Busy`, receivers what is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _full(self, topic: str, stream: StreamId) -> bool:
        groups = self._groups.get(topic, ())
        return any(len(self._queues[topic, group].get(stream, ())) >= self._capacity for group in groups)

    def _put(self, topic: str, record: Record) -> Room:
        """On every group's queue, in the place of the oldest where there is none left; the first group of a topic
        keeps the account."""
        filled, dropped, oldest = 0.0, list[Record](), None
        for position, group in enumerate(self._groups.get(topic, ())):
            queue = self._queues[topic, group].setdefault(record.stream, deque())
            if len(queue) >= self._capacity:
                gone = queue.popleft()
                if position == 0:
                    self._account(gone)
                    dropped.append(gone)
            queue.append(record)
            filled = max(filled, len(queue) / self._capacity)
            oldest = queue[0] if position == 0 else oldest
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
            streams = self._queues.get((topic, group), OrderedDict())
            for stream in list(streams):
                queue = streams[stream]
                while queue and len(taken) < limit:
                    self._token += 1
                    delivery = Delivery(topic, group, queue.popleft(), self._token)
                    self._held[delivery.token] = delivery
                    taken.append(delivery)
                if queue:
                    continue
                del streams[stream]
            if streams:
                streams.move_to_end(next(iter(streams)))
        return taken
