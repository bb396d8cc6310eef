"""Models that label pictures for us while we train, and never ship.

The box teacher is YOLOX-nano as ONNX; the gist teacher a MobileNet feature extractor as TensorFlow Lite; the sentence
teacher any folder `transformers` can load. Their runtimes (`onnx`, `ai-edge-litert`) are needed for training alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.errors import NotFound
from ingest.records import Pixels
from models.nano.training.borders import BORDERS

Floats = NDArray[np.float32]

HEADS = ("1066", "1108", "1150")
"""The box teacher's output maps before they are flattened: raw boxes, probabilities of objectness and category."""


def _needed(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        raise NotFound(
            f"training needs the package {package}", advice=f"Install it with: pip install {package}"
        ) from missing


class BoxTeacher:
    """YOLOX-nano over any batch and any side that is a multiple of 32."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime

        onnx: Any = _needed("onnx", "onnx")
        model = onnx.load(str(path))
        graph = model.graph
        for dimension, name in zip(graph.input[0].type.tensor_type.shape.dim, ("B", "", "H", "W"), strict=True):
            if name:
                dimension.dim_param = name
        del graph.output[:]
        graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in (*HEADS, *BORDERS.values()))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def look(self, pictures: NDArray[np.uint8]) -> list[Floats]:
        """RGB uint8 [B, H, W, 3] to its maps per level [B, 85, h, w]."""
        return list(self._session.run([*HEADS], {"images": _bgr(pictures)}))

    def think(self, pictures: NDArray[np.uint8]) -> tuple[list[Floats], dict[str, Floats]]:
        """What it says, as `look`, and its maps [B, C, h, w] at the borders."""
        found = self._session.run([*HEADS, *BORDERS.values()], {"images": _bgr(pictures)})
        return found[:3], dict(zip(BORDERS, found[3:], strict=True))


def _bgr(pictures: NDArray[np.uint8]) -> Floats:
    return np.ascontiguousarray(pictures[..., ::-1].transpose(0, 3, 1, 2), dtype=np.float32)


class GistTeacher:
    """A feature extractor for whole pictures: uint8 [224, 224, 3] to float32 [dim]."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        litert: Any = _needed("ai_edge_litert.interpreter", "ai-edge-litert")
        self._net = litert.Interpreter(str(path), num_threads=threads)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]
        self._output = self._net.get_output_details()[0]

    def look(self, pixels: Pixels) -> Floats:
        import cv2

        _, height, width, _ = self._input["shape"]
        self._net.set_tensor(
            self._input["index"], cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)[None]
        )
        self._net.invoke()
        scale, zero = self._output["quantization"]
        raw = self._net.get_tensor(self._output["index"]).astype(np.float32).ravel()
        return np.asarray((raw - zero) * scale, np.float32)


class SentenceTeacher:
    """Sentences to unit vectors: the mean of a transformer's last hidden states."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._net = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    def embed(self, sentences: Sequence[str], batch: int = 128) -> Floats:
        """float32 [N, dim], unit length."""
        import torch

        order = np.argsort([len(s) for s in sentences], kind="stable")
        parts = []
        for start in range(0, len(order), batch):
            chosen = [sentences[i] for i in order[start : start + batch]]
            tokens = self._tokens(chosen, padding=True, truncation=True, max_length=64, return_tensors="pt")
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                hidden = self._net(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"][..., None]
            mean = (hidden * mask).sum(1) / mask.sum(1)
            parts.append((mean / mean.norm(dim=1, keepdim=True)).numpy())
        result = np.empty((len(order), parts[0].shape[1]), np.float32)
        result[order] = np.concatenate(parts)
        return result
