"""Texts that needles are hidden in. What serves for training never serves for reporting.

`report` is the language reference that every Python carries (`pydoc_data.topics`), `train` the docstrings of
its standard library but for what they share with it; a file of the user's is the third kind. It does not know
needles.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import re
import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from memagent.documents import open_document
from memagent.errors import DocumentError, SetupError

_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+|\n\s*\n")
_INSTEAD = "install the whole of Python, or name a file of yours as haystack"
LONGEST = 400  # characters of a sentence; longer ones (tables, listings) are cut at a space
SHARED = 40  # characters in a row that a sentence of `train` may not have in common with `report`


@dataclass(frozen=True, slots=True)
class Haystack:
    """A text as sentences with single spaces between words; `fingerprint` tells one text from another."""

    name: str
    sentences: tuple[str, ...]
    fingerprint: str


def language_reference() -> str:
    """The language reference, its topics by name: about 465K characters.

    Raises:
        SetupError: this Python comes without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:  # some systems ship it apart
        raise SetupError(f"this Python comes without its reference, pydoc_data: {_INSTEAD}") from error
    return "\n\n".join(topics[name] for name in sorted(topics))


@lru_cache(maxsize=8)
def haystack(kind: str) -> Haystack:
    """The haystack `report`, `train`, or a file of the user's by its path.

    Raises:
        DocumentError: the file is missing, empty or no text.
        SetupError: this Python comes without the text.
    """
    if kind == "report":
        return _made(kind, _sentences(language_reference()))
    if kind == "train":
        found = _made(kind, _apart(_sentences("\n\n".join(_docstrings())), haystack("report")))
        if not found.sentences:
            raise SetupError(f"this Python comes without the sources of its standard library: {_INSTEAD}")
        return found
    name, text = _own(kind)
    found = _made(name, _sentences(text))
    if not found.sentences:
        raise DocumentError(f"{kind} holds no text to hide needles in")
    return found


def _own(path: str) -> tuple[str, str]:
    """A file's name and text; it may be packed with gzip."""
    if path.endswith(".gz"):
        try:
            return Path(path).name, gzip.decompress(Path(path).read_bytes()).decode("utf-8", "replace")
        except (OSError, EOFError, zlib.error) as error:
            raise DocumentError(f"{path}: cannot be unpacked ({error})") from error
    document = open_document(path)
    return document.name, "".join(piece.text for piece in document.pieces())


def _made(name: str, sentences: Iterable[str]) -> Haystack:
    kept = tuple(sentences)
    return Haystack(name, kept, hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16])


def _sentences(text: str) -> Iterator[str]:
    for sentence in _SENTENCE_END.split(text):
        yield from _short(" ".join(sentence.split()))


def _apart(sentences: Iterable[str], other: Haystack) -> Iterator[str]:
    """The sentences that have no text in common with another haystack."""
    text, known = " ".join(other.sentences), frozenset(other.sentences)
    runs = {text[start : start + SHARED] for start in range(len(text) - SHARED + 1)}
    for sentence in sentences:
        ends = range(len(sentence) - SHARED + 1)
        if sentence not in known and not any(sentence[start : start + SHARED] in runs for start in ends):
            yield sentence


def _short(sentence: str) -> Iterator[str]:
    while len(sentence) > LONGEST:
        cut = sentence.rfind(" ", 0, LONGEST) + 1 or LONGEST
        yield sentence[:cut].strip()
        sentence = sentence[cut:]
    if sentence:
        yield sentence


def _docstrings() -> Iterator[str]:
    """The docstrings of the standard library's top modules and packages, in the order of their paths."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted([*folder.glob("*.py"), *folder.glob("[a-z]*/__init__.py")]):
        if "site-packages" in path.parts or path.parent.name in ("test", "idlelib", "lib2to3"):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield text
