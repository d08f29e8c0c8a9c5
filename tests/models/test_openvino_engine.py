import collections
import math

import pytest
from tests.models import tiny

from memagent.errors import SetupError
from memagent.models.base import Sampling
from memagent.models.engines.base import Job
from memagent.models.engines.openvino import OpenVinoBackend

PROMPT = (1, 50, 60, 70, 80, 90, 100)


@pytest.fixture(scope="module")
def backend(tiny_gguf):
    return OpenVinoBackend(tiny_gguf, end_ids=(2,), precision="fp32", cache_gib=1)


def run(backend, *jobs):
    for key, job in enumerate(jobs):
        backend.add(key, job)
    outputs = {}
    while backend.busy():
        outputs.update(backend.step())
    return [outputs[key] for key in range(len(jobs))]


def job(prompt=PROMPT, max_tokens=6, sampling=None, **more) -> Job:
    return Job(prompt=tuple(prompt), max_tokens=max_tokens, sampling=sampling or Sampling(), logprobs=True, **more)


def test_greedy_equals_the_plain_forward(backend):
    model = tiny.torch_model(tiny.weights())
    prompts = [PROMPT, range(5, 105), (9,), range(5, 100)]
    for prompt, output in zip(prompts, run(backend, *map(job, prompts)), strict=True):
        ids, logprobs = tiny.greedy(model, list(prompt), 6)
        assert list(output.token_ids) == ids
        assert output.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert output.finish == ("stop" if ids[-1] == 2 else "length")


def test_prompts_seen_before_give_the_same(backend):
    first, second = run(backend, job(range(5, 200))), run(backend, job(range(5, 200)))
    assert first[0].token_ids == second[0].token_ids
    assert first[0].logprobs == pytest.approx(second[0].logprobs, abs=1e-4)


def test_samples_follow_temperature_and_seed(backend):
    import torch

    model = tiny.torch_model(tiny.weights())
    with torch.inference_mode():
        shares = (model(torch.tensor([PROMPT])).logits[0, -1] / 0.7).softmax(-1).tolist()
    jobs = [job(max_tokens=1, sampling=Sampling(temperature=0.7, seed=seed)) for seed in range(1000)]
    drawn = [output.token_ids[0] for output in run(backend, *jobs)]
    assert drawn == [output.token_ids[0] for output in run(backend, *jobs)]
    for token, count in collections.Counter(drawn).most_common(4):
        spread = math.sqrt(shares[token] * (1 - shares[token]) / 1000)
        assert abs(count / 1000 - shares[token]) < 5 * spread


def test_logprobs_are_told_only_where_they_are_those_of_the_samples(backend):
    warm, plain = run(backend, job(sampling=Sampling(temperature=0.7)), job(sampling=Sampling(temperature=1.0)))
    assert warm.logprobs is None
    assert plain.logprobs is not None and len(plain.logprobs) == len(plain.token_ids)


def test_one_token_may_be_a_whole_reply(backend):
    (first,) = run(backend, job())
    stopped, other = run(backend, job(stop_after=first.token_ids[0]), job(stop_after=first.token_ids[1]))
    assert (stopped.token_ids, stopped.finish) == (first.token_ids[:1], "stop")
    assert len(stopped.logprobs) == 1
    assert other.token_ids == first.token_ids


def test_an_end_token_ends(tiny_gguf, backend):
    (free,) = run(backend, job())
    ending = OpenVinoBackend(tiny_gguf, end_ids=(free.token_ids[2],), precision="fp32", cache_gib=1)
    (output,) = run(ending, job())
    assert (output.token_ids, output.finish) == (free.token_ids[:3], "stop")


def test_a_cancelled_job_is_dropped(backend):
    backend.add(1, job(max_tokens=400))
    backend.add(2, job())
    list(backend.step())
    backend.cancel(1)
    ended = []
    while backend.busy():
        ended += [key for key, _ in backend.step()]
    assert ended == [2]


def test_jobs_wait_for_the_prefix_that_another_computes(tiny_gguf):
    engine = OpenVinoBackend(tiny_gguf, end_ids=(2,), precision="fp32", cache_gib=1)
    prefix = list(range(5, 105))
    jobs = [job([*prefix, 200 + i], max_tokens=3, shared=100) for i in range(3)]
    for key, asked in enumerate([*jobs, job(range(7, 107), shared=100)]):
        engine.add(key, asked)
    assert engine._jobs.keys() == {0, 3}
    engine.cancel(0)  # the next takes its place
    assert engine._jobs.keys() == {3, 1}
    engine.cancel(2)
    outputs = {}
    while engine.busy():
        outputs.update(engine.step())
    assert outputs.keys() == {1, 3}
    assert outputs[1].token_ids == run(engine, jobs[1])[0].token_ids


def test_waiting_changes_no_answer(tiny_gguf, backend):
    jobs = [job([*range(5, 105), 200 + i], shared=100) for i in range(5)]
    engine = OpenVinoBackend(tiny_gguf, end_ids=(2,), precision="fp32", cache_gib=1)
    apart = [run(backend, asked)[0] for asked in jobs]
    for one, other in zip(run(engine, *jobs), apart, strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_broken_file_is_one_line(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(SetupError, match=r"cannot load .*broken\.gguf") as caught:
        OpenVinoBackend(tmp_path / "broken.gguf", end_ids=(2,))
    assert "\n" not in str(caught.value)
