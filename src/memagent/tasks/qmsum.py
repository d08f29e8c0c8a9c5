"""QMSum: summaries of a meeting for a query (Zhong et al., 2021). The transcript is the document.

Where a meeting is shorter than the length that is asked for, other meetings stand before and behind it, and the
last of them is cut at a word. It does not know how summaries are scored: the metric is ROUGE-L.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from memagent.errors import InputError, OptionError, SetupError
from memagent.tasks.choosing import Chosen, choose
from memagent.tasks.measure import Measure, measure_of
from memagent.tasks.packing import Packed, pack
from memagent.tasks.problem import Problem
from memagent.tasks.qa.datasets import missing
from memagent.tasks.qa.sources import Record, records
from memagent.tokens import Tokenizer

MAX_TOKENS = 256  # to generate
HEAD = "Read the transcripts of meetings and answer the query with a summary.\n\n"
TAIL = "\n\nQuery about meeting {number}: {query}\nSummary:"


@dataclass(frozen=True, slots=True)
class _Meeting:
    text: str
    lines: tuple[str, ...]
    queries: tuple[tuple[str, str, tuple[int, ...]], ...]  # query, summary, the lines that it rests on


@dataclass(frozen=True, slots=True)
class _Meetings:
    """All meetings, and the queries as (meeting, number of its query)."""

    all: tuple[_Meeting, ...]
    queries: tuple[tuple[int, int], ...]


def sample(*, tokens: int, tokenizer: Tokenizer, source: str | None, seed: int = 0, index: int = 0) -> Problem:
    """Query number `index` of a fixed shuffle, its meeting among as many others as fit.

    Raises:
        SetupError: there is no source.
        OptionError: the meeting alone is longer than `tokens`, or there is no such query.
        InputError: the source holds no other meeting.
    """
    return _made(source, seed, index).problem(tokens, measure_of(tokenizer))


def fitting(count: int, *, tokens: int, tokenizer: Tokenizer, source: str | None, seed: int = 0) -> Chosen:
    """The first `count` numbers of queries whose meeting fits `tokens` by itself.

    Raises:
        SetupError: there is no source.
        OptionError: no meeting fits.
    """
    measure = measure_of(tokenizer)
    total = len(_meetings(_given(source)).queries)
    return choose("qmsum", total, count, lambda index: _made(source, seed, index).least(measure), tokens, "tokens")


def _given(source: str | None) -> str:
    if not source:
        raise SetupError(missing("qmsum"))
    return source


def _made(source: str | None, seed: int, index: int) -> _Made:
    found = _meetings(_given(source))
    order = _order(len(found.queries), seed)
    if not 0 <= index < len(order):
        raise OptionError(f"{source} has {len(order)} queries: there is no number {index}")
    own, query = found.queries[order[index]]
    return _Made(found.all, own, query, seed, index)


@lru_cache(maxsize=4)
def _order(total: int, seed: int) -> tuple[int, ...]:
    return tuple(random.Random(f"{seed}/queries").sample(range(total), total))


@dataclass
class _Made:
    """One query of a meeting, `own`, among others."""

    meetings: tuple[_Meeting, ...]
    own: int
    query: int
    seed: int
    index: int

    def least(self, measure: Measure) -> int:
        """Tokens of the problem with its own meeting alone."""
        return measure.exact(self._prompt([self.meetings[self.own].text], 0)) + MAX_TOKENS

    def problem(self, tokens: int, measure: Measure) -> Problem:
        """The problem of at most `tokens`."""
        if (least := self.least(measure)) > tokens:
            raise OptionError(f"this meeting and its query need {least} tokens: {tokens} are too few")
        own = self.meetings[self.own]
        packed = pack(
            own.text,
            self._others(),
            share=random.Random(f"{self.seed}/{self.index}/place").random(),
            prompt=self._prompt,
            budget=tokens - MAX_TOKENS,
            measure=measure,
        )
        query, summary, facts = own.queries[self.query]
        return Problem(
            id=f"qmsum-{tokens}-{self.seed}-{self.index}",
            task="qmsum",
            question=f"Summarize from meeting {packed.own + 1}: {query}",
            answers=(summary,),
            metric="rouge_l",
            context=_context(packed.texts),
            head=HEAD,
            tail=TAIL.format(number=packed.own + 1, query=query),
            max_tokens=MAX_TOKENS,
            length=packed.size + MAX_TOKENS,
            tokenizer=measure.tokenizer.name,
            facts=tuple(own.lines[number] for number in facts),
            notes={"seed": self.seed, "index": self.index, "target": tokens, **self._notes(packed)},
        )

    def _others(self) -> Iterator[str]:
        """The other meetings in random order; then again in another one, without end.

        Raises:
            InputError: there is none.
        """
        others = [meeting.text for number, meeting in enumerate(self.meetings) if number != self.own]
        if not others:
            raise InputError("the source holds one meeting: with no other one the problem cannot be made longer")
        rng = random.Random(f"{self.seed}/{self.index}/others")
        while True:
            yield from rng.sample(others, len(others))

    def _notes(self, packed: Packed) -> dict[str, object]:
        notes: dict[str, object] = {"own": packed.own + 1, "meetings": len(packed.texts)}
        if packed.shortened is not None:
            notes["shortened"] = f"meeting {packed.shortened}"
        if len(packed.texts) > len(self.meetings):
            notes["extended"] = "meetings are repeated, in another order each time"
        return notes

    def _prompt(self, texts: list[str], own: int) -> str:
        query = self.meetings[self.own].queries[self.query][0]
        return f"{HEAD}{_context(texts)}{TAIL.format(number=own + 1, query=query)}"


def _context(texts: list[str]) -> str:
    return "\n\n".join(f"Meeting {number}:\n{text}" for number, text in enumerate(texts, start=1))


@lru_cache(maxsize=2)
def _meetings(source: str) -> _Meetings:
    found = []
    for place, record in records(source):
        try:
            found.append(_meeting(record))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            what = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{place} is no record of qmsum: {what}") from error
    queries = tuple((m, q) for m, meeting in enumerate(found) for q in range(len(meeting.queries)))
    if not queries:
        raise InputError(f"{source} holds no query of a meeting")
    return _Meetings(tuple(found), queries)


def _meeting(record: Record) -> _Meeting:
    lines = tuple(f"{one['speaker']}: {' '.join(one['content'].split())}" for one in record["meeting_transcripts"])
    queries: list[tuple[str, str, tuple[int, ...]]] = [
        (_text(one, "query"), _text(one, "answer"), ()) for one in record.get("general_query_list") or ()
    ]
    for one in record.get("specific_query_list") or ():
        spans = [(int(first), int(last)) for first, last in one["relevant_text_span"]]
        facts = tuple(n for first, last in spans for n in range(max(0, first), min(last + 1, len(lines))))
        queries.append((_text(one, "query"), _text(one, "answer"), facts))
    return _Meeting("\n".join(lines), lines, tuple(queries))


def _text(record: Record, name: str) -> str:
    if not isinstance(record[name], str) or not record[name].strip():
        raise ValueError(f"the field {name!r} must be a text")
    return str(record[name])
