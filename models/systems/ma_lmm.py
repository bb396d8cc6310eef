"""MA-LMM (He et al., CVPR 2024, arXiv 2404.05726): a video of any length through memory banks of constant size.

    frame t ── EVA-CLIP ViT-g ──▶ [257, 1408] + position t ─┐
                     visual bank, at most M frames ─────────┴─▶ Q-Former ──▶ 32 tokens ── linear ─▶ Vicuna
                      query banks, at most M per layer ───────────┘

(section 3.2). Frames come one by one; what the Q-Former says at the last of them is all that the language model sees.
The visual bank does not depend on the question: kept with a chapter, it answers later questions without the footage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tokenizers import BertWordPieceTokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from ingest.errors import Invalid
from ingest.questions import Evidence, Recollection
from ingest.records import Frame, Pixels, StreamId
from models.parts import eva_vit
from models.parts.asking import Answering, told
from models.parts.banked_context import Banks, Memory
from models.parts.decoding import spell
from models.parts.eva_vit import EvaConfig, EvaVit, seen
from models.parts.exhibits import Shot
from models.parts.generation import Beams, Decoding, answer_loss, generate, search
from models.parts.llama_tokens import LlamaTokens
from models.parts.packed import pack
from models.parts.pixels import normalise, squash_clip
from models.parts.qformer import QFormer, QFormerConfig, Text
from models.parts.quantised import quantise
from models.parts.recollecting import Watched, opened, packed, resting_on, unpacked
from models.parts.sampling import evenly
from models.room import down_the_ladder
from models.weights import CPU, Hollow, KeyMap, LoadReport, Place, load

_LONGEST_TEXT = 50
"""Words of a caption or question that the authors keep."""

VICUNA_7B = {
    "vocab_size": 32001,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "rms_norm_eps": 1e-6,
}


@dataclass(frozen=True)
class MaLmmConfig:
    """The defaults are the published vicuna7b model."""

    vit: EvaConfig = field(default_factory=EvaConfig)
    qformer: QFormerConfig = field(default_factory=QFormerConfig)
    queries: int = 32
    frames: int = 120
    """Rows of the table of temporal positions. Later frames of an endless stream have the position of its last."""
    language: dict[str, Any] = field(default_factory=lambda: dict(VICUNA_7B))


KEYS = KeyMap(
    rules=(
        eva_vit.RULE,
        (r"^(model\.|lm_head\.)", r"llm_model.\1"),  # a Vicuna folder
    ),
    ignore=(
        *eva_vit.UNUSED,
        r"rotary_emb\.inv_freq$",  # older libraries saved what can be computed
        r"^Qformer\.cls\.",
    ),
    optional=(r"^image_pe\.weight$", r"position_ids$"),  # InstructBLIP, where training starts, has no positions in time
)
"""Official files, in this order: the ViT, the Vicuna folder, InstructBLIP's, and what MA-LMM trained on top."""


class MaLmm(nn.Module):
    """The module tree under its official names, and the steps from pixels to logits."""

    def __init__(self, config: MaLmmConfig) -> None:
        super().__init__()
        self.config = config
        width = config.vit.width
        self.visual_encoder = EvaVit(config.vit)
        self.ln_vision = nn.LayerNorm(width)
        self.query_tokens = nn.Parameter(torch.empty(1, config.queries, config.qformer.hidden))
        self.Qformer = QFormer(config.qformer)
        self.image_pe = nn.Embedding(config.frames, width, _weight=torch.zeros(config.frames, width))
        language = LlamaConfig(**config.language)
        self.llm_proj = nn.Linear(config.qformer.hidden, language.hidden_size)
        self.llm_model = LlamaForCausalLM(language)

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised pictures [B, 3, H, W] to visual tokens [B, N, C], not yet placed in time."""
        return seen(self.visual_encoder, self.ln_vision, pixels)

    def at(self, visual: Tensor, frame: int) -> Tensor:
        """Visual tokens [B, N, C] with the position of frame number `frame` (section 3.2.1, equation 1)."""
        placed: Tensor = visual + self.image_pe.weight[min(frame, self.config.frames - 1)]
        return placed

    def look(self, memory: Banks, visual: Tensor, text: Text, *, last: bool = False) -> Tensor:
        """One more frame [B, N, C], placed in time, through the Q-Former and into memory: rows [B, Q + L, hidden]."""
        memory.see(visual)
        queries = self.query_tokens.expand(len(visual), -1, -1)
        rows: Tensor = self.Qformer(queries, visual, text, memory.past, memory.sight)
        memory.settle(last=last)
        return rows

    def watch(self, memory: Banks, clip: Tensor, text: Text) -> Iterator[Tensor]:
        """A clip [B, 3, T, H, W] frame by frame: the Q-Former's rows [B, Q + L, hidden] after each."""
        frames = clip.shape[2]
        for frame in range(frames):
            visual = self.at(self.encode(clip[:, :, frame]), frame)
            yield self.look(memory, visual, text, last=frame == frames - 1)

    def look_once(self, clip: Tensor, text: Text) -> Tensor:
        """Without memory: every frame by itself, the same text for each: rows [B * T, Q + L, hidden]."""
        frames = clip.shape[2]
        pictures = clip.transpose(1, 2).flatten(0, 1)
        every = Text(text.ids.repeat_interleave(frames, dim=0), text.mask.repeat_interleave(frames, dim=0))
        queries = self.query_tokens.expand(len(pictures), -1, -1)
        rows: Tensor = self.Qformer(queries, self.encode(pictures), every)
        return rows

    def tell(self, rows: Tensor) -> Tensor:
        """The queries among the Q-Former's rows as tokens for the language model: [B, Q, hidden of the LLM]."""
        tokens: Tensor = self.llm_proj(rows[:, : self.config.queries])
        return tokens

    def recall(self, memory: Memory, text: Text) -> Tensor:
        """What a memory says about another text: its visual bank, entry by entry, through the Q-Former.

        As long as nothing had to be merged this is what watching the footage with that text would have given.
        """
        entries = memory.visual.entries()
        replay = Memory(entries.shape[1], cache_bytes=memory.cache_bytes)
        rows = [self.look(replay, entry, text) for entry in entries.unbind(1)]
        return rows[-1]

    def prompt(self, told: Tensor, text: Text) -> tuple[Tensor, Tensor]:
        """Embeddings [B, n + L, C] and mask of visual tokens [B, n, C] followed by a prompt."""
        words = self.llm_model.get_input_embeddings()(text.ids)
        mask = F.pad(text.mask, (told.shape[1], 0), value=1)
        return torch.cat([told.to(words.dtype), words], dim=1), mask

    def loss(self, told: Tensor, text: Text, labels: Tensor) -> Tensor:
        """Mean cross-entropy of `labels` int64 [B, L] (-100: not asked for) behind visual tokens [B, n, C]."""
        embeddings, mask = self.prompt(told, text)
        logits = self.llm_model(inputs_embeds=embeddings, attention_mask=mask, use_cache=False).logits
        return answer_loss(logits, F.pad(labels, (told.shape[1], 0), value=-100))


class MaLmmWords:
    """Both tokenizers: BERT's for the Q-Former, LLaMA's for the language model.

    The authors set LLaMA's tokens for beginning, end and unknown to "</s>": prompts begin with id 2.
    """

    BEGIN = 2

    def __init__(self, bert: Path, llama: Path, *, longest: int = 128) -> None:
        self.bert = BertWordPieceTokenizer(str(bert), lowercase=True)
        self.llama = LlamaTokens(llama, {})
        self.longest = longest
        self.pad = self.llama.size

    def instruction(self, texts: Sequence[str]) -> Text:
        """For the Q-Former: [CLS] ... [SEP], cut from the left, padded on the right."""
        rows = [self.bert.encode(text).ids for text in texts]
        return _padded([[row[0], *row[1:-1][-(self.longest - 2) :], row[-1]] for row in rows], 0, left=False)

    def prompt(self, texts: Sequence[str]) -> Text:
        """For the language model when it answers: padded on the left, between pictures and text."""
        return _padded([[self.BEGIN, *self.llama.encode(text)] for text in texts], self.pad, left=True)

    def lesson(self, texts: Sequence[str], answers: Sequence[str], *, longest: int = 256) -> tuple[Text, Tensor]:
        """For the language model when it learns: prompt, answer and end in one row, and labels for the answer only."""
        asked = [[self.BEGIN, *self.llama.encode(text)[-(self.longest - 1) :]] for text in texts]
        told = [[*self.llama.encode(answer), self.BEGIN][: longest - 1] for answer in answers]
        length = max(map(len, asked)) + max(map(len, told))
        text = _padded([a + b for a, b in zip(asked, told, strict=True)], self.pad, left=False, length=length)
        labels = text.ids.masked_fill(text.mask == 0, -100)
        for row, prompt in zip(labels, asked, strict=True):
            row[: len(prompt)] = -100
        return text, labels

    def spell(self, ids: Sequence[int]) -> str:
        """The answer in letters."""
        return self.llama.decode([i for i in ids if i > self.BEGIN]).strip()


def _padded(rows: Sequence[Sequence[int]], pad: int, *, left: bool, length: int = 0) -> Text:
    length = length or max(map(len, rows))
    ids, mask = torch.full((len(rows), length), pad), torch.zeros(len(rows), length, dtype=torch.int64)
    for index, row in enumerate(rows):
        place = slice(length - len(row), length) if left else slice(0, len(row))
        ids[index, place], mask[index, place] = torch.tensor(row), 1
    return Text(ids, mask)


def caption_text(text: str) -> str:
    """A caption as the authors clean it: lower case, punctuation to single blanks, at most 50 words."""
    text = re.sub(r"[.!\"()*#:;~]", " ", text.lower())
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return _first_words(text)


def question_text(question: str) -> str:
    """A question as the authors clean it: lower case, punctuation dropped but ? and , kept, at most 50 words."""
    return _first_words(re.sub(r"[.!\"()*#:;~]", "", question.lower()).rstrip(" "))


def _first_words(text: str) -> str:
    words = text.split(" ")
    return " ".join(words[:_LONGEST_TEXT]) if len(words) > _LONGEST_TEXT else text


def vqa_prompt(question: str) -> str:
    """What Q-Former and language model are both told when the task is a question."""
    return f"Question: {question_text(question)} Short answer:"


@dataclass(frozen=True)
class MaLmmOptions:
    """How the system is used.

    memory_length  frames the banks hold (the authors: 10 to 40)
    cache_bytes    what projected copies of the banks may take; None: all of them
    frames         pictures of an answer's evidence; official sampling repeats pictures where there are fewer
    answering      official means beam search as well; otherwise words come as they are found
    """

    memory_length: int = 20
    cache_bytes: int | None = None
    frames: int = 100
    answering: Answering = field(default_factory=lambda: Answering(longest=64))


FILES = (eva_vit.FILE, "llm/vicuna-7b", "instruct_blip_vicuna7b_trimmed.pth", "checkpoint_best.pth")
"""What is loaded, in this order, under the names it is published with; the last may be missing (zero-shot)."""


class MaLmmSystem:
    """MA-LMM behind the `VideoSystem` seam, and what only it can do: answer from a kept memory."""

    id = "ma-lmm"

    def __init__(self, model: MaLmm, words: MaLmmWords, options: MaLmmOptions = MaLmmOptions()) -> None:
        self.model = model.eval()
        self.words = words
        self.options = options
        self.report: LoadReport | None = None
        self._watching: dict[StreamId, Watched] = {}

    @classmethod
    def load(
        cls,
        folder: Path,
        config: MaLmmConfig | None = None,
        options: MaLmmOptions = MaLmmOptions(),
        *,
        place: Place = CPU,
    ) -> MaLmmSystem:
        """From a folder of the published files. Raises `NotFound` and `WrongWeights`."""
        with Hollow():
            model = MaLmm(config or MaLmmConfig())
        quantise(model.llm_model.model.layers, place.language)
        files = [folder / name for name in FILES if name != FILES[-1] or (folder / name).exists()]
        report = load(model, files, KEYS, place)
        pack(model.Qformer)  # it runs at every frame of a stream
        words = MaLmmWords(folder / "bert-base-uncased" / "vocab.txt", folder / FILES[1] / "tokenizer.model")
        system = cls(model, words, options)
        system.report = report
        return system

    def new_memory(self) -> Memory:
        return Memory(self.options.memory_length, cache_bytes=self.options.cache_bytes)

    @torch.no_grad()
    def remember(self, memory: Memory, picture: Pixels) -> None:
        """One more frame uint8 [H, W, 3] into the visual bank, which no question has a part in."""
        memory.see(self._placed(picture, memory.frames))
        memory.settle()

    def watch(self, frames: Sequence[Frame]) -> None:
        """More frames of any streams into what is remembered of each."""
        for frame in frames:
            self.remember(opened(self._watching, frame, self.new_memory()), frame.pixels)

    def recollect(self, stream: StreamId) -> Recollection | None:
        """What was watched of a stream since the last time; it begins anew. None when nothing was."""
        watched = self._watching.pop(stream, None)
        return None if watched is None else packed(stream, watched, self.report)

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        """Watch the pictures of the evidence in order of time with the question in mind, and say what it was.

        Where there is a recollection, and it was made with these weights, that is what it answers from.
        """
        if (kept := evidence.recollection) is not None:
            memory = unpacked(kept, self.report, self._device, self.options.cache_bytes)
            if memory is not None:
                return chain(self.answer_from(question, memory), (resting_on(evidence, kept),))
        shown = self.options.answering.look(evidence, self.options.frames)
        if self._official:
            shown = [shown[index] for index in evenly(len(shown), self.options.frames)]
        return told(partial(self._tell, vqa_prompt(question)), shown)

    def _tell(self, prompt: str, shown: Sequence[Shot]) -> Iterator[str]:
        text, memory = self._to(self.words.instruction([prompt])), self.new_memory()
        rows: Tensor = self.model.query_tokens
        with torch.no_grad():
            for number, shot in enumerate(shown):
                rows = self.model.look(memory, self._placed(shot.pixels, number), text)
        yield from self._speak(rows, prompt)

    def answer_from(self, question: str, memory: Memory) -> Iterator[str]:
        """Answer from a memory alone, long after the footage is gone. Raises `Invalid` for an empty one."""
        if not memory.frames:
            raise Invalid("There is nothing in this memory.", advice="Ask about a time that was watched.")
        prompt = vqa_prompt(question)
        yield from down_the_ladder(lambda _: self._tell_from(memory, prompt), pictures=1)

    def _tell_from(self, memory: Memory, prompt: str) -> Iterator[str]:
        with torch.no_grad():
            rows = self.model.recall(memory, self._to(self.words.instruction([prompt])))
        yield from self._speak(rows, prompt)

    def _placed(self, picture: Pixels, number: int) -> Tensor:
        clip = torch.from_numpy(picture.copy()).permute(2, 0, 1).unsqueeze(0)
        pixels = normalise(squash_clip(clip, self.model.config.vit.image_size))
        return self.model.at(self.model.encode(pixels.to(self._device)), number)

    def _speak(self, rows: Tensor, prompt: str) -> Iterator[str]:
        with torch.no_grad():
            embeddings, mask = self.model.prompt(self.model.tell(rows), self._to(self.words.prompt([prompt])))
        how = Decoding(max_length=self.options.answering.longest, first=1, min_length=1, repetition_penalty=1.5)
        if self._official:
            yield self.words.spell(search(self.model.llm_model, embeddings, mask, how, Beams())[0])
            return
        steps = generate(self.model.llm_model, embeddings, mask, how)
        yield from spell((int(step) for step in steps), self.words.llama)

    def _to(self, text: Text) -> Text:
        return Text(text.ids.to(self._device), text.mask.to(self._device))

    @property
    def _official(self) -> bool:
        return self.options.answering.sampling == "official"

    @property
    def _device(self) -> torch.device:
        return self.model.query_tokens.device
