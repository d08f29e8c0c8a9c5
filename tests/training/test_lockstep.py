import asyncio
import random

import pytest

from memagent.errors import StoppedError
from memagent.models.base import Sampling
from memagent.models.engines.base import Job, Output
from memagent.training.lockstep import LockstepEngine


class Recording:
    """A backend that notes its batches; a job's reply is its prompt backwards."""

    def __init__(self):
        self.batches, self._jobs = [], {}

    def add(self, key, job):
        self._jobs[key] = job

    def cancel(self, key):
        del self._jobs[key]

    def busy(self):
        return bool(self._jobs)

    def step(self):
        self.batches.append([job.prompt for job in self._jobs.values()])
        jobs, self._jobs = self._jobs, {}
        for key, job in jobs.items():
            yield key, Output(token_ids=job.prompt[::-1], logprobs=None, finish="stop")


def job(seed, *ids):
    return Job(prompt=ids, max_tokens=4, sampling=Sampling(temperature=1.0, seed=seed))


async def readings(engine, lengths, rng):
    """One reading for each length, that asks so many times and dawdles in between."""

    async def one(number, length, place):
        with place:
            for turn in range(length):
                await asyncio.sleep(rng.random() / 300)
                output = await asyncio.wrap_future(engine.submit(job(number, number, turn)))
                assert output.token_ids == (turn, number)

    places = [engine.reading() for _ in lengths]
    for place in places:
        place.__enter__()
    await asyncio.gather(*(one(n, length, _Leave(places[n])) for n, length in enumerate(lengths)))


class _Leave:
    """The second half of a context that was entered before."""

    def __init__(self, place):
        self._place = place

    def __enter__(self):
        return None

    def __exit__(self, *error):
        return self._place.__exit__(*error)


@pytest.mark.parametrize("seed", range(4))
async def test_batches_do_not_depend_on_timing(seed):
    backend = Recording()
    engine = LockstepEngine(backend)
    lengths = [3, 1, 4, 2]
    await readings(engine, lengths, random.Random(seed))
    expected = [[(n, turn) for n, length in enumerate(lengths) if turn < length] for turn in range(4)]
    assert backend.batches == expected
    engine.close()


async def test_weights_change_only_between_rounds():
    engine = LockstepEngine(Recording())
    with engine.reading(), pytest.raises(RuntimeError, match="between two rounds"):
        engine.exchange(Recording())
    engine.exchange(Recording())
    engine.close()


async def test_what_an_engine_throws_reaches_the_caller():
    class Failing(Recording):
        def step(self):
            raise MemoryError("no memory left\nat all")

    engine = LockstepEngine(Failing())
    with engine.reading(), pytest.raises(StoppedError, match=r"sampling failed \(no memory left\)"):
        await asyncio.wrap_future(engine.submit(job(1, 5)))
    engine.close()
    with pytest.raises(StoppedError, match="closed"):
        await asyncio.wrap_future(engine.submit(job(1, 5)))
