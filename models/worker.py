"""A child process with one model in it: orders in on stdin, results out on stdout, as `ingest.wire` messages.

parent: {"model": ["encoder", name], "options": {...}, "parent": pid}    child: ("ready", {"id": ..., ...})
parent: (method, argument)                                               child: ("ok", result)
                                                                         or     ("error", code, message, advice)
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO, Final

import numpy as np

from ingest import wire
from ingest.errors import HindsightError, Poison
from ingest.records import SAMPLE_RATE, Frame, Moment, Sound, StreamId

_METHODS: Final = {
    "encoder": ("encode", "encode_utterances", "encode_queries"),
    "transcriber": ("transcribe",),
}
_CHECK: Final = StreamId("check")
_CHECKS: Final = itertools.count()


def main() -> None:
    """Serve one model until stdin closes or the parent is gone."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up between messages
    order = wire.read(sys.stdin.buffer)
    threading.Thread(target=_follow, args=(order["parent"],), daemon=True).start()
    kind, name = order["model"]
    try:
        model = _build(kind, name, order["options"])
    except HindsightError as error:
        wire.write(replies, ("error", error.code, error.message, error.advice))
        return
    wire.write(replies, ("ready", {"id": model.id, "dim": getattr(model, "dim", 0)}))
    try:
        while True:
            method, argument = wire.read(sys.stdin.buffer)
            _reply(replies, model, kind, method, argument)
    except (EOFError, BrokenPipeError):
        return


def _build(kind: str, name: str, options: dict[str, Any]) -> Any:
    import cv2

    from models import registry

    cv2.setNumThreads(1)
    return registry.encoder(name, options) if kind == "encoder" else registry.transcriber(name, options)


def _reply(replies: BinaryIO, model: Any, kind: str, method: str, argument: Any) -> None:
    try:
        if method == "check":
            result = _check(model, kind)
        elif method in _METHODS[kind]:
            result = getattr(model, method)(argument)
        else:
            raise Poison(f"A {kind} has no {method}.")
        answer: Any = ("ok", result)
    except HindsightError as error:
        answer = ("error", error.code, error.message, error.advice)
    except Exception as error:  # the border of the process: whatever a model raises is told to the parent
        traceback.print_exc()
        answer = ("error", Poison.code, f"The model failed: {type(error).__name__}: {error}.", "")
    wire.write(replies, answer)


def _check(model: Any, kind: str) -> str:
    """Really run the model on something small; what came out, in words."""
    if kind == "transcriber":
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
        heard = model.transcribe([Sound(_CHECK, 0, 0, Moment(0), noise)])
        return f"{len(heard)} utterances in a second of noise"
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    (feature,) = model.encode([Frame(_CHECK, 0, at := 1_000_000 * next(_CHECKS), Moment(at), picture)])
    (query,) = model.encode_queries(["something moves"])
    score = float(query.probability(np.asarray(feature.vector @ query.vector)))
    if not np.isfinite(score):
        raise Poison("The model gives numbers that are not numbers.")
    return f"a picture became {len(feature.vector)} numbers"


def _follow(parent: int) -> None:
    """End when the parent does, also in the middle of a computation."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
