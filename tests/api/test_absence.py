"""A camera that nobody watches: what its supervisor told and what is told in its absence meet, each with one reason."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import httpx
import pytest

from api.compose import Service
from api.settings import Settings
from ingest.limits import Limits
from ingest.records import Gap, StreamId
from memory.store import StreamRow
from tests.api.conftest import running, wait_for

pytestmark = pytest.mark.service

CAM = StreamId("cam")
TOLD = ["paused", "offline", "paused", "offline"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.capture.Limits", partial(Limits, backoff_first_s=0.1))


def gaps(service: Service) -> list[Gap]:
    """What is told, once all that was said is stored: each gap begins where the one before it ends."""
    wait_for(lambda: not any(service.bus.depth().values()))
    found = list(service.store.timeline.gaps(CAM))
    assert all(before.span.end == after.span.start for before, after in itertools.pairwise(found)), found
    return found


def paused_while_away(service: Service, http: httpx.Client) -> list[Gap]:
    """Nobody answers: it is tried more than once, paused, and tried again."""
    row = StreamRow(CAM, "cam", "live", "rtsp://127.0.0.1:9/cam", "", "paused", "", service.clock.now(), paused=True)
    service.store.streams.add(row)
    for _ in range(2):
        http.post("/v1/streams/cam/pause")
        http.post("/v1/streams/cam/resume")
        wait_for(lambda: http.get("/v1/streams/cam").json()["reconnects"] > 1)
        wait_for(lambda: gaps(service)[-1].reason == "offline")
    assert [gap.reason for gap in gaps(service)] == TOLD
    return gaps(service)


def test_what_stops_with_the_service_is_not_absent(settings: Settings) -> None:
    """Told again, as if nobody captured it, the outage before the pause went on, and the one behind it was a part."""
    with running(settings) as (service, http):
        before = paused_while_away(service, http)
        service._fleet.close()
        service.streams.tell_absence()
        after = gaps(service)
    assert [gap.reason for gap in after] == TOLD
    assert after[:3] == before[:3]


def test_one_that_cannot_be_started_behind_a_pause_is_away_from_its_end_on(settings: Settings) -> None:
    with running(settings) as (service, http):
        before = paused_while_away(service, http)
        http.post("/v1/streams/cam/pause")
        service.streams.tell_absence()
        service.store.streams.change(replace(service.store.streams.get("cam"), login="sealed with another key"))
        assert http.post("/v1/streams/cam/resume").status_code >= 400
        for _ in range(2):
            service.streams.tell_absence()
        after = gaps(service)
    assert [gap.reason for gap in after] == [*TOLD, "paused", "offline"]
    assert after[:3] == before[:3]
