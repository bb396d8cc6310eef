"""Golden tensors: what the authors' own code computed, at small size, on stated inputs.

A test asks for the files of a system by pattern: `@pytest.mark.golden("ma_lmm", "case_*.safetensors")` and gets one
`golden` per file and set. All sets in ../shared/parity are used when they are there; a few files are kept beside the
tests so that a clone can prove itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

_KEPT = Path(__file__).parent / "data"
_SHARED = Path(__file__).parents[2] / ".." / "shared" / "parity"


@dataclass(frozen=True)
class Golden:
    """One golden file of one set."""

    folder: Path
    name: str

    @property
    def manifest(self) -> dict[str, Any]:
        return _read_json(self.folder / "manifest.json")

    @property
    def meta(self) -> dict[str, Any]:
        """What the manifest says about this file."""
        return dict(self.manifest["files"][self.name]["meta"])

    def tensors(self, name: str = "") -> dict[str, torch.Tensor]:
        """Of this file, or another of the set."""
        return _read_tensors(self.folder / (name or self.name))

    def json(self, name: str = "") -> Any:
        return _read_json(self.folder / (name or self.name))

    def close(self, actual: torch.Tensor, expected: torch.Tensor, stage: str, *, atol: float | None = None) -> None:
        """Within the manifest's tolerance for `stage`, or the manifest's default."""
        tolerance = self.manifest.get("tolerances", {}).get(stage) or self.manifest["tolerance_default"]
        torch.testing.assert_close(actual, expected, atol=atol or tolerance["atol"], rtol=tolerance["rtol"])

    def expect(self, actual: torch.Tensor, name: str) -> None:
        """`actual` is this file's tensor `name`: equal where it counts things, else within what the manifest allows."""
        expected = self.tensors()[name]
        if not expected.is_floating_point():
            assert torch.equal(actual.to(expected.dtype), expected), name
            return
        manifest = self.manifest
        described = manifest["tensors"].get(self.name, manifest["tensors"]).get(name, {})
        default = manifest.get("tolerance_default") or manifest["tolerance"]
        allowed = described.get("tolerance", default)
        torch.testing.assert_close(
            actual.to(expected.dtype),
            expected,
            atol=allowed["atol"],
            rtol=allowed["rtol"],
            msg=lambda text: f"{name}: {text}",
        )


@cache
def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())


@cache
def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _sets(system: str) -> list[Path]:
    shared = sorted(path.parent for path in (_SHARED / system).glob("*/manifest.json"))
    return shared or [path.parent for path in (_KEPT / system).glob("manifest.json")]


def _files(system: str, pattern: str) -> list[Any]:
    found = [
        pytest.param(Golden(folder, path.name), id=f"{folder.name}-{path.stem}")
        for folder in _sets(system)
        for path in sorted(folder.glob(pattern))
    ]
    reason = f"{pattern} of {system} is in ../shared/parity, which is not here"
    return found or [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "golden(system, pattern): gets one `golden` for each such file")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("golden")
    if marker is not None:
        metafunc.parametrize("golden", _files(*marker.args))


@pytest.fixture(scope="session")
def official_shapes() -> Any:
    """Official names and shapes of a full-size model: `official_shapes(system)`; skips where the list is not here."""

    def read(system: str, pattern: str = "STATE_DICT_FULL*.tsv") -> dict[str, list[int]]:
        lists = sorted((_SHARED / system).glob(pattern))
        if not lists:
            pytest.skip(f"the list of {system}'s tensors is in ../shared/parity, which is not here")
        if lists[0].suffix == ".json":
            return dict(_read_json(lists[0]))
        rows = (line.split("\t") for line in lists[0].read_text().splitlines() if line.strip())
        return {name: json.loads(shape) for name, shape in rows}

    return read
