"""Shared prefixes give the losses and gradients of the plain computation."""

from dataclasses import replace

import pytest
import torch
from tests.training.conftest import group, policy

from memagent.training.advantages import Totals, rows, token_weights
from memagent.training.objective import Objective, policy_terms
from memagent.training.packing import Tree, lay_out, micro_batches, trees


def all_rows(seeds):
    groups = [group(seed) for seed in seeds]
    tokens = [one.tokens for one in groups]
    totals = Totals(groups=len(groups), tokens=sum(tokens), batch_tokens=sum(tokens))
    return rows(groups, token_weights(tokens, "group", totals))


def by_conversation(found):
    """Log-probabilities of each conversation, whatever order they were computed in."""
    sorted_rows = {}
    for layout, logprobs in found:
        at = 0
        for row in layout.rows:
            count = len(row.conversation.completion)
            sorted_rows[row.conversation.prompt, row.conversation.completion] = logprobs[at : at + count]
            at += count
    return sorted_rows


def computed(made, batches):
    return [(layout, made.logprobs(layout)) for layout in map(lay_out, batches)]


def plain(made, row):
    """One conversation by itself, by the model's own forward pass."""
    ids = torch.tensor([[*row.conversation.prompt, *row.conversation.completion]])
    logits = made.model(ids).logits[0].log_softmax(-1)
    first = len(row.conversation.prompt) - 1
    return torch.stack([logits[first + at, token] for at, token in enumerate(row.conversation.completion)])


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("most_columns", [60, 300, 5000])
def test_logprobs_are_those_of_single_conversations(share, most_columns):
    made, found = policy(), all_rows([1, 2, 3])
    batches = micro_batches(trees(found, share=share, most_columns=most_columns), most_columns=most_columns)
    with torch.no_grad():
        ours = by_conversation(computed(made, batches))
        for row in found:
            torch.testing.assert_close(
                ours[row.conversation.prompt, row.conversation.completion], plain(made, row), rtol=1e-5, atol=1e-5
            )
    assert len(ours) == len(found) == sum(len(tree.rows) for batch in batches for tree in batch)


def test_rows_without_a_prefix_stay_apart():
    """They have nothing in common: together they would need a mask, and compute what nobody asks for."""
    groups = [group(seed, shared=False) for seed in (1, 2)]
    found = rows(groups, [1.0, 1.0])
    assert [tree.rows for tree in trees(found, share=True, most_columns=5000)] == [(row,) for row in found]


def gradients(made, loss):
    for parameter in made.trained.values():
        parameter.grad = None
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in made.trained.items()}


@pytest.mark.parametrize("rank", [0, 4])
def test_loss_and_gradients_are_those_of_the_plain_computation(rank):
    made, found = policy(rank), all_rows([4, 5])
    objective = Objective(kl=0.0)
    torch.manual_seed(3)
    old = {id(row): torch.randn(len(row.conversation.completion)) * 0.2 for row in found}

    def loss(layout, logprobs):
        before = logprobs.detach() + torch.cat([old[id(row)] for row in layout.rows])
        return policy_terms(logprobs, before, layout.advantages, layout.weights, objective).loss

    shared = micro_batches(trees(found, share=True, most_columns=5000), most_columns=5000)
    assert max(len(tree.rows) for batch in shared for tree in batch) > 1
    ours = sum(loss(layout, logprobs) for layout, logprobs in computed(made, shared))
    ours_gradients = gradients(made, ours)
    theirs = sum(loss(lay_out([Tree((), (row,))]), plain(made, row)) for row in found)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)
    largest = max(gradient.abs().max() for gradient in ours_gradients.values())
    for name, gradient in gradients(made, theirs).items():
        torch.testing.assert_close(ours_gradients[name], gradient, rtol=1e-5, atol=1e-5 * float(largest))


def test_a_first_token_may_weigh_otherwise():
    found = [replace(row, weight=0.5, first=2.0 if number % 2 else None) for number, row in enumerate(all_rows([1]))]
    for batch in micro_batches(trees(found, share=True, most_columns=300), most_columns=300):
        layout = lay_out(batch)
        expected = [
            weight
            for row in layout.rows
            for weight in [0.5 if row.first is None else 2.0] + [0.5] * (len(row.conversation.completion) - 1)
        ]
        assert layout.weights.tolist() == expected


def test_what_is_shared_is_computed_once():
    found = all_rows([7])
    shared, apart = (trees(found, share=share, most_columns=10_000) for share in (True, False))
    assert len({row.conversation.prefix for row in found}) == len(shared)
    once = sum(len(prefix) for prefix in {row.conversation.prefix for row in found if _is_shared(row, found)})
    own = sum(
        len(row.conversation.prompt) - (row.conversation.shared if _is_shared(row, found) else 0) for row in found
    )
    tails = sum(len(row.conversation.completion) - 1 for row in found)
    assert sum(tree.columns for tree in shared) == once + own + tails
    assert sum(tree.plain_columns for tree in shared) == sum(tree.columns for tree in apart)


def _is_shared(row, found):
    return sum(other.conversation.prefix == row.conversation.prefix for other in found) > 1


def test_micro_batches_keep_their_budget():
    found = all_rows(range(10))
    batches = micro_batches(trees(found, share=True, most_columns=200), most_columns=400)
    layouts = [lay_out(batch) for batch in batches]
    assert all(layout.ids.numel() <= 400 for layout in layouts)
    assert len({layout.ids.shape for layout in layouts}) < 20
    assert sum(len(layout.targets) for layout in layouts) == sum(
        len(r.conversation.completion) for r in all_rows(range(10))
    )


def test_bf16_is_close():
    found = all_rows([1, 2])
    exact, rough = policy(size=0.3), policy(size=0.3, precision="bf16")
    batches = micro_batches(trees(found, share=True, most_columns=5000), most_columns=5000)
    with torch.no_grad():
        one, other = (by_conversation(computed(made, batches)) for made in (exact, rough))
    differences = torch.cat([one[key] - other[key] for key in one])
    assert 0 < differences.abs().mean() < 0.01 and other[next(iter(other))].dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in rough.trained.values())


@pytest.mark.parametrize("rank", [0, 4])
def test_activations_may_be_computed_again(rank):
    found = all_rows([6])
    layout = lay_out(micro_batches(trees(found, share=True, most_columns=5000), most_columns=5000)[0])
    one, other = policy(rank), policy(rank, checkpoint_activations=True)
    for name, gradient in gradients(one, one.logprobs(layout).sum()).items():
        torch.testing.assert_close(other_gradients(other, layout)[name], gradient, rtol=1e-5, atol=1e-6)


def other_gradients(made, layout):
    return gradients(made, made.logprobs(layout).sum())
