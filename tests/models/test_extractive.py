"""Answers composed from evidence: they say what is there, and nothing else."""

from __future__ import annotations

import pytest

from ingest.questions import Evidence, Exhibit, Hit
from ingest.records import Gap, Moment, Observation, Span, StreamId
from models.language.extractive import ExtractiveSystem

YARD = StreamId("yard")
SECOND = 1_000_000


def span(start: float, end: float) -> Span:
    return Span(Moment(round(start * SECOND)), Moment(round(end * SECOND)))


def thing(name: str, when: Span, colour: str, *actions: str, label: str = "something") -> Observation:
    return Observation(YARD, 0, name, "thing", label, when, 0.9, colour, actions)


def event(name: str, what: str, when: Span, colour: str) -> Observation:
    return Observation(YARD, 0, f"{name}/{what}", "event", what, when, 0.9, colour, text="something")


SEEN = (
    thing("a", span(4, 9), "white", "moves up"),
    thing("b", span(14, 18), "grey", "moves down"),
    thing("c", span(15, 19), "red", "moves up"),
    event("a", "enters", span(4, 4.5), "white"),
    event("c", "enters", span(15, 15.4), "red"),
    event("c", "leaves", span(18.4, 19), "red"),
    Observation(YARD, 0, "t", "read", "text", span(2, 6), 0.95, text="SCRAMBLED EGGS"),
    Observation(YARD, 0, "s", "heard", "speech", span(7, 9), 0.7, text="one of the largest clean rooms"),
)


def answer(
    question: str, *, seen: tuple[Observation, ...] = SEEN, hits: tuple[Span, ...] = (), **fields: object
) -> str:
    exhibits = tuple(Exhibit(n, Hit(YARD, one, 0.9, one.start)) for n, one in enumerate(hits, 1))
    given: dict[str, object] = {"searched": ((YARD, span(0, 30)),), "origins": ((YARD, Moment(0)),), **fields}
    return "".join(ExtractiveSystem().answer(question, Evidence(exhibits, observations=seen, **given)))  # type: ignore[arg-type] # by name


def test_a_time_in_the_question_is_nothing_to_be_recognised() -> None:
    """Nor is the name of a stream: what denotes the place was taken out of what is wanted."""
    question = "What happened in the yard on Wednesday between 18:00 and 04:30?"
    assert "recognise" in answer(question)
    assert "recognise" not in answer(question, wanted="What happened?")
    assert answer(question, wanted="How many things moved?").startswith("3 different things moved")


def test_counts_distinct_things() -> None:
    assert answer("How many things moved?").startswith("3 different things moved: something white moves up")
    assert answer("How many red things moved?").startswith("1 different red thing moved")
    assert answer("How many times did something enter?").startswith("Something enters 2 times")


def test_a_later_observation_of_a_thing_does_not_count_twice() -> None:
    assert "1 different thing moved" in answer("How many things moved?", seen=(SEEN[0], SEEN[0]))


def test_colours_also_of_what_is_beside() -> None:
    assert "white" in answer("What colours moved?")
    beside = answer("What colour is the thing beside the grey one?")
    assert "red (00:00:15–00:00:19)" in beside
    assert "white" not in beside


def test_times_are_the_files_and_cite() -> None:
    assert answer("When did something red move?", hits=(span(15, 19),)) == "At 00:00:15–00:00:19 [1]."
    assert answer("When did something red leave?", hits=(span(18, 19),)) == (
        "Something red leaves (00:00:18–00:00:19 [1])."
    )
    assert answer("How long did something red move?", hits=(span(15, 19),)).startswith("4 seconds in all")


def test_live_times_are_utc() -> None:
    when = Span(Moment(1_700_000_000 * SECOND), Moment(1_700_000_004 * SECOND))
    told = answer("When did something red move?", seen=(), hits=(when,), origins=())
    assert told == "At 2023-11-14 22:13:20–22:13:24 UTC [1]."


def test_live_times_are_told_in_the_house_s_zone() -> None:
    when = Span(Moment(1_700_000_000 * SECOND), Moment(1_700_000_004 * SECOND))
    evidence = Evidence((Exhibit(1, Hit(YARD, when, 0.9, when.start)),), searched=((YARD, when),))
    told = "".join(ExtractiveSystem(zone="Europe/Berlin").answer("When did something red move?", evidence))
    assert told == "At 2023-11-14 23:13:20–23:13:24 CET [1]."


def test_many_things_are_told_by_number_and_colour() -> None:
    many = tuple(thing(f"m{at}", span(at, at + 1), "red" if at % 3 else "blue", "moves left") for at in range(21))
    told = answer("What happened?", seen=many)
    assert told.startswith("21 things moved, 14 red and 7 blue: ")
    assert told.endswith("; and 16 more.")


def test_what_is_always_written_there_did_not_happen() -> None:
    always = Observation(YARD, 0, "p", "read", "text", span(0, 30), 0.95, text="BAKERY")
    told = answer("What happened?", seen=(*SEEN, always))
    assert "BAKERY" not in told
    assert "SCRAMBLED EGGS" in told
    assert "BAKERY" in answer("What text is shown?", seen=(always,))


def test_yes_no_and_cannot_tell() -> None:
    assert answer("Did something red move?", hits=(span(15, 19),)).startswith("Yes: 00:00:15–00:00:19 [1].")
    assert answer("Did something blue move?") == "Nothing blue moved in yard, 00:00:00–00:00:30."
    assert answer("Is there a snowman?", seen=()).startswith("I cannot recognise “snowman” in the picture.")
    assert answer("Is there a dog?", seen=()) == "I found no dog in yard, 00:00:00–00:00:30."
    for absent in ("Is there a snowman?", "Is there a dog?"):
        assert "Yes" not in answer(absent)


def test_what_was_read_and_said() -> None:
    assert "“SCRAMBLED EGGS” (00:00:02–00:00:06)" in answer("What text is shown?")
    assert "“one of the largest clean rooms”" in answer("What was said?")
    assert answer("What text is shown?", seen=()) == "I read no text in that footage."
    assert answer("What was said?", seen=()) == "I heard no speech in that footage."
    assert "“one of the largest clean rooms” was heard" in answer("Which room is it?")
    assert "SCRAMBLED EGGS" in answer("What dish is being made?")


TALK = (
    Observation(YARD, 0, "t", "read", "text", span(2, 6), 0.95, text="SCRAMBLED EGGS"),
    Observation(YARD, 0, "a", "heard", "speech", span(3, 4), 0.9, actions=("en",), text="ask not"),
    Observation(YARD, 0, "b", "heard", "speech", span(7, 9), 0.7, actions=("en",), text="whisk two eggs"),
    Observation(YARD, 0, "c", "heard", "subtitle", span(9, 11), 1.0, actions=("de",), text="Guten Morgen"),
)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("Who talks about eggs?", "I heard: “whisk two eggs” (00:00:07–00:00:09)."),
        ("What is said about eggs?", "I heard: “whisk two eggs” (00:00:07–00:00:09)."),
        ("What did she say about the telescope?", "I heard nothing with “telescope” in that footage."),
        ("What does it say on the screen?", "The text shown: “SCRAMBLED EGGS” (00:00:02–00:00:06 [1])."),
        ("What does the sign say?", "The text shown: “SCRAMBLED EGGS” (00:00:02–00:00:06 [1])."),
        ("When does someone say ask not?", "At 00:00:03–00:00:04 [1]."),
        ("ask not what your country can do for you", "At 00:00:03–00:00:04 [1]."),
        (
            "What language is spoken?",
            (
                "What I took for “en”: “ask not” (00:00:03–00:00:04 [1]); “whisk two eggs” (00:00:07–00:00:09). "
                "What I took for “de”: “Guten Morgen” (00:00:09–00:00:11)."
            ),
        ),
    ],
)
def test_words_asked_for_are_told_and_no_others(question: str, says: str) -> None:
    assert answer(question, seen=TALK, hits=(span(3, 4),)) == says


def test_what_happened_tells_everything() -> None:
    told = answer("What happened?")
    for fact in ("3 things moved", "something red leaves", "SCRAMBLED EGGS", "clean rooms"):
        assert fact.lower() in told.lower()


@pytest.mark.parametrize(
    "question", ["What happened?", "How many things moved?", "Is there a dog?", "When did it rain?"]
)
def test_blindness_is_said(question: str) -> None:
    told = answer(question, seen=(), gaps=(Gap(YARD, span(10, 14), "offline"),))
    assert "There was no video 00:00:10–00:00:14 (offline)." in told


def test_an_encoder_that_names_things_is_believed() -> None:
    seen = (thing("p", span(1, 5), "blue", "moves left", label="person"),)
    told = answer("How many persons are there?", seen=seen)
    assert "cannot recognise" not in told
    assert "blue person moves left" in told


NAMED = (
    thing("p", span(0, 20), "blue", "stays", label="person"),
    thing("q", span(5, 12), "red", "moves left", label="person"),
    thing("r", span(11, 16), "black", "stays", label="person"),
    thing("d", span(3, 9), "brown", "moves right", label="dog"),
    thing("c", span(21, 24), "red", "moves up", label="car"),
    thing("s", span(22, 25), "white", "moves up", label="car"),
    Observation(YARD, 0, "q/enters", "event", "enters", span(5, 6), 0.9, "red", text="person"),
)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("How many people are there?", "3 people at the same time at the most: 00:00:11–00:00:12."),
        ("What is the smallest number of people?", "0 people at the same time at the fewest: 00:00:20–00:00:30."),
        ("How many people passed?", "3 different people: a blue person stays"),
        ("How many cars pass?", "2 different cars: a red car moves up (00:00:21–00:00:24)"),
        ("How many times did a person enter?", "A person enters 1 time: a red person enters"),
        ("What animal is in the video?", "A brown dog moves right (00:00:03–00:00:09)."),
        ("Which vehicles came?", "A red car moves up (00:00:21–00:00:24); a white car moves up"),
        ("What colour is the car beside the white one?", "The car was red (00:00:21–00:00:24)."),
        ("What colour is the car beside the silver one?", "The car was red (00:00:21–00:00:24)."),
        ("How many cats are there?", "I found no cat in yard"),
        ("What happened?", "I saw 3 people, 2 cars and a dog: "),
    ],
)
def test_things_with_names(question: str, says: str) -> None:
    assert says in answer(question, seen=NAMED)


def test_what_is_only_guessed_is_told_to_be() -> None:
    told = answer("Is there a pan on a stove?", seen=(), unsure=("pan",), hits=(span(3, 5),))
    assert "I cannot be sure of “pan”." in told
    assert "cannot recognise" not in told


def test_several_streams_are_told_apart() -> None:
    hall = StreamId("hall")
    other = Observation(hall, 0, "z", "thing", "something", span(3, 8), 0.9, "blue", ("moves left",))
    told = answer("How many things moved?", seen=(*SEEN, other), searched=((YARD, span(0, 9)), (hall, span(0, 9))))
    assert "on hall" in told
    assert "on yard" in told


def test_faces_are_told_when_they_are_asked_about_and_not_as_things() -> None:
    face = Observation(YARD, 0, "f", "scene", "face", span(5, 8), 0.95, text="face")
    seen = (thing("p", span(4, 9), "blue", "moves left", label="person"), face)
    assert "1 face" in answer("How many faces were there?", seen=seen)
    assert answer("Did anyone look at the camera?", seen=seen, hits=(span(5, 8),)).startswith("Yes: 00:00:05–00:00:08")
    assert "face" not in answer("What happened?", seen=seen)
    assert "no face" in answer("Did anyone look at the camera?", seen=seen[:1])
