"""What Video-ChatGPT and Chat-UniVi have from LLaVA (Liu et al. 2023, section 4.1): LLaMA, one linear layer, a form
of conversation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig, LlamaModel

from models.parts.decoding import Step
from models.weights import read_config

_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
)


def llama_config(folder: Path) -> LlamaConfig:
    """From a published config.json whose model type is the authors' own and unknown to transformers."""
    published = read_config(folder, "vocab_size", "hidden_size", "num_hidden_layers")
    return LlamaConfig(**{name: published[name] for name in _SIZES if name in published})


class SeeingLlama(LlamaModel):  # type: ignore[misc]  # transformers is untyped for us
    """LLaMA with the layer that turns visual features into its words."""

    def __init__(self, config: LlamaConfig, features: int) -> None:
        super().__init__(config)
        self.mm_projector = nn.Linear(features, config.hidden_size)


class LlavaModel(nn.Module):
    """Visual features [N, features] and words -> logits; names as published.

    `spoken` is how many words the head can say: tokens added after it was trained can be read but not said.
    """

    def __init__(self, config: LlamaConfig, features: int, *, spoken: int | None = None) -> None:
        super().__init__()
        self.model = SeeingLlama(config, features)
        self.lm_head = nn.Linear(config.hidden_size, spoken or config.vocab_size, bias=False)

    def words(self, ids: Tensor) -> Tensor:
        """int64 [..., L] -> [..., L, C]."""
        x: Tensor = self.model.embed_tokens(ids)
        return x

    def project(self, features: Tensor) -> Tensor:
        """[..., features] -> [..., C]."""
        x: Tensor = self.model.mm_projector(features.to(self.model.mm_projector.weight))
        return x

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Embeddings [B, L, C] -> logits [B, L, V]; `real` bool [B, L] is False at padding."""
        mask = None if real is None else real.long()
        states = self.model(inputs_embeds=x, attention_mask=mask, use_cache=False)
        logits: Tensor = self.lm_head(states.last_hidden_state)
        return logits

    def start(self, x: Tensor) -> Step:
        """The model with the prompt x [B, L, C] before it."""
        cache = DynamicCache()

        def step(said: Tensor | None) -> Tensor:
            new = x if said is None else self.words(said)
            states = self.model(inputs_embeds=new, past_key_values=cache, use_cache=True)
            logits: Tensor = self.lm_head(states.last_hidden_state[:, -1])
            return logits

        return step


@dataclass(frozen=True)
class Conversation:
    """A form of talk: who the assistant is, how turns are marked, and turns that show the way."""

    system: str
    user: str
    assistant: str
    after_user: str
    after_assistant: str
    example: tuple[str, str] | None = None

    @property
    def opening(self) -> str:
        """Everything before the user's words."""
        shown = ""
        if self.example:
            asked, answered = self.example
            shown = f"{self.user}: {asked}{self.after_user}{self.assistant}: {answered}{self.after_assistant}"
        return f"{self.system}{self.after_user}{shown}{self.user}: "

    @property
    def closing(self) -> str:
        """Everything between the user's words and the answer."""
        return f"{self.after_user}{self.assistant}:"

    @property
    def stop(self) -> str:
        """What follows an answer."""
        return self.after_assistant


def vicuna(system: str) -> Conversation:
    """Vicuna's form (version 1.1)."""
    return Conversation(system, "USER", "ASSISTANT", after_user=" ", after_assistant="</s>")


def hashes(system: str, example: tuple[str, str]) -> Conversation:
    """The older form, turns separated by ###."""
    return Conversation(system, "Human", "Assistant", after_user="###", after_assistant="###", example=example)


CURIOUS_USER = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
CURIOUS_HUMAN = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
