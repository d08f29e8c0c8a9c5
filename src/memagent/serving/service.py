"""One chat as a reading: the document is read by the one reader, its answers come back as choices.

It does not know HTTP: `api.py` turns what it says into bodies and events.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from memagent.documents import Document, open_document
from memagent.models.base import Model, Prompt, Request, Sampling, seeded
from memagent.reading import Journal, Reader, Reading, Settings
from memagent.reading.guard import Guard
from memagent.reading.result import Reply
from memagent.reading.run import OnProgress
from memagent.serving.admission import Admission
from memagent.serving.errors import invalid
from memagent.serving.files import Files
from memagent.serving.messages import Asked, Said, asked
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
    _reading: set[str] = field(default_factory=set)

    def plan(self, chat: ChatRequest) -> Asked | None:
        """What is to be read for a chat; None where the model is asked directly.

        Raises:
            ApiError: it says that it wants to be read, and there is nothing to read.
        """
        said = [message.said() for message in chat.messages]
        told = bool(chat.documents or chat.file_ids)
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
        """Whether the chat, and what may come, fit the model's window as they are."""
        text = "\n".join(one.text for one in said)
        room = self.model.window - (limit or min(1024, self.model.window // 8)) - 16 * len(said)
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
        """A reader for a request of `owner`, whom the journal notes."""
        options = {**self.options, "owner": owner}
        return Reader(self.model, self.settings, journal=self.journal, on_progress=watch, options=options)

    async def read(
        self, owner: str, chat: ChatRequest, found: Asked, document: Document, watch: OnProgress = lambda progress: None
    ) -> Done:
        """Read, and answer as often as is asked. A reading that was broken off goes on.

        Raises:
            ApiError: 429.
            MemagentError: as `Reader.read`.
        """
        reader, problem = self.reader(owner, watch), _problem(found)
        async with self.admission.place(owner):
            with self._alone(reader.key(document, problem)) as alone:
                reading = await reader.read(document, problem, resume=alone)
            replies = await self._replies(reader, reading, chat)
        return Done(
            choices=tuple(self._choice(reply, chat, found.prefill) for reply in replies),
            prompt_tokens=reading.usage.prompt_tokens,
            completion_tokens=reading.usage.completion_tokens,
            reading=reading,
        )

    async def _replies(self, reader: Reader, reading: Reading, chat: ChatRequest) -> list[Reply]:
        """The reading's own answer, or others drawn from its memory where the chat wants them drawn."""
        own = Reply(reading.reply, reading.answer)
        if reading.status == "unread" or (chat.choices == 1 and not chat.samples):
            return [own] * chat.choices
        sampling = Sampling(temperature=chat.temperature or 0.0, top_p=chat.top_p or 1.0, seed=chat.seed)
        limit = min(chat.limit or reader.plan.answer_tokens, reader.plan.answer_tokens)
        return await reader.answer(reading, sampling=sampling, count=chat.choices, max_tokens=limit)

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
        for stop in chat.stops:
            text = text.partition(stop)[0]
        ends = self.model.tokenizer.ends(text)
        if chat.limit is not None and len(ends) > chat.limit:
            text, cut_off = text[: ends[chat.limit - 1]], True
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
        request = Request(
            prompt=Prompt(segments=(said[-1][1],), history=tuple(said[:-1]), prefill=prefill),
            max_tokens=chat.limit or self.settings.resolve(self.model).answer_tokens,
            sampling=Sampling(temperature=chat.temperature or 0.0, top_p=chat.top_p or 1.0, seed=chat.seed),
        )
        async with self.admission.place(owner):
            found = [await self.model.generate(one) for one in seeded(request, chat.choices)]
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
