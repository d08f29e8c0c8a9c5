"""One reading: a problem, the chunks of a document, a memory that is overwritten, an answer.

Holds the only loop there is; whoever reads — command line, evaluation, server, trainer — comes through
here. It does not know where chunks and models come from, nor where a reading is shown.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from memagent.documents.base import Chunk
from memagent.errors import TurnRefused
from memagent.models.base import Completion, Model, Request
from memagent.reading.asking import Asker
from memagent.reading.evidence import choose
from memagent.reading.journal import Journal
from memagent.reading.lookahead import Lookahead, NextChunk
from memagent.reading.protocols import NO_MEMORY
from memagent.reading.requests import Requests
from memagent.reading.result import Coverage, Reading, Start, Support, Tally, Turn, Usage
from memagent.reading.settings import Plan
from memagent.reading.turns import Turns
from memagent.reading.verdict import judge

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
        self._on_progress = on_progress
        self._requests = Requests(problem, plan, model.special_tokens)
        self._chunks = Turns(problem, plan, model, asker, self._requests, sources)
        self._chunks.sure |= start.sure if start else {}
        self._found: deque[Support] = deque(maxlen=SUPPORTS)
        self._turns = self._calls = 0

    @property
    def usage(self) -> Usage:
        """Calls, tokens, seconds and money so far (`result.Usage`)."""
        self._asker.usage.seconds = self._asker.seconds
        return self._asker.usage

    async def read(self, next_chunk: Callable[[], Awaitable[Chunk | None]], leave: Callable[[], None]) -> None:
        """Take in all chunks, or as many as the exit gate asks for; `leave` tells that no more are wanted."""
        self._on_progress(Progress(self, None))
        width = self.plan.read_ahead if self._requests.wording.can_keep else 1
        lookahead = Lookahead(
            self._behind_start(next_chunk),
            self._chunks.read,
            width=width,
            may_ahead=self._may_ahead,
            manner=lambda: self._chunks.patient,
        )
        async with contextlib.aclosing(lookahead.turns(self.memory)) as accepted:
            async for turns in accepted:
                for turn in turns:
                    self._accept(turn)
                self._chunks.note(turns)
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
        request = self._requests.answer(self.memory, sampling=self.plan.sampling(chunks))
        completion = await self._ask_answer(request)
        self.tally.vain = self.usage.model_calls - self._calls - 1
        reply, answer = self._requests.answered(completion.text, self.memory)
        cut_off = completion.finish == "length"
        reading = self._drawn_up(reply, answer, cut_off=cut_off)
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
            notes=(*self._model.notes, *self._untold()),
            reply=reply,
            cut_off=cut_off,
            sure={line: self._chunks.sure[line] for line in self.memory.split("\n") if line in self._chunks.sure},
        )

    def _untold(self) -> list[str]:
        """That probabilities were to decide and were not told."""
        many = self._chunks.untold
        return [f"the model told no probability of {many} replies: --gate and --sift let them pass"] if many else []

    def _accept(self, turn: Turn) -> None:
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
        self.tally.recut += "." in turns[0].chunk
        failed = any(turn.outcome == "failed" for turn in turns)
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
        frame = self._model.prompt_tokens(self._requests.update("", self.memory, turn=0)[0].prompt)
        chunk = self.plan.chunk_tokens if self._model.tokenizer.exact else 3 * self.plan.chunk_tokens
        return self._asker.can_afford(frame + chunk, self.plan.memory_tokens + self.plan.thinking_tokens)


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
