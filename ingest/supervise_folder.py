"""The supervisor of a folder: each file that comes into it, or a folder in it, is read once, as an epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ingest.errors import DeadlineExceeded, HindsightError, NotFound
from ingest.folders import Tree
from ingest.plan import CapturePlan
from ingest.probe import filmed, probe
from ingest.records import Gap, Mark, Moment, Segment, Span, seconds
from ingest.sources import SourceSpec
from ingest.supervise import Surroundings
from ingest.supervise_file import FileSupervisor

_LOOK_S: Final = 1.0
_GROW_S: Final = 15.0
"""How far an open gap grows before it is told again."""

Looks = tuple[int, int, int, int]
"""Size and time of the last change: what does not change any more is no longer written. And which file it is, whatever
it is called."""
_NOTHING: Final[Looks] = (-1, -1, -1, -1)
_AGAIN: Final = 6
"""So many times as long as at first has to be waited until what has changed since it was read is read again."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file and how it looked, since when on the monotonic clock."""

    looks: Looks
    since: float


class FolderSupervisor(FileSupervisor):
    """Waits until a file is written to its end. What was read before a restart is known by its segment."""

    def __init__(self, plan: CapturePlan, around: Surroundings) -> None:
        super().__init__(plan, around)
        self._folder = Path(plan.source.location)
        self._tree = Tree(around.clock)
        self._found: dict[Path, Found] = {}
        """Files that were not read yet."""
        self._refused: dict[Path, tuple[Looks, str]] = {}
        """Files of which nothing could be made, as they were then, and why; the last one last."""
        mark = plan.resume
        known = sorted(plan.taken, key=lambda one: one.epoch)
        begun = [one for one in known if mark is not None and one.epoch <= mark.epoch]
        self._again = [*begun[-1:], *known[len(begun) :]]
        """Read before the restart and perhaps not to the end, or not remembered."""
        self._taken = {Path(one.path): _looked(one) for one in known}
        self._also = set[Path]()
        """Other names of theirs."""
        self._next_epoch = max([-1, *(one.epoch for one in known), *([mark.epoch] if mark else [])]) + 1
        self._after = Moment(max([0, *(one.span.end for one in known)]))
        """Nothing of the next file may lie before this."""
        self._there: Moment = self._clock.now()
        """When the folder was last there."""
        self._disk: int | None = None
        """The one that it lay on then."""
        self._gone: Gap | None = None
        """Since when it is not, as far as that was told."""

    def _run(self) -> None:
        while True:
            self._look()
            self._pause(_LOOK_S)

    def _look(self) -> None:
        try:
            folder = self._around.guard.folder(self._folder)
            self._refuse_empty_mount(folder)
            ready = self._ready(self._tree.changed(folder))
        except (HindsightError, OSError) as error:
            self._say("offline", str(error))
            self._missed(str(error))
            return
        self._found_again()
        self._read_again()
        for path in ready:
            self._take(path)
        self._there = self._clock.now()
        self._say("live", f"Files read: {len(self._taken)}; waiting for more.{self._unread()}")

    def _unread(self) -> str:
        if not self._refused:
            return ""
        path, (_, why) = next(reversed(self._refused.items()))
        return f" {len(self._refused)} could not be read, the last {path.name}: {why}"

    def _refuse_empty_mount(self, folder: Path) -> None:
        """Where a disk was unmounted its folder is there, and empty; before a restart, say, of which nobody knows."""
        disk = _disk(folder)
        if self._taken and self._disk != disk and not any(folder.iterdir()):
            if self._disk is not None:
                raise NotFound(f"The disk of {folder} is not there.", advice="Check that it is mounted.")
            raise NotFound(
                f"{folder} is empty, and {len(self._taken)} files were read from it.",
                advice="Check that its disk is mounted. If someone emptied it, the next file is read.",
            )
        self._disk = disk

    def _read_again(self) -> None:
        """What was not read to its end before the restart, once its folder is there."""
        if self._again:
            known = sorted(self.plan.taken, key=lambda one: one.epoch)
            self._taken = {Path(one.path): _looked(one) for one in known}
        for segment in self._again:
            resume = self.plan.resume if segment is self._again[0] else None
            if Path(segment.path).exists() and not self._is_other(Path(segment.path)):
                self._read_file(Path(segment.path), segment.epoch, segment.span.start, resume)
        self._again = []

    def _missed(self, why: str) -> None:
        """The folder is not there: nobody knows what is put into it, and the gap grows from when it last was."""
        now = Moment(max(self._clock.now(), self._there))
        if self._gone is None or now - self._gone.span.end >= seconds(_GROW_S):
            self._tell_gone(Span(self._there, now), why)

    def _found_again(self) -> None:
        now = self._clock.now()
        if self._gone is not None:
            self._tell_gone(Span(self._gone.span.start, Moment(max(now, self._gone.span.end))), self._gone.detail)
        self._there, self._gone = now, None

    def _tell_gone(self, span: Span, why: str) -> None:
        self._gone = Gap(self.plan.stream, span, "offline", why)
        self._journal(self._gone)

    def _stopped(self) -> None:
        if self._gone is not None:
            self._found_again()
        super()._stopped()

    def _ready(self, paths: list[Path]) -> list[Path]:
        """Those that are new and no longer written, in the order in which they were finished."""
        now, ready = self._clock.monotonic(), []
        for path in paths:
            if (path not in self._taken and path not in self._also) or self._is_other(path):
                self._found.setdefault(path, Found(_looks(path), now))
        for path, before in list(self._found.items()):
            looks = _looks(path)
            if looks == _NOTHING:
                del self._found[path]
                self._refused.pop(path, None)
            elif looks != before.looks:
                self._found[path] = Found(looks, now)
            elif looks[0] and not self._is_refused(path, looks) and now - before.since >= self._settled_s(path):
                ready.append((looks[1], path))
        return [path for _, path in sorted(ready)]

    def _is_refused(self, path: Path, looks: Looks) -> bool:
        return path in self._refused and self._refused[path][0] == looks

    def _is_other(self, path: Path) -> bool:
        """Whether another file has taken the name of one that was read, or it has grown since. What is of the same
        size passes for the same: copies, and disks that are mounted again, have other times."""
        before, size = self._taken.get(path, _NOTHING)[0], _looks(path)[0]
        return before >= 0 and size > 0 and size != before

    def _settled_s(self, path: Path) -> float:
        """What was taken for finished once may be written slowly."""
        return self._limits.settle_s * (_AGAIN if path in self._taken else 1)

    def _take(self, path: Path) -> None:
        self._refused.pop(path, None)
        if self._found[path].looks in self._taken.values():  # moved, or another name of what was read
            self._also.add(path)
            del self._found[path]
            return
        spec = SourceSpec("file", "file", str(path))
        try:
            info = probe(spec, self._around.guard)
            origin = filmed(info, path, self._clock.now())
        except (DeadlineExceeded, NotFound, FileNotFoundError):
            return  # it is looked at again, if it is still there
        except HindsightError as error:
            self._refuse(path, error)
            return
        late = " It was filmed before what is remembered, and stands behind it." if origin < self._after else ""
        self._say("reading", f"{path.name}.{late}")
        self._taken[path] = self._found.pop(path).looks
        self._read_file(path, self._next_epoch, Moment(max(origin, self._after)), None)

    def _read_file(self, path: Path, epoch: int, origin: Moment, resume: Mark | None) -> None:
        """One file from `resume` to its end, as the file supervisor does it."""
        heard = self.plan.heard if resume is not None else None
        self.plan = replace(self.plan, source=SourceSpec("file", "file", str(path)), starts_at=origin)
        self._begin(epoch, origin, resume, heard)
        try:
            while (outcome := self._attempt()) is None:
                self._go_on()
            self._finished(outcome)
        except HindsightError as error:
            if self._reached is None:
                self._refuse(path, error)
            else:
                self._failed(error)

    def _refuse(self, path: Path, error: HindsightError) -> None:
        """Tried again when it has changed: it may not have been written to its end after all."""
        looks = _looks(path)
        self._refused[path] = looks, str(error)
        self._found[path] = Found(looks, self._clock.monotonic())
        self._taken.pop(path, None)

    def _ended(self, epoch: int, moment: Moment, detail: str = "") -> None:
        """A file has ended, and the stream has not."""
        self._next_epoch, self._after = max(self._next_epoch, epoch + 1), Moment(max(self._after, moment))
        if detail:
            self._say("reading", detail)

    def _opened(self, info: Any) -> None:
        self._info = info


def _looked(segment: Segment) -> Looks:
    """How the file looked that was read; whatever is there now."""
    looks = _looks(Path(segment.path))
    return looks if looks[0] == segment.size else (segment.size, *_NOTHING[1:])


def _disk(folder: Path) -> int:
    return folder.stat().st_dev


def _looks(path: Path) -> Looks:
    """Nothing where there is no file any more, or a link leads nowhere."""
    try:
        status = path.stat()
    except OSError:
        return _NOTHING
    return status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino
