"""Which format a file is in, by its content first and its suffix second, and who opens it.

It does not know folders, stdin or documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

from memagent.documents.docx import open_docx
from memagent.documents.epub import open_epub
from memagent.documents.held import HeldText
from memagent.documents.html import open_html
from memagent.documents.pdf import open_pdf
from memagent.documents.text import FileText, open_text
from memagent.documents.zipped import unpack
from memagent.errors import DocumentError

OpenedSource = FileText | HeldText

_OPENERS: dict[str, Callable[[Path, str], OpenedSource]] = {
    "pdf": open_pdf,
    "html": open_html,
    "epub": open_epub,
    "docx": open_docx,
    "text": open_text,
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML_SUFFIXES = {".html", ".htm", ".xhtml"}
# Only where the suffix says nothing: templates and snippets of source code begin like pages, too.
_SNIFFED_SUFFIXES = {"", ".txt"}
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S
)


def open_file(path: Path, name: str, *, growing: bool = False) -> OpenedSource:
    """Open one regular file as a source that calls itself `name`; of a text that grows, what is there by now.

    Raises:
        DocumentError: empty, binary, locked or corrupt, or it is to grow and no plain text; the message is the reason,
            without the name.
        SetupError: the format needs the `documents` extra.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(4096)
    if not head:
        raise DocumentError("empty; there is no text in it")
    kind = _kind(path, head)
    if not growing:
        return _OPENERS[kind](path, name)
    if kind != "text":
        raise DocumentError("no plain text, which alone can be followed as it grows")
    return open_text(path, name, growing=True)


def _kind(path: Path, head: bytes) -> str:
    suffix = path.suffix.lower()
    if head.lstrip().startswith(b"%PDF-") or (suffix == ".pdf" and b"%PDF-" in head[:1024]):
        return "pdf"
    if head.startswith(_ZIP):
        return _kind_of_zip(path, suffix)
    if head.startswith(_OLE):
        raise DocumentError("password-protected or in an old Office format; save it as .docx without a password")
    if suffix in {".pdf", ".epub", ".docx"}:
        raise DocumentError(f"corrupt; it does not begin as {suffix[1:].upper()} files do")
    is_page = suffix in _SNIFFED_SUFFIXES and _HTML_START.match(head)
    return "html" if suffix in _HTML_SUFFIXES or is_page else "text"


def _kind_of_zip(path: Path, suffix: str) -> str:
    with unpack(path, suffix[1:].upper() or "zip") as archive:
        names = set(archive.namelist())
        if "word/document.xml" in names:
            return "docx"
        if _is_epub(archive, names):
            return "epub"
    if suffix in {".epub", ".docx"}:
        raise DocumentError(f"corrupt; parts that every {suffix[1:].upper()} file has are missing")
    raise DocumentError("a zip archive that is neither EPUB nor DOCX; unpack it first")


def _is_epub(archive: ZipFile, names: set[str]) -> bool:
    if "META-INF/container.xml" in names:
        return True
    return "mimetype" in names and archive.read("mimetype").strip() == b"application/epub+zip"
