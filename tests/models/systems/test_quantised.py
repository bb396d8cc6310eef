"""A language model's layers in 8 or 4 bits: really quantised, the rest left alone, and near what they were."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ingest.errors import Invalid
from ingest.questions import Evidence
from models.parts import quantised
from models.parts.quantised import Quantised, quantise
from models.systems.minigpt4_video import LoraLinear
from models.systems.opening import open_system
from models.weights import Few, Hollow, KeyMap, Place, load

installed = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
BITS: tuple[Few, ...] = ("int8", "nf4")
FAR = {"int8": 0.02, "nf4": 0.15}
"""How far, relative to them, a layer's rows may be from those of its whole weight: a step of the code, averaged."""


class Speaker(nn.Module):
    """An eye, two layers of a language model, one of them adapted, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = nn.Linear(64, 64)
        self.layers = nn.ModuleList([nn.Linear(64, 128), LoraLinear(128, 64, 4, 0.5)])
        self.head = nn.Linear(64, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.eye(x)
        for layer in self.layers:
            x = layer(x)
        out: torch.Tensor = self.head(x)
        return out


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(4)
    save_file(Speaker().state_dict(), tmp_path / "speaker.safetensors")
    return tmp_path / "speaker.safetensors"


def loaded(file: Path, place: Place) -> tuple[Speaker, int]:
    with Hollow():
        module = Speaker()
    quantise(module.layers, place.language)
    report = load(module, [file], KeyMap(), place)
    return module.eval(), report.bytes


@installed
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_only_the_layers_are_in_few_bits_and_say_nearly_the_same(file: Path, bits: Few, dtype: torch.dtype) -> None:
    whole, large = loaded(file, Place(dtype=dtype))
    module, small = loaded(file, Place(dtype=dtype, language=bits))
    first, adapted = module.layers
    assert isinstance(first, Quantised)
    assert isinstance(adapted, Quantised)
    assert isinstance(adapted, LoraLinear)
    left = dict(module.named_parameters())
    assert "layers.0.weight" not in left
    for name in ("eye.weight", "head.weight", "layers.0.bias", "layers.1.lora_A.weight"):
        assert torch.equal(left[name], whole.get_parameter(name)), name
    words = 64 * 128 * 2
    spared = words * (dtype.itemsize - (1 if bits == "int8" else 0.5))
    assert large - small == spared
    x = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    for mine, theirs in zip([*module.layers, module], [*whole.layers, whole], strict=True):
        given = x if mine is not adapted else x.repeat(1, 1, 2)
        said, expected = mine(given).float(), theirs(given).float()
        assert mine(given).dtype == dtype
        assert (said - expected).norm() < FAR[bits] * expected.norm() * (1 if mine is not module else 2)
        assert not torch.equal(said, expected)


@installed
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_in_8_bits_are_not_told_one_by_one(
    file: Path, dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    """The package warns of each that its input becomes float16; a model's process keeps what is written so."""
    module, _ = loaded(file, Place(dtype=dtype, language="int8"))
    module(torch.ones(1, 64, dtype=dtype))
    assert not caplog.records


@installed
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ["video-chatgpt", "chat-univi", "qwen2-vl", "cogvlm2-video"])
def test_a_system_answers_in_few_bits(name: str, bits: Few, make: Any, evidence: Evidence, tmp_path: Path) -> None:
    make(name)
    system: Any = open_system(name, str(tmp_path), dtype=bits)
    layers = [part for part in system.model.model.layers.modules() if isinstance(part, nn.Linear)]
    assert layers
    assert all(isinstance(layer, Quantised) for layer in layers)
    eye = getattr(system, "tower", None) or getattr(system.model, "visual", None) or system.model.model.vision
    assert not any(isinstance(part, Quantised) for part in eye.modules())
    assert {parameter.dtype for parameter in eye.parameters()} == {torch.float32}
    assert "".join(system.answer("What happens?", evidence))


def test_without_bitsandbytes_it_is_said_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda _: None)
    with pytest.raises(Invalid, match="nf4 needs bitsandbytes") as refused:
        loaded(file, Place(language="nf4"))
    assert ".[quantised]" in refused.value.advice


@installed
@pytest.mark.parametrize("bits", BITS)
def test_a_device_that_cannot_is_named(file: Path, bits: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device for which the package has no kernel."""

    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("no such operator for this backend")

    import bitsandbytes.functional

    for kernel in ("int8_vectorwise_quant", "quantize_4bit"):
        monkeypatch.setattr(bitsandbytes.functional, kernel, refuse)
    with pytest.raises(Invalid, match="cannot quantise on cpu"):
        loaded(file, Place(language=bits))
