"""One chunk and a memory: the calls that it takes, and the turns that come of them.

It does not know which chunk comes next, nor what became of the ones before but for how sure a memory's lines are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from memagent.documents import split
from memagent.documents.base import Chunk
from memagent.errors import OptionError, TurnRefused, WindowOverflow
from memagent.models.base import Completion, Model
from memagent.reading.asking import ATTEMPTS, Asker, digest
from memagent.reading.doubts import passage, taken, without
from memagent.reading.evidence import grounded, supports
from memagent.reading.memory import settle
from memagent.reading.protocols import Update
from memagent.reading.requests import Requests
from memagent.reading.result import Turn
from memagent.reading.settings import Plan
from memagent.reading.sieve import Sieve

SPLITS = 3  # a chunk still refused is halved at most so often before it counts as failed
RECUTS = 32  # a chunk that overflows the window is halved as often as it takes
SHORTEST = 200  # characters below which a chunk is not cut any further
PATIENCE = 3  # after so many chunks in a row were refused whole, one refusal is enough until one is read again
SECOND_LOOK = 0.5  # the share of a chunk that is shown again to confirm what was taken from it
FIRST_WORDS = 8  # tokens of a reply of which the verb alone is wanted
REREADS = 3  # how often, at most, what is left of a chunk is read after an addition


class Turns:
    """Reads single chunks for `problem`. `sure` holds how sure lines of the memory are, where it is known.

    `untold` counts the replies whose probability decides and was not told.
    """

    def __init__(
        self, problem: str, plan: Plan, model: Model, asker: Asker, requests: Requests, sources: tuple[str, ...]
    ) -> None:
        self.sure: dict[str, float] = {}
        self.untold = 0
        self._problem = problem
        self._plan = plan
        self._tokenizer = model.tokenizer
        self._asker = asker
        self._requests = requests
        self._wording = requests.wording
        self._sources = sources
        self._refused_in_a_row = 0

    def note(self, turns: list[Turn]) -> None:
        """The `turns` of a chunk were accepted: what they say of those to come."""
        refused = all(turn.outcome == "failed" for turn in turns)
        self._refused_in_a_row = self._refused_in_a_row + 1 if refused else 0
        for turn in turns:
            self.sure |= turn.sure_of

    @property
    def patient(self) -> bool:
        """Whether a refused chunk is asked about again; it is not behind many that were refused whole."""
        return self._refused_in_a_row < PATIENCE

    async def read(self, chunk: Chunk, memory: str) -> list[Turn]:
        """Read one chunk: a refusal is asked a second time, then the halves are read one after the other."""
        if not chunk.text.strip() and self._wording.can_keep:
            return [_kept_unasked(chunk, memory)]
        request, tags = self._requests.update(self._shown(chunk), memory, turn=chunk.index)
        patient = self.patient
        for attempt in range(ATTEMPTS if patient else 1):
            try:
                completion = await self._asker.ask(_place(chunk), memory, request, attempt)
            except WindowOverflow as error:
                return await self._halves(chunk, memory, str(error), calls=attempt + 1, splits=RECUTS)
            except TurnRefused as error:
                refusal = str(error)
            else:
                turn = self._turn(chunk, memory, completion, tags=tags, calls=attempt + 1)
                return [await self._looked_again(chunk, memory, turn)]
        calls, splits = (ATTEMPTS, SPLITS) if patient else (1, 0)
        return await self._halves(chunk, memory, refusal, calls=calls, splits=splits)

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
        first, second = split(chunk, self._tokenizer)
        turns = await self.read(first, memory)
        if turns[-1].outcome != "done":
            turns += await self.read(second, turns[-1].memory)
        return [replace(turns[0], calls=turns[0].calls + calls), *turns[1:]]

    def _shown(self, chunk: Chunk) -> str:
        """The chunk as the prompt shows it: the published code strips the document's two ends."""
        if not self._wording.exact_slices:
            return chunk.text
        text = chunk.text.lstrip() if chunk.is_first else chunk.text
        return text.rstrip() if chunk.is_last else text

    def _turn(self, chunk: Chunk, memory: str, completion: Completion, *, tags: int, calls: int) -> Turn:
        update = self._requests.told(completion.text)
        sure = self._sureness(completion) if self._plan.gate else None
        wanted = self._trusted(update, chunk, memory)
        held = taken(wanted, chunk.text, memory, sure=sure, gate=self._plan.gate, verbatim=self._plan.verbatim)
        surety = 1.0 if sure is None else sure
        after, trimmed = settle(
            held.update, memory, self._plan.memory_tokens, self._tokenizer, sure=self.sure, surety=surety
        )
        cut_off = update.outcome in ("add", "write") and held.doubt is None and completion.finish == "length"
        turn = Turn(
            chunk=chunk.name,
            start=chunk.start,
            end=chunk.end,
            outcome=update.outcome,
            memory=memory,
            trimmed=trimmed or cut_off,
            calls=calls,
            neutralised=tags,
            sure=sure,
            quotes=(held.quotes.lines, held.quotes.exact),
            doubted=held.doubt,
            added=held.update.text if held.update.outcome == "add" else "",
        )
        return self._changed(turn, chunk, after, {} if sure is None else dict.fromkeys(_new(memory, after), sure))

    def _trusted(self, update: Update, chunk: Chunk, memory: str) -> Update:
        """What of a malformed reply may be added; any other as it is."""
        if update.outcome != "malformed":
            return update
        found = grounded(chunk, self._sources, self._problem, memory, update.text)
        return Update("add", found) if found else update

    def _sureness(self, completion: Completion) -> float | None:
        """The probability with which a reply began, behind a model's thoughts not known."""
        if completion.logprobs and not completion.thinking:
            return math.exp(completion.logprobs[0])
        self.untold += 1
        return None

    def _changed(self, turn: Turn, chunk: Chunk, after: str, sure_of: Mapping[str, float]) -> Turn:
        """The turn, which left its memory as it was, with the memory `after` it."""
        if after == turn.memory:
            return turn
        found = tuple(supports(chunk, self._sources, turn.memory, after))
        return replace(turn, memory=after, changed=True, supports=found, sure_of=dict(sure_of))

    async def _looked_again(self, chunk: Chunk, memory: str, turn: Turn) -> Turn:
        """The turn after the second looks that the plan asks for."""
        sieve = self._sieve(chunk) if self._plan.sift else None
        turn = await self._doubted(chunk, memory, turn, sieve)
        return await self._reread(chunk, turn, sieve)

    async def _doubted(self, chunk: Chunk, memory: str, turn: Turn, sieve: Sieve | None) -> Turn:
        if sieve:
            return await self._sifted(chunk, memory, turn, sieve)
        return await self._confirmed(chunk, memory, turn)

    async def _confirmed(self, chunk: Chunk, memory: str, turn: Turn) -> Turn:
        """The turn if the model changes the memory again when it sees what it took with what stands around it alone.

        A write is not asked again: it speaks of the memory as much as of the chunk.
        """
        if not self._plan.confirm or not _added(turn):
            return turn
        part = passage(chunk.text, _quotes(turn), SECOND_LOOK)
        request, _ = self._requests.update(part, memory, turn=chunk.index)
        try:
            completion = await self._asker.ask(f"{_place(chunk)}?", memory, request)
        except TurnRefused:
            return replace(turn, calls=turn.calls + 1)
        again = self._requests.told(completion.text)
        turn = replace(turn, calls=turn.calls + 1)
        return turn if again.outcome in ("add", "write") else _taken_back(turn, memory)

    async def _sifted(self, chunk: Chunk, memory: str, turn: Turn, sieve: Sieve) -> Turn:
        """The turn with what the sieve takes in place of what the model added; a write is taken as it is."""
        if turn.outcome != "add" or turn.doubted == "unsure":
            return turn
        calls, refused = sieve.calls, sieve.refused
        lines = await sieve.take(_new(memory, turn.added), memory)
        turn = replace(turn, calls=turn.calls + sieve.calls - calls)
        if not lines:
            return turn if sieve.refused > refused or not turn.changed else _taken_back(turn, memory)
        after, trimmed, sure = memory, False, dict(self.sure)
        for line, surety in lines.items():
            update = Update("add", line)
            after, cut = settle(update, after, self._plan.memory_tokens, self._tokenizer, sure=sure, surety=surety)
            trimmed, sure = trimmed or cut, sure | {line: surety}
        kept = replace(turn, memory=memory, changed=False, trimmed=trimmed, supports=(), doubted=None)
        return self._changed(kept, chunk, after, lines)

    def _sieve(self, chunk: Chunk) -> Sieve:
        async def sure(text: str, memory: str, attempt: int) -> float | None:
            request, _ = self._requests.update(text, memory, turn=chunk.index)
            short = replace(request, max_tokens=FIRST_WORDS)
            try:
                completion = await self._asker.ask(f"{_place(chunk)}={digest(text)}", memory, short, attempt)
            except TurnRefused:
                return None
            adds = self._requests.told(completion.text).outcome in ("add", "write")
            told = self._sureness(completion) if adds else 0.0
            return 1.0 if told is None else told

        return Sieve(self._shown(chunk), sure, self._plan.sift, one_by_one=self._asker.is_bounded)

    async def _reread(self, chunk: Chunk, turn: Turn, sieve: Sieve | None) -> Turn:
        """The turn with what the model adds when it reads what is left of the chunk, until it adds nothing.

        A model that has found one fact tends to stop there. What it took is not shown again: with it in sight, it
        keeps.
        """
        more = turn
        for number in range(REREADS if self._plan.reread else 0):
            rest = without(self._shown(chunk), _quotes(turn))
            if not _added(more) or not rest.strip():
                break
            request, _ = self._requests.update(rest, turn.memory, turn=chunk.index)
            try:
                completion = await self._asker.ask(f"{_place(chunk)}+{number}", turn.memory, request)
            except (TurnRefused, WindowOverflow):
                return replace(turn, calls=turn.calls + 1)
            more = self._turn(chunk, turn.memory, completion, tags=0, calls=1)
            if more.outcome != "add":  # a write would take back what was just added
                return replace(turn, calls=turn.calls + 1)
            more = await self._doubted(chunk, turn.memory, more, sieve)
            turn = _joined(turn, more)
        return turn


def _kept_unasked(chunk: Chunk, memory: str) -> Turn:
    """A chunk of white space says nothing: no call for it."""
    return Turn(chunk=chunk.name, start=chunk.start, end=chunk.end, outcome="keep", memory=memory, calls=0)


def _place(chunk: Chunk) -> str:
    """By what the journal knows a chunk: chunks of the same number are cut elsewhere if the window changes."""
    return f"{chunk.name}:{chunk.start}-{chunk.end}"


def _new(memory: str, after: str) -> list[str]:
    """The lines of the memory `after` that the one before did not have."""
    known = memory.split("\n")
    return [line for line in after.split("\n") if line not in known]


def _added(turn: Turn) -> bool:
    """Whether the turn added what stands in its chunk."""
    return turn.changed and turn.outcome == "add" and bool(turn.supports)


def _quotes(turn: Turn) -> list[str]:
    return [support.evidence.quote for support in turn.supports]


def _taken_back(turn: Turn, memory: str) -> Turn:
    return replace(turn, memory=memory, changed=False, trimmed=False, supports=(), sure_of={}, doubted="unconfirmed")


def _joined(turn: Turn, more: Turn) -> Turn:
    """Two turns over one chunk as one; what held a second addition back is no doubt about the first."""
    quotes = turn.quotes[0] + more.quotes[0], turn.quotes[1] + more.quotes[1]
    return replace(
        turn, memory=more.memory, trimmed=turn.trimmed or more.trimmed, calls=turn.calls + more.calls,
        supports=turn.supports + more.supports, sure_of={**turn.sure_of, **more.sure_of}, quotes=quotes,
    )  # fmt: skip
