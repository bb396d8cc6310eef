"""What waits between the stages of the service."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from api.compose import Service
from api.settings import Settings
from ingest.bus import FRAMES
from ingest.errors import Busy
from ingest.records import Frame, Moment, StreamId
from tests.api.conftest import fake_models
from tests.conserved import assert_conserved


@pytest.mark.parametrize(("profile", "room"), [("embedded", 10), ("standard", 40)])
def test_as_many_pictures_wait_as_the_profile_says_whatever_their_size(
    settings: Settings, profile: str, room: int
) -> None:
    """Those here are ten times as large as they are looked at. No stage runs, so they all wait."""
    pixels = np.zeros((36, 640, 3), np.uint8)
    options = settings.model_copy(update={"sample_side": 64, "profile": profile})
    with closing(Service(options, fake_models())) as service:
        for number in range(room):
            service.bus.publish(FRAMES, Frame(StreamId("cam"), 0, number, Moment(number), pixels))
        with pytest.raises(Busy):
            service.bus.publish(FRAMES, Frame(StreamId("cam"), 0, room, Moment(room), pixels))
        assert_conserved(service.ledger)
