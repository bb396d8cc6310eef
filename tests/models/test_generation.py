"""Generation against transformers where both mean the same, and against brute force for beams."""

from __future__ import annotations

import itertools

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from models.parts.generation import Beams, Decoding, collect, generate, search


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    torch.manual_seed(4)
    config = LlamaConfig(vocab_size=9, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def prompt_of(llama: LlamaForCausalLM, rows: int = 1, length: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(rows)
    return torch.randn(rows, length, llama.config.hidden_size), torch.ones(rows, length, dtype=torch.int64)


@pytest.mark.filterwarnings("ignore:Passing .repetition_penalty. with .inputs_embeds.")
@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_greedy_is_what_transformers_generates(llama: LlamaForCausalLM, penalty: float) -> None:
    embeddings, mask = prompt_of(llama, rows=3)
    mask[1, :2] = 0  # left padding shifts positions
    official = llama.generate(
        inputs_embeds=embeddings,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=12,
        repetition_penalty=penalty,
        eos_token_id=2,
        pad_token_id=0,
    )
    ours = collect(llama, embeddings, mask, Decoding(max_length=12, repetition_penalty=penalty))
    assert ours.tolist() == official.tolist()


def log_probability(llama: LlamaForCausalLM, embeddings: torch.Tensor, ids: tuple[int, ...]) -> float:
    words = llama.get_input_embeddings()(torch.tensor([ids]))
    with torch.no_grad():
        logits = llama(inputs_embeds=torch.cat([embeddings, words], dim=1)).logits[0, embeddings.shape[1] - 1 :]
    steps = logits.log_softmax(-1)
    return sum(float(steps[index, token]) for index, token in enumerate(ids))


def test_enough_beams_find_the_most_probable_answer(llama: LlamaForCausalLM) -> None:
    """With as many beams as there are continuations, the search is exhaustive."""
    embeddings, mask = prompt_of(llama)
    words = [token for token in range(9) if token != 2]
    found = search(
        llama, embeddings, mask, Decoding(max_length=3, end=2), Beams(count=64, length_penalty=0.0, returned=5)
    )
    whole = list(itertools.product(words, repeat=3))
    ended = [(*ids, 2) for length in (1, 2) for ids in itertools.product(words, repeat=length)]
    best = sorted([*whole, *ended, (2,)], key=lambda ids: -log_probability(llama, embeddings, ids))
    assert found[0] == list(best[0])


def test_minimum_and_maximum_length(llama: LlamaForCausalLM) -> None:
    embeddings, mask = prompt_of(llama)
    favourite = int(collect(llama, embeddings, mask, Decoding(max_length=1))[0, 0])
    ended = collect(llama, embeddings, mask, Decoding(max_length=8, end=favourite))
    assert ended.tolist() == [[favourite]]
    longer = collect(llama, embeddings, mask, Decoding(max_length=8, end=favourite, min_length=8))
    assert longer.shape == (1, 8)
    assert favourite not in longer
    counted = collect(llama, embeddings, mask, Decoding(max_length=8, end=99, first=1))
    assert counted.shape == (1, 8)
    assert counted[0, 0] == 1


def test_a_sequence_of_ids_stops_the_answer(llama: LlamaForCausalLM) -> None:
    embeddings, mask = prompt_of(llama)
    whole = collect(llama, embeddings, mask, Decoding(max_length=10, end=99))[0].tolist()
    stopped = collect(llama, embeddings, mask, Decoding(max_length=10, end=99, stops=(tuple(whole[3:5]),)))[0].tolist()
    assert stopped == whole[: len(stopped)]
    assert stopped[-2:] == whole[3:5]


def test_sampling_stays_within_the_nucleus_and_repeats_with_its_seed(llama: LlamaForCausalLM) -> None:
    embeddings, mask = prompt_of(llama)
    with torch.no_grad():
        probabilities = llama(inputs_embeds=embeddings).logits[0, -1].softmax(-1).sort(descending=True)
    nucleus = int((probabilities.values.cumsum(0) < 0.6).sum()) + 1
    allowed = set(probabilities.indices[:nucleus].tolist())
    draws = []
    for seed in range(40):
        how = Decoding(max_length=1, end=99, sample=True, top_p=0.6, generator=torch.Generator().manual_seed(seed))
        draws.append(int(collect(llama, embeddings, mask, how)))
    assert set(draws) == allowed
    again = Decoding(max_length=1, end=99, sample=True, top_p=0.6, generator=torch.Generator().manual_seed(0))
    assert int(collect(llama, embeddings, mask, again)) == draws[0]


def test_closing_the_stream_stops_the_model(llama: LlamaForCausalLM) -> None:
    embeddings, mask = prompt_of(llama)
    calls = []
    handle = llama.register_forward_hook(lambda *_: calls.append(1))
    try:
        stream = generate(llama, embeddings, mask, Decoding(max_length=50, end=99))
        next(stream)
        next(stream)
        stream.close()
    finally:
        handle.remove()
    assert len(calls) == 2
