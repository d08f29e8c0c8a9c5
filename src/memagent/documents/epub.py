"""EPUB to text: the chapters in the order of the spine, each extracted as HTML.

It knows no fonts, pictures or tables of contents, and does not break copy protection.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from zipfile import ZipFile

from memagent.documents.base import Block
from memagent.documents.held import HeldText, hold
from memagent.documents.html import decode_html, html_text
from memagent.documents.zipped import unpack
from memagent.errors import DocumentError
from memagent.extras import extra

if TYPE_CHECKING:
    from lxml.etree import _Element

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_MARKUP = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def open_epub(path: Path, name: str) -> HeldText:
    """Extract an EPUB's chapters, a block each, separated by blank lines; a missing chapter is noted.

    Raises:
        DocumentError: corrupt, copy-protected or without text (the message lacks the name).
        SetupError: the `documents` extra is missing.
        OSError: it cannot be read.
    """
    with unpack(path, "EPUB") as archive:
        chapters = list(_spine(archive))
        present = set(archive.namelist())
        missing = [chapter for chapter in chapters if chapter not in present]
        if _locked(archive) & set(chapters):
            raise DocumentError("copy-protected (DRM); a copy without protection is needed")
        blocks = [Block(_chapter(archive, chapter)) for chapter in chapters if chapter in present]
    notes = [f"{len(missing)} of {len(chapters)} chapters are missing from {name}"] if missing else []
    return hold(name, blocks, notes)


def _chapter(archive: ZipFile, chapter: str) -> str:
    markup, _ = decode_html(archive.read(chapter))
    if not markup.lstrip().startswith("<?xml"):  # XHTML all the same
        markup = "<?xml version='1.0'?>" + markup
    text = html_text(markup).strip()
    return f"{text}\n\n" if text else ""


def _spine(archive: ZipFile) -> Iterator[str]:
    """The names of the chapters inside the archive, in reading order."""
    package = _package_name(archive)
    root = _xml(archive, package)
    items = {item.get("id"): item for item in root.iterfind("{*}manifest/{*}item")}
    for reference in root.iterfind("{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is not None and item.get("media-type", _MARKUP[0]) in _MARKUP:
            href = unquote((item.get("href") or "").split("#")[0])
            yield posixpath.normpath(posixpath.join(posixpath.dirname(package), href))


def _package_name(archive: ZipFile) -> str:
    rootfile = _xml(archive, _CONTAINER).find("{*}rootfiles/{*}rootfile")
    name = rootfile.get("full-path") if rootfile is not None else None
    if not name:
        raise DocumentError("a corrupt EPUB file (it names no package document)")
    return str(name)


def _locked(archive: ZipFile) -> set[str]:
    """The entries that are encrypted; fonts often are, where the text is not."""
    if _ENCRYPTION not in archive.namelist():
        return set()
    references = _xml(archive, _ENCRYPTION).iterfind(".//{*}CipherReference")
    return {unquote(reference.get("URI") or "") for reference in references}


def _xml(archive: ZipFile, name: str) -> _Element:
    with extra("documents", "reading EPUB"):
        from lxml import etree
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(archive.read(name), parser)
    except (KeyError, etree.XMLSyntaxError) as error:
        raise DocumentError(f"a corrupt EPUB file ({name} is missing or not XML)") from error
