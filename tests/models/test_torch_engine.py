import collections
import itertools
import math
import random

import pytest
from tests.models import tiny

from memagent.models.base import Sampling
from memagent.models.engines.base import Job
from memagent.models.engines.rows import bucket
from memagent.models.engines.torch import TorchBackend


@pytest.fixture(scope="module")
def model():
    return tiny.torch_model(tiny.weights())


def backend(model, end_ids=(2,), **settings) -> TorchBackend:
    return TorchBackend(model, end_ids=end_ids, **{"kept_tokens": 10_000, **settings})


def run(backend, *jobs):
    for key, job in enumerate(jobs):
        backend.add(key, job)
    outputs = {}
    while backend.busy():
        outputs.update(backend.step())
    return [outputs[key] for key in range(len(jobs))]


def job(prompt, max_tokens=6, sampling=None, **more) -> Job:
    return Job(prompt=tuple(prompt), max_tokens=max_tokens, sampling=sampling or Sampling(), logprobs=True, **more)


def random_jobs(seed: int) -> list[Job]:
    """Prompts of many lengths; some share a prefix with others, some share nothing or everything."""
    rng = random.Random(seed)
    prefixes = [[rng.randrange(3, 260) for _ in range(rng.choice([1, 5, 17, 60, 130]))] for _ in range(3)]
    jobs = []
    for _ in range(9):
        prefix = rng.choice([[], *prefixes])
        rest = [rng.randrange(3, 260) for _ in range(rng.choice([0, 1, 2, 20, 33]))]
        if prefix + rest:
            jobs.append(job(prefix + rest, max_tokens=rng.randint(1, 9), shared=len(prefix)))
    return jobs


def assert_plain(model, jobs, outputs):
    for asked, output in zip(jobs, outputs, strict=True):
        ids, logprobs = tiny.greedy(model, list(asked.prompt), asked.max_tokens)
        assert list(output.token_ids) == ids
        assert output.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert output.finish == ("stop" if ids[-1] == 2 else "length")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("settings", [{}, {"rows": 2}, {"batched_tokens": 40}, {"kept_tokens": 70}])
def test_batched_and_cached_equals_plain_forwards(model, seed, settings):
    engine, jobs = backend(model, **settings), random_jobs(seed)
    assert_plain(model, jobs, run(engine, *jobs))
    assert_plain(model, jobs, run(engine, *jobs))


def test_jobs_may_join_at_any_step(model):
    engine, jobs, outputs = backend(model), random_jobs(7), {}
    for key, asked in enumerate(jobs):
        engine.add(key, asked)
        outputs.update(engine.step())
    while engine.busy():
        outputs.update(engine.step())
    assert_plain(model, jobs, [outputs[key] for key in range(len(jobs))])


def test_a_prefix_is_computed_once(model):
    lengths = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: lengths.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    engine, prefix = backend(model), list(range(3, 103))
    first = run(engine, *(job([*prefix, 200 + i], max_tokens=1, shared=100) for i in range(3)))
    assert lengths == [(1, bucket(100)), (3, bucket(1))]
    again = run(engine, job([*prefix, 7], max_tokens=1, shared=100), job([5, 6, 7], max_tokens=1, shared=2))
    assert lengths[2:] == [(1, bucket(2)), (2, bucket(1))]
    hook.remove()
    assert [output.cached_tokens for output in (*first, *again)] == [0, 0, 0, 100, 0]


def test_prefixes_are_forgotten_oldest_first(model):
    engine = backend(model, kept_tokens=100)
    for start in (3, 53, 3, 103):
        run(engine, job(range(start, start + 45), max_tokens=1, shared=40))
    cached = [run(engine, job(range(start, start + 45), max_tokens=1, shared=40))[0] for start in (3, 53)]
    assert [output.cached_tokens for output in cached] == [40, 0]


def test_logprobs_are_of_the_tempered_vocabulary(model):
    import torch

    (output,) = run(backend(model), job(range(3, 20), sampling=Sampling(temperature=0.6, top_p=0.9, seed=4)))
    ids = [*range(3, 20), *output.token_ids]
    with torch.inference_mode():
        rows = (model(torch.tensor([ids])).logits[0] / 0.6).log_softmax(-1)
    expected = [float(rows[16 + i, token]) for i, token in enumerate(output.token_ids)]
    assert output.logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_samples_follow_temperature_nucleus_and_seed(model, top_p):
    import torch

    with torch.inference_mode():
        shares = (model(torch.tensor([range(3, 20)])).logits[0, -1] / 0.9).softmax(-1).tolist()
    order = sorted(range(len(shares)), key=lambda token: -shares[token])
    before = [0.0, *itertools.accumulate(shares[token] for token in order)]
    nucleus = [token for token, mass in zip(order, before, strict=False) if mass < top_p]
    mass = sum(shares[token] for token in nucleus)
    jobs = [job(range(3, 20), 1, Sampling(temperature=0.9, top_p=top_p, seed=seed), shared=16) for seed in range(1500)]
    drawn = [output.token_ids[0] for output in run(backend(model, rows=500), *jobs)]
    assert drawn[:20] == [output.token_ids[0] for output in run(backend(model), *jobs[:20])]
    assert set(drawn) <= set(nucleus)
    for token, count in collections.Counter(drawn).most_common(5):
        share = shares[token] / mass
        assert abs(count / 1500 - share) < 5 * math.sqrt(share * (1 - share) / 1500)


def test_rows_of_one_batch_are_drawn_each_their_own_way(model):
    asked = [job(range(3, 40), 5, Sampling(temperature=t, seed=s)) for t, s in ((0.0, None), (1.0, 1), (1.0, 2))]
    together = run(backend(model), *asked)
    assert [output.token_ids for output in together] == [run(backend(model), one)[0].token_ids for one in asked]


def test_one_token_may_be_a_whole_reply(model):
    (free,) = run(backend(model), job(range(3, 20)))
    stopped, other = run(
        backend(model),
        job(range(3, 20), stop_after=free.token_ids[0]),
        job(range(3, 20), stop_after=free.token_ids[1]),
    )
    assert (stopped.token_ids, stopped.finish) == (free.token_ids[:1], "stop")
    assert other.token_ids == free.token_ids


def test_an_end_token_ends(model):
    (free,) = run(backend(model), job(range(3, 20)))
    (output,) = run(backend(model, end_ids=(free.token_ids[2],)), job(range(3, 20)))
    assert output.token_ids == free.token_ids[: free.token_ids.index(free.token_ids[2]) + 1]
    assert output.finish == "stop"


def test_cancelling_leaves_the_others_as_they_were(model):
    engine, asked = backend(model), [job(range(3, 20), 9), job(range(3, 200), 9), job(range(9, 12), 9)]
    for key, one in enumerate(asked):
        engine.add(key, one)
    outputs = dict(engine.step())
    engine.add(3, asked[0])
    engine.cancel(1)
    engine.cancel(3)
    while engine.busy():
        outputs.update(engine.step())
    assert outputs.keys() == {0, 2}
    assert_plain(model, [asked[0], asked[2]], [outputs[0], outputs[2]])
    engine.add(4, asked[0])
    engine.cancel(4)
    assert not engine.busy()


def test_what_decodes_together_fits_the_memory_it_may_take(model):
    engine = backend(model, active_tokens=100)
    asked = [job(range(3, 3 + length), 5) for length in (30, 40, 20, 90, 200, 10)]
    most = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: most.append(tuple(kwargs["attention_mask"].shape)), with_kwargs=True
    )
    outputs = run(engine, *asked)
    hook.remove()
    assert_plain(model, asked, outputs)
    # What does not fit at all still runs, alone.
    assert all(rows == 1 or rows * columns <= 110 for rows, columns in most) and max(most)[0] == 2


def test_long_prompts_are_neither_padded_nor_computed_together(model, monkeypatch):
    monkeypatch.setattr("memagent.models.engines.torch.UNPADDED", 100)
    shapes = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    asked = [job(range(3, 3 + 133), 1), job(range(5, 5 + 141), 1), job(range(9, 29), 1), job(range(4, 34), 1)]
    shared = [job([*range(7, 7 + 125), end], 1, shared=125) for end in (3, 4)]
    outputs = run(backend(model), *asked, *shared)
    hook.remove()
    assert_plain(model, [*asked, *shared], outputs)
    assert shapes == [(2, bucket(30)), (1, 133), (1, 141), (1, 125), (2, bucket(1))]


def test_buckets_are_few_and_close():
    sizes = [bucket(length) for length in range(1, 8193)]
    assert all(length <= size <= max(16, length * 1.125 + 15) for length, size in enumerate(sizes, start=1))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) < 80
