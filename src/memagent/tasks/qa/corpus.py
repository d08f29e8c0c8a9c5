"""Questions with their paragraphs, and the paragraphs to hide them among. Plain records."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

Side = Literal["train", "report"]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph with its title (which may be empty)."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with the paragraphs it comes with; `facts` are the passages of them that its answer rests on.

    `split` is train, dev, or unknown where the source does not say; `kind` is the dataset's type of question.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    paragraphs: tuple[Paragraph, ...]
    facts: tuple[str, ...] = ()
    split: str = "unknown"
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A dataset's questions, and paragraphs for distractors in the order they are to be taken: those of the
    first group before those of the second."""

    name: str
    questions: tuple[Question, ...]
    distractors: tuple[tuple[Paragraph, ...], ...]


def side(title: str) -> Side:
    """On which side a paragraph serves, as a distractor: half of all titles for training, half for reporting."""
    return "train" if hashlib.sha256(title.encode("utf-8", "surrogatepass")).digest()[0] % 2 else "report"
