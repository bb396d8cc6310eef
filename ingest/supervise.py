"""What every supervisor does: run a decoder child, pass on what it says, tell how it is going."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from ingest.backoff import Backoff, Turnstile
from ingest.bus import FRAMES, JOURNAL, SOUNDS, Bus, Policy, Room
from ingest.child import Decoder, Message, source_details
from ingest.clock import Clock
from ingest.errors import Busy, HindsightError
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.limits import Limits
from ingest.load import Shedding
from ingest.orders import changed
from ingest.plan import CapturePlan, CaptureStatus, Known, Ways
from ingest.probe import MediaInfo, checked
from ingest.reasons import GapReason
from ingest.records import Ended, Frame, Mark, Moment, Record, Segment, Sound, StateChange, StreamState
from ingest.timeline import Stamp
from ingest.wire import Memory

_LOG = logging.getLogger(__name__)
_JOIN_S: Final = 15.0
_SEEING: Final[frozenset[StreamState]] = frozenset({"live", "reading", "frozen", "dark"})
"""States in which pictures come, and notes are told."""
_BLIND: Final[frozenset[StreamState]] = frozenset({"stalled", "offline", "failed", "frozen", "dark"})
"""States that the log tells of."""
_WARN_EVERY_S: Final = 60.0
"""How often the log tells at most that a stream is blind: one that comes and goes does not fill it."""
_LOOK_S: Final = 0.1
"""How often is looked whether the supervisor before has ended."""
_FAREWELL_S: Final = 1.0
"""Silence after which a live child that was asked to end is ended."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all supervisors of a fleet share."""

    bus: Bus
    guard: Guard
    ledger: Ledger
    clock: Clock
    limits: Limits
    turnstile: Turnstile
    memory: Memory = field(default_factory=Memory)
    """What their children's pictures are read to."""


class Stopped(Exception):
    """The supervisor was asked to stop."""


class Supervisor(ABC):
    """A thread that owns one stream's decoder child. `_run` is the whole life of the stream."""

    def __init__(self, plan: CapturePlan, around: Surroundings, policy: Policy) -> None:
        self.plan, self._around, self._policy = plan, around, policy
        self._clock, self._limits = around.clock, around.limits
        self._ways = plan.ways
        self._reached: Mark | None = plan.resume
        """The newest frame that was published, or what was remembered before."""
        self._heard_to: Mark | None = plan.heard
        """The last of the newest sound that was published, or what was heard before."""
        self._stopping = threading.Event()
        self._reason: GapReason = "service stopped"
        self._decoder: Decoder | None = None
        self._follows: Supervisor | None = None
        self._thread = threading.Thread(target=self._live, daemon=True, name=f"capture {plan.stream}")
        self._skipped = 0
        """Pictures that earlier children did not decode because of overload."""
        self._entered: tuple[StreamState, str] = "connecting", ""
        self._said: tuple[StreamState, str] | None = None
        self._warned: float | None = None
        """When the log last told that it is blind, on the monotonic clock."""
        self._logged = False
        """Whether that is the last that was told there."""
        self._notes: dict[str, str] = {}
        """What is to be told beside the state for as long as it holds, by what it is about."""
        self._status = CaptureStatus("connecting", "", self._clock.now(), None, None, 0)

    # --- from other threads ------------------------------------------------------------------------------------

    def start(self, after: Supervisor | None = None) -> None:
        """Begin, once `after` has ended: two of one stream would write into one folder."""
        self._follows = after
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def status(self) -> CaptureStatus:
        return self._status

    @property
    def known(self) -> Known:
        """What was told of a live stream, also where it is still on its way to the store."""
        return Known()

    def adjust(self, ways: Ways) -> None:
        """Go on in other ways: nothing is opened anew. Whether a file is listened to counts from its next start."""
        self._ways = ways
        self._tell_ways()

    def _tell_ways(self) -> None:
        decoder = self._decoder
        if decoder is not None and self._policy is not Policy.BLOCK:
            decoder.tell(changed(audio=self._ways.audio, record=self._ways.record))

    def ask_to_stop(self, reason: GapReason) -> None:
        """Begin to stop: a child that has something which is not read again may say what it still holds."""
        self._reason = reason
        self._stopping.set()
        decoder = self._decoder
        if decoder is not None:
            decoder.finish() if self._holds else decoder.kill()

    def stop(self, reason: GapReason, within_s: float = _JOIN_S) -> None:
        """Stop and wait until the thread has ended."""
        self.ask_to_stop(reason)
        self._thread.join(within_s)

    # --- in the supervisor's own thread ------------------------------------------------------------------------

    @property
    def _holds(self) -> bool:
        """Whether the child may have something that is not read again: of a file everything is."""
        return False

    @abstractmethod
    def _run(self) -> None:
        """Capture until the end or until told to stop, whichever comes first."""

    @abstractmethod
    def _stopped(self) -> None:
        """Say what there is to say when told to stop."""

    @abstractmethod
    def _opened(self, info: MediaInfo) -> None:
        """The source has been opened."""

    @abstractmethod
    def _beaten(self, beat: Stamp) -> None:
        """A picture has been decoded."""

    def _live(self) -> None:
        while self._follows is not None and self._follows.running:
            if self._stopping.wait(_LOOK_S):
                return
        backoff = Backoff(self._limits)
        while not self._stopping.is_set():
            before = self._reached
            try:
                self._run()
            except Stopped:
                break
            except Exception as error:  # the border of the thread: ending in silence, it would leave the stream blind
                self._fell(error)
                if self._reached != before:
                    backoff.reset()
                self._stopping.wait(backoff.next())
            else:
                return
        try:
            self._stopped()
        except Exception as error:  # the same border, on its last words
            self._fell(error)

    def _fell(self, error: Exception) -> None:
        """Something that nobody thought of went wrong: it is logged, told and counted, and then tried again."""
        _LOG.error("capturing %s failed", self.plan.stream, exc_info=error)
        why = f"Something unforeseen went wrong: {type(error).__name__}: {error}. It is tried again."
        self._set(failures=self._status.failures + 1)
        try:
            self._fallen(why)
        except Exception as again:  # the same border: what cannot be told in the journal stands in the status
            _LOG.error("nor could that be told", exc_info=again)
            self._set(state="failed", detail=why)

    def _fallen(self, why: str) -> None:
        self._say("failed", why)

    def _read(self, task: dict[str, Any], silence: Callable[[], float]) -> dict[str, Any]:
        """One child, from opening to its end. `silence()`: seconds without a word after which it is given up."""
        guard, plan = self._around.guard, self.plan
        source = source_details(checked(plan.source, guard), guard)
        self._go_on()  # to look up a name may have taken long
        recording = plan.recording if plan.source.scheme != "file" else None
        task = {
            "stream": plan.stream,
            "starts_at": plan.starts_at or 0,
            "sampling": asdict(plan.sampling),
            "audio": self._ways.audio,
            "record": self._ways.record,
            "folder": str(recording.folder) if recording is not None else None,
            "segment_s": recording.segment_s if recording is not None else 0.0,
            **task,
        }
        self._skipped = self._status.skipped
        self._sheds("nothing")
        self._set(resting=False)
        self._notes.clear()
        job, memory = {"source": source, "task": task}, self._around.memory
        with Decoder("capture", job, self._limits, self._clock, memory) as decoder:
            self._decoder = decoder
            self._tell_ways()  # they may have changed while it was started
            try:
                self._go_on()  # whoever asked to stop before it was there could not end it
                return self._listen(decoder, silence)
            except HindsightError:
                self._go_on()
                raise
            finally:
                self._decoder = None

    def _listen(self, decoder: Decoder, silence: Callable[[], float]) -> dict[str, Any]:
        while True:
            if self._stopping.is_set() and self._policy is Policy.BLOCK:
                raise Stopped
            message = decoder.receive(_FAREWELL_S if self._stopping.is_set() else silence())
            if isinstance(message, tuple) and message[0] == "done":
                outcome: dict[str, Any] = message[1]
                return outcome
            self._heard(message)

    def _heard(self, message: Message) -> None:
        match message:
            case Frame():
                self._around.ledger.captured(message.stream, epoch=message.epoch)
                if self._publish(FRAMES, message, self._policy) is None:
                    self._around.ledger.dropped(message.stream, "stopped", epoch=message.epoch)
                self._reached = Mark(message.epoch, message.pts, message.moment)
                self._set(last_frame=message.moment)
            case Sound():
                message = replace(message, language=self._ways.language)
                lost = self._publish(SOUNDS, message, self._policy) is None
                if lost and self._policy is not Policy.BLOCK:
                    self._around.ledger.unheard(message.stream, "stopped", message.span.duration, epoch=message.epoch)
                self._heard_to = message.last
            case Segment():
                self._journal(message)
                self._note("recording", "")
            case ("open", info):
                self._opened(MediaInfo(**info))
            case ("beat", epoch, pts, moment):
                self._set(last_frame=moment)
                self._beaten(Stamp(epoch, pts, moment))
            case ("frugal", shedding, skipped, resting):
                self._sheds(shedding)
                self._set(skipped=self._skipped + skipped, resting=resting)
            case ("unrecorded", why):
                self._note("recording", f"Not being recorded: {why}" if why else "")

    def _sheds(self, shedding: Shedding) -> None:
        if shedding != self._status.shedding:
            _LOG.debug("%s gives up: %s", self.plan.stream, shedding)
            self._set(shedding=shedding)

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise Stopped

    def _pause(self, seconds: float) -> None:
        """Sleep, unless told to stop."""
        self._stopping.wait(seconds)
        self._go_on()

    def _publish(self, topic: str, record: Record, policy: Policy) -> Room | None:
        """None if it was not published: a full queue is waited for until the stream is told to stop."""
        while True:
            try:
                return self._around.bus.publish(topic, record, policy)
            except Busy:
                if self._stopping.wait(0.01):
                    return None

    def _ended(self, epoch: int, moment: Moment, detail: str = "") -> None:
        """Behind the last picture and the last sound: the stream is finished once both are remembered."""
        ended = Ended(self.plan.stream, epoch, moment, detail=detail)
        self._set(progress=1.0, detail=detail)
        self._publish(FRAMES, ended, Policy.BLOCK)
        self._publish(SOUNDS, replace(ended, origin="sound"), Policy.BLOCK)

    def _journal(self, record: Record) -> bool:
        """Whether it was taken: what was told to nobody must not count as known."""
        return self._publish(JOURNAL, record, Policy.BLOCK) is not None

    def _say(self, state: StreamState, detail: str = "") -> None:
        """Enter `state`, and tell everyone when that is news."""
        self._entered = state, detail
        if state in _SEEING:
            detail = " ".join(filter(None, [detail, *self._notes.values()]))
        if (state, detail) == self._said:
            return
        self._said = state, detail
        self._log(state, detail)
        now = self._clock.now()
        self._set(state=state, detail=detail, since=now)
        self._journal(StateChange(self.plan.stream, state, now, detail))

    def _log(self, state: StreamState, detail: str) -> None:
        if self._stopping.is_set():
            return  # somebody wants it so
        now = self._clock.monotonic()
        if state in _BLIND:
            if not self._logged and (self._warned is None or now - self._warned >= _WARN_EVERY_S):
                self._warned, self._logged = now, True
                _LOG.warning("%s is %s. %s", self.plan.stream, state, detail)
        elif state in _SEEING and self._logged:
            self._logged = False
            _LOG.info("%s is %s again.", self.plan.stream, state)

    def _note(self, about: str, text: str) -> None:
        """What is to be told about something beside the state from now on; nothing if there is no `text`."""
        if text != self._notes.get(about, ""):
            self._notes[about] = text
            self._say(*self._entered)

    def _set(self, **changes: Any) -> None:
        self._status = replace(self._status, **changes)
