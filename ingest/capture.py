"""Capture: one supervised decoder child per stream, and what may be known of it at any time."""

from __future__ import annotations

import threading
from dataclasses import replace

from ingest.backoff import Turnstile
from ingest.bus import JOURNAL, Bus, Policy
from ingest.clock import Clock
from ingest.errors import Conflict
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.limits import Limits
from ingest.plan import CapturePlan, CaptureStatus, Known, Ways
from ingest.reasons import AWAY, GapReason
from ingest.recording import Recording
from ingest.records import Gap, StreamId
from ingest.supervise import Supervisor, Surroundings
from ingest.supervise_file import FileSupervisor
from ingest.supervise_folder import FolderSupervisor
from ingest.supervise_live import LiveSupervisor
from ingest.wire import Memory

__all__ = ["CapturePlan", "CaptureStatus", "Fleet", "Known", "Recording", "Ways"]


class Fleet:
    """Every stream that is being captured. Thread-safe."""

    def __init__(
        self,
        bus: Bus,
        guard: Guard,
        ledger: Ledger,
        clock: Clock,
        limits: Limits | None = None,
        memory: Memory | None = None,
    ) -> None:
        """`memory`: what pictures are read to."""
        limits = limits or Limits()
        turnstile = Turnstile(limits, clock)
        self._around = Surroundings(bus, guard, ledger, clock, limits, turnstile, memory or Memory())
        self._lock = threading.Lock()
        self._running: dict[StreamId, Supervisor] = {}
        self._known: dict[StreamId, Known] = {}
        """What is told of those that were stopped: it may still be on its way to the store."""
        self._ending: dict[StreamId, Supervisor] = {}
        """Those that took too long to end."""

    def start(self, plan: CapturePlan) -> None:
        """Begin to capture. Raises `Conflict` when the stream runs already."""
        kind = _supervisor(plan)
        with self._lock:
            before = self._running.get(plan.stream)
            if before is not None and before.running:
                raise Conflict("This stream is being captured already.", advice="Stop it first.")
            plan = replace(plan, known=plan.known.later(self._known.get(plan.stream, Known())))
            self._running[plan.stream] = supervisor = kind(plan, self._around)
            supervisor.start(self._ending.get(plan.stream))

    def stop(self, stream: StreamId, *, reason: GapReason = "paused") -> None:
        """End capturing; returns when the stream's child is gone, or does not go: it is waited for before there is
        another. A live stream is blind from here on, for `reason`."""
        with self._lock:
            supervisor = self._running.pop(stream, None)
        if supervisor is not None:
            supervisor.stop(reason)
            with self._lock:
                self._known[stream] = supervisor.known
                before = self._ending.pop(stream, supervisor)
                late = before if before.running else supervisor
                if late.running:
                    self._ending[stream] = late

    def ending(self, stream: StreamId) -> bool:
        """Whether a stream was stopped and has not ended yet."""
        with self._lock:
            late = self._ending.get(stream)
        return late is not None and late.running

    def forget(self, stream: StreamId) -> None:
        """The stream was stopped and is removed."""
        with self._lock:
            self._known.pop(stream, None)
            self._ending.pop(stream, None)
        self._around.ledger.forget(stream)

    def adjust(self, stream: StreamId, ways: Ways) -> None:
        """Go on in other ways with a stream that is captured."""
        with self._lock:
            supervisor = self._running.get(stream)
        if supervisor is not None:
            supervisor.adjust(ways)

    def known(self, stream: StreamId) -> Known:
        """What is told of a stream that was stopped here."""
        with self._lock:
            return self._known.get(stream, Known())

    def tell(self, gap: Gap) -> None:
        """Journal a gap of a stream that nobody captures. Raises `Busy`."""
        self._around.bus.publish(JOURNAL, gap, Policy.BLOCK)
        with self._lock:
            before = self._known.get(gap.stream)
            if before is not None and gap.reason in AWAY:
                self._known[gap.stream] = replace(before, end=gap.span.end, gap=gap)

    def status(self, stream: StreamId) -> CaptureStatus | None:
        """None when the stream is not being captured."""
        with self._lock:
            supervisor = self._running.get(stream)
        return supervisor.status if supervisor is not None else None

    def close(self, within_s: float = 15.0) -> None:
        """End everything, as when the service stops; all together have `within_s`."""
        end = self._around.clock.monotonic() + within_s
        with self._lock:
            supervisors = list(self._running.values())  # they stay: what is stopping with the service is not absent
        for supervisor in supervisors:
            supervisor.ask_to_stop("service stopped")
        for supervisor in supervisors:
            supervisor.stop("service stopped", max(0.0, end - self._around.clock.monotonic()))


def _supervisor(plan: CapturePlan) -> type[LiveSupervisor | FileSupervisor]:
    if plan.source.scheme == "folder":
        return FolderSupervisor
    return LiveSupervisor if plan.source.kind == "live" else FileSupervisor
