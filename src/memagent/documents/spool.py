"""Streams that can be read only once (stdin, pipes) are first written to a file. It knows nothing else."""

from __future__ import annotations

import filecmp
import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from memagent.errors import DocumentError

_BLOCK = 1 << 20


def spool_stream(stream: BinaryIO, folder: Path | None) -> Path:
    """Copy `stream` to `stdin-<digest>.txt` in `folder` (made if need be; a new temporary one when None).

    The name comes from the content, so that the same input is the same file; its mode is 0600. A file that
    is there already stays as it is, because a reading may have it open.

    Raises:
        DocumentError: it cannot be written.
    """
    try:
        where = Path(tempfile.mkdtemp(prefix="memagent-")) if folder is None else folder
        _make_private(where)
        return _copy(stream, where)
    except OSError as error:
        raise DocumentError(
            f"cannot be kept in {folder or tempfile.gettempdir()} ({error.strerror or error})"
        ) from error


def _make_private(folder: Path) -> None:
    """Make a folder and what is missing above it, for this user only."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _copy(stream: BinaryIO, folder: Path) -> Path:
    digest = hashlib.sha256()
    handle, partial = tempfile.mkstemp(prefix=".stdin-", dir=folder)  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as out:
            while block := stream.read(_BLOCK):
                digest.update(block)
                out.write(block)
        path = folder / f"stdin-{digest.hexdigest()[:16]}.txt"
        _put(Path(partial), path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return path


def _put(partial: Path, path: Path) -> None:
    """Give a file its name, or drop it if an equal one has that name."""
    if path.is_file() and filecmp.cmp(partial, path, shallow=False):
        partial.unlink()
    else:
        partial.replace(path)
