"""A source whose extracted text is held in memory: strings, PDF, HTML, EPUB and DOCX.

Such texts are small beside their files (a book is about a megabyte), and extracting is slow. It
does not know how the text was extracted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from memagent.documents.base import Block
from memagent.errors import DocumentError

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldText:
    """A `Source` in memory. `digest` is the SHA-256 of the extracted text in UTF-8."""

    name: str
    characters: int
    digest: str
    held: tuple[Block, ...]
    notes: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Block]:
        """See `Source.blocks`; nothing can go wrong here."""
        return iter(self.held)


def hold(name: str, blocks: Iterable[Block], notes: Iterable[str] = ()) -> HeldText:
    """Make a source of extracted blocks; lone surrogates, which no encoding can carry, become U+FFFD.

    Raises:
        DocumentError: there is nothing but white space.
    """
    digest = hashlib.sha256()
    held: list[Block] = []
    for block in blocks:
        whole = _SURROGATES.sub("\ufffd", block.text)
        digest.update(whole.encode())
        if whole:
            held.append(Block(whole, block.page))
    if not any(block.text.strip() for block in held):
        raise DocumentError("empty; there is no text in it")
    return HeldText(
        name=name,
        characters=sum(len(block.text) for block in held),
        digest=digest.hexdigest(),
        held=tuple(held),
        notes=tuple(notes),
    )
