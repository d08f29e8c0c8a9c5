"""How many chunks and tokens a document will be, before anything is asked. It knows no prices or models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memagent.documents.base import Block
from memagent.documents.chunking import cut
from memagent.documents.document import Document
from memagent.documents.held import hold
from memagent.tokens import Tokenizer

COUNTED = 20_000_000  # characters up to which a document is cut to be counted
STRETCHES = 32
STRETCH = 60_000  # characters


@dataclass(frozen=True, slots=True)
class ChunkEstimate:
    """`exact` tells whether the whole document was cut to count, or a sample of it."""

    chunks: int
    tokens: int
    exact: bool


def estimate(
    document: Document,
    tokenizer: Tokenizer,
    *,
    tokens: int,
    max_bytes: int | None = None,
    exact: bool = False,
) -> ChunkEstimate:
    """What `cut` with the same arguments would give; counted up to 20 million characters.

    A longer document is streamed once; 32 stretches of 60,000 characters, at even distances over all of
    it, are cut as one text, and what they give is scaled to the document's length.

    Raises:
        OptionError: `tokens` or `max_bytes` is less than 1.
        DocumentError: a file changed since it was opened, or can no longer be read.
    """
    is_sampled = document.characters > COUNTED
    sample = _sampled(document) if is_sampled else document
    ends, counts = [0], [0]
    for chunk in cut(sample, tokenizer, tokens=tokens, max_bytes=max_bytes, exact=exact):
        ends.append(chunk.end)
        counts.append(chunk.tokens)
    if not is_sampled:
        return ChunkEstimate(len(counts) - 1, sum(counts), True)
    total = document.characters / sample.characters * sum(counts)
    full = len(ends) - 2  # the last chunk of the sample is not full and says nothing of the others' length
    chunks = document.characters / (ends[full] / full) if full > 0 else total / tokens
    return ChunkEstimate(_up(chunks), _up(total), False)


def _sampled(document: Document) -> Document:
    """A document of evenly spread stretches of `document`."""
    name = document.name
    return Document(name=name, sources=(hold(name, [Block(text) for text in _stretches(document)]),))


def _stretches(document: Document) -> Iterator[str]:
    distance = document.characters // STRETCHES
    at = 0  # of the piece, in the document
    for piece in document.pieces():
        place = at % distance  # stretches are [0, STRETCH) of every `distance` characters
        if place < STRETCH:
            yield piece.text[: STRETCH - place]
        elif place + len(piece.text) > distance:
            yield piece.text[distance - place :][:STRETCH]
        at += len(piece.text)


def _up(number: float) -> int:
    return -int(-number // 1)
