"""Reading words, and sentences as sums of words."""

from __future__ import annotations

import numpy as np
import pytest

from models.nano.text import PictureMap, TextTower, lookup, unit
from models.nano.training.space import SpaceRecipe, fit_map, fit_tower, principal, vocabulary

WORDS = ("dog", "person", "berry", "knife", "run", "drive", "fire", "truck", "a")


def tower() -> TextTower:
    table = np.random.default_rng(0).normal(size=(len(WORDS), 16)).astype(np.float32)
    return TextTower(WORDS, table, frozenset({"a"}))


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("dogs", ["dog"]), ("berries", ["berry"]), ("knives", []), ("running", ["run"]), ("driving", ["drive"]),
        ("firetruck", ["fire", "truck"]), ("xylophone", []), ("s", []),
    ],
)  # fmt: skip
def test_words_are_found_by_stem_or_by_halves(word: str, means: list[str]) -> None:
    rows = {w: i for i, w in enumerate(WORDS)}
    assert [WORDS[row] for row in lookup(word, rows)] == means


def test_a_reading_says_what_it_cannot_look_for() -> None:
    reading = tower().read("A photo of two DOGS, a xylophone!")
    assert reading.understood == ("dogs",)
    assert reading.unknown == ("of", "two", "xylophone")


def test_sentences_are_unit_vectors_whatever_their_company() -> None:
    text = tower()
    sentences = ["a dog", "person running", "fire", "", "zzz"]
    together = text.embed(sentences)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), [1, 1, 1, 0, 0], atol=1e-6)
    for row, sentence in zip(together, sentences, strict=True):
        np.testing.assert_array_equal(text.embed([sentence])[0], row)
    np.testing.assert_allclose(text.embed(["dog person"]), text.embed(["Person, dog."]), atol=1e-6)


def test_the_tower_learns_what_its_teacher_means() -> None:
    """Teacher: a fixed vector a word, a known weight each. From a poor start the fitted sums must point its way."""
    dice = np.random.default_rng(3)
    words = [f"word{chr(97 + i)}" for i in range(20)]
    true = dice.normal(size=(20, 8)).astype(np.float32) * dice.uniform(0.2, 2, (20, 1)).astype(np.float32)
    chosen = [dice.choice(20, 4, replace=False) for _ in range(600)]
    sentences = [" ".join(words[i] for i in each) for each in chosen]
    targets = np.stack([true[each].sum(0) for each in chosen])
    recipe = SpaceRecipe(epochs=60, batch=128, rate=0.05)
    start = unit(dice.normal(size=(20, 8)).astype(np.float32))
    untaught = TextTower(words, start)
    taught = fit_tower(sentences[:500], targets[:500], words, start, recipe)

    def agreement(text: TextTower) -> float:
        return float((text.embed(sentences[500:]) * unit(targets[500:])).sum(1).mean())

    assert agreement(untaught) < 0.6
    assert agreement(taught) > 0.97
    again = fit_tower(sentences[:500], targets[:500], words, start, recipe)
    np.testing.assert_array_equal(again.table, taught.table)


def test_the_map_finds_a_linear_relation_and_its_spread() -> None:
    dice = np.random.default_rng(4)
    gists = dice.normal(size=(2000, 12)).astype(np.float32)
    texts = unit((gists @ dice.normal(size=(12, 6))).astype(np.float32))
    picture = fit_map(gists[:1500], texts[:1500], np.ones(1500, np.float32), SpaceRecipe(ridge=1.0))
    vectors = picture(gists[1500:])
    assert float((vectors * texts[1500:]).sum(1).mean()) > 0.95
    queries = unit(dice.normal(size=(5, 6)).astype(np.float32))
    measured = np.sqrt(((queries @ vectors.T) ** 2).mean(1))
    np.testing.assert_allclose(picture.deviation(queries), measured, rtol=0.15)


def test_a_picture_that_counts_for_nothing_changes_nothing() -> None:
    dice = np.random.default_rng(5)
    gists, texts = dice.normal(size=(50, 4)).astype(np.float32), unit(dice.normal(size=(50, 3)).astype(np.float32))
    weights = np.ones(50, np.float32)
    weights[-1] = 0.0
    with_it = fit_map(gists, texts, weights, SpaceRecipe())
    without = fit_map(gists[:-1], texts[:-1], weights[:-1], SpaceRecipe())
    np.testing.assert_allclose(with_it.weight, without.weight, atol=1e-5)


def test_reduction_keeps_angles_when_nothing_is_dropped() -> None:
    vectors = unit(np.random.default_rng(6).normal(size=(100, 5)).astype(np.float32))
    reduced = principal(vectors, 5)(vectors)
    centred = vectors - vectors.mean(0)
    np.testing.assert_allclose(reduced @ reduced.T, centred @ centred.T, atol=1e-5)


def test_the_vocabulary_has_frequent_words_and_every_name() -> None:
    words = vocabulary(["a dog runs", "a cat", "the dog"], ["hot dog", "zebra"], rarest=2)
    assert words[:2] == ["a", "dog"]
    assert set(words) == {"a", "dog", "hot", "zebra"}


def test_a_map_gives_unit_vectors() -> None:
    dice = np.random.default_rng(7)
    picture = PictureMap(
        dice.normal(size=(4, 3)).astype(np.float32), np.zeros(3, np.float32), np.eye(3, dtype=np.float32)
    )
    out = picture(dice.normal(size=(9, 4)).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1.0, atol=1e-6)
