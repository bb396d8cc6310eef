"""Memory while a full-size checkpoint is loaded: the peak over the bytes of its weights, beside the plain way.

Writes random weights in the published layout and in bfloat16 to a temporary folder (7 GB), and loads each in a process
of its own, on the CPU or, where there is one, the GPU:

qwen2-vl     all of the 2B
ma-lmm       ViT-g, the Q-Former and one of Vicuna's layers at full size: what looks at every frame

plainly      the module is built, the files are read, the one is filled from the other: what torch's manual shows

    python -m benchmarks.loading [--only qwen2-vl ma-lmm] [--dtype bfloat16 float32 int8 nf4] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import nn
from transformers import Qwen2VLConfig

from benchmarks.systems import write_tokenizers
from models.systems.ma_lmm import FILES, VICUNA_7B, MaLmm, MaLmmConfig
from models.systems.opening import SIZES, open_system
from models.systems.qwen2_vl import Qwen2VlModel
from models.weights import read_config, read_tensors

SHARD = 1 << 30
QWEN_2B = {
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vision_config": {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "hidden_size": 1536},
    "eos_token_id": 151_645,
}
MA_LMM = MaLmmConfig(language=VICUNA_7B | {"num_hidden_layers": 1})


def hollow_shapes(make: Any) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in make().state_dict().items() if tensor.is_floating_point()}


def drawn(shapes: Mapping[str, torch.Size]) -> Iterator[tuple[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    row = torch.randn(1 << 22, generator=random).to(torch.bfloat16) * 0.02  # numbers repeat: only their bytes matter
    for name, shape in shapes.items():
        yield name, row.repeat(-(-shape.numel() // len(row)))[: shape.numel()].view(shape).clone()


def write_shards(folder: Path, shapes: Mapping[str, torch.Size]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    where: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    for name, tensor in drawn(shapes):
        shard[name] = tensor
        if sum(one.nbytes for one in shard.values()) > SHARD:
            _write_shard(folder, shard, where)
    _write_shard(folder, shard, where)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def _write_shard(folder: Path, shard: dict[str, torch.Tensor], where: dict[str, str]) -> None:
    if shard:
        file = f"model-{len(set(where.values())):05}.safetensors"
        save_file(shard, folder / file)
        where |= dict.fromkeys(shard, file)
        shard.clear()


def write_qwen2_vl(folder: Path) -> None:
    write_shards(folder, hollow_shapes(lambda: Qwen2VlModel(Qwen2VLConfig(**QWEN_2B))))
    write_tokenizers(folder)
    (folder / "config.json").write_text(json.dumps(QWEN_2B))


def write_ma_lmm(folder: Path) -> None:
    shapes = hollow_shapes(lambda: MaLmm(MA_LMM))
    eye, words = "visual_encoder.", "llm_model."
    bare = {
        prefix: {n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)}
        for prefix in (eye, words)
    }
    folder.mkdir(parents=True)
    torch.save(dict(drawn(bare[eye])), folder / FILES[0])
    write_shards(folder / FILES[1], bare[words])
    rest = {name: shape for name, shape in shapes.items() if not name.startswith((eye, words))}
    torch.save({"model": dict(drawn(rest))}, folder / FILES[2])
    write_tokenizers(folder / FILES[1])
    (bert := folder / "bert-base-uncased").mkdir()
    write_tokenizers(bert)
    (folder / SIZES).write_bytes(TypeAdapter(MaLmmConfig).dump_json(MA_LMM))


WRITERS = {"qwen2-vl": write_qwen2_vl, "ma-lmm": write_ma_lmm}


def resident() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text().splitlines()
    held = [line.split() for line in lines if line.startswith(("RssAnon:", "VmRSS:"))]
    return {name.rstrip(":"): int(kilobytes) * 1024 for name, kilobytes, _ in held}


@contextmanager
def watching() -> Iterator[dict[str, int]]:
    """The most that this process holds meanwhile above what it holds now: by itself, and with mapped files."""
    before, most, done = resident(), {"RssAnon": 0, "VmRSS": 0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            for name, held in resident().items():
                most[name] = max(most[name], held - before[name])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def plainly(name: str, folder: Path) -> nn.Module:
    """The module with weights drawn at random, as layers are made, and the files' put over them."""
    torch.set_default_dtype(torch.bfloat16)
    module: nn.Module
    if name == "qwen2-vl":
        module = Qwen2VlModel(Qwen2VLConfig(**read_config(folder)))
        state = {ours: tensor.clone() for ours, tensor in read_tensors(folder)}
    else:
        module = MaLmm(MA_LMM)
        state = {f"visual_encoder.{n}": t.clone() for n, t in read_tensors(folder / FILES[0])}
        state |= {f"llm_model.{n}": t.clone() for n, t in read_tensors(folder / FILES[1])}
        state |= {n: t.clone() for n, t in read_tensors(folder / FILES[2])}
    module.load_state_dict(state, strict=False)
    return module


def touch(network: nn.Module) -> None:
    """Have all of it in memory: what is mapped from a file comes when it is looked at."""
    for tensor in network.state_dict().values():
        tensor.sum()


def measured(name: str, folder: Path, dtype: str) -> None:
    """One row, in this process."""
    gpu = torch.cuda.is_available()
    began = time.perf_counter()
    with watching() as most:
        if dtype == "plainly":
            network = plainly(name, folder)
            weights = sum(parameter.nbytes for parameter in network.parameters())
            touch(network.to("cuda") if gpu else network)
        else:
            system: Any = open_system(name, str(folder), device="cuda" if gpu else "cpu", dtype=dtype)
            weights = system.report.bytes
            touch(system.model)
    device = f" | {torch.cuda.max_memory_allocated() / weights:.2f}" if gpu else ""
    own, all_ = (most[kind] / weights for kind in ("RssAnon", "VmRSS"))
    took = time.perf_counter() - began
    print(f"| `{name}` | {dtype} | {weights / 1e9:.2f} | {own:.2f} | {all_:.2f}{device} | {took:.0f} s |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WRITERS, default=list(WRITERS))
    parser.add_argument("--dtype", nargs="+", default=["plainly", "bfloat16", "float32"])
    parser.add_argument("--folder", type=Path, help="where to write; kept, and used again when it is there")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        measured(given.only[0], given.folder, given.dtype[0])
        return
    gpu = ["on the GPU"] if torch.cuda.is_available() else []
    columns = ["system", "loaded as", "GB of weights", "peak / weights", "with mapped files", *gpu, "time"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.only:
            folder = (given.folder or Path(temporary)) / name
            if not folder.exists():
                WRITERS[name](folder)
            for dtype in given.dtype:
                command = ["--child", "--only", name, "--dtype", dtype, "--folder", str(folder)]
                subprocess.run([sys.executable, "-m", "benchmarks.loading", *command], check=True)


if __name__ == "__main__":
    main()
