"""Floating-point operations of forward passes: the paper's formulae, and those of honest inference.

Pure functions of an architecture and counts of tokens. A multiplication and an addition are two operations. It does
not know which passes a reading takes.
"""

from __future__ import annotations

import math

from memagent.evaluation.cost.architecture import Architecture

# The paper's appendix (arXiv 2507.02259): tokens of the question and of the output, of a chunk, and of the prompts'
# wording in the first, the middle and the last pass.
QUESTION = OUTPUT = 1024
CHUNK = 5000
FRAME, ANSWER_FRAME = 200, 100


def paper_pass(model: Architecture, tokens: int) -> float:
    """One pass in the paper's convention, that of training: 6·N·s + 12·s²·d_head·n_heads·n_layers.

    N counts the embedding and the output head whole; attention is not halved for being causal.
    """
    dense = model.block_weights + 2 * model.head_weights
    return 6.0 * dense * tokens + 12.0 * tokens**2 * model.head_width * model.heads * model.layers


def paper_dense(model: Architecture, tokens: int) -> float:
    """The whole document in one pass of q + c + o."""
    return paper_pass(model, QUESTION + tokens + OUTPUT)


def paper_reading(model: Architecture, tokens: int) -> float:
    """(q + 200 + o), then ⌈c / C⌉ passes of (q + 200 + C + o), then (q + 100 + o)."""
    chunks = math.ceil(tokens / CHUNK)
    return (
        paper_pass(model, QUESTION + FRAME + OUTPUT)
        + chunks * paper_pass(model, QUESTION + FRAME + CHUNK + OUTPUT)
        + paper_pass(model, QUESTION + ANSWER_FRAME + OUTPUT)
    )


def prefill(model: Architecture, tokens: int, *, past: int = 0) -> float:
    """A prompt's `tokens` behind `past` tokens whose state is known; logits are made at its last position alone.

    2 operations a weight and token, and 4·d_head·n_heads·n_layers a pair of tokens that see each other (causal).
    """
    return 2.0 * model.block_weights * tokens + _attention(model, tokens, past) + 2.0 * model.head_weights


def decode(model: Architecture, tokens: int, *, past: int) -> float:
    """`tokens` one after the other behind `past` tokens, each with its logits."""
    return 2.0 * (model.block_weights + model.head_weights) * tokens + _attention(model, tokens, past)


def traffic(model: Architecture, tokens: int, *, past: int, value_bytes: int) -> float:
    """Bytes read to decode `tokens` one after the other: each step reads all active weights and the state."""
    weights = model.block_weights + model.head_weights
    pairs = _pairs(tokens, past)
    return float(value_bytes) * (weights * tokens + model.state_values * pairs)


def _attention(model: Architecture, tokens: int, past: int) -> float:
    return 4.0 * model.head_width * model.heads * model.layers * _pairs(tokens, past)


def _pairs(tokens: int, past: int) -> int:
    """How many earlier tokens, itself among them, all of `tokens` see."""
    return tokens * past + tokens * (tokens + 1) // 2
