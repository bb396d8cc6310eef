"""What every `FrameEncoder` keeps, whichever model is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ingest.records import Frame, Moment, Span, StreamId, Utterance
from models.embedded.encoder import EmbeddedEncoder
from models.fake import FakeEncoder
from models.protocols import FrameEncoder
from models.runtime import ModelProcess, ModelSpec, RemoteEncoder

STREAM = StreamId("yard")
MAKERS: dict[str, Callable[[], FrameEncoder]] = {"fake": FakeEncoder, "embedded": EmbeddedEncoder}


@pytest.fixture(params=[*MAKERS, "in a child"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[], FrameEncoder]]:
    """Makes as many fresh encoders of one kind as a test wants."""
    processes: list[ModelProcess] = []

    def in_a_child() -> FrameEncoder:
        processes.append(ModelProcess(ModelSpec("encoder", "embedded")))
        return RemoteEncoder(processes[-1])

    yield MAKERS.get(request.param, in_a_child)
    for process in processes:
        process.close()


def frames(count: int = 14, stream: StreamId = STREAM, epoch: int = 0) -> list[Frame]:
    """A red square crosses a grey, slightly noisy yard."""
    noise = np.random.default_rng(7)
    made = []
    for index in range(count):
        pixels = np.full((120, 160, 3), 120, np.uint8) + noise.integers(0, 4, (120, 160, 3), dtype=np.uint8)
        left = 10 * index - 30
        pixels[50:80, max(left, 0) : max(left + 30, 0)] = (200, 30, 30)
        at = index * 250_000
        made.append(Frame(stream, epoch, at, Moment(1_000_000_000 + at), pixels))
    return made


def test_one_feature_per_frame_in_order(make: Callable[[], FrameEncoder]) -> None:
    encoder = make()
    given = frames()
    features = encoder.encode(given)
    assert [(one.stream, one.epoch, one.pts, one.moment) for one in features] == [
        (one.stream, one.epoch, one.pts, one.moment) for one in given
    ]
    assert all(one.origin == "frame" and one.span.duration > 0 for one in features)
    assert encoder.encode([]) == []


def test_vectors_have_the_stated_shape_and_norm(make: Callable[[], FrameEncoder]) -> None:
    encoder = make()
    for feature in encoder.encode(frames()):
        assert feature.vector.shape == (encoder.dim,)
        assert feature.vector.dtype == np.float32
        assert 0.0 < np.linalg.norm(feature.vector) <= 1.0 + 1e-5


def test_batching_and_other_streams_change_nothing(make: Callable[[], FrameEncoder]) -> None:
    together = make().encode(frames())
    one_by_one = make()
    alone = []
    for frame, other in zip(frames(), frames(stream=StreamId("hall")), strict=True):
        alone += one_by_one.encode([frame])
        one_by_one.encode([other])
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.vector, b.vector)
        assert a.observations == b.observations
        assert a.thumbnail == b.thumbnail


def test_a_batch_delivered_again_has_the_effect_of_once(make: Callable[[], FrameEncoder]) -> None:
    encoder = make()
    given = frames()
    first = encoder.encode(given[:8])
    again = encoder.encode(given[:8])
    rest = encoder.encode(given[8:])
    undisturbed = make().encode(given)
    for a, b in zip([*again, *rest], undisturbed, strict=True):
        np.testing.assert_array_equal(a.vector, b.vector)
    assert [one.key for one in first] == [one.key for one in again]


def test_utterances_become_features_that_their_words_find(make: Callable[[], FrameEncoder]) -> None:
    encoder = make()
    said = Utterance(STREAM, 0, 5, Span(Moment(10), Moment(2_000_010)), "lighthouse", 1.0)
    (feature,) = encoder.encode_utterances([said])
    assert (feature.origin, feature.span, feature.vector.shape) == ("sound", said.span, (encoder.dim,))
    assert encoder.encode_utterances([]) == []
    heard, other = encoder.encode_queries(["lighthouse", "submarine"])
    score = [float(query.probability(np.asarray(feature.vector @ query.vector))) for query in (heard, other)]
    assert score[0] > 0.6
    assert score[1] < 0.3


def test_queries_are_calibrated_and_a_picture_finds_itself(make: Callable[[], FrameEncoder]) -> None:
    encoder = make()
    given = frames()
    features = encoder.encode(given)
    sentence, picture = encoder.encode_queries(["something red moves", given[3].pixels])
    for query in (sentence, picture):
        assert query.vector.shape == (encoder.dim,)
        chances = query.probability(np.stack([one.vector for one in features]) @ query.vector)
        assert np.all((chances >= 0) & (chances <= 1))
    assert sentence.text == "something red moves"
    assert float(picture.probability(np.asarray(features[3].vector @ picture.vector))) > 0.9
    assert encoder.encode_queries([]) == []


def test_the_identity_is_stable(make: Callable[[], FrameEncoder]) -> None:
    a, b = make(), make()
    assert (a.id, a.dim) == (b.id, b.dim)
    assert a.id
