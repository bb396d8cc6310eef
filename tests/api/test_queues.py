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


def test_pictures_have_the_room_that_was_set(settings: Settings) -> None:
    """No stage runs, so they all wait."""
    four_megabytes = np.zeros((1000, 1000, 4), np.uint8)
    with closing(Service(settings.model_copy(update={"queue_mb": 16}), fake_models())) as service:
        for number in range(4):
            service.bus.publish(FRAMES, Frame(StreamId("cam"), 0, number, Moment(number), four_megabytes))
        with pytest.raises(Busy):
            service.bus.publish(FRAMES, Frame(StreamId("cam"), 0, 4, Moment(4), four_megabytes))
