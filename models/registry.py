"""Names of models, each a lazy factory, and the profiles that choose among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ingest.errors import Invalid, NotFound
from models.protocols import FrameEncoder, Transcriber, VideoSystem
from models.systems.opening import SYSTEMS, open_system

Options = Mapping[str, Any]
"""Plain values for a factory: `checkpoint`, `device`, `language`, …"""

_NONE: Final[Options] = MappingProxyType({})


@dataclass(frozen=True)
class Profile:
    """A named choice of models; `options` by the name of the model they are for."""

    name: str
    about: str
    encoder: str
    transcriber: str | None
    system: str
    options: Mapping[str, Options] = field(default_factory=dict)
    waiting: int = 100
    """Pictures of all streams that may wait to be encoded."""


PROFILES: Final[Mapping[str, Profile]] = {
    profile.name: profile
    for profile in (
        Profile("embedded", "nothing downloaded, one CPU core", "embedded", "spoken", "extractive"),
        Profile(
            "standard",
            "one consumer GPU, models from the hub",
            "clip",
            "whisper",
            "transformers",
            {
                "clip": {"checkpoint": "google/siglip2-base-patch16-256"},
                "whisper": {"checkpoint": "openai/whisper-small"},
                "transformers": {"checkpoint": "HuggingFaceTB/SmolVLM2-2.2B-Instruct"},
            },
            waiting=400,
        ),
        Profile("fake", "deterministic fakes, for tests", "fake", "fake", "fake"),
    )
}


def profile(name: str) -> Profile:
    try:
        return PROFILES[name]
    except KeyError:
        raise NotFound(f"There is no profile {name!r}.", advice=f"Choose one of {', '.join(PROFILES)}.") from None


def encoder(name: str, options: Options = _NONE) -> FrameEncoder:
    """The frame encoder called `name`, loaded."""
    made: FrameEncoder = _make(_ENCODERS, "encoder", name, options)
    return made


def transcriber(name: str, options: Options = _NONE) -> Transcriber:
    """The transcriber called `name`, loaded."""
    made: Transcriber = _make(_TRANSCRIBERS, "transcriber", name, options)
    return made


def system(name: str, options: Options = _NONE) -> VideoSystem:
    """The video system called `name`, loaded."""
    made: VideoSystem = _make(_SYSTEMS, "video system", name, options)
    return made


def _make(factories: Mapping[str, Callable[..., Any]], kind: str, name: str, options: Options) -> Any:
    if name not in factories:
        raise NotFound(f"There is no {kind} {name!r}.", advice=f"Choose one of {', '.join(factories)}.")
    try:
        return factories[name](**options)
    except TypeError as error:
        raise Invalid(f"The {kind} {name!r} cannot be made with {dict(options)}: {error}.") from error


def _embedded() -> FrameEncoder:
    import torch

    from models.embedded.encoder import EmbeddedEncoder

    # Pictures are small: on a busy machine two threads that wait for each other are many times slower than one.
    torch.set_num_threads(1)
    return EmbeddedEncoder()


def _clip(**options: Any) -> FrameEncoder:
    from models.encoders.clip import ClipEncoder

    return ClipEncoder(**(_device() | options))


def _fake_encoder(**options: Any) -> FrameEncoder:
    from models.fake import FakeEncoder

    return FakeEncoder(**options)


def _pocketsphinx(language: str = "") -> Transcriber:
    from models.speech import PocketSphinxTranscriber

    _only_english("PocketSphinx", language)
    return PocketSphinxTranscriber()


def _moonshine(language: str = "", **options: Any) -> Transcriber:
    from models.moonshine import MoonshineTranscriber

    _only_english("Moonshine", language)
    return MoonshineTranscriber(**options)


def _only_english(name: str, language: str) -> None:
    if language not in ("", "en"):
        raise Invalid(
            f"{name} understands English alone, and not {language!r}.",
            advice="Leave the language empty, or take a profile that listens with Whisper, such as `standard`.",
        )


def _spoken(language: str = "") -> Transcriber:
    """The best that needs no download: Moonshine where there is a wheel of it, PocketSphinx everywhere."""
    from models.moonshine import installed

    return _pocketsphinx(language) if installed() is None else _moonshine(language)


def _whisper(**options: Any) -> Transcriber:
    from models.speech import WhisperTranscriber

    return WhisperTranscriber(**(_device() | options))


def _fake_transcriber(language: str = "") -> Transcriber:
    from models.fake import FakeTranscriber

    _only_english("The fake", language)
    return FakeTranscriber()


def _extractive(**options: Any) -> VideoSystem:
    from models.language.extractive import ExtractiveSystem

    return ExtractiveSystem(**options)


def _openai(**options: Any) -> VideoSystem:
    from models.language.openai_compatible import OpenAiSystem

    return OpenAiSystem(**options)


def _transformers(*, folder: str = "", checkpoint: str = "", **options: Any) -> VideoSystem:
    """From a folder, or by its name on the hub."""
    from models.language.transformers_local import TransformersSystem

    if folder and not Path(folder).is_dir():
        raise NotFound(f"There is no folder {folder}.", advice="Name the model's own with `--folder`.")
    return TransformersSystem(folder or checkpoint, **(_device() | options))


def _device() -> dict[str, Any]:
    """On a GPU where there is one, for those whose options name no device."""
    from torch import cuda

    return {"device": "cuda" if cuda.is_available() else "cpu"}


def _fake_system(**options: Any) -> VideoSystem:
    from models.fake import FakeSystem

    return FakeSystem(**options)


def _fake_grounder() -> VideoSystem:
    from models.fake import FakeGrounder

    return FakeGrounder()


def _fake_recollector() -> VideoSystem:
    from models.fake import FakeRecollector

    return FakeRecollector()


_ENCODERS: Final[Mapping[str, Callable[..., FrameEncoder]]] = {
    "embedded": _embedded,
    "clip": _clip,
    "fake": _fake_encoder,
}
_TRANSCRIBERS: Final[Mapping[str, Callable[..., Transcriber]]] = {
    "spoken": _spoken,
    "moonshine": _moonshine,
    "pocketsphinx": _pocketsphinx,
    "whisper": _whisper,
    "fake": _fake_transcriber,
}
IN_A_CHILD: Final = frozenset({"transformers", *SYSTEMS})
"""Systems so heavy that they live in a process of their own, where one can be given a folder."""

_SYSTEMS: Final[Mapping[str, Callable[..., VideoSystem]]] = {
    **{name: partial(open_system, name, device="auto", dtype="auto") for name in SYSTEMS},
    "extractive": _extractive,
    "openai": _openai,
    "transformers": _transformers,
    "fake": _fake_system,
    "fake-grounder": _fake_grounder,
    "fake-recollector": _fake_recollector,
}
