"""The seven systems by name, from plain values: what a configuration file, a command line or a worker can say."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.errors import Invalid, NotFound
from models.protocols import VideoSystem

if TYPE_CHECKING:
    from models.weights import Place

SYSTEMS: Final = {
    "chat-univi": ("models.systems.chat_univi", "ChatUniViSystem"),
    "cogvlm2-video": ("models.systems.cogvlm2_video", "CogVlm2VideoSystem"),
    "ma-lmm": ("models.systems.ma_lmm", "MaLmmSystem"),
    "minigpt4-video": ("models.systems.minigpt4_video", "MiniGpt4VideoSystem"),
    "qwen2-vl": ("models.systems.qwen2_vl", "Qwen2VlSystem"),
    "video-chatgpt": ("models.systems.video_chatgpt", "VideoChatGptSystem"),
    "video-llama": ("models.systems.video_llama", "VideoLlamaSystem"),
}
"""Where each is; nothing is imported before it is asked for."""

FEW: Final = ("int8", "nf4")
"""What the layers of a language model can be in beside, with bitsandbytes: 8 bits or 4."""

DTYPES: Final = ("auto", "float32", "bfloat16", "float16", *FEW)

SIZES: Final = "sizes.json"
"""What differs from the published sizes, beside checkpoints that have no config.json of their own."""

_CONFIGS: Final = {
    "ma-lmm": "MaLmmConfig",
    "minigpt4-video": "MiniGpt4VideoConfig",
    "video-llama": "VideoLlamaConfig",
}


def open_system(name: str, folder: str, *, device: str = "cpu", dtype: str = "float32") -> VideoSystem:
    """The system called `name` from its published files in `folder`.

    "auto" is the GPU where there is one, and bfloat16 on it; else the CPU and float32. "int8" and "nf4" are for the
    layers of its language model: the rest is as with "auto".
    Raises `NotFound` for a name or a file that is not there, `Invalid` for weights or a dtype that do not fit.
    """
    if name not in SYSTEMS:
        raise NotFound(f"There is no system {name!r}.", advice=f"Choose one of {', '.join(SYSTEMS)}.")
    if dtype not in DTYPES:
        raise Invalid(f"{dtype!r} is no number format of a model.", advice=f"Choose one of {', '.join(DTYPES)}.")
    if not Path(folder).is_dir():
        raise NotFound(f"There is no folder {folder}.", advice="`hindsight models show` tells what belongs in it.")
    module, kind = SYSTEMS[name]
    found = import_module(module)
    sized = {"config": _sizes(getattr(found, _CONFIGS[name]), Path(folder) / SIZES)} if name in _CONFIGS else {}
    system: VideoSystem = getattr(found, kind).load(Path(folder), place=_place(device, dtype), **sized)
    return system


def _place(device: str, dtype: str) -> Place:
    import torch

    from models.weights import Place

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    half = "bfloat16" if device.startswith("cuda") else "float32"
    numbers = half if dtype in ("auto", *FEW) else dtype
    if numbers == "float32":  # a GPU's convolutions, which patches go through, would else take TF32's 10 bits for it
        torch.backends.cudnn.allow_tf32 = False
    return Place(device, getattr(torch, numbers), dtype if dtype in FEW else None)  # type: ignore[arg-type]  # one of two


def _sizes(kind: type[Any], file: Path) -> Any:
    """The configuration in `file`, whose entries are those of `kind`; the published one when there is none."""
    from pydantic import TypeAdapter, ValidationError

    if not file.exists():
        return kind()
    try:
        return TypeAdapter(kind).validate_json(file.read_bytes())
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Invalid(
            f"{file.name} cannot be read: {place} {error.errors()[0]['msg']}.".replace("  ", " "),
            advice="Without this file the published sizes hold.",
        ) from error
