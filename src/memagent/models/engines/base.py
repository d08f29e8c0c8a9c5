"""Jobs for a local engine, and the thread that runs them together.

A *backend* holds weights and advances everything it was given by one step at a time; the *engine*
feeds it from a thread of its own, so that concurrent calls share a batch and one that is given up
leaves it. Neither knows text, tokenizers or chat templates: ids go in as they are.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Literal, Protocol

from memagent.errors import MemagentError, StoppedError
from memagent.models.base import Sampling

Precision = Literal["auto", "fp32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One completion to make of `prompt`, at most `max_tokens` long.

    The first `shared` ids will probably come again before another ending. `stop_after` is an id that,
    as the first one, is the whole completion.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    shared: int = 0
    stop_after: int | None = None
    logprobs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What was sampled, the end token included; `logprobs` as `Completion` says, or None."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    finish: Literal["stop", "length"]
    cached_tokens: int = 0


class Backend(Protocol):
    """Weights, and the jobs under way, each under the caller's key. Used from one thread."""

    def add(self, key: int, job: Job) -> None:
        """Take a job up; it advances with the next step."""
        ...

    def cancel(self, key: int) -> None:
        """Drop a job that is under way."""
        ...

    def busy(self) -> bool:
        """Whether a step would do anything."""
        ...

    def step(self) -> Iterable[tuple[int, Output | MemagentError]]:
        """Advance all jobs; gives those that ended, well or not."""
        ...


class Submits(Protocol):
    """Who runs jobs: `Engine`, or another that batches them in its own way."""

    def submit(self, job: Job) -> Future[Output]:
        """Start a job."""
        ...

    def close(self) -> None:
        """Let go of threads; calls under way fail."""
        ...


@dataclass(slots=True)
class _Task:
    job: Job
    future: Future[Output]


class Engine:
    """Runs a backend in a thread; jobs submitted from anywhere share its batches."""

    # Calls made in one turn of an event loop arrive within this time and should start as one batch.
    gather_seconds = 0.002

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._inbox: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._running: dict[int, _Task] = {}
        self._keys = 0
        self._closing = False
        self._failure: StoppedError | None = None
        self._thread = threading.Thread(target=self._run, name="memagent-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Future[Output]:
        """Start a job. Cancelling the future takes it out of the batch.

        The future raises StoppedError where the engine itself failed or was closed.
        """
        future: Future[Output] = Future()
        if self._failure is not None or self._closing:
            future.set_exception(self._failure or StoppedError("the local model was closed"))
        else:
            self._inbox.put(_Task(job, future))
        return future

    def close(self) -> None:
        """End the thread; whatever is under way is cancelled. May be called twice."""
        self._closing = True
        self._inbox.put(None)
        self._thread.join()
        self._abandon(StoppedError("the local model was closed"))

    def _run(self) -> None:
        try:
            while not self._closing:
                self._take_jobs(wait=not self._running and not self._backend.busy())
                self._drop_cancelled()
                if self._backend.busy():
                    for key, result in self._backend.step():
                        _settle(self._running.pop(key).future, result)
        except Exception as error:  # whatever an engine throws must reach the callers, not die in a thread
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._failure = StoppedError(f"the local model failed ({reason}); resume with fewer calls at once")
            self._abandon(self._failure)

    def _take_jobs(self, wait: bool) -> None:
        if wait:
            self._start(self._inbox.get())
            time.sleep(self.gather_seconds)
        while not self._inbox.empty():
            self._start(self._inbox.get())

    def _start(self, task: _Task | None) -> None:
        if task is None or task.future.cancelled():
            return
        self._keys += 1
        self._running[self._keys] = task
        self._backend.add(self._keys, task.job)

    def _drop_cancelled(self) -> None:
        for key in [key for key, task in self._running.items() if task.future.cancelled()]:
            del self._running[key]
            self._backend.cancel(key)

    def _abandon(self, error: StoppedError) -> None:
        tasks = list(self._running.values())
        self._running.clear()
        while not self._inbox.empty():
            task = self._inbox.get()
            tasks += [task] if task is not None else []
        for task in tasks:
            _settle(task.future, error)


def _settle(future: Future[Output], result: Output | MemagentError) -> None:
    try:
        if isinstance(result, Output):
            future.set_result(result)
        else:
            future.set_exception(result)
    except InvalidStateError:  # cancelled in this very moment
        pass
