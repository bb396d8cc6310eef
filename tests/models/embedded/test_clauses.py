"""Sentences: what is understood, what is not, and that the unknown claims nothing."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.records import Moment, Span, StreamId, Utterance
from models.embedded.clauses import parse, query
from models.embedded.encoder import EmbeddedEncoder
from models.embedded.space import ACTIONS, COLOURS, DIM, SCENE, frame_vector, motion_slot, scene_slot


def everything() -> np.ndarray:
    """A frame in which every concept holds at once, and no word was read."""
    vector = np.zeros(DIM, np.float32)
    for action in ACTIONS:
        for colour in ("", *COLOURS):
            vector += frame_vector({motion_slot(action, colour): 1.0})
    for fact in SCENE:
        vector += frame_vector({scene_slot(fact): 1.0})
    return vector


@pytest.mark.parametrize(
    ("sentence", "understood"),
    [
        ("something red moves", ("something red moves",)),
        ("Something enters from the left.", ("something enters", "something moves right")),
        ("a yellow thing stays", ("something yellow stays",)),
        ("movement on the right", ("something moves", "something on the right")),
        ("two things move to the right", ("something moves right", "two things")),
        ("something was taken away", ("something vanishes",)),
        ("something is put down", ("something appears",)),
        ("something left", ("something leaves",)),
        ("the road is empty", ("empty",)),
        ("nothing moves", ("not something moves",)),
        ("no movement", ("not something moves",)),
        ("written text", ("text",)),
        ("text on the screen", ("text",)),
        ("no text on the screen", ("no text",)),
        ('the text "Open now"', ('"Open"', '"now"')),
        ("the text SCRAMBLED EGGS on the screen", ('"SCRAMBLED"', '"EGGS"')),
        ("someone is speaking", ("speech",)),
        ("somebody says goodbye", ('"goodbye"',)),
        ("someone says ask not", ('"ask"', '"not"')),
        ("when does someone say ask not?", ('"ask"', '"not"')),
        ("someone said that it was over", ('"it"', '"was"', '"over"')),
        ("somebody shouts: help me", ('"help"', '"me"')),
        ("someone mentions the telescope", ('"telescope"',)),
        ("what is said about the telescope?", ('"telescope"',)),
        ("who talks about eggs?", ('"eggs"',)),
        ("what is said?", ("speech",)),
        ("what does he say in the end?", ("speech",)),
        ("someone says something", ("speech",)),
        ("what language is spoken?", ("speech",)),
        ("the sign says open", ('"open"',)),
        ('the subtitles say "zebra"', ('"zebra"',)),
        ("what does it say on the screen?", ("text",)),
        ("what does the sign say?", ("text",)),
        ("the camera pans", ("camera moves",)),
        ("it is dark", ("dark",)),
        ("an orange picture", ("orange picture",)),
        ("something large on the left", ("something on the left", "something large")),
    ],
)
def test_understood(sentence: str, understood: tuple[str, ...]) -> None:
    found = query(sentence)
    assert found.understood == understood
    assert found.unknown == ()


def test_a_sign_is_read_and_nobody_heard() -> None:
    """The same word, read and heard."""
    for sentence, sense in (("the sign says open", "text"), ("someone says open", "speech")):
        asked = query(sentence)
        for there in ("text", "speech"):
            frame = frame_vector({scene_slot(there): 1.0}, words={"open": 1.0})
            assert (float(asked.probability(np.asarray(frame @ asked.vector))) > 0.6) == (there == sense)


@pytest.mark.parametrize(
    ("sentence", "unknown"),
    [
        ("snow", ("snow",)), ("a lighthouse", ("lighthouse",)), ("no hand", ("hand",)),
        ("a swimming pool", ("swimming", "pool")), ("a red balloon", ("balloon",)), ("a wheel rolls", ("wheel",)),
        ("a wheel is taken away", ("wheel",)), ("a cake beside a candle", ("candle",)),
    ],
)  # fmt: skip
def test_what_cannot_be_recognised_claims_nothing(sentence: str, unknown: tuple[str, ...]) -> None:
    found = query(sentence)
    assert found.unknown == unknown
    assert float(found.probability(np.asarray(everything() @ found.vector))) < 0.3


@pytest.mark.parametrize(
    "sentence",
    ["a red car", "a white van drives to the left", "a bottle is taken away", "two people at once", "only one cup"],
)
def test_what_is_understood_of_it_can_be_asked_for_alone(sentence: str) -> None:
    rest = query(" ".join(query(sentence).understood))
    assert rest.understood == query(sentence).understood
    assert rest.unknown == ()


def test_an_unknown_thing_is_found_where_its_word_was_read_or_heard() -> None:
    for sense in ("text", "speech"):
        frame = frame_vector({scene_slot(sense): 1.0}, words={"lighthouse": 1.0})
        found = query("a lighthouse")
        assert float(found.probability(np.asarray(frame @ found.vector))) > 0.6


def test_absence_is_met_only_where_motion_was_judged() -> None:
    found = query("nothing red moves")
    judged = scene_slot("motion judged")
    still, red, blue, blind = (
        frame_vector({judged: 1.0}),
        frame_vector({judged: 1.0, motion_slot("moves", "red"): 1.0}),
        frame_vector({judged: 1.0, motion_slot("moves", "blue"): 1.0}),
        frame_vector({}),
    )
    chances = [float(found.probability(np.asarray(one @ found.vector))) for one in (still, red, blue, blind)]
    assert min(chances[0], chances[2]) > 0.9
    assert max(chances[1], chances[3]) < 0.1


@pytest.mark.parametrize("sentence", ["", "  ", "?!", "what happened", "🙂", "\x00", "the of and"])
def test_sentences_that_say_nothing_match_nothing(sentence: str) -> None:
    found = query(sentence)
    assert parse(sentence) == []
    assert float(found.probability(np.asarray(everything() @ found.vector))) < 0.01


QUOTATION = "ask not what your country can do for you"


def heard(text: str, certainty: float = 0.8) -> float:
    """The chance that someone who was heard to say `text` said the quotation."""
    one = Utterance(StreamId("s"), 0, 0, Span(Moment(0), Moment(1)), text, certainty)
    (feature,) = EmbeddedEncoder().encode_utterances([one])
    asked = query(QUOTATION)
    return float(asked.probability(feature.vector @ asked.vector))


def test_a_sentence_of_function_words_is_a_quotation() -> None:
    asked = query(QUOTATION)
    assert (asked.understood, asked.unknown) == ((f'"{QUOTATION}"',), ())
    assert heard("and so my fellow americans " + QUOTATION) > 0.6
    assert heard("and not what your country can do for you") > 0.6  # misheard by one word
    for other in (
        "we will see you tomorrow morning",
        "what can you do for your dog that you could not do for me",
        "the country is one of the largest in the world",
    ):
        assert heard(other) < 0.5


@pytest.mark.parametrize(
    "sentence",
    [
        "a dog",
        "the man in the house",
        "is there a swimming pool behind your house",
        "can you find me the man with the dog",
        "someone puts a bag on the table",
    ],
)
def test_descriptions_and_questions_are_no_quotations(sentence: str) -> None:
    assert not any(phrase.startswith('"') for phrase in query(sentence).understood)
