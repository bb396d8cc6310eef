"""Models in child processes: deadlines, batches, a budget of restarts, and no frame that can stop a stream.

A model that crashes, hangs or eats memory takes its child down and not the service. The child is started again for
the next call, up to a budget; beyond it calls fail with `Busy` until the budget has recovered.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, Final, Literal, NoReturn, TypeVar

from ingest import wire
from ingest.clock import Clock, SystemClock
from ingest.errors import Busy, DeadlineExceeded, Fatal, HindsightError, Poison, by_code
from ingest.questions import Evidence, Query, Recollection
from ingest.records import Feature, Frame, Pixels, Sound, Span, StreamId, Utterance

_BATCH: Final = 4
"""Frames a call: small, so that a question need not wait long for its turn."""
_TIMES_TO_BE_POISON: Final = 2
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class RuntimeOptions:
    """Seconds to start, for a call, and for all pieces of an answer; and how often within how many seconds a child may
    be started again."""

    start_s: float = 120.0
    call_s: float = 60.0
    answer_s: float = 900.0
    restarts: int = 5
    within_s: float = 60.0


PATIENT: Final = RuntimeOptions(start_s=1800.0, call_s=600.0)
"""For large models: their weights are read from disk, and on a CPU the first word takes minutes."""


@dataclass(frozen=True)
class ModelSpec:
    """Which model: its kind, its name in `registry`, and plain options for its factory."""

    kind: Literal["encoder", "transcriber", "system"]
    name: str
    options: Mapping[str, object] = field(default_factory=dict)


class ChildDied(Busy):
    """The model's process ended in the middle of a call."""

    code = "model-died"


class ModelProcess:
    """One model in one child. Safe to call from several threads: they take turns, first come first served."""

    def __init__(self, spec: ModelSpec, options: RuntimeOptions = RuntimeOptions(), clock: Clock | None = None) -> None:
        self.spec = spec
        self._options = options
        self._clock = clock or SystemClock()
        self._turns = _Turns()
        self._telling = threading.Lock()
        self._child: _Child | None = None
        self._deaths: deque[float] = deque()
        self._about: Mapping[str, Any] | None = None
        self._closed = False

    @property
    def about(self) -> Mapping[str, Any]:
        """What the model says of itself: `id`, `dim`, `files` with their SHA-256, whether it `grounds` or `recollects`.

        Starts the child if need be.
        """
        if self._about is None:
            with self._turns:
                self._running()
        assert self._about is not None
        return self._about

    @property
    def known(self) -> bool:
        """Whether it was ever started."""
        return self._about is not None

    @property
    def pid(self) -> int | None:
        """The child's process, while there is one."""
        return self._child.pid if self._child is not None else None

    @property
    def degraded(self) -> bool:
        """Whether the budget of restarts is used up for now."""
        self._forget_old_deaths()
        return len(self._deaths) >= self._options.restarts

    def call(self, method: str, argument: object) -> Any:
        """What the model's `method` gives. Raises its error, `ChildDied`, `DeadlineExceeded`, or `Busy`."""
        with self._turns:
            child = self._running()
            try:
                return child.ask((method, argument), self._options.call_s)
            except (ChildDied, DeadlineExceeded):
                self._bury()
                raise

    def stream(self, *argument: object) -> Iterator[str]:
        """What a system answers to `argument`, each piece computed when it is asked for. One answer at a time.

        Closing the iterator ends the work in the child. Raises like `call`, also when all of it takes too long.
        """
        end = self._clock.monotonic() + self._options.answer_s
        if not self._telling.acquire(timeout=self._options.answer_s):
            raise Busy("The model is still answering another question.", advice="Ask again in a while.")
        piece: str | None = ""
        try:
            piece = self.call("begin", argument)
            while piece is not None:
                yield piece
                if self._clock.monotonic() > end:
                    raise DeadlineExceeded(f"The answer was not finished in {self._options.answer_s:.0f} s.")
                piece = self.call("next", None)
        finally:
            if piece is not None and self._child is not None:
                with contextlib.suppress(HindsightError):
                    self.call("stop", None)
            self._telling.release()

    def telling(self) -> bool:
        """Whether it is in the middle of an answer."""
        return self._telling.locked()

    def check(self) -> str:
        """Have the model really infer something small; what came of it in words. Raises like `call`."""
        return str(self.call("check", None))

    def close(self) -> None:
        """End the child. Calls fail from now on."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()
        with self._turns:
            if self._child is not None:
                self._child.end()
                self._child = None

    def _running(self) -> _Child:
        if self._closed:
            raise Busy("The model has been shut down.")
        if self._child is not None:
            return self._child
        if self.degraded:
            raise Busy(
                f"The {self.spec.kind} {self.spec.name} keeps ending: {len(self._deaths)} times in a short while.",
                advice="It is tried again in a minute; `hindsight doctor` shows why it fails.",
            )
        child = _Child(self.spec, self._clock)
        try:
            about = child.receive(self._options.start_s)
        except (ChildDied, DeadlineExceeded):
            self._child = child
            self._bury()
            raise
        except BaseException:
            child.end()
            raise
        self._check_same(about)
        self._child, self._about = child, about
        return child

    def _check_same(self, about: Mapping[str, Any]) -> None:
        if self._about is not None and about != self._about:
            raise Fatal(f"The model came back as {about['id']}; it was {self._about['id']}.")

    def _bury(self) -> None:
        self._deaths.append(self._clock.monotonic())
        if self._child is not None:
            self._child.end()
            self._child = None

    def _forget_old_deaths(self) -> None:
        horizon = self._clock.monotonic() - self._options.within_s
        while self._deaths and self._deaths[0] < horizon:
            self._deaths.popleft()


class RemoteEncoder:
    """A `FrameEncoder` whose model lives in a child process."""

    def __init__(self, process: ModelProcess) -> None:
        self._process = process
        self.id: str = process.about["id"]
        self.dim: int = process.about["dim"]

    def encode(self, frames: Sequence[Frame]) -> list[Feature]:
        return _in_batches(frames, lambda batch: self._process.call("encode", list(batch)))

    def encode_utterances(self, utterances: Sequence[Utterance]) -> list[Feature]:
        return _in_batches(utterances, lambda batch: self._process.call("encode_utterances", list(batch)))

    def encode_queries(self, queries: Sequence[str | Pixels]) -> list[Query]:
        return list(self._process.call("encode_queries", list(queries)))

    def check(self) -> str:
        return self._process.check()

    def close(self) -> None:
        self._process.close()


class RemoteTranscriber:
    """A `Transcriber` whose model lives in a child process, which is started when it is first asked for anything."""

    def __init__(self, process: ModelProcess) -> None:
        self._process = process

    @property
    def id(self) -> str:
        return str(self._process.about["id"])

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(self._process.about["languages"])

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        found: list[list[Utterance]] = _in_batches(sounds, lambda batch: [self._hear(one) for one in batch])
        return [utterance for part in found for utterance in part]

    def check(self) -> str:
        return self._process.check() if self._process.known else "nobody has listened yet"

    def close(self) -> None:
        self._process.close()

    def _hear(self, sound: Sound) -> list[Utterance]:
        return list(self._process.call("transcribe", [sound]))


class RemoteSystem:
    """A `VideoSystem` whose model lives in a child process."""

    def __init__(self, process: ModelProcess) -> None:
        self._process = process
        self.id: str = process.about["id"]

    @property
    def files(self) -> list[tuple[str, str]]:
        """What was loaded: file names with their SHA-256."""
        return [(name, digest) for name, digest in self._process.about["files"]]

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        return self._process.stream(question, evidence)

    @classmethod
    def of(cls, process: ModelProcess) -> RemoteSystem:
        """A system, and a `Grounder` or a `Recollector` as well if its model is one."""
        if process.about["recollects"]:
            return RemoteRecollector(process)
        return (RemoteGrounder if process.about["grounds"] else RemoteSystem)(process)

    def check(self) -> str:
        """Shows it a picture, unless it is at work for somebody."""
        return "it is answering a question" if self._process.telling() else self._process.check()

    def close(self) -> None:
        self._process.close()


class RemoteGrounder(RemoteSystem):
    """A system in a child process that can also say when."""

    def ground(self, event: str, evidence: Evidence) -> list[Span]:
        """An exhibit a call, so that each has the time of one; what is said of an exhibit is cut to it here as well."""
        found = []
        for exhibit in evidence.exhibits:
            said = self._process.call("ground", (event, replace(evidence, exhibits=(exhibit,))))
            found += [inside for span in said if (inside := span.intersection(exhibit.hit.span))]
        return found


class RemoteRecollector(RemoteSystem):
    """A system in a child process that remembers by itself. What it has not given away ends with the process."""

    def watch(self, frames: Sequence[Frame]) -> None:
        for start in range(0, len(frames), _BATCH):
            self._process.call("watch", list(frames[start : start + _BATCH]))

    def recollect(self, stream: StreamId) -> Recollection | None:
        found: Recollection | None = self._process.call("recollect", stream)
        return found


def _in_batches(items: Sequence[_T], call: Callable[[Sequence[_T]], list[_R]]) -> list[_R]:
    """`call` over `items`, `_BATCH` at a time; where a batch kills the child, one by one to find the culprit."""
    results: list[_R] = []
    for start in range(0, len(items), _BATCH):
        batch = items[start : start + _BATCH]
        try:
            results += call(batch)
        except ChildDied:
            for item in batch:
                results += _alone(item, call)
    return results


def _alone(item: _T, call: Callable[[Sequence[_T]], list[_R]]) -> list[_R]:
    """`call` with one item, which is poison when it kills the child every time."""
    last: ChildDied | None = None
    for _ in range(_TIMES_TO_BE_POISON):
        try:
            return call([item])
        except ChildDied as death:
            last = death
    name = getattr(item, "key", type(item).__name__)
    raise Poison(f"The model ends whenever it is given {name}.", advice="It is set aside.") from last


class _Child:
    """The process itself: starting, asking with a deadline, ending."""

    def __init__(self, spec: ModelSpec, clock: Clock) -> None:
        self._clock = clock
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "models.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
        )
        self._what = f"{spec.kind} {spec.name}"
        order = {"model": [spec.kind, spec.name], "options": dict(spec.options), "parent": os.getpid()}
        with contextlib.suppress(BrokenPipeError):  # its end is noticed, and explained, when its answer is read
            self._send(order, self._clock.monotonic() + 60.0)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, order: tuple[str, object], timeout_s: float) -> Any:
        end = self._clock.monotonic() + timeout_s
        try:
            self._send(order, end)
        except BrokenPipeError:
            self._raise_death()
        return self.receive(end - self._clock.monotonic())

    def receive(self, timeout_s: float) -> Any:
        """The content of the next message. Raises what the child reports."""
        assert self._process.stdout is not None
        pipe = _DeadlineReader(self._process.stdout.fileno(), self._clock.monotonic() + timeout_s, self._clock)
        try:
            tag, *content = wire.read(pipe)
        except EOFError:
            self._raise_death()
        except DeadlineExceeded:
            raise DeadlineExceeded(f"The {self._what} did not answer in {timeout_s:.0f} s.") from None
        if tag == "error":
            code, message, advice = content
            raise by_code(code)(message, advice=advice)
        return content[0]

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _send(self, order: object, end: float) -> None:
        """Write one message before `end`, whether or not the child reads it."""
        assert self._process.stdin is not None
        handle = self._process.stdin.fileno()
        os.set_blocking(handle, False)
        left = memoryview(wire.pack(order))
        while left:
            _, ready, _ = select.select([], [handle], [], max(0.0, end - self._clock.monotonic()))
            if not ready:
                raise DeadlineExceeded(f"The {self._what} did not take its order in time.")
            left = left[os.write(handle, left) :]

    def _raise_death(self) -> NoReturn:
        code = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2000))
        last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        raise ChildDied(f"The process of the {self._what} ended ({how}). {' '.join(last)}".strip())


@dataclass
class _DeadlineReader:
    handle: int
    end: float
    clock: Clock

    def readinto(self, memory: memoryview) -> int:
        ready, _, _ = select.select([self.handle], [], [], max(0.0, self.end - self.clock.monotonic()))
        if not ready:
            raise DeadlineExceeded("No answer in time.")
        return os.readv(self.handle, [memory])


class _Turns:
    """A lock that is given in the order it was asked for: a busy stage cannot starve a question."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._next = 0
        self._serving = 0

    def __enter__(self) -> None:
        with self._free:
            mine = self._next
            self._next += 1
            self._free.wait_for(lambda: self._serving == mine)

    def __exit__(self, *_: object) -> None:
        with self._free:
            self._serving += 1
            self._free.notify_all()
