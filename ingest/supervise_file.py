"""The supervisor of a file: read once, from where it is remembered to its end, whatever is broken in between."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.backoff import Backoff
from ingest.bus import Policy
from ingest.child import DecoderDied
from ingest.errors import DeadlineExceeded, HindsightError, Transient
from ingest.plan import CapturePlan
from ingest.probe import MediaInfo
from ingest.records import Coverage, Gap, Mark, Moment, Segment, Span, seconds
from ingest.supervise import Supervisor, Surroundings
from ingest.timeline import Stamp


class FileSupervisor(Supervisor):
    """Blocks when a queue is full: nothing of a file is lost."""

    def __init__(self, plan: CapturePlan, around: Surroundings) -> None:
        if plan.starts_at is None:
            plan = replace(plan, starts_at=around.clock.now())
        super().__init__(plan, around, Policy.BLOCK)
        self._backoff = Backoff(self._limits)
        self._begin(0, plan.starts_at or around.clock.now(), plan.resume, plan.heard)

    def _begin(self, epoch: int, origin: Moment, resume: Mark | None, heard: Mark | None) -> None:
        """A file whose first picture was at `origin`, of which all up to `resume` is remembered."""
        self._epoch, self._origin = epoch, origin
        self._reached, self._heard_to = resume, heard
        self._newest: Moment = resume.moment if resume is not None else origin
        self._info: MediaInfo | None = None
        self._known: Segment | None = None
        """What was told of the file itself."""
        self._skip: int | None = None
        self._deaths = 0

    def _run(self) -> None:
        self._say("reading")
        try:
            while (outcome := self._attempt()) is None:
                self._go_on()
            self._finished(outcome)
        except HindsightError as error:
            self._failed(error)

    def _attempt(self) -> dict[str, Any] | None:
        """How reading ended, or None to try again. Raises what no other attempt would change."""
        before = self._reached
        try:
            return self._read(self._task(), lambda: self._limits.silence_s)
        except DecoderDied as error:
            self._died(error, before)
        except Transient as error:
            self._interrupted(error, before)
        return None

    def _task(self) -> dict[str, Any]:
        return {
            "live": False,
            "epoch": self._epoch,
            "resume": self._reached,
            "heard": self._heard_to,
            "skip": self._skip,
        }

    # --- what comes --------------------------------------------------------------------------------------------

    def _opened(self, info: MediaInfo) -> None:
        self._info = info
        self._say("reading")

    def _beaten(self, beat: Stamp) -> None:
        if self._known is None:
            self._tell_segment(beat)
        self._newest = max(self._newest, beat.moment)
        self._cover(self._newest)
        duration = self._duration
        if duration:
            self._set(progress=min(1.0, max(0.0, (self._newest - self._origin) / duration)))

    @property
    def _duration(self) -> int:
        return (self._info.duration_us if self._info is not None else None) or 0

    def _tell_segment(self, beat: Stamp) -> None:
        """A local file is its own recording."""
        source = self.plan.source
        if source.scheme != "file" or self._info is None:
            return
        path = self._around.guard.path(source.location)
        first_pts = self._origin - (beat.moment - beat.pts)
        span = Span(self._origin, Moment(self._origin + max(self._duration, 1)))
        size = path.stat().st_size
        self._known = Segment(self.plan.stream, self._epoch, span, str(path), size, first_pts=first_pts, owned=False)
        self._journal(self._known)

    def _tell_size(self) -> None:
        """A file may have grown while it was read: by its size it is known from another that takes its name."""
        if self._known is not None:
            with suppress(FileNotFoundError):
                size = Path(self._known.path).stat().st_size
                if size != self._known.size:
                    self._journal(replace(self._known, size=size))

    def _cover(self, until: Moment) -> None:
        if until > self._origin:
            self._journal(Coverage(self.plan.stream, self._epoch, Span(self._origin, until)))

    # --- what goes wrong ---------------------------------------------------------------------------------------

    def _interrupted(self, error: Transient, before: Mark | None) -> None:
        """Not the file's fault, or a hang, which is treated like a death."""
        if isinstance(error, DeadlineExceeded) and self.plan.source.scheme == "file":
            self._died(error, before)
            return
        if self._reached != before:
            self._backoff.reset()
        self._say("offline", str(error))
        self._pause(self._backoff.next())

    def _died(self, error: HindsightError, before: Mark | None) -> None:
        """The same stretch again a few times, then on behind it; past the end, what was read is what there is."""
        self._deaths = self._deaths + 1 if self._near(before) else 1
        if self._deaths <= self._limits.retries:
            return
        if self._reached is None:
            raise error
        further = seconds(self._limits.skip_s) * (self._deaths - self._limits.retries)
        self._skip = max(self._reached.pts, self._skip or 0) + further
        end = self._reached.moment + self._skip - self._reached.pts
        if end >= self._origin + self._duration:
            raise error
        self._blind(self._reached.moment, Moment(end), str(error))

    def _near(self, before: Mark | None) -> bool:
        if before is None or self._reached is None:
            return before == self._reached
        return self._reached.pts - before.pts < seconds(self._limits.skip_s)

    def _blind(self, start: Moment, end: Moment, detail: str) -> None:
        if end > start:
            self._journal(Gap(self.plan.stream, Span(start, end), "broken video", detail))

    def _failed(self, error: HindsightError) -> None:
        """Nothing of it is usable, or nothing more: what was read is kept either way."""
        if self._reached is None:
            self._say("failed", str(error))
            return
        self._end(Moment(self._newest), self._reached.epoch, self._origin + self._duration, str(error))

    def _finished(self, outcome: dict[str, Any]) -> None:
        end = Moment(max(self._newest, outcome["moment"] + outcome["lasts_us"]))
        missing = outcome["missing_us"]
        detail = f"The last {missing / 1e6:.0f} s are missing: the file was cut off." if missing else ""
        self._end(end, outcome["epoch"], end + missing, detail)

    def _end(self, end: Moment, epoch: int, promised: int, detail: str) -> None:
        self._cover(end)
        self._tell_size()
        if detail:
            self._blind(end, Moment(promised), detail)
        self._ended(epoch, end, detail)

    def _stopped(self) -> None:
        self._say("paused")
