"""Folders and files that are there whole or not at all: written beside their place, flushed to disk, then renamed.

A kill at any moment leaves what was there before, or the new one. It does not know what is in them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from memagent.errors import StoppedError

_PARTIAL, _ASIDE = ".partial-", ".aside-"


@contextlib.contextmanager
def new_folder(target: Path, *, hint: str) -> Iterator[Path]:
    """An empty folder to fill; when the block ends without an error it takes the place of `target`.

    One process at a time may do so. `hint` ends the line of the error.

    Raises:
        StoppedError: it cannot be written (a full disk, say); what stood at `target` stands there still.
    """
    partial = target.with_name(_PARTIAL + target.name)
    try:
        with _one_line(target, hint):
            _remove(partial)
            partial.mkdir(parents=True)
            yield partial
            _flush(partial)
            _put(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_file(target: Path, text: str, *, hint: str) -> None:
    """Write a text so that the file is the old one or the new one.

    Raises:
        StoppedError: as `new_folder`.
    """
    partial = target.with_name(_PARTIAL + target.name)
    try:
        with _one_line(target, hint):
            partial.write_text(text, encoding="utf-8")
            _flush_file(partial)
            partial.replace(target)
            _flush_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def recover(folder: Path) -> None:
    """Put back what a kill caught between the two renames of a replacement."""
    for aside in folder.glob(f"{_ASIDE}*"):
        target = aside.with_name(aside.name.removeprefix(_ASIDE))
        if not target.exists():
            aside.replace(target)


def discard(folder: Path) -> None:
    """Delete a folder; after a kill it is there whole, or no longer under its name."""
    doomed = folder.with_name(_PARTIAL + folder.name)
    with contextlib.suppress(OSError):  # what cannot be deleted stays: it is in nobody's way
        _remove(doomed)
        folder.replace(doomed)
        _remove(doomed)


def sweep(folder: Path) -> None:
    """Delete what kills have left in `folder`; nobody may be writing there."""
    for pattern in (_PARTIAL, _ASIDE):
        for left in folder.glob(f"{pattern}*"):
            with contextlib.suppress(OSError):
                _remove(left)


@contextlib.contextmanager
def _one_line(target: Path, hint: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoppedError(f"cannot write {target}: {error.strerror or error}; {hint}") from error


def _put(partial: Path, target: Path) -> None:
    # A folder cannot be renamed onto one that holds files, so the old one steps aside for a moment; see `recover`.
    aside = target.with_name(_ASIDE + target.name)
    if target.exists():
        _remove(aside)
        target.replace(aside)
    partial.replace(target)
    _flush_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _flush_file(path)
    for path in (*filter(Path.is_dir, folder.rglob("*")), folder):
        _flush_folder(path)


def _flush_file(path: Path) -> None:
    with path.open("rb+") as opened:
        os.fsync(opened.fileno())


def _flush_folder(path: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there, and renames are flushed without it
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
