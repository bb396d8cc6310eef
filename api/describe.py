"""Observations as one line for people."""

from __future__ import annotations

from ingest.records import Observation
from models.language.telling import a


def describe(observation: Observation) -> str:
    """ "something red enters from the left", "the picture shows the words "EXIT"", "someone says "hello there"" """
    match observation.kind:
        case "read":
            return f"the words “{observation.text}” are in the picture"
        case "heard":
            who = "the subtitles say" if observation.label == "subtitle" else "someone says"
            return f"{who} “{observation.text}”"
        case "scene":
            return {
                "cut": "the scene changes",
                "dark": "it is dark",
                "bright": "it is bright",
                "still": "nothing moves",
                "face": "a face is turned to the camera",
            }.get(observation.label, observation.label)
        case "event":
            return f"{_named(observation.text or 'something', observation.colour)} {_verb(observation)}"
        case "thing":
            return f"{_named(observation.label, observation.colour)} {_listed(observation.actions)}".rstrip()


def _verb(observation: Observation) -> str:
    return " ".join([observation.label, *observation.actions])


def _named(label: str, colour: str) -> str:
    if label in ("something", "someone"):
        return f"{label} {colour}".rstrip()
    return a(f"{colour} {label}".strip())


def _listed(actions: tuple[str, ...]) -> str:
    return actions[0] if len(actions) == 1 else ", ".join(actions[:-1]) + f" and {actions[-1]}" if actions else ""
