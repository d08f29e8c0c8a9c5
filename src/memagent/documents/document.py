"""The document as a whole: its sources one after the other, each under a heading where there are several.

It does not know how sources are opened nor how the text is cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from memagent.documents.base import Piece, Skipped, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is read: `name` is a short label, `skipped` the files of folders that were not read.

    `paths` are absolute and open the same document again (empty for a string). `notes` are lines that
    the user should see, such as bytes that are not valid in their encoding.
    """

    name: str
    sources: tuple[Source, ...]
    paths: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def characters(self) -> int:
        """The length of the document's text, headings included."""
        headings = sum(len(self.heading(number)) for number in range(len(self.sources)))
        return headings + sum(source.characters for source in self.sources)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over headings and contents in order, so that equal fingerprints mean equal texts.

        Headings hold a file's name, or its path inside the folder that was opened: a document keeps
        its fingerprint when it is moved as a whole, and a single file even when it is renamed.
        """
        digest = hashlib.sha256()
        for number, source in enumerate(self.sources):
            for part in (self.heading(number), source.digest):
                digest.update(len(part.encode()).to_bytes(8, "big") + part.encode())
        return digest.hexdigest()

    def heading(self, number: int) -> str:
        """What stands before source `number`; nothing where it is the only one."""
        if len(self.sources) == 1:
            return ""
        return f"{'' if number == 0 else chr(10) * 2}--- {self.sources[number].name} ---\n\n"

    @property
    def places(self) -> dict[str, int]:
        """The first character of each source, by its name."""
        found, at = {}, 0
        for number, source in enumerate(self.sources):
            at += len(self.heading(number))
            found[source.name] = at
            at += source.characters
        return found

    def pieces(self) -> Iterator[Piece]:
        """The document's text in order; it is exactly the concatenation of the pieces.

        Raises:
            DocumentError: a file changed since it was opened, or can no longer be read.
        """
        for number, source in enumerate(self.sources):
            if heading := self.heading(number):
                yield Piece(heading, None, 0)
            start = 0
            for block in source.blocks():
                yield Piece(block.text, number, start, block.page)
                start += len(block.text)
