"""Where in a document the facts stand that an answer rests on, and so what the gate should do at each chunk.

It does not know models or prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from memagent.tasks.problem import Problem

# What a chunk holds of the facts: none of them, at least one whole, or only parts of some (cut by its ends).
Holds = Literal["nothing", "facts", "parts"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A passage with its characters in the document's text."""

    text: str
    start: int
    end: int


def facts_of(problem: Problem) -> tuple[Fact, ...]:
    """All places where a problem's facts stand in its context, in order; empty where none is known."""
    found = {Fact(fact, at, at + len(fact)) for fact in problem.facts if fact for at in _places(problem.context, fact)}
    return tuple(sorted(found, key=lambda fact: (fact.start, fact.end)))


def _places(text: str, part: str) -> Iterable[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + len(part))


def within(facts: Sequence[Fact], start: int, end: int) -> tuple[Holds, tuple[Fact, ...]]:
    """What the characters from `start` to `end` hold, and the facts that stand there whole."""
    whole = tuple(fact for fact in facts if start <= fact.start and fact.end <= end)
    if whole:
        return "facts", whole
    cut = any(fact.start < end and start < fact.end for fact in facts)
    return ("parts" if cut else "nothing"), ()


def cuts(facts: Sequence[Fact], start: int, end: int) -> bool:
    """Whether one of the ends stands inside a fact, so that only a part of that fact is to be seen."""
    return any(fact.start < edge < fact.end for fact in facts for edge in (start, end))


def needless(problem: Problem, changes: Iterable[tuple[int, int]]) -> int | None:
    """How many of the chunks that changed a memory, as characters from start to end, hold no part of a fact.

    None where no facts are known.
    """
    facts = facts_of(problem)
    return sum(within(facts, *span)[0] == "nothing" for span in changes) if facts else None
