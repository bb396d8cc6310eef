"""The only loader of checkpoints: official files in, our modules filled, nothing guessed.

A `KeyMap` says how official names become ours. Names that no rule explains, and parameters of ours that no file
brings, are refused with a list, before anything in the module has changed. Several files are applied in order, the
later over the earlier, as authors do who publish a base and what they trained on top of it.

Build a large module inside `Hollow()`: its parameters take no memory until `load` puts the file's tensors in their
place, straight on the device and tensor by tensor, so that there is never a second copy.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ingest.errors import Invalid, NotFound

_LISTED = 12
"""How many names an error spells out."""

_WRAPPERS = ("model", "state_dict", "module")
"""Keys under which training runners put the state dict, beside their optimiser and configuration."""


class WrongWeights(Invalid):
    """The files are not the checkpoint this model needs, or not a checkpoint at all."""

    code = "wrong-weights"


@dataclass(frozen=True)
class KeyMap:
    """How official tensor names become ours.

    rules    (regular expression, replacement): the first that is found in a name rewrites it
    ignore   official names that are legitimately of no use here (buffers of older libraries, unused towers)
    optional names of ours that may be missing: they keep the value they were made with
    """

    rules: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def ours(self, official: str) -> str | None:
        """Our name for it, or None when it is to be ignored."""
        if any(re.search(pattern, official) for pattern in self.ignore):
            return None
        for pattern, replacement in self.rules:
            renamed, count = re.subn(pattern, replacement, official, count=1)
            if count:
                return renamed
        return official

    def may_miss(self, name: str) -> bool:
        return any(re.search(pattern, name) for pattern in self.optional)


@dataclass(frozen=True)
class LoadReport:
    """What was loaded: (file name, SHA-256) in order, tensors and bytes put in place, official names ignored."""

    files: tuple[tuple[str, str], ...]
    tensors: int
    bytes: int
    ignored: tuple[str, ...]

    def __add__(self, later: LoadReport) -> LoadReport:
        return LoadReport(
            self.files + later.files,
            self.tensors + later.tensors,
            self.bytes + later.bytes,
            self.ignored + later.ignored,
        )


Few = Literal["int8", "nf4"]
"""Fewer bits than a number has: 8 with a scale per row, 4 with a scale per 64."""


@dataclass(frozen=True)
class Place:
    """Where a model's tensors go, and what the floating ones become there; `language` are a language model's layers."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    language: Few | None = None


CPU: Final = Place()


@runtime_checkable
class Keeper(Protocol):
    """A layer that keeps its `weight` in a form of its own."""

    def keep(self, weight: Tensor, place: Place) -> int:
        """Take it [out, in] from the CPU instead of having it put in place; the bytes that it takes."""


class Hollow(TorchFunctionMode):
    """Within it, what layers allocate for their parameters lies on the meta device and takes no memory.

    Only uninitialised tensors are affected: buffers computed from values (positions, rotary frequencies) are real,
    which is what a file does not bring.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func in (torch.empty, torch.empty_like):
            options["device"] = "meta"
        return func(*args, **options)


def load(module: nn.Module, files: Sequence[Path], keys: KeyMap, place: Place = CPU) -> LoadReport:
    """Fill `module` from `files`. All of it or none of it.

    Raises `WrongWeights` with the names that are missing, unexpected or of another shape, `NotFound` for no file.
    """
    parts = [_Part.open(part) for path in files for part in _parts(path)]
    plan, ignored = _plan(module, parts, keys)
    keepers = {f"{name}.weight": layer for name, layer in module.named_modules() if isinstance(layer, Keeper)}
    state: dict[str, Tensor] = {}
    kept = 0
    for part in parts:
        wanted = {ours: official for ours, (owner, official) in plan.items() if owner is part}
        plain = {ours: official for ours, official in wanted.items() if ours not in keepers}
        loaded = {
            official: tensor.to(place.device, place.dtype if tensor.is_floating_point() else None)
            for official, tensor in part.read(set(plain.values()), place.device)
        }
        state |= {ours: loaded[official] for ours, official in plain.items()}
        takers = {official: keepers[ours] for ours, official in wanted.items() if ours in keepers}
        for official, tensor in part.read(takers, "cpu"):
            kept += takers[official].keep(tensor, place)
    module.load_state_dict(state, strict=False, assign=True)
    _settle(module, place)
    return LoadReport(
        files=tuple((part.path.name, _sha256(part.path)) for part in parts),
        tensors=len(plan),
        bytes=kept + sum(tensor.nbytes for tensor in state.values()),
        ignored=tuple(sorted(ignored)),
    )


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """(official name, tensor on the CPU) for every tensor of a checkpoint: one file, a shard index or a folder."""
    for part in map(_Part.open, _parts(path)):
        yield from part.read(part.shapes, "cpu")


def read_config(folder: Path, *needed: str) -> dict[str, Any]:
    """The config.json of a published folder, with the entries `needed`. Raises `NotFound`, `WrongWeights`."""
    file = folder / "config.json"
    if not file.exists():
        raise NotFound(f"There is no config.json in {folder.name}.", advice="Download the whole published folder.")
    try:
        published = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise WrongWeights(f"{folder.name}/config.json cannot be read.", advice="Download it again.") from error
    if missing := [name for name in needed if name not in published]:
        raise WrongWeights(
            f"{folder.name}/config.json says nothing of {', '.join(missing)}.", advice="It belongs to another model."
        )
    return published


def _plan(module: nn.Module, parts: Sequence[_Part], keys: KeyMap) -> tuple[dict[str, tuple[_Part, str]], set[str]]:
    """Which file's tensor each of our names takes (the last that has it), and the official names not used."""
    tensors = module.state_dict(keep_vars=True)
    needed = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    plan: dict[str, tuple[_Part, str]] = {}
    ignored: set[str] = set()
    wrong: dict[str, list[str]] = {"unexpected": [], "of another shape": [], "missing": []}
    for part in parts:
        for official, shape in part.shapes.items():
            ours = keys.ours(official)
            if ours is None:
                ignored.add(official)
            elif ours not in needed:
                wrong["unexpected"].append(official)
            else:
                plan[ours] = (part, official)
                if needed[ours] != shape:
                    wrong["of another shape"].append(f"{official} {list(shape)} for {list(needed[ours])}")
    sources = {id(tensors[ours]): source for ours, source in plan.items()}
    plan |= {name: sources[id(tensor)] for name, tensor in tensors.items() if id(tensor) in sources}  # tied weights
    wrong["missing"] = [name for name in needed if name not in plan and not keys.may_miss(name)]
    if any(wrong.values()):
        raise WrongWeights(
            f"{', '.join(part.path.name for part in parts)} does not fit {type(module).__name__}: "
            + "; ".join(f"{len(names)} {fault} ({_some(names)})" for fault, names in wrong.items() if names)
            + ".",
            advice="Check that these are the files this model names, in that order, and of the same size (7B, 13B).",
        )
    return plan, ignored


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _settle(module: nn.Module, place: Place) -> None:
    """Give optional parameters that no file brought their defaults, and move what files never bring."""
    for part in module.modules():
        own = dict([*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)])
        if any(tensor.is_meta for tensor in own.values()):
            loaded = {name: tensor.detach() for name, tensor in own.items() if not tensor.is_meta}
            part.to_empty(device=place.device, recurse=False)
            part.reset_parameters()  # type: ignore[operator]  # the protocol of layers with defaults
            part.load_state_dict(loaded, strict=False, assign=True)
    for parameter in module.parameters():
        parameter.data = parameter.data.to(place.device, place.dtype)
    module.to(place.device)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parts(path: Path) -> list[Path]:
    """The files that hold the tensors of `path`: itself, the shards of its index, or those of a folder's index."""
    if not path.exists():
        raise NotFound(f"There is no file {path.name}.", advice="`hindsight models show` tells where to get it.")
    if path.is_dir():
        return _parts(_entry(path))
    if not path.name.endswith(".index.json"):
        return [path]
    try:
        shards = sorted(set(json.loads(path.read_text())["weight_map"].values()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WrongWeights(f"{path.name} is not a shard index.", advice="Download it again.") from error
    return [part for shard in shards for part in _parts(path.parent / shard)]


def _entry(folder: Path) -> Path:
    for pattern in ("*.safetensors.index.json", "*.safetensors", "*.bin.index.json", "*.bin", "*.pth"):
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            raise WrongWeights(f"{folder.name} holds several {pattern} files.", advice="Name the one to load.")
    raise NotFound(f"{folder.name} holds no weights.", advice="Expected .safetensors, .bin or .pth in it.")


@dataclass(frozen=True, eq=False)
class _Part:
    """One open file: its names and shapes are known, its tensors are read when asked for."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    pickled: dict[str, Tensor] | None
    """The memory-mapped state dict of a .bin or .pth; None for safetensors."""

    @classmethod
    def open(cls, path: Path) -> _Part:
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, framework="pt") as file:
                    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
                return cls(path, shapes, None)
            state = _unpickle(path)
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            reason = str(error).partition("\n")[0] or "it ends too early"
            raise WrongWeights(
                f"{path.name} cannot be read as a checkpoint ({reason}).",
                advice="Only tensors are accepted, never pickled code; download the file again or use safetensors.",
            ) from error
        return cls(path, {name: tuple(tensor.shape) for name, tensor in state.items()}, state)

    def read(self, names: Iterable[str], device: str) -> Iterator[tuple[str, Tensor]]:
        if self.pickled is not None:
            yield from ((name, self.pickled[name]) for name in names)
            return
        with safe_open(self.path, framework="pt", device=device) as file:
            yield from ((name, file.get_tensor(name)) for name in names)


def _unpickle(path: Path) -> dict[str, Tensor]:
    """The state dict of a file written by torch.save, without running what it may contain."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # the older, unzipped format cannot be mapped
        content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ValueError("no state dict in it")
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}
