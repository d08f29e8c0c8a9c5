"""The published prompts, taken apart: what is document and what is question in the `input` of an official record.

The wordings are NVIDIA/RULER's (constants.py). It does not know records.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from memagent.tasks.qa.building import HEAD, TAIL

LONGEST_QUESTION = 2000  # characters of a last paragraph that is taken for the question


@dataclass(frozen=True, slots=True)
class Frame:
    """What a kind of task has around its document, how it is scored and how long its answers are.

    `opening` ends where the document begins, and stands once more in a worked example if there is one. `asked`
    stands behind the document, and its group is the question; what follows it is the answer prefix.
    """

    kind: str
    opening: re.Pattern[str]
    asked: re.Pattern[str]
    metric: str = "ruler_all"
    max_tokens: int = 128


@dataclass(frozen=True, slots=True)
class Parts:
    """A prompt's parts, which give it back if they are joined; and the question, which is a part of the tail."""

    head: str
    context: str
    tail: str
    prefix: str
    question: str
    frame: Frame | None


def _frame(kind: str, opening: str, asked: str, metric: str = "ruler_all", max_tokens: int = 128) -> Frame:
    return Frame(kind, re.compile(opening), re.compile(asked), metric, max_tokens)


# In the question tasks the question ends where the answer prefix, a chat template or the prompt does.
_QUESTION_END = r"(?=\s*(?:Answer:|<\||\[/INST\]|\Z))"
FRAMES = (
    _frame(
        "niah",
        r"I will quiz you about the \w+ afterwards\.\n",
        r"\n(What (?:is|are all) the special magic \w+ for .*? mentioned in the provided text\?)",
    ),
    _frame(
        "vt",
        r"hidden in the following text\.\n\n",
        r"\nQuestion: (Find all variables that are assigned the value .*? in the text above\.)",
        max_tokens=30,
    ),
    _frame(
        "cwe",
        r"Memorize the ones that appear most often\.\n",
        r"\nQuestion: (What are the 10 most common words in the above list\?)",
        max_tokens=120,
    ),
    _frame(
        "fwe",
        r"Find the three most frequently appeared coded words\. ",
        r"\nQuestion: (Do not provide any explanation\. .*? words in the above coded text\?)",
        max_tokens=50,
    ),
    _frame("qa", re.escape(HEAD), re.escape(TAIL) + rf"((?s:.)*?){_QUESTION_END}", "ruler_part", 32),
)


def part(prompt: str) -> Parts:
    """A whole prompt in its parts. Where its template is unknown, its last paragraph is the question."""
    for frame in FRAMES:
        found = _last(frame.asked.finditer(prompt))
        opening = None if found is None else _last(frame.opening.finditer(prompt, 0, found.start()))
        if found is not None and opening is not None:
            start, end = opening.end(), found.start()
            tail, prefix = prompt[end : found.end()], prompt[found.end() :]
            return Parts(prompt[:start], prompt[start:end], tail, prefix, found[1].strip(), frame)
    return _unknown(prompt)


def _last(found: Iterator[re.Match[str]]) -> re.Match[str] | None:
    return next(iter(deque(found, maxlen=1)), None)


def _unknown(prompt: str) -> Parts:
    """By the last blank line, or the last newline where the last paragraph is too long for a question."""
    text = prompt.rstrip()
    start = 0
    for mark in ("\n\n", "\n"):
        start = text.rfind(mark) + 1
        if start and len(text) - start <= LONGEST_QUESTION:
            break
    if not start:
        raise ValueError("its prompt is one line: nothing tells the document from the question")
    context = prompt[:start].rstrip()
    return Parts("", context, prompt[len(context) :], "", prompt[start:].strip(), None)


def frame_of(question: str, prefix: str) -> Frame | None:
    """The frame that a question by itself belongs to, or the prefix of its answer."""
    asked = f"\n{question}", f"\nQuestion: {question}"
    fitting = (frame for frame in FRAMES[:-1] if any(frame.asked.match(text) for text in asked))
    return next(fitting, FRAMES[-1] if prefix.strip() == "Answer:" else None)
