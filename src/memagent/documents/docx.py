"""DOCX to text by python-docx: paragraphs, tables, text boxes and notes in document order.

Headers and footers, deleted text of tracked changes and pictures are left out. It knows no other format.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from memagent.documents.base import Block
from memagent.documents.held import HeldText, hold
from memagent.documents.zipped import unpack
from memagent.errors import DocumentError
from memagent.extras import extra

if TYPE_CHECKING:
    from lxml.etree import _Element

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # repeats its Choice
_UNREAD = {_FALLBACK, f"{_W}del", f"{_W}moveFrom", f"{_W}pPr", f"{_W}rPr", f"{_W}sdtPr", f"{_W}tblPr"}
_CHARACTERS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_NOTES = ("/footnotes", "/endnotes")


def open_docx(path: Path, name: str) -> HeldText:
    """Extract a DOCX: a line a paragraph, blank lines between them; table rows a line, cells between tabs.

    python-docx opens the package; its paragraphs are walked here because its own iteration passes over
    content controls, text boxes and footnotes.

    Raises:
        DocumentError: corrupt or without text (the message lacks the name).
        SetupError: the `documents` extra is missing.
        OSError: it cannot be read.
    """
    with unpack(path, "DOCX") as archive:
        _check(archive)
    with extra("documents", "reading DOCX"):
        import docx
    try:
        part = docx.Document(str(path)).part
        roots = [part.element.body, *_note_roots(part)]
    except OSError:
        raise
    except Exception as error:  # python-docx lets KeyError, lxml's errors and others through
        raise DocumentError(f"a corrupt DOCX file ({type(error).__name__}: {error})") from error
    return hold(name, [Block(text) for root in roots for text in _blocks(root)])


def _check(archive: ZipFile) -> None:
    if broken := archive.testzip():
        raise DocumentError(f"a corrupt DOCX file ({broken} is damaged)")


def _note_roots(part: object) -> Iterator[_Element]:
    from docx.oxml import parse_xml

    for relation in part.rels.values():  # type: ignore[attr-defined]
        if relation.reltype.endswith(_NOTES) and not relation.is_external:
            yield parse_xml(relation.target_part.blob)


def _blocks(parent: _Element) -> Iterator[str]:
    """The paragraphs and tables below `parent`, each with a blank line behind it."""
    for node in parent:
        if node.tag == f"{_W}p":
            yield from (f"{text}\n\n" for text in _paragraph(node) if text.strip())
        elif node.tag == f"{_W}tbl":
            yield "".join(f"{row}\n" for row in _rows(node)) + "\n"
        elif node.tag not in _UNREAD:
            yield from _blocks(node)


def _rows(table: _Element) -> Iterator[str]:
    for row in _nearest(table, f"{_W}tr"):
        cells = (" ".join("".join(_blocks(cell)).split()) for cell in _nearest(row, f"{_W}tc"))
        yield "\t".join(cells)


def _nearest(parent: _Element, tag: str) -> Iterator[_Element]:
    """The descendants with `tag`, without those inside another one (tables in cells)."""
    for node in parent:
        if node.tag == tag:
            yield node
        elif node.tag not in _UNREAD:
            yield from _nearest(node, tag)


def _paragraph(paragraph: _Element) -> list[str]:
    """The paragraph's text, then those of the text boxes that are anchored in it."""
    texts: list[str] = [""]
    stack = list(reversed(paragraph))
    while stack:
        node = stack.pop()
        if node.tag == f"{_W}p":
            texts += _paragraph(node)
        elif node.tag == f"{_W}t":
            texts[0] += node.text or ""
        elif node.tag in _CHARACTERS:
            texts[0] += _CHARACTERS[node.tag]
        elif node.tag not in _UNREAD:
            stack.extend(reversed(node))
    return texts
