"""The CPU engine: OpenVINO GenAI's continuous batching over a GGUF file.

Its log-probabilities are those of the untempered logits, so they are only told where that is the
sampling distribution (greedy, or temperature 1). How many prompt tokens came from its prefix cache it
does not tell. Its step keeps Python's lock, so that everything else in the process waits for one:
steps are kept short (prompts are as fast at 512 tokens a step as at 4,096). It does not know text: ids
go in as they are.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memagent.errors import MemagentError, SetupError, WindowOverflow
from memagent.extras import extra
from memagent.models.base import Sampling
from memagent.models.engines.base import Job, Output, Precision

BATCHED_TOKENS = 512
# Shorter shared prefixes are not worth waiting for: the prefix cache keeps blocks of 32 tokens.
SHARED_TOKENS = 64


class OpenVinoBackend:
    """See `Backend`. `end_ids` end a completion, at most `rows` decode together.

    `cache_gib` bounds the memory for attention states, those kept for later prompts included.
    """

    def __init__(
        self,
        path: Path,
        *,
        end_ids: Sequence[int],
        precision: Precision = "auto",
        rows: int = 64,
        cache_gib: int | None = None,
    ) -> None:
        with extra("local", "running a model on the CPU"):
            import openvino_genai

        scheduling = openvino_genai.SchedulerConfig()
        scheduling.enable_prefix_caching = True
        scheduling.cache_size = cache_gib or _affordable_gib()
        scheduling.max_num_batched_tokens = BATCHED_TOKENS
        scheduling.max_num_seqs = rows
        exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
        properties = exact if precision == "fp32" else {}
        try:
            self._pipeline = openvino_genai.ContinuousBatchingPipeline(str(path), scheduling, "CPU", properties)
        except RuntimeError as error:
            raise SetupError(f"OpenVINO cannot load {path}: {_first_line(error)}") from error
        self._end_ids = set(end_ids)
        self._jobs: dict[int, _Running] = {}
        # Jobs whose prefix another one is computing right now, by that one's key.
        self._held: dict[int, dict[int, Job]] = {}

    def add(self, key: int, job: Job) -> None:
        """See `Backend.add`. A job waits while another computes the prefix that both share."""
        leader = self._leader(job)
        if leader is None:
            self._start(key, job)
        else:
            self._held.setdefault(leader, {})[key] = job

    def cancel(self, key: int) -> None:
        """See `Backend.cancel`."""
        running = self._jobs.pop(key, None)
        if running is not None:
            running.handle.cancel()
            self._release(key)
        for held in self._held.values():
            held.pop(key, None)

    def busy(self) -> bool:
        """See `Backend.busy`."""
        return bool(self._jobs) or bool(self._pipeline.has_non_finished_requests())

    def step(self) -> Iterator[tuple[int, Output | MemagentError]]:
        """See `Backend.step`."""
        self._pipeline.step()
        for key, running in list(self._jobs.items()):
            result = running.advance()
            if result is not None:
                del self._jobs[key]
            if result is not None or running.has_begun:
                self._release(key)
            if result is not None:
                yield key, result

    def _leader(self, job: Job) -> int | None:
        if job.shared < SHARED_TOKENS:
            return None
        prefix = job.prompt[: job.shared]
        return next((key for key, running in self._jobs.items() if running.computes(prefix)), None)

    def _release(self, leader: int) -> None:
        """Start what waited for this job's prefix; if it never came, one of them computes it."""
        for key, job in self._held.pop(leader, {}).items():
            self.add(key, job)

    def _start(self, key: int, job: Job) -> None:
        import numpy
        import openvino

        ids = openvino.Tensor(numpy.array([job.prompt], dtype=numpy.int64))
        handle = self._pipeline.add_request(key, ids, self._configuration(job))
        self._jobs[key] = _Running(job, handle)

    def _configuration(self, job: Job) -> Any:
        import openvino_genai

        config = openvino_genai.GenerationConfig()
        config.apply_chat_template = False
        config.max_new_tokens = job.max_tokens
        config.stop_token_ids = self._end_ids
        config.logprobs = int(job.logprobs)
        if job.sampling.temperature > 0:
            _set_sampling(config, job.sampling)
        return config


class _Running:
    """One request in the pipeline, with what has come back of it."""

    def __init__(self, job: Job, handle: Any) -> None:
        self.handle = handle
        self._job = job
        self._ids: list[int] = []
        self._logprobs: list[float] = []

    @property
    def has_begun(self) -> bool:
        """Whether its prompt is computed."""
        return bool(self._ids)

    def computes(self, prefix: tuple[int, ...]) -> bool:
        """Whether `prefix` is being computed as the start of this job's prompt."""
        return not self._ids and self._job.prompt[: len(prefix)] == prefix

    def advance(self) -> Output | MemagentError | None:
        from openvino_genai import GenerationFinishReason, GenerationStatus

        status = self.handle.get_status()
        finish = GenerationFinishReason.NONE
        while self.handle.can_read():
            for part in self.handle.read().values():
                self._ids += part.generated_ids
                self._logprobs += part.generated_log_probs
                finish = part.finish_reason
        if self._job.stop_after is not None and self._ids[:1] == [self._job.stop_after]:
            self.handle.stop()
            return self._output("stop", length=1)
        if status == GenerationStatus.IGNORED:
            return WindowOverflow("the prompt does not fit the memory for attention states; use smaller chunks")
        if status == GenerationStatus.FINISHED:
            return self._output("length" if finish == GenerationFinishReason.LENGTH else "stop")
        return None

    def _output(self, finish: Any, length: int | None = None) -> Output:
        told = self._job.logprobs and self._job.sampling.temperature in (0, 1)
        return Output(
            token_ids=tuple(self._ids[:length]),
            logprobs=tuple(self._logprobs[:length]) if told else None,
            finish=finish,
        )


def _set_sampling(config: Any, sampling: Sampling) -> None:
    config.do_sample = True
    config.temperature = sampling.temperature
    config.top_p = sampling.top_p
    config.rng_seed = secrets.randbits(32) if sampling.seed is None else sampling.seed


def _affordable_gib() -> int:
    """A quarter of the free memory, between 1 and 4 GiB."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not told on this system
        return 2
    return max(1, min(4, free // 4 // 2**30))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
