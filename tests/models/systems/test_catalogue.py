"""What is said of the systems against the systems themselves."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models.parts.asking import Answering
from models.systems import ma_lmm, minigpt4_video, video_chatgpt, video_llama
from models.systems.catalogue import CATALOGUE, entry
from models.systems.opening import SYSTEMS
from tests.models.systems.conftest import MAKERS


def test_every_system_is_in_it() -> None:
    assert set(CATALOGUE) == set(SYSTEMS)


@pytest.fixture(scope="module")
def benchmark() -> Any:
    """The benchmark script, which is no package; it builds the published sizes."""
    path = Path(__file__).parents[3] / "benchmarks" / "systems.py"
    spec = importlib.util.spec_from_file_location("benchmark_systems", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def words(benchmark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    benchmark.write_tokenizers(folder)
    return folder


@pytest.mark.parametrize("name", CATALOGUE)
def test_its_parameters_are_counted(name: str, benchmark: Any, words: Path) -> None:
    """The tree of the published size, on the meta device."""
    size = benchmark.Size(True, "meta", torch.bfloat16, words)
    system = benchmark.SYSTEMS[name](size, Answering())
    assert (
        sum(weight.numel() for part in benchmark.networks(system) for weight in part.parameters())
        == entry(name).parameters
    )


@pytest.mark.parametrize("name", MAKERS)
def test_a_folder_that_loads_is_complete_and_without_any_file_it_is_not(name: str, tmp_path: Path) -> None:
    assert entry(name).missing(tmp_path)
    MAKERS[name](tmp_path).load(tmp_path)
    assert entry(name).missing(tmp_path) == []
    for file in sorted(tmp_path.rglob("*")):
        needed = file.suffix in {".safetensors", ".bin"} or file.name in {"config.json", "tokenizer.model"}
        if needed and file.parent.name != video_chatgpt.FILES[0]:
            file.rename(file.with_suffix(".away"))
            assert entry(name).missing(tmp_path), file
            file.with_suffix(".away").rename(file)


@pytest.mark.parametrize("module", [ma_lmm, video_llama, minigpt4_video, video_chatgpt])
def test_names_are_those_that_are_loaded(module: object) -> None:
    """Each of the loader's FILES is asked for, and would be found."""
    name = module.__name__.rpartition(".")[2].replace("_", "-")  # type: ignore[attr-defined]  # a module
    patterns = [one for part in entry(name).parts for one in part.needs]
    for file in module.FILES:  # type: ignore[attr-defined]  # a module
        assert any(Path(file).match(one) or one.startswith(f"{file}/") for one in patterns), file


def test_the_gpu_holds_the_weights() -> None:
    for known in CATALOGUE.values():
        assert float(known.gpu.removesuffix(" GB")) * 1e9 > known.bytes
