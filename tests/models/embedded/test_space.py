"""The vector space: an inner product is the mean of how well the clauses are met."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.embedded.clauses import query
from models.embedded.space import (
    ACTIONS,
    COLOURS,
    DIM,
    MAX_WORDS,
    SCENE,
    appearance_query,
    concept_query,
    frame_vector,
    motion_slot,
    normal_form,
    scene_slot,
    word_query,
)

SLOTS = [*(motion_slot(a, c) for a in ACTIONS for c in ("", *COLOURS)), *(scene_slot(fact) for fact in SCENE)]
WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=14)


def test_every_concept_has_a_component_of_its_own() -> None:
    assert len(set(SLOTS)) == len(SLOTS)
    assert max(SLOTS) < DIM


@given(st.dictionaries(st.sampled_from(SLOTS), st.floats(0, 1), max_size=12))
@settings(max_examples=60)
def test_a_query_reads_back_the_strengths(concepts: dict[int, float]) -> None:
    frame = frame_vector(concepts)
    weights = {slot: 1 / max(len(concepts), 1) for slot in concepts}
    expected = sum(concepts.values()) / max(len(concepts), 1)
    assert float(frame @ concept_query(weights)) == pytest.approx(expected, abs=1e-4)


@given(
    st.dictionaries(st.sampled_from(SLOTS), st.floats(0, 1), max_size=80),
    st.dictionaries(WORDS, st.floats(0, 1), max_size=60),
)
@settings(max_examples=60)
def test_the_norm_is_at_most_one(concepts: dict[int, float], words: dict[str, float]) -> None:
    appearance = np.full(64, 1 / 8, np.float32)
    assert np.linalg.norm(frame_vector(concepts, appearance=appearance, words=words)) <= 1.0 + 1e-5


def test_a_mean_of_vectors_scores_the_mean_of_their_scores() -> None:
    sentence = query("something red moves left")
    frames = [
        frame_vector({motion_slot("moves left", "red"): strength}, words={"open": 1.0}) for strength in (1.0, 0.0, 0.5)
    ]
    weights = np.array([3, 1, 2], np.float32) / 6
    slot = sum(weight * one for weight, one in zip(weights, frames, strict=True))
    scores = np.array([one @ sentence.vector for one in frames])
    assert float(slot @ sentence.vector) == pytest.approx(float(weights @ scores), abs=1e-5)


def test_words_are_found_through_misreadings_and_plurals() -> None:
    seen = frame_vector({}, words={"scrambied": 1.0, "eggs": 1.0, "done": 1.0})
    assert float(seen @ word_query("scrambled", "read")) > 0.5
    assert float(seen @ word_query("egg", "read")) > 0.8
    assert normal_form("Pictures") == "picture"
    assert normal_form("glass") == "glass"


def test_absent_words_rarely_look_present() -> None:
    """Over many pages and words, against the truth of what was put on them."""
    rng = np.random.default_rng(0)
    letters = np.array(list(string.ascii_lowercase))
    vocabulary = ["".join(rng.choice(letters, rng.integers(3, 10))) for _ in range(400)]
    wrong, missed = [], []
    for page in range(60):
        present = vocabulary[page * 5 : page * 5 + 5]
        frame = frame_vector({}, words=dict.fromkeys(present, 0.97))
        missed += [float(frame @ word_query(word)) for word in present]
        wrong += [float(frame @ word_query(word)) for word in vocabulary[310:] if word not in present]
    calibrated = query("anything").probability
    assert np.mean(calibrated(np.array(wrong, np.float32)) > 0.6) < 0.005
    assert np.mean(calibrated(np.array(missed, np.float32)) > 0.6) > 0.85


def test_read_and_heard_are_told_apart() -> None:
    heard = frame_vector({scene_slot("speech"): 1.0}, words={"lighthouse": 1.0})
    assert float(heard @ word_query("lighthouse", "heard")) == pytest.approx(1.0, abs=0.05)
    assert float(heard @ word_query("lighthouse", "either")) == pytest.approx(1.0, abs=0.05)
    assert float(heard @ word_query("lighthouse", "read")) < 0.1


def test_only_so_many_words_enter_a_vector() -> None:
    words = {f"word{index}": 1.0 - index / 1000 for index in range(MAX_WORDS + 30)}
    kept = dict(list(words.items())[:MAX_WORDS])
    np.testing.assert_array_equal(frame_vector({}, words=words), frame_vector({}, words=kept))


def test_appearance_is_a_cosine() -> None:
    a, b = np.eye(64, dtype=np.float32)[:2]
    mixed = (a + b) / np.float32(np.sqrt(2))
    assert float(frame_vector({}, appearance=mixed) @ appearance_query(a)) == pytest.approx(2**-0.5, abs=1e-5)
