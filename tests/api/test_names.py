"""Things with names through the whole service: found, counted, told, watched. A stand-in sees them by their colour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.profile import Models
from api.settings import Settings
from models.embedded.encoder import EmbeddedEncoder
from models.language.extractive import ExtractiveSystem
from tests.api.conftest import add, ask, running
from tests.models.embedded.test_things import ByColour, Unread
from tests.models.embedded.yard import Mover, Scene

RATE = 8
CROSSING = (
    Mover("red", 3.0, 7.0, (-0.1, 0.3), (1.1, 0.3)),
    Mover("white", 9.0, 13.0, (1.1, 0.3), (-0.1, 0.3)),
    Mover("blue", 5.0, 18.0, (0.2, 0.75), (0.2, 0.75), (0.08, 0.35)),
    Mover("green", 10.0, 15.0, (0.8, 0.75), (0.8, 0.75), (0.08, 0.35)),
)
"""A red and a white car cross; two people stand there, one for thirteen seconds, the other for five of them."""
NAMES = {"red": ("car", 0.95), "white": ("car", 0.95), "blue": ("person", 0.97), "green": ("person", 0.97)}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Scene(CROSSING).film(tmp_path_factory.mktemp("yard") / "yard.mp4", 20, RATE)


@pytest.fixture(scope="module")
def service(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(data=tmp_path_factory.mktemp("data"), port=0, roots=[film.parent], audio=False, timezone="UTC")
    models = Models(EmbeddedEncoder(reader=Unread(), seer=ByColour(NAMES)), ExtractiveSystem())
    with running(settings, models) as (_, client):
        add(client, "yard", film)
        yield client


def spans(service: httpx.Client, event: str) -> list[tuple[float, float]]:
    found = service.post("/v1/find", json={"event": event}).json()
    return sorted((hit["span"]["start_offset_s"], hit["span"]["end_offset_s"]) for hit in found["hits"])


@pytest.mark.parametrize(
    ("event", "truth"),
    [
        ("a red car", (3.3, 6.8)),
        ("a white car drives to the left", (9.3, 12.8)),
        ("a person", (5.0, 18.0)),
        ("two people at once", (10.0, 15.0)),
        ("a man", (5.0, 18.0)),
    ],
)
def test_events_are_found_where_they_are(service: httpx.Client, event: str, truth: tuple[float, float]) -> None:
    ((start, end),) = spans(service, event)
    assert (start, end) == pytest.approx(truth, abs=1.5)


def test_both_cars_are_found(service: httpx.Client) -> None:
    assert len(spans(service, "a car passes")) == 2
    assert spans(service, "a vehicle") == spans(service, "a car")


@pytest.mark.parametrize(
    "event", ["a dog", "a blue car", "a red person", "two cars at once", "a bus", "an animal", "three people", "a lion"]
)
def test_absent_things_are_not_claimed(service: httpx.Client, event: str) -> None:
    assert spans(service, event) == []


def test_how_long_something_lasts_is_part_of_the_question(service: httpx.Client) -> None:
    ((start, end),) = spans(service, "someone stays longer than 8 s")
    assert end - start > 8
    assert spans(service, "someone stays longer than 16 s") == []
    assert spans(service, "two people for more than 8 s") == []


def test_numbers_names_and_colours_are_answered(service: httpx.Client) -> None:
    assert ask(service, "How many cars pass?")["text"].startswith("2 different cars: a red car moves right")
    assert ask(service, "How many people are there?")["text"].startswith("2 people at the same time at the most")
    assert "The car was red" in ask(service, "What colour is the first car?")["text"]
    assert ask(service, "How many dogs are there?")["text"].startswith("I found no dog")
    assert ask(service, "Is there a cat?")["text"].startswith("Not found in the footage")


def test_what_is_not_sure_is_told(service: httpx.Client) -> None:
    found = service.post("/v1/find", json={"event": "a woman plays"}).json()
    assert (found["understood"], found["unsure"], found["unknown"]) == (["person"], ["woman"], ["plays"])
    assert "It cannot be sure of: woman." in found["note"]
    seldom = service.post("/v1/find", json={"event": "a soldier"}).json()
    assert seldom["hits"] == []
    assert "Likeliest, but not sure: yard" in seldom["note"]


def test_a_rule_waits_for_as_long_as_it_says(service: httpx.Client) -> None:
    rule = {"name": "loiter", "text": "someone stays longer than 8 s"}
    (alert,) = service.post("/v1/rules/test", json={"rule": rule}).json()
    assert alert["span"]["start_offset_s"] == pytest.approx(5.0, abs=1.0)
    assert "for 8 s" in alert["why"]
    longer = {**rule, "text": "someone stays longer than 16 s"}
    assert service.post("/v1/rules/test", json={"rule": longer}).json() == []


def test_the_summary_speaks_of_cars(service: httpx.Client) -> None:
    told = service.get("/v1/summary").json()["text"]
    assert told.startswith("A car entered twice")
    assert "a red car" in told
