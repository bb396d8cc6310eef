"""Every system by name, from plain values."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from ingest.errors import Invalid, NotFound
from ingest.questions import Evidence
from models.systems import opening
from models.systems.opening import SYSTEMS, open_system
from models.weights import WrongWeights


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_is_where_it_is_said_to_be(name: str) -> None:
    module, kind = SYSTEMS[name]
    assert getattr(import_module(module), kind).id == name


@pytest.mark.parametrize("name", ["video-chatgpt", "chat-univi", "qwen2-vl", "cogvlm2-video"])
def test_from_plain_values(name: str, make: Callable[..., Any], evidence: Evidence, tmp_path: Path) -> None:
    make(name)
    system = open_system(name, str(tmp_path), dtype="bfloat16")
    assert len(list(islice(system.answer("What happens?", evidence), 3))) == 3


@pytest.mark.parametrize(("dtype", "whole"), [("float32", True), ("bfloat16", False), ("auto", False)])
def test_float32_on_a_gpu_is_float32_in_convolutions_too(
    dtype: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert opening._place("cuda", dtype).device == "cuda"
    assert torch.backends.cudnn.allow_tf32 is not whole


def test_what_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no system 'video-gpt'"):
        open_system("video-gpt", str(tmp_path))
    with pytest.raises(NotFound, match="no folder"):
        open_system("qwen2-vl", str(tmp_path / "absent"))
    with pytest.raises(Invalid, match="'int3'"):
        open_system("qwen2-vl", str(tmp_path), dtype="int3")
    with pytest.raises(NotFound):
        open_system("qwen2-vl", str(tmp_path))


def test_another_model_s_folder_is_named_so(make: Callable[..., Any], tmp_path: Path) -> None:
    make("qwen2-vl")
    with pytest.raises(WrongWeights, match="num_multi_query_heads"):
        open_system("cogvlm2-video", str(tmp_path))
    with pytest.raises(WrongWeights, match="mm_vision_tower"):
        open_system("chat-univi", str(tmp_path))
    (tmp_path / "config.json").write_text("[1, 2")
    with pytest.raises(WrongWeights, match="cannot be read"):
        open_system("qwen2-vl", str(tmp_path))


def test_naming_systems_loads_none() -> None:
    code = "import sys, models.systems.opening; print('torch' in sys.modules, 'transformers' in sys.modules)"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.split() == ["False", "False"]
