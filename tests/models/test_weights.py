"""Checkpoints: what fits is put in place bit for bit; what does not is refused with names and nothing changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ingest.errors import NotFound
from models.weights import Hollow, KeyMap, Place, WrongWeights, load, read_tensors


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.body = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)
        self.head = nn.Linear(3, 5, bias=False)
        self.register_buffer("frequency", torch.arange(3.0), persistent=False)


def hollow() -> Tiny:
    with Hollow():
        return Tiny()


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {name: torch.randn_like(tensor) for name, tensor in Tiny().state_dict().items()}


def assert_holds(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    held = module.state_dict()
    assert held.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(held[name], tensor), name


@pytest.mark.parametrize("kind", ["safetensors", "bin", "pth-of-a-runner", "old-pth", "shards", "folder"])
def test_every_layout_is_loaded_bit_for_bit(tmp_path: Path, state: dict[str, torch.Tensor], kind: str) -> None:
    path = write(tmp_path, state, kind)
    module = hollow()
    assert module.body.weight.is_meta
    report = load(module, [path], KeyMap())
    assert_holds(module, state)
    assert torch.equal(module.frequency, torch.arange(3.0))
    assert report.tensors == len(state)
    assert report.bytes == sum(tensor.nbytes for tensor in state.values())
    assert dict(read_tensors(path)).keys() == state.keys()


def write(folder: Path, state: dict[str, torch.Tensor], kind: str) -> Path:
    if kind == "safetensors":
        save_file(state, folder / "m.safetensors")
        return folder / "m.safetensors"
    if kind in {"shards", "folder"}:
        names = sorted(state)
        save_file({name: state[name] for name in names[:2]}, folder / "a.safetensors")
        save_file({name: state[name] for name in names[2:]}, folder / "b.safetensors")
        where = {name: "a.safetensors" if name in names[:2] else "b.safetensors" for name in names}
        (folder / "m.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
        return folder if kind == "folder" else folder / "m.safetensors.index.json"
    content = {"model": state, "epoch": 3} if kind == "pth-of-a-runner" else state
    torch.save(content, folder / "m.pth", _use_new_zipfile_serialization=kind != "old-pth")
    return folder / "m.pth"


def test_later_files_lie_over_earlier_ones_and_hashes_are_recorded(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    save_file(state, tmp_path / "base.safetensors")
    trained = {"module.body.weight": torch.full((3, 3), 7.0), "optimizer_step": torch.tensor(1)}
    torch.save({"model": trained}, tmp_path / "trained.pth")
    module = hollow()
    keys = KeyMap(rules=((r"^module\.", ""),), ignore=(r"^optimizer",))
    report = load(module, [tmp_path / "base.safetensors", tmp_path / "trained.pth"], keys)
    assert_holds(module, state | {"body.weight": torch.full((3, 3), 7.0)})
    assert report.ignored == ("optimizer_step",)
    assert report.files == tuple(
        (name, hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
        for name in ("base.safetensors", "trained.pth")
    )


def test_what_does_not_fit_is_listed_and_the_module_untouched(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    before = Tiny()
    kept = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    del state["head.weight"]
    state["body.bias"] = torch.zeros(4)
    state["tail.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(WrongWeights) as refusal:
        load(before, [tmp_path / "m.safetensors"], KeyMap())
    message = str(refusal.value)
    for told in ("1 missing (head.weight)", "body.bias [4] for [3]", "1 unexpected (tail.weight)", "m.safetensors"):
        assert told in message
    assert_holds(before, kept)


def test_a_missing_optional_layer_has_its_defaults_and_half_of_one_keeps_what_was_loaded(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    del state["norm.weight"]
    save_file(state, tmp_path / "m.safetensors")
    module = hollow()
    load(module, [tmp_path / "m.safetensors"], KeyMap(optional=(r"^norm\.",)))
    assert_holds(module, state | {"norm.weight": torch.ones(3)})


def test_tied_weights_come_from_the_one_name_in_the_file(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    module = hollow()
    module.head.weight = module.embed.weight
    del state["head.weight"]
    save_file(state, tmp_path / "m.safetensors")
    load(module, [tmp_path / "m.safetensors"], KeyMap())
    assert torch.equal(module.head.weight, state["embed.weight"])
    assert module.head.weight.data_ptr() == module.embed.weight.data_ptr()


def test_dtype_is_changed_for_floating_tensors_only(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    module = hollow()
    module.register_buffer("position_ids", torch.arange(4))
    save_file(state | {"position_ids": torch.arange(4)}, tmp_path / "m.safetensors")
    load(module, [tmp_path / "m.safetensors"], KeyMap(), Place(dtype=torch.bfloat16))
    assert module.body.weight.dtype == torch.bfloat16
    assert module.position_ids.dtype == torch.int64


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch owned",)


@pytest.mark.parametrize("content", ["malicious", "no-tensors", "truncated", "empty", "not-safetensors"])
def test_what_is_no_checkpoint_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ("m.safetensors" if content == "not-safetensors" else "m.pth")
    if content == "malicious":
        torch.save({"model": Malicious()}, path)
    elif content == "no-tensors":
        torch.save({"epoch": 3}, path)
    elif content == "truncated":
        torch.save({"w": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:900])
    else:
        path.write_bytes(b"" if content == "empty" else b"hello, not tensors")
    with pytest.raises(WrongWeights, match="cannot be read as a checkpoint"):
        load(hollow(), [path], KeyMap())
    assert not (tmp_path / "owned").exists()


def test_absent_files_and_broken_indices_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no file absent\.pth"):
        load(hollow(), [tmp_path / "absent.pth"], KeyMap())
    with pytest.raises(NotFound, match="holds no weights"):
        load(hollow(), [tmp_path], KeyMap())
    (tmp_path / "m.safetensors.index.json").write_text("[]")
    with pytest.raises(WrongWeights, match="not a shard index"):
        load(hollow(), [tmp_path], KeyMap())


def resident_bytes() -> int:
    """What this process holds in memory, files mapped into it included."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssFile")))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see what is in memory")
def test_a_full_size_q_former_is_never_in_memory_twice(tmp_path: Path) -> None:
    from models.parts.qformer import QFormer, QFormerConfig

    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in QFormer(QFormerConfig()).state_dict().items()}
    positions = {"bert.embeddings.position_ids": torch.arange(512)[None]}
    weights = {name: torch.full(shape, 0.5) for name, shape in shapes.items() if name not in positions}
    save_file(weights | positions, tmp_path / "qformer.safetensors")
    size = sum(tensor.nbytes for tensor in weights.values())
    assert size > 700_000_000
    del weights
    before = resident_bytes()
    with Hollow():
        module = QFormer(QFormerConfig())
    load(module, [tmp_path / "qformer.safetensors"], KeyMap())
    total = sum(float(parameter.detach().sum()) for parameter in module.parameters())
    assert total == pytest.approx(size / 4 * 0.5)
    assert resident_bytes() - before < 1.2 * size
