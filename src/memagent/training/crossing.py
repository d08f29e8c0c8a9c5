"""Other problems asked of a section that says nothing new to them: turns to keep that cost a branch, not a section.

A section and the rest of a prompt are separately tokenised segments, so that those of different turns fit together. It
does not know how trajectories are made.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from memagent.tasks.problem import Problem
from memagent.training.experience import Conversation

Label = Literal["keep", "change", "answer"]
PART = 12  # characters of a fact that are a part of it


@dataclass(frozen=True, slots=True)
class Labelled:
    """A turn to imitate, and what it does; `near` tells of a kept chunk with a sentence that looks like a fact.

    `section` is what it showed (empty: the answer's turn, which shows none) for `problem` beside `memory`.
    """

    conversation: Conversation
    label: Label
    problem: Problem
    near: bool = False
    section: str = ""
    memory: str = ""


def crossed(
    picked: Sequence[Labelled], found: Sequence[Labelled], count: int, keep: Sequence[int], rng: random.Random
) -> list[Conversation]:
    """`count` turns more for each section of `picked`: it is asked as `found` turns ask theirs, and is to be kept.

    The first of a section that changed the memory is asked with the memory as it then was, where that turn was found:
    what is known is not added twice. `keep` are the ids that keep.
    """
    asking = [one for one in found if one.section]
    made = []
    for one in picked:
        if not one.section or not count:
            continue
        others = rng.sample(asking, min(len(asking), 4 * count))
        fitting = [other for other in (*_later(one, asking), *others) if not helps(one.section, other)]
        made += [_joined(one.conversation, other.conversation, keep) for other in fitting[:count]]
    return made


def helps(section: str, asking: Labelled) -> bool:
    """Whether a section says what a turn's problem needs and its memory does not hold, if only a part of it that the
    section's start or end cuts off."""
    facts = [fact for fact in asking.problem.facts if fact not in asking.memory]
    return any(fact in section or _cut(section.strip(), fact) for fact in facts)


def _cut(section: str, fact: str) -> bool:
    sizes = range(PART, len(fact))
    return any(section.endswith(fact[:size]) or section.startswith(fact[-size:]) for size in sizes)


def _later(one: Labelled, asking: Sequence[Labelled]) -> list[Labelled]:
    """A turn of the same reading whose memory holds what this one added."""
    if one.label != "change":
        return []
    added = [fact for fact in one.problem.facts if fact in one.section]
    later = (two for two in asking if two.problem is one.problem and all(fact in two.memory for fact in added))
    return [two for two in later if added][:1]


def _joined(shown: Conversation, asked: Conversation, keep: Sequence[int]) -> Conversation:
    return replace(
        shown,
        prompt=(*shown.prefix, *asked.prompt[asked.shared :]),
        completion=tuple(keep),
        logprobs=(0.0,) * len(keep),
    )
