"""A method answers a problem: the reader, or a baseline. This file holds what they share, and the reader.

Every method keeps its calls in the evaluation's journal, so that what was asked is never asked twice.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Protocol

from memagent.documents import Document
from memagent.errors import InputError, TurnError, WindowOverflow
from memagent.evaluation.outcome import OutcomeStatus
from memagent.models.base import Model
from memagent.reading import Journal, Reader, Reading, Settings
from memagent.reading.result import Tally, Usage
from memagent.reading.run import OnProgress
from memagent.tasks.facts import needless
from memagent.tasks.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a method made of a problem."""

    status: OutcomeStatus
    reply: str = ""
    answer: str = ""
    usage: Usage = field(default_factory=Usage)
    document_tokens: int = 0
    reading_id: str = ""
    tally: Tally = field(default_factory=Tally)
    false_changes: int | None = None
    error: str | None = None


class Method(Protocol):
    """Answers problems; `name` is its line in tables and figures."""

    name: str

    async def attempt(self, problem: Problem) -> Attempt:
        """Answer one problem. What the model refuses, or what does not fit its window, is an attempt too.

        Raises:
            StoppedError: the endpoint is down, or the journal cannot be written.
            SetupError: the model cannot be used at all.
        """
        ...


def from_reading(reading: Reading) -> Attempt:
    """A finished reading as an attempt."""
    return Attempt(
        status=reading.status,
        reply=reading.reply,
        answer=reading.answer,
        usage=reading.usage,
        document_tokens=reading.coverage.document_tokens,
        reading_id=reading.reading_id,
        tally=reading.tally,
    )


class ReadingMethod:
    """The reader, with one protocol. Answers may be as long as the task's, or as the memory."""

    def __init__(
        self, name: str, model: Model, settings: Settings, journal: Journal, *, on_progress: OnProgress | None = None
    ) -> None:
        self.name = name
        self._model = model
        self._settings = settings
        self._journal = journal
        self._on_progress = on_progress
        self._readers: dict[int | None, Reader] = {}
        plan = self._reader(None).plan
        plan.chunk_bytes(model, "?")  # sizes that can never fit are the user's mistake, not the problems'
        self._memory_tokens = plan.memory_tokens

    async def attempt(self, problem: Problem) -> Attempt:
        """See `Method`. A problem that does not fit the window beside chunk and memory is an overflow."""
        given = self._settings.answer_tokens
        reader = self._reader(max(self._memory_tokens, problem.max_tokens) if given is None else given)
        document = problem.document()
        try:
            reader.plan.chunk_bytes(self._model, problem.question)
        except InputError as error:
            return Attempt(status="overflow", error=str(error))
        try:
            reading = await reader.read(document, problem.question, resume=True)
            return dataclasses.replace(from_reading(reading), false_changes=self._needless(problem, reading))
        except TurnError as error:
            return self._failed(reader, document, problem, error)

    def _needless(self, problem: Problem, reading: Reading) -> int | None:
        turns = self._journal.turns(reading.reading_id)
        return needless(problem, ((one["start"], one["end"]) for one in turns if one["memory"] is not None))

    def _reader(self, answer_tokens: int | None) -> Reader:
        if answer_tokens not in self._readers:
            settings = dataclasses.replace(self._settings, answer_tokens=answer_tokens)
            self._readers[answer_tokens] = Reader(
                self._model, settings, journal=self._journal, on_progress=self._on_progress
            )
        return self._readers[answer_tokens]

    def _failed(self, reader: Reader, document: Document, problem: Problem, error: TurnError) -> Attempt:
        """The answer turn failed: what the reading took until then still counts."""
        entry = self._journal.newest(reader.key(document, problem.question))
        if entry is None:
            return failed(error)
        return dataclasses.replace(failed(error), usage=spent(self._journal, entry.id), reading_id=entry.id)


def failed(error: TurnError) -> Attempt:
    """An attempt that ended in `error`."""
    status: OutcomeStatus = "overflow" if isinstance(error, WindowOverflow) else "failed"
    return Attempt(status=status, error=str(error))


def spent(journal: Journal, reading_id: str) -> Usage:
    """What an unfinished reading took so far."""
    sums = journal.spent(reading_id)
    return Usage(
        model_calls=int(sums["model_calls"]),
        prompt_tokens=int(sums["prompt_tokens"]),
        cached_tokens=int(sums["cached_tokens"]),
        completion_tokens=int(sums["completion_tokens"]),
        cost_usd=sums["cost_usd"],
        seconds=journal.entry(reading_id).seconds,
    )
