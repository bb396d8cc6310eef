"""The seven systems by name, from plain values: what a configuration file, a command line or a worker can say."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

from ingest.errors import Invalid, NotFound
from models.protocols import VideoSystem

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

DTYPES: Final = ("float32", "bfloat16", "float16")


def open_system(name: str, folder: str, *, device: str = "cpu", dtype: str = "float32") -> VideoSystem:
    """The system called `name` from its published files in `folder`.

    Raises `NotFound` for a name or a file that is not there, `Invalid` for weights or a dtype that do not fit.
    """
    if name not in SYSTEMS:
        raise NotFound(f"There is no system {name!r}.", advice=f"Choose one of {', '.join(SYSTEMS)}.")
    if dtype not in DTYPES:
        raise Invalid(f"{dtype!r} is no number format of a model.", advice=f"Choose one of {', '.join(DTYPES)}.")
    if not Path(folder).is_dir():
        raise NotFound(f"There is no folder {folder}.", advice="`hindsight models show` tells what belongs in it.")
    import torch

    module, kind = SYSTEMS[name]
    system: VideoSystem = getattr(import_module(module), kind).load(
        Path(folder), device=device, dtype=getattr(torch, dtype)
    )
    return system
