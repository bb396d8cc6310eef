"""What is said about the pictures: captions, names of classes, and sentences without pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.nano.coco import NAMES
from models.nano.training.pictures import Example, held_out

_FILE_CLASS = re.compile(r"^n\d{8}_(?P<name>[a-z][a-z_]*[a-z])$", re.IGNORECASE)
"""A picture file named by its ImageNet class."""


@dataclass(frozen=True, slots=True)
class Sayings:
    """captions: picture file name to its captions; classes: folder name to class names; loose: other sentences."""

    captions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    loose: tuple[str, ...] = ()

    def about(self, example: Example) -> tuple[str, ...]:
        """Texts that describe the picture; empty when nothing is said about it."""
        if example.name in self.captions:
            return self.captions[example.name]
        if example.folder in self.classes:
            return self.classes[example.folder]
        named = _FILE_CLASS.match(Path(example.name).stem)
        return (named["name"].replace("_", " "),) if named else ()

    def names(self) -> list[str]:
        """Names of classes: words that must be in the vocabulary however rare."""
        return [*NAMES, *(name for names in self.classes.values() for name in names)]

    def sentences(self) -> list[str]:
        """All sentences to imitate the teacher on, without captions of held-out pictures, each once."""
        held = {c.strip().lower() for name, each in self.captions.items() if held_out(name) for c in each}
        captions = [c for name, each in self.captions.items() if not held_out(name) for c in each]
        loose = [line for line in self.loose if line.strip().lower() not in held]
        return list(dict.fromkeys([*loose, *captions, *self.names()]))


def read(captions: Path | None, classes: Path | None, loose: Sequence[Path]) -> Sayings:
    """From JSON {file name: [caption]}, JSON {folder: "name, other name"}, and text files of one sentence a line."""
    spoken = json.loads(captions.read_text(encoding="utf-8")) if captions else {}
    named = json.loads(classes.read_text(encoding="utf-8")) if classes else {}
    lines = [line.strip() for path in loose for line in path.read_text(encoding="utf-8").splitlines()]
    return Sayings(
        captions={name: tuple(each) for name, each in spoken.items()},
        classes={folder: tuple(name.strip() for name in names.split(",")) for folder, names in named.items()},
        loose=tuple(line for line in lines if line),
    )
