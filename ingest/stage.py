"""The seam `Stage` and the one loop that owns delivery for every stage and both buses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ingest.bus import JOURNAL, Bus, Delivery, Policy
from ingest.clock import Clock, SystemClock
from ingest.errors import Busy, Fatal, HindsightError, Transient
from ingest.ledger import Ledger
from ingest.records import Feature, Frame, Gap, Moment, Record, Sound, Span

_LOG = logging.getLogger(__name__)
_LOOK_S: Final = 0.5
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 2.0


class Stage(Protocol):
    """A step of the pipeline: records in, records out.

    It never acknowledges, retries or sleeps: `drive` does. Handling the same batch twice has the effect of once.
    Raises `Transient` to be given the batch again, `Poison` to have the record set aside, `Fatal` to stop.
    """

    @property
    def name(self) -> str:
        """Also the name of its group on the bus."""

    @property
    def consumes(self) -> tuple[str, ...]:
        """Topics it receives from."""

    @property
    def produces(self) -> str | None:
        """Topic that what it returns is published to; None when it returns nothing."""

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        """Process records of one or more streams, in each stream's order."""


def drive(  # noqa: PLR0913 the one loop: everything by name
    stage: Stage,
    bus: Bus,
    stop: threading.Event,
    *,
    ledger: Ledger | None = None,
    batch: int = 16,
    clock: Clock | None = None,
    waiting: Callable[[str], None] | None = None,
) -> None:
    """Run `stage` until `stop` is set: receive, handle, publish, acknowledge last.

    What is transient is tried again for as long as it takes, what is poison is parked, and `Fatal` leaves this loop.
    `ledger` counts parked frames and sounds: give it to the stages that these pass on their way to the store, and to
    no other. What is parked is a gap.
    `waiting` hears what is waited for, and an empty text when it came.
    """
    driver = _Driver(stage, bus, stop, ledger, clock or SystemClock(), waiting)
    while not stop.is_set():
        deliveries = bus.receive(stage.consumes, stage.name, limit=batch, wait_s=_LOOK_S)
        if deliveries:
            driver.deliver(deliveries)


class _Driver:
    def __init__(
        self,
        stage: Stage,
        bus: Bus,
        stop: threading.Event,
        ledger: Ledger | None,
        clock: Clock,
        waiting: Callable[[str], None] | None,
    ) -> None:
        self._stage, self._bus, self._stop, self._ledger, self._clock = stage, bus, stop, ledger, clock
        self._tell = waiting or (lambda _why: None)
        self._waits = ""

    def deliver(self, deliveries: list[Delivery]) -> None:
        """Handle a batch; where it fails as a whole, one by one, so that only what is poison is parked."""
        try:
            results = self._persist(deliveries)
        except Fatal:
            raise
        except Exception as error:  # the border to a stage: no exception of it may end its loop or skip a record
            if len(deliveries) > 1:
                for delivery in deliveries:
                    self.deliver([delivery])
            else:
                self._park(deliveries[0], error)
            return
        if results is not None and self._publish(results):
            self._bus.acknowledge(deliveries)

    def _persist(self, deliveries: list[Delivery]) -> Sequence[Record] | None:
        """What the stage made of the batch; None when told to stop before it came to that."""
        wait = _FIRST_WAIT_S
        while True:
            try:
                handled = self._stage.handle([delivery.record for delivery in deliveries])
            except Transient as error:
                self._waiting(str(error))
            else:
                self._waiting("")
                return handled
            if self._stop.is_set():
                return None
            self._clock.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _waiting(self, why: str) -> None:
        """Told and logged when it is news."""
        if why != self._waits:
            self._waits = why
            self._tell(why)
            _LOG.warning("%s waits: %s", self._stage.name, why) if why else _LOG.info("%s goes on", self._stage.name)

    def _publish(self, results: Sequence[Record]) -> bool:
        topic = self._stage.produces
        return all(self._publish_one(topic, record) for record in results) if topic is not None else True

    def _publish_one(self, topic: str, record: Record) -> bool:
        while not self._stop.is_set():
            try:
                self._bus.publish(topic, record, Policy.BLOCK)
            except Busy:
                continue
            return True
        return False

    def _park(self, delivery: Delivery, error: Exception) -> None:
        reason = error.code if isinstance(error, HindsightError) else type(error).__name__
        _LOG.warning("%s sets %s aside", self._stage.name, delivery.record.key, exc_info=error)
        self._bus.park(delivery, f"{reason}: {error}")
        if self._ledger is not None and (gap := self._account(self._ledger, delivery.record, reason, str(error))):
            self._missed(gap)

    def _account(self, ledger: Ledger, record: Record, reason: str, detail: str) -> Gap | None:
        """What is set aside of a stream is counted, and a gap: it came, and nothing was made of it."""
        why = f"{self._stage.name}: {reason}"
        match record:
            case Sound() if record.span.duration:
                ledger.unheard(record.stream, why, record.span.duration, epoch=record.epoch)
                return Gap(record.stream, record.span, "unheard", detail)
            case Frame() | Feature(origin="frame"):
                ledger.parked(record.stream, why, epoch=record.epoch)
                behind = Span(Moment(record.moment + 1), Moment(record.moment + 2))  # where nobody else's gap begins
                return Gap(record.stream, behind, "set aside", detail)
        return None

    def _missed(self, gap: Gap) -> None:
        """Whoever takes the journal in cannot wait for room in it."""
        if JOURNAL not in self._stage.consumes:
            self._publish_one(JOURNAL, gap)
