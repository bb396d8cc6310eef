"""The frame encoder that needs no download: `FrameEncoder` over things seen, motion, colours, words read and heard."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np

from ingest.questions import Query
from ingest.records import MICROSECONDS, Box, Feature, Frame, Moment, Observation, Pixels, Span, StreamId, Utterance
from models.embedded import clauses
from models.embedded.colours import dominant
from models.embedded.concepts import LookBack, NamedThings, concepts_of
from models.embedded.faces import Face
from models.embedded.kinds import FACE
from models.embedded.motion import Motion, MotionReader
from models.embedded.pictures import jpeg
from models.embedded.reading import LineReader, RapidReader, Shown, TextFollower, words_of
from models.embedded.scene import Look, look_at
from models.embedded.sight import LazyNano, Seer, Watcher
from models.embedded.space import DIM, appearance_query, frame_vector, scene_slot
from models.embedded.things import Arrival, Joiner, Thing
from models.embedded.tracking import Passage, Track
from models.embedded.vocabulary import by_importance

_MOST_STREAMS = 64
_MOST_DONE = 32
"""Features kept per stream, for frames that are delivered again."""
_LONGEST_FRAME_US = MICROSECONDS
_THUMBNAIL_SIDE = 320
_PICTURE_SLOPE, _PICTURE_OFFSET = 30.0, -26.0
"""Calibration of the cosine of two appearances."""


class _Stream:
    """What is remembered of one stream between frames."""

    def __init__(self, reader: LineReader, seer: Seer) -> None:
        self.motion = MotionReader()
        self.text = TextFollower(reader)
        self.sight = Watcher(seer)
        self.things = Joiner()
        self.passages = LookBack[Passage]()
        self.arrivals = LookBack[Arrival]()
        self.scenes = _SceneLog()
        self.epoch = -1
        self.span: Span | None = None
        """The last frame's."""
        self.shown: tuple[Shown, ...] = ()
        self.done: OrderedDict[str, Feature] = OrderedDict()

    def gone(self, shown: Sequence[Shown], moment: Moment) -> list[Shown]:
        """Text that was told to last beyond `moment`, where it is not shown any more."""
        early = self.span is not None and moment < self.span.end
        return [one for one in self.shown if early and one not in shown]


class EmbeddedEncoder:
    """Concepts measured in the picture, composed into one vector; see `space` for its layout."""

    dim = DIM

    def __init__(self, reader: LineReader | None = None, seer: Seer | None = None) -> None:
        self._reader, self._seer = reader or RapidReader(), seer or LazyNano()
        self._streams: OrderedDict[StreamId, _Stream] = OrderedDict()

    @property
    def id(self) -> str:
        """Other weights of nano make vectors that cannot be compared."""
        return f"embedded-3/{self._seer.id}"

    def encode(self, frames: Sequence[Frame]) -> list[Feature]:
        return [self._encode_one(frame) for frame in frames]

    def encode_utterances(self, utterances: Sequence[Utterance]) -> list[Feature]:
        return [_encode_utterance(utterance) for utterance in utterances]

    def encode_queries(self, queries: Sequence[str | Pixels]) -> list[Query]:
        return [clauses.query(one, self._seer) if isinstance(one, str) else _picture_query(one) for one in queries]

    def _encode_one(self, frame: Frame) -> Feature:
        known = self._known(frame)
        if known is not None:
            return known
        stream = self._stream(frame)
        birth = f"{frame.epoch}.{frame.pts}"
        motion = stream.motion.read(frame.pixels, frame.moment, birth)
        shown = stream.text.follow(frame.pixels, frame.moment, birth, fresh=motion.new_scene)
        other = motion.new_scene and not motion.camera_moves
        seen = stream.sight.watch(frame.pixels, frame.moment, cut=motion.cut, new_scene=other)
        present = stream.things.join(frame.pixels, seen, motion, birth)
        unnamed, arrivals = [*stream.things.unnamed(motion)], [*stream.things.arrivals(motion)]
        look = look_at(frame.pixels)
        span = Span(frame.moment, Moment(frame.moment + _duration(stream.span, frame.moment)))
        gone = stream.gone(shown, frame.moment)
        stream.span, stream.shown = span, shown
        passages = stream.passages.recent(motion.passages, frame.moment)
        named = NamedThings(present, stream.arrivals.recent(arrivals, frame.moment), seen.faces)
        concepts = concepts_of(motion, look, bool(shown), passages, named)
        observations = (
            *_withdrawn(frame, stream.things.withdrawn(), span),
            *_moving(frame, unnamed, span),
            *_named(frame, present, motion, span),
            *_events(frame, arrivals),
            *_faces(frame, seen.faces, span),
            *_read(frame, gone, frame.moment),
            *_read(frame, shown, span.end),
            *stream.scenes.notice(frame, motion, look, span),
        )
        words = by_importance(words_of([one.line for one in shown]))
        feature = Feature(
            stream=frame.stream,
            epoch=frame.epoch,
            pts=frame.pts,
            span=span,
            vector=frame_vector(concepts, appearance=look.appearance, words=words, sight=seen.vector),
            observations=observations,
            thumbnail=jpeg(frame.pixels, _THUMBNAIL_SIDE),
        )
        stream.done[feature.key] = feature
        while len(stream.done) > _MOST_DONE:
            stream.done.popitem(last=False)
        return feature

    def _known(self, frame: Frame) -> Feature | None:
        """The feature of a frame that is delivered again: taking it in twice would spoil the stream's state."""
        state = self._streams.get(frame.stream)
        return state.done.get(f"{frame.key}/frame") if state is not None else None

    def _stream(self, frame: Frame) -> _Stream:
        """The state of the frame's stream, fresh for a new epoch; the streams used longest ago make room."""
        state = self._streams.get(frame.stream)
        if state is None or state.epoch != frame.epoch or (state.span and frame.moment <= state.span.start):
            state = self._streams[frame.stream] = _Stream(self._reader, self._seer)
            state.epoch = frame.epoch
        self._streams.move_to_end(frame.stream)
        while len(self._streams) > _MOST_STREAMS:
            self._streams.popitem(last=False)
        return state


class _SceneLog:
    """Lasting facts about a stream's picture as observations that grow."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[Moment, str]] = {}

    def notice(self, frame: Frame, motion: Motion, look: Look, span: Span) -> Iterator[Observation]:
        holds = {
            "dark": look.dark > 0.5,
            "bright": look.bright > 0.5,
            "still": motion.judged and not motion.tracks and not motion.passages,
            "cut": motion.cut,
        }
        for label, true in holds.items():
            if not true:
                self._since.pop(label, None)
                continue
            since, track = self._since.setdefault(label, (frame.moment, f"{label}-{frame.pts}"))
            yield Observation(frame.stream, frame.epoch, track, "scene", label, Span(since, span.end), 1.0)


def _moving(frame: Frame, tracks: Sequence[Track], span: Span) -> Iterator[Observation]:
    """What moves and has no name."""
    for track in tracks:
        actions = ("stays",) if track.rests_since is not None else (*track.directions(),) or ("moves",)
        yield Observation(
            frame.stream, frame.epoch, track.id, "thing", "something", Span(track.first, span.end),
            min(0.95, 0.6 + 0.1 * track.sightings), track.colour, actions, box=Box(*_inside(track.box)),
        )  # fmt: skip


def _withdrawn(frame: Frame, ids: Sequence[str], span: Span) -> Iterator[Observation]:
    """What was told without a name and is told by name under another key."""
    for one in ids:
        yield Observation(frame.stream, frame.epoch, one, "thing", "", span, 0.0)


def _named(frame: Frame, things: Sequence[Thing], motion: Motion, span: Span) -> Iterator[Observation]:
    for thing in things:
        name = thing.name or ("something" if thing.told else "")
        if not name or not thing.here(frame.moment):
            continue
        thing.told = True
        yield Observation(
            frame.stream, frame.epoch, thing.id, "thing", name, Span(thing.first, span.end),
            thing.best.get(name, 0.9), thing.colour, thing.actions(frame.moment, motion.judged),
            box=Box(*_inside(thing.box)),
        )  # fmt: skip


def _events(frame: Frame, arrivals: Sequence[Arrival]) -> Iterator[Observation]:
    for passage, thing in ((one.passage, one.thing) for one in arrivals):
        name, colour = (thing.name, thing.colour) if thing is not None else ("something", dominant(passage.colours))
        yield Observation(
            frame.stream, frame.epoch, f"{passage.track}/{passage.what}", "event", passage.what, passage.span,
            0.9, colour, text=name, box=Box(*_inside(passage.box)),
        )  # fmt: skip


def _faces(frame: Frame, faces: Sequence[Face], span: Span) -> Iterator[Observation]:
    for one in faces:
        yield Observation(
            frame.stream, frame.epoch, f"face-{one.first}.{one.of}", "scene", FACE, Span(one.first, span.end),
            one.score, text=FACE, box=one.box,
        )  # fmt: skip


def _read(frame: Frame, shown: Sequence[Shown], until: Moment) -> Iterator[Observation]:
    for one in shown:
        yield Observation(
            frame.stream, frame.epoch, one.id, "read", "text", Span(one.first, until), one.line.score,
            text=one.text, box=one.line.box,
        )  # fmt: skip


def _encode_utterance(utterance: Utterance) -> Feature:
    words = {word.text: _certainty(word.confidence) for word in utterance.words}
    if not words:
        words = dict.fromkeys(re.findall(r"[^\W_]+(?:'[^\W_]+)?", utterance.text.lower()), utterance.confidence)
    heard = Observation(
        utterance.stream, utterance.epoch, f"{utterance.pts}-{utterance.kind}", "heard", utterance.kind, utterance.span,
        utterance.confidence, actions=(utterance.language,), text=utterance.text,
    )  # fmt: skip
    return Feature(
        stream=utterance.stream,
        epoch=utterance.epoch,
        pts=utterance.pts,
        span=utterance.span,
        vector=frame_vector({scene_slot("speech"): 1.0}, words=by_importance(words)),
        origin="sound",
        observations=(heard,),
    )


def _certainty(confidence: float) -> float:
    """A recogniser's posterior is about its own alternatives: even an unlikely word was probably something like it."""
    return 0.5 + 0.5 * confidence


def _picture_query(pixels: Pixels) -> Query:
    return Query("", appearance_query(look_at(pixels).appearance), _PICTURE_SLOPE, _PICTURE_OFFSET, ("appearance",))


def _duration(last: Span | None, moment: Moment) -> int:
    """A frame speaks for the time until the next, which is not known: as long as the one before it did."""
    return _LONGEST_FRAME_US // 2 if last is None else min(moment - last.start, _LONGEST_FRAME_US)


def _inside(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(np.clip(side, 0.0, 1.0)) for side in box)
    return left, top, right, bottom
