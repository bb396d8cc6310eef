"""The supervisor of a live stream: connected for ever, and honest about when it was not."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from statistics import median
from typing import Any, Final

from ingest.audio import PERIOD, REACH
from ingest.backoff import Backoff
from ingest.bus import FRAMES, SOUNDS, Policy, Room
from ingest.child import Decoder, Message
from ingest.clock import synchronised, together
from ingest.errors import DeadlineExceeded, Denied, HindsightError, NotFound, NotVideo
from ingest.orders import pressed
from ingest.plan import CapturePlan, Known
from ingest.probe import MediaInfo
from ingest.reasons import GapReason
from ingest.records import (
    MICROSECONDS,
    Coverage,
    Frame,
    Gap,
    Moment,
    Record,
    Segment,
    Sound,
    Span,
    StreamState,
    seconds,
)
from ingest.sight import Blindness
from ingest.supervise import Supervisor, Surroundings
from ingest.timeline import Arrival, Stamp, put_between
from ingest.unlooked import NOTE, Attention

_LOG: Final = logging.getLogger(__name__)
_GIVE_UP_S: Final = 10.0
"""A child that is silent for so long while it opens does not keep its own time: it is ended."""
_STEADY_S: Final = 10.0
"""A connection that lasted so long was a good one: the next attempt comes soon again."""
_TELL_EVERY: Final = seconds(5)
"""How far coverage grows before it is told again."""
_GROW_S: Final = 15.0
"""How far an open gap grows before it is told again."""
_HOLE: Final = seconds(1)
"""The least distance between two epochs of one connection that counts as a gap."""
_RHYTHM: Final = 5
"""Distances between pictures, or what was told of them, by which it is known how far apart they are."""
_FINE: Final = 20
"""In how many steps the child is told how full the queue is."""
_LEAST_SOUND: Final = seconds(2)
"""Sound comes packet by packet: the newest may well be so old when pictures come no more."""
_MOST_SOUND: Final = PERIOD + REACH + seconds(2)
"""A child that is sent sound gives it on before it has so much of it."""
_AHEAD: Final = seconds(2)
"""How far what was seen must lie ahead of this machine's clock for that to have been put back: less is chance."""
_AFTER: Final[Mapping[GapReason, StreamState]] = {"paused": "paused", "settings changed": "connecting"}
"""The state of a stream that was stopped, by why it was; otherwise it is offline."""
_HOPELESS: Final = (Denied, NotFound, NotVideo)
"""What a person has to put right; it is tried again all the same, for cameras say strange things while they start."""


class LiveSupervisor(Supervisor):
    """Never blocks: when a queue is full the oldest picture goes, and is counted."""

    def __init__(self, plan: CapturePlan, around: Surroundings) -> None:
        super().__init__(plan, around, Policy.DROP_OLDEST)
        known = plan.known
        self._epoch = known.epoch
        """The newest that was used: none is ever used twice, or what lies between would pass for watched."""
        self._blind = known.end is not None
        """Whether there is a gap to tell of before the next picture: not before a new stream's first."""
        self._why: GapReason = plan.blind_because if self._blind else "offline"
        self._seen: Moment = known.blind_since(self._why) or self._clock.now()
        """Up to where we have seen, or have said why not."""
        self._gap: Gap | None = known.gap
        """The newest that was told."""
        self._since: Moment | None = None
        """From when on what was seen has the time of this machine's clock as it is now."""
        self._clocks = Arrival(*together(self._clock))
        """What both clocks said when they were looked at last."""
        self._back = 0
        """Microseconds by which the wall clock was put back since the newest epoch began."""
        ongoing = self._gap is not None and self._gap.reason == self._why
        self._detail = self._gap.detail if self._gap is not None and ongoing else ""
        self._backoff = Backoff(self._limits)
        self._interval_s, self._burst_s = 0.2, 0.0
        self._steps: deque[int] = deque(maxlen=_RHYTHM)
        """How far apart the newest pictures were, microseconds."""
        self._sounds = False
        """Whether the source has sound."""
        self._connected: float | None = None
        self._pictured = 0.0
        """When the newest picture came, on the monotonic clock."""
        self._covered: Span | None = None
        self._dim: Gap | None = None
        """What makes the pictures that come worth nothing."""
        self._told: Moment = self._seen
        self._attention = Attention(plan.stream, seconds(1 / plan.sampling.floor_hz))
        self._filled = 0.0
        """How full the child was told that the queue of pictures is."""

    @property
    def known(self) -> Known:
        gap = self._gap if self._gap is not None and self._gap.span.end > self._seen else None
        return Known(self._epoch, self._seen if gap is None else gap.span.end, gap)

    @property
    def _holds(self) -> bool:
        """Not before its first picture; and while it opens it hears nobody, however long a silent peer takes."""
        return self._connected is not None

    def _run(self) -> None:
        self._catch_up()
        self._rescue()
        self._say("connecting")
        while True:
            self._connected, self._covered, self._dim, self._filled = None, None, None, 0.0
            self._pause(self._around.turnstile.turn())
            try:
                outcome = self._read(self._task(), self._patience)
            except HindsightError as error:
                self._lost(error)
            else:
                self._beaten(Stamp(outcome["epoch"], outcome["pts"], outcome["moment"]))
                self._go_on()
                if outcome["ends"]:
                    self._finished()
                    return
                self._lost(None)
            self._wait(self._backoff.next())
            self._set(reconnects=self._status.reconnects + 1)

    def _catch_up(self) -> None:
        """What is remembered was watched, though a process that was killed did not come to say so."""
        mark = self.plan.resume
        if mark is not None:
            self._journal(Coverage(self.plan.stream, mark.epoch, Span(mark.moment, mark.moment)))

    def _task(self) -> dict[str, Any]:
        self._epoch += 1
        self._settle()
        anew = dict.fromkeys(("resume", "heard", "skip"))
        return {"live": True, "epoch": self._epoch, "starts_at": self._seen, **anew}

    def _settle(self) -> Moment:
        """The present, where no picture will come any more that has a time of before the wall clock was put back."""
        self._look_at_the_clocks()
        now = self._clocks.moment
        if self._seen - self._back - now > _AHEAD:  # nobody looked when it was
            doubted = synchronised() is not False  # a clock that nothing keeps right may as well be behind
            self._back, self._since = self._seen - now, self.plan.known.begun if doubted else None
        self._go_back()
        return now

    def _look_at_the_clocks(self) -> None:
        before, self._clocks = self._clocks, Arrival(*together(self._clock))
        put = put_between(before, self._clocks)
        self._back = max(0, self._back - put)
        if put > 0:
            self._since = None

    def _go_back(self) -> None:
        """What was seen is no further ahead than the wall clock was put back; how much of it is misdated, is told."""
        back, seen, since = self._back, self._seen, self._since
        if not back:
            return
        by = timedelta(seconds=round(back / MICROSECONDS))
        self._seen, self._since, self._gap, self._back = Moment(seen - back), None, None, 0
        _LOG.warning("%s was seen up to %s ahead of this machine's clock, which was put back.", self.plan.stream, by)
        if since is not None and back >= _HOLE and seen > since:
            told = f"It was up to {by} earlier, by this machine's clock, which was put back."
            self._journal(Gap(self.plan.stream, Span(Moment(since + 1), seen), "clock put back", told))

    def _patience(self) -> float:
        """Seconds that are left for the next picture, whatever else comes; for the first, longer."""
        if self._connected is None:
            return min(self._limits.open_s + self._limits.read_s, _GIVE_UP_S) + 2 * self._burst_s
        return max(0.0, self._pictured + self._stall_s - self._clock.monotonic())

    @property
    def _stall_s(self) -> float:
        known = len(self._steps) == _RHYTHM and not self._burst_s
        apart_s = median(self._steps) / MICROSECONDS if known else self._interval_s
        return max(self._limits.stall_s, 5 * apart_s) + 2 * self._burst_s

    def _wait(self, seconds: float) -> None:
        """Until the next attempt; the gap grows meanwhile."""
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0:
            self._pause(min(left, _GROW_S))
            self._tell_gap(self._settle())

    # --- what comes --------------------------------------------------------------------------------------------

    def _opened(self, info: MediaInfo) -> None:
        self._burst_s, self._sounds = info.burst_s, info.audio_codec is not None
        if 0 < info.fps < 240:
            self._interval_s = 1 / info.fps

    def _heard(self, message: Message) -> None:
        super()._heard(message)
        match message:
            case Frame():
                self._beaten(Stamp(message.epoch, message.pts, message.moment))
                self._unlooked(self._attention.sampled(message.moment))
            case ("look", blind, since, detail):
                self._looked(blind, since, detail)

    def _publish(self, topic: str, record: Record, policy: Policy) -> Room | None:
        room = super()._publish(topic, record, policy)
        if topic == FRAMES and room is not None:
            self._crowded(room)
        elif topic == SOUNDS and room is not None:
            for gone in room.dropped:
                if isinstance(gone, Sound) and gone.span.duration:
                    self._unheard(gone.span, "More sounded than could be listened to.")
        return room

    def _unheard(self, span: Span, why: str) -> None:
        self._journal(Gap(self.plan.stream, span, "unheard", why))

    def _sound_lost(self) -> None:
        """What sounded since the newest sound that came was lost with the child, unless none came for longer than a
        child keeps any."""
        if self._covered is None or not (self._sounds and self._ways.audio):
            return
        heard = self._heard_to
        since = heard.moment if heard is not None and heard.epoch == self._epoch else self._covered.start
        if _LEAST_SOUND < self._seen - since <= _MOST_SOUND:
            self._unheard(Span(since, self._seen), "The connection was lost before it was listened to.")

    def _crowded(self, room: Room) -> None:
        """The child gives up some pictures before the queue has to; of what is dropped all the same, tell."""
        filled = round(room.filled * _FINE) / _FINE
        if filled != self._filled and self._decoder is not None:
            self._filled = filled
            self._decoder.tell(pressed(filled))
        for gone, following in zip(room.dropped, (*room.dropped[1:], room.oldest), strict=False):
            self._unlooked(self._attention.dropped(gone, following, self._seen))

    def _unlooked(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self._journal(gap)
        self._note("overload", "" if self._attention.complete else NOTE)

    def _looked(self, blind: Blindness | None, since: Moment, detail: str) -> None:
        """Pictures come; from here on they show nothing, or something again."""
        self._tell_dim()
        self._dim = None
        if blind is not None:
            self._dim = Gap(self.plan.stream, Span(since, max(since, self._seen)), blind, detail)
            self._tell_dim()
        self._say(blind or "live", detail)

    def _beaten(self, beat: Stamp) -> None:
        self._look_at_the_clocks()
        self._pictured = self._clock.monotonic()
        if self._connected is None:
            self._connected = self._clock.monotonic()
            self._steps.clear()
            self._see_again(beat)
        elif beat.epoch != self._epoch:
            self._tell_coverage()
            self._dim = None
            self._why, self._detail = "clock jump", "A clock jumped, the camera's or this machine's."
            self._blind = not self._back
            self._see_again(beat)
        elif beat.moment > self._seen:
            self._steps.append(beat.moment - self._seen)
        assert self._covered is not None
        self._covered = self._covered.hull(Span(beat.moment, beat.moment))
        self._seen = max(self._seen, beat.moment)
        self._unlooked(self._attention.came(beat.moment, self._status.shedding))
        if beat.moment - self._told >= _TELL_EVERY:
            self._tell_coverage()

    def _see_again(self, beat: Stamp) -> None:
        """The first picture of an epoch: the gap before it is complete."""
        self._go_back()
        if self._blind and (self._why != "clock jump" or beat.moment - self._seen > _HOLE):
            self._tell_gap(beat.moment)
        self._unlooked(self._attention.begin())
        self._epoch, self._detail, self._blind = beat.epoch, "", False
        self._seen, self._since = beat.moment, beat.moment if self._since is None else self._since
        self._covered = Span(beat.moment, beat.moment)
        self._tell_coverage()
        self._say("live")

    def _tell_coverage(self) -> None:
        if self._covered is not None:
            self._told = self._covered.end
            self._journal(Coverage(self.plan.stream, self._epoch, self._covered))
            self._tell_dim()

    def _tell_dim(self) -> None:
        if self._dim is not None and self._seen > self._dim.span.start:
            self._dim = replace(self._dim, span=Span(self._dim.span.start, self._seen))
            self._journal(self._dim)

    def _tell_gap(self, until: Moment) -> None:
        if until > self._seen:
            gap = Gap(self.plan.stream, Span(self._seen, until), self._why, self._detail)
            if self._journal(gap):
                self._gap = gap

    # --- what goes wrong ---------------------------------------------------------------------------------------

    def _lost(self, error: HindsightError | None) -> None:
        """The connection is gone, or there never was one; the gap grows from the last picture to now."""
        self._tell_coverage()
        self._sound_lost()
        now = self._settle()
        if self._connected is None and self._why not in ("offline", "stalled"):
            self._tell_gap(now)  # until here it had another reason
            self._seen = max(self._seen, now)
            self._why = "offline"
        self._detail = str(error) if error is not None else "The camera ended the connection."
        state: StreamState = "failed" if isinstance(error, _HOPELESS) else "offline"
        if self._connected is not None:
            stalled = isinstance(error, DeadlineExceeded)
            if stalled:
                self._detail = f"No picture for {self._stall_s:.0f} s."
            self._why = "stalled" if stalled else "offline"
            state = "stalled" if stalled else state
            if self._clock.monotonic() - self._connected >= _STEADY_S:
                self._backoff.reset()
        self._blind = True
        self._tell_gap(now)
        self._say(state, self._detail)
        self._rescue()

    def _fallen(self, why: str) -> None:
        """Blind from the last picture on, like after any other loss."""
        self._tell_coverage()
        self._sound_lost()
        self._why = "offline" if self._connected is not None else self._why
        self._detail, self._blind = why, True
        self._tell_gap(self._settle())
        self._say("failed", why)

    def _finished(self) -> None:
        """A stream that has an end, such as a finished HLS recording."""
        self._tell_coverage()
        self._ended(self._epoch, self._seen)

    def _stopped(self) -> None:
        self._tell_coverage()
        self._sound_lost()
        self._unlooked(self._attention.begin())
        if not self._blind:
            self._why, self._detail = self._reason, ""
        self._tell_gap(self._settle())
        self._rescue()
        self._say(_AFTER.get(self._reason, "offline"), "")

    def _rescue(self) -> None:
        """Make segments of what an ended child left unfinished."""
        recording = self.plan.recording
        if recording is None or not any(recording.folder.glob("*.part")):
            return
        details = {"folder": str(recording.folder), "stream": self.plan.stream}
        with Decoder("rescue", details, self._limits, self._clock) as decoder:
            try:
                decoder.result(self._limits.silence_s, self._rescued)
            except HindsightError as error:
                self._say(self._status.state, f"An unfinished recording could not be rescued: {error}")

    def _rescued(self, message: Any) -> None:
        if isinstance(message, Segment):
            self._epoch = max(self._epoch, message.epoch)
            self._journal(message)
