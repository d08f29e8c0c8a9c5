"""Files that appear whole: what is written stands beside the file until it is done, and then takes its place.

It knows nothing of what is in them, nor of two processes that write the same file, nor of power failures: a run's own
files are also flushed to disk (training/folders.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to fill beside `path`: it takes its place in the end, and is gone if an error comes before."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write UTF-8 so that the file is either the old one or the new one; halves of surrogate pairs as escapes."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
