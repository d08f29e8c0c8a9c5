"""Baselines as methods: a strategy asks the model through a desk, which journals, counts and resumes.

A baseline is kept in the journal like a reading without turns. What the strategies do is in `baselines.py`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from memagent.documents import Document
from memagent.errors import PromptWasCut, TurnError, WindowOverflow
from memagent.evaluation.methods import Attempt, failed, from_reading, spent
from memagent.models.base import Completion, Model, Prompt, Request, Sampling
from memagent.reading import Journal, Reading, Settings
from memagent.reading.asking import Asker, Purse
from memagent.reading.guard import Guard
from memagent.reading.journal import Entry, new_id
from memagent.reading.protocols import parse_answer
from memagent.reading.result import Coverage
from memagent.tasks.problem import Problem

MARGIN = 8  # tokens: joining texts may cost a few more than their parts

_FRAME = (
    "Answer the problem from the text and put the answer in \\boxed{}.\n\n<text>\n",
    "\n</text>\n\n<problem>\n{question}\n</problem>",
)


def framed(problem: Problem) -> tuple[str, str]:
    """What stands before and behind the context: the task's published prompt, or our frame where it has none."""
    if problem.head or problem.tail:
        return problem.head, problem.tail + problem.answer_prefix
    return _FRAME[0], _FRAME[1].replace("{question}", problem.question) + problem.answer_prefix


@dataclass
class Desk:
    """What a strategy has for one problem: the problem, the document's text, and a model to ask.

    `window` is what the user says an endpoint's is: no prompt beyond it is sent, as some endpoints cut in silence.
    """

    problem: Problem
    document: Document
    model: Model
    settings: Settings
    asker: Asker
    window: int | None = None

    @cached_property
    def text(self) -> str:
        """The document's whole text."""
        return "".join(piece.text for piece in self.document.pieces())

    @cached_property
    def answer_tokens(self) -> int:
        """How long an answer may be: as set, else as the task says."""
        return self.settings.answer_tokens or self.problem.max_tokens

    def room(self, frame: str, reply_tokens: int | None = None) -> int:
        """Tokens that are left in the window beside `frame` and the reply; negative where they do not fit."""
        used = self.model.prompt_tokens(Prompt(segments=(frame,))) + self.settings.thinking_tokens + MARGIN
        return self.model.window - used - (reply_tokens or self.answer_tokens)

    async def answer(self, context: str) -> Completion:
        """Ask the problem with `context` in the place of the document."""
        return await self.ask("answer", self._around(context), self.answer_tokens)

    def takes(self, context: str) -> bool:
        """Whether the window takes the problem with `context` in the place of the document, and its reply."""
        return self._needed(self._request(self._around(context), self.answer_tokens)) <= self.model.window

    def _around(self, context: str) -> str:
        head, tail = framed(self.problem)
        return f"{head}{self.guarded(context)}{tail}"

    def guarded(self, text: str) -> str:
        """Text of the document as data: it can neither end its frame nor speak as the user."""
        return Guard(self.model.special_tokens).neutralise(text)[0]

    async def ask(self, place: str, text: str, max_tokens: int) -> Completion:
        """The reply to a prompt; `place` names it in the journal.

        Raises:
            WindowOverflow, TurnRefused: as the model says.
        """
        request = self._request(text, max_tokens)
        self._check_window(request)
        return await self.asker.ask(place, text, request)

    def _request(self, text: str, max_tokens: int) -> Request:
        settings = self.settings
        return Request(
            prompt=Prompt(segments=(text,)),
            max_tokens=max_tokens,
            thinking_tokens=settings.thinking_tokens,
            sampling=Sampling(temperature=settings.temperature, top_p=settings.top_p, seed=settings.seed),
        )

    def _needed(self, request: Request) -> int:
        """Tokens of the window that the prompt and its reply take."""
        return self.model.prompt_tokens(request.prompt) + request.max_tokens + request.thinking_tokens

    def _check_window(self, request: Request) -> None:
        """By the model's own tokenizer; without it the endpoint has to say."""
        if self.window is None or not self.model.tokenizer.exact:
            return
        needed = self._needed(request)
        if needed > self.window:
            raise WindowOverflow(f"prompt and reply need {needed} tokens, and --window is {self.window}")


Strategy = Callable[[Desk], Awaitable[Completion]]


class Baseline:
    """A strategy as a method; see `methods.Method`."""

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        model: Model,
        settings: Settings,
        journal: Journal,
        *,
        window: int | None = None,
    ) -> None:
        self.name = name
        self._strategy = strategy
        self._model = model
        self._settings = settings
        self._journal = journal
        self._window = window
        self._purse = Purse(None)

    async def attempt(self, problem: Problem) -> Attempt:
        """See `methods.Method`."""
        document = problem.document()
        key = self._key(document, problem)
        entry = self._journal.newest(key) or self._entry(document, problem, key)
        if entry.result:
            return from_reading(Reading.from_json(entry.result))
        self._journal.begin(entry)
        asker = Asker(self._model, self._journal, entry.id, purse=self._purse, seconds=entry.seconds)
        desk = Desk(problem, document, self._model, self._settings, asker, self._window)
        with self._journal.lock(entry.id):
            try:
                completion = await self._strategy(desk)
            except PromptWasCut as error:
                # The endpoint's window is smaller than it told, and it says nothing: here that is an overflow.
                return self._failed(entry, WindowOverflow(str(error)))
            except TurnError as error:
                return self._failed(entry, error)
            reading = self._drawn_up(desk, entry, completion)
            self._journal.finish(entry.id, reading.as_json(), turns=0)
        return from_reading(reading)

    def _failed(self, entry: Entry, error: TurnError) -> Attempt:
        attempt = failed(error)
        usage = spent(self._journal, entry.id)
        return Attempt(status=attempt.status, error=attempt.error, usage=usage, reading_id=entry.id)

    def _drawn_up(self, desk: Desk, entry: Entry, completion: Completion) -> Reading:
        desk.asker.usage.seconds = desk.asker.seconds
        return Reading(
            problem=desk.problem.question,
            answer=parse_answer(completion.text),
            status="answered",
            evidence=(),
            memory="",
            coverage=Coverage(document_tokens=desk.problem.length or 0),
            usage=desk.asker.usage,
            reading_id=entry.id,
            settings=entry.settings,
            notes=tuple(self._model.notes),
            reply=completion.text,
        )

    def _key(self, document: Document, problem: Problem) -> str:
        settings = asdict(self._settings)
        parts = [self.name, document.fingerprint, framed(problem), dict(self._model.identity), settings]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def _entry(self, document: Document, problem: Problem, key: str) -> Entry:
        settings: dict[str, Any] = {"method": self.name, "model": self._model.name, **asdict(self._settings)}
        return Entry(
            id=new_id(),
            created=time.time(),
            state="reading",
            problem=problem.question,
            document=document.name,
            fingerprint=document.fingerprint,
            paths=document.paths,
            model=dict(self._model.identity),
            settings=settings,
            key=key,
            options={},
        )
