"""One problem with its document and its known answers: what every task makes and everyone else takes.

It does not know where problems come from (`ruler/`, `qa/`, `jsonl.py`), how they are solved, or how
answers are scored: `metric` is only a name (see `memagent.scoring`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memagent.documents import Document, open_document


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question over a document, and what is known of its answer.

    `context` is the document's text, or `files` are the paths to read it from. A reader sees the document and
    `question`. A model that takes all at once sees `head + context + tail + answer_prefix`, which is the
    task's published prompt where it has one. `length` counts the tokens of that prompt plus `max_tokens`
    to generate, by the tokenizer named `tokenizer` (None: not counted). `facts` are passages of `context`,
    verbatim, that the answer rests on. `metric` names the main score. `notes` record how the problem was
    made: seed, depths, and any rule by which a source was extended.
    """

    id: str
    task: str
    question: str
    answers: tuple[str, ...]
    metric: str
    context: str = ""
    files: tuple[str, ...] = ()
    head: str = ""
    tail: str = ""
    answer_prefix: str = ""
    max_tokens: int = 128
    length: int | None = None
    tokenizer: str | None = None
    facts: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> Document:
        """The document to read.

        Raises:
            DocumentError: a file is missing or cannot be read.
        """
        return open_document(*self.files) if self.files else open_document(text=self.context, name=self.id)

    def prompt(self, context: str) -> str:
        """The whole prompt around `context`, which may be a part of the document (or nothing)."""
        return f"{self.head}{context}{self.tail}{self.answer_prefix}"
