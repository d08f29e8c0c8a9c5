"""What a reading leaves behind: turns, evidence, coverage, usage and the reading itself.

Plain records with their JSON form; no behaviour, no knowledge of how they came about.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

# answered: read whole, or as far as an exit that was asked for; not_found: nothing there to answer from;
# partial: some of it could not be read; unread: none of it could.
Status = Literal["answered", "not_found", "partial", "unread"]

# What became of a chunk's turn: a protocol's outcome, or `failed` where the model refused the text.
TurnOutcome = Literal["keep", "add", "write", "done", "malformed", "empty", "failed"]


# Why a change was not taken: too little probability, no quote of the chunk, not made again on a second look.
Doubt = Literal["unsure", "ungrounded", "unconfirmed"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A verbatim quote: characters [start, end) of the extracted text of `source`, page from 1 or None."""

    quote: str
    source: str
    page: int | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Support:
    """A quote, the memory sentence it supports, and the share of that sentence's weight it carries."""

    evidence: Evidence
    sentence: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One accepted turn over one chunk (or half of one). `memory` is the memory after it
    and `changed` whether it differs from the one before.

    `start` and `end` are characters of the document's text. `trimmed` tells that the reply
    reached its limit, or that its memory was over its budget and was cut; `calls` counts the model
    calls behind it; `neutralised` counts the tags of the chunk that were
    disarmed; `error` says why a failed turn failed. `sure` is the probability of the reply's first token, where the
    model was asked for it. `quotes` counts the lines of an addition and those of them that the chunk says to the
    letter. `doubted` says what held a change back. `sure_of` holds how sure the lines are that it added, where it is
    known. `added` is what a reply adds, before it has to fit the memory.
    """

    chunk: str
    start: int
    end: int
    outcome: TurnOutcome
    memory: str
    changed: bool = False
    trimmed: bool = False
    calls: int = 1
    neutralised: int = 0
    error: str | None = None
    supports: tuple[Support, ...] = ()
    sure: float | None = None
    quotes: tuple[int, int] = (0, 0)
    doubted: Doubt | None = None
    sure_of: dict[str, float] = field(default_factory=dict)
    added: str = ""


@dataclass(slots=True)
class Coverage:
    """What was read. `chunks` counts those made so far; split chunks count once."""

    document_tokens: int = 0
    chunks: int = 0
    read: int = 0
    skipped: int = 0
    failed: int = 0


@dataclass(slots=True)
class Usage:
    """What it took, over all sessions of a reading; calls spent in vain by reading ahead are included."""

    model_calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost_usd: float = 0.0


@dataclass(slots=True)
class Tally:
    """How often each rule of reading was applied; `vain` counts calls that reading ahead made for nothing, `changed`
    the turns that changed the memory, `doubted` those whose change was held back; of `quotes` that were added `exact`
    were copied to the letter."""

    keep: int = 0
    add: int = 0
    write: int = 0
    done: int = 0
    malformed: int = 0
    empty: int = 0
    failed: int = 0
    trimmed: int = 0
    recut: int = 0
    neutralised: int = 0
    vain: int = 0
    changed: int = 0
    doubted: int = 0
    quotes: int = 0
    exact: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """Where a reading begins that does not begin at the start: with `memory`, behind so many `characters`.

    Chunks that end by then are not read again, and count as skipped. `sure` is what is known of the memory's lines, as
    in `Reading`; a line that it does not name is certain.
    """

    memory: str
    characters: int
    sure: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer turn's whole text, the part of it that counts, whether it was cut off at its limit, and its tokens."""

    text: str
    answer: str
    cut_off: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A finished reading of one document for one problem. `as_json` is what `--json` prints.

    `reply` is the answer turn's whole text, of which `answer` is the part that counts; `cut_off`: at its limit. `sure`
    holds the probabilities with which lines of the memory were added, where they are known.
    """

    problem: str
    answer: str
    status: Status
    evidence: tuple[Evidence, ...]
    memory: str
    coverage: Coverage
    usage: Usage
    reading_id: str
    settings: dict[str, Any]
    tally: Tally = field(default_factory=Tally)
    notes: tuple[str, ...] = ()
    reply: str = ""
    cut_off: bool = False
    sure: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """A dictionary of plain values, in the order of the documented interface."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Reading:
        """The inverse of `as_json`."""
        return cls(
            **{
                **record,
                "evidence": tuple(Evidence(**one) for one in record["evidence"]),
                "coverage": Coverage(**record["coverage"]),
                "usage": Usage(**record["usage"]),
                "tally": Tally(**record["tally"]),
                "notes": tuple(record["notes"]),
            }
        )
