"""An engine whose batches do not depend on timing, so that a run that was killed repeats what it sampled, bit for bit.

A batch begins when every reading that takes part waits for its next turn, and its jobs are ordered by their seeds. It
also makes batches as large, and prefixes as shared, as they can be. It does not know what jobs are for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from memagent.errors import MemagentError, StoppedError
from memagent.models.engines.base import Backend, Job, Output


class LockstepEngine:
    """See `models.engines.base.Engine`, which it stands in for. Used from one event loop."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waiting: list[tuple[Job, Future[Output]]] = []
        self._readings = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lockstep")
        self._closed = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, one more reading takes part: no batch begins without it. Enter all before the first asks."""
        self._readings += 1
        try:
            yield
        finally:
            self._readings -= 1
            self._begin()

    def submit(self, job: Job) -> Future[Output]:
        """See `Engine.submit`. A job that is cancelled while it runs is computed all the same."""
        future: Future[Output] = Future()
        if self._closed:
            future.set_exception(StoppedError("the sampler was closed"))
        else:
            self._waiting.append((job, future))
            self._begin()
        return future

    def exchange(self, backend: Backend) -> None:
        """Go on with another backend; nothing may be under way."""
        if self._readings or self._waiting:
            raise RuntimeError("weights may only change between two rounds of sampling")
        self._backend = backend

    def close(self) -> None:
        """Wait for the batch under way; jobs that never began fail."""
        self._closed = True
        self._thread.shutdown()
        for _, future in self._waiting:
            future.set_exception(StoppedError("the sampler was closed"))
        self._waiting.clear()

    def _begin(self) -> None:
        waiting = [pair for pair in self._waiting if not pair[1].cancelled()]
        if waiting and len(waiting) >= self._readings:
            self._waiting = []
            # Greedy jobs have no seed; their prompts tell them apart.
            waiting.sort(key=lambda pair: (pair[0].sampling.seed or 0, pair[0].prompt))
            self._thread.submit(self._run, waiting)

    def _run(self, batch: list[tuple[Job, Future[Output]]]) -> None:
        try:
            for key, (job, _) in enumerate(batch):
                self._backend.add(key, job)
            while self._backend.busy():
                for key, result in self._backend.step():
                    _settle(batch[key][1], result)
        except Exception as error:  # whatever an engine throws must reach the callers
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            for _, future in batch:
                _settle(future, StoppedError(f"sampling failed ({reason})"))


def _settle(future: Future[Output], result: Output | MemagentError) -> None:
    if future.done():
        return
    if isinstance(result, Output):
        future.set_result(result)
    else:
        future.set_exception(result)
