"""Generation from embeddings as transformers did it when these systems were published (4.28): greedy, sampling, beams.

Written out because the published numbers depend on details that later versions changed: whether a first token that
was never said counts, how the scores of hypotheses of different lengths compare, and when a beam search may stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Decoding:
    """How an answer is generated. Lengths count tokens, `first` included where there is one.

    first    an id that the authors' library put before the answer: counted in lengths and by the repetition penalty
    stops    sequences of ids that end the answer, looked for in the first row only
    sample   draw from the `top_k` best that make up `top_p` of the probability, instead of taking the best
    """

    max_length: int
    end: int = 2
    pad: int = 0
    first: int | None = None
    stops: tuple[tuple[int, ...], ...] = ()
    repetition_penalty: float = 1.0
    min_length: int = 0
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class Beams:
    """Beam search: how many, how much longer answers are preferred, how many of the best are returned."""

    count: int = 5
    length_penalty: float = 1.0
    returned: int = 1


@dataclass
class Context:
    """A language model that has read its prompt and goes on from there; shared by all rows of a batch."""

    model: nn.Module
    mask: Tensor
    """1 where there is something to attend to, [B, T]."""
    cache: Any = field(default=None)

    @torch.no_grad()
    def read(self, embeddings: Tensor) -> Tensor:
        """The prompt, [B, T, C]: logits [B, V] of what comes next. Positions count what is not padding."""
        positions = (self.mask.long().cumsum(-1) - 1).masked_fill(self.mask == 0, 1)
        return self._forward(inputs_embeds=embeddings, position_ids=positions)

    @torch.no_grad()
    def go_on(self, tokens: Tensor) -> Tensor:
        """One more token per row, [B]: logits [B, V]."""
        self.mask = F.pad(self.mask, (0, 1), value=1)
        positions = self.mask.long().sum(-1, keepdim=True) - 1
        return self._forward(input_ids=tokens.unsqueeze(1), position_ids=positions)

    def select(self, rows: Tensor) -> None:
        """Continue with these rows, which may repeat."""
        self.mask = self.mask[rows]
        self.cache.batch_select_indices(rows)

    def _forward(self, **inputs: Tensor) -> Tensor:
        result = self.model(
            **inputs, attention_mask=self.mask, past_key_values=self.cache, use_cache=True, logits_to_keep=1
        )
        self.cache = result.past_key_values
        logits: Tensor = result.logits[:, -1].float()
        return logits


def generate(model: nn.Module, embeddings: Tensor, mask: Tensor, how: Decoding) -> Iterator[Tensor]:
    """The next token of every row, int64 [B], step by step; rows that have ended give `pad`.

    Closing the iterator stops the work.
    """
    context = Context(model, mask)
    said = _beginning(len(embeddings), how, embeddings.device)
    going = torch.ones(len(embeddings), dtype=torch.bool, device=embeddings.device)
    logits = context.read(embeddings)
    while said.shape[1] < how.max_length:
        tokens = _choose(_processed(logits, said, how), how).where(going, how.pad)
        yield tokens
        said = torch.cat([said, tokens.unsqueeze(1)], dim=1)
        going = going & (tokens != how.end)
        if not going.any() or _stopped(said[0].tolist(), how.stops):
            return
        logits = context.go_on(tokens)


def collect(model: nn.Module, embeddings: Tensor, mask: Tensor, how: Decoding) -> Tensor:
    """All that `generate` says, with `first` where there is one, int64 [B, n]."""
    steps = list(generate(model, embeddings, mask, how))
    return torch.cat([_beginning(len(embeddings), how, embeddings.device), torch.stack(steps, dim=1)], dim=1)


def _beginning(rows: int, how: Decoding, device: torch.device) -> Tensor:
    start = [] if how.first is None else [how.first]
    return torch.tensor([start] * rows, dtype=torch.int64, device=device).view(rows, len(start))


def _stopped(said: list[int], stops: tuple[tuple[int, ...], ...]) -> bool:
    return any(tuple(said[-len(stop) :]) == stop for stop in stops)


def _processed(scores: Tensor, said: Tensor, how: Decoding) -> Tensor:
    """Scores [B, V] with what was said made less likely (Keskar et al. 2019, §4.1), and no end before `min_length`."""
    if how.repetition_penalty != 1.0:
        repeated = scores.gather(1, said)
        penalised = torch.where(repeated < 0, repeated * how.repetition_penalty, repeated / how.repetition_penalty)
        scores = scores.scatter(1, said, penalised)
    if said.shape[1] < how.min_length:
        scores = scores.index_fill(1, torch.tensor([how.end], device=scores.device), -torch.inf)
    return scores


def _choose(scores: Tensor, how: Decoding) -> Tensor:
    """One token per row, [B]."""
    if not how.sample:
        return scores.argmax(dim=-1)
    scores = scores / how.temperature
    least = scores.topk(min(how.top_k, scores.shape[-1])).values[:, -1:]
    scores = scores.masked_fill(scores < least, -torch.inf)
    if how.top_p < 1.0:
        ascending, ids = scores.sort(dim=-1)
        tail = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1.0 - how.top_p
        tail[:, -1] = False
        scores = scores.masked_fill(tail.scatter(1, ids, tail), -torch.inf)
    return torch.multinomial(scores.softmax(dim=-1), 1, generator=how.generator).squeeze(1)


def answer_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of what comes next: logits [B, L, V], labels int64 [B, L], -100 where nothing is asked for."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100)


class _Hypotheses:
    """The best finished answers of one row: (score, ids), the score being log-probability / length ** penalty."""

    def __init__(self, beams: Beams) -> None:
        self.beams = beams
        self.best: list[tuple[float, list[int]]] = []
        self.done = False

    def add(self, ids: list[int], log_probability: float) -> None:
        score = log_probability / max(len(ids), 1) ** self.beams.length_penalty
        if len(self.best) == self.beams.count:
            if score <= self.worst:
                return
            self.best.remove(min(self.best, key=lambda hypothesis: hypothesis[0]))
        self.best.append((score, ids))

    @property
    def worst(self) -> float:
        return min(score for score, _ in self.best)

    def settle(self, attainable: float, length: int) -> None:
        """Done when nothing that goes on could become better than the worst that has ended."""
        full = len(self.best) == self.beams.count
        self.done = full and self.worst >= attainable / length**self.beams.length_penalty

    def chosen(self) -> list[list[int]]:
        order = sorted(range(len(self.best)), key=lambda index: (self.best[index][0], index), reverse=True)
        return [self.best[index][1] for index in order[: self.beams.returned]]


def search(model: nn.Module, embeddings: Tensor, mask: Tensor, how: Decoding, beams: Beams) -> list[list[int]]:
    """The best answers of each row, best first: B * `beams.returned` lists of ids, `first` and end left as they are."""
    rows, count = len(embeddings), beams.count
    context = Context(model, mask)
    logits = context.read(embeddings).repeat_interleave(count, dim=0)
    context.select(torch.arange(rows, device=mask.device).repeat_interleave(count))
    said = _beginning(rows * count, how, mask.device)
    scores = torch.zeros(rows, count, device=mask.device)
    scores[:, 1:] = -1e9  # all beams begin alike: only the first may speak
    finished = [_Hypotheses(beams) for _ in range(rows)]
    while True:
        told = _processed(logits.log_softmax(dim=-1), said, how) + scores.view(-1, 1)
        candidates = told.view(rows, -1).topk(2 * count, dim=1)
        scores, tokens, sources = _advance(candidates, said, logits.shape[-1], finished, how)
        said = torch.cat([said[sources], tokens.unsqueeze(1)], dim=1)
        if all(row.done for row in finished) or said.shape[1] >= how.max_length:
            break
        context.select(sources)
        logits = context.go_on(tokens)
    for index, row in enumerate(finished):
        for beam in range(0 if row.done else count):
            row.add(said[index * count + beam].tolist(), float(scores[index, beam]))
    return [ids + [how.end] * (len(ids) < how.max_length) for row in finished for ids in row.chosen()]


def _advance(
    candidates: Any, said: Tensor, vocabulary: int, finished: list[_Hypotheses], how: Decoding
) -> tuple[Tensor, Tensor, Tensor]:
    """Sort each row's candidates into answers that end here and beams that go on.

    Scores [B, beams], and tokens and the beams they continue [B * beams].
    """
    count = finished[0].beams.count
    scores = torch.zeros(len(finished), count, device=said.device)
    tokens = torch.full((len(finished), count), how.pad, device=said.device)
    sources = torch.zeros(len(finished), count, dtype=torch.int64, device=said.device)
    length = said.shape[1]
    for index, row in enumerate(finished):
        if row.done:
            continue
        going = 0
        ranked = zip(candidates.values[index].tolist(), candidates.indices[index].tolist(), strict=True)
        for rank, (score, choice) in enumerate(ranked):
            source, token = index * count + choice // vocabulary, choice % vocabulary
            if token == how.end and rank < count:
                row.add(said[source].tolist(), score)
            elif token != how.end and going < count:
                scores[index, going], tokens[index, going], sources[index, going] = score, token, source
                going += 1
            if going == count:
                break
        length += 1  # once per row that goes on, not once: so the library of the time counted
        row.settle(float(candidates.values[index].max()), length)
    return scores, tokens.view(-1), sources.view(-1)
