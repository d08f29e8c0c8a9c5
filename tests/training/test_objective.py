"""The objective against the loop-written oracle, and by finite differences."""

import random

import pytest
import torch
from tests.training import oracle
from tests.training.conftest import group

from memagent.training.advantages import Totals, group_advantages, rows, token_weights
from memagent.training.experience import Conversation, Group, Rollout
from memagent.training.objective import PUBLISHED, Objective, k3, policy_terms, surrogate

SEEDS = (1, 2, 3)


class Problem:
    """Random groups, and random log-probabilities for each of their tokens under four names."""

    def __init__(self, seed):
        self.groups = [group(10 * seed + number, rollouts=random.Random(seed).randint(2, 5)) for number in range(3)]
        rng = random.Random(seed)
        self.nats = {
            name: [
                [[[-3 * rng.random() for _ in c.completion] for c in r.conversations] for r in g.rollouts]
                for g in self.groups
            ]
            for name in ("new", "old", "reference", "sampler")
        }
        self.shape = [
            (list(g.rewards), [[len(c.completion) for c in r.conversations] for r in g.rollouts]) for g in self.groups
        ]
        self.tokens = [g.tokens for g in self.groups]

    def flat(self, name):
        return torch.tensor([t for g in self.nats[name] for r in g for c in r for t in c], dtype=torch.float64)

    def ours(self, objective, mode, std=False, batch=None, new=None):
        tokens, updates = batch or (sum(self.tokens), 1)
        totals = Totals(groups=3, tokens=sum(self.tokens), batch_tokens=tokens, updates=updates)
        found = rows(self.groups, token_weights(self.tokens, mode, totals), divide_by_std=std)
        spread = {
            name: torch.tensor(
                [getattr(r, name) for r in found for _ in r.conversation.completion], dtype=torch.float64
            )
            for name in ("advantage", "weight")
        }
        given = self.flat("new") if new is None else new
        return policy_terms(
            given, self.flat("old"), spread["advantage"], spread["weight"], objective,
            reference=self.flat("reference"), sampler=self.flat("sampler"),
        )  # fmt: skip

    def theirs(self, **settings):
        return oracle.loss(
            self.shape,
            self.nats["new"],
            self.nats["old"],
            self.nats["reference"],
            sampler=self.nats["sampler"],
            **settings,
        )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("std", [False, True])
@pytest.mark.parametrize("mode", ["group", "batch", "global"])
def test_the_loss_is_the_papers(seed, mode, std):
    problem, batch = Problem(seed), (1000, 4)
    ours = problem.ours(Objective(kl=0.01), mode, std, batch).loss
    theirs = problem.theirs(low=0.2, high=0.28, beta=0.01, mode=mode, std=std, batch=batch)
    assert float(ours) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_published_scripts_variant(seed):
    """Symmetric clip, dual clip 3, mean of the rank's tokens: with one rank that of the batch."""
    problem = Problem(seed)
    ours = problem.ours(PUBLISHED, "rank").loss
    assert float(ours) == pytest.approx(problem.theirs(low=0.2, high=0.2, beta=1e-3, mode="batch", dual=3.0), rel=1e-9)
    assert float(ours) != pytest.approx(problem.theirs(low=0.2, high=0.2, beta=1e-3, mode="batch"), rel=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_truncated_importance_weights(seed):
    problem = Problem(seed)
    ours = problem.ours(Objective(importance_cap=1.5, kl=0.0), "group").loss
    theirs = problem.theirs(low=0.2, high=0.28, beta=0.0, mode="group", cap=1.5)
    assert float(ours) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(
    "objective", [Objective(kl=0.05), Objective(kl=0.05, dual_clip=2.0, importance_cap=2.0), PUBLISHED]
)
def test_gradients_are_those_of_finite_differences(objective):
    problem = Problem(5)
    new = problem.flat("new").requires_grad_()
    problem.ours(objective, "group", new=new).loss.backward()
    step = 1e-6
    for at in range(len(new)):
        up, down = new.detach().clone(), new.detach().clone()
        up[at] += step
        down[at] -= step
        difference = problem.ours(objective, "group", new=up).loss - problem.ours(objective, "group", new=down).loss
        assert float(new.grad[at]) == pytest.approx(float(difference) / (2 * step), abs=1e-6)


def test_where_the_clip_decides_there_is_no_gradient():
    ratio = torch.tensor([0.5, 0.79, 0.81, 1.0, 1.27, 1.29, 3.5], requires_grad=True)
    for sign, expected in ((1.0, [0, 0, 0, 0, 0, 1, 1]), (-1.0, [1, 1, 0, 0, 0, 0, 0])):
        gain, clipped = surrogate(ratio, torch.tensor(sign), Objective())
        assert clipped.int().tolist() == expected
        (gradient,) = torch.autograd.grad(gain.sum(), ratio)
        assert (gradient == 0).int().tolist() == expected
    _, clipped = surrogate(ratio, torch.tensor(-1.0), Objective(dual_clip=3.0))
    assert clipped.int().tolist() == [1, 1, 0, 0, 0, 0, 1]


def test_at_the_first_update_the_gradient_is_the_policy_gradient():
    problem = Problem(7)
    problem.nats["old"] = problem.nats["new"]
    new = problem.flat("new").requires_grad_()
    terms = problem.ours(Objective(kl=0.0), "batch", new=new)
    terms.loss.backward()
    worth = [
        value
        for g in problem.groups
        for r, value in zip(g.rollouts, oracle.advantages(list(g.rewards)), strict=True)
        for _ in range(r.tokens)
    ]
    assert new.grad.tolist() == pytest.approx([-value / sum(problem.tokens) for value in worth])
    assert int(terms.clipped) == 0


def test_kl_is_never_negative_and_zero_only_where_equal():
    logprobs = torch.linspace(-5, 0, 50)
    found = k3(logprobs, torch.full((50,), -2.0))
    assert bool((found >= 0).all()) and float(k3(logprobs, logprobs).abs().max()) == 0


def test_missing_logprobs_are_said():
    nats = torch.zeros(2)
    with pytest.raises(ValueError, match="reference"):
        policy_terms(nats, nats, nats, nats, Objective())
    with pytest.raises(ValueError, match="sampler"):
        policy_terms(nats, nats, nats, nats, Objective(kl=0.0, importance_cap=2.0))


@pytest.mark.parametrize("rewards", [[0, 1, 1, 0], [0.25, 1.0, 0.5], [1.0, 1.0], [0.3]])
@pytest.mark.parametrize("std", [False, True])
def test_advantages(rewards, std):
    if len(rewards) > 1 or not std:
        assert group_advantages(rewards, divide_by_std=std) == pytest.approx(oracle.advantages(rewards, std))
    assert sum(group_advantages(rewards, divide_by_std=std)) == pytest.approx(0.0)


def long_and_short():
    """Two rollouts, one of ten conversations and one of two."""

    def rollout(conversations, reward):
        one = Conversation(prompt=(1, 2), completion=(3, 4), logprobs=(-1.0, -1.0))
        return Rollout(conversations=(one,) * conversations, reward=reward)

    return Group(problem="p", task="t", rollouts=(rollout(10, 1.0), rollout(2, 0.0)))


def test_a_long_rollout_counts_once_in_the_mean():
    """Were advantages worked out over conversations, the mean would be 10/12 and not a half."""
    found = rows([long_and_short()], [1.0])
    assert [row.advantage for row in found] == [0.5] * 10 + [-0.5] * 2


def test_ranks_add_up_to_the_whole():
    """Two ranks with a group each give the weights of one process with both."""
    totals = Totals(groups=2, tokens=30, batch_tokens=90, updates=3, ranks=2)
    for mode, expected in (
        ("group", [1 / 20, 1 / 40]),
        ("batch", [1 / 30] * 2),
        ("global", [1 / 30] * 2),
        ("rank", [1 / 20, 1 / 40]),
    ):
        apart = [token_weights([10], mode, totals)[0], token_weights([20], mode, totals)[0]]
        assert apart == pytest.approx(expected)
        if mode != "rank":
            assert token_weights([10, 20], mode, totals) == pytest.approx(expected)


def test_records_that_make_no_sense():
    with pytest.raises(ValueError, match="log-probability"):
        Conversation(prompt=(1,), completion=(2, 3), logprobs=(-1.0,))
    with pytest.raises(ValueError, match="at least one id"):
        Conversation(prompt=(1,), completion=(), logprobs=())
    with pytest.raises(ValueError, match="of its own"):
        Conversation(prompt=(1, 2), completion=(3,), logprobs=(-1.0,), shared=2)
