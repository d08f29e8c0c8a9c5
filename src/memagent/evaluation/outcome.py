"""What became of one problem under one method: a line of `results.jsonl`. Plain records, no behaviour."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

NO_ANSWER = ("overflow", "failed", "unread")  # there was none: every score is 0

# As in a reading (`memagent.reading.result.Status`), and: overflow, where a prompt did not fit the window;
# failed, where the model refused or the endpoint gave up. All but `answered` and what still has a
# right answer score what their reply scores; overflow, failed and unread score 0.
OutcomeStatus = Literal["answered", "not_found", "partial", "unread", "overflow", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One problem, one method.

    `method` is the line it belongs to in a figure (`gated`, `paper`, `full`, `full+yarn`, `truncated`,
    `no-context`, `bm25`, `map-reduce`, with the model's name before it where several are compared), `length` the
    length that was asked for and `label` how it was written (`8k`, `50 documents`); `document_tokens` what
    the document has. `score` is the main metric's, `scores` has all by name. `seconds` is wall clock with
    other problems running beside it; token counts are all calls', those in vain included.
    `reading_id` is the reading in the evaluation's own journal. Of a reading also: how many turns were `changes` of the
    memory, how many of them showed no part of a fact (`false_changes`, None where facts are not known), how many
    were `doubted` and held back, and of the `quotes` that were to be added how many were `exact`.
    """

    problem: str
    index: int
    task: str
    metric: str
    method: str
    length: int
    label: str
    status: OutcomeStatus
    question: str
    references: tuple[str, ...]
    reply: str
    answer: str
    score: float
    scores: dict[str, float] = field(default_factory=dict)
    document_tokens: int = 0
    seconds: float = 0.0
    model_calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    reading_id: str = ""
    changes: int = 0
    false_changes: int | None = None
    doubted: int = 0
    quotes: int = 0
    exact: int = 0
    error: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Outcome:
        """The inverse of `as_json`."""
        return cls(**{**record, "references": tuple(record["references"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The most memory this process held while `method` worked at `length`, in bytes (None: not known)."""

    method: str
    length: int
    resident: int | None
    gpu: int | None = None
