"""One reading: a problem, the chunks of a document, a memory that is overwritten, an answer.

Holds the only loop there is; whoever reads — command line, evaluation, server, trainer — comes through
here. It does not know where chunks and models come from, nor where a reading is shown.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from memagent.documents import split
from memagent.documents.base import Chunk
from memagent.errors import OptionError, TurnRefused, WindowOverflow
from memagent.models.base import Completion, Model, Prompt, Request
from memagent.reading.asking import Asker
from memagent.reading.doubts import passage, taken, without
from memagent.reading.evidence import choose, grounded, supports
from memagent.reading.guard import Guard
from memagent.reading.journal import Journal
from memagent.reading.lookahead import Lookahead, NextChunk
from memagent.reading.memory import settle
from memagent.reading.protocols import NO_MEMORY, Update, parse_answer
from memagent.reading.result import Coverage, Reading, Start, Support, Tally, Turn, Usage
from memagent.reading.settings import Plan
from memagent.reading.verdict import judge

ATTEMPTS = 2  # how often a refused chunk is asked
SPLITS = 3  # a chunk still refused is halved at most so often before it counts as failed
RECUTS = 32  # a chunk that overflows the window is halved as often as it takes
SHORTEST = 200  # characters below which a chunk is not cut any further
PATIENCE = 3  # after so many chunks in a row were refused whole, one refusal is enough until one is read again
SECOND_LOOK = 0.5  # the share of a chunk that is shown again to confirm what was taken from it
REREADS = 3  # how often, at most, what is left of a chunk is read after an addition
SUPPORTS = 4096  # candidates for evidence that are held at once, the newest


@dataclass(frozen=True, slots=True)
class Progress:
    """A reading under way: what a screen shows after each turn. `turn` is None before the first."""

    run: Run
    turn: Turn | None


OnProgress = Callable[[Progress], None]


class Run:
    """The state of one reading. `memory`, `coverage`, `tally` and `usage` may be watched while it runs."""

    def __init__(
        self,
        problem: str,
        plan: Plan,
        model: Model,
        journal: Journal,
        asker: Asker,
        *,
        reading_id: str,
        sources: tuple[str, ...],
        characters: int,
        start: Start | None = None,
        on_progress: OnProgress,
    ) -> None:
        self.problem = problem
        self.plan = plan
        self.reading_id = reading_id
        self.characters = characters
        self.memory = start.memory if start else NO_MEMORY
        self.coverage = Coverage()
        self.tally = Tally()
        self.position = start.characters if start else 0  # characters of the document that are read
        self._first = self.position
        self._model = model
        self._journal = journal
        self._asker = asker
        self._sources = sources
        self._on_progress = on_progress
        self._wording = plan.wording()
        self._guard = Guard(model.special_tokens)
        self._found: deque[Support] = deque(maxlen=SUPPORTS)
        self._sure: dict[str, float] = {}  # of lines of the memory, where it is known
        self._turns = self._calls = self._refused_in_a_row = 0
        self._guarded_problem = self._guard.neutralise(problem.strip())[0]

    @property
    def usage(self) -> Usage:
        """Calls, tokens, seconds and money so far (`result.Usage`)."""
        self._asker.usage.seconds = self._asker.seconds
        return self._asker.usage

    async def read(self, next_chunk: Callable[[], Awaitable[Chunk | None]], leave: Callable[[], None]) -> None:
        """Take in all chunks, or as many as the exit gate asks for; `leave` tells that no more are wanted."""
        self._on_progress(Progress(self, None))
        width = self.plan.read_ahead if self._wording.can_keep else 1
        lookahead = Lookahead(self._behind_start(next_chunk), self._read_chunk, width=width, may_ahead=self._may_ahead)
        async with contextlib.aclosing(lookahead.turns(self.memory)) as accepted:
            async for turns in accepted:
                for turn in turns:
                    self._accept(turn)
                self._cover(turns)
                if turns[-1].outcome == "done":
                    break
        leave()

    def _behind_start(self, next_chunk: NextChunk) -> NextChunk:
        async def wanted() -> Chunk | None:
            while (chunk := await next_chunk()) is not None and chunk.end <= self._first:
                pass
            return chunk

        return wanted

    async def answer(self, chunks: int, document_tokens: int) -> Reading:
        """Ask for the answer from the memory alone, and draw up the reading.

        Where the model refused every chunk there is nothing to ask: the reading comes back `unread`,
        and what was refused is asked again when it is resumed.
        """
        self.coverage.chunks, self.coverage.document_tokens = chunks, document_tokens
        self.coverage.skipped = chunks - self.coverage.read - self.coverage.failed
        if self._turns == self.tally.failed and not self._first:
            self._journal.forget_refusals(self.reading_id)
            return self._drawn_up("", "", cut_off=False)
        prompt = self._wording.answer_prompt(self._guarded_problem, self._guard.neutralise(self.memory)[0])
        completion = await self._ask_answer(self._request(prompt, self.plan.answer_tokens, turn=chunks))
        self.tally.vain = self.usage.model_calls - self._calls - 1
        reply = self._guard.restore(completion.text)
        cut_off = completion.finish == "length"
        reading = self._drawn_up(reply, parse_answer(reply, self.plan.answer_form), cut_off=cut_off)
        self._journal.finish(self.reading_id, reading.as_json(), turns=self._turns)
        return reading

    async def _ask_answer(self, request: Request) -> Completion:
        """Ask for the answer; a refusal is asked a second time, and again when the reading is resumed."""
        try:
            return await self._asker.ask("answer", self.memory, request, replays_failures=False)
        except TurnRefused:
            return await self._asker.ask("answer", self.memory, request, replays_failures=False)

    def _drawn_up(self, reply: str, answer: str, *, cut_off: bool) -> Reading:
        return Reading(
            problem=self.problem,
            answer=answer,
            # What was read before counts as one turn that did not fail.
            status=judge(answer, self.memory, failed=self.tally.failed, turns=self._turns + bool(self._first)),
            evidence=choose(self._found, problem=self.problem, memory=self.memory, answer=answer),
            memory=self.memory,
            coverage=self.coverage,
            usage=self.usage,
            reading_id=self.reading_id,
            settings={"model": self._model.name, **asdict(self.plan)},
            tally=self.tally,
            notes=tuple(self._model.notes),
            reply=reply,
            cut_off=cut_off,
        )

    def _accept(self, turn: Turn) -> None:
        if turn.changed and turn.sure is not None:
            self._sure |= {line: turn.sure for line in turn.memory.split("\n") if line not in self.memory.split("\n")}
        self.memory, self.position = turn.memory, turn.end
        self._found.extend(turn.supports)
        setattr(self.tally, turn.outcome, getattr(self.tally, turn.outcome) + 1)
        self.tally.trimmed += turn.trimmed
        self.tally.neutralised += turn.neutralised
        self.tally.changed += turn.changed
        self.tally.doubted += turn.doubted is not None
        self.tally.quotes += turn.quotes[0]
        self.tally.exact += turn.quotes[1]
        self._journal.accept(self.reading_id, self._turns, _turn_record(turn))
        self._turns += 1
        self._calls += turn.calls
        self._on_progress(Progress(self, turn))

    def _cover(self, turns: list[Turn]) -> None:
        self.tally.recut += len(turns) > 1
        failed = any(turn.outcome == "failed" for turn in turns)
        refused = all(turn.outcome == "failed" for turn in turns)
        self._refused_in_a_row = self._refused_in_a_row + 1 if refused else 0
        self.coverage.chunks += 1
        self.coverage.failed += failed
        self.coverage.read += not failed

    def _may_ahead(self) -> bool:
        if self._asker.replaying:
            # Calls that were cancelled before would be made, and cancelled, once more.
            return False
        if not self._asker.is_bounded:
            return True  # without counting any tokens
        # The longest call there can be: a whole chunk, by its bytes where tokens are estimated, and a full memory.
        frame = self._model.prompt_tokens(self._wording.update_prompt(self._guarded_problem, self.memory, ""))
        chunk = self.plan.chunk_tokens if self._model.tokenizer.exact else 3 * self.plan.chunk_tokens
        return self._asker.can_afford(frame + chunk, self.plan.memory_tokens + self.plan.thinking_tokens)

    async def _read_chunk(self, chunk: Chunk, memory: str) -> list[Turn]:
        """Read one chunk: a refusal is asked a second time, then the halves are read one after the other."""
        if not chunk.text.strip() and self._wording.can_keep:
            return [self._kept_unasked(chunk, memory)]
        request, tags = self._update_request(self._shown(chunk), memory, turn=chunk.index)
        patient = self._refused_in_a_row < PATIENCE
        for attempt in range(ATTEMPTS if patient else 1):
            try:
                completion = await self._asker.ask(_place(chunk), memory, request, attempt)
            except WindowOverflow as error:
                return await self._halves(chunk, memory, str(error), calls=attempt + 1, splits=RECUTS)
            except TurnRefused as error:
                refusal = str(error)
            else:
                turn = self._turn(chunk, memory, completion, tags=tags, calls=attempt + 1)
                turn = await self._confirmed(chunk, memory, turn)
                return [await self._reread(chunk, turn)]
        calls, splits = (ATTEMPTS, SPLITS) if patient else (1, 0)
        return await self._halves(chunk, memory, refusal, calls=calls, splits=splits)

    def _kept_unasked(self, chunk: Chunk, memory: str) -> Turn:
        """A chunk of white space says nothing: no call for it."""
        return Turn(chunk=chunk.name, start=chunk.start, end=chunk.end, outcome="keep", memory=memory, calls=0)

    async def _halves(self, chunk: Chunk, memory: str, why: str, *, calls: int, splits: int) -> list[Turn]:
        """Read the two halves of a chunk that took `calls` in vain, or give it up after so many `splits`."""
        if splits == RECUTS and len(chunk.text) < SHORTEST:
            raise OptionError(
                f"not even {len(chunk.text)} characters of the document fit the model's window beside the problem and "
                f"the memory ({why}): use smaller --memory-tokens, or give the --window that the model has"
            )
        if chunk.name.count(".") >= splits or len(chunk.text) < SHORTEST:
            failed = Turn(
                chunk=chunk.name, start=chunk.start, end=chunk.end, outcome="failed", memory=memory, error=why,
                calls=calls,
            )  # fmt: skip
            return [failed]
        first, second = split(chunk, self._model.tokenizer)
        turns = await self._read_chunk(first, memory)
        turns += await self._read_chunk(second, turns[-1].memory)
        return [replace(turns[0], calls=turns[0].calls + calls), *turns[1:]]

    def _shown(self, chunk: Chunk) -> str:
        """The chunk as the prompt shows it: the published code strips the document's two ends."""
        if not self._wording.exact_slices:
            return chunk.text
        text = chunk.text.lstrip() if chunk.is_first else chunk.text
        return text.rstrip() if chunk.is_last else text

    def _turn(self, chunk: Chunk, memory: str, completion: Completion, *, tags: int, calls: int) -> Turn:
        update = self._wording.parse_update(self._guard.restore(completion.text))
        sure = math.exp(completion.logprobs[0]) if completion.logprobs and self.plan.gate else None
        held = taken(update, chunk.text, sure=sure, gate=self.plan.gate, verbatim=self.plan.verbatim)
        settled = held.update
        if update.outcome == "malformed":
            found = grounded(chunk, self._sources, self.problem, memory, update.text)
            settled = Update("add", found) if found else update
        surety = 1.0 if sure is None else sure
        after, trimmed = settle(
            settled, memory, self.plan.memory_tokens, self._model.tokenizer, sure=self._sure, surety=surety
        )
        cut_off = held.update.outcome in ("add", "write") and completion.finish == "length"
        return Turn(
            chunk=chunk.name,
            start=chunk.start,
            end=chunk.end,
            outcome=update.outcome,
            memory=after,
            changed=after != memory,
            trimmed=trimmed or cut_off,
            calls=calls,
            neutralised=tags,
            supports=tuple(supports(chunk, self._sources, memory, after)) if after != memory else (),
            sure=sure,
            quotes=(held.quotes.lines, held.quotes.exact),
            doubted=held.doubt,
        )

    async def _confirmed(self, chunk: Chunk, memory: str, turn: Turn) -> Turn:
        """The turn if the model changes the memory again when it sees what it took with what stands around it alone.

        A write is not asked again: it speaks of the memory as much as of the chunk.
        """
        if not self.plan.confirm or not _added(turn):
            return turn
        part = passage(chunk.text, _quotes(turn), SECOND_LOOK)
        request, _ = self._update_request(part, memory, turn=chunk.index)
        try:
            completion = await self._asker.ask(f"{_place(chunk)}?", memory, request)
        except TurnRefused:
            return replace(turn, calls=turn.calls + 1)
        again, calls = self._wording.parse_update(self._guard.restore(completion.text)), turn.calls + 1
        if again.outcome in ("add", "write"):
            return replace(turn, calls=calls)
        return replace(
            turn, calls=calls, memory=memory, changed=False, trimmed=False, supports=(), doubted="unconfirmed"
        )

    async def _reread(self, chunk: Chunk, turn: Turn) -> Turn:
        """The turn with what the model adds when it reads what is left of the chunk, until it adds nothing.

        A model that has found one fact tends to stop there. What it took is not shown again: with it in sight, it
        keeps.
        """
        more = turn
        for number in range(REREADS if self.plan.reread else 0):
            rest = without(self._shown(chunk), _quotes(turn))
            if not _added(more) or not rest.strip():
                break
            request, _ = self._update_request(rest, turn.memory, turn=chunk.index)
            try:
                completion = await self._asker.ask(f"{_place(chunk)}+{number}", turn.memory, request)
            except (TurnRefused, WindowOverflow):
                return replace(turn, calls=turn.calls + 1)
            more = self._turn(chunk, turn.memory, completion, tags=0, calls=1)
            more = await self._confirmed(chunk, turn.memory, more)
            turn = _joined(turn, more)
        return turn

    def _update_request(self, text: str, memory: str, *, turn: int) -> tuple[Request, int]:
        """What asks for an update of `memory` by `text`, and how many tags were neutralised in the text."""
        guarded, tags = self._guard.neutralise(text)
        prompt = self._wording.update_prompt(self._guarded_problem, self._guard.neutralise(memory)[0], guarded)
        return self._request(prompt, self.plan.memory_tokens, turn=turn), tags

    def _request(self, prompt: Prompt, max_tokens: int, *, turn: int) -> Request:
        return Request(
            prompt=prompt,
            max_tokens=max_tokens,
            thinking_tokens=self.plan.thinking_tokens,
            sampling=self.plan.sampling(turn),
            one_token=self._wording.one_token,
            logprobs=self.plan.gate > 0,
        )


def _place(chunk: Chunk) -> str:
    """By what the journal knows a chunk: chunks of the same number are cut elsewhere if the window changes."""
    return f"{chunk.name}:{chunk.start}-{chunk.end}"


def _added(turn: Turn) -> bool:
    """Whether the turn added what stands in its chunk."""
    return turn.changed and turn.outcome == "add" and bool(turn.supports)


def _quotes(turn: Turn) -> list[str]:
    return [support.evidence.quote for support in turn.supports]


def _joined(turn: Turn, more: Turn) -> Turn:
    """Two turns over one chunk as one; what held a second addition back is no doubt about the first."""
    quotes = turn.quotes[0] + more.quotes[0], turn.quotes[1] + more.quotes[1]
    return replace(
        turn, memory=more.memory, trimmed=turn.trimmed or more.trimmed, calls=turn.calls + more.calls,
        supports=turn.supports + more.supports, quotes=quotes,
    )  # fmt: skip


def _turn_record(turn: Turn) -> dict[str, Any]:
    """A turn as the journal keeps it; the memory only where it changed."""
    return {
        "chunk": turn.chunk,
        "start": turn.start,
        "end": turn.end,
        "outcome": turn.outcome,
        "memory": turn.memory if turn.changed else None,
        "trimmed": turn.trimmed,
        "error": turn.error,
        "evidence": json.dumps([asdict(support.evidence) for support in turn.supports]),
    }
