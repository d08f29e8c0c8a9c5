"""The reader: opens or resumes readings in the journal and runs them over one pass of a document.

Command line, evaluation, server and trainer all call this. It does not know tasks, rewards or torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from memagent.documents import Document, cut
from memagent.errors import DocumentError, InputError
from memagent.models.base import Model, Sampling, seeded
from memagent.reading.asking import Asker, Purse
from memagent.reading.journal import Entry, Journal, new_id
from memagent.reading.requests import Requests
from memagent.reading.result import Reading, Reply, Start
from memagent.reading.run import OnProgress, Run
from memagent.reading.settings import Plan, Settings
from memagent.reading.stream import ChunkStream
from memagent.reading.together import together


class Reader:
    """Reads documents with one model and one set of settings.

    `journal` keeps every turn (None: in memory only). `max_cost` bounds in USD what all readings of this
    reader spend together, and needs a model with a price. `on_progress` is called after each turn.
    `options` is noted in the journal: how to open the same model again, and the `owner` where there is one, whose
    readings nobody else goes on with.

    >>> import asyncio
    >>> from memagent import Reader, open_document
    >>> from memagent.models import ScriptedModel
    >>> model = ScriptedModel(lambda request: "the answer is \\\\boxed{42}")
    >>> document = open_document(text="Deep Thought said 42. " * 50)
    >>> reading = asyncio.run(Reader(model).read(document, "What did Deep Thought say?"))
    >>> reading.answer, reading.status
    ('42', 'answered')
    """

    def __init__(
        self,
        model: Model,
        settings: Settings | None = None,
        *,
        journal: Journal | None = None,
        max_cost: float | None = None,
        on_progress: OnProgress | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.plan = (settings or Settings()).resolve(model)
        self.journal = journal or Journal()
        self._purse = Purse(max_cost)
        self._on_progress = on_progress or (lambda progress: None)
        self._options = dict(options or {})
        if max_cost is not None and not max_cost >= 0:
            raise InputError(f"--max-cost must be 0 or more, not {max_cost}")
        if max_cost is not None and model.price is None:
            raise InputError("--max-cost needs the model's price: give --price PROMPT,COMPLETION in USD per million")

    async def read(
        self, document: Document, problem: str, *, resume: bool = False, start: Start | None = None
    ) -> Reading:
        """Read `document` for `problem`, from its start or from `start` on.

        With `resume` the newest unfinished reading of the same document, problem, model and settings goes
        on, and a finished one is returned without a call.

        Raises:
            InputError: the problem is empty, or a size does not fit the window.
            SetupError: the model cannot be used at all.
            StoppedError: stopped half-way; what is done is kept.
        """
        return (await self.read_all(document, [problem], resume=resume, start=start))[0]

    def read_sync(
        self, document: Document, problem: str, *, resume: bool = False, start: Start | None = None
    ) -> Reading:
        """`read` for code without an event loop."""

        async def once() -> Reading:
            try:
                return await self.read(document, problem, resume=resume, start=start)
            finally:
                await self.model.disconnect()

        return asyncio.run(once())

    async def read_all(
        self, document: Document, problems: Sequence[str], *, resume: bool = False, start: Start | None = None
    ) -> list[Reading]:
        """Read `document` once for several problems, each with its own memory; in the order given."""
        if not problems or not all(problem.strip() for problem in problems):
            raise InputError("the problem is empty: say what the document is to be read for")
        if any(not is_text(problem) for problem in problems):
            raise InputError("the problem is not valid text: write it in the terminal's encoding")
        keys = {problem: self.key(document, problem, start) for problem in problems}
        sizes = [self.plan.chunk_bytes(self.model, problem) for problem in keys]
        smallest = min((size for size in sizes if size is not None), default=None)
        entries = []
        for problem, key in keys.items():
            found = self.journal.newest(key) if resume else None
            entries.append(found or self._entry(document, problem, key, smallest, start))
        readings = await self._run_all(document, entries)
        return [readings[problem] for problem in problems]

    async def answer(
        self, reading: Reading, *, sampling: Sampling, count: int = 1, max_tokens: int | None = None
    ) -> list[Reply]:
        """`count` more answers from a finished reading's memory, drawn as `sampling` says; nothing is read again.

        The journal does not keep them. `max_tokens` is by default what the plan allows an answer.

        Raises:
            TurnError, SetupError, StoppedError: as a model's call.
        """
        requests = Requests(reading.problem, self.plan, self.model.special_tokens)
        request = requests.answer(reading.memory, sampling=sampling, max_tokens=max_tokens)
        replies = []
        for completion in await together([self.model.generate(one) for one in seeded(request, count)]):
            text, answer = requests.answered(completion.text, reading.memory)
            cut_off = completion.finish == "length"
            replies.append(Reply(text, answer, cut_off, completion.prompt_tokens, completion.completion_tokens))
        return replies

    async def resume(self, document: Document, entry: Entry) -> Reading:
        """Go on with one reading of the journal; a finished one is returned without a call.

        Raises:
            DocumentError: `document` is not the one that was being read.
        """
        if document.fingerprint != entry.fingerprint:
            raise DocumentError(
                f"{document.name} has changed since reading {entry.id} began: ask again to read it anew"
            )
        if self.key(document, entry.problem, entry.start) != entry.key:
            raise InputError(f"reading {entry.id} was made with another model or version of memagent: ask again")
        return (await self._run_all(document, [entry]))[entry.problem]

    def key(self, document: Document, problem: str, start: Start | None = None) -> str:
        """A digest of all that decides a reading: document, problem, model, settings, wording and start."""
        wording = self.plan.wording()
        parts = [document.fingerprint, problem, dict(self.model.identity), self.plan.what_matters(),
                 wording.update_prompt("", "", "").text, wording.answer_prompt("", "").text]  # fmt: skip
        parts += [asdict(start)] if start else []
        parts += [{"owner": self._options["owner"]}] if "owner" in self._options else []
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def _entry(self, document: Document, problem: str, key: str, chunk_bytes: int | None, start: Start | None) -> Entry:
        return Entry(
            id=new_id(),
            created=time.time(),
            state="reading",
            problem=problem,
            document=document.name,
            fingerprint=document.fingerprint,
            paths=document.paths,
            model=dict(self.model.identity),
            settings=_plain(self.plan),
            key=key,
            options=self._options,
            chunk_bytes=chunk_bytes,
            start=start,
        )

    async def _run_all(self, document: Document, entries: list[Entry]) -> dict[str, Reading]:
        done = {entry.problem: Reading.from_json(entry.result) for entry in entries if entry.result}
        open_entries = [entry for entry in entries if entry.problem not in done]
        if not open_entries:
            return done
        sizes = [self.plan.chunk_bytes(self.model, entry.problem) for entry in open_entries]
        sizes += [entry.chunk_bytes for entry in open_entries]
        max_bytes = min((size for size in sizes if size is not None), default=None)
        chunks = cut(
            document,
            self.model.tokenizer,
            tokens=self.plan.chunk_tokens,
            max_bytes=max_bytes,
            exact=self.plan.wording().exact_slices,
        )
        stream = ChunkStream(chunks, len(open_entries))
        with contextlib.ExitStack() as held:
            runs = [self._open(entry, document, held) for entry in open_entries]
            await together([run.read(*stream.reader(number)) for number, run in enumerate(runs)])
            stream.drain()
            # One answer that fails must not cost the others theirs, so all are waited for.
            asked = [run.answer(stream.made, stream.tokens) for run in runs]
            readings = [_or_raise(found) for found in await asyncio.gather(*asked, return_exceptions=True)]
        return done | {reading.problem: reading for reading in readings}

    def _open(self, entry: Entry, document: Document, held: contextlib.ExitStack) -> Run:
        held.enter_context(self.journal.lock(entry.id))
        self.journal.begin(entry)
        asker = Asker(self.model, self.journal, entry.id, purse=self._purse, seconds=entry.seconds)
        return Run(
            entry.problem,
            self.plan,
            self.model,
            self.journal,
            asker,
            reading_id=entry.id,
            sources=tuple(source.name for source in document.sources),
            characters=document.characters,
            start=entry.start,
            on_progress=self._on_progress,
        )


def is_text(text: str) -> bool:
    """Whether a string can be written as UTF-8 (arguments that are no valid text hold lone surrogates)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _plain(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in Plan.__dataclass_fields__}


def _or_raise(found: Reading | BaseException) -> Reading:
    if isinstance(found, BaseException):
        raise found
    return found
