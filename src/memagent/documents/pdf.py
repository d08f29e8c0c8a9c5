"""PDF to text by pypdf, a page a block. It knows neither OCR nor other formats."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from memagent.documents.base import Block
from memagent.documents.held import HeldText, hold
from memagent.errors import DocumentError, SetupError
from memagent.extras import extra

if TYPE_CHECKING:
    from pypdf import PdfReader

_LOCKED = "password-protected; save a copy without the password and use that"
_SCANNED = "a PDF without a text layer; run OCR over it first (for example with ocrmypdf)"


def open_pdf(path: Path, name: str) -> HeldText:
    """Extract a PDF's text; page numbers count from 1 and each page's text ends in a blank line.

    A file that opens with an empty password is read. Pages without text are named in `notes`.

    Raises:
        DocumentError: locked, corrupt, or without a text layer (the message lacks the name).
        SetupError: the `documents` extra is missing.
        OSError: it cannot be read.
    """
    with extra("documents", "reading PDF"):
        import pypdf  # noqa: F401
    with _quiet():
        texts = _page_texts(path)
    if all(text is None for text in texts):
        raise DocumentError("a corrupt PDF; no page of it can be read")
    if not any(text and text.strip() for text in texts):
        raise DocumentError(_SCANNED)
    pages = [Block(text.rstrip() + "\n\n", page) for page, text in enumerate(texts, 1) if text and text.strip()]
    return hold(name, pages, _notes(name, texts))


def _page_texts(path: Path) -> list[str | None]:
    """The text of each page; None where it cannot be extracted."""
    with path.open("rb") as stream:
        try:
            from pypdf import PdfReader

            reader = PdfReader(stream)
            if reader.is_encrypted:
                _unlock(reader)
            return [_extract(reader, number) for number in range(len(reader.pages))]
        except (DocumentError, SetupError):
            raise
        except Exception as error:  # pypdf lets many kinds through where a file is corrupt
            raise DocumentError(f"a corrupt PDF ({_first_line(error)})") from error


def _unlock(reader: PdfReader) -> None:
    from pypdf.errors import DependencyError

    try:
        opened = reader.decrypt("")
    except DependencyError as error:
        raise SetupError("reading an AES-encrypted PDF needs one more library: pip install cryptography") from error
    if not opened:
        raise DocumentError(_LOCKED)


def _extract(reader: PdfReader, number: int) -> str | None:
    try:
        return reader.pages[number].extract_text()
    except Exception:  # one broken page is noted; the others are read
        return None


def _notes(name: str, texts: list[str | None]) -> Iterator[str]:
    broken = [page for page, text in enumerate(texts, 1) if text is None]
    blank = [page for page, text in enumerate(texts, 1) if text is not None and not text.strip()]
    if broken:
        yield f"{len(broken)} of {len(texts)} pages of {name} cannot be read (the first is page {broken[0]})"
    if blank:
        yield f"{len(blank)} of {len(texts)} pages of {name} have no text (the first is page {blank[0]})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """pypdf tells of every oddity it repairs; none of them helps whoever asks a question."""
    logger = logging.getLogger("pypdf")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
