"""Paths, stdin or a string to a `Document`; whatever is wrong with one becomes one line.

It does not know formats (see `formats.py`) nor what is done with the document.
"""

from __future__ import annotations

import contextlib
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from os.path import commonpath, normpath
from pathlib import Path

from memagent.documents.base import Block, Skipped
from memagent.documents.document import Document
from memagent.documents.folders import relative, shown, walk
from memagent.documents.formats import OpenedSource, open_file
from memagent.documents.held import hold
from memagent.documents.spool import spool_stream
from memagent.documents.text import why
from memagent.errors import DocumentError, OptionError, SetupError


def open_document(
    *paths: str | Path,
    text: str | None = None,
    name: str | None = None,
    spool: Path | None = None,
    growing: bool = False,
) -> Document:
    """Open files, folders, stdin (the path `-`) or a string as one document.

    Every file is read once here, to check and to measure it. A folder stands for its files in sorted
    order, less those that .gitignore names; what cannot be read in a folder is listed in `skipped`, while
    for a path that was named it is an error. Stdin and pipes are first written to `spool` (a folder; a
    temporary one when None) as `stdin-<digest>.txt`, from where they can be opened again. With `growing` more may be
    written to a text file that is named while it is read: the document is what is there now.

    Raises:
        DocumentError: missing, unreadable, empty, binary, locked or corrupt, or a folder without text.
        OptionError: neither paths nor a text, or both; or an empty path.
        SetupError: a format needs the `documents` extra.
    """
    if (text is None) == (not paths):
        raise OptionError("give either files to read or a text")
    if text is not None:
        return _of_text(text, name or "text")
    if any(not str(path).strip() for path in paths):  # `Path("")` would be the current folder
        raise OptionError("an empty path: name a file or folder")
    kept: list[Path] = []
    for given in paths:
        with _one_line(given):
            kept.append(_kept(given, spool))
    labels = _labels(kept)
    skipped: list[Skipped] = []
    sources: list[OpenedSource] = []
    for given, path, label in zip(paths, kept, labels, strict=True):
        with _one_line(given):
            sources += _open_path(path, label, len(paths) > 1, skipped, growing=growing)
    return Document(
        name=name or _short_name(paths[0], labels),
        sources=tuple(sources),
        paths=tuple(str(path) for path in kept),
        skipped=tuple(skipped),
        notes=tuple(note for source in sources for note in source.notes),
    )


def _of_text(text: str, name: str) -> Document:
    try:
        return Document(name=name, sources=(hold(name, [Block(text)]),))
    except DocumentError as error:
        raise DocumentError(f"{name}: {error}") from error


def _kept(given: str | Path, spool: Path | None) -> Path:
    """The absolute path where `given` can be opened again: itself, or the file its stream was spooled to."""
    if str(given) == "-":
        if sys.stdin is None:  # closed by the shell, as with `<&-`
            raise DocumentError("closed; there is nothing to read")
        return spool_stream(sys.stdin.buffer, spool).absolute()
    path = Path(given)
    if stat.S_ISFIFO(path.stat().st_mode):
        with path.open("rb") as stream:
            return spool_stream(stream, spool).absolute()
    return Path(normpath(path.absolute()))


@contextlib.contextmanager
def _one_line(given: str | Path) -> Iterator[None]:
    """Whatever goes wrong with a path that was named is a line that begins with it."""
    name = "stdin" if str(given) == "-" else shown(str(given))
    try:
        yield
    except OSError as error:
        raise DocumentError(f"{name}: {why(error)}") from error
    except ValueError as error:  # a NUL in the path
        raise DocumentError(f"{name}: not a path ({error})") from error
    except (DocumentError, SetupError) as error:
        raise type(error)(f"{name}: {error}") from error


def _open_path(path: Path, label: str, several: bool, skipped: list[Skipped], *, growing: bool) -> list[OpenedSource]:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return _open_folder(path, f"{label}/" if several else "", skipped)
    if not stat.S_ISREG(mode):
        raise DocumentError("neither a file nor a folder")
    return [open_file(path, label, growing=growing)]


def _open_folder(folder: Path, prefix: str, skipped: list[Skipped]) -> list[OpenedSource]:
    sources: list[OpenedSource] = []
    passed_over: list[Skipped] = []
    top = folder.resolve()
    for found in walk(folder):
        opened = found if isinstance(found, Skipped) else _try(found, relative(found, top), prefix)
        if isinstance(opened, Skipped):
            passed_over.append(Skipped(prefix + opened.name, opened.reason))
        else:
            sources.append(opened)
    if not sources:
        raise DocumentError(_nothing(passed_over))
    skipped += passed_over
    return sources


def _try(path: Path, name: str, prefix: str) -> OpenedSource | Skipped:
    try:
        return open_file(path, prefix + name)
    except OSError as error:
        return Skipped(name, why(error))
    except (DocumentError, SetupError) as error:
        return Skipped(name, str(error))


def _nothing(skipped: list[Skipped]) -> str:
    if not skipped:
        return "a folder without any file to read"
    more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return f"a folder without any text (skipped {skipped[0].name}: {skipped[0].reason}{more})"


def _labels(paths: list[Path]) -> list[str]:
    """The last part of each path, or what is below their common folder where two are alike."""
    times = Counter(path.name for path in paths)
    common = Path(commonpath(paths))
    return [shown(path.name if times[path.name] == 1 else _below(path, common)) for path in paths]


def _below(path: Path, common: Path) -> str:
    return path.name if path == common else path.relative_to(common).as_posix()


def _short_name(first: str | Path, labels: list[str]) -> str:
    more = len(labels) - 1
    return ("stdin" if str(first) == "-" else labels[0]) + (f" and {more} more" if more else "")
