"""The encode and hear stages, and the registry that names their models."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ingest.bus import FEATURES, FRAMES, SOUNDS
from ingest.errors import Invalid, NotFound
from ingest.records import SAMPLE_RATE, Ended, Feature, Frame, Heard, Moment, Sound, StreamId
from models import registry
from models.encode import EncodeStage
from models.fake import FakeEncoder, FakeTranscriber
from models.hear import HearStage

YARD = StreamId("yard")


def frame(pts: int) -> Frame:
    return Frame(YARD, 0, pts, Moment(pts), np.full((8, 8, 3), 90, np.uint8))


def test_frames_become_features_and_the_end_keeps_its_place() -> None:
    stage = EncodeStage(FakeEncoder())
    end = Ended(YARD, 0, Moment(2))
    results = stage.handle([frame(0), frame(1), end, frame(5)])
    assert [type(one) for one in results] == [Feature, Feature, Ended, Feature]
    assert results[2] is end
    assert [one.pts for one in results if isinstance(one, Feature)] == [0, 1, 5]
    assert stage.handle([end]) == [end]
    assert (stage.consumes, stage.produces) == ((FRAMES,), FEATURES)


def test_sounds_become_features_of_what_was_said() -> None:
    stage = HearStage(FakeTranscriber(), FakeEncoder())
    loud = np.ones(SAMPLE_RATE, np.float32)
    sounds = [Sound(YARD, 0, at, Moment(at), loud * level) for at, level in ((0, 0.0), (1, 0.9))]
    end = Ended(YARD, 0, Moment(SAMPLE_RATE), "sound")
    feature, heard, passed = stage.handle([*sounds, end])
    assert isinstance(feature, Feature)
    assert heard == Heard(YARD, 0, 1_000_000, Moment(1_000_000))
    assert passed is end
    assert (feature.origin, feature.pts) == ("sound", 1)
    assert stage.handle(sounds[:1]) == [Heard(YARD, 0, 999_999, Moment(999_999))]
    assert (stage.consumes, stage.produces) == ((SOUNDS,), FEATURES)


def test_what_is_said_in_a_language_that_nobody_understands_is_passed_over_and_counts_as_heard() -> None:
    stage = HearStage(FakeTranscriber(), FakeEncoder())
    loud = Sound(YARD, 0, 0, Moment(0), np.ones(SAMPLE_RATE, np.float32))
    assert [type(one) for one in stage.handle([replace(loud, language="en")])] == [Feature, Heard]
    assert [type(one) for one in stage.handle([replace(loud, language="de")])] == [Heard]
    assert [type(one) for one in HearStage(None, FakeEncoder()).handle([loud])] == [Heard]


def test_profiles_name_models_that_exist() -> None:
    for profile in registry.PROFILES.values():
        assert profile.encoder in registry._ENCODERS
        assert profile.transcriber is None or profile.transcriber in registry._TRANSCRIBERS
        assert profile.system in registry._SYSTEMS
    embedded = registry.profile("embedded")
    assert registry.encoder(embedded.encoder).id.startswith("embedded-3/nano-")
    assert registry.system(embedded.system).id == "extractive"


@pytest.mark.parametrize("there_is", [True, False])
def test_what_can_run_on_a_gpu_does_where_there_is_one(there_is: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    kinds = (
        "models.encoders.clip.ClipEncoder",
        "models.speech.WhisperTranscriber",
        "models.language.transformers_local.TransformersSystem",
    )
    for kind in kinds:
        monkeypatch.setattr(kind, lambda *_, **options: given.append(options))
    monkeypatch.setattr("torch.cuda.is_available", lambda: there_is)
    for options in ({"checkpoint": "some"}, {"checkpoint": "some", "device": "cuda:1"}):
        registry.encoder("clip", options)
        registry.transcriber("whisper", options)
        registry.system("transformers", options)
    assert [options["device"] for options in given] == ["cuda" if there_is else "cpu"] * 3 + ["cuda:1"] * 3


def test_unknown_names_and_options_are_told() -> None:
    with pytest.raises(NotFound, match="no profile 'huge'"):
        registry.profile("huge")
    with pytest.raises(NotFound, match="Choose one of"):
        registry.system("oracle")
    with pytest.raises(Invalid, match="cannot be made with"):
        registry.encoder("embedded", {"sharpness": 3})


def test_naming_models_loads_none_of_their_libraries() -> None:
    heavy = ("torch", "cv2", "transformers", "onnxruntime", "rapidocr", "pocketsphinx")
    script = (
        "import sys, models.registry, models.runtime, models.encode, models.hear, models.speech, models.fake\n"
        "import models.embedded.encoder, models.language.extractive, models.language.openai_compatible\n"
        "import models.language.transformers_local, models.encoders.clip\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
