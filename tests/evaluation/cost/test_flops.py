"""The formulae against sums over single tokens, and against the paper's figures."""

import pytest

from memagent.evaluation.cost.architecture import architecture, of_config
from memagent.evaluation.cost.flops import decode, paper_dense, paper_pass, paper_reading, prefill, traffic

SMALL = of_config(
    {
        "hidden_size": 8,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 20,
        "vocab_size": 30,
    },
    name="small",
)
PROJECTIONS = 8 * 8 + 2 * 8 * 4 + 8 * 8  # queries; keys and values of one head of 4; back
BLOCK = 3 * (PROJECTIONS + 3 * 8 * 20)
HEAD = 30 * 8


def one_token(context, *, logits):
    """A forward pass of one token that sees `context` tokens, itself among them."""
    scores_and_sums = 2 * (2 * 4 * context) * 2 * 3  # two products of width 4 a pair, two heads, three layers
    return 2 * BLOCK + scores_and_sums + (2 * HEAD if logits else 0)


@pytest.mark.parametrize(("tokens", "past"), [(1, 0), (7, 0), (5, 9)])
def test_a_prompt_is_the_sum_of_its_tokens(tokens, past):
    summed = sum(one_token(past + at + 1, logits=at == tokens - 1) for at in range(tokens))
    assert prefill(SMALL, tokens, past=past) == pytest.approx(summed)


def test_a_prompt_in_two_parts_costs_one_more_output():
    assert prefill(SMALL, 12) + 2 * HEAD == pytest.approx(prefill(SMALL, 5) + prefill(SMALL, 7, past=5))


def test_decoding_is_the_sum_of_its_steps():
    assert decode(SMALL, 6, past=10) == pytest.approx(sum(one_token(10 + at + 1, logits=True) for at in range(6)))
    read = sum(2 * (BLOCK + HEAD) + 2 * (2 * 3 * 4) * (10 + at + 1) for at in range(6))
    assert traffic(SMALL, 6, past=10, value_bytes=2) == pytest.approx(read)
    assert decode(SMALL, 0, past=10) == traffic(SMALL, 0, past=10, value_bytes=2) == 0


def test_the_real_models_operations_as_torch_counts_them():
    import torch
    from tests.models import tiny
    from torch.utils.flop_counter import FlopCounterMode

    model, tokens = tiny.torch_model(tiny.weights()), 40
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.arange(3, 3 + tokens)[None], logits_to_keep=1)
    ours = of_config(tiny.CONFIG, name="tiny")
    # Eager attention computes all pairs, ours only those that see each other.
    pairs = 4.0 * ours.head_width * ours.heads * ours.layers * (tokens**2 - tokens * (tokens + 1) / 2)
    assert counter.get_total_flops() == pytest.approx(prefill(ours, tokens) + pairs, rel=1e-9)


def test_the_papers_figures():
    """The appendix of arXiv 2507.02259, in the training convention: 7B at 4M tokens, and about the crossing."""
    model, length = architecture("qwen2.5-7b"), 4 * 1024**2
    assert 2.1e19 <= paper_dense(model, length) <= 2.2e19
    assert paper_reading(model, length) == pytest.approx(3.3e17, rel=0.01)
    assert paper_dense(model, length) / paper_reading(model, length) == pytest.approx(65, abs=1)
    assert paper_reading(model, 8192) > paper_dense(model, 8192)


def test_the_papers_formulae_by_hand():
    """SMALL has 6·N·s + 12·s²·d_head·n_heads·n_layers with N = blocks + embedding + head."""
    assert paper_pass(SMALL, 10) == 6 * (BLOCK + 2 * HEAD) * 10 + 12 * 100 * 4 * 2 * 3
    assert paper_dense(SMALL, 500) == paper_pass(SMALL, 1024 + 500 + 1024)
    for tokens, chunks in ((1, 1), (5000, 1), (5001, 2), (12_345, 3)):
        middle = chunks * paper_pass(SMALL, 1024 + 200 + 5000 + 1024)
        ends = paper_pass(SMALL, 1024 + 200 + 1024) + paper_pass(SMALL, 1024 + 100 + 1024)
        assert paper_reading(SMALL, tokens) == pytest.approx(ends + middle)
