import asyncio
import threading
from collections.abc import Iterator

import pytest

from memagent.errors import MemagentError, StoppedError, WindowOverflow
from memagent.models.base import Sampling
from memagent.models.engines.base import Engine, Job, Output


class Counting:
    """A backend that gives a job one token a step: 1, 2, 3 …; it may fail, and it may wait."""

    def __init__(self, error: Exception | None = None) -> None:
        self.jobs: dict[int, Job] = {}
        self.made: dict[int, int] = {}
        self.widths: list[int] = []
        self.error = error
        self.stepped = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def add(self, key: int, job: Job) -> None:
        self.jobs[key], self.made[key] = job, 0

    def cancel(self, key: int) -> None:
        del self.jobs[key]

    def busy(self) -> bool:
        return bool(self.jobs)

    def step(self) -> Iterator[tuple[int, Output | MemagentError]]:
        self.stepped.set()
        self.go.wait()
        if self.error is not None:
            raise self.error
        self.widths.append(len(self.jobs))
        for key, job in list(self.jobs.items()):
            self.made[key] += 1
            if self.made[key] == job.max_tokens:
                del self.jobs[key]
                if job.prompt == (0,):
                    yield key, WindowOverflow("too long")
                else:
                    yield (
                        key,
                        Output(token_ids=tuple(range(1, job.max_tokens + 1)), logprobs=None, finish="stop"),
                    )


def job(tokens: int, prompt: tuple[int, ...] = (1,)) -> Job:
    return Job(prompt=prompt, max_tokens=tokens, sampling=Sampling())


def test_jobs_submitted_together_share_steps():
    backend = Counting()
    engine = Engine(backend)
    futures = [engine.submit(job(n)) for n in (3, 5, 4)]
    assert [len(future.result(10).token_ids) for future in futures] == [3, 5, 4]
    assert len(backend.widths) < 3 + 5 + 4
    engine.close()


def test_one_jobs_error_is_its_own():
    engine = Engine(Counting())
    bad, good = engine.submit(job(2, prompt=(0,))), engine.submit(job(2))
    with pytest.raises(WindowOverflow, match="too long"):
        bad.result(10)
    assert good.result(10).finish == "stop"
    engine.close()


async def test_a_cancelled_call_leaves_the_batch():
    backend = Counting()
    backend.go.clear()
    engine = Engine(backend)
    endless = asyncio.ensure_future(asyncio.wrap_future(engine.submit(job(10**9))))
    await asyncio.to_thread(backend.stepped.wait)
    endless.cancel()
    await asyncio.sleep(0)
    backend.go.set()
    assert (await asyncio.wrap_future(engine.submit(job(2)))).finish == "stop"
    assert backend.jobs == {}
    engine.close()


def test_a_failing_backend_stops_every_call():
    engine = Engine(Counting(RuntimeError("out of memory\nat line 3")))
    for future in (engine.submit(job(1)), engine.submit(job(1))):
        with pytest.raises(StoppedError, match="out of memory") as caught:
            future.result(10)
        assert "\n" not in str(caught.value)
    engine.close()
    with pytest.raises(StoppedError):
        engine.submit(job(1)).result(10)


def test_closing_ends_what_is_under_way():
    backend = Counting()
    engine = Engine(backend)
    future = engine.submit(job(10**9))
    backend.stepped.wait()
    engine.close()
    engine.close()
    with pytest.raises(StoppedError, match="closed"):
        future.result(10)
    with pytest.raises(StoppedError, match="closed"):
        engine.submit(job(1)).result(10)
