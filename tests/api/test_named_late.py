"""Cars that are recognised in the middle of their way alone are found, told and cited for all of their way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from api.compose import Service
from api.profile import Models
from api.settings import Settings
from ingest.questions import Scope
from ingest.records import Pixels
from models.embedded.encoder import EmbeddedEncoder
from models.language.extractive import ExtractiveSystem
from models.nano.detector import Detection, Sight
from tests.api.conftest import add, ask, running
from tests.models.embedded.test_things import ByColour, Unread
from tests.models.embedded.yard import Mover, Scene

RATE = 8
WAY = (
    Mover("red", 2.0, 12.0, (-0.1, 0.3), (1.1, 0.3)),
    Mover("white", 4.0, 11.0, (1.1, 0.75), (-0.1, 0.75)),
)
NAMES = {"red": ("car", 0.95), "white": ("car", 0.95)}


class InTheMiddle(ByColour):
    """Recognises what is in the middle of the whole picture."""

    def _look(self, pixels: Pixels) -> Sight:
        sight = super()._look(pixels)
        return replace(sight, detections=tuple(one for one in sight.detections if self._sees(one, pixels)))

    def _sees(self, one: Detection, pixels: Pixels) -> bool:
        return pixels.shape == self.size and 0.35 < (one.box.left + one.box.right) / 2 < 0.65


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, httpx.Client]]:
    path = Scene(WAY).film(tmp_path_factory.mktemp("way") / "way.mp4", 15, RATE)
    settings = Settings(data=tmp_path_factory.mktemp("data"), port=0, roots=[path.parent], audio=False, timezone="UTC")
    models = Models(EmbeddedEncoder(reader=Unread(), seer=InTheMiddle(NAMES)), ExtractiveSystem())
    with running(settings, models) as (running_service, client):
        add(client, "way", path)
        yield running_service, client


def found(client: httpx.Client, event: str) -> list[tuple[float, float]]:
    hits = client.post("/v1/find", json={"event": event}).json()["hits"]
    return sorted((hit["span"]["start_offset_s"], hit["span"]["end_offset_s"]) for hit in hits)


@pytest.mark.parametrize(
    ("event", "truth"),
    [
        ("a red car", (2.3, 11.7)),
        ("a white car", (4.3, 10.7)),
        ("two cars at the same time", (4.3, 10.7)),
        ("a vehicle for more than 8 s", (2.3, 11.7)),
    ],
)
def test_it_is_found_for_all_of_its_way(
    service: tuple[Service, httpx.Client], event: str, truth: tuple[float, float]
) -> None:
    running_service, client = service
    [way] = found(client, event)
    assert way == pytest.approx(truth, abs=0.8)
    [query] = running_service.models.encoder.encode_queries([event])
    by_frames = running_service.memory.recall.find(replace(query, kinds=(), lasting=0), Scope(), threshold=0.5)
    [origin] = [row.origin for row in running_service.store.streams.all() if row.origin is not None]
    assert [(one.span.start - origin) / 1e6 > truth[0] + 1.5 for one in by_frames] == [True]


@pytest.mark.parametrize("event", ["a blue car", "a person", "three cars", "a red car for more than 11 s"])
def test_no_more_is_found_than_was_there(service: tuple[Service, httpx.Client], event: str) -> None:
    assert found(service[1], event) == []


def test_what_it_does_is_found_where_it_was_seen_to_do_it(service: tuple[Service, httpx.Client]) -> None:
    [(start, _)] = found(service[1], "a red car drives to the right")
    assert start > 4


def test_answers_cite_what_is_found(service: tuple[Service, httpx.Client]) -> None:
    answer = ask(service[1], "When was there a red car?")
    cited = [(one["span"]["start_offset_s"], one["span"]["end_offset_s"]) for one in answer["citations"]]
    assert cited == found(service[1], "a red car")
    assert "00:00:02–00:00:11" in answer["text"]


def test_rules_judge_what_is_known_at_the_time(service: tuple[Service, httpx.Client]) -> None:
    rule = {"name": "red", "text": "a red car for more than 8 s"}
    assert service[1].post("/v1/rules/test", json={"rule": rule}).json() == []
