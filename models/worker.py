"""A child process with one model in it: orders in on stdin, results out on stdout, as `ingest.wire` messages.

parent: {"model": ["encoder", name], "options": {...}, "parent": pid}    child: ("ready", {"id": ..., ...})
parent: (method, argument)                                               child: ("ok", result)
                                                                         or     ("error", code, message, advice)

A system's answer is asked for piece by piece: "begin" (question, evidence) and every "next" give a piece, None at the
end; "stop" ends it early.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import threading
import time
import traceback
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from ingest import wire
from ingest.errors import HindsightError, Poison, TooLarge
from ingest.questions import Evidence, Exhibit, Hit, Picture
from ingest.records import MICROSECONDS, SAMPLE_RATE, Frame, Moment, Pixels, Sound, Span, StreamId
from models.room import one_by_one, ran_out

_METHODS: Final = {
    "encoder": ("encode", "encode_utterances", "encode_queries"),
    "transcriber": ("transcribe",),
    "system": ("ground", "watch", "recollect"),
}
_ANSWERING: Final = ("begin", "next", "stop")
_CHECK: Final = StreamId("check")
_CHECKS: Final = itertools.count()


def main() -> None:
    """Serve one model until stdin closes or the parent is gone."""
    replies = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not end up between messages
    orders = io.FileIO(0, closefd=False)
    order = wire.read(orders)
    with contextlib.suppress(OSError):  # when the machine runs out of memory, this process goes before the service
        Path("/proc/self/oom_score_adj").write_text("900")
    threading.Thread(target=_follow, args=(order["parent"],), daemon=True).start()
    kind, name = order["model"]
    try:
        model = _build(kind, name, order["options"])
    except HindsightError as error:
        wire.write(replies, ("error", error.code, error.message, error.advice))
        return
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        wire.write(replies, _told(error))
        return
    report = getattr(model, "report", None)
    files = [list(file) for file in report.files] if report is not None else []
    can: dict[str, Any] = {"grounds": hasattr(model, "ground"), "recollects": hasattr(model, "recollect")}
    can["languages"] = sorted(getattr(model, "languages", ()))
    wire.write(replies, ("ready", {"id": model.id, "dim": getattr(model, "dim", 0), "files": files, **can}))
    served = _Served(model, kind)
    try:
        while True:
            method, argument = wire.read(orders)
            _reply(replies, served, method, argument)
    except (EOFError, BrokenPipeError):
        return


def _build(kind: str, name: str, options: dict[str, Any]) -> Any:
    import cv2

    from models import registry

    cv2.setNumThreads(1)
    factories = {"encoder": registry.encoder, "transcriber": registry.transcriber, "system": registry.system}
    return factories[kind](name, options)


class _Served:
    """The model and, of a system, the answer it is in the middle of."""

    def __init__(self, model: Any, kind: str) -> None:
        self._model = model
        self._kind = kind
        self._answer: Iterator[str] | None = None

    def do(self, method: str, argument: Any) -> Any:
        if method == "check":
            return _check(self._model, self._kind)
        if self._kind == "system" and method in _ANSWERING:
            return self._go_on(method, argument)
        if method not in _METHODS[self._kind]:
            raise Poison(f"A {self._kind} has no {method}.")
        if method == "ground":
            return self._model.ground(*argument)
        work = getattr(self._model, method)
        return work(argument) if self._kind == "system" else one_by_one(work, argument)

    def _go_on(self, method: str, argument: Any) -> str | None:
        """The answer's next piece, None at its end; "begin" and "stop" close the one before."""
        if method != "next":
            _close(self._answer)
            self._answer = self._model.answer(*argument) if method == "begin" else None
        elif self._answer is None:
            raise Poison("An answer was to go on of which nothing is left.", advice="Ask again.")
        return None if self._answer is None else next(self._answer, None)


def _close(answer: Iterator[str] | None) -> None:
    if isinstance(answer, Generator):
        answer.close()


def _reply(replies: int, served: _Served, method: str, argument: Any) -> None:
    try:
        answer: Any = ("ok", served.do(method, argument))
    except HindsightError as error:
        answer = ("error", error.code, error.message, error.advice)
    except Exception as error:  # the border of the process: whatever a model raises is told to the parent
        traceback.print_exc()
        answer = _told(error)
    wire.write(replies, answer)


def _told(error: Exception) -> tuple[str, ...]:
    """What a model raised that is not one of our errors, as one of them."""
    if ran_out(error):
        advice = "Choose a smaller model, or give it a device with more memory."
        return ("error", TooLarge.code, "The model does not fit in this device's memory.", advice)
    return ("error", Poison.code, f"The model failed: {type(error).__name__}: {error}.", "")


def _check(model: Any, kind: str) -> str:
    """Really run the model on something small; what came out, in words."""
    if kind == "transcriber":
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
        list(model.transcribe([Sound(_CHECK, 0, 0, Moment(0), noise)]))  # whatever it takes noise for, it works
        return "it listened to a second of noise"
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    if kind == "system":
        return _check_system(model, picture)
    (feature,) = model.encode([Frame(_CHECK, 0, at := 1_000_000 * next(_CHECKS), Moment(at), picture)])
    (query,) = model.encode_queries(["something moves"])
    score = float(query.probability(np.asarray(feature.vector @ query.vector)))
    if not np.isfinite(score):
        raise Poison("The model gives numbers that are not numbers.")
    return f"a picture became {len(feature.vector)} numbers"


def _check_system(model: Any, picture: Pixels) -> str:
    """One frame, and the first piece of an answer: a token, or as many as it takes to spell a letter."""
    from PIL import Image

    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG")
    span = Span(Moment(0), Moment(MICROSECONDS))
    exhibit = Exhibit(1, Hit(_CHECK, span, 1.0, span.start), (Picture(span.start, jpeg.getvalue()),))
    answer = model.answer("What is in the picture?", Evidence((exhibit,)))
    said = "".join(islice(answer, 1))
    _close(answer)
    if not said:
        raise Poison("The model was shown a picture and said nothing.")
    return f"it saw a picture and began to answer: {said.strip()!r}"


def _follow(parent: int) -> None:
    """End when the parent does, also in the middle of a computation."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
