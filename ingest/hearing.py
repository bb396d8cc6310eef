"""What is heard and read of one source: placed on its timeline, cut, and given out together."""

from __future__ import annotations

from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np

from ingest.audio import Samples, SoundCutter
from ingest.beginning import MOST_EARLY, Task
from ingest.captions import Captions
from ingest.records import MICROSECONDS, SAMPLE_RATE, Moment, Sound, StreamId, Utterance
from ingest.timeline import Timeline, follow

if TYPE_CHECKING:
    from ingest.decode import Emit

_NO_SAMPLES: Final = np.zeros(0, np.float32)


class Hearing:
    """Sound and captions in, in their source's time; `Sound` records out."""

    def __init__(self, task: Task, captions: Captions, emit: Emit, *, from_start: bool) -> None:
        """`from_start`: False when reading begins amid the track."""
        self._task, self._captions, self._emit = task, captions, emit
        self._stream = StreamId(task.stream)
        self._cutter = SoundCutter(from_start=from_start)
        self._early: deque[tuple[int, Samples]] = deque(maxlen=MOST_EARLY)
        self._begins = False

    def begin(self) -> None:
        """Nobody listened so far: what sounded before the next sound is not waited for, and a sound of no length says
        so."""
        self._begins = True

    def add(self, line: Timeline, pts: int, samples: Samples) -> None:
        """Sound of the time `pts`, microseconds: it waits while nobody knows when that was."""
        if line.offset is None:
            self._early.append((pts, samples))
            return
        while self._early:
            self._place(line, *self._early.popleft())
        self._place(line, pts, samples)

    def flush(self, line: Timeline) -> None:
        """Give out what is held, at an end or before a new epoch: `line` as it was until then."""
        if line.offset is not None:
            while self._early:
                self._place(line, *self._early.popleft())
        for start, samples in self._cutter.flush():
            self._give(line, start, samples)
        self.show(line)

    def show(self, line: Timeline, until: int | None = None) -> None:
        """Give out captions that begin before `until` and that no sound goes with, in sounds without samples: what is
        said at once, in languages, is in one."""
        if line.offset is None:
            return
        for _, at_once in groupby(self._shown(line, until), lambda one: (one.epoch, one.pts)):
            said = tuple(at_once)
            one, count = said[0], len(said)
            start = Moment(one.span.start + count)
            self._emit(Sound(self._stream, one.epoch, one.pts + count, start, _NO_SAMPLES, said))

    def _place(self, line: Timeline, pts: int, samples: Samples) -> None:
        if follow(line, pts) is not None:
            if self._begins:
                self._begins = False
                self._give(line, pts, _NO_SAMPLES)
            for start, chunk in self._cutter.add(pts, samples):
                self._give(line, start, chunk)

    def _give(self, line: Timeline, pts: int, samples: Samples) -> None:
        offset, skip, heard = line.offset, self._task.skip, self._task.heard
        if offset is None or (skip is not None and pts <= skip):
            return
        captions = self._shown(line, pts + len(samples) * MICROSECONDS // SAMPLE_RATE)
        sound = Sound(self._stream, line.epoch, pts, Moment(pts + offset), samples, captions)
        if heard is None or (sound.epoch, sound.last.pts) > (heard.epoch, heard.pts):
            self._emit(sound)

    def _shown(self, line: Timeline, until: int | None) -> tuple[Utterance, ...]:
        """Those that begin before `until` and behind what was heard before."""
        assert line.offset is not None
        heard = self._task.heard
        found = self._captions.take(self._stream, line.epoch, line.offset, until)
        return tuple(one for one in found if heard is None or (one.epoch, one.pts) > (heard.epoch, heard.pts))
