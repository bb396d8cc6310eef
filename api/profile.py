"""The models that a profile names, each where it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from api.settings import Settings
from ingest.guard import Guard
from ingest.stage import Stage
from models import registry
from models.encode import EncodeStage
from models.hear import HearStage
from models.protocols import FrameEncoder, Transcriber, VideoSystem
from models.registry import Profile
from models.runtime import PATIENT, ModelProcess, ModelSpec, RemoteEncoder, RemoteSystem, RemoteTranscriber


@dataclass(frozen=True, slots=True)
class Models:
    """What turns frames and sounds into features, and evidence into answers.

    `checks` have a model really infer something small, by name; `resources` are what is closed at the end.
    """

    encoder: FrameEncoder
    system: VideoSystem
    transcriber: Transcriber | None = None
    checks: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    resources: ExitStack = field(default_factory=ExitStack)

    def stages(self) -> tuple[Stage, ...]:
        return EncodeStage(self.encoder), HearStage(self.transcriber, self.encoder)

    def close(self) -> None:
        self.resources.close()


def chosen(settings: Settings, guard: Guard) -> Models:
    """The models of the configured profile, in child processes; what answers may be chosen by itself, or be a language
    model over HTTP."""
    profile = registry.profile(settings.profile)
    with ExitStack() as starting:
        encoder = RemoteEncoder(ModelProcess(_spec("encoder", profile.encoder, profile)))
        starting.callback(encoder.close)
        checks = {"encoder": encoder.check}
        transcriber = None
        if profile.transcriber is not None:
            said = {"language": settings.language} if settings.language else {}
            spec = _spec("transcriber", profile.transcriber, profile, said)
            transcriber = RemoteTranscriber(ModelProcess(spec))
            starting.callback(transcriber.close)
            checks["speech"] = transcriber.check
            if settings.audio:  # otherwise it is started when a stream of its own accord wants it
                logging.getLogger("hindsight").info("%s listens.", transcriber.id)
        system = _system(settings, profile, guard)
        if isinstance(system, RemoteSystem):
            starting.callback(system.close)
            checks["system"] = system.check
        return Models(encoder, system, transcriber, checks, starting.pop_all())
    raise AssertionError("unreachable")


def local_system(name: str, settings: Settings, options: registry.Options) -> RemoteSystem:
    """A system from its folder, in a process of its own. Without a folder `options` say which."""
    folder = settings.folder_of(name)
    given = {**options, "dtype": settings.system_dtype}
    if settings.system_folder is not None or "checkpoint" not in options:
        given["folder"] = str(folder)
    process = ModelProcess(ModelSpec("system", name, given), PATIENT)
    try:
        return RemoteSystem.of(process)
    except BaseException:
        process.close()
        raise


def _spec(
    kind: Literal["encoder", "transcriber"], name: str, profile: Profile, said: registry.Options = MappingProxyType({})
) -> ModelSpec:
    """`said`: options from the settings, beyond the profile's own."""
    return ModelSpec(kind, name, {**profile.options.get(name, {}), **said})


def _system(settings: Settings, profile: Profile, guard: Guard) -> VideoSystem:
    name = settings.system or ("openai" if settings.llm_url else profile.system)
    if name in registry.IN_A_CHILD:
        return local_system(name, settings, profile.options.get(name, {}))
    if name == "extractive":
        return registry.system(name, {"zone": settings.timezone})
    if name != "openai":
        return registry.system(name, profile.options.get(name, {}))
    return registry.system(
        "openai",
        {
            "url": settings.llm_url,
            "model": settings.llm_model,
            "lines": guard.stream_lines,
            "key": settings.llm_key.get_secret_value(),
        },
    )
