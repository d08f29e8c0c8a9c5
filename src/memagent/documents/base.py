"""A document as the reader meets it: sources of text, streamed as pieces, cut into chunks.

Offsets are characters. A *source* is one file (or stdin, or a string) with its extracted text; a
*document* is its sources one after the other, each under a heading line where there are several.
It knows neither models nor questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a source's extracted text, in order; `page` counts from 1 where there are pages."""

    text: str
    page: int | None = None


class Source(Protocol):
    """One file, or what stands for one."""

    @property
    def name(self) -> str:
        """What it is called in headings and evidence: a file's name, or its path inside a folder."""
        ...

    @property
    def characters(self) -> int:
        """The length of the extracted text."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the extracted text in UTF-8."""
        ...

    def blocks(self) -> Iterator[Block]:
        """The extracted text from its start, in blocks; together they are the whole text.

        Raises:
            DocumentError: the file changed since it was opened, or can no longer be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the document's text: of source number `source` at `start`, or a heading (None)."""

    text: str
    source: int | None
    start: int
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file of a folder that was not read, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of a chunk's text that are source `source` from `offset` on."""

    start: int
    end: int
    source: int
    offset: int
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Characters [start, end) of a source's extracted text."""

    source: int
    start: int
    end: int
    page: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A stretch of the document that is read in one turn.

    `name` is the chunk's number, with `.0` or `.1` behind it for each time it was split in two.
    `start` is its first character in the document's text and `tokens` its length by the policy's
    tokenizer. `spans` say where its characters come from (headings come from nowhere).
    """

    index: int
    name: str
    text: str
    start: int
    tokens: int
    spans: tuple[Span, ...]
    is_first: bool = False
    is_last: bool = False

    @property
    def end(self) -> int:
        """One past the last character, in the document's text."""
        return self.start + len(self.text)

    def locate(self, start: int, end: int) -> Place | None:
        """Where characters [start, end) stand in a source; None across sources or in a heading."""
        inside = [span for span in self.spans if span.start < end and span.end > start]
        if not inside or inside[0].start > start or inside[-1].end < end:
            return None
        first = inside[0]
        whole = all(
            after.source == before.source and after.offset - after.start == before.offset - before.start
            for before, after in pairwise(inside)
        )
        if not whole:
            return None
        at = first.offset + start - first.start
        return Place(first.source, at, at + end - start, first.page)
