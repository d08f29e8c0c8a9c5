"""One chat as a reading: the document is read by the one reader, its answers come back as choices.

It does not know HTTP: `api.py` turns what it says into bodies and events.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from memagent.documents import Document, open_document
from memagent.models.base import Model, Prompt, Request, Sampling, seeded
from memagent.reading import Journal, Reader, Reading, Settings
from memagent.reading.guard import Guard
from memagent.reading.result import Reply, Start
from memagent.reading.run import OnProgress
from memagent.serving.admission import ANYONE, Admission
from memagent.serving.errors import invalid
from memagent.serving.files import Files
from memagent.serving.messages import Asked, Said, asked
from memagent.serving.metrics import Metrics
from memagent.serving.schemas import ChatRequest

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer as a client gets it."""

    text: str
    finish: Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a chat; `reading` None where the model was asked directly."""

    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int
    reading: Reading | None = None


@dataclass(slots=True)
class Service:
    """Answers chats with one model. `settings` say how it reads; `options` how to open the model again."""

    model: Model
    settings: Settings
    journal: Journal
    admission: Admission
    files: Files
    options: dict[str, Any] = field(default_factory=dict)
    metrics: Metrics = field(init=False)
    _reading: set[str] = field(default_factory=set)
    _work: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.admission)

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that `end` breaks off."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def end(self) -> None:
        """The server ends: break off what is under way. The same requests go on where they stopped."""
        for task in set(self._work):
            task.cancel()

    async def stop(self) -> None:
        """`end`, and wait until it is so."""
        self.end()
        await asyncio.gather(*self._work, return_exceptions=True)

    def plan(self, chat: ChatRequest, *, passes: bool = False) -> Asked | None:
        """What is to be read for a chat; None where the model is asked directly.

        `passes`: there is an endpoint to which images go as they are.

        Raises:
            ApiError: it says that it wants to be read, and there is nothing to read; or it holds what is no text.
        """
        told = bool(chat.documents or chat.file_ids)
        if passes and not told and not chat.read and any(message.other for message in chat.messages):
            return None
        said = [message.said() for message in chat.messages]
        if chat.read is False and told:
            raise invalid("documents and file_ids are there to be read: leave read out", param="read")
        if chat.read is False or not (told or chat.read or not self.fits(said, chat.limit)):
            return None
        found = asked(said, chat.texts() or chat.file_ids or ())
        if found is None:
            raise invalid(
                "no problem and document can be told apart: end the last message with a paragraph that asks, or tag "
                "the document as <document>…</document>",
                param="messages",
            )
        return found

    def fits(self, said: Sequence[Said], limit: int | None) -> bool:
        """Whether the chat, and what may come, fit the model's window as they are.

        Clients name far more than they need, so what may come counts for a quarter of the window at most.
        """
        text = "\n".join(one.text for one in said)
        window = self.model.window
        room = window - min(limit or min(1024, window // 8), window // 4) - 16 * len(said)
        # No token is shorter than a byte.
        if len(text.encode("utf-8", "surrogatepass")) + 256 <= room:
            return True
        return self.model.prompt_tokens(Prompt(segments=(text,))) <= room

    def document(self, owner: str, chat: ChatRequest, found: Asked) -> Document:
        """The document to be read: files, or text.

        Raises:
            ApiError: there is no such file.
            DocumentError: it cannot be read.
        """
        if chat.file_ids and chat.documents:
            raise invalid("give documents or file_ids, not both", param="documents")
        if chat.file_ids:
            return self.files.document(owner, *chat.file_ids)
        return open_document(text=found.document, name="message")

    def reader(self, owner: str, watch: OnProgress = lambda progress: None) -> Reader:
        """A reader for a request of `owner`, whom the journal notes where there are keys."""
        options = self.options if owner == ANYONE else {**self.options, "owner": owner}
        return Reader(self.model, self.settings, journal=self.journal, on_progress=watch, options=options)

    async def read(
        self, owner: str, chat: ChatRequest, found: Asked, document: Document, watch: OnProgress = lambda progress: None
    ) -> Done:
        """Read, and answer as often as is asked. A reading that was broken off goes on.

        Raises:
            ApiError: 429.
            MemagentError: as `Reader.read`.
        """
        reader = self.reader(owner, watch)
        async with self.admission.place(owner):
            reading = await self._read(reader, document, _problem(found), None)
            replies = await self._replies(reader, reading, chat)
        return Done(
            choices=tuple(self._choice(reply, chat, found.prefill) for reply in replies),
            prompt_tokens=reading.usage.prompt_tokens + sum(one.prompt_tokens for one in replies),
            completion_tokens=reading.usage.completion_tokens + sum(one.completion_tokens for one in replies),
            reading=reading,
        )

    async def reading(
        self,
        owner: str,
        document: Document,
        problem: str,
        *,
        start: Start | None = None,
        watch: OnProgress = lambda progress: None,
    ) -> Reading:
        """One reading in its place; the same one goes on if it was broken off. Raises as `read`."""
        reader = self.reader(owner, watch)
        async with self.admission.place(owner):
            return await self._read(reader, document, problem, start)

    async def _read(self, reader: Reader, document: Document, problem: str, start: Start | None) -> Reading:
        key = reader.key(document, problem, start)
        with self._alone(key) as alone:
            before = self.journal.newest(key) if alone else None
            reading = await reader.read(document, problem, resume=alone, start=start)
        if before is None or before.result is None:
            self.metrics.reading(reading)
        return reading

    async def _replies(self, reader: Reader, reading: Reading, chat: ChatRequest) -> list[Reply]:
        """The reading's own answer, or others drawn from its memory where the chat wants them drawn."""
        own = Reply(reading.reply, reading.answer, reading.cut_off)
        if reading.status == "unread" or (chat.choices == 1 and not chat.samples):
            return [own] * chat.choices
        sampling = Sampling(temperature=chat.temperature or 0.0, top_p=chat.top_p or 1.0, seed=chat.seed)
        drawn = await reader.answer(reading, sampling=sampling, count=chat.choices)
        self.metrics.tokens(sum(one.prompt_tokens for one in drawn), sum(one.completion_tokens for one in drawn))
        return drawn

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[bool]:
        """Whether no other request reads the same at this moment; only one may go on with what was broken off."""
        if key in self._reading:
            yield False
            return
        self._reading.add(key)
        try:
            yield True
        finally:
            self._reading.discard(key)

    def _choice(self, reply: Reply, chat: ChatRequest, prefill: str) -> Choice:
        text, cut_off = reply.answer, reply.cut_off
        if prefill.strip() and text.startswith(prefill.strip()):
            text = text[len(prefill.strip()) :]
        if chat.limit is not None and len(ends := self.model.tokenizer.ends(text)) > chat.limit:
            text, cut_off = text[: ends[chat.limit - 1]], True
        stopped = min((at for stop in chat.stops if (at := text.find(stop)) >= 0), default=None)
        if stopped is not None:
            text, cut_off = text[:stopped], False
        return Choice(text, "length" if cut_off else "stop")

    async def direct(self, owner: str, chat: ChatRequest) -> Done:
        """Ask the model as it is, without reading; the chat fits its window.

        Raises:
            ApiError: 429, or a chat that ends in nothing to answer.
            MemagentError: as `Model.generate`.
        """
        guard = Guard(self.model.special_tokens)
        said = [(one.role, guard.neutralise(one.text)[0]) for one in (message.said() for message in chat.messages)]
        prefill = said.pop()[1] if said[-1][0] == "assistant" and len(said) > 1 else ""
        prompt = Prompt(segments=(said[-1][1],), history=tuple(said[:-1]), prefill=prefill)
        limit = chat.limit or self.settings.resolve(self.model).answer_tokens
        request = Request(
            prompt=prompt,
            max_tokens=max(1, min(limit, self.model.window - self.model.prompt_tokens(prompt))),
            sampling=Sampling(temperature=chat.temperature or 0.0, top_p=chat.top_p or 1.0, seed=chat.seed),
        )
        async with self.admission.place(owner):
            found = [await self.model.generate(one) for one in seeded(request, chat.choices)]
        self.metrics.tokens(sum(one.prompt_tokens for one in found), sum(one.completion_tokens for one in found))
        replies = [Reply(one.text, guard.restore(one.text), one.finish == "length") for one in found]
        return Done(
            choices=tuple(self._choice(reply, chat, "") for reply in replies),
            prompt_tokens=found[0].prompt_tokens,
            completion_tokens=sum(one.completion_tokens for one in found),
        )


def _problem(found: Asked) -> str:
    if not found.prefill.strip():
        return found.problem
    return f"{found.problem}\n\nThe answer goes on from here: {found.prefill.strip()}"
