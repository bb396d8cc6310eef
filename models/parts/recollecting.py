"""MA-LMM's own memory of what it watches, stream by stream; that memory as bytes, and back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ingest.questions import Evidence, Recollection
from ingest.records import MICROSECONDS, Frame, Moment, Span, StreamId
from models.parts.banked_context import Memory
from models.weights import LoadReport

_WEIGHTS = "weights"
"""Whose numbers these are, the SHA-256 of their files: to other weights they mean nothing."""


@dataclass
class Watched:
    """What is being remembered of a stream, from its first frame to its last."""

    memory: Memory
    first: Moment
    last: Moment


def opened(watching: dict[StreamId, Watched], frame: Frame, memory: Memory) -> Memory:
    """The memory that a frame belongs into: that of its stream, or `memory` where it is the first."""
    watched = watching.setdefault(frame.stream, Watched(memory, frame.moment, frame.moment))
    watched.last = frame.moment
    return watched.memory


def packed(stream: StreamId, watched: Watched, report: LoadReport | None) -> Recollection:
    """A memory as bytes, without its projected copies: they are made again. A frame stands for a second."""
    span = Span(watched.first, Moment(watched.last + MICROSECONDS))
    state = watched.memory.state(projections=False) | {_WEIGHTS: _fingerprint(report)}
    data = save({name: tensor.cpu().contiguous() for name, tensor in state.items()})
    return Recollection(stream, span, watched.memory.frames, data)


def unpacked(
    recollection: Recollection, report: LoadReport | None, device: torch.device, cache_bytes: int | None
) -> Memory | None:
    """The memory that `packed` was given; None for one of other weights, or bytes that are none."""
    try:
        state = load(recollection.data)
    except SafetensorError:
        return None
    weights = state.pop(_WEIGHTS, None)
    if weights is None or not torch.equal(weights, _fingerprint(report)):
        return None
    memory = Memory(state["visual.size"].shape[1] - 1, cache_bytes=cache_bytes)
    memory.restore({name: tensor.to(device) for name, tensor in state.items()})
    return memory


def resting_on(evidence: Evidence, recollection: Recollection) -> str:
    """The exhibits that lie in what is remembered: " [1] [3]"."""
    within = [
        exhibit.number
        for exhibit in evidence.exhibits
        if exhibit.hit.stream == recollection.stream and exhibit.hit.span.overlaps(recollection.span)
    ]
    return "".join(f" [{number}]" for number in sorted(within))


def _fingerprint(report: LoadReport | None) -> torch.Tensor:
    digests = "".join(digest for _, digest in report.files) if report is not None else ""
    return torch.frombuffer(bytearray(hashlib.sha256(digests.encode()).digest()), dtype=torch.uint8)
