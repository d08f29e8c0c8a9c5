import math

import pytest
import torch
from tests.training.conftest import group, policy

from memagent.errors import OptionError, StoppedError
from memagent.training.advantages import Totals, rows, token_weights
from memagent.training.learner import Learner, LearnerSettings
from memagent.training.objective import Objective


def some_rows(*seeds):
    groups = [group(seed) for seed in seeds]
    tokens = [one.tokens for one in groups]
    totals = Totals(groups=len(groups), tokens=sum(tokens), batch_tokens=sum(tokens))
    return rows(groups, token_weights(tokens, "group", totals))


def learner(made=None, **changes):
    return Learner(made or policy(), LearnerSettings(**{"lr": 1e-2, "warmup": 0, **changes}))


def after(found):
    return {name: parameter.detach().clone() for name, parameter in found.policy.trained.items()}


def test_micro_batches_and_sharing_change_nothing():
    weights = []
    for changes in ({}, {"most_columns": 100}, {"share": False}, {"share": False, "most_columns": 100}):
        found = learner(**changes)
        prepared = found.prepare(some_rows(1, 2, 3))
        found.score(prepared, found.policy.snapshot(), old=True)
        found.reinforce(prepared, Objective())
        weights.append(after(found))
    for other in weights[1:]:
        for name, value in weights[0].items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-6)


def test_at_the_first_update_the_ratio_is_one_and_the_kl_zero():
    found = learner()
    prepared = found.prepare(some_rows(1))
    found.score(prepared, found.policy.snapshot(), old=True)
    update = found.reinforce(prepared, Objective(kl=0.1))
    assert (update.clip_fraction, update.kl) == (0.0, pytest.approx(0.0, abs=1e-9))
    again = found.reinforce(prepared, Objective(kl=0.1))
    assert again.kl > 0


def test_the_reference_stands_in_for_its_pass_alone():
    found = learner()
    reference = {name: value + 0.1 for name, value in found.policy.snapshot().items()}
    before = after(found)
    prepared = found.prepare(some_rows(1))
    found.score(prepared, reference, old=True)
    assert all(torch.equal(before[name], value) for name, value in after(found).items())
    shifted = policy()
    for name, parameter in shifted.trained.items():
        parameter.data = reference[name]
    with torch.no_grad():
        for one in prepared:
            assert not torch.equal(one.reference, one.old)
            torch.testing.assert_close(one.reference, shifted.logprobs(one.layout))


def test_what_was_worth_more_becomes_likelier():
    found, experience = learner(lr=1e-3), some_rows(1, 2)
    prepared = found.prepare(experience)
    for _ in range(10):
        found.score(prepared, None, old=True)
        found.reinforce(prepared, Objective(kl=0.0))
    with torch.no_grad():
        gained = sum(
            float(((found.policy.logprobs(one.layout) - lp) * one.layout.advantages).sum())
            for one, lp in zip(prepared, [policy().logprobs(one.layout) for one in prepared], strict=True)
        )
    assert gained > 0


def test_imitation_raises_the_likelihood():
    found = learner()
    prepared = found.prepare(some_rows(1))
    losses = [found.imitate(prepared).loss for _ in range(8)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_rate_warms_up_and_stays():
    found = learner(lr=0.4, warmup=4)
    prepared = found.prepare(some_rows(1))
    rates = [found.imitate(prepared).lr for _ in range(6)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_gradients_are_clipped():
    found, free = learner(clip_norm=1e-3), learner(clip_norm=1e9)
    norms = []
    for one in (found, free):
        prepared = one.prepare(some_rows(1))
        steps = []
        original = one.optimizer.step
        one.optimizer.step = lambda original=original, one=one, steps=steps: (
            steps.append(math.sqrt(sum(float(p.grad.square().sum()) for p in one.policy.trained.values()))),
            original(),
        )
        norms.append((one.imitate(prepared).grad_norm, steps[0]))
    (told, used), (free_told, free_used) = norms
    assert told == pytest.approx(free_told) == pytest.approx(free_used) and used == pytest.approx(1e-3, rel=1e-3)


def test_what_is_not_finite_is_skipped_and_stops_when_it_persists():
    found = learner(patience=3)
    before = after(found)
    prepared = found.prepare(some_rows(1))
    found.score(prepared, None, old=True)
    good = prepared[0].old.clone()
    prepared[0].old[0] = -math.inf
    objective = Objective(kl=0.0)
    assert found.reinforce(prepared, objective).skipped and (found.steps, found.skipped) == (0, 1)
    assert all(torch.equal(before[name], value) for name, value in after(found).items())
    prepared[0].old = good
    assert not found.reinforce(prepared, objective).skipped
    prepared[0].old = torch.full_like(good, -math.inf)
    with pytest.raises(StoppedError, match="3 updates in a row were not finite"):
        for _ in range(3):
            found.reinforce(prepared, objective)
    assert found.skipped == 4


@pytest.mark.parametrize(
    ("changes", "name"), [({"lr": 0.0}, "lr"), ({"clip_norm": -1}, "clip_norm"), ({"warmup": -1}, "warmup")]
)
def test_settings_that_make_no_sense(changes, name):
    with pytest.raises(OptionError, match=name):
        learner(**changes)
